# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a share belongs to, on real files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.users import User, by_number, nobody
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import Result, call_as
from ansible_collections.uvnas.cluster.plugins.module_utils.share import owner
from ansible_collections.uvnas.cluster.tests.support import shares

SOMEBODY = User("54321", 54321, 54322, (54322,), "/")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")


def test_whom_a_directory_belongs_to(tmp_path: Path) -> None:
    status = tmp_path.stat()
    assert owner.owner_of(str(tmp_path)) == by_number(status.st_uid, status.st_gid)
    assert owner.owner_of(str(tmp_path / "none")) is None
    (tmp_path / "file").touch()
    assert owner.owner_of(str(tmp_path / "file" / "none")) is None


@needs_root
def test_a_number_that_the_host_does_not_know(tmp_path: Path) -> None:
    os.chown(tmp_path, 54321, 54322)
    assert owner.owner_of(str(tmp_path)) == SOMEBODY


@needs_root
def test_a_directory_above_that_lets_nobody_through(public: Path) -> None:
    """To root it happens on NFS, where root may be nobody."""
    (public / "closed" / "uv").mkdir(parents=True)
    (public / "closed").chmod(0o700)

    def look() -> Result:
        owner.owner_of(f"{public}/closed/uv")
        return {}

    with pytest.raises(UvnasError, match=rf"uid 54321 may not look up the owner of {public}/closed/uv on") as caught:
        call_as(SOMEBODY, look)
    assert "mode x for others" in caught.value.hint


def test_the_group_of_root_is_none_to_run_with() -> None:
    assert owner.unprivileged(SOMEBODY) == SOMEBODY
    gid = nobody().gid
    assert owner.unprivileged(by_number(54321, 0)) == User("54321", 54321, gid, (gid,), "/")
    assert gid != 0


@needs_root
def test_a_share_is_kept_by_whom_it_belongs_to(public: Path) -> None:
    root = shares.make_share(public / "kept" / "uv")
    assert owner.keeper_of(str(root)) is None
    os.chown(root, 54321, 54322)
    root.chmod(0o700)
    assert owner.keeper_of(str(root)) == SOMEBODY
    (root / "share.json").unlink()
    assert owner.keeper_of(str(root)) is None
    assert owner.keeper_of(str(root / "none")) is None
