# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes that want one mutex, some of which are killed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import LostMutexError, ShareBusyError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex, workers
from ansible_collections.uvnas.cluster.tests.support.mutexes import lose
from ansible_collections.uvnas.cluster.tests.support.processes import other_process

IMPORT = f"from {mutex.__name__} import hold\n"
HOLD = f"""{IMPORT}with hold(sys.argv[1], timeout=0, purpose="build analysis"):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / ".uvnas.mutex")


def test_a_mutex_held_by_another_process(path: str, tmp_path: Path) -> None:
    with other_process(HOLD, path) as holder:
        for timeout in (0, 0.3):
            with (
                pytest.raises(ShareBusyError) as caught,
                mutex.hold(path, timeout=timeout, purpose="remove analysis"),
            ):
                raise AssertionError("two hold the mutex")
            who = f"host {socket.gethostname()}, pid {holder.pid}, since "
            assert str(caught.value).startswith(f"another process is working on {tmp_path}: {who}")
            assert re.search(rf"since 2\S+\+00:00 \(build analysis\); timed out after {timeout} s$", str(caught.value))
        # Asking for it has not made it anybody else's.
        assert json.loads(Path(path).read_text())["pid"] == holder.pid


def test_a_mutex_is_waited_for(path: str) -> None:
    with other_process(HOLD, path) as holder:
        waiter = f"{IMPORT}print('ready', flush=True)\nwith hold(sys.argv[1], timeout=60, purpose=''): print('mine')"
        with other_process(waiter, path) as waiting:
            holder.communicate(timeout=60)
            said, _stderr = waiting.communicate(timeout=60)
            assert (said, waiting.returncode) == ("mine\n", 0)


def test_who_waits_says_once_for_whom_and_when_it_is_over(path: str) -> None:
    waiter = (
        f"{IMPORT}print('ready', flush=True)\n"
        "with hold(sys.argv[1], timeout=60, purpose='', waiting=lambda who: print(who, flush=True)): print('mine')"
    )
    with other_process(HOLD, path) as holder, other_process(waiter, path) as waiting:
        assert waiting.stdout is not None
        first = waiting.stdout.readline()
        assert first.startswith(f"host {socket.gethostname()}, pid {holder.pid}, since ")
        holder.communicate(timeout=60)
        said, _stderr = waiting.communicate(timeout=60)
        assert (said, waiting.returncode) == ("None\nmine\n", 0)


def test_who_need_not_wait_says_nothing(path: str) -> None:
    said: list[object] = []
    with mutex.hold(path, timeout=0, purpose="", waiting=said.append):
        assert said == []


def test_a_mutex_ends_with_its_holder(path: str) -> None:
    with other_process(HOLD, path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=60)
        with mutex.hold(path, timeout=0, purpose="heal"):
            assert json.loads(Path(path).read_text())["pid"] == os.getpid()


def test_a_mutex_is_given_back_after_an_error(path: str) -> None:
    with pytest.raises(UvnasError, match="broken"), mutex.hold(path, timeout=0, purpose="build"):
        raise UvnasError("broken")
    with other_process(HOLD, path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"host": "a"}', "\x00" * 10])
def test_a_holder_that_has_not_said_who_it_is(path: str, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another host. Of one on this host the kernel knows more."""
    monkeypatch.setattr(mutex, "_local_holder", lambda _descriptor: None)
    with other_process(HOLD, path):
        Path(path).write_text(content)
        # Opened and closed here: a POSIX lock is lost only where its own process does that.
        with (
            pytest.raises(ShareBusyError, match="an unknown process"),
            mutex.hold(path, timeout=0, purpose="build"),
        ):
            raise AssertionError("two hold the mutex")


@pytest.mark.parametrize("name", ["", "last"])
def test_a_holder_that_does_not_say_is_not_called_by_the_name_of_the_last(path: str, name: str) -> None:
    """Who was killed leaves its name."""
    with other_process(HOLD, path) as last:
        last.kill()
        last.wait(timeout=60)
    if not name:
        os.truncate(path, 0)
    silent = "import fcntl\nfile = open(sys.argv[1], 'r+')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
    with other_process(silent + "print('ready', flush=True)\nsys.stdin.read()", path) as holder:
        with pytest.raises(ShareBusyError) as caught, mutex.hold(path, timeout=0, purpose="build"):
            raise AssertionError("two hold the mutex")
        assert f": pid {holder.pid} on this host, for an unknown purpose; timed out after" in str(caught.value)


# Whether it is still held


def checked_by_a_child(path: str) -> bool:
    def check() -> dict[str, t.Any]:
        try:
            mutex.check(path)
        except LostMutexError:
            return {"held": False}
        return {"held": True}

    return bool(workers.call_as(None, check)["held"])


def test_a_mutex_that_is_held(path: str) -> None:
    with mutex.hold(path, timeout=0, purpose="build"):
        for _again in range(2):
            mutex.check(path)
            assert checked_by_a_child(path)
        # To look has not let go of it.
        other = f"{IMPORT}from ansible_collections.uvnas.cluster.plugins.module_utils.errors import ShareBusyError\n"
        other += "try:\n    with hold(sys.argv[1], timeout=0, purpose=''): print('mine')\n"
        other += "except ShareBusyError: print('ready', flush=True)"
        with other_process(other, path):
            pass


def test_who_has_taken_none_has_lost_none(path: str) -> None:
    mutex.check(path)
    with mutex.hold(path, timeout=0, purpose="build"):
        mutex.check(f"{path}.another")
    mutex.check(path)


def test_a_mutex_that_somebody_else_has_taken(path: str, tmp_path: Path) -> None:
    with mutex.hold(path, timeout=0, purpose="build"):
        lose(path)
        with pytest.raises(LostMutexError) as caught:
            mutex.check(path)
        assert str(caught.value) == (
            f"lost the mutex of {tmp_path}: it has been taken by host c2, pid 12, since 2026-01-01T00:00:00+00:00 "
            "(uv_env); nothing more was changed"
        )
        assert "longer than the NAS keeps locks" in caught.value.hint
        assert not checked_by_a_child(path)
    # Whose name it is says so still.
    assert json.loads(Path(path).read_text())["host"] == "c2"


@pytest.mark.parametrize("content", ["", "{", '{"word": ""}', "\x00" * 200])
def test_a_mutex_that_somebody_else_has_had(path: str, content: str) -> None:
    with mutex.hold(path, timeout=0, purpose="build"):
        Path(path).write_text(content)
        with pytest.raises(LostMutexError, match="taken by an unknown process"):
            mutex.check(path)
        assert not checked_by_a_child(path)


@pytest.mark.parametrize("again", [False, True])
def test_a_mutex_that_somebody_has_removed(path: str, again: bool) -> None:
    """As one would do who takes it for a leftover. The next one to come has another one."""
    with mutex.hold(path, timeout=0, purpose="build"):
        os.unlink(path)
        if again:
            Path(path).touch()
        with pytest.raises(LostMutexError, match=r"can no longer be read \(No such file or directory\)"):
            mutex.check(path)
        assert not checked_by_a_child(path)


def test_a_server_that_has_forgotten_the_lock(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFSv4 says it, to the process that has taken it."""

    def pread(_descriptor: int, _length: int, _offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with mutex.hold(path, timeout=0, purpose="build"):
        monkeypatch.setattr(os, "pread", pread)
        with pytest.raises(LostMutexError, match=r"can no longer be read \(Input/output error\)"):
            mutex.check(path)
        monkeypatch.undo()


def test_what_it_is_of_may_be_said(path: str) -> None:
    with (
        other_process(HOLD, path),
        pytest.raises(ShareBusyError, match=r"another process is working on the exports: host \S+, pid") as caught,
        mutex.hold(path, timeout=0, purpose="build", what="the exports"),
    ):
        raise AssertionError("two hold the mutex")
    assert "uvnas_busy_timeout" in caught.value.hint


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_even_read_it(path: str, umask: int) -> None:
    """A read lock, for which read permission is enough, would stop the builder."""
    before = os.umask(umask)
    try:
        with mutex.hold(path, timeout=0, purpose="build"):
            assert os.stat(path).st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_one_that_was_open_to_others_is_closed(path: str) -> None:
    Path(path).touch(0o644)
    os.chmod(path, 0o666)
    with mutex.hold(path, timeout=0, purpose="build"):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_name_in_it_is_that_of_a_holder(path: str) -> None:
    with mutex.hold(path, timeout=0, purpose="build"):
        assert json.loads(Path(path).read_text())["purpose"] == "build"
    assert Path(path).read_text() == "\n"
    with pytest.raises(UvnasError, match="broken"), mutex.hold(path, timeout=0, purpose="build"):
        raise UvnasError("broken")
    assert Path(path).read_text() == "\n"


@pytest.fixture
def small(tmp_path: Path) -> t.Iterator[Path]:
    """A small filesystem."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], check=True)
    yield mount
    subprocess.run(["umount", mount], check=True)


def fill(filesystem: Path) -> None:
    with contextlib.suppress(OSError), (filesystem / "much").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small filesystem")
@pytest.mark.parametrize("before", ["used", "killed", "never used"])
def test_a_filesystem_that_is_full(small: Path, before: str) -> None:
    """Somebody has to be let in who removes something."""
    path = str(small / ".uvnas.mutex")
    Path(path).touch(0o600)
    if before == "used":
        with mutex.hold(path, timeout=0, purpose="build"):
            pass
    elif before == "killed":
        lose(path)
    fill(small)
    with mutex.hold(path, timeout=0, purpose="remove"):
        mutex.check(path)
        assert checked_by_a_child(path)
        if before != "never used":
            assert json.loads(Path(path).read_text())["purpose"] == "remove"
        else:
            (small / "much").unlink()
            lose(path)
            with pytest.raises(LostMutexError, match="taken by host c2"):
                mutex.check(path)
            assert not checked_by_a_child(path)


def test_a_link_in_its_place_is_not_followed(path: str, tmp_path: Path) -> None:
    """Root would empty any file."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for link in (os.symlink, os.link):
        link(victim, path)
        with pytest.raises(UvnasError, match="is not a regular file"), mutex.hold(path, timeout=0, purpose="build"):
            raise AssertionError("it was followed")
        os.unlink(path)
    os.symlink(tmp_path / "new", path)
    with pytest.raises(UvnasError, match="is not a regular file"), mutex.hold(path, timeout=0, purpose="build"):
        raise AssertionError("it was followed")
    assert victim.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == [".uvnas.mutex", "victim"]


def test_a_pipe_or_a_directory_in_its_place(path: str) -> None:
    for make, unmake in ((os.mkfifo, os.unlink), (os.mkdir, os.rmdir)):
        make(path)
        with pytest.raises(UvnasError, match="is not a regular file"), mutex.hold(path, timeout=0, purpose="build"):
            raise AssertionError("it was taken for a mutex")
        unmake(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that belongs to somebody else")
def test_one_that_somebody_else_put_there(path: str) -> None:
    Path(path).touch()
    os.chown(path, 65534, 65534)
    with (
        pytest.raises(UvnasError, match="belongs to uid 65534, not to uid 0"),
        mutex.hold(path, timeout=0, purpose="build"),
    ):
        raise AssertionError("it was trusted")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_somebody_else_cannot_stop_us(path: str, tmp_path: Path) -> None:
    with mutex.hold(path, timeout=0, purpose="build"):
        pass
    os.chmod(tmp_path, 0o755)
    child = os.fork()
    if not child:
        os.setresuid(65534, 65534, 65534)
        try:
            os.open(path, os.O_RDONLY)
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
