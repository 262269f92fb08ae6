# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can have put something where it is, and could put something else there: the directories on the way to it.

Root and one user, who is told by number, are trusted; nobody else is.
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

# As many symlinks as the kernel follows on one way.
_MOST_LINKS = 40


def check_way(path: str, uid: int, *, top: str = "/") -> None:
    """Raise UvnasError where somebody else than root and ``uid`` may write to ``path``, or to what it is in.

    Each directory that the kernel comes through counts, wherever symlinks lead, but for those above ``top``, which
    ``path`` is in. What is not there yet is made by mkdir(), and its owner looked at then. A few calls of lstat().
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
    """The same as an answer. False, too, where ``path`` is not there."""
    try:
        check_way(path, uid, top=top)
    except (OSError, UvnasError):
        return False
    return os.path.lexists(path)


def check_owner(path: str, uid: int) -> None:
    """Raise UvnasError where ``path`` itself belongs to somebody else than root and ``uid``."""
    status = os.lstat(path)
    if status.st_uid not in (0, uid):
        raise foreign(path, status.st_uid, uid)


def foreign(path: str, found: int, uid: int, *, deep: bool = True) -> UvnasError:
    """The error of what belongs to the user ``found``, and what is in it perhaps too (``deep``)."""
    name = user_name(uid)
    belongs = f"{path} belongs to {user_name(found)}, and should belong to {name if uid == 0 else f'{name} or root'}"
    if deep:
        first, option = "See who made it, and what is in it. Move it away", "-hR "
    else:
        first, option = "Choose another place", ""
    owner = f"have all of this done as {user_name(found)} (as the owner that is declared, or who connects)"
    hint = f"{first}, or {owner}. Or, if it is theirs no more: chown {option}{name} {shlex.quote(path)}"
    return UvnasError(belongs, hint=hint)


def others_who_may_write(path: str, status: os.stat_result, uid: int, *, unknown: bool = True) -> str:
    """Who else than root and ``uid`` may write to the file or directory ``path``, in words; empty where nobody may.

    By its mode and its ACL, whoever it belongs to. ``unknown``: whether groups without a name on this host count.
    """
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    # With an ACL these bits are its mask: without them nobody whom it names may write either.
    if not status.st_mode & stat.S_IWGRP:
        return ""
    entries = acl.writers(acl.access_acl_of(path))
    groups = [status.st_gid] if entries is None or entries.owning_group else []
    for user in () if entries is None else entries.users:
        if user not in (0, uid):
            return f"the user {user_name(user)}, by an ACL,"
    for gid in [*groups, *(() if entries is None else entries.groups)]:
        if not _has_no_others(gid, uid) and (unknown or known_group(gid)):
            return f"the group {group_name(gid)}"
    return ""


def _check_step(
    path: str, here: str, status: os.stat_result, below: str, found: t.Optional[os.stat_result], uid: int, *, deep: bool
) -> None:
    """Check the directory ``here``, in which ``below`` is looked up on the way to ``path``."""
    if status.st_mode & stat.S_ISVTX and status.st_uid in (0, uid):
        # As /tmp: others may put things there, but can take away only what is theirs.
        if found is not None and found.st_uid not in (0, uid):
            raise _on_the_way(path, foreign(below, found.st_uid, uid, deep=deep))
        return
    _check(path, here, status, uid, deep=False)


def _check(path: str, here: str, status: os.stat_result, uid: int, *, deep: bool) -> None:
    if status.st_uid not in (0, uid):
        raise _on_the_way(path, foreign(here, status.st_uid, uid, deep=deep))
    others = others_who_may_write(here, status, uid)
    if others:
        bits = "go-w" if status.st_mode & stat.S_IWGRP else "o-w"
        command = f"chmod {bits} {shlex.quote(here)}"
        hint = f"Whoever may could have others run what they put there. Choose another place, or: {command}"
        raise _on_the_way(path, UvnasError(f"{others} may write to {here}", hint=hint))


def _on_the_way(path: str, error: UvnasError) -> UvnasError:
    return UvnasError(f"{path} is not safe from others: {error}", hint=error.hint)


def _has_no_others(gid: int, uid: int) -> bool:
    """Whether root and ``uid`` are all that a group has, as far as can be known at little cost.

    Whose primary group it is, the group does not tell. To ask for all users takes a directory service seconds, and
    many do not answer. So it has to be the group that was made with one of the two: of the same name, and primary
    group. That somebody else was given it, too, is seen on this host only.
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
    """Whose primary group it is, by /etc/passwd."""
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
