# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File operations under fire: readers in a loop, full disks, other processes, and processes that are killed."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import call_as
from ansible_collections.uvnas.cluster.tests.support.processes import other_process

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
            files.replace_symlink(("new", "old")[number % 2], str(link))
        seen, _stderr = reader.communicate(timeout=60)
    assert set(seen.splitlines()) <= {str(tmp_path / "old"), str(tmp_path / "new")}
    assert seen
    assert sorted(os.listdir(tmp_path)) == ["link", "new", "old"]


def test_a_directory_is_not_replaced_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace_symlink("new", str(tmp_path / "there"))
    assert os.listdir(tmp_path) == ["there"]


def test_read_link(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert files.read_link(str(tmp_path / "absent")) is None
    assert files.read_link(str(tmp_path / "link")) == "nowhere"
    with pytest.raises(UvnasError, match="file is not a symlink"):
        files.read_link(str(tmp_path / "file"))


@pytest.mark.parametrize("content", ["", "text\n", "ä", b"\x00\xff", b"x" * (1 << 20), b"y" * ((2 << 20) + 1)])
@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755])
def test_what_is_written_is_read(tmp_path: Path, content: str | bytes, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    files.write(str(path), content, mode=mode)
    assert files.read_bytes(str(path)) == (content.encode() if isinstance(content, str) else content)
    assert path.stat().st_mode & 0o7777 == mode
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write() -> dict[str, t.Any]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        files.write(str(path), b"new" * 1000)
        return {}

    with pytest.raises(UvnasError, match="File too large"):
        call_as(None, write)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_read_json(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    assert files.read_json(str(path)) is None
    files.write_json(str(path), {"b": [1], "a": None})
    assert files.read_json(str(path)) == {"a": None, "b": [1]}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    for content, problem in (("{", "is not valid JSON"), ("[]", "does not hold a JSON object"), ("", "not valid JSON")):
        path.write_text(content)
        with pytest.raises(UvnasError, match=f"file.json {problem}" if problem[0] != "n" else problem):
            files.read_json(str(path))


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_pipe_keeps_nobody_waiting(tmp_path: Path, content: bytes | None) -> None:
    """In a directory above a share, for example, where others may write: ``share.json``."""
    path = tmp_path / "share.json"
    os.mkfifo(path)
    if content is None:  # Nobody has it open.
        with pytest.raises(UvnasError, match=f"{path} is not a regular file"):
            files.read_json(str(path))
        return
    held = os.open(path, os.O_RDWR)
    try:
        os.write(held, content)
        with (
            pytest.raises(UvnasError, match=f"{path} is not a regular file")
            if not content
            else contextlib.nullcontext()
        ):
            assert files.read_json(str(path)) == {}
    finally:
        os.close(held)


@pytest.mark.parametrize("planted", ["symlink", "hard link", "file", "pipe"])
def test_what_was_planted_under_a_temporary_name_is_not_written_to(
    tmp_path: Path, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root, or a share's owner, would change whatever file it leads to. Nobody can foresee the name; and if they do?"""
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("precious")
    monkeypatch.setattr(os, "urandom", bytes)
    temporary = Path(files.temporary_name(str(path)))
    if planted == "symlink":
        temporary.symlink_to(victim)
    elif planted == "hard link":
        temporary.hardlink_to(victim)
    elif planted == "pipe":
        os.mkfifo(temporary)
    else:
        temporary.write_text("mine")
    for write in (files.write, files.replace_symlink):
        with pytest.raises(FileExistsError):
            write("new", str(path)) if write is files.replace_symlink else write(str(path), "new")
    assert victim.read_text() == "precious"
    assert not os.path.lexists(path)


@pytest.mark.parametrize("length", [1, 100, 255])
def test_temporary_names_are_hidden_siblings_of_bearable_length(tmp_path: Path, length: int) -> None:
    name = Path(files.temporary_name(str(tmp_path / ("n" * length))))
    assert name.parent == tmp_path
    assert name.name.startswith(".n")
    assert files.is_temporary(name.name)
    name.touch()


def test_temporary_names_cannot_be_foreseen() -> None:
    assert len({files.temporary_name("/srv/file") for _number in range(100)}) == 100


@pytest.mark.parametrize("name", ["share.json", ".uvnas.mutex", "n" * 255, ".hidden"])
def test_temporary_names_are_known_as_such(name: str) -> None:
    assert files.is_temporary(os.path.basename(files.temporary_name(f"/srv/uv/{name}")))
    assert not files.is_temporary(name)


def test_temporary_names_tell_what_they_were_made_of() -> None:
    for name in ("train", ".hidden", "cpython-3.12.4-linux-x86_64-gnu"):
        assert files.real_name(os.path.basename(files.temporary_name(f"/srv/{name}"))) == name
        assert files.real_name(name) == name


def test_only_what_is_hidden_is_not_listed(tmp_path: Path) -> None:
    for name in ("kept", ".tree.uvnas-0000000000000001.tmp"):
        (tmp_path / name).mkdir()
    for name in ("file.tmp", ".hidden", "tmp"):
        (tmp_path / name).touch()
    assert files.names_in(str(tmp_path)) == ["file.tmp", "kept", "tmp"]
    assert files.names_in(str(tmp_path / "absent")) == files.names_in(str(tmp_path / "tmp")) == []


# Whose it is


def test_one_directory_by_two_paths(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("one")
    assert files.is_same(str(tmp_path / "one"), str(tmp_path / "link"))
    assert not files.is_same(str(tmp_path / "one"), str(tmp_path / "other"))
    assert not files.is_same(str(tmp_path / "absent"), str(tmp_path / "absent"))


# Written in one step


def test_a_path_may_depend_on_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory that it comes to is synced, wherever it was begun."""
    synced: list[str] = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    (tmp_path / "below").mkdir()
    with files.replacing(str(tmp_path / "begun")) as new:
        new.stream.write(b"content")
        new.path = str(tmp_path / "below" / "named")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["below", "below/named"]
    assert str(tmp_path / "below") in synced


def test_a_block_that_raises_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(TypeError), files.replacing(str(tmp_path / "file")) as new:
        new.stream.writelines([b"new", "no bytes"])  # type: ignore[list-item]
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_copy(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content" * 1_000_000)
    (tmp_path / "source").chmod(0o600)
    files.copy(str(tmp_path / "source"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "source").read_bytes()
    assert (tmp_path / "copy").stat().st_mode & 0o7777 == 0o644
    assert sorted(os.listdir(tmp_path)) == ["copy", "source"]


def test_directories_are_made_for_everybody_whatever_the_umask(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    before = os.umask(0o077)
    try:
        for name in ("there/a/b", "there"):
            files.make_directory(str(tmp_path / name))
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o7777 for name in ("there", "there/a", "there/a/b")}
    assert modes == {"there": 0o700, "there/a": 0o755, "there/a/b": 0o755}


@pytest.mark.parametrize("name", ["a", "a/b/c"])
def test_another_process_may_make_directories_at_the_same_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def too_late(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", too_late)
    files.make_directory(str(tmp_path / name))
    assert (tmp_path / name).is_dir()
