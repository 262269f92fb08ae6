# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strays in a directory where each person makes one named after themselves: anything that is not such a directory.

As in /tmp, anybody can make ``alice`` before alice does, let everybody write to it, and wait for her uv to install what
they put there. So anything that has a person's name, and is not a directory of that person that nobody else may write
to, gets another name, which nobody's cache can have.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import stat
import typing as t

from ..host.trust import other_writers
from ..host.users import known_name, known_number, user_name

# How many names of one user are looked up. A few have several, but somebody with thousands of directories must not keep
# a run waiting for a directory service.
_MOST_NAMES = 8
# How many bytes of a name are kept, of the 255 that filesystems allow.
_KEPT = 200


@dataclasses.dataclass(frozen=True)
class Stray:
    """Something that is not the cache of the person it is named after, and was or will be moved aside."""

    # Printable: others choose the name, and may choose control characters.
    name: str
    why: str
    # Why it could not be moved.
    error: str = ""


def find(directory: str) -> list[Stray]:
    """The strays in ``directory``, which belongs to this process's user, and need not exist.

    One listing, and one lstat() for each entry.
    """
    return _strays(directory, move=False)


def move_aside(directory: str) -> list[Stray]:
    """The same, and give them other names."""
    return _strays(directory, move=True)


def _strays(directory: str, *, move: bool) -> list[Stray]:
    found = []
    people = _People()
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # In check mode; it is made or corrected first.
        return []
    try:
        for name in sorted(os.listdir(descriptor)):
            # No user has such a name (see the files for login shells), but what was moved aside has.
            if name.startswith("."):
                continue
            try:
                status = os.lstat(name, dir_fd=descriptor)
                why = _why(descriptor, name, status, people)
                error = _move(descriptor, name, status) if why and move else ""
            except FileNotFoundError:
                continue
            except OSError as refused:  # Its maker can mount something (FUSE) that nobody else can see.
                why, error = "cannot be looked at", refused.strerror or str(refused)
            if why:
                found.append(Stray(_shown(name), why, error))
    finally:
        os.close(descriptor)
    return found


def _why(descriptor: int, name: str, status: os.stat_result, people: _People) -> str:
    """Why something is not the cache of the person called ``name``; empty if it is, or nobody can tell."""
    if not stat.S_ISDIR(status.st_mode):
        kind = "a symlink" if stat.S_ISLNK(status.st_mode) else "not a directory"
        return f"{kind}, owned by {user_name(status.st_uid)}"
    if not people.may_be(status.st_uid, name):
        return f"belongs to {user_name(status.st_uid)}"
    if not status.st_mode & 0o022:
        return ""
    others = _others(descriptor, name, status)
    return f"{others} may write to it" if others else ""


def _others(descriptor: int, name: str, status: os.stat_result) -> str:
    """Who besides its owner may write to the directory ``name``, in words."""
    entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
    try:
        # As with users: a group that this host does not know may be the owner's private one.
        return other_writers(f"/proc/self/fd/{entry}", status, status.st_uid, unknown=False)
    finally:
        os.close(entry)


def _move(descriptor: int, name: str, seen: os.stat_result) -> str:
    """Give what was ``seen`` another name; returns why that failed, if it did."""
    hidden = b".%s.%s.aside" % (os.fsencode(name)[:_KEPT], os.urandom(8).hex().encode())
    try:
        now = os.lstat(name, dir_fd=descriptor)
        if (now.st_ino, now.st_uid, now.st_mode) != (seen.st_ino, seen.st_uid, seen.st_mode):
            return "it has just changed"
        os.rename(name, hidden, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _shown(name: str) -> str:
    return name if name.isascii() and name.isprintable() and " " not in name else ascii(name)


class _People:
    """The users of this host, each looked up once."""

    def __init__(self) -> None:
        self._names: dict[int, t.Optional[str]] = {}
        self._asked: collections.Counter[int] = collections.Counter()

    def may_be(self, uid: int, name: str) -> bool:
        """Whether the user with this number may have this name.

        True for somebody unknown to this host, who may exist on a member only, or whose directory service may be down.
        """
        if uid not in self._names:
            self._names[uid] = known_name(uid)
        if self._names[uid] == name:
            return True
        self._asked[uid] += 1
        if self._asked[uid] > _MOST_NAMES:
            return False
        number = known_number(name)  # They may have several.
        return self._names[uid] is None if number is None else number == uid
