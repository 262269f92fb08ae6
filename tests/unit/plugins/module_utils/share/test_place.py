# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a share is: mounted, out of reach of others, and which one. Other users: tests/integration/test_uv_share.py."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share import place as place_room
from ansible_collections.uvnas.cluster.plugins.module_utils.share.place import (
    check_mounted,
    check_place,
    check_way,
    earlier_shares,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.tests.support.shares import SHARE_ID, make_share


def at(root: Path, **more: t.Any) -> Share:
    return Share.parse({"name": "nas_a", "root": str(root), **more})


def test_without_a_mount_nothing_is_looked_at(tmp_path: Path) -> None:
    check_mounted(at(tmp_path / "absent"))


def test_nothing_is_mounted(tmp_path: Path) -> None:
    with pytest.raises(UvnasError, match=f"^nothing is mounted at {tmp_path}, the mount of share nas_a$") as caught:
        check_mounted(at(tmp_path / "uv", mount=str(tmp_path)))
    assert f"Mount the NAS at {tmp_path}" in caught.value.hint


@pytest.mark.parametrize("mount", ["absent", "file/below"])
def test_a_mount_that_does_not_exist(tmp_path: Path, mount: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UvnasError, match=f"the mount {tmp_path}/{mount} of share nas_a does not exist on this host"):
        check_mounted(at(tmp_path / mount / "uv", mount=str(tmp_path / mount)))


def test_a_mount_there(tmp_path: Path) -> None:
    check_mounted(at(Path("/proc/uv"), mount="/proc"))
    check_mounted(at(Path("/srv/uv"), mount="/"))
    (tmp_path / "link").symlink_to("/proc")
    check_mounted(at(tmp_path / "link" / "uv", mount=str(tmp_path / "link")))


def test_an_automounter_alone_is_no_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked, and has mounted nothing."""
    mount = place_room.mount_of("/proc", place_room.mounts())
    assert mount is not None
    automounter = type(mount)(mount.mount_id, "/proc", "autofs")
    monkeypatch.setattr(place_room, "mounts", lambda: [automounter])
    with pytest.raises(UvnasError, match="nothing is mounted at /proc, the mount of share nas_a"):
        check_mounted(at(Path("/proc/uv"), mount="/proc"))


# Out of reach of others


def test_the_right_share(tmp_path: Path) -> None:
    root = make_share(tmp_path / "uv")
    found = check_place(at(root))
    assert found is not None
    assert found.id == SHARE_ID
    with pytest.raises(UvnasError, match="is the share nas_a, not nas_b"):
        check_place(Share.parse({"name": "nas_b", "root": str(root)}))
    with pytest.raises(UvnasError, match="its id is"):
        check_place(at(root, id=SHARE_ID.replace("6", "7")))
    with pytest.raises(UvnasError, match="nothing is mounted at"):
        check_place(at(root, mount=str(tmp_path)))


def test_one_that_is_to_come(tmp_path: Path) -> None:
    assert check_place(at(tmp_path / "uv"), may_be_missing=True) is None
    with pytest.raises(UvnasError, match="is not a share"):
        check_place(at(tmp_path / "uv"))
    tmp_path.chmod(0o777)
    with pytest.raises(UvnasError, match="everybody may write to"):
        check_place(at(tmp_path / "uv"), may_be_missing=True)


def test_what_is_above_the_mount_is_the_hosts_business(tmp_path: Path) -> None:
    """As is what mounts there: an automounter, or an admin."""
    root = make_share(tmp_path / "nas" / "uv")
    tmp_path.chmod(0o777)
    check_way(at(root, mount=str(tmp_path / "nas")), os.geteuid())
    with pytest.raises(UvnasError, match=f"{root} is not safe from others: everybody may write to {tmp_path}$"):
        check_way(at(root), os.geteuid())
    (tmp_path / "nas").chmod(0o777)
    with pytest.raises(UvnasError, match=f"everybody may write to {tmp_path}/nas$"):
        check_way(at(root, mount=str(tmp_path / "nas")), os.geteuid())


def test_a_symlink_that_leaves_the_mount(tmp_path: Path) -> None:
    make_share(tmp_path / "local" / "uv")
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / "sw").symlink_to(tmp_path / "local")
    with pytest.raises(UvnasError, match=f"leads to {tmp_path}/local/uv, which is not below the mount"):
        check_way(at(tmp_path / "nas" / "sw" / "uv", mount=str(tmp_path / "nas")), os.geteuid())
    (tmp_path / "link").symlink_to("nas")
    (tmp_path / "nas" / "uv").mkdir()
    check_way(at(tmp_path / "link" / "uv", mount=str(tmp_path / "link")), os.geteuid())


# Earlier shares


def test_earlier_shares(tmp_path: Path) -> None:
    here, other = make_share(tmp_path / "here"), make_share(tmp_path / "other")
    (tmp_path / "link").symlink_to("here")
    params = [
        {"name": "other", "root": f"{other}/"},
        {"name": "link", "root": str(tmp_path / "link")},
        {"name": "here", "root": str(here)},
        {"name": "absent", "root": str(tmp_path / "absent")},
    ]
    assert earlier_shares(params, at(here)) == (Share.parse({"name": "other", "root": str(other)}),)
    assert earlier_shares([], at(here)) == ()
    # The share here need not be there yet.
    found = earlier_shares(params[:1], at(tmp_path / "to-come"))
    assert [one.name for one in found] == ["other"]


def test_what_others_may_write_to_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, other = make_share(tmp_path / "here"), make_share(tmp_path / "other")
    params = [{"name": "other", "root": str(other)}]
    other.chmod(0o777)
    assert earlier_shares(params, at(here)) == ()
    other.chmod(0o755)
    assert len(earlier_shares(params, at(here))) == 1
    if os.geteuid() == 0:
        os.chown(other, 1, 1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert earlier_shares(params, at(here)) == ()


def test_earlier_shares_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="share other: root 'uv' is not an absolute path"):
        earlier_shares([{"name": "other", "root": "uv"}], at(tmp_path))
