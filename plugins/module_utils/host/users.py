# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and groups of this host, by name and by number."""

from __future__ import annotations

import grp
import os
import pwd

from ..errors import UvnasError
from .process import User


def this_user() -> User:
    """Who runs this process, with the groups it really has."""
    uid, gid = os.geteuid(), os.getegid()
    return User(user_name(uid), uid, gid, tuple({gid, *os.getgroups()}), "/")


def find_group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise UvnasError(
            f"this host has no group {name}", hint="Create the share's group first, with the same gid everywhere."
        ) from None


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
