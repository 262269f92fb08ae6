# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files below /proc. Reading them touches no NAS."""

from __future__ import annotations

import errno
import os
import typing as t

from .users import User


def read(path: str, most: t.Optional[int] = None) -> str:
    """All of the file ``path``, of ``most`` bytes at most, if given. Raises OSError, also if it is longer."""
    # Not with open(): it may import to find an encoding, which the owner cannot do in root's Python.
    # Paths may be in any encoding; those that come back from os.path have the same surrogates.
    # Read to the end: the kernel returns at most a page at once, and a host with many mounts has several.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts, size = [], 0
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
            size += len(part)
            if most is not None and size > most:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return os.fsdecode(b"".join(parts))
    finally:
        os.close(descriptor)


def owner_and_name(directory: str) -> tuple[int, str]:
    """The uid of a process, by its directory, and the name of its program, which may be any text.

    Raises OSError, and KeyError, ValueError or IndexError if it has ended meanwhile.
    """
    said = _status(directory)
    return int(said["Uid"].split()[0]), said["Name"]


def acting_as(directory: str) -> User:
    """The user as whom a process looks at files, with its groups. Raises as owner_and_name()."""
    said = _status(directory)
    # Real, effective, saved, and that for files, see proc(5).
    uid, gid = (int(said[key].split()[3]) for key in ("Uid", "Gid"))
    return User(str(uid), uid, gid, tuple(map(int, said["Groups"].split())), "/")


def _status(directory: str) -> dict[str, str]:
    lines = read(os.path.join(directory, "status")).split("\n")
    return {key: value.strip() for key, _colon, value in (line.partition(":") for line in lines)}
