# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv_share reports: facts, changes, the lines of a diff, and warnings."""

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
from .strays import Stray


def report(
    wanted: Wanted,
    platform: Platform,
    answer: Survey,
    changes: t.Sequence[Change],
    identity: str,
    abilities: t.Optional[probe.Abilities],
) -> Result:
    """The module's result. ``abilities`` is None if they are not known."""
    tried = {field.name: getattr(abilities, field.name, None) for field in dataclasses.fields(probe.Abilities)}
    mode = probe.link_mode(abilities, split=bool(answer.split)) if abilities else None
    moved = [stray for stray in answer.strays if not stray.error]
    file = {identity: [wanted.layout.identity]}
    free = {"free_bytes": answer.space.free_bytes, "free_inodes": answer.space.free_inodes}
    return {
        "changed": bool(changes or identity or moved),
        "share_name": wanted.name,
        "share_id": answer.id,
        "root": wanted.root,
        "filesystem": answer.filesystem,
        "link_mode": mode,
        "probe": {**tried, **free},
        "platform": dataclasses.asdict(platform),
        "created": [change.path for change in changes if change.makes] + file.get("created", []),
        "corrected": [change.path for change in changes if not change.makes] + file.get("corrected", []),
        "moved_aside": [os.path.join(wanted.layout.user_cache, stray.name) for stray in moved[:_RETURNED]],
        "diff": _diff(wanted, changes, identity, moved),
        "warnings": _warnings(wanted, answer, changes, mode),
    }


def _diff(wanted: Wanted, changes: t.Sequence[Change], identity: str, moved: t.Sequence[Stray]) -> dict[str, str]:
    """Before and after, one line for each directory. Without the id, which cannot be predicted."""
    before = [_line(wanted, change.path, change.before) for change in changes if change.before]
    after = [_line(wanted, change.path, change.after) for change in changes]
    if identity:
        after.append(f"share.json: {wanted.name}, {IDENTITY_MODE:04o}, {wanted.owner}\n")
    if identity == "corrected":
        before.append(f"share.json: {wanted.name}, other owner or mode\n")
    user_cache = os.path.relpath(wanted.layout.user_cache, wanted.root)
    before += [f"{user_cache}/{stray.name}: {stray.why}\n" for stray in moved[:_RETURNED]]
    if len(moved) > _RETURNED:
        before.append(f"{user_cache}/: and {len(moved) - _RETURNED} more\n")
    return {
        "before": "".join(before),
        "after": "".join(after),
        "before_header": wanted.root,
        "after_header": wanted.root,
    }


# How many things that were moved aside a warning names.
_NAMED = 20
# And the rest of the result, which the controller keeps and the log of a run shows.
_RETURNED = 1000

# What a directory's default ACL does, in a diff.
_TAILS = {
    acl.NONE: "",
    acl.GROUP: ", new files writable by the group",
    acl.OTHER: ", new files with a default ACL",
}


def _line(wanted: Wanted, path: str, directory: Directory) -> str:
    name = os.path.relpath(path, wanted.root)
    tail = ", not a directory" if directory.other else _TAILS[directory.default_acl or acl.NONE]
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
            " Builds take several times as long, and environments share no space."
        )
    if answer.read_only:
        found.append(
            f"{which}: the filesystem is read-only on this host, its builder. Nothing needed to change this time."
            " The next change fails unless this host can write there, or another host is the builder."
        )
    found += _of_strays(which, answer.strays)
    for change in changes:
        if change.aside:
            found.append(
                f"{which}: somebody else made {change.path} or could write to it. It was moved aside, to"
                f" .{os.path.basename(change.path)}.*.aside in the same directory. Remove it when nobody needs it."
            )
    opened = [
        os.path.relpath(change.path, wanted.root)
        for change in changes
        if change.before and change.before.mode & 0o022 and not is_below(change.path, wanted.layout.user_cache)
    ]
    if opened:
        found.append(
            f"{which}: others than {wanted.owner} could write to {sealing.listed(opened)}, and may have changed what is"
            " there. Interpreters and environments are checked next. If the builder's cache is in this list, empty"
            " it."
        )
    return found


def _of_strays(which: str, strays: t.Sequence[Stray]) -> list[str]:
    found = []
    moved = [f"{stray.name} ({stray.why})" for stray in strays if not stray.error]
    left = [f"{stray.name} ({stray.why}): {stray.error}" for stray in strays if stray.error]
    if moved:
        found.append(
            f"{which}: entries of user-cache that are open to others, or are not a cache of the person they are named"
            f" after, were moved aside, to .NAME.*.aside there: {_some(moved)}. Others may have planted packages in"
            " them for that person's uv to install. Root, or whoever made one, can remove it."
        )
    if left:
        found.append(f"{which}: these entries of user-cache should be moved aside, but could not be: {_some(left)}.")
    return found


def _some(texts: t.Sequence[str]) -> str:
    """As many of ``texts`` as anybody would read: people may make any number of directories."""
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
