# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes mention, by a /proc made for that, and by real ones: hidden, ended, unreadable, and stuck."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host import evidence

TICKS = os.sysconf("SC_CLK_TCK")


def find(text: str) -> list[str]:
    return re.findall("needle-[a-z]+", text)


class Proc:
    """A directory that looks like /proc."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "stat").write_text("cpu 1 2 3\nbtime 1700000000\n")
        (path / "self").mkdir()
        (path / "empty").mkdir()

    def add(self, pid: int, *, name: str = "python", fds: t.Sequence[str] = (), **more: t.Any) -> Path:
        directory = self.path / str(pid)
        (directory / "fd").mkdir(parents=True)
        ids = "1000\t1000\t1000\t1000"
        (directory / "status").write_text(f"Name:\t{name}\nUid:\t{ids}\nGid:\t{ids}\nGroups:\t1000 1002 \n")
        (directory / "root").symlink_to(more.get("root", self.path / "empty"))
        (directory / "stat").write_text(f"{pid} (a) b) S {' '.join('0' * 18)} {5 * TICKS} 0\n")
        for link in ("exe", "cwd"):
            (directory / link).symlink_to(more.get(link, "/usr/bin/python"))
        for number, target in enumerate(fds):
            (directory / "fd" / str(number)).symlink_to(target)
        for file in ("maps", "environ", "cmdline"):
            (directory / file).write_bytes(more.get(file, b""))
        return directory


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def look(proc: Proc, patience: float = 5.0) -> list[evidence.Process]:
    return evidence.processes(find, proc=str(proc.path), patience=patience)


@pytest.mark.parametrize(
    "given",
    [
        {"exe": "/x/needle-a/python"},
        {"cwd": "/x/needle-a (deleted)"},
        {"fds": ["/dev/null", "/x/needle-a/lib.so"]},
        {"maps": b"7f00-7f01 r--p 0000 00:2f 7 /x/needle-a/\xff.so\n"},
        {"environ": b"HOME=/\0VIRTUAL_ENV=/x/needle-a\0"},
        {"cmdline": b"sh\0-c\0/x/needle-a/bin/python x\0"},
    ],
)
def test_where_it_is_mentioned(proc: Proc, given: dict[str, t.Any]) -> None:
    proc.add(7, **given)
    proc.add(8)
    (process,) = look(proc)
    assert (process.pid, process.uid, process.command, process.found) == (7, 1000, "python", ["needle-a"])
    assert (process.started, process.job, process.unread) == (1700000005.0, "", "")


def test_a_job_of_slurm(proc: Proc) -> None:
    proc.add(7, environ=b"A=needle-a\0SLURM_JOB_ID=4711\0X_SLURM_JOB_ID=1\0")
    proc.add(8, environ=b"A=needle-a\0SLURM_JOB_ID=\x1b[2J" + b"9" * 500 + b"\0")
    first, second = look(proc)
    assert first.job == "4711"
    assert second.job == "?[2J" + "9" * 36


def test_names_that_are_not_fit_to_be_shown(proc: Proc) -> None:
    proc.add(7, name="a) S 1\x1b[31m", cwd="/needle-b")
    assert look(proc)[0].command == "a) S 1?[31m"


def test_one_that_has_ended_and_one_of_the_kernel_use_nothing(proc: Proc) -> None:
    (proc.add(7, cmdline=b"needle-a") / "maps").unlink()
    (proc.add(8, cmdline=b"needle-a") / "exe").unlink()
    (proc.path / "9").mkdir()
    assert look(proc) == []


def test_one_that_cannot_be_read_is_named(proc: Proc) -> None:
    (proc.add(7) / "stat").write_text("nonsense")
    directory = proc.add(8, cwd="/needle-a")
    (directory / "environ").unlink()
    (directory / "environ").mkdir()
    first, second = look(proc)
    assert first.unread
    assert (second.found, second.unread) == (["needle-a"], "Is a directory")


def test_one_that_keeps_the_kernel_waiting_is_given_up_and_the_others_are_not(proc: Proc) -> None:
    for pid in (5, 7, 9):
        proc.add(pid, cwd="/needle-a")
    for pid in (6, 8):  # Whoever opens a pipe waits for somebody to write to it.
        directory = proc.add(pid)
        (directory / "maps").unlink()
        os.mkfifo(directory / "maps")
    found = look(proc, patience=0.3)
    assert [each.pid for each in found if each.found] == [5, 7, 9]
    stuck = [each for each in found if each.unread]
    assert [each.pid for each in stuck] == [6, 8]
    assert stuck[0].unread == "the kernel has said nothing of it for 0.3 s"


def test_all_of_them_together_are_given_up_too(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_PATIENCES", 1)
    proc.add(5, cwd="/needle-a")
    for pid in (6, 7, 8):
        directory = proc.add(pid)
        (directory / "maps").unlink()
        os.mkfifo(directory / "maps")
    found = look(proc, patience=0.5)
    assert [each.pid for each in found] == [5, 6, 7, 8]
    assert found[0].found == ["needle-a"]
    assert {each.unread for each in found[1:]} == {"there was no time to look at it: others have taken 0.5 s"}


def test_one_that_mentions_too_much_is_named(proc: Proc) -> None:
    """As anybody may start one: nothing of any length is told of it."""
    many = "".join(f"/needle-{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(51))
    proc.add(7, environ=many.encode())
    proc.add(8, cmdline=b"needle-a" + b"x" * (1 << 24))
    proc.add(9, environ=many[:-10].encode())
    first, second, third = look(proc)
    assert (len(first.found), first.unread) == (50, "it mentions more than 50 things that may be in use")
    assert (second.found, second.unread) == ([], "File too large")
    assert (len(third.found), third.unread) == (50, "")


def test_what_was_started_meanwhile_is_seen(proc: Proc) -> None:
    """One leaves its work to another one, and ends."""

    def find_and_fork(text: str) -> list[str]:
        if "fork" in text and not (proc.path / "8").exists():
            proc.add(8, cwd="/needle-b")
        return find(text)

    proc.add(7, cwd="/fork")
    found = evidence.processes(find_and_fork, proc=str(proc.path))
    assert [(each.pid, each.found) for each in found] == [(8, ["needle-b"])]


def test_a_real_one(tmp_path: Path) -> None:
    directory = tmp_path / "needle-real"
    directory.mkdir()
    code = "import os, sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = {each.pid: each for each in evidence.processes(find)}
        assert found[child.pid].found == ["needle-real"]
        assert found[child.pid].uid == os.getuid()
        assert child.stdin is not None
        child.stdin.close()
    # This process mentions it too, and is the one that asks.
    assert os.getpid() not in found


def test_one_whose_first_thread_has_ended() -> None:
    code = (
        "import ctypes, platform, sys, threading\n"
        "threading.Thread(target=sys.stdin.read).start()\n"
        "print(flush=True)\n"
        "ctypes.CDLL(None).syscall({'x86_64': 60}.get(platform.machine(), 93), 0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "needle-arg"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        path = Path(f"/proc/{child.pid}")
        deadline = time.monotonic() + 60
        while "(zombie)" not in (path / "status").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        found = {each.pid: each for each in evidence.processes(find)}
        assert (found[child.pid].found, found[child.pid].unread) == (["needle-arg"], "")
        child.kill()


PROGRAM = "/home/alice/env/bin/python3"


@pytest.fixture
def configuration(proc: Proc) -> Path:
    """The pyvenv.cfg of an environment in a container; its path."""
    path = proc.path / "container" / "home" / "alice" / "env" / "pyvenv.cfg"
    path.parent.mkdir(parents=True)
    path.write_text("home = /mnt/needle-home/bin\nversion = 3.12.4\n")
    return path


def of(configuration: Path) -> Path:
    """The root of its container."""
    return configuration.parents[3]


@pytest.mark.parametrize("deleted", ["", " (deleted)"])
def test_an_environment_of_copies_is_known_by_its_configuration(proc: Proc, configuration: Path, deleted: str) -> None:
    proc.add(7, exe=PROGRAM + deleted, root=of(configuration), cwd="/needle-cwd")
    assert [each.found for each in look(proc)] == [["needle-cwd", "needle-home"]]


def test_after_a_chroot_the_program_has_a_path_outside(proc: Proc, configuration: Path) -> None:
    proc.add(7, exe=f"{of(configuration)}{PROGRAM}", root=of(configuration))
    assert [each.found for each in look(proc)] == [["needle-home"]]


@pytest.mark.parametrize(
    "given",
    [
        {"exe": "/home/alice/env/bin/needle-python"},
        {"exe": "/home/alice/env/bin/python-needle-a"},
        {"exe": PROGRAM, "maps": b"7f00-7f01 r--p 0000 00:2f 7 /x/needle-a/libpython.so\n"},
    ],
)
def test_no_other_configuration_is_read(proc: Proc, configuration: Path, given: dict[str, t.Any]) -> None:
    proc.add(7, root=of(configuration), **given)
    assert "needle-home" not in look(proc)[0].found


@pytest.mark.parametrize("instead", ["pipe", "link", "directory", "socket", "no directory"])
def test_what_is_no_configuration_says_nothing(proc: Proc, configuration: Path, instead: str) -> None:
    content = configuration.read_bytes()
    configuration.unlink()
    if instead == "pipe":
        os.mkfifo(configuration)
    elif instead == "link":
        configuration.with_name("elsewhere").write_bytes(content)
        configuration.symlink_to("elsewhere")
    elif instead == "directory":
        configuration.mkdir()
    elif instead == "socket":
        os.mknod(configuration, stat.S_IFSOCK | 0o644)
    else:
        configuration.parent.rmdir()
        configuration.parent.write_bytes(content)
    proc.add(7, exe=PROGRAM, root=of(configuration), cwd="/needle-cwd")
    (process,) = look(proc)
    assert (process.found, process.unread) == (["needle-cwd"], "")


def test_only_the_start_of_a_huge_one_is_read(proc: Proc, configuration: Path) -> None:
    with configuration.open("a") as file:
        file.write("x" * (1 << 16) + "\nneedle-end\n")
        file.truncate(1 << 40)
    proc.add(7, exe=PROGRAM, root=of(configuration))
    assert [each.found for each in look(proc)] == [["needle-home"]]


def refuse(monkeypatch: pytest.MonkeyPatch, uids: t.Collection[int]) -> None:
    """Let some users read no configuration, as an NFS server does that squashes root."""
    real = os.open

    def squashed(path: t.Any, *args: t.Any, **kwargs: t.Any) -> int:
        if str(path).endswith("pyvenv.cfg") and os.geteuid() in uids:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", squashed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_where_root_is_squashed_it_is_read_as_its_user(
    proc: Proc, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration.parent.chmod(0o750)
    os.chown(configuration.parent, 1001, 1002)  # The user gets there by a group only.
    proc.add(7, exe=PROGRAM, root=of(configuration))
    refuse(monkeypatch, {0})
    assert [(each.found, each.unread) for each in look(proc)] == [(["needle-home"], "")]


def test_one_that_nobody_may_read_is_named(proc: Proc, configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.add(7, exe=PROGRAM, root=of(configuration), cwd="/needle-cwd")
    refuse(monkeypatch, {0, 1000, os.geteuid()})
    found = [(each.found, each.unread) for each in look(proc)]
    assert found == ([(["needle-cwd"], "Permission denied: home/alice/env/pyvenv.cfg")] if os.geteuid() == 0 else [])


def test_a_hung_home_is_given_up(proc: Proc, configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.add(7, exe=PROGRAM, root=of(configuration))
    proc.add(8, exe="/bin/sh", cwd="/needle-cwd")
    monkeypatch.setattr(evidence, "_start_of", lambda _path, _root: signal.pause())
    hung, other = sorted(look(proc, patience=0.3), key=lambda each: each.pid)
    assert hung.unread == "the kernel has said nothing of it for 0.3 s"
    assert other.found == ["needle-cwd"]


def test_a_real_environment_of_copies(tmp_path: Path) -> None:
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", environment], check=True)
    configuration = environment / "pyvenv.cfg"
    configuration.write_text(configuration.read_text(encoding="utf-8") + "needle-copies\n", encoding="utf-8")
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [environment / "bin" / "python3", "-c", code], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = {each.pid: each for each in evidence.processes(find)}
        assert found[child.pid].found == ["needle-copies"]
        assert child.stdin is not None
        child.stdin.close()


def test_a_target_is_never_looked_at(proc: Proc, tmp_path: Path) -> None:
    """It may be on a NAS that hangs: a link to a pipe says nothing until it is read."""
    os.mkfifo(tmp_path / "needle-pipe")
    proc.add(7, cwd=str(tmp_path / "needle-pipe"), fds=[str(tmp_path / "needle-pipe")])
    assert [each.found for each in look(proc)] == [["needle-pipe"]]
