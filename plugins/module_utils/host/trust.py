# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can have put something where it is, or could replace it: whoever may write to the directories on the way.

Root and one user, given by number, are trusted; nobody else is.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import shlex
import stat
import typing as t

from ..errors import UvnasError
from . import acl
from .users import group_name, known_group, user_name

# As many symlinks as the kernel follows in one path.
_MOST_LINKS = 40


def check_way(path: str, uid: int, *, top: str = "/") -> None:
    """Raise UvnasError if anybody but root and ``uid`` may write to ``path``, or to a directory above it.

    Each directory that the kernel passes through counts, wherever symlinks lead, except those above ``top``, which
    ``path`` is in. What is missing is made later by mkdir(), and its owner checked then. A few calls of lstat().
    """
    top_is = os.path.realpath(top)
    try:
        here, status = top_is, os.lstat(top_is)
    except FileNotFoundError:
        return
    ahead = _parts(os.path.relpath(path, top))
    links = 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            here = os.path.dirname(here)
            status = os.lstat(here)
            continue
        below = os.path.join(here, name)
        found = _look(below)
        if not _is_above(here, top_is):
            _check_step(path, here, status, below, found, uid, deep=not ahead)
        if found is None:
            return
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(below)
            ahead += _parts(target)
            if target.startswith("/"):
                here, status = "/", os.lstat("/")
            continue
        here, status = below, found
    if not _is_above(here, top_is):
        _check(path, here, status, uid, deep=True)


def is_safe(path: str, uid: int, *, top: str = "/") -> bool:
    """Whether check_way() accepts ``path``, and it exists."""
    try:
        check_way(path, uid, top=top)
    except (OSError, UvnasError):
        return False
    return os.path.lexists(path)


def check_owner(path: str, uid: int) -> None:
    """Raise UvnasError if ``path`` itself belongs to anybody but root and ``uid``."""
    status = os.lstat(path)
    if status.st_uid not in (0, uid):
        raise foreign(path, status.st_uid, uid)


def foreign(path: str, found: int, uid: int, *, deep: bool = True) -> UvnasError:
    """The error that ``path`` belongs to the user ``found``, and perhaps its content too (``deep``)."""
    name = user_name(uid)
    belongs = f"{path} belongs to {user_name(found)}, but should belong to {name if uid == 0 else f'{name} or root'}"
    if deep:
        first, option = "Find out who made it, and what is in it. Move it away", "-hR "
    else:
        first, option = "Choose another place", ""
    owner = f"do everything as {user_name(found)} (declare that owner, or connect as that user)"
    hint = f"{first}, or {owner}. Or, if it is no longer theirs: chown {option}{name} {shlex.quote(path)}"
    return UvnasError(belongs, hint=hint)


def other_writers(path: str, status: os.stat_result, uid: int, *, unknown: bool = True) -> str:
    """Who besides root and ``uid`` may write to the file or directory ``path``, in words; empty if nobody may.

    By its mode and its ACL, whoever owns it. ``unknown``: whether groups without a name on this host count.
    """
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    # With an ACL these bits are its mask: without them nobody it names may write either.
    if not status.st_mode & stat.S_IWGRP:
        return ""
    entries = acl.writers(acl.access_acl_of(path))
    groups = [status.st_gid] if entries is None or entries.owning_group else []
    for user in () if entries is None else entries.users:
        if user not in (0, uid):
            return f"the user {user_name(user)}, by an ACL,"
    for gid in [*groups, *(() if entries is None else entries.groups)]:
        if not _is_private_group(gid, uid) and (unknown or known_group(gid)):
            return f"the group {group_name(gid)}"
    return ""


def _check_step(
    path: str, here: str, status: os.stat_result, below: str, found: t.Optional[os.stat_result], uid: int, *, deep: bool
) -> None:
    """Check the directory ``here``, in which ``below`` is looked up on the way to ``path``."""
    if status.st_mode & stat.S_ISVTX and status.st_uid in (0, uid):
        # Like /tmp: others may put things there, but can remove only their own.
        if found is not None and found.st_uid not in (0, uid):
            raise _on_the_way(path, foreign(below, found.st_uid, uid, deep=deep))
        return
    _check(path, here, status, uid, deep=False)


def _check(path: str, here: str, status: os.stat_result, uid: int, *, deep: bool) -> None:
    if status.st_uid not in (0, uid):
        raise _on_the_way(path, foreign(here, status.st_uid, uid, deep=deep))
    others = other_writers(here, status, uid)
    if others:
        bits = "go-w" if status.st_mode & stat.S_IWGRP else "o-w"
        command = f"chmod {bits} {shlex.quote(here)}"
        hint = f"They could make others run what they put there. Choose another place, or: {command}"
        raise _on_the_way(path, UvnasError(f"{others} may write to {here}", hint=hint))


def _on_the_way(path: str, error: UvnasError) -> UvnasError:
    return UvnasError(f"{path} is not safe from others: {error}", hint=error.hint)


def _is_private_group(gid: int, uid: int) -> bool:
    """Whether root and ``uid`` are the only members of a group, as far as can be known cheaply.

    A group does not tell whose primary group it is. Listing all users takes a directory service seconds, and many
    refuse. So it must be the group that was made with one of the two: the same name, and their primary group. If
    somebody else was given it too, only this host's /etc/passwd shows that.
    """
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    trusted = {}
    for number in (0, uid):
        with contextlib.suppress(KeyError):
            user = pwd.getpwuid(number)
            trusted[user.pw_name] = user.pw_gid
    others = {*group.gr_mem, *_local_users_of(gid)} - set(trusted)
    return trusted.get(group.gr_name) == gid and not others


def _local_users_of(gid: int) -> t.Iterator[str]:
    """The users in /etc/passwd whose primary group it is."""
    with open("/etc/passwd", "rb") as file:
        for line in file.read().splitlines():
            entry = line.split(b":")
            if len(entry) > 3 and entry[3] == str(gid).encode():
                yield os.fsdecode(entry[0])


def _look(path: str) -> t.Optional[os.stat_result]:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _parts(path: str) -> list[str]:
    """The names in a path, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _is_above(path: str, directory: str) -> bool:
    return path != directory and directory.startswith(path.rstrip("/") + "/")
