# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that die with whoever runs them, and how they ended.

A module that is killed must not leave a uv behind that goes on writing while the next run repairs the share. So the
kernel kills every process started here when its parent ends (``PR_SET_PDEATHSIG``, see prctl(2)).
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import dataclasses
import fcntl
import os
import signal
import subprocess
import time
import typing as t

from ..errors import CommandError
from .secrets import scrub

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# Seconds to wait for the last output of a command that was killed.
_LAST_WORDS = 2.0
# How often to hear what a command says, in seconds.
_HEARING = 1.0
# See fcntl(2). Python has it since 3.10.
_F_GETPIPE_SZ = 1032
_libc = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass(frozen=True)
class Completed:
    """How a command ended."""

    rc: int
    stdout: str
    stderr: str


class Runner(t.Protocol):
    """Runs commands. Tests pass one that answers with recorded output of the real tool."""

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        variables: t.Optional[t.Mapping[str, str]] = None,
        cwd: t.Optional[str] = None,
        timeout: t.Optional[float] = None,
        stdin: t.Optional[str] = None,
    ) -> Completed:
        """Run ``cmd`` to its end, with ``variables`` and no others. A return code other than 0 is not an error here.

        Its standard input is a pipe with ``stdin``, or empty. If it has not ended after ``timeout`` seconds, it is
        killed with all that it started, and a CommandError is raised.
        """


class SystemRunner:
    """Runs real commands.

    Calls ``hear``, if given, with what a command writes to its standard error, in whole lines, while it runs.
    """

    _hear: t.Optional[t.Callable[[str], None]] = None

    def __init__(self, hear: t.Optional[t.Callable[[str], None]] = None) -> None:
        self._hear = hear

    def hearing(self, hear: t.Callable[[str], None]) -> SystemRunner:
        """This runner, calling ``hear``."""
        made = copy.copy(self)
        made._hear = hear
        return made

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        variables: t.Optional[t.Mapping[str, str]] = None,
        cwd: t.Optional[str] = None,
        timeout: t.Optional[float] = None,
        stdin: t.Optional[str] = None,
    ) -> Completed:
        try:
            child = subprocess.Popen(  # pylint: disable=ansible-bad-function,subprocess-popen-preexec-fn
                list(cmd),
                env=None if variables is None else dict(variables),
                cwd=cwd,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                preexec_fn=_prepare_child,  # noqa: PLW1509  # There are no threads here.
                start_new_session=timeout is not None,
            )
        except OSError as error:
            raise CommandError(
                f"cannot run {cmd[0]}: {error.strerror}", cmd=cmd, rc=error.errno or 1, stdout="", stderr=""
            ) from error
        except ValueError as error:  # A NUL or a lone surrogate in a string, or "=" in a name.
            raise CommandError(
                f"cannot run {cmd[0]}: invalid arguments or variables: {error}", cmd=cmd[:1], rc=1, stdout="", stderr=""
            ) from error
        with _closing(child):
            try:
                stdout, stderr = self._communicate(child, stdin, timeout)
            except subprocess.TimeoutExpired as error:
                # Its children too: they would keep the pipes open, and us waiting.
                os.killpg(child.pid, signal.SIGKILL)
                stdout, stderr = _rest(child)
                raise CommandError(
                    f"{cmd[0]} timed out after {timeout:g} s",
                    cmd=cmd,
                    rc=-signal.SIGKILL,
                    stdout=scrub(stdout),
                    stderr=scrub(stderr),
                ) from error
            except BaseException:
                child.kill()
                raise
        return Completed(child.returncode, scrub(stdout), scrub(stderr))

    def _communicate(
        self, child: subprocess.Popen[str], stdin: t.Optional[str], timeout: t.Optional[float]
    ) -> tuple[str, str]:
        """What the command has said in the end. Raises TimeoutExpired."""
        if self._hear is None or not _given(child, stdin):
            stdout, stderr = child.communicate(stdin, timeout=timeout)
            if self._hear is not None and stderr:
                self._hear(scrub(stderr))
            return stdout, stderr
        limit = None if timeout is None else time.monotonic() + timeout
        heard = 0
        while True:
            wait = _HEARING if limit is None else max(0.0, min(limit - time.monotonic(), _HEARING))
            try:
                stdout, stderr = child.communicate(timeout=wait)
            except subprocess.TimeoutExpired as error:
                # Bytes, whatever the encoding.
                said = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else ""
                said = said.replace("\r\n", "\n").replace("\r", "\n")
                whole = said[: said.rfind("\n") + 1]
                if len(whole) > heard:
                    self._hear(scrub(whole[heard:]))
                    heard = len(whole)
                if limit is not None and time.monotonic() >= limit:
                    raise
            else:
                if len(stderr) > heard:
                    self._hear(scrub(stderr[heard:]))
                return stdout, stderr


def _given(child: subprocess.Popen[str], stdin: t.Optional[str]) -> bool:
    """Give a command all of its input, where its pipe has room for that; False where it has not.

    (What communicate() has not written when it is interrupted for the first time, it never writes.)
    """
    if child.stdin is None or stdin is None:
        return True
    if len(stdin.encode(errors="replace")) > fcntl.fcntl(child.stdin, _F_GETPIPE_SZ):
        return False
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(stdin)
        child.stdin.close()
    child.stdin = None
    return True


@contextlib.contextmanager
def _closing(child: subprocess.Popen[str]) -> t.Iterator[None]:
    """Leave no pipe open and no zombie, but do not wait for a killed process that no signal gets through to."""
    try:
        yield
    finally:
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_LAST_WORDS)


def _rest(child: subprocess.Popen[str]) -> tuple[str, str]:
    """The remaining output of a killed command. Does not wait for a daemon that keeps the pipes open."""
    try:
        return child.communicate(timeout=_LAST_WORDS)
    except subprocess.TimeoutExpired as error:
        # Bytes, whatever the encoding, and None if there was no output.
        parts = [
            part.decode(errors="replace") if isinstance(part, bytes) else "" for part in (error.output, error.stderr)
        ]
        return parts[0], parts[1]


def check(done: Completed, cmd: t.Sequence[str], message: str, *, hint: str = "") -> Completed:
    """``done``, or a CommandError that begins with ``message`` if the command failed."""
    if done.rc != 0:
        raise CommandError(
            message, cmd=[scrub(part) for part in cmd], rc=done.rc, stdout=done.stdout, stderr=done.stderr, hint=hint
        )
    return done


def die_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` ends. Call it after a change of user, which would clear it."""
    signal_at_exit_of(parent, signal.SIGKILL)


def signal_at_exit_of(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when ``parent`` ends."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # It ended before the kernel was told.
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Become the parent of all orphaned descendants of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}) failed: {os.strerror(number)}")


def _prepare_child() -> None:
    """Between fork and exec of a command: die with the parent, and write files that only the owner may change."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.umask(0o022)
