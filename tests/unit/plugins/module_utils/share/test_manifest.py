# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests there and back, and what is none."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share import manifest as manifests
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.manifest import (
    ContentFact,
    LockFact,
    Manifest,
    Need,
    Needs,
    Python,
    Size,
)
from ansible_collections.uvnas.cluster.tests.support import shares

MANIFEST = Manifest(
    environment="train",
    id="1a2b3c",
    share="nas_a",
    builder="dev1",
    created="2026-01-31T12:00:00+00:00",
    seconds=1.5,
    uv="0.13.9",
    python=Python("cpython-3.12.4-linux-x86_64-gnu", "3.12.4", "1" * 64),
    lock=LockFact("2" * 64, "3" * 64, "4" * 64),
    content=ContentFact("5" * 64, "6" * 64),
    options={"compile_bytecode": True, "no_binary": ["numpy"], "system_site_packages": False},
    source={"requirements": ["numpy"]},
    imports=["numpy"],
    packages={"numpy": "2.3.1"},
    platform=Needs("x86_64", "gnu", "2.28", "2.17", {"numpy": Need("2.28", "manylinux_2_28_x86_64")}),
    size=Size(3, 1000, 400, 2),
)
DATA = shares.manifest("train", "1a2b3c")
HINT = "To rebuild it, at a time when nobody uses it, run this as the share's owner, and then site.yml: chmod u+w "


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / ".uvnas.json")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"lock": LockFact("2" * 64, None, "4" * 64)},
        {"platform": Needs()},
        {"platform": Needs("x86_64", "musl")},
        {"platform": Needs("x86_64", "gnu", "2.17", "2.17")},
        {"packages": {}, "imports": [], "seconds": 3},
        {"size": Size()},
        {"created": "2026-01-31T12:00:00.123456+01:00"},
    ],
)
def test_there_and_back(path: str, change: dict[str, t.Any]) -> None:
    manifest = dataclasses.replace(MANIFEST, **change)
    manifests.write(path, manifest)
    assert manifests.read(path) == manifest
    assert manifests.parse(manifest.as_dict(), "it") == manifest


def test_any_byte_that_changes_is_found(path: str) -> None:
    """Even white space, which means nothing."""
    content = manifests.text(MANIFEST).encode()
    assert manifests.is_whole(content, path) is True
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 7
        with contextlib.suppress(UvnasError):
            assert not manifests.is_whole(bytes(changed), path), (place, bytes(changed))
    for size in range(len(content)):
        with contextlib.suppress(UvnasError):
            assert not manifests.is_whole(content[:size], path), size


def test_one_of_an_earlier_version_does_not_tell(path: str) -> None:
    assert manifests.is_whole(json.dumps(MANIFEST.as_dict()).encode(), path) is None


def test_what_is_written_can_be_read_without_this_collection(path: str) -> None:
    manifests.write(path, MANIFEST)
    data = json.loads(Path(path).read_text())
    assert len(data.pop("sha256")) == 64
    assert data == {
        "format": 2,
        "environment": "train",
        "id": "1a2b3c",
        "share": "nas_a",
        "builder": "dev1",
        "created": "2026-01-31T12:00:00+00:00",
        "seconds": 1.5,
        "uv": "0.13.9",
        "python": {"key": "cpython-3.12.4-linux-x86_64-gnu", "version": "3.12.4", "digest": "1" * 64},
        "lock": {"digest": "2" * 64, "spec": "3" * 64, "text": "4" * 64},
        "content": {"files": "5" * 64, "packages": "6" * 64},
        "options": {"compile_bytecode": True, "no_binary": ["numpy"], "system_site_packages": False},
        "source": {"requirements": ["numpy"]},
        "imports": ["numpy"],
        "packages": {"numpy": "2.3.1"},
        "platform": {
            "arch": "x86_64",
            "libc": "gnu",
            "glibc": "2.28",
            "interpreter": "2.17",
            "packages": {"numpy": {"glibc": "2.28", "tag": "manylinux_2_28_x86_64"}},
        },
        "size": {"files": 3, "bytes": 1000, "own_bytes": 400, "inodes": 2},
    }
    assert set(DATA) == set(data)


@pytest.mark.parametrize(
    ("needs", "written"),
    [
        (Needs(), {}),
        (Needs("x86_64", "musl"), {"arch": "x86_64", "libc": "musl"}),
        (
            Needs("x86_64", "gnu", "2.17", "2.17"),
            {"arch": "x86_64", "libc": "gnu", "glibc": "2.17", "interpreter": "2.17", "packages": {}},
        ),
    ],
)
def test_of_what_is_not_known_nothing_is_written(needs: Needs, written: dict[str, t.Any]) -> None:
    assert needs.as_dict() == written


def test_none(path: str) -> None:
    assert manifests.read(path) is None


def test_releases_that_did_not_look_at_needs() -> None:
    assert manifests.parse({**DATA, "platform": None}, "it").platform == Needs()
    data = {key: value for key, value in DATA.items() if key != "platform"}
    assert manifests.parse(data, "it").platform == Needs()


def test_what_else_is_in_it_does_not_matter() -> None:
    assert manifests.parse({**DATA, "more": 1}, "it") == manifests.parse(DATA, "it")


@pytest.mark.parametrize("missing", sorted(set(DATA) - {"format", "platform"}))
@pytest.mark.parametrize("there", [True, False])
def test_what_is_missing_is_named(path: str, missing: str, there: bool) -> None:
    data = {**DATA, missing: None}
    if not there:
        del data[missing]
    Path(path).write_text(json.dumps(data))
    with pytest.raises(UvnasError) as caught:
        manifests.read(path)
    assert str(caught.value) == f"{path} is damaged: missing or invalid {missing}"
    assert caught.value.hint.startswith(HINT)


def test_all_that_is_missing_is_named() -> None:
    data = {key: value for key, value in DATA.items() if key not in ("created", "uv", "size")}
    with pytest.raises(UvnasError, match="^it is damaged: missing or invalid created, uv, size$"):
        manifests.parse(data, "it")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("environment", 5),
        ("id", ["1a2b3c"]),
        ("share", {}),
        ("builder", 1.5),
        ("created", 1769860800),
        ("created", ""),
        ("created", "yesterday"),
        ("created", "2026-01-31T12:00:00"),
        ("seconds", "1.5"),
        ("uv", [0, 13, 9]),
        ("python", "3.12.4"),
        ("python", []),
        ("python", {"key": "k", "version": "3.12.4"}),
        ("python", {"key": "k", "version": 3.12, "digest": "1"}),
        ("python", {"key": None, "version": "3.12.4", "digest": "1"}),
        ("lock", "2" * 64),
        ("lock", {"digest": 2, "spec": None, "text": "4"}),
        ("lock", {"digest": "2", "spec": 3, "text": "4"}),
        ("lock", {"digest": "2", "spec": "3"}),
        ("content", "5"),
        ("content", {"files": "5"}),
        ("content", {"files": "5", "packages": ["6"]}),
        ("options", []),
        ("source", "requirements"),
        ("imports", "numpy"),
        ("imports", [1]),
        ("packages", ["numpy"]),
        ("packages", {"numpy": 2}),
        ("packages", {"numpy": None}),
        ("size", 1000),
        ("size", {"files": "1"}),
        ("platform", "x86_64-gnu"),
        ("platform", []),
        ("platform", 5),
        ("platform", {"arch": 5}),
        ("platform", {"packages": []}),
        ("platform", {"packages": 5}),
        ("platform", {"packages": {"numpy": {"glibc": "2.28"}}}),
        ("platform", {"packages": {"numpy": 5, "scipy": {"glibc": 2.28, "tag": "x"}}}),
        ("platform", {"arch": "x86_64", "libc": "gnu", "glibc": 2.39}),
        ("platform", {"arch": "x86_64", "libc": "gnu", "glibc": "new"}),
        ("platform", {"arch": "x86_64", "libc": "other"}),
    ],
)
def test_wrong_types_are_damage(path: str, name: str, value: t.Any) -> None:
    Path(path).write_text(json.dumps({**DATA, name: value}))
    with pytest.raises(UvnasError) as caught:
        manifests.read(path)
    assert str(caught.value) == f"{path} is damaged: missing or invalid {name}"
    assert caught.value.hint.startswith(HINT)


def test_what_a_later_release_adds_is_left_out(path: str) -> None:
    more = {"more": 1}
    needs = {**DATA["platform"], "packages": {"numpy": {"glibc": "2.28", "tag": "x", **more}}, **more}
    size, python = {**DATA["size"], **more}, {**DATA["python"], **more}
    Path(path).write_text(json.dumps({**DATA, "platform": needs, "size": size, "python": python, **more}))
    found = manifests.read(path)
    assert found is not None
    assert found.platform.packages["numpy"].glibc == "2.28"
    assert "more" not in json.dumps(found.as_dict())


def test_who_did_not_look_says_nothing_of_hosts() -> None:
    data = {key: value for key, value in DATA.items() if key != "platform"}
    assert manifests.parse(data, "it").platform.as_dict() == {}


@pytest.mark.parametrize("number", [3, "2", None, [2], 2.5, True])
def test_another_format(path: str, number: t.Any) -> None:
    Path(path).write_text(json.dumps({**DATA, "format": number}))
    with pytest.raises(UvnasError) as caught:
        manifests.read(path)
    assert str(caught.value) == f"{path} has format {number!r}, not 2"
    assert "newer version" in caught.value.hint


def test_an_earlier_format(path: str) -> None:
    Path(path).write_text(json.dumps({**DATA, "format": 1}))
    with pytest.raises(UvnasError, match=r"\.uvnas\.json has format 1, not 2") as caught:
        manifests.read(path)
    assert "earlier version" in caught.value.hint
    assert "rebuilds its environment" in caught.value.hint
    assert "uvnas.cluster.prune then removes this generation" in caught.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"'])
def test_what_is_no_manifest_at_all(path: str, content: str) -> None:
    Path(path).write_text(content)
    with pytest.raises(UvnasError, match=f"^{path} "):
        manifests.read(path)


# Of generations


ONE, TWO = "1a2b3c", "4d5e6f"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = shares.make_share(tmp_path / "uv")
    for generation_id in (ONE, TWO):
        shares.add_generation(root, "train", generation_id)
    return root


@pytest.fixture
def layout(root: Path) -> Layout:
    return Layout(str(root))


def test_manifests(layout: Layout) -> None:
    manifest = manifests.of_generation(layout, "train", ONE)
    assert manifest is not None
    assert (manifest.environment, manifest.id) == ("train", ONE)
    assert manifests.of_generation(layout, "train", "other") is None
    Path(layout.manifest("train", ONE)).write_text("{}")
    with pytest.raises(UvnasError, match=f"^{layout.manifest('train', ONE)} "):
        manifests.of_generation(layout, "train", ONE)


def test_users_of_an_interpreter(root: Path, layout: Layout) -> None:
    python = {"key": "cpython-3.13.1-linux-x86_64-gnu", "version": "3.13.1", "digest": "1"}
    shares.add_generation(root, "train", "new", python=python)
    shares.add_generation(root, "analysis", ONE)
    (root / "generations" / "train" / "unfinished").mkdir()
    # Whether it is published or not.
    assert manifests.users_of(layout, shares.KEY) == [f"analysis ({ONE})", f"train ({ONE})", f"train ({TWO})"]
    assert manifests.users_of(layout, python["key"]) == ["train (new)"]
    assert manifests.users_of(layout, "cpython-3.12.4-linux-x86_64-musl") == []


def test_who_uses_it_is_not_known_where_a_manifest_is_damaged(layout: Layout) -> None:
    Path(layout.manifest("train", ONE)).write_text("{}")
    with pytest.raises(UvnasError, match=f"{ONE}/.uvnas.json"):
        manifests.users_of(layout, shares.KEY)
