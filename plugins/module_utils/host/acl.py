# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""POSIX ACLs: who else may write to something, and what a group may do with new files in a directory."""

from __future__ import annotations

import errno
import os
import struct
import typing as t

ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"

# Kinds of default ACLs: none; new files are writable by the owning group; anything else.
NONE, GROUP, OTHER = "none", "group", "other"

# linux/posix_acl_xattr.h
_HEAD = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER, _GROUP_OBJ, _GROUP, _MASK, _WRITE = 0x02, 0x04, 0x08, 0x10, 2


class Writers(t.NamedTuple):
    """Who an ACL lets write, besides the owner and everybody."""

    owning_group: bool
    users: tuple[int, ...]
    groups: tuple[int, ...]


def writers(acl: bytes) -> t.Optional[Writers]:
    """Who the access ACL ``acl`` lets write; None if it is empty, as then the mode says it all."""
    if not acl:
        return None
    entries = list(_ENTRY.iter_unpack(acl[_HEAD.size :]))
    mask = next((bits for tag, bits, _id in entries if tag == _MASK), 7)
    found = [(tag, number) for tag, bits, number in entries if bits & mask & _WRITE]
    return Writers(
        any(tag == _GROUP_OBJ for tag, _number in found),
        tuple(number for tag, number in found if tag == _USER),
        tuple(number for tag, number in found if tag == _GROUP),
    )


def default_acl(mode: int) -> bytes:
    """The value of the attribute DEFAULT_ACL that gives new files in a directory the permissions ``mode``.

    Whatever the umask.
    """
    entries = ((0x01, mode >> 6), (0x04, mode >> 3), (0x20, mode))  # ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER
    return _HEAD.pack(2) + b"".join(_ENTRY.pack(tag, bits & 7, 0xFFFFFFFF) for tag, bits in entries)


def kind(acl: bytes) -> str:
    """The kind of a default ACL (empty: none). One that lets the owning group write may contain more than that."""
    if not acl:
        return NONE
    if (len(acl) - _HEAD.size) % _ENTRY.size:
        return OTHER
    bits = {tag: permissions for tag, permissions, _id in _ENTRY.iter_unpack(acl[_HEAD.size :])}
    return GROUP if bits.get(_GROUP_OBJ, 0) & bits.get(_MASK, 7) & _WRITE else OTHER


def default_acl_of(path: str) -> t.Optional[bytes]:
    """The default ACL of a directory, empty if it has none; None if the filesystem does not support them."""
    return _read(path, DEFAULT_ACL)


def access_acl_of(path: str) -> bytes:
    """The access ACL of a file or directory; empty if it has only a mode, or the filesystem supports no ACLs."""
    return _read(path, ACCESS_ACL) or b""


def _read(path: str, attribute: str) -> t.Optional[bytes]:
    try:
        return os.getxattr(path, attribute)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return b""
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return None
        raise


def strip(path: str) -> None:
    """Remove all ACLs of ``path``, so that only its mode counts and nothing inherits more. It must not be a symlink."""
    for name in (DEFAULT_ACL, ACCESS_ACL):
        try:
            os.removexattr(path, name)
        except OSError as error:
            # It has none; it is not a directory; or the filesystem does not support ACLs.
            if error.errno not in (errno.ENODATA, errno.EACCES, errno.ENOTSUP, errno.ENOSYS):
                raise
