# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on filesystems that may stop answering, and a way to give it up when one does.

Touching anything on a NAS that hangs may block for ever, perhaps where not even SIGKILL gets through. So a process that
has to end leaves that to its children. One does the work. If that takes longer than a moment, another one probes the
filesystems in turn and reports each answer. Work may take as long as it likes, waiting for a mutex included; but a
probe that is not answered in time ends it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import time
import typing as t

from ..errors import SpecError, UvnasError
from .users import User
from .workers import Child, Result, Work, readable, result_of

# Seconds: work that is done sooner is not watched, at no cost; also the pause after an answer.
PAUSE = 2.0
# How often to check whether a process that has closed its pipe has ended, in seconds. poll() has nothing to wait for.
_MOMENT = 0.002
# How often the probing process may be killed before that is an error.
_LIVES = 3

Probe = t.Callable[[str], None]


def probe(path: str) -> None:
    """Return when the filesystem of ``path`` has answered. An error is an answer: the work will report what it means.

    Clients cache attributes for a while, and missing names too. Only free space, and a name that nobody has used
    before, have to be asked of the server.
    """
    path = os.path.abspath(path)
    with contextlib.suppress(OSError):
        os.stat(os.path.join(path, f".uvnas-{os.urandom(16).hex()}"))
    while True:
        try:
            os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):  # Not made yet: probe where it will be.
            path = os.path.dirname(path)
        except OSError:
            return
        else:
            return


def call_watched(
    work: Work,
    *,
    shares: t.Mapping[str, str],
    timeout: float,
    user: t.Optional[User] = None,
    probe: Probe = probe,
    pause: float = PAUSE,
) -> Result:
    """Do ``work`` in a child, as ``user`` if one is given; return its result, or raise its UvnasError.

    ``shares`` are all that the work looks at: their roots, and their names, which may be empty. Raises UvnasError if
    the filesystem of one does not answer for ``timeout`` seconds. The work is given up then: killed with all that it
    has started, but not waited for, as it may never end.
    """
    if not 0 < timeout < float("inf"):
        raise SpecError(f"answer_timeout must be a number of seconds greater than 0, not {timeout:g}")
    worker, complete = Child(work, user, guarded=True), False
    prober: t.Optional[_Prober] = None
    killed = 0
    limit = time.monotonic() + pause
    while not (complete and worker.reap(wait=False)):
        waiting = limit - time.monotonic()
        readers = [*([] if complete else [worker.reader]), *([prober.answers] if prober else [])]
        ready = readable(readers, min(waiting, _MOMENT) if complete else waiting)
        if worker.reader in ready and not complete:
            complete = worker.read()
        if prober and prober.answers in ready:
            try:
                prober.read()
            except RuntimeError:
                worker.kill()
                raise
            except UvnasError as error:  # Killed, which says nothing about the filesystem. Probe again, same limit.
                prober.close()
                killed += 1
                if killed == _LIVES:
                    worker.kill()
                    raise UvnasError(
                        f"cannot check whether {prober.probed} still answers: the process that does so keeps being "
                        "killed",
                        hint=error.hint,
                    ) from error
                prober = _Prober(list(shares), probe, pause, user)
            else:
                limit = time.monotonic() + pause + timeout
        elif time.monotonic() >= limit:
            if prober:
                worker.kill()
                prober.kill()
                raise _not_answering(prober.probed, shares[prober.probed], timeout)
            prober, limit = _Prober(list(shares), probe, pause, user), time.monotonic() + timeout
    if prober:
        prober.kill()
    return result_of(worker.answer())


class _Prober:
    """A process that probes each of ``roots`` in turn, again and again, and reports each answer."""

    def __init__(self, roots: t.Sequence[str], probe: Probe, pause: float, user: t.Optional[User]) -> None:
        self.answers, writer = os.pipe()
        self._child = Child(functools.partial(_keep_probing, roots, probe, pause, writer), user)
        os.close(writer)
        self._roots = itertools.cycle(roots)
        self.probed = next(self._roots)

    def read(self) -> None:
        """Note that the filesystem of ``probed`` has answered. Raises UvnasError if there will be no answer."""
        answers = os.read(self.answers, 1 << 10)
        if not answers:
            while not self._child.read():
                pass
            self._child.reap()
            result_of(self._child.answer())
        for _answer in answers:
            self.probed = next(self._roots)

    def kill(self) -> None:
        self._child.kill()
        self.close()

    def close(self) -> None:
        os.close(self.answers)


def _keep_probing(roots: t.Sequence[str], probe: Probe, pause: float, writer: int) -> Result:
    for root in itertools.cycle(roots):
        probe(root)
        os.write(writer, b".")
        time.sleep(pause)
    return {}


class NotAnsweringError(UvnasError):
    """A filesystem does not answer. So what was to be done there may be done later, unlike what has failed."""

    def as_dict(self) -> dict[str, t.Any]:
        return {**super().as_dict(), "not_answering": True}


def _not_answering(path: str, name: str, timeout: float) -> UvnasError:
    whose = f"share {name}: " if name else ""
    return NotAnsweringError(
        f"{whose}{path} has not answered for {timeout:g} s on this host; is the NAS or the network down?",
        hint=(
            "Unfinished work is abandoned, and the next run repairs it. "
            "Run again when `df` of it answers here, or wait longer for an answer (uvnas_answer_timeout, in seconds)."
        ),
    )
