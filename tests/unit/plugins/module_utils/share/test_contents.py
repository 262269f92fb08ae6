# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of what generations contain: there and back, and what is none."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share import contents
from ansible_collections.uvnas.cluster.plugins.module_utils.share.contents import Contents, File, PackageRecord
from ansible_collections.uvnas.cluster.plugins.module_utils.share.manifest import ContentFact

NUMPY = "lib/python3.12/site-packages/numpy-2.3.1.dist-info/RECORD"
CONTENTS = Contents(
    {NUMPY: PackageRecord("1" * 64, "2" * 64)},
    {"pyvenv.cfg": File("3" * 64, 120), "odd-\udcff.txt": File("4" * 64, 0)},
    {"bin/python": "/mnt/nas-a/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin/python3.12"},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".uvnas-files.json"


@pytest.mark.parametrize("what", [CONTENTS, Contents({}, {}, {})])
def test_there_and_back(path: Path, what: Contents) -> None:
    assert contents.read(str(path), contents.write(str(path), what)) == what


def test_what_is_written_can_be_read_without_this_collection(path: Path) -> None:
    fact = contents.write(str(path), CONTENTS)
    content = path.read_bytes()
    assert fact.packages == CONTENTS.portable
    assert fact.files == hashlib.sha256(content).hexdigest()
    assert json.loads(content) == {
        "format": 1,
        "records": {NUMPY: {"sha256": "1" * 64, "portable": "2" * 64}},
        "files": {"pyvenv.cfg": {"sha256": "3" * 64, "size": 120}, "odd-\udcff.txt": {"sha256": "4" * 64, "size": 0}},
        "links": {"bin/python": "/mnt/nas-a/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin/python3.12"},
    }


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ({"records": {NUMPY: PackageRecord("9" * 64, "2" * 64)}}, True),
        ({"files": {}, "links": {}}, True),
        ({"records": {NUMPY: PackageRecord("1" * 64, "9" * 64)}}, False),
        ({"records": {}}, False),
    ],
)
def test_what_is_equal_on_every_share(change: dict[str, t.Any], equal: bool) -> None:
    assert (dataclasses.replace(CONTENTS, **change).portable == CONTENTS.portable) == equal


@pytest.mark.parametrize("damage", [lambda old: old[:-2], lambda _old: b"", lambda old: old.replace(b"120", b"121")])
def test_a_list_that_its_manifest_does_not_vouch_for(path: Path, damage: t.Callable[[bytes], bytes]) -> None:
    fact = contents.write(str(path), CONTENTS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UvnasError, match=r"\.uvnas-files\.json is damaged: it is not the file") as caught:
        contents.read(str(path), fact)
    assert caught.value.hint


def test_a_list_that_is_not_there(path: Path) -> None:
    fact = contents.write(str(path), CONTENTS)
    path.unlink()
    with pytest.raises(UvnasError, match=r"\.uvnas-files\.json is missing"):
        contents.read(str(path), fact)


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_what_is_no_list_although_the_manifest_vouches_for_it(path: Path, text: str) -> None:
    path.write_text(text, errors="surrogateescape")
    fact = ContentFact(hashlib.sha256(path.read_bytes()).hexdigest(), "")
    with pytest.raises(UvnasError, match=r"\.uvnas-files\.json "):
        contents.read(str(path), fact)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("records", None),
        ("records", []),
        ("records", {NUMPY: "1" * 64}),
        ("records", {NUMPY: {"sha256": "1" * 64}}),
        ("records", {NUMPY: {"sha256": "1" * 64, "portable": "Z" * 64}}),
        ("records", {NUMPY: {"sha256": "1" * 63, "portable": "2" * 64}}),
        ("files", "pyvenv.cfg"),
        ("files", {"pyvenv.cfg": None}),
        ("files", {"pyvenv.cfg": {"sha256": "1" * 64}}),
        ("files", {"pyvenv.cfg": {"sha256": "1" * 64, "size": "120"}}),
        ("files", {"pyvenv.cfg": {"sha256": "1" * 64, "size": True}}),
        ("files", {"pyvenv.cfg": {"sha256": 1, "size": 120}}),
        ("links", None),
        ("links", {"bin/python": 3}),
    ],
)
def test_wrong_types_are_damage(key: str, value: t.Any) -> None:
    with pytest.raises(UvnasError, match=f"^it is damaged: missing or invalid {key}$"):
        contents.parse({**CONTENTS.as_dict(), key: value}, "it")


@pytest.mark.parametrize("data", [None, [], {}, {"format": 2}, {"format": "1"}])
def test_another_format(data: t.Any) -> None:
    with pytest.raises(UvnasError, match="^it is not a list of what a tree contains"):
        contents.parse(data, "it")


def sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "program").write_bytes(b"program")
    (tree / "bin" / "program").chmod(0o755)
    (tree / "bin" / "link").symlink_to("program")
    (tree / "lib" / "__pycache__").mkdir(parents=True)
    (tree / "lib" / "mod.py").write_bytes(b"X = 1")
    (tree / "lib" / "empty").write_bytes(b"")
    (tree / "lib" / "away").symlink_to("/nowhere")
    (tree / "lib" / "directory").symlink_to("../bin")
    return tree


def test_what_a_tree_contains(tree: Path) -> None:
    found = contents.take(str(tree))
    assert found == Contents(
        {},
        {
            "bin/program": File(sha256(b"program"), 7),
            "lib/mod.py": File(sha256(b"X = 1"), 5),
            "lib/empty": File(sha256(b""), 0),
        },
        {"bin/link": "program", "lib/away": "/nowhere", "lib/directory": "../bin"},
        ["bin/program"],
    )
    assert contents.parse(json.loads(found.text), "it") == found


def test_bytecode_and_the_list_itself_are_left_out(tree: Path) -> None:
    before = contents.take(str(tree))
    (tree / "lib" / "__pycache__" / "mod.cpython-312.pyc").write_bytes(b"")
    (tree / ".uvnas-files.json").write_bytes(b"")
    assert contents.take(str(tree)) == before
    # Nothing says what these are made from.
    for place in ("lib/sourceless.pyc", "lib/__pycache__/mod.py", "lib/.uvnas-files.json"):
        (tree / place).write_bytes(b"")
        assert place in contents.take(str(tree)).files


def test_many_files(tree: Path) -> None:
    """They are read by several processes."""
    for number in range(1200):
        (tree / "lib" / f"{number}.txt").write_text(f"{number}")
    (tree / os.fsdecode(b"odd-\xff")).write_bytes(b"odd")
    found = contents.take(str(tree))
    assert len(found.files) == 1204
    assert all(found.files[f"lib/{number}.txt"].sha256 == sha256(b"%d" % number) for number in range(1200))
    assert found.files["odd-\udcff"] == File(sha256(b"odd"), 3)


@pytest.mark.parametrize("many", [False, True])
def test_what_cannot_be_read_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch, many: bool) -> None:
    for number in range(1200 if many else 1):
        (tree / "lib" / f"{number}.txt").write_text("")

    def fail(path: str) -> str:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(contents, "of_file", fail)
    with pytest.raises(UvnasError if many else OSError, match="Input/output error"):
        contents.take(str(tree))


def test_what_is_neither_file_directory_nor_symlink(tree: Path) -> None:
    os.mkfifo(tree / "lib" / "pipe")
    with pytest.raises(UvnasError, match="lib/pipe is not a file, directory or symlink$"):
        contents.take(str(tree))
