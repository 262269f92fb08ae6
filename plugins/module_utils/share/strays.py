# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a directory where everybody makes one of their own, called as they are, and is not that.

It is as in /tmp: anybody can make ``alice`` before alice does, let everybody write to it, and wait for her uv to
install what they put there. So whatever has the name that a person's cache could have, and is not a directory of that
person that nobody else may write to, gets another name, which nobody's cache has.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import stat
import typing as t

from ..host.trust import other_writers
from ..host.users import known_name, known_number, user_name

# How many names of one user are asked for. A few have several; who makes thousands of directories is to keep no run
# waiting for the answers of a directory service.
_MOST_NAMES = 8
# Bytes of a name that are kept, of 255 that a filesystem takes.
_KEPT = 200


@dataclasses.dataclass(frozen=True)
class Stray:
    """Something that is no cache of the person that it is named for, and was moved aside or is to be."""

    # As it can be shown: others choose it, and may choose control characters.
    name: str
    why: str
    # Why it could not be moved.
    error: str = ""


def find(directory: str) -> list[Stray]:
    """What there is in ``directory``, which belongs to who runs this process, and need not be there.

    One listing, and one lstat() for each entry.
    """
    return _strays(directory, move=False)


def move_aside(directory: str) -> list[Stray]:
    """The same, and give it other names."""
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
            # Nobody has such a name, see the files for login shells; but what was moved aside has.
            if name.startswith("."):
                continue
            try:
                status = os.lstat(name, dir_fd=descriptor)
                why = _why(descriptor, name, status, people)
                error = _move(descriptor, name, status) if why and move else ""
            except FileNotFoundError:
                continue
            except OSError as refused:  # Whoever made it can mount something (FUSE) that lets nobody else look.
                why, error = "what it is cannot be seen", refused.strerror or str(refused)
            if why:
                found.append(Stray(_shown(name), why, error))
    finally:
        os.close(descriptor)
    return found


def _why(descriptor: int, name: str, status: os.stat_result, people: _People) -> str:
    """Why something is no cache of the person called ``name``; empty where it is one, or nobody can tell."""
    if not stat.S_ISDIR(status.st_mode):
        kind = "a symlink" if stat.S_ISLNK(status.st_mode) else "no directory"
        return f"{kind}, of {user_name(status.st_uid)}"
    if not people.may_be(status.st_uid, name):
        return f"belongs to {user_name(status.st_uid)}"
    if not status.st_mode & 0o022:
        return ""
    others = _others(descriptor, name, status)
    return f"{others} may write to it" if others else ""


def _others(descriptor: int, name: str, status: os.stat_result) -> str:
    """Who else than its owner may write to the directory ``name``, in words."""
    entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
    try:
        # As with users: a group that this host does not know may be that of the owner alone, as most systems make one.
        return other_writers(f"/proc/self/fd/{entry}", status, status.st_uid, unknown=False)
    finally:
        os.close(entry)


def _move(descriptor: int, name: str, seen: os.stat_result) -> str:
    """Give what was ``seen`` another name; why that could not be done."""
    hidden = b".%s.%s.aside" % (os.fsencode(name)[:_KEPT], os.urandom(8).hex().encode())
    try:
        now = os.lstat(name, dir_fd=descriptor)
        if (now.st_ino, now.st_uid, now.st_mode) != (seen.st_ino, seen.st_uid, seen.st_mode):
            return "it changed just now"
        os.rename(name, hidden, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _shown(name: str) -> str:
    return name if name.isascii() and name.isprintable() and " " not in name else ascii(name)


class _People:
    """Who the users of this host are; each is asked for once."""

    def __init__(self) -> None:
        self._names: dict[int, t.Optional[str]] = {}
        self._asked: collections.Counter[int] = collections.Counter()

    def may_be(self, uid: int, name: str) -> bool:
        """Whether the user with this number may be called so.

        Somebody whom this host does not know may: it may be one of a member only, or the directory service may be down.
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
