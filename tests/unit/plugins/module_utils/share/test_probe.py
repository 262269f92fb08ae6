# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be known of a filesystem and a platform. Real filesystems of several kinds: tests/integration."""

from __future__ import annotations

import dataclasses
import os
import platform as python_platform
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share import probe

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=continue
40 27 0:45 / /mnt/nas-a rw,relatime shared:7 master:2 propagate_from:3 - nfs4 nas-a:/export rw,vers=4.2
41 27 7:0 / /mnt/my\\040nas\\134x ro,noexec - xfs /dev/loop0 ro
42 27 0:46 / /mnt/auto rw - autofs systemd-1 rw,fd=47
rubbish
"""
ALL = probe.Abilities(hard_link=True, reflink=True, symlink=True, rename=True, exec=True, posix_lock=True)


def test_mountinfo() -> None:
    assert [(mount.mount_id, mount.point, mount.type) for mount in probe.parse_mountinfo(MOUNTINFO)] == [
        (22, "/proc", "proc"),
        (27, "/", "ext4"),
        (40, "/mnt/nas-a", "nfs4"),
        (41, "/mnt/my nas\\x", "xfs"),
        (42, "/mnt/auto", "autofs"),
    ]


def test_files_of_proc_are_read_to_the_end() -> None:
    # The kernel gives them in pieces of a page. This one has dozens of pieces.
    text = probe._read_proc("/proc/self/smaps")
    assert len(text) > 10 * os.sysconf("SC_PAGE_SIZE")
    assert text.splitlines()[-1].startswith("VmFlags:")


def test_the_mount_a_directory_is_on(tmp_path: Path) -> None:
    mounts = probe.mounts()
    proc = probe.mount_of("/proc", mounts)
    assert proc
    assert (proc.point, proc.type) == ("/proc", "proc")
    assert probe.mount_of("/proc/self", mounts) == proc
    assert probe.mount_of("/proc", []) is None
    assert probe.mount_id(str(tmp_path)) == probe.mount_id(str(tmp_path.parent))


def test_mount_points(tmp_path: Path) -> None:
    assert probe.is_mount_point("/")
    assert probe.is_mount_point("/proc")
    assert not probe.is_mount_point("/proc/self")
    assert not probe.is_mount_point(str(tmp_path))
    (tmp_path / "link").symlink_to("/proc")
    assert probe.is_mount_point(str(tmp_path / "link"))
    with pytest.raises(FileNotFoundError):
        probe.is_mount_point(str(tmp_path / "absent"))


def test_room(tmp_path: Path) -> None:
    space = probe.space(str(tmp_path))
    assert space.free_bytes > 0
    assert not space.read_only
    # These count no inodes, and nothing runs from there.
    assert probe.space("/proc").free_inodes is None


def test_this_platform() -> None:
    found = probe.platform(SystemRunner())
    assert found.arch == os.uname().machine
    libc, version = python_platform.libc_ver()
    assert (found.libc, found.libc_version) == ("gnu", version) if libc == "glibc" else found.libc == "musl"


def test_probing_leaves_only_its_lock(tmp_path: Path) -> None:
    found = probe.probe(str(tmp_path), SystemRunner(), timeout=0)
    assert dataclasses.replace(found, hard_link=True, reflink=True) == ALL
    assert [path.name for path in tmp_path.iterdir()] == [probe.PROBE_MUTEX]
    probe.forget(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_probing_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    left = tmp_path / probe.PROBE_DIR / "one"
    left.mkdir(parents=True)
    (left / "script").touch(mode=0o400)
    probe.probe(str(tmp_path), SystemRunner(), timeout=0)
    assert [path.name for path in tmp_path.iterdir()] == [probe.PROBE_MUTEX]


def test_link_modes() -> None:
    no_reflink = dataclasses.replace(ALL, reflink=False)
    assert probe.link_mode(ALL, split=False) == "clone"
    assert probe.link_mode(no_reflink, split=False) == "hardlink"
    assert probe.link_mode(dataclasses.replace(no_reflink, hard_link=False), split=False) == "copy"
    assert probe.link_mode(ALL, split=True) == "copy"


@pytest.mark.parametrize(
    ("ability", "said"),
    [("exec", "programs do not run"), ("symlink", "no symlinks"), ("rename", "cannot replace another by rename")],
)
def test_what_a_share_needs(ability: str, said: str) -> None:
    probe.check_abilities("/srv", dataclasses.replace(ALL, hard_link=False, reflink=False))
    with pytest.raises(UvnasError, match=said) as caught:
        probe.check_abilities("/srv", dataclasses.replace(ALL, **{ability: False}))
    assert caught.value.hint
