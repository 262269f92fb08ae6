# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Complete means on the disk: first the data, then what vouches for it.

A file of its own is synced when it is written (see files.replacing()). What other programs wrote, thousands of files
with their names and modes, is synced by filesystem, with syncfs(2), before a manifest or a record says that it is
there. Several writes of the names and modes of one filesystem need nothing in between: ext4 and xfs keep their order.

On NFS it is this host that has what is not written yet: syncfs() sends it to the server and has the server commit it,
as fsync() does. What the server has only promised when it loses its power is sent once more when it is back. Only if
both lose it, or the server exports with ``async``, can something be lost that this host believes to be safe. FUSE
filesystems need not do anything about syncfs().
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import typing as t

from . import proc

_libc = ctypes.CDLL(None, use_errno=True)


class Disks:
    """The filesystems that some paths are on, from now on.

    The kernel tells of data that it could not write to the disk whoever had the filesystem open at that time (since
    Linux 5.8). So open this before the data is written.
    """

    def __init__(self, *paths: str) -> None:
        """Paths that are not there do not count."""
        self._opened: dict[int, tuple[int, str]] = {}
        try:
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    self._open(path)
        except BaseException:
            self.close()
            raise

    def _open(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        device = os.fstat(descriptor).st_dev
        if device in self._opened:
            os.close(descriptor)
        else:
            self._opened[device] = (descriptor, path)

    def close(self) -> None:
        while self._opened:
            _device, (descriptor, _path) = self._opened.popitem()
            os.close(descriptor)

    def sync(self) -> None:
        """Have all that was written to these filesystems on their disks. Raises OSError where that cannot be."""
        for descriptor, path in self._opened.values():
            if _libc.syncfs(descriptor) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), path)


def boot() -> t.Optional[str]:
    """Which start of which kernel this is: what is in its memory, and on no disk yet, goes with it."""
    with contextlib.suppress(OSError):
        return proc.read("/proc/sys/kernel/random/boot_id").strip() or None
    return None
