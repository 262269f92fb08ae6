# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which share a directory is: what share.json says."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.identity import (
    Identity,
    identify,
    parse_identity,
    read_identity,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.tests.support.shares import SHARE_ID, make_share, write_json

ID = "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a"


def test_identity_there_and_back() -> None:
    identity = Identity("nas_a", ID)
    assert identity.as_dict() == {"layout": 1, "name": "nas_a", "id": ID}
    assert parse_identity(identity.as_dict(), "share.json") == identity
    assert parse_identity({**identity.as_dict(), "more": 1}, "share.json") == identity


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layout": 2}, "has layout 2, but this uvnas.cluster supports layout 1"),
        ({"layout": "1"}, "is not the identity of a share"),
        ({"layout": True}, "is not the identity of a share"),
        ({"layout": None}, "is not the identity of a share"),
        ({"name": ""}, "is not the identity of a share"),
        ({"id": 5}, "is not the identity of a share"),
    ],
)
def test_no_identity(change: dict[str, t.Any], said: str) -> None:
    with pytest.raises(UvnasError, match=said) as caught:
        parse_identity({"layout": 1, "name": "nas_a", "id": ID, **change}, "/srv/share.json")
    assert caught.value.hint


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_share(tmp_path / "uv")


def share(root: Path, name: str = "nas_a", **more: t.Any) -> Share:
    return Share.parse({"name": name, "root": str(root), **more})


def test_the_share_has_to_be_the_declared_one(root: Path) -> None:
    found = Identity("nas_a", SHARE_ID)
    assert identify(share(root)) == read_identity(share(root)) == found
    assert identify(share(root, id=SHARE_ID)) == found
    with pytest.raises(UvnasError, match=f"{root} is the share nas_a, not nas_b") as caught:
        identify(share(root, "nas_b"))
    assert "Is another NAS mounted there?" in caught.value.hint
    other = ID.replace("6", "7")
    with pytest.raises(UvnasError, match=f"its id is {SHARE_ID}, not {other} as declared") as caught:
        identify(share(root, id=other))
    assert "copy of the share" in caught.value.hint


def test_the_id_is_that_of_the_file_however_it_is_declared(root: Path) -> None:
    assert identify(share(root, id=SHARE_ID.upper())).id == SHARE_ID


@pytest.mark.parametrize("missing", ["share.json", "uv"])
def test_where_there_is_no_share(root: Path, missing: str) -> None:
    (root / "share.json").unlink()
    if missing == "uv":
        root.rename(root.with_name("elsewhere"))
    assert read_identity(share(root)) is None
    with pytest.raises(UvnasError, match=f"^{root} is not a share$") as caught:
        identify(share(root))
    assert "uv_share" in caught.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", '"nas_a"'])
def test_a_damaged_one_is_not_absent(root: Path, content: str) -> None:
    (root / "share.json").write_text(content)
    with pytest.raises(UvnasError, match=f"{root}/share.json ") as caught:
        read_identity(share(root))
    assert "Restore it from a snapshot" in caught.value.hint


def test_one_of_another_layout_is_not_taken_for_another_share(root: Path) -> None:
    write_json(root / "share.json", {"layout": 2, "name": "nas_b", "id": ID})
    with pytest.raises(UvnasError, match="has layout 2, but this uvnas.cluster supports layout 1"):
        identify(share(root))
