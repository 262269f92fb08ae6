# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that die with their parent: commands, work done as another user, and several pieces of work at once.

A module killed in the middle must not leave a uv behind that goes on writing while the next run heals. Every child
made here is killed by the kernel when its parent ends (``PR_SET_PDEATHSIG``, see prctl(2)), down the whole chain.
Work runs in forked processes, not threads: a thread would make the code between fork and exec unsafe.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import itertools
import json
import math
import os
import pwd
import re
import select
import signal
import subprocess
import traceback
import typing as t

from ..errors import CommandError, UvnasError

_PR_SET_PDEATHSIG = 1
_LONGEST = (1 << 31) - 1  # What poll() takes, in milliseconds.
_libc = ctypes.CDLL(None, use_errno=True)

# What a user name and a password look like inside a URL (RFC 3986, 3.2.1).
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")


@dataclasses.dataclass(frozen=True)
class User:
    """Whom work is done as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclasses.dataclass(frozen=True)
class Completed:
    """How a command ended."""

    rc: int
    stdout: str
    stderr: str


class Runner(t.Protocol):
    """Runs commands. Tests give one that answers with recorded output of the real tool."""

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        env: t.Optional[t.Mapping[str, str]] = None,
        cwd: t.Optional[str] = None,
        stdin: t.Optional[str] = None,
        timeout: t.Optional[float] = None,
    ) -> Completed:
        """Run ``cmd`` to its end; ``env`` is the whole environment. A return code other than 0 is no error here.

        It is one, a CommandError, not to have ended after ``timeout`` seconds.
        """


class SystemRunner:
    """The Runner of real life."""

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        env: t.Optional[t.Mapping[str, str]] = None,
        cwd: t.Optional[str] = None,
        stdin: t.Optional[str] = None,
        timeout: t.Optional[float] = None,
    ) -> Completed:
        try:
            done = subprocess.run(  # pylint: disable=ansible-bad-function,subprocess-popen-preexec-fn
                list(cmd),
                check=False,
                env=None if env is None else dict(env),
                cwd=cwd,
                input=stdin or "",
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                preexec_fn=_prepare_child,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandError(
                f"{cmd[0]} has not come to an end in {timeout:g} s", cmd=cmd, rc=1, stdout="", stderr=""
            ) from error
        except OSError as error:
            raise CommandError(
                f"cannot run {cmd[0]}: {error.strerror}", cmd=cmd, rc=error.errno or 1, stdout="", stderr=""
            ) from error
        return Completed(done.returncode, scrub(done.stdout), scrub(done.stderr))


def check(done: Completed, cmd: t.Sequence[str], message: str, *, hint: str = "") -> Completed:
    """``done``, or a CommandError that begins with ``message`` if the command failed."""
    if done.rc != 0:
        raise CommandError(
            message, cmd=[scrub(part) for part in cmd], rc=done.rc, stdout=done.stdout, stderr=done.stderr, hint=hint
        )
    return done


def scrub(text: str) -> str:
    """``text`` with the credentials of every URL in it replaced."""
    return _CREDENTIALS.sub("****@", text)


def find_user(name: str) -> User:
    """The user called ``name`` with all its groups. Raises UvnasError where this host knows no such user."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UvnasError(
            f"this host has no user {name}",
            hint="Create the user (the share's owner) first, with the same uid everywhere.",
        ) from None
    groups = tuple(os.getgrouplist(name, entry.pw_gid))
    return User(name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def call_as(user: t.Optional[User], work: t.Callable[[], dict[str, t.Any]]) -> dict[str, t.Any]:
    """Do ``work`` in a child process, as ``user`` where one is given; return its result, or raise its UvnasError."""
    return call_many([work], jobs=1, user=user)[0]()


def processors(cgroup: str = "/proc/self/cgroup", mounted: str = "/sys/fs/cgroup") -> int:
    """How many processors this process may keep busy: those that it may run on, or what its quotas of time amount to.

    A control group (cgroups v2) has its quota in ``cpu.max``, and those that it is in have theirs.
    """
    count = float(len(os.sched_getaffinity(0)))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        with open(cgroup, encoding="utf-8") as file:
            path = next(line[len("0::") :].strip() for line in file if line.startswith("0::"))
        for group in itertools.accumulate(path.strip("/").split("/"), os.path.join, initial=mounted):
            with contextlib.suppress(FileNotFoundError), open(os.path.join(group, "cpu.max"), encoding="utf-8") as file:
                quota, period = file.read().split()
                count = min(count, int(quota) / int(period) if quota != "max" else count)
    return max(1, int(count))


def call_many(
    works: t.Sequence[t.Callable[[], dict[str, t.Any]]], *, jobs: int, user: t.Optional[User] = None
) -> list[t.Callable[[], dict[str, t.Any]]]:
    """Do all ``works`` in child processes, at most ``jobs`` at once; results must be plain data.

    Returns one callable per work, in order: it returns the result, or raises the UvnasError that the work raised.
    """
    waiting = list(enumerate(works))[::-1]
    running: dict[int, tuple[int, Child]] = {}
    answers: dict[int, dict[str, t.Any]] = {}
    while waiting or running:
        while waiting and len(running) < max(1, jobs):
            index, work = waiting.pop()
            child = Child(work, user)
            running[child.reader] = (index, child)
        for reader in readable(list(running)):
            index, child = running[reader]
            if child.read():
                del running[reader]
                child.reap()
                answers[index] = child.answer()
    return [_Answer(answers[index]) for index in range(len(works))]


def result_of(answer: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The result in a child's answer; raises the UvnasError in it if that is what there is."""
    if "error" in answer:
        raise _error_from(answer["error"])
    result: dict[str, t.Any] = answer["result"]
    return result


class _Answer:
    """The result of a piece of work, or its error, when asked for."""

    def __init__(self, answer: dict[str, t.Any]) -> None:
        self._answer = answer

    def __call__(self) -> dict[str, t.Any]:
        return result_of(self._answer)


def _error_from(data: dict[str, t.Any]) -> UvnasError:
    """The error that UvnasError.as_dict() described."""
    if "cmd" in data:
        return CommandError(
            data["msg"],
            cmd=data["cmd"],
            rc=data["rc"],
            stdout=data["stdout"],
            stderr=data["stderr"],
            hint=data["hint"],
        )
    return UvnasError(data["msg"], hint=data["hint"])


def explain_os_error(error: OSError) -> UvnasError:
    """What the operating system's error means for a share."""
    where = f": {error.filename}" if error.filename else ""
    hints = {
        errno.ENOSPC: "The filesystem has no free bytes or inodes left. Free some, then run again.",
        errno.EDQUOT: "The owner's quota on this filesystem is used up. Free some room or raise it, then run again.",
        errno.EROFS: "The filesystem is mounted read-only here. Is this host meant to be the builder?",
        errno.EACCES: "The share's owner may not do this. Check owner and modes; on NFS root may be squashed.",
        errno.EPERM: "The share's owner may not do this. Check owner and modes; on NFS root may be squashed.",
        errno.ESTALE: "The NFS server replaced or lost what was mounted. Remount the share's filesystem.",
        errno.EIO: "The filesystem reports an input/output error. Look at the NAS before you run again.",
    }
    return UvnasError(f"{error.strerror or error}{where}", hint=hints.get(error.errno or 0, ""))


class Child:
    """A forked process that does ``work``, as ``user`` where one is given. What comes of it is read from a pipe.

    It holds nothing open that this process was started with: whoever reads the output of this process, as ssh does,
    gets to its end when this process ends, even if the kernel cannot end the child, which waits for a dead NAS.
    """

    def __init__(self, work: t.Callable[[], dict[str, t.Any]], user: t.Optional[User] = None) -> None:
        self.reader, writer = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reader)
            _do(work, user, parent, writer)
        os.close(writer)
        self._said: list[bytes] = []
        self._status: t.Optional[int] = None

    def read(self) -> bool:
        """Take in what it says; True when that was all. Waits where it has nothing to say yet."""
        part = os.read(self.reader, 1 << 16)
        if part:
            self._said.append(part)
            return False
        os.close(self.reader)
        return True

    def reap(self, *, wait: bool = True) -> bool:
        """Whether it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def kill(self) -> None:
        """Have it killed as soon as that can be. It has to be there still: not reaped."""
        os.kill(self.pid, signal.SIGKILL)

    def answer(self) -> dict[str, t.Any]:
        """What came of it, for result_of(), once it has ended. Raises RuntimeError where that was a bug."""
        status = self._status or 0
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            hint = "Was it killed for lack of memory? See the kernel's log." if name == "SIGKILL" else ""
            return {"error": UvnasError(f"the process doing the work was ended by {name}", hint=hint).as_dict()}
        said = b"".join(self._said).decode()
        if os.WEXITSTATUS(status) != 0:
            raise RuntimeError(f"the process doing the work failed:\n{said}")
        answer: dict[str, t.Any] = json.loads(said)
        return answer


def _do(work: t.Callable[[], dict[str, t.Any]], user: t.Optional[User], parent: int, writer: int) -> t.NoReturn:
    """All that a child does."""
    status = 1
    try:
        _let_go_of_streams()
        if user is not None:
            _become(user)
        _die_with(parent)
        answer: dict[str, t.Any]
        try:
            answer = {"result": work()}
        except UvnasError as error:
            answer = {"error": error.as_dict()}
        except OSError as error:
            answer = {"error": explain_os_error(error).as_dict()}
        _say(writer, json.dumps(answer))
        status = 0
    except BaseException:  # The child must end here, whatever happened: past this frame it would be a second parent.
        with contextlib.suppress(BaseException):
            _say(writer, traceback.format_exc())
    finally:
        os._exit(status)  # pylint: disable=protected-access


def _say(writer: int, text: str) -> None:
    """Write all of the answer, and close the pipe."""
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(text.encode(errors="backslashreplace"))


def _let_go_of_streams() -> None:
    """Have nothing for standard input, output and error."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    if nothing > 2:
        os.close(nothing)


def readable(readers: t.Sequence[int], seconds: t.Optional[float] = None) -> list[int]:
    """Those of ``readers`` that have something to say, within ``seconds``. (poll, not select: any number of them.)"""
    poll = select.poll()
    for reader in readers:
        poll.register(reader, select.POLLIN)
    # Rounded up: to wait for less than a millisecond must not mean to not wait.
    milliseconds = None if seconds is None else min(max(0, math.ceil(seconds * 1000)), _LONGEST)
    return [reader for reader, _event in poll.poll(milliseconds)]


def _become(user: User) -> None:
    """Be ``user`` for good, in all ids and groups."""
    os.setgroups(user.groups)
    os.setgid(user.gid)
    os.setuid(user.uid)
    os.environ.update(HOME=user.home, USER=user.name, LOGNAME=user.name)
    os.chdir("/")


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` ends. To be called after a change of user, which clears it."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # It ended before the kernel was told.
        os.kill(os.getpid(), signal.SIGKILL)


def _prepare_child() -> None:
    """Between fork and exec of a command: die with the parent, and write files that only the owner may change."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.umask(0o022)
