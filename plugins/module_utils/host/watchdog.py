# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on filesystems that may stop answering, and an end to it when one has.

Whoever looks at anything on a NAS that hangs waits for ever, perhaps where not even SIGKILL gets through. So a process
that has to end does not look: its children do. One does the work. Where that takes longer than a moment, another one
asks the filesystems something, one after the other, and says each time that it was answered. Work may take as long as
it likes, to wait for a mutex included; but a question that is not answered in time is the end.
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

# Seconds: what is done sooner is never watched, and costs nothing; and how long to wait after an answer.
PAUSE = 2.0
# How often to look whether a process that has said all has ended, in seconds. There is nothing to wait for with poll().
_MOMENT = 0.002
# Of those who ask.
_LIVES = 3

Ask = t.Callable[[str], None]


def ask(path: str) -> None:
    """Come back when the filesystem of ``path`` has answered. An error is an answer: the work will say what it means.

    Clients keep attributes for a while, and that a name is not there, too. How much room is left, and a name that
    nobody has used before, have to be asked of the server.
    """
    path = os.path.abspath(path)
    with contextlib.suppress(OSError):
        os.stat(os.path.join(path, f".uvnas-{os.urandom(16).hex()}"))
    while True:
        try:
            os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):  # Not made yet: what it will be in.
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
    ask: Ask = ask,
    pause: float = PAUSE,
) -> Result:
    """Do ``work`` in a child, as ``user`` where one is given; return its result, or raise its UvnasError.

    ``shares`` are all that the work looks at: their roots, and what they are called, which may be empty. Raises
    UvnasError where the filesystem of one does not answer for ``timeout`` seconds. The work is given up then: killed,
    with all that it has started, but not waited for, as it may never end.
    """
    if not 0 < timeout < float("inf"):
        raise SpecError(f"answer_timeout is {timeout:g}", hint="It is a time in seconds, and more than 0.")
    worker, said_all = Child(work, user, guarded=True), False
    asker: t.Optional[_Asker] = None
    killed = 0
    limit = time.monotonic() + pause
    while not (said_all and worker.reap(wait=False)):
        waiting = limit - time.monotonic()
        readers = [*([] if said_all else [worker.reader]), *([asker.answers] if asker else [])]
        ready = readable(readers, min(waiting, _MOMENT) if said_all else waiting)
        if worker.reader in ready and not said_all:
            said_all = worker.read()
        if asker and asker.answers in ready:
            try:
                asker.read()
            except RuntimeError:
                worker.kill()
                raise
            except UvnasError as error:  # Killed, which says nothing of the filesystem. It is asked again, no longer.
                asker.close()
                killed += 1
                if killed == _LIVES:
                    worker.kill()
                    raise UvnasError(
                        f"what asks whether {asker.asked} still answers is killed again and again", hint=error.hint
                    ) from error
                asker = _Asker(list(shares), ask, pause, user)
            else:
                limit = time.monotonic() + pause + timeout
        elif time.monotonic() >= limit:
            if asker:
                worker.kill()
                asker.kill()
                raise _silent(asker.asked, shares[asker.asked], timeout)
            asker, limit = _Asker(list(shares), ask, pause, user), time.monotonic() + timeout
    if asker:
        asker.kill()
    return result_of(worker.answer())


class _Asker:
    """A process that asks for each of ``roots`` in turn, again and again, and says so when it was answered."""

    def __init__(self, roots: t.Sequence[str], ask: Ask, pause: float, user: t.Optional[User]) -> None:
        self.answers, writer = os.pipe()
        self._child = Child(functools.partial(_keep_asking, roots, ask, pause, writer), user)
        os.close(writer)
        self._roots = itertools.cycle(roots)
        self.asked = next(self._roots)

    def read(self) -> None:
        """Take in that the filesystem of ``asked`` has answered. Raises UvnasError where there will be no answer."""
        answers = os.read(self.answers, 1 << 10)
        if not answers:
            while not self._child.read():
                pass
            self._child.reap()
            result_of(self._child.answer())
        for _answer in answers:
            self.asked = next(self._roots)

    def kill(self) -> None:
        self._child.kill()
        self.close()

    def close(self) -> None:
        os.close(self.answers)


def _keep_asking(roots: t.Sequence[str], ask: Ask, pause: float, writer: int) -> Result:
    for root in itertools.cycle(roots):
        ask(root)
        os.write(writer, b".")
        time.sleep(pause)
    return {}


def _silent(path: str, name: str, timeout: float) -> UvnasError:
    whose = f"share {name}: " if name else ""
    return UvnasError(
        f"{whose}{path} has not answered for {timeout:g} s on this host; is the NAS or the network down?",
        hint=(
            "What was begun is given up, and the next run heals it. "
            "Run again when `df` of it answers here, or allow for a longer silence (uvnas_answer_timeout, seconds)."
        ),
    )
