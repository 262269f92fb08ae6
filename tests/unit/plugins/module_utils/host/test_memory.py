# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers: real files, real users; whatever is wrong there is no error, and nothing of others counts."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host import memory
from ansible_collections.uvnas.cluster.tests.support import acls, unprivileged
from ansible_collections.uvnas.cluster.tests.support.generated import tree

DATA = {"one": 1}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "uvnas"


def write(state: Path, name: str = "a", data: t.Mapping[str, t.Any] | None = None) -> None:
    memory.write(str(state), name, DATA if data is None else data)


def test_what_was_written_is_read(state: Path) -> None:
    assert memory.read_all(str(state)) == {}
    write(state)
    write(state, "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a", {"two": [2]})
    write(state, "a", {"one": 2})
    assert memory.read_all(str(state)) == {"a": {"one": 2}, "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a": {"two": [2]}}


def test_nobody_else_may_look_whatever_the_umask(state: Path) -> None:
    before = os.umask(0)
    try:
        write(state)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (state, state / "a.json")] == [0o700, 0o600]


def test_what_is_forgotten_is_gone(state: Path) -> None:
    write(state)
    for name in ("b", "../a", "a"):
        memory.forget(str(state), name)
    assert list(state.iterdir()) == []
    memory.forget(f"{state}-elsewhere", "a")


@pytest.mark.parametrize("name", ["", ".", "..", "../b", "a/b", ".a", "/etc/b", "a\0", "a\n", "ä", "a" * 101])
def test_no_name_leads_out(state: Path, name: str) -> None:
    write(state)
    before = tree(state.parent.parent)
    write(state, name)
    assert tree(state.parent.parent) == before


DAMAGES: dict[str, t.Callable[[Path], t.Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(b'{"one": '),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "a list": lambda path: path.write_bytes(b"[1]"),
    "deep": lambda path: path.write_bytes(b"[" * 100000),
    "huge": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
    "directory": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "symlink": lambda path: path.symlink_to("good.json"),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "writable": lambda path: (path.write_text('{"one": 2}'), path.chmod(0o666)),
    "writable for the group": lambda path: (path.write_text('{"one": 2}'), path.chmod(0o660)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_nothing(state: Path, damage: str) -> None:
    write(state, "good")
    DAMAGES[damage](state / "bad.json")
    assert memory.read_all(str(state)) == {"good": DATA}
    write(state, "bad")
    assert memory.read_all(str(state)).get("bad") == (None if damage == "directory" else DATA)
    assert memory.read_all(str(state))["good"] == DATA


def test_other_files_there_are_none_of_ours(state: Path) -> None:
    write(state)
    for name in ("notes.txt", ".json", "x.json~", ".hidden.json"):
        (state / name).write_text('{"one": 3}')
    assert memory.read_all(str(state)) == {"a": DATA}


def test_what_a_killed_run_left_goes_with_the_next(state: Path) -> None:
    write(state)
    (state / f".a.json.uvnas-{'0' * 16}.tmp").write_text("{")
    write(state, "b")
    assert sorted(os.listdir(state)) == ["a.json", "b.json"]


def full(*_args: t.Any, **_more: t.Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["open", "rename"])
def test_on_a_full_disk_nothing_is_remembered(state: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """What was there may not be true any more."""
    write(state)
    write(state, "b")
    before = os.open

    def open_nothing_new(path: str, flags: int, *args: t.Any, **more: t.Any) -> int:
        return before(path, flags, *args, **more) if not flags & os.O_CREAT else full()  # type: ignore[func-returns-value]

    with monkeypatch.context() as patched:
        patched.setattr(os, call, open_nothing_new if call == "open" else full)
        write(state, "a", {"one": 2})
    assert (memory.read_all(str(state)), os.listdir(state)) == ({"b": DATA}, ["b.json"])


def test_what_would_be_too_large_to_be_read_is_not_written(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(state)
    monkeypatch.setattr(memory, "_LARGEST", 100)
    write(state, "a", {"one": "1" * 100})
    assert list(state.iterdir()) == []
    write(state)
    assert memory.read_all(str(state)) == {"a": DATA}


@as_root
def test_on_a_read_only_disk_nothing_is_remembered(state: Path) -> None:
    """Nobody could take it back there."""
    write(state)
    subprocess.run(["mount", "--bind", state, state], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", state], check=True)
        before = tree(state)
        assert memory.read_all(str(state)) == {}
        write(state, "b")
        memory.forget(str(state), "a")
        assert tree(state) == before
    finally:
        subprocess.run(["umount", state], check=True)
    assert memory.read_all(str(state)) == {"a": DATA}


def test_in_a_home_that_became_read_only_nothing_is_remembered(state: Path) -> None:
    write(state)
    unprivileged.give(state.parent.parent)
    state.chmod(0o500)
    assert unprivileged.done(lambda: memory.read_all(str(state))) == {}
    state.chmod(0o700)
    assert unprivileged.done(lambda: memory.read_all(str(state))) == {"a": DATA}


def test_two_that_change_it_take_turns(state: Path) -> None:
    write(state)
    done: list[str] = []

    def other() -> None:
        with memory.alone(str(state)):
            done.append("other")

    thread = threading.Thread(target=other)
    with memory.alone(str(state)):
        thread.start()
        thread.join(0.2)
        done.append("first")
    thread.join()
    assert done == ["first", "other"]


def test_where_there_is_nothing_nobody_waits_and_nothing_is_made(state: Path) -> None:
    with memory.alone(str(state)), memory.alone(str(state)):
        pass
    assert not state.exists()


# Directories of others


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_that_others_can_write_to_is_left_alone(state: Path, mode: int) -> None:
    write(state)
    state.chmod(mode)
    before = tree(state)
    assert memory.read_all(str(state)) == {}
    write(state, "b")
    assert tree(state) == before


@pytest.mark.parametrize("end", ["", "/", "/.", "//"])
def test_a_symlink_is_not_followed(state: Path, end: str) -> None:
    write(state)
    (state.parent / "link").symlink_to(state)
    before = tree(state)
    link = f"{state.parent}/link{end}"
    assert memory.read_all(link) == {}
    memory.write(link, "b", DATA)
    assert tree(state) == before


def test_a_dangling_symlink_makes_nothing(state: Path) -> None:
    state.parent.mkdir()
    state.symlink_to(state.parent / "elsewhere")
    write(state)
    assert os.listdir(state.parent) == ["uvnas"]


@as_root
def test_a_directory_of_somebody_else_is_left_alone(state: Path) -> None:
    write(state)
    os.chown(state, unprivileged.UID, unprivileged.UID)
    before = tree(state)
    assert memory.read_all(str(state)) == {}
    write(state, "b")
    assert tree(state) == before


@as_root
def test_a_file_of_somebody_else_is_not_read(state: Path) -> None:
    write(state)
    os.chown(state / "a.json", unprivileged.UID, unprivileged.UID)
    assert memory.read_all(str(state)) == {}


def test_an_acl_that_lets_others_write_counts(state: Path) -> None:
    write(state)
    acls.let_a_group_write(state)
    assert memory.read_all(str(state)) == {}


def test_where_nothing_can_be_written_nothing_is(state: Path) -> None:
    state.parent.mkdir()
    unprivileged.give(state.parent.parent)
    state.parent.chmod(0o555)
    before = tree(state.parent)

    def work() -> dict[str, t.Any]:
        write(state)
        return memory.read_all(str(state))

    assert unprivileged.done(work) == {}
    assert tree(state.parent) == before


def test_a_file_in_the_way_is_no_error(state: Path) -> None:
    state.parent.write_text("a file")
    write(state)
    assert memory.read_all(str(state)) == {}


# Where


@as_root
def test_roots_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/home/somebody/state")
    assert memory.default_directory() == "/var/lib/uvnas"


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"HOME": "/home/alice"}, "/home/alice/.local/state/uvnas/{host}"),
        ({"HOME": "/home/alice", "XDG_STATE_HOME": "/scratch/alice"}, "/scratch/alice/uvnas/{host}"),
        ({"HOME": "/home/alice", "XDG_STATE_HOME": "state"}, "/home/alice/.local/state/uvnas/{host}"),
        ({"HOME": "/home/alice", "XDG_STATE_HOME": ""}, "/home/alice/.local/state/uvnas/{host}"),
        ({"HOME": "home"}, None),
    ],
)
def test_somebodys_place(variables: dict[str, str], where: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home may be on a NAS, the same one on many hosts."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    expected = where and where.format(host=os.uname().nodename)
    assert unprivileged.done(memory.default_directory) == expected


def test_nobody_can_lead_the_way_elsewhere(tmp_path: Path) -> None:
    """To a directory of this user's that was prepared, such as a checkout of somebody's repository."""
    prepared, common = tmp_path / "checkout", tmp_path / "common"
    write(prepared)
    common.mkdir()
    (common / "uvnas").symlink_to(prepared)
    assert memory.read_all(str(prepared)) == {"a": DATA}
    common.chmod(0o777)
    for place in (common / "uvnas", common / "new"):
        assert memory.read_all(str(place)) == {}
        write(place, "b")
    assert os.listdir(prepared) == ["a.json"]
    assert os.listdir(common) == ["uvnas"]
