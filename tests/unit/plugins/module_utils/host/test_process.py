# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes: results and errors that cross, work that is parallel, and nothing that outlives its parent."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import process
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import (
    Completed,
    SystemRunner,
    call_as,
    call_many,
    readable,
)

Work = t.Callable[[], dict[str, t.Any]]
RUNNER = SystemRunner()


def wait_for(path: Path) -> None:
    for _attempt in range(6000):
        if path.exists():
            return
        time.sleep(0.01)
    raise UvnasError(f"{path.name} has not come within a minute")


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
        (errno.EIO, "Look at the NAS"),
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
    with pytest.raises(UvnasError, match=f"the process doing the work was ended by {number.name}") as caught:
        ended()
    assert ("lack of memory" in caught.value.hint) is (number == signal.SIGKILL)
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


FAMILY = """
import sys
from {module} import *
command = ["sh", "-c", "echo $$ >$0.new; mv $0.new $0; exec sleep 1000", sys.argv[1]]
call_many([lambda: {{"rc": SystemRunner().run(command).rc}}], jobs=1)
"""


def test_a_killed_parent_takes_its_grandchildren_along(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FAMILY.format(module=process.__name__), str(tmp_path / "pid")],
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


def test_a_command(tmp_path: Path) -> None:
    script = 'cat; echo "$A ${B-unset} $PWD"; echo said >&2; umask; exit 3'
    done = RUNNER.run(["/bin/sh", "-c", script], env={"A": "a b"}, cwd=str(tmp_path), stdin="in\n")
    assert done == Completed(3, f"in\na b unset {tmp_path}\n0022\n", "said\n")


def test_a_command_has_no_input_by_itself() -> None:
    assert RUNNER.run(["cat"]) == Completed(0, "", "")


def test_a_command_may_say_what_is_no_text() -> None:
    assert RUNNER.run(["printf", r"\377"]).stdout == "\ufffd"


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="cannot run /nowhere/uv: No such file or directory") as caught:
        RUNNER.run(["/nowhere/uv", "--version"])
    assert (caught.value.cmd, caught.value.rc) == (["/nowhere/uv", "--version"], errno.ENOENT)


def test_check_shows_no_passwords() -> None:
    cmd = ["sh", "-c", "echo https://u:s3cret@a.example >&2; echo ssh://u:s3cret@b.example; exit 1"]
    done = RUNNER.run(cmd)
    with pytest.raises(CommandError, match="it failed") as caught:
        process.check(done, cmd, "it failed", hint="Try.")
    assert "s3cret" not in repr(caught.value.as_dict())
    assert caught.value.explain() == "it failed\nhttps://****@a.example\nTry."
    assert process.check(Completed(0, "", ""), cmd, "it failed") == Completed(0, "", "")


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("https://u:p@a.example/simple", "https://****@a.example/simple"),
        ("https://u:p@ss@a.example/simple", "https://****@a.example/simple"),
        (
            "'https://token@a.example' and http://u:@b.example:80/",
            "'https://****@a.example' and http://****@b.example:80/",
        ),
        ("a @ git+ssh://git@a.example/x.git@v1", "a @ git+ssh://****@a.example/x.git@v1"),
        ("https://a.example/x@1 mail a@b.example", "https://a.example/x@1 mail a@b.example"),
        ("https://a.example admin@b.example", "https://a.example admin@b.example"),
        ("", ""),
    ],
)
def test_scrub(text: str, scrubbed: str) -> None:
    assert process.scrub(text) == scrubbed


def test_users() -> None:
    root = process.find_user("root")
    assert (root.uid, root.gid, root.home) == (0, 0, "/root")
    assert 0 in root.groups
    with pytest.raises(UvnasError, match="this host has no user nobody-of-this-name"):
        process.find_user("nobody-of-this-name")


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(CommandError, match="has not come to an end in 0.2 s"):
        SystemRunner().run(["/bin/sleep", "600"], timeout=0.2)


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
    assert process.processors(str(cgroup), str(tmp_path / "mounted")) == count
    cgroup.write_text("3:cpu:/elsewhere\n", encoding="utf-8")  # The first version of control groups alone.
    assert process.processors(str(cgroup), str(tmp_path / "mounted")) == 8
    assert process.processors(str(tmp_path / "none")) == 8
