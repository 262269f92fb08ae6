# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""POSIX ACLs: default ones, which say who may do what with what is made in a directory, whatever the umask."""

from __future__ import annotations

import errno
import os
import struct
import typing as t

DEFAULT_ACL = "system.posix_acl_default"
_ACCESS_ACL = "system.posix_acl_access"

# Kinds of default ACLs: there is none; what is made is writable for the owning group; anything else.
NONE, GROUP, OTHER = "none", "group", "other"

# linux/posix_acl_xattr.h
_HEAD = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")


def default_acl(mode: int) -> bytes:
    """A default ACL that gives what is made in a directory the permissions ``mode``, whatever the umask.

    As the kernel takes it in the attribute DEFAULT_ACL.
    """
    entries = ((0x01, mode >> 6), (0x04, mode >> 3), (0x20, mode))  # ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER
    return _HEAD.pack(2) + b"".join(_ENTRY.pack(tag, bits & 7, 0xFFFFFFFF) for tag, bits in entries)


def kind(acl: bytes) -> str:
    """The kind of a default ACL (empty: none). One that lets the owning group write may well have more in it."""
    if not acl:
        return NONE
    bits = {tag: permissions for tag, permissions, _id in _ENTRY.iter_unpack(acl[_HEAD.size :])}
    return GROUP if bits.get(0x04, 0) & bits.get(0x10, 7) & 2 else OTHER  # ACL_GROUP_OBJ, as far as ACL_MASK allows


def default_acl_of(path: str) -> t.Optional[bytes]:
    """The default ACL of a directory, empty where it has none; None where the filesystem has no such thing."""
    try:
        return os.getxattr(path, DEFAULT_ACL)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return b""
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return None
        raise


def take_off(path: str) -> None:
    """Leave ``path`` with its mode alone, and have nothing inherit more from it. It must not be a symlink."""
    for name in (DEFAULT_ACL, _ACCESS_ACL):
        try:
            os.removexattr(path, name)
        except OSError as error:
            # It has none; it is no directory; or the filesystem has no such thing.
            if error.errno not in (errno.ENODATA, errno.EACCES, errno.ENOTSUP, errno.ENOSYS):
                raise
