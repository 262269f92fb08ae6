# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of what generations contain: there and back, and what is none."""

from __future__ import annotations

import dataclasses
import hashlib
import json
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
    with pytest.raises(UvnasError, match="^it is not a list of a generation's files"):
        contents.parse(data, "it")
