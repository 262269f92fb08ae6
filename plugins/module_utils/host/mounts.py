# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mounted on this host, and how much space is left there. Read-only."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ..errors import UvnasError
from . import proc

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclasses.dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo, see proc(5)."""

    mount_id: int
    point: str
    type: str
    options: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Space:
    """What statvfs(3) reports: space left for the owner, and mount flags. None: inodes are not counted."""

    free_bytes: int
    free_inodes: t.Optional[int]
    read_only: bool
    noexec: bool


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts in ``text``, the content of /proc/self/mountinfo.

    Only a line feed ends a line, and only a space a field: paths may contain any other character.
    """
    found = []
    for line in text.split("\n"):
        before, _separator, after = line.partition(" - ")
        fields, kind = before.split(" "), after.partition(" ")[0]
        if len(fields) > 4 and fields[0].isdecimal() and len(fields[0]) < 20 and fields[4] and kind:
            options = tuple(fields[5].split(",")) if len(fields) > 5 else ()
            found.append(Mount(int(fields[0]), _unescape(fields[4]), kind, options))
    return found


def _unescape(path: str) -> str:
    """The path that the kernel wrote with white space escaped: ``\\040`` is a space."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), path)


def mounts() -> list[Mount]:
    return parse_mountinfo(proc.read("/proc/self/mountinfo"))


def mount_id(path: str) -> int:
    """Which mount the directory ``path`` is on. Triggers an automount first.

    Asks the kernel, since comparing paths goes wrong with bind mounts, mounts on top of mounts, and symlinks.
    """
    descriptor = os.open(os.path.join(path, "."), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return mount_id_of(descriptor, path)
    finally:
        os.close(descriptor)


def mount_id_of(descriptor: int, path: str) -> int:
    """The same for an open descriptor; ``path`` is for messages."""
    for line in proc.read(f"/proc/self/fdinfo/{descriptor}").splitlines():
        key, _colon, value = line.partition(":")
        if key == "mnt_id":
            return int(value)
    raise UvnasError(
        f"the kernel does not tell which mount {path} is on", hint="uvnas.cluster needs Linux 3.15 or newer, and /proc."
    )


def mount_of(path: str, all_mounts: t.Sequence[Mount]) -> t.Optional[Mount]:
    """The mount that the directory ``path`` is on; None if it is hidden from this process (a chroot)."""
    wanted = mount_id(path)
    return next((mount for mount in all_mounts if mount.mount_id == wanted), None)


def is_mount_point(path: str) -> bool:
    """Whether something is mounted at the directory ``path``, bind mounts included."""
    parent = os.path.join(path, "..")
    return os.path.samefile(path, "/") or mount_id(path) != mount_id(parent)


def is_noexec(path: str) -> bool:
    """Whether nothing in the directory ``path`` can be run. Asks the kernel, and no server, as statvfs(3) would."""
    mount = mount_of(path, mounts())
    return space(path).noexec if mount is None else "noexec" in mount.options


def space(path: str) -> Space:
    found = os.statvfs(path)
    return Space(
        free_bytes=found.f_bavail * found.f_frsize,
        # btrfs and some NFS servers allocate inodes on demand and report 0 of 0.
        free_inodes=found.f_favail if found.f_files > 0 else None,
        read_only=bool(found.f_flag & os.ST_RDONLY),
        noexec=bool(found.f_flag & os.ST_NOEXEC),
    )
