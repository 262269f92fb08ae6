# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filesystems are synced once each, and what cannot be written to a disk is an error."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host import durable


class Kernel:
    """What syncfs() was asked for, by device; fails with an error number, if there is one."""

    def __init__(self, code: int = 0) -> None:
        self.code, self.synced = code, list[int]()

    def syncfs(self, descriptor: int) -> int:
        self.synced.append(os.fstat(descriptor).st_dev)
        ctypes.set_errno(self.code)
        return -1 if self.code else 0


def test_each_filesystem_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    kernel = Kernel()
    monkeypatch.setattr(durable, "_libc", kernel)
    paths = [str(tmp_path), str(tmp_path / "one"), "/dev/shm", str(tmp_path / "missing")]
    with contextlib.closing(durable.Disks(*paths)) as disks:
        disks.sync()
    assert kernel.synced == [os.stat(tmp_path).st_dev, os.stat("/dev/shm").st_dev]


def test_what_could_not_be_written_is_an_error_that_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "_libc", Kernel(errno.EIO))
    with contextlib.closing(durable.Disks(str(tmp_path))) as disks, pytest.raises(OSError, match="error") as caught:
        disks.sync()
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))


def test_of_this_kernel(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with contextlib.closing(durable.Disks(str(tmp_path), "/dev/shm")) as disks:
        disks.sync()
    assert os.listdir("/proc/self/fd") == before
    assert durable.boot() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
