# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Complete means on the disk: first the data, then what vouches for it.

A single file is synced when it is written (see files.replacing()). What other programs wrote, thousands of files with
their names and modes, is synced per filesystem, with syncfs(2), before a manifest or a record vouches for it. Changes
to names and modes on one filesystem need no sync in between: ext4 and xfs keep their order.

On NFS this host holds what is not written yet: syncfs() sends it to the server and makes the server commit it, as
fsync() does. If the server loses power before it has committed, the client sends the data again. Only if both lose
power, or the server exports with ``async``, can something be lost that this host believes to be safe. FUSE filesystems
are free to ignore syncfs().
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import typing as t

from . import proc

_libc = ctypes.CDLL(None, use_errno=True)


class Disks:
    """The filesystems that some paths are on, held open.

    If the kernel fails to write data to the disk, it reports that to whoever had the filesystem open at the time
    (since Linux 5.8). So open this before the data is written.
    """

    def __init__(self, *paths: str) -> None:
        """Paths that do not exist are ignored."""
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
        """Flush everything written to these filesystems to their disks. Raises OSError if that fails."""
        for descriptor, path in self._opened.values():
            if _libc.syncfs(descriptor) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), path)


def boot() -> t.Optional[str]:
    """The id of this boot: what is only in memory, and on no disk yet, is lost when it ends."""
    with contextlib.suppress(OSError):
        return proc.read("/proc/sys/kernel/random/boot_id").strip() or None
    return None
