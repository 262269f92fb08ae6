# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a file shares its space with another one, on filesystems with reflinks.

A file that uv has cloned from its cache has an inode of its own, yet takes no space. The ioctl FIEMAP tells
(linux/fiemap.h; its number and structures are the same on x86_64 and aarch64).
"""

from __future__ import annotations

import fcntl
import os
import struct
import typing as t

_FS_IOC_FIEMAP = 0xC020660B
# fm_start, fm_length, fm_flags, fm_mapped_extents, fm_extent_count, fm_reserved
_REQUEST = struct.Struct("=QQLLLL")
# fe_logical, fe_physical, fe_length, fe_reserved64[2], fe_flags, fe_reserved[3]
_EXTENT = struct.Struct("=QQQ2QL3L")
_LAST, _SHARED = 0x1, 0x2000
# Freshly installed files have a few extents; the rest of one with more takes another call.
_COUNT = 32
_WHOLE = (1 << 64) - 1


def own_bytes(path: str) -> t.Optional[int]:
    """The bytes that the file ``path`` shares with no other; None if the filesystem cannot tell, as with NFS.

    Bytes as allocated, in blocks of the filesystem.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # This user may not read every file.
        return None
    try:
        own = start = 0
        while True:
            extents = _extents(descriptor, start)
            for _logical, _physical, length, _a, _b, flags, *_rest in extents:
                own += 0 if flags & _SHARED else length
            if not extents or extents[-1][5] & _LAST:
                return own
            following = extents[-1][0] + extents[-1][2]
            if following <= start:
                return None
            start = following
    except OSError:
        return None
    finally:
        os.close(descriptor)


def shared_start(path: str) -> t.Optional[int]:
    """Where on its device the file ``path`` starts, in bytes, if it shares that with another one; None otherwise.

    Clones of one file start at the same place, as long as nobody has written to them.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        extents = _extents(descriptor, 0)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return extents[0][1] if extents and extents[0][5] & _SHARED else None


def _extents(descriptor: int, start: int) -> list[tuple[int, ...]]:
    buffer = bytearray(_REQUEST.size + _COUNT * _EXTENT.size)
    _REQUEST.pack_into(buffer, 0, start, _WHOLE - start, 0, 0, _COUNT, 0)
    fcntl.ioctl(descriptor, _FS_IOC_FIEMAP, buffer)
    count = _REQUEST.unpack_from(buffer)[3]
    return [_EXTENT.unpack_from(buffer, _REQUEST.size + index * _EXTENT.size) for index in range(count)]
