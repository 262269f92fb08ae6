# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mounted, as the kernel of this host tells it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mounts, proc

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=continue
40 27 0:45 / /mnt/nas-a rw,relatime shared:7 master:2 propagate_from:3 - nfs4 nas-a:/export rw,vers=4.2
41 27 7:0 / /mnt/my\\040nas\\134x ro,noexec - xfs /dev/loop0 ro
42 27 0:46 / /mnt/auto rw - autofs systemd-1 rw,fd=47
rubbish
"""


def test_mountinfo() -> None:
    assert [(mount.mount_id, mount.point, mount.type) for mount in mounts.parse_mountinfo(MOUNTINFO)] == [
        (22, "/proc", "proc"),
        (27, "/", "ext4"),
        (40, "/mnt/nas-a", "nfs4"),
        (41, "/mnt/my nas\\x", "xfs"),
        (42, "/mnt/auto", "autofs"),
    ]


def test_options_of_mounts() -> None:
    found = {mount.point: mount.options for mount in mounts.parse_mountinfo(MOUNTINFO)}
    assert found["/mnt/nas-a"] == ("rw", "relatime")
    assert found["/mnt/my nas\\x"] == ("ro", "noexec")


def test_noexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/proc", "/proc/self", str(tmp_path)):
        assert mounts.is_noexec(path) == mounts.space(path).noexec
    monkeypatch.setattr(mounts, "mounts", list)  # A chroot hides them.
    assert mounts.is_noexec("/proc") == mounts.space("/proc").noexec
    with pytest.raises(FileNotFoundError):
        mounts.is_noexec(str(tmp_path / "absent"))


def test_files_of_proc_are_read_to_the_end() -> None:
    # The kernel gives them in pieces of a page. This one has dozens of pieces.
    text = proc.read("/proc/self/smaps")
    assert len(text) > 10 * os.sysconf("SC_PAGE_SIZE")
    assert text.splitlines()[-1].startswith("VmFlags:")


def test_the_mount_a_directory_is_on(tmp_path: Path) -> None:
    every = mounts.mounts()
    proc = mounts.mount_of("/proc", every)
    assert proc
    assert (proc.point, proc.type) == ("/proc", "proc")
    assert mounts.mount_of("/proc/self", every) == proc
    assert mounts.mount_of("/proc", []) is None
    assert mounts.mount_id(str(tmp_path)) == mounts.mount_id(str(tmp_path.parent))


def test_mount_points(tmp_path: Path) -> None:
    assert mounts.is_mount_point("/")
    assert mounts.is_mount_point("/proc")
    assert not mounts.is_mount_point("/proc/self")
    assert not mounts.is_mount_point(str(tmp_path))
    (tmp_path / "link").symlink_to("/proc")
    assert mounts.is_mount_point(str(tmp_path / "link"))
    with pytest.raises(FileNotFoundError):
        mounts.is_mount_point(str(tmp_path / "absent"))


def test_room(tmp_path: Path) -> None:
    space = mounts.space(str(tmp_path))
    assert space.free_bytes > 0
    assert not space.read_only
    # These count no inodes, and nothing runs from there.
    assert mounts.space("/proc").free_inodes is None


def test_a_kernel_that_does_not_say_which_mount_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "read", lambda _path: "pos:\t0\nflags:\t02\n")
    with pytest.raises(UvnasError, match=f"the kernel does not tell which mount {tmp_path} is on") as caught:
        mounts.mount_id(str(tmp_path))
    assert "Linux 3.15" in caught.value.hint
