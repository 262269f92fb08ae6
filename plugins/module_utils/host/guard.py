# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process between a module and its work, which makes sure that none of the work outlives it.

A process that is killed while a NAS hangs may be unable to end until the NAS answers, and its children learn of its
death only then: until that moment uv, and what uv starts, would go on, and would go on writing once the NAS answers.
So a guard, which touches no filesystem, is the parent of the work and the subreaper of all its descendants
(PR_SET_CHILD_SUBREAPER, see prctl(2)): orphans become its children, even daemons with sessions of their own. When the
work has ended, when the module gives it up, or when the module itself ends, perhaps by SIGKILL, the guard kills all of
its descendants at once. Those stuck in the kernel, waiting for the NAS, die when that wait ends and run no more code
of their own.

A guard that is itself killed takes the work with it as far as PR_SET_PDEATHSIG goes, see ``process``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import typing as t

from . import proc
from .process import adopt_orphans, signal_at_exit_of

# Tells a guard to give up the work: sent by the module, or by the kernel when the module has ended.
GIVE_UP = signal.SIGTERM
_HEARD = {signal.SIGCHLD, GIVE_UP}
# Seconds between two looks at killed processes that have not ended yet; the pause grows.
_FIRST_LOOK, _LAST_LOOK = 0.01, 2.0
# Seconds that killed processes have to end once the work is done. They may be waiting for a NAS the work is not about.
_PATIENCE = 5.0


def guard(parent: int, work: t.Callable[[], t.NoReturn], began: t.Callable[[], None]) -> t.NoReturn:
    """Guard ``work``, done in a child, until it is done or ``parent`` ends or gives it up; then exit as the work did.

    ``began`` is called here as soon as the child exists. Call this in a process forked for the purpose.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    signal_at_exit_of(parent, GIVE_UP)
    adopt_orphans()
    worker = os.fork()
    if worker == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        work()
    began()
    status: t.Optional[int] = None
    while status is None and signal.sigwait(_HEARD) != GIVE_UP:
        status = _reap().get(worker)
    ended = _end_all(float("inf") if status is None else _PATIENCE)
    _end_as(ended.get(worker, 0) if status is None else status)


def _end_all(seconds: float) -> dict[int, int]:
    """Kill all descendants and wait up to ``seconds`` for them to end; return how the children ended."""
    ended: dict[int, int] = {}
    pause, limit = _FIRST_LOOK, time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):  # None is left.
        while True:
            ended.update(_reap(known=False))
            killed = [_kill(pid) for pid in descendants(os.getpid())]
            if True not in killed:  # A setuid program made them somebody else's; we do not wait for those either.
                break
            if time.monotonic() >= limit:
                break
            signal.sigtimedwait({signal.SIGCHLD}, pause)
            pause = min(2 * pause, _LAST_LOOK)
    return ended


def _reap(*, known: bool = True) -> dict[int, int]:
    """The children that have ended, with their statuses. Raises ChildProcessError if there are no children at all,
    unless one is ``known`` to have existed."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            if known or ended:
                return ended
            raise
        if pid == 0:
            return ended
        ended[pid] = status


def _kill(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def descendants(ancestor: int) -> list[int]:
    """The processes that descend from ``ancestor``, as the kernel lists them. Waits for none of them."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):  # It has ended.
                children.setdefault(_parent(name), []).append(int(name))
    found, pending = [], [ancestor]
    while pending:
        more = children.pop(pending.pop(), [])
        found += more
        pending += more
    return found


def _parent(pid: str) -> int:
    # The name in the parentheses may contain anything.
    return int(proc.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])


def _end_as(status: int) -> t.NoReturn:
    """End as the child did whose status this is."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))  # pylint: disable=protected-access
