# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv_share tells: facts, what changed, the lines of a diff, and warnings."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..host import acl, sealing
from ..host.platform import Platform
from ..host.users import group_name, user_name
from ..host.workers import Result
from . import probe
from .layout import is_below
from .plan import Change, Directory, Survey, Wanted
from .state import IDENTITY_MODE


def report(
    wanted: Wanted,
    platform: Platform,
    answer: Survey,
    changes: t.Sequence[Change],
    identity: str,
    abilities: t.Optional[probe.Abilities],
) -> Result:
    """The module's result. ``abilities`` is None where they are not known."""
    tried = {field.name: getattr(abilities, field.name, None) for field in dataclasses.fields(probe.Abilities)}
    mode = probe.link_mode(abilities, split=bool(answer.split)) if abilities else None
    file = {identity: [wanted.layout.identity]}
    free = {"free_bytes": answer.space.free_bytes, "free_inodes": answer.space.free_inodes}
    return {
        "changed": bool(changes or identity),
        "share_name": wanted.name,
        "share_id": answer.id,
        "root": wanted.root,
        "filesystem": answer.filesystem,
        "link_mode": mode,
        "probe": {**tried, **free},
        "platform": dataclasses.asdict(platform),
        "created": [change.path for change in changes if change.makes] + file.get("created", []),
        "corrected": [change.path for change in changes if not change.makes] + file.get("corrected", []),
        "diff": _diff(wanted, changes, identity),
        "warnings": _warnings(wanted, answer, changes, mode),
    }


def _diff(wanted: Wanted, changes: t.Sequence[Change], identity: str) -> dict[str, str]:
    """Before and after, a line for each directory. Without the id, which nobody can predict."""
    before = [_line(wanted, change.path, change.before) for change in changes if change.before]
    after = [_line(wanted, change.path, change.after) for change in changes]
    if identity:
        after.append(f"share.json: {wanted.name}, {IDENTITY_MODE:04o}, {wanted.owner}\n")
    if identity == "corrected":
        before.append(f"share.json: {wanted.name}, of another owner or mode\n")
    return {
        "before": "".join(before),
        "after": "".join(after),
        "before_header": wanted.root,
        "after_header": wanted.root,
    }


# What the default ACL of a directory does, in a diff.
_TAILS = {
    acl.NONE: "",
    acl.GROUP: ", new files writable by the group",
    acl.OTHER: ", new files with a default ACL",
}


def _line(wanted: Wanted, path: str, directory: Directory) -> str:
    name = os.path.relpath(path, wanted.root)
    tail = ", and no directory" if directory.other else _TAILS[directory.default_acl or acl.NONE]
    who = f"{user_name(directory.uid)}:{group_name(directory.gid)}"
    return f"{name}/: {directory.mode:04o} {who}{tail}\n"


def _warnings(wanted: Wanted, answer: Survey, changes: t.Sequence[Change], mode: t.Optional[str]) -> list[str]:
    which = f"Share {wanted.name} ({wanted.root})"
    found = []
    if mode == "copy":
        split = f"{', '.join(answer.split)}: on another filesystem"
        found.append(
            f"{which}: uv has to copy every file into every environment"
            f" ({split if answer.split else 'no hard links, no reflinks'})."
            " Builds take several times as long, and environments share no room."
        )
    if answer.read_only:
        found.append(
            f"{which}: the filesystem is read-only on this host, its builder. There was nothing to do about it."
            " Whatever there is to do next fails until the host can write there, or another one is the builder."
        )
    if wanted.user_cache == "group" and not answer.acl:
        found.append(
            f"{which}: the filesystem has no POSIX default ACLs. People can share user-cache only with"
            " umask 002 (or 007); with another one their uv fails there. Or set uvnas_user_cache to private."
        )
    for change in changes:
        if change.aside:
            found.append(
                f"{which}: others made {change.path}, or could write to it. It was moved aside, to"
                f" .{os.path.basename(change.path)}.*.aside there. Remove it when nobody needs it."
            )
    opened = [
        os.path.relpath(change.path, wanted.root)
        for change in changes
        if change.before and change.before.mode & 0o022 and not is_below(change.path, wanted.layout.user_cache)
    ]
    if opened:
        found.append(
            f"{which}: others than {wanted.owner} could write to {sealing.listed(opened)}, and may have changed what is"
            " in there. Interpreters and environments are checked next. If the builder's cache is in this list, empty"
            " it."
        )
    return found
