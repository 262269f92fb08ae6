# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in processes of its own: several at once, as another user, ended, and killed with all that they started."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import select
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import process, workers
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.host.users import User, find_user, this_user
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import (
    Child,
    Work,
    call_as,
    call_many,
    call_within,
    readable,
    result_of,
)
from ansible_collections.uvnas.cluster.tests.support.processes import wait_for

RUNNER = SystemRunner()


def says(number: int) -> Work:
    return lambda: {"number": number}


@pytest.mark.parametrize("jobs", [0, 1, 2, 16])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_answers_are_in_order(jobs: int, count: int) -> None:
    answers = call_many([says(number) for number in range(count)], jobs=jobs)
    assert [answer()["number"] for answer in answers] == list(range(count))


def test_answers_are_in_order_when_the_first_is_the_last_to_finish(tmp_path: Path) -> None:
    def first() -> dict[str, t.Any]:
        wait_for(tmp_path / "second")
        return says(1)()

    def second() -> dict[str, t.Any]:
        (tmp_path / "second").touch()
        return says(2)()

    assert [answer() for answer in call_many([first, second], jobs=2)] == [{"number": 1}, {"number": 2}]


def test_an_answer_within_a_time() -> None:
    assert call_within(60, says(7)) == {"number": 7}

    def fails() -> t.NoReturn:
        raise UvnasError("no", hint="never")

    with pytest.raises(UvnasError, match="no") as caught:
        call_within(60, fails)
    assert caught.value.hint == "never"


def test_no_answer_within_a_time(tmp_path: Path) -> None:
    """It is killed with what it runs: the pipe ends once nobody has it open any more."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    def hangs() -> dict[str, t.Any]:
        RUNNER.run(["sh", "-c", 'exec sleep 1000 >"$1"', "sh", str(tmp_path / "pipe")])
        return {}

    assert call_within(0.5, hangs) is None
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.parametrize("jobs", [2, 3])
def test_jobs_run_at_once_and_no_more_of_them(tmp_path: Path, jobs: int) -> None:
    def work(number: int) -> dict[str, t.Any]:
        (tmp_path / f"running-{number}").touch()
        running = len(list(tmp_path.glob("running-*")))
        (tmp_path / f"met-{number}").touch()
        for other in range(jobs):  # The first ones meet; those that come later meet what they left.
            wait_for(tmp_path / f"met-{other}")
        (tmp_path / f"running-{number}").unlink()
        return {"running": running}

    answers = call_many([lambda number=number: work(number) for number in range(jobs * 2)], jobs=jobs)
    assert max(answer()["running"] for answer in answers) <= jobs


def test_a_long_answer() -> None:
    assert call_as(None, lambda: {"text": "ä" * 1_000_000}) == {"text": "ä" * 1_000_000}


def test_something_is_looked_at_meanwhile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "MEANWHILE", 0.01)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            (tmp_path / "enough").touch()

    def work() -> dict[str, t.Any]:
        wait_for(tmp_path / "enough")
        return says(1)()

    (answer,) = call_many([work], jobs=1, meanwhile=look)
    assert (answer(), looks >= 3) == ({"number": 1}, True)


def test_an_error_meanwhile_ends_all_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "MEANWHILE", 0.01)
    commands = [["sh", "-c", "echo $$ >$0.new; mv $0.new $0; exec sleep 1000", str(tmp_path / n)] for n in "ab"]

    def look() -> None:
        if (tmp_path / "a").exists() and (tmp_path / "b").exists():
            raise UvnasError("lost")

    works = [lambda command=command: {"rc": RUNNER.run(command).rc} for command in commands]
    with pytest.raises(UvnasError, match="lost"):
        call_many(works, jobs=2, meanwhile=look)
    for name in "ab":
        with contextlib.suppress(ProcessLookupError):
            ended = os.pidfd_open(int((tmp_path / name).read_text()))
            assert select.select([ended], [], [], 60)[0], "a command lives"
            os.close(ended)


def test_work_does_not_touch_its_parent() -> None:
    touched: list[int] = []

    def work() -> dict[str, t.Any]:
        touched.append(1)
        os.chdir("/")
        return {"pid": os.getpid()}

    here = os.getcwd()
    assert call_as(None, work)["pid"] != os.getpid()
    assert (touched, os.getcwd()) == ([], here)


def raiser(error: Exception) -> Work:
    def work() -> dict[str, t.Any]:
        raise error

    return work


@pytest.mark.parametrize(
    "error",
    [
        UvnasError("it cannot be", hint="Do something."),
        CommandError("it failed", cmd=["uv", "sync"], rc=2, stdout="out", stderr="err", hint="Try."),
    ],
)
def test_errors_cross_and_leave_the_others_alone(error: UvnasError) -> None:
    before, failed, after = call_many([says(1), raiser(error), says(3)], jobs=1)
    assert (before(), after()) == ({"number": 1}, {"number": 3})
    with pytest.raises(UvnasError) as caught:
        failed()
    assert type(caught.value) is type(error)
    assert caught.value.as_dict() == error.as_dict()


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "no free bytes or inodes"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "owner and modes"),
        (errno.EPERM, "root may be squashed"),
        (errno.ESTALE, "Remount"),
        (errno.EIO, "Check the NAS"),
        (errno.ENOTDIR, ""),
    ],
)
def test_what_the_system_says_becomes_advice(number: int, hint: str) -> None:
    with pytest.raises(UvnasError) as caught:
        call_as(None, raiser(OSError(number, os.strerror(number), "/mnt/nas-a/uv/share.json")))
    assert str(caught.value) == f"{os.strerror(number)}: /mnt/nas-a/uv/share.json"
    assert hint in caught.value.hint
    assert bool(hint) is bool(caught.value.hint)


def end_by(number: signal.Signals) -> None:
    """End by the signal itself, whatever handlers the tests' own tools have put in place."""
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_child_ended_by_a_signal(number: signal.Signals) -> None:
    def work() -> dict[str, t.Any]:
        end_by(number)
        return {}

    ended, other = call_many([work, says(2)], jobs=2)
    with pytest.raises(UvnasError, match=f"the process doing the work was killed by {number.name}") as caught:
        ended()
    assert ("out of memory" in caught.value.hint) is (number == signal.SIGKILL)
    assert other() == {"number": 2}


@pytest.mark.parametrize(
    ("work", "bug"),
    [(raiser(ValueError("a bug ü \udcff")), "ValueError: a bug"), (lambda: {"set": {1}}, "TypeError: ")],
)
def test_a_bug_is_no_result_and_its_traceback_crosses(work: Work, bug: str) -> None:
    def nested() -> dict[str, t.Any]:
        return call_as(None, work)

    for outer in (work, nested):
        with pytest.raises(RuntimeError, match=f"(?s)the process doing the work failed:.*Traceback.*{bug}"):
            call_as(None, outer)


def test_a_child_has_nothing_of_the_streams_of_its_parent(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> dict[str, t.Any]:
        os.write(1, b"said by Python")
        said = RUNNER.run(["sh", "-c", "echo said by a command >&2; echo $(cat | wc -c)"])
        os.system("echo said by a command that nobody listens to")
        return {"streams": [os.readlink(f"/proc/self/fd/{stream}") for stream in range(3)], "command": said.stdout}

    assert call_as(None, work) == {"streams": ["/dev/null"] * 3, "command": "0\n"}
    assert capfd.readouterr() == ("", "")


FAMILY = f"""
import sys
from {process.__name__} import SystemRunner
from {workers.__name__} import call_many
command = ["sh", "-c", "echo $$ >$0.new; mv $0.new $0; exec sleep 1000", sys.argv[1]]
call_many([lambda: {{"rc": SystemRunner().run(command).rc}}], jobs=1)
"""


def test_a_killed_parent_takes_its_grandchildren_along(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FAMILY, str(tmp_path / "pid")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with parent:
        try:
            wait_for(tmp_path / "pid")
            grandchild = os.pidfd_open(int((tmp_path / "pid").read_text()))
        finally:
            parent.kill()
    try:
        assert select.select([grandchild], [], [], 60)[0], "the grandchild lives"
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(grandchild, signal.SIGKILL)
        os.close(grandchild)


@pytest.mark.parametrize("seconds", [3e6, 1e300])
def test_a_very_long_wait_is_one(seconds: float) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    assert readable([reader], seconds) == [reader]
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("quotas", "count"),
    [
        ({}, 8),
        ({"": "200000 100000", "user/alice": "max 100000"}, 2),
        ({"user": "300000 100000", "user/alice": "450000 100000"}, 3),
        ({"user/alice": "50000 100000"}, 1),
        ({"user/alice": "nonsense"}, 8),
    ],
)
def test_processors_are_those_that_there_is_time_for(
    quotas: dict[str, str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("3:cpu:/elsewhere\n0::/user/alice\n", encoding="utf-8")
    for group, quota in quotas.items():
        (tmp_path / "mounted" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounted" / group / "cpu.max").write_text(f"{quota}\n", encoding="utf-8")
    assert workers.processors(str(cgroup), str(tmp_path / "mounted")) == count
    cgroup.write_text("3:cpu:/elsewhere\n", encoding="utf-8")  # The first version of control groups alone.
    assert workers.processors(str(cgroup), str(tmp_path / "mounted")) == 8
    assert workers.processors(str(tmp_path / "none")) == 8


def test_work_as_another_user() -> None:
    user = find_user("nobody") if os.geteuid() == 0 else None
    expected = user or this_user()

    def work() -> dict[str, t.Any]:
        said = RUNNER.run(["/bin/sh", "-c", "id -u; id -g"]).stdout.split()
        return {"ids": os.getresuid(), "groups": os.getgroups(), "command": said, "variables": dict(os.environ)}

    answer = call_as(user, work)
    assert answer["ids"] == [expected.uid] * 3
    assert set(answer["groups"]) | {expected.gid} == set(expected.groups)
    assert answer["command"] == [str(expected.uid), str(expected.gid)]
    if user is not None:
        assert (answer["variables"]["HOME"], answer["variables"]["USER"]) == (user.home, user.name)


TERMINAL = """
import os, sys
from ansible_collections.uvnas.cluster.plugins.module_utils.host.users import nobody
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import call_as

def look():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError as error:
        return {"terminal": error.strerror}
    return {"terminal": "is there"}

print(call_as(None, look)["terminal"], "/", call_as(nobody(), look)["terminal"])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_child_has_no_terminal_of_ours() -> None:
    """What is put into it (TIOCSTI) is typed by whoever sits there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.execv(sys.executable, [sys.executable, "-c", TERMINAL])
    said = b""
    with contextlib.suppress(OSError):  # It is closed.
        while part := os.read(terminal, 1 << 10):
            said += part
    os.waitpid(pid, 0)
    os.close(terminal)
    assert said.decode().strip() == "No such device or address / No such device or address"


def test_a_user_that_one_may_not_become_is_no_result() -> None:
    """Whoever is not root may become nobody, and root nobody with a uid that cannot be."""
    with pytest.raises(RuntimeError, match="the process doing the work failed"):
        call_as(User("nobody", 1 << 40, 1 << 40, (), "/"), says(1))


def test_a_child_step_by_step() -> None:
    reader, writer = os.pipe()

    def work() -> dict[str, t.Any]:
        os.close(writer)
        os.read(reader, 1)
        return {"number": 1}

    child = Child(work)
    assert readable([child.reader], 0) == []
    assert not child.reap(wait=False)
    os.close(writer)
    while not child.read():
        pass
    assert child.reap()
    assert child.reap(wait=False)
    assert result_of(child.answer()) == {"number": 1}
    os.close(reader)


def test_a_child_that_is_killed() -> None:
    child = Child(lambda: RUNNER.run(["sleep", "1000"]).__dict__)
    child.kill()
    assert child.read()
    assert child.reap()
    with pytest.raises(UvnasError, match="was killed by SIGKILL"):
        result_of(child.answer())
