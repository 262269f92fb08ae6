# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File operations under fire: readers in a loop, full disks, other processes, and processes that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import ShareBusyError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files as fs
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import call_as

FS = fs.__name__


@contextlib.contextmanager
def other_process(code: str, *args: object) -> t.Iterator[subprocess.Popen[str]]:
    """A Python process that has said a first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import os, sys\nfrom {FS} import *\n{code}", *map(str, args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


READ_LINK = """
import select
seen = set()
print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    try:
        seen.add(os.path.realpath(sys.argv[1], strict=True))
    except OSError as error:
        seen.add(repr(error))
print(*sorted(seen), sep="\\n")
"""


def test_a_reader_always_sees_the_old_link_or_the_new(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("old")
    with other_process(READ_LINK, link) as reader:
        for number in range(500):
            fs.replace_symlink(("new", "old")[number % 2], str(link))
        seen, _stderr = reader.communicate(timeout=60)
    assert set(seen.splitlines()) <= {str(tmp_path / "old"), str(tmp_path / "new")}
    assert seen
    assert sorted(os.listdir(tmp_path)) == ["link", "new", "old"]


def test_a_link_left_by_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    link = str(tmp_path / "link")
    os.symlink("left", fs.temporary_name(link))
    fs.replace_symlink("new", link)
    assert {name: os.readlink(tmp_path / name) for name in os.listdir(tmp_path)} == {"link": "new"}


def test_a_directory_is_not_replaced_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(IsADirectoryError):
        fs.replace_symlink("new", str(tmp_path / "there"))
    assert os.listdir(tmp_path) == ["there"]


def test_read_link(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert fs.read_link(str(tmp_path / "absent")) is None
    assert fs.read_link(str(tmp_path / "link")) == "nowhere"
    with pytest.raises(UvnasError, match="file is not a symlink"):
        fs.read_link(str(tmp_path / "file"))


@pytest.mark.parametrize("content", ["", "text\n", "ä", b"\x00\xff", b"x" * (1 << 20), b"y" * ((2 << 20) + 1)])
@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755])
def test_what_is_written_is_read(tmp_path: Path, content: str | bytes, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    fs.write_durable(str(path), content, mode=mode)
    assert fs.read_bytes(str(path)) == (content.encode() if isinstance(content, str) else content)
    assert path.stat().st_mode & 0o7777 == mode
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write() -> dict[str, t.Any]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        fs.write_durable(str(path), b"new" * 1000)
        return {}

    with pytest.raises(UvnasError, match="File too large"):
        call_as(None, write)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_read_json(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    assert fs.read_json(str(path)) is None
    fs.write_json(str(path), {"b": [1], "a": None})
    assert fs.read_json(str(path)) == {"a": None, "b": [1]}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    for content, problem in (("{", "is not valid JSON"), ("[]", "does not hold a JSON object"), ("", "not valid JSON")):
        path.write_text(content)
        with pytest.raises(UvnasError, match=f"file.json {problem}" if problem[0] != "n" else problem):
            fs.read_json(str(path))


@pytest.mark.parametrize("length", [1, 100, 255])
def test_temporary_names_are_hidden_siblings_of_bearable_length(tmp_path: Path, length: int) -> None:
    name = Path(fs.temporary_name(str(tmp_path / ("n" * length))))
    assert name.parent == tmp_path
    assert name.name.startswith(".n")
    assert name.name.endswith(f"-{os.getpid()}.tmp")
    name.touch()


def test_remove_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").touch()
    (tree / "a" / "link").symlink_to(outside)
    fs.remove_tree(str(tree))
    fs.remove_tree(str(tree))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "outside"]


def test_a_tree_is_out_of_its_name_before_anything_in_it_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    # What still writes into it, by its name, while it is removed.
    writer = "print('ready', flush=True)\nos.chdir('/')\nos.read(0, 1)\nopen(sys.argv[1], 'w')"
    with other_process(writer, tree / "sub" / "late") as process:
        fs.remove_tree(str(tree))
        process.communicate("\n", timeout=60)
        assert process.returncode == 1
    assert os.listdir(tmp_path) == []


HOLD = """
with share_lock(sys.argv[1], timeout=0, purpose="build analysis"):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock_file(tmp_path: Path) -> str:
    return str(tmp_path / ".uvnas.mutex")


def test_a_lock_held_by_another_process(lock_file: str, tmp_path: Path) -> None:
    with other_process(HOLD, lock_file) as holder:
        for timeout in (0, 0.3):
            with (
                pytest.raises(ShareBusyError) as caught,
                fs.share_lock(lock_file, timeout=timeout, purpose="remove analysis"),
            ):
                raise AssertionError("two hold the lock")
            who = f"host {socket.gethostname()}, pid {holder.pid}, since "
            assert str(caught.value).startswith(f"another process works on {tmp_path}: {who}")
            assert re.search(rf"since 2\S+\+00:00 \(build analysis\); waited {timeout} s$", str(caught.value))
        # Asking for it has not made it anybody else's.
        assert json.loads(Path(lock_file).read_text())["pid"] == holder.pid


def test_a_lock_is_waited_for(lock_file: str) -> None:
    with other_process(HOLD, lock_file) as holder:
        waiter = "print('ready', flush=True)\nwith share_lock(sys.argv[1], timeout=60, purpose=''): print('mine')"
        with other_process(waiter, lock_file) as waiting:
            holder.communicate(timeout=60)
            said, _stderr = waiting.communicate(timeout=60)
            assert (said, waiting.returncode) == ("mine\n", 0)


def test_a_lock_ends_with_its_holder(lock_file: str) -> None:
    with other_process(HOLD, lock_file) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=60)
        with fs.share_lock(lock_file, timeout=0, purpose="heal"):
            assert json.loads(Path(lock_file).read_text())["pid"] == os.getpid()


def test_a_lock_is_given_back_after_an_error(lock_file: str) -> None:
    with pytest.raises(UvnasError, match="broken"), fs.share_lock(lock_file, timeout=0, purpose="build"):
        raise UvnasError("broken")
    with other_process(HOLD, lock_file):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"host": "a"}', "\x00" * 10])
def test_a_holder_that_has_not_said_who_it_is(lock_file: str, content: str) -> None:
    with other_process(HOLD, lock_file):
        Path(lock_file).write_text(content)
        # Opened and closed here: a POSIX lock is lost only where its own process does that.
        with (
            pytest.raises(ShareBusyError, match="its holder has not said who it is"),
            fs.share_lock(lock_file, timeout=0, purpose="build"),
        ):
            raise AssertionError("two hold the lock")
