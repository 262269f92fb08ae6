# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a filesystem can do, tried on the one that tests have."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import acl
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share import probe

ALL = probe.Abilities(
    hard_link=True, reflink=True, symlink=True, rename=True, exec=True, posix_lock=True, default_acl=True
)


def test_probing_leaves_only_its_mutex(tmp_path: Path) -> None:
    with probe.alone(str(tmp_path), timeout=0):
        found = probe.probe(str(tmp_path), SystemRunner())
    assert dataclasses.replace(found, hard_link=True, reflink=True, default_acl=True) == ALL
    assert [path.name for path in tmp_path.iterdir()] == [probe.PROBE_MUTEX]
    probe.forget(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_probing_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    left = tmp_path / ".uvnas-probe-0123456789abcdef" / "one"
    left.mkdir(parents=True)
    (left / "script").touch(mode=0o400)
    probe.probe(str(tmp_path), SystemRunner())
    assert list(tmp_path.iterdir()) == []


def test_link_modes() -> None:
    no_reflink = dataclasses.replace(ALL, reflink=False)
    assert probe.link_mode(ALL, split=False) == "clone"
    assert probe.link_mode(no_reflink, split=False) == "hardlink"
    assert probe.link_mode(dataclasses.replace(no_reflink, hard_link=False), split=False) == "copy"
    assert probe.link_mode(ALL, split=True) == "copy"


@pytest.mark.parametrize(
    ("ability", "said"),
    [("exec", "programs do not run"), ("symlink", "symlinks"), ("rename", r"rename\(\) cannot replace a file")],
)
def test_what_a_share_needs(ability: str, said: str) -> None:
    probe.check_abilities("/srv", dataclasses.replace(ALL, hard_link=False, reflink=False))
    with pytest.raises(UvnasError, match=said) as caught:
        probe.check_abilities("/srv", dataclasses.replace(ALL, **{ability: False}))
    assert caught.value.hint


def test_default_acls_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not taken for granted, because the filesystem takes one."""
    umask = os.umask(0o022)
    try:
        found = probe.probe(str(tmp_path), SystemRunner()).default_acl
        monkeypatch.setattr(os, "setxattr", lambda *_args: None)
        assert not probe.probe(str(tmp_path), SystemRunner()).default_acl
    finally:
        assert os.umask(umask) == 0o022
    assert found == (acl.default_acl_of(str(tmp_path)) is not None)
