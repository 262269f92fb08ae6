# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process between a module and its work, which sees to it that nothing of the work outlives it.

A process that is killed while a NAS hangs may have to wait for the NAS in order to end, and what it started hears of
its death only then: for as long, uv and what uv starts would go on, and would go on writing when the NAS answers again.
So a guard, which touches no filesystem, is the parent of the work and the reaper of all that descends from it
(PR_SET_CHILD_SUBREAPER, see prctl(2)): whoever loses his parent becomes its child, a daemon with a session of its own
too. When the work has ended, when the module gives it up, or when the module ends, by SIGKILL perhaps, the guard kills
every one of its descendants at once. Those in which the kernel itself waits for the NAS have that before them and do
nothing more of their own.

A guard that is itself killed takes the work along as far as PR_SET_PDEATHSIG goes, see ``process``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import typing as t

from . import proc
from .process import adopt_orphans, hear_of_the_end_of

# By which a guard learns that the work is given up: from the module, or from the kernel when the module has ended.
GIVE_UP = signal.SIGTERM
_HEARD = {signal.SIGCHLD, GIVE_UP}
# Seconds between two looks at what has been killed and has not ended yet; it grows.
_FIRST_LOOK, _LAST_LOOK = 0.01, 2.0
# Seconds that what was killed has to end when the work is done. It may be waiting for a NAS that the work is not about.
_PATIENCE = 5.0


def guard(parent: int, work: t.Callable[[], t.NoReturn], began: t.Callable[[], None]) -> t.NoReturn:
    """Be the guard of ``work``, which is done in a child, until ``parent`` ends or gives it up. End as the work did.

    ``began`` is called here as soon as there is the child. To be called in a process that was forked for this.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    hear_of_the_end_of(parent, GIVE_UP)
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
    """Kill all descendants, and wait until the last of them has ended, as long as that; how the children ended."""
    ended: dict[int, int] = {}
    pause, limit = _FIRST_LOOK, time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):  # There are none any more.
        while True:
            ended.update(_reap(known=False))
            killed = [_kill(pid) for pid in descendants(os.getpid())]
            if True not in killed:  # Somebody else's, by a program that changes the user: not ours to wait for either.
                break
            if time.monotonic() >= limit:
                break
            signal.sigtimedwait({signal.SIGCHLD}, pause)
            pause = min(2 * pause, _LAST_LOOK)
    return ended


def _reap(*, known: bool = True) -> dict[int, int]:
    """The children that have ended, with their statuses. Raises ChildProcessError where there is none left to end,
    unless it is ``known`` that there was one."""
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
    """The processes that descend from ``ancestor``, as the kernel lists them. None is waited for."""
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
    # Any name may be in the parentheses.
    return int(proc.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])


def _end_as(status: int) -> t.NoReturn:
    """End as a child did whose status this is."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))  # pylint: disable=protected-access
