# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of the room that files take on a real filesystem with reflinks, and on one without. Needs root."""

from __future__ import annotations

import fcntl
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation.size import seal, true_size
from ansible_collections.uvnas.cluster.plugins.module_utils.host import extents

FICLONE = 0x40049409
SIZE = 1 << 20


@pytest.fixture(params=["xfs", "ext4"])
def filesystem(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[tuple[str, Path]]:
    """The kind, and where one is mounted."""
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run([f"mkfs.{request.param}", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        yield request.param, mount
    finally:
        subprocess.run(["umount", mount], check=True)


def clone(source: Path, target: Path) -> None:
    with source.open("rb") as one, target.open("wb") as other:
        fcntl.ioctl(other, FICLONE, one.fileno())


def test_a_clone_takes_no_room_of_its_own(filesystem: tuple[str, Path]) -> None:
    kind, mount = filesystem
    tree = mount / "tree"
    tree.mkdir()
    (mount / "cached").write_bytes(os.urandom(SIZE))
    (tree / "mine").write_bytes(os.urandom(SIZE))
    os.sync()
    if kind == "xfs":
        clone(mount / "cached", tree / "taken")
    else:
        os.link(mount / "cached", tree / "taken")
    assert extents.own_bytes(str(tree / "mine")) == SIZE
    assert extents.own_bytes(str(tree / "taken")) == (0 if kind == "xfs" else SIZE)
    size = seal(str(tree))
    assert (size.files, size.bytes, size.own_bytes) == (2, 2 * SIZE, SIZE)
    measured = true_size(str(tree))
    assert (measured["bytes"], measured["shared_bytes"]) == (2 * SIZE, SIZE)
    assert SIZE <= measured["own_bytes"] < SIZE + (1 << 16)


def test_a_filesystem_that_does_not_tell(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "file").write_bytes(b"x" * SIZE)
        assert extents.own_bytes(str(tmp_path / "file")) is None
        assert seal(str(tmp_path)).own_bytes == SIZE
    finally:
        subprocess.run(["umount", tmp_path], check=True)
