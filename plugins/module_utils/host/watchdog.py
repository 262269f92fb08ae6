# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on filesystems that may stop answering, and an end to it when one has.

Whoever looks at anything on a NAS that hangs waits for ever, perhaps where not even SIGKILL gets through. So a process
that has to end does not look: its children do. One does the work. While that takes longer than a moment, another one
asks the filesystems something from time to time, one after the other. Work may take as long as it likes, to wait for a
lock included; but a question that is not answered in time is the end.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import time
import typing as t
import uuid

from ..errors import SpecError, UvnasError
from .process import Child, User, readable, result_of

# Seconds: what is done sooner is never watched, and costs nothing; and how long to wait after an answer.
PAUSE = 2.0
# How often to look whether a process that has said all has ended, in seconds. There is nothing to wait for with poll().
_MOMENT = 0.002


def ask(path: str) -> dict[str, t.Any]:
    """Come back when the filesystem of ``path`` has answered. An error is an answer: the work will say what it means.

    Clients keep attributes for a while, and that a name is not there, too. How much room is left, and a name that
    nobody has used before, have to be asked of the server.
    """
    path = os.path.abspath(path)
    with contextlib.suppress(OSError):
        os.stat(os.path.join(path, f".uvnas-{uuid.uuid4().hex}"))
    while True:
        try:
            os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):  # Not made yet: what it will be in.
            path = os.path.dirname(path)
        except OSError:
            return {}
        else:
            return {}


def call_watched(
    work: t.Callable[[], dict[str, t.Any]],
    *,
    shares: t.Mapping[str, str],
    timeout: float,
    user: t.Optional[User] = None,
    ask: t.Callable[[str], dict[str, t.Any]] = ask,
    pause: float = PAUSE,
) -> dict[str, t.Any]:
    """Do ``work`` in a child, as ``user`` where one is given; return its result, or raise its UvnasError.

    ``shares`` are all that the work looks at: their roots, and what they are called, which may be empty. Raises
    UvnasError where the filesystem of one does not answer for ``timeout`` seconds. The work is given up then: killed,
    but not waited for, as it may never end.
    """
    if not 0 < timeout < float("inf"):
        raise SpecError(f"answer_timeout is {timeout:g}", hint="It is a time in seconds, and more than 0.")
    worker, said_all = Child(work, user), False
    asker: t.Optional[Child] = None
    roots = itertools.cycle(shares)
    path = next(roots)
    limit = time.monotonic() + pause
    while True:
        waiting = limit - time.monotonic()
        readers = [*([] if said_all else [worker.reader]), *([asker.reader] if asker else [])]
        ready = readable(readers, min(waiting, _MOMENT) if said_all else waiting)
        if worker.reader in ready and not said_all:
            said_all = worker.read()
        if said_all and worker.reap(wait=False):
            if asker:
                asker.kill()
            return result_of(worker.answer())
        if asker and asker.reader in ready:
            if asker.read():  # The end of its answer, whatever that is.
                asker.reap()
                asker, path, limit = None, next(roots), time.monotonic() + pause
        elif time.monotonic() >= limit:
            if asker:
                worker.kill()
                asker.kill()
                raise _silent(path, shares[path], timeout)
            asker, limit = Child(functools.partial(ask, path), user), time.monotonic() + timeout


def _silent(path: str, name: str, timeout: float) -> UvnasError:
    whose = f"share {name}: " if name else ""
    return UvnasError(
        f"{whose}{path} has not answered for {timeout:g} s on this host; is the NAS or the network down?",
        hint=(
            "What was begun is given up, and the next run heals it. "
            "Run again when `df` of it answers here, or allow for a longer silence (uvnas_answer_timeout, seconds)."
        ),
    )
