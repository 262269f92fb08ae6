# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module says of its work while it is at it: events in a file, which its action on the controller reads.

The directory of the file is made by this process, under a name that nobody can foresee, for nobody else to enter; and
the file is opened before the module becomes the owner of a share, who need not be able to open it. It lies on no share.
Whatever goes wrong with it is no concern of the work: then there is less to see.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

from ..errors import UvnasError

# Stages that something is in, and those that it ends with.
WAITING = "waiting"
BUSY = frozenset((WAITING, "locking", "building", "testing", "syncing", "removing", "installing", "compiling"))
FAILED = "failed"
ENDS = frozenset(("taken", "locked", "published", "sealed", "removed", "installed", "compiled", FAILED))
# What is no stage: the last line of a tool that is at work.
SAYS = "says"
# Characters of what is said beside the stage.
_MOST = 300


class Progress:
    """Where events go; without a descriptor, nowhere. Forked processes write to the same file, an event at a time."""

    def __init__(self, descriptor: t.Optional[int] = None) -> None:
        self._descriptor = descriptor

    @property
    def heard(self) -> bool:
        """Whether anybody may be reading."""
        return self._descriptor is not None

    def say(self, what: str, stage: str, more: str = "") -> None:
        """``what`` (an environment, an interpreter) has come to a ``stage``."""
        if self._descriptor is None:
            return
        event = json.dumps({"of": what, "stage": stage, "more": more[:_MOST]})
        with contextlib.suppress(OSError):
            os.write(self._descriptor, f"{event}\n".encode())

    def of(self, what: str) -> Teller:
        return Teller(self, what)

    def waiting(self) -> t.Callable[[t.Optional[str]], None]:
        """What to call with the holder of a mutex when a wait for it begins, and with None when it is taken."""
        told = self.of("mutex")

        def wait(holder: t.Optional[str]) -> None:
            if holder is None:
                told.ends("taken")
            else:
                told(WAITING, f"as {holder} holds it")

        return wait

    def stages(self) -> list[str]:
        """All events but what tools said, for the module's result: the reader may have missed the last of them."""
        if self._descriptor is None:
            return []
        try:
            with open(f"/proc/self/fd/{self._descriptor}", encoding="utf-8") as file:
                return [line for line in file.read().split("\n") if line and f'"stage": "{SAYS}"' not in line]
        except (OSError, ValueError):
            return []


class Teller:
    """Says how one thing is getting on."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress, self._what = progress, what
        self._began = time.monotonic()

    def __call__(self, stage: str, more: str = "") -> None:
        self._progress.say(self._what, stage, more)

    def says(self, line: str) -> None:
        """A tool that is at work has said this."""
        self._progress.say(self._what, SAYS, line.strip())

    def ends(self, stage: str, *more: str, log: str = "") -> None:
        """It has come to its end, after the time since this was made; what it was like is in a ``log``."""
        said = ", ".join([*more, seconds(time.monotonic() - self._began)])
        self(stage, f"{said}; log: {log}" if log else said)

    @contextlib.contextmanager
    def failing(self) -> t.Iterator[None]:
        """Say so where the block fails."""
        try:
            yield
        except (UvnasError, OSError):
            self.ends(FAILED)
            raise


SILENT = Progress()


@contextlib.contextmanager
def to(path: t.Optional[str]) -> t.Iterator[Progress]:
    """Progress in a new file in a new directory, which are gone after the block; without a path, or room, nowhere."""
    if not path:
        yield SILENT
        return
    directory = os.path.dirname(path)
    descriptor: t.Optional[int] = None
    made = False
    try:
        with contextlib.suppress(OSError):
            os.mkdir(directory, 0o700)
            made = True
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
        yield Progress(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                os.rmdir(directory)


def seconds(time_taken: float) -> str:
    """A time as people read it."""
    if time_taken < 10:
        return f"{time_taken:.1f} s"
    if time_taken < 100:
        return f"{time_taken:.0f} s"
    return f"{int(time_taken) // 60} min {int(time_taken) % 60} s"
