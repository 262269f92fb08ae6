# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Warnings about what could not be removed, and who on this host is using it.

The kernel names what a process has open or mapped, or runs, by its present path: as ``.nfs…`` in a tree that was
renamed. Reading these paths touches no NAS. Root sees all processes, others see their own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import time
import typing as t

from ..errors import UvnasError
from .data import plain
from .proc import owner_and_name
from .proc import read as read_proc
from .removal import FOREIGN, IN_USE, MOUNTED, Leftover, Obstacle
from .users import user_name
from .workers import Child, Result, readable, result_of

# Processes named in a message.
_SHOWN = 3
# Seconds. A process's maps cannot be read while it is mapping a file from a NAS that hangs.
_PATIENCE = 10.0
_DELETED = " (deleted)"


@dataclasses.dataclass(frozen=True)
class Process:
    """A process of this host."""

    pid: int
    user: str
    # The name only: arguments may hold secrets.
    command: str


def as_data(leftovers: t.Iterable[Leftover]) -> list[Result]:
    """Leftovers as plain data that can cross a process boundary, with their paths as the kernel names them."""
    return [{**dataclasses.asdict(each), "real": os.path.realpath(each.path)} for each in leftovers]


def warnings(data: t.Sequence[Result], *, proc: str = "/proc") -> list[str]:
    """A warning for each of the leftovers that as_data() described, none of which is touched.

    This process may see more than the one that tried to remove them.
    """
    if not data:
        return []
    busy = [each["real"] for each in data if any(one["kind"] == IN_USE for one in each["obstacles"])]
    users = _users_in_time(busy, proc) if busy else []
    found = []
    for each in data:
        obstacles = tuple(Obstacle(**one) for one in each["obstacles"])
        using = [Process(*process) for path, *process in users if path == each["real"]]
        found.append(_warning(Leftover(each["path"], obstacles, each["what"]), using))
    return found


def _warning(leftover: Leftover, using: t.Sequence[Process]) -> str:
    reasons = [_reason(obstacle, leftover.path, using) for obstacle in leftover.obstacles]
    what = f"{leftover.what}: " if leftover.what else ""
    return plain(
        f"{what}{leftover.path} cannot be removed yet: {'; '.join(reasons)}. It is hidden and in nobody's way; "
        "later changes to the share will try again."
    )


def _reason(obstacle: Obstacle, top: str, using: t.Sequence[Process]) -> str:
    path = obstacle.path
    if obstacle.kind == IN_USE:
        return f"{_who(using)} ({path})"
    if obstacle.kind == MOUNTED:
        return f"something is mounted on {path} (umount {shlex.quote(path)})"
    if obstacle.kind == FOREIGN:
        return (
            f"{path} is in a directory of {user_name(obstacle.uid)} (uid {obstacle.uid}), so only root can remove it: "
            f"sudo rm -rf {shlex.quote(top)} (run it on the NAS if the export squashes root)"
        )
    return f"{obstacle.said}: {path}"


def _who(using: t.Sequence[Process]) -> str:
    if not using:
        user = "no process visible on this host" if os.geteuid() == 0 else "a process that only root can see"
        return f"in use by {user}"
    named = ", ".join(f"pid {one.pid} ({one.command}, {one.user})" for one in using[:_SHOWN])
    more = f" and {len(using) - _SHOWN} more" if len(using) > _SHOWN else ""
    return f"in use by {named}{more}"


def _users_in_time(paths: t.Sequence[str], proc: str) -> list[list[t.Any]]:
    """What users() finds, as plain data: path, pid, user, command. Nothing if it takes too long."""

    def look() -> Result:
        return {"users": [[path, *dataclasses.astuple(one)] for path, found in users(paths, proc) for one in found]}

    child, limit = Child(look), time.monotonic() + _PATIENCE
    while readable([child.reader], max(0.0, limit - time.monotonic())):
        if child.read():
            child.reap()
            with contextlib.suppress(UvnasError):  # It was killed, for example. The warning does without.
                said: list[list[t.Any]] = result_of(child.answer())["users"]
                return said
            return []
    child.kill()  # But do not wait for it: it may be where no signal gets through.
    return []


def users(paths: t.Sequence[str], proc: str = "/proc") -> list[tuple[str, list[Process]]]:
    """The processes that use something below each of ``paths``, as far as this user can see."""
    found: list[tuple[str, list[Process]]] = [(path, []) for path in paths]
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdecimal()):
        with contextlib.suppress(OSError, KeyError):  # It has ended.
            directory = os.path.join(proc, str(pid))
            seen = _paths_of(directory)
            for path, processes in found:
                if any(one == path or one.startswith(path + "/") for one in seen):
                    processes.append(_process(pid, directory))
    return found


def _process(pid: int, directory: str) -> Process:
    uid, name = owner_and_name(directory)
    return Process(pid, user_name(uid), plain(name))


def _paths_of(directory: str) -> set[str]:
    """The paths that a process uses. Deleted files are in nobody's way."""
    found = set()
    with contextlib.suppress(OSError):  # Somebody else's.
        fd = os.path.join(directory, "fd")
        for link in ("exe", "cwd", *(os.path.join("fd", name) for name in os.listdir(fd))):
            with contextlib.suppress(OSError):
                found.add(os.readlink(os.path.join(directory, link)))
    with contextlib.suppress(OSError):
        for line in read_proc(os.path.join(directory, "maps")).split("\n"):
            fields = line.split(None, 5)
            if len(fields) == 6:
                found.add(fields[5])
    return {path for path in found if path.startswith("/") and not path.endswith(_DELETED)}
