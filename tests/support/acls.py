# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""POSIX ACLs for tests, as the kernel takes them (linux/posix_acl_xattr.h)."""

from __future__ import annotations

import os
import struct
from pathlib import Path

DEFAULT, ACCESS = "system.posix_acl_default", "system.posix_acl_access"
# u::rwx,g::r-x,g:65534:rwx,m::rwx,o::r-x
LETS_A_GROUP_WRITE = struct.pack(
    "<I" + "HHI" * 5,
    2,
    *(0x01, 7, 0xFFFFFFFF),
    *(0x04, 5, 0xFFFFFFFF),
    *(0x08, 7, 65534),
    *(0x10, 7, 0xFFFFFFFF),
    *(0x20, 5, 0xFFFFFFFF),
)


def let_a_group_write(directory: Path) -> None:
    """Let a group write to a directory, and to everything created in it, whatever the umask."""
    for name in (ACCESS, DEFAULT):
        os.setxattr(directory, name, LETS_A_GROUP_WRITE)


def acls_in(directory: Path) -> list[str]:
    """The paths with an ACL, in a directory and including it."""
    return [
        str(path)
        for path in [directory, *directory.rglob("*")]
        if not path.is_symlink() and {DEFAULT, ACCESS} & set(os.listxattr(path))
    ]
