# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a share is declared to be."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import (
    Share,
    check_id,
    check_mode,
    check_name,
    parse_shares,
)

ID = "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a"


def declared(name: str = "a", root: str = "/mnt/a/uv", **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "root": root, "builder": "dev1", **more}


def test_shares_side_by_side_are_fine() -> None:
    assert parse_shares([]) == []
    found = parse_shares(
        [
            declared(mount="/mnt/a", id=ID, mode="0750"),
            declared("b", "/mnt/a/uv2", mount="/mnt/a"),
            declared("c", "/mnt/a-uv", id=None, mode=None, glibc=None),
            declared("d", "/mnt/d", glibc="2.17"),
        ]
    )
    assert found == [
        Share("a", Layout("/mnt/a/uv"), "/mnt/a", ID, None),
        Share("b", Layout("/mnt/a/uv2"), "/mnt/a"),
        Share("c", Layout("/mnt/a-uv")),
        Share("d", Layout("/mnt/d"), glibc="2.17"),
    ]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (declared("a", "/mnt/b/uv"), "two shares are called a"),
        (declared("b", "/mnt/a/uv"), "have the same root /mnt/a/uv"),
        (declared("b", "/mnt/a//uv/"), "have the same root /mnt/a/uv"),
        (declared("b", "/mnt/a/uv/b"), r"b \(/mnt/a/uv/b\) is inside the share a \(/mnt/a/uv\)"),
        (declared("b", "/mnt/a"), r"a \(/mnt/a/uv\) is inside the share b \(/mnt/a\)"),
        (declared("b", "/mnt/b/uv", id=ID.upper()), "a and b have the same id"),
        (declared("b", "mnt/b"), "share b: root 'mnt/b' is not an absolute path"),
        (declared("b", "/mnt/b", mount="/mnt/c"), "root /mnt/b is not below its mount /mnt/c"),
        (declared("b", "/mnt/b", mode="0775"), "mode 0775 would let others"),
        (declared("b", "/mnt/b", glibc=2.31), "share b: glibc must be a string; quote it"),
        (declared("b", "/mnt/b", glibc="31"), "share b: glibc must be a version such as \"2.31\", not '31'"),
        (declared("b", "/mnt/b", glibc="2.16"), "share b: glibc 2.16 is too old; 2.17 or newer"),
        (declared("../b", "/mnt/b"), "cannot be the name of a share"),
        ({"root": "/mnt/b"}, "cannot be the name of a share"),
        ({"name": "b"}, "root None is not an absolute path"),
        (declared("b", "/mnt/b/../a"), r"share b: root '/mnt/b/\.\./a' cannot be used"),
        (declared("b", "/mnt/b", mount="/mnt/b:"), "share b: mount '/mnt/b:' cannot be used"),
        (declared("b", "/"), "share b: root cannot be /"),
        (declared("b", "/mnt/b", id="5"), "share b: '5' is not an id"),
    ],
)
def test_shares_that_cannot_be_meant(second: dict[str, t.Any], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        parse_shares([declared(id=ID), second])
    assert caught.value.hint


@pytest.mark.parametrize("name", ["a", "nas_a", "NAS-1", "_", "x" * 64])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a.b", "..", "../x", "a/b", "a\n", "ä", "x" * 65, None, 5])
def test_bad_names(name: t.Any) -> None:
    with pytest.raises(SpecError):
        check_name(name)


@pytest.mark.parametrize(
    ("root", "mount", "clean"),
    [
        ("/srv/uv", None, ("/srv/uv", None)),
        ("//srv//uv/", "//srv/", ("/srv/uv", "/srv")),
        ("/srv", "/srv", ("/srv", "/srv")),
        ("/srv/my nas", "/", ("/srv/my nas", "/")),
    ],
)
def test_paths(root: str, mount: str | None, clean: tuple[str, str | None]) -> None:
    found = Share.parse({"name": "a", "root": root, "mount": mount})
    assert (found.root, found.mount) == clean


@pytest.mark.parametrize(
    ("root", "mount"),
    [
        ("/", None),
        ("uv", None),
        ("", None),
        (None, None),
        ("~/uv", None),
        ("/srv/../etc", None),
        ("/srv/a:b", None),
        ("/srv/a\nb", None),
        ("/srv-a/uv", "/srv"),
        ("/srv/uv", "srv"),
        ("/srv/uv", ""),
    ],
)
def test_bad_paths(root: t.Any, mount: t.Any) -> None:
    with pytest.raises(SpecError):
        Share.parse({"name": "a", "root": root, "mount": mount})


@pytest.mark.parametrize(("mode", "number"), [(None, 0o755), ("0755", 0o755), ("750", 0o750), ("2750", 0o2750)])
def test_modes(mode: str | None, number: int) -> None:
    assert check_mode("a", mode) == number


@pytest.mark.parametrize("mode", ["0775", "0757", "0555", "1755", "4755", "rwx", "", "u=rwx", "493", 493])
def test_bad_modes(mode: t.Any) -> None:
    with pytest.raises(SpecError):
        check_mode("a", mode)


def test_ids_are_uuids() -> None:
    assert check_id("a", None) == check_id("a", "") == ""
    assert check_id("a", ID.upper()) == ID
    with pytest.raises(SpecError, match="'5' is not an id"):
        check_id("a", "5")
