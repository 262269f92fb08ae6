# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work done in forked processes: as another user, several pieces at once, and never outliving its parent.

Processes, not threads: a thread would make the code between fork and exec unsafe. Every child dies with its parent, see
``process``, down the whole chain; if it has a guard, so does everything it started.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import select
import signal
import time
import traceback
import typing as t

from ..errors import UvnasError, from_os_error
from .guard import GIVE_UP, guard
from .process import die_with
from .users import User

_LONGEST = (1 << 31) - 1  # What poll() takes, in milliseconds.
# Seconds between two calls of ``meanwhile`` while children are at work.
MEANWHILE = 4.0

# Plain data, which can cross a process boundary.
Result = dict[str, t.Any]
Work = t.Callable[[], Result]
_Each = t.TypeVar("_Each")


def call_as(user: t.Optional[User], work: Work) -> Result:
    """Do ``work`` in a child process, as ``user`` if one is given; return its result, or raise its UvnasError."""
    return call_many([work], jobs=1, user=user)[0]()


def call_within(seconds: float, work: Work) -> t.Optional[Result]:
    """Do ``work`` in a child process; return its result, or raise its UvnasError.

    None if that takes longer: it is killed then with the commands that it runs, but not waited for, as it may never
    end.
    """
    child = Child(work)
    limit = time.monotonic() + seconds
    while readable([child.reader], max(0.0, limit - time.monotonic())):
        if child.read():
            child.reap()
            return result_of(child.answer())
    child.kill()
    os.close(child.reader)
    return None


def call_many(
    works: t.Sequence[Work],
    *,
    jobs: int,
    user: t.Optional[User] = None,
    meanwhile: t.Callable[[], None] = lambda: None,
) -> list[Work]:
    """Do all ``works`` in child processes, at most ``jobs`` at once; results must be plain data.

    Returns one callable per work, in order: it returns the result, or raises the UvnasError that the work raised.
    ``meanwhile`` is called every few seconds; if it raises, all of them are killed.
    """
    waiting = list(enumerate(works))[::-1]
    running: dict[int, tuple[int, Child]] = {}
    answers: dict[int, Result] = {}
    while waiting or running:
        while waiting and len(running) < max(1, jobs):
            index, work = waiting.pop()
            child = Child(work, user)
            running[child.reader] = (index, child)
        for reader in _wait_for_output(running, meanwhile):
            index, child = running[reader]
            if child.read():
                del running[reader]
                child.reap()
                answers[index] = child.answer()
    return [_Answer(answers[index]) for index in range(len(works))]


def portions(each: t.Sequence[_Each], size: int) -> list[t.Sequence[_Each]]:
    """Parts of ``each`` with at most ``size`` items, in order: what one process is given."""
    return [each[start : start + size] for start in range(0, len(each), size)]


def _wait_for_output(running: t.Mapping[int, tuple[int, Child]], meanwhile: t.Callable[[], None]) -> list[int]:
    """The readers of ``running`` that have output. On an error all of these children are killed."""
    try:
        while True:
            found = readable(list(running), MEANWHILE)
            if found:
                return found
            meanwhile()
    except BaseException:
        for _index, child in running.values():
            child.kill()
        raise


def result_of(answer: t.Mapping[str, t.Any]) -> Result:
    """The result in a child's answer; raises the UvnasError if it contains one instead."""
    if "error" in answer:
        raise UvnasError.from_dict(answer["error"])
    result: Result = answer["result"]
    return result


class _Answer:
    """Returns the result of a piece of work, or raises its error, when called."""

    def __init__(self, answer: Result) -> None:
        self._answer = answer

    def __call__(self) -> Result:
        return result_of(self._answer)


def processors(cgroup: str = "/proc/self/cgroup", mounted: str = "/sys/fs/cgroup") -> int:
    """How many processors this process may keep busy, by its affinity and its CPU quotas.

    A control group (cgroups v2) has its quota in ``cpu.max``, and so do its ancestors.
    """
    count = float(len(os.sched_getaffinity(0)))
    with contextlib.suppress(OSError, ValueError, StopIteration, ZeroDivisionError):
        with open(cgroup, encoding="utf-8") as file:
            path = next(line[len("0::") :].strip() for line in file if line.startswith("0::"))
        for group in itertools.accumulate(path.strip("/").split("/"), os.path.join, initial=mounted):
            with contextlib.suppress(FileNotFoundError), open(os.path.join(group, "cpu.max"), encoding="utf-8") as file:
                quota, period = file.read().split()
                count = min(count, int(quota) / int(period) if quota != "max" else count)
    return max(1, int(count))


class Child:
    """A forked process that does ``work``, as ``user`` if one is given. Its answer is read from a pipe.

    It keeps none of the standard streams open: whoever reads the output of this process, as ssh does, sees the end of
    it when this process ends, even if the kernel cannot end the child, which is waiting for a dead NAS.

    ``guarded``: when it ends or is killed, or this process is, all that it has started is killed, see ``guard``.
    """

    def __init__(self, work: Work, user: t.Optional[User] = None, *, guarded: bool = False) -> None:
        self.reader, writer = os.pipe()
        parent = os.getpid()
        # The child, or its guard.
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reader)
            if guarded:
                _be_guarded(work, user, parent, writer)
            _do(work, user, parent, writer)
        os.close(writer)
        self._kill = GIVE_UP if guarded else signal.SIGKILL
        self._output: list[bytes] = []
        self._status: t.Optional[int] = None

    def read(self) -> bool:
        """Read some of its output; True when that was all. Blocks while there is none."""
        part = os.read(self.reader, 1 << 16)
        if part:
            self._output.append(part)
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
        """Kill it, without waiting. It must not have been reaped."""
        os.kill(self.pid, self._kill)

    def answer(self) -> Result:
        """Its answer, for result_of(), once it has ended. Raises RuntimeError if it failed because of a bug."""
        status = self._status or 0
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            hint = "Did the machine run out of memory? See the kernel's log." if name == "SIGKILL" else ""
            return {"error": UvnasError(f"the process doing the work was killed by {name}", hint=hint).as_dict()}
        output = b"".join(self._output).decode()
        if os.WEXITSTATUS(status) != 0:
            raise RuntimeError(f"the process doing the work failed:\n{output}")
        answer: Result = json.loads(output)
        return answer


def _be_guarded(work: Work, user: t.Optional[User], parent: int, writer: int) -> t.NoReturn:
    """The whole life of a child that guards another one."""
    try:
        _detach()
        me = os.getpid()

        def do() -> t.NoReturn:
            _do(work, user, me, writer)

        guard(parent, do, lambda: os.close(writer))
    except BaseException:
        with contextlib.suppress(BaseException):
            _say(writer, traceback.format_exc())
    finally:
        os._exit(1)  # pylint: disable=protected-access


def _do(work: Work, user: t.Optional[User], parent: int, writer: int) -> t.NoReturn:
    """The whole life of a child."""
    status = 1
    try:
        _detach()
        if user is not None:
            _become(user)
        die_with(parent)
        answer: Result
        try:
            answer = {"result": work()}
        except UvnasError as error:
            answer = {"error": error.as_dict()}
        except OSError as error:
            answer = {"error": from_os_error(error).as_dict()}
        _say(writer, json.dumps(answer))
        status = 0
    except BaseException:  # Whatever happened, the child must end here: past this frame it would be a second parent.
        with contextlib.suppress(BaseException):
            _say(writer, traceback.format_exc())
    finally:
        os._exit(status)  # pylint: disable=protected-access


def _say(writer: int, text: str) -> None:
    """Write all of the answer, and close the pipe."""
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(text.encode(errors="backslashreplace"))


def _detach() -> None:
    """Leave the terminal, and replace standard input, output and error by /dev/null.

    What a process pushes into the terminal of whoever started all this is as good as typed (TIOCSTI).
    """
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    if nothing > 2:
        os.close(nothing)


def readable(readers: t.Sequence[int], seconds: t.Optional[float] = None) -> list[int]:
    """The ``readers`` that become readable within ``seconds``. (poll, as select stops at 1024.)"""
    poll = select.poll()
    for reader in readers:
        poll.register(reader, select.POLLIN)
    # Rounded up, or waiting for less than a millisecond would not wait at all.
    milliseconds = None if seconds is None else min(max(0, math.ceil(seconds * 1000)), _LONGEST)
    return [reader for reader, _event in poll.poll(milliseconds)]


def _become(user: User) -> None:
    """Become ``user`` for good, in all ids and groups."""
    os.setgroups(user.groups)
    os.setgid(user.gid)
    os.setuid(user.uid)
    os.environ.update(HOME=user.home, USER=user.name, LOGNAME=user.name)
    os.chdir("/")
