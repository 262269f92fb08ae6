# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a lock or a build: which commands were run, and what they said on their way. On the share, for its owner.

It tells, and nothing reads it to decide. So whatever goes wrong with it, as on a full disk, ends the log and not the
work; and it is not synced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import re
import shlex
import time
import typing as t

from ..errors import UvnasError
from ..host import files, secrets
from ..host.process import Completed, Runner, SystemRunner
from .command import Uv

# Bytes that a log has of its beginning, and of its end. A build that says more than that says it again and again.
_MOST = 3 << 20
_END = 1 << 20
# Secrets that are shorter would blot out half of a text.
_SHORTEST = 4
# What uv 0.13 says on its way, in front of what it says of a failure. Errors are read without it.
_ON_THE_WAY = re.compile(
    r"^(Using (CPython|Python)|Creating virtual environment|Activate with|Resolved|Prepared|Installed|Uninstalled|"
    r"Audited|Bytecode compiled|Downloading| *Downloaded|Building| *Built|Updating| *Updated| [+~-] )\b.*\n?",
    re.MULTILINE,
)

Hear = t.Callable[[str], None]


class Log:
    """A log that is being written; without a descriptor, nowhere."""

    def __init__(self, descriptor: t.Optional[int], path: str, hidden: t.Iterable[str] = ()) -> None:
        self._descriptor = descriptor
        # Where it is; empty where there is none.
        self.path = "" if descriptor is None else path
        # The longest first: one may be a part of another.
        self._hidden = sorted((secret for secret in hidden if len(secret) >= _SHORTEST), key=len, reverse=True)
        self._left = _MOST
        # What came after that, and how many bytes of it are lost.
        self._end = bytearray()
        self._lost = 0

    def write(self, text: str) -> None:
        """Append ``text``, without the secrets in it."""
        if self._descriptor is None or not text:
            return
        data = self.scrubbed(text).encode(errors="backslashreplace")
        now, later = data[: self._left], data[self._left :]
        self._left -= len(now)
        self._append(now)
        self._end += later
        beyond = max(0, len(self._end) - _END)
        del self._end[:beyond]
        self._lost += beyond

    def _append(self, data: bytes) -> None:
        if self._descriptor is None:
            return
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # A full disk, for example. What is there stays.
            self._stop()

    def _stop(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def close(self) -> None:
        if self._lost:
            self._append(f"\n({self._lost} bytes are left out here.)\n".encode())
        self._append(bytes(self._end))
        self._end.clear()
        self._stop()

    def scrubbed(self, text: str) -> str:
        text = secrets.scrub(text)
        for secret in self._hidden:
            text = text.replace(secret, secrets.HIDDEN)
        return text


@contextlib.contextmanager
def logging(path: t.Optional[str], uv: Uv, title: str) -> t.Iterator[Log]:
    """A log at ``path``, in the place of the one before. An error of the block names it."""
    log = Log(None if path is None else _create(path), path or "", _secrets(uv))
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    log.write(f"# {title}, {now}\n")
    try:
        yield log
    except UvnasError as error:
        log.write(f"# failed: {error.explain()}\n")
        if log.path:
            error.hint = f"{error.hint} Its log: {log.path}".strip()
        raise
    else:
        log.write("# done\n")
    finally:
        log.close()


def _create(path: str) -> t.Optional[int]:
    """A new file at ``path`` that this user alone can open; None where there can be none, not even the one before."""
    temporary = files.temporary_name(path)
    try:
        files.make_directory(os.path.dirname(path))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        return None
    try:
        os.rename(temporary, path)
    except OSError:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        return None
    return descriptor


def _secrets(uv: Uv) -> set[str]:
    """What uv knows, and a tool that repeats what it was told could say outside of a URL."""
    variables = {name: str(value) for name, value in uv.extra_variables.items()}
    found = {value for name, value in variables.items() if secrets.is_secret_name(name)}
    for text in (*uv.index.urls(), *(secrets.as_url(name, value) for name, value in variables.items())):
        found |= secrets.in_url(text)
    return found


@dataclasses.dataclass(frozen=True)
class Logged:
    """A Runner that logs what another one runs, while it does. uv is not told to be quiet then."""

    runner: Runner
    log: Log
    # Told the last line of what is said, now and then.
    hear: Hear

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        variables: t.Optional[t.Mapping[str, str]] = None,
        cwd: t.Optional[str] = None,
        timeout: t.Optional[float] = None,
        stdin: t.Optional[str] = None,
    ) -> Completed:
        is_uv = os.path.basename(cmd[0]) == "uv"
        if is_uv:
            cmd = [part for part in cmd if part != "--quiet"]
        self.log.write(f"\n$ {shlex.join(cmd)}\n")
        began = time.monotonic()
        live = self.runner.hearing(self._heard) if isinstance(self.runner, SystemRunner) else None
        done = (live or self.runner).run(cmd, variables=variables, cwd=cwd, timeout=timeout, stdin=stdin)
        if live is None:
            self._heard(done.stderr)
        if not is_uv:  # What uv has on its standard output is for who called it.
            self.log.write(done.stdout)
        self.log.write(f"# returned {done.rc} after {time.monotonic() - began:.1f} s\n")
        return dataclasses.replace(done, stderr=_ON_THE_WAY.sub("", done.stderr)) if is_uv else done

    def _heard(self, text: str) -> None:
        self.log.write(text)
        lines = text.strip().splitlines()
        if lines:
            self.hear(self.log.scrubbed(lines[-1]))


def logged(uv: Uv, log: Log, hear: Hear) -> Uv:
    """``uv`` with all that it runs in a log."""
    return dataclasses.replace(uv, runner=Logged(uv.runner, log, hear))
