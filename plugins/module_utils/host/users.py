# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and groups of this host, by name and by number."""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
import typing as t

from ..errors import UvnasError

# The kernel's overflow uid.
_NOBODY = 65534


@dataclasses.dataclass(frozen=True)
class User:
    """A user to work as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def this_user() -> User:
    """The user of this process, with the groups it really has."""
    uid, gid = os.geteuid(), os.getegid()
    return User(user_name(uid), uid, gid, tuple({gid, *os.getgroups()}), "/")


def find_user(name: str) -> User:
    """The user called ``name`` with all its groups. Raises UvnasError if this host knows no such user."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: not a possible name at all.
        raise UvnasError(
            f"this host has no user {name}",
            hint="Create the user (the share's owner) first, with the same uid everywhere.",
        ) from None
    groups = tuple(os.getgrouplist(name, entry.pw_gid))
    return User(name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def by_number(uid: int, gid: int) -> User:
    """The user with this number, in one group. This host need not know either, and is not asked for its groups."""
    return User(str(uid), uid, gid, (gid,), "/")


def nobody() -> User:
    """A user that owns nothing and is in no group that matters."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return by_number(_NOBODY, _NOBODY)
    return by_number(entry.pw_uid, entry.pw_gid)


def user_to_become(owner: t.Optional[str]) -> t.Optional[User]:
    """The user to become in order to work as ``owner``; None if this process already is that user.

    Raises UvnasError if it is neither the owner nor root.
    """
    if owner is None:
        return None
    user = find_user(owner)
    if user.uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise UvnasError(
            f"connected as uid {os.geteuid()}, but the share belongs to {owner} (uid {user.uid})",
            hint=f"Connect as {owner} or as root, or become one of them (ansible_become).",
        )
    return user


def find_group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        raise UvnasError(
            f"this host has no group {name}", hint="Create the share's group first, with the same gid everywhere."
        ) from None


def user_name(uid: int) -> str:
    return known_name(uid) or str(uid)


def known_name(uid: int) -> t.Optional[str]:
    """This host's name for a user; None if it knows none, or the directory service (LDAP) does not answer."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def known_number(name: str) -> t.Optional[int]:
    """A user's number; None if this host does not know them, or the directory service does not answer."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def group_name(gid: int) -> str:
    return known_group(gid) or str(gid)


def known_group(gid: int) -> t.Optional[str]:
    """This host's name for a group; None if it knows none, or the directory service (LDAP) does not answer."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None
