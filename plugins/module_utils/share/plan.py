# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a share's directories should be, what they are, and what to do about it. Pure: touches no file."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..errors import UvnasError
from ..host import acl
from ..host.mounts import Space
from ..host.trust import foreign
from .layout import Layout, is_below
from .probe import Abilities
from .spec import Share
from .strays import Stray


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody with a cache of their own."""

    name: str
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A share as it should be. Owner and group are resolved to numbers; their names are for messages."""

    share: Share
    owner: str
    uid: int
    group: str
    gid: int
    owner_groups: tuple[int, ...]
    mode: int = 0o755
    user_cache: str = "personal"
    people: tuple[Person, ...] = ()
    min_free_bytes: int = 0
    min_free_inodes: int = 0

    @property
    def name(self) -> str:
        return self.share.name

    @property
    def root(self) -> str:
        return self.share.root

    @property
    def layout(self) -> Layout:
        return self.share.layout


@dataclasses.dataclass(frozen=True)
class Directory:
    """Owner, group and mode of a directory, and the kind of its default ACL, which new files in it inherit."""

    uid: int
    gid: int
    mode: int
    # None: not looked at, or the filesystem does not support them.
    default_acl: t.Optional[str] = None
    # It is not a directory: a symlink or a file is in its place.
    other: bool = False
    # Something is mounted on it that only its user can see (FUSE).
    hidden: bool = False


@dataclasses.dataclass(frozen=True)
class Change:
    """A directory to make (``before`` is None), to make in place of something moved aside, or to correct."""

    path: str
    before: t.Optional[Directory]
    after: Directory
    aside: bool = False

    @property
    def makes(self) -> bool:
        return self.before is None or self.aside

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Change:
        before = data["before"]
        return cls(data["path"], Directory(**before) if before else None, Directory(**data["after"]), data["aside"])


@dataclasses.dataclass(frozen=True)
class Survey:
    """What to do about a share, and what a round did. As a dictionary it crosses process boundaries."""

    planned: tuple[Change, ...]
    # What happens to share.json: "created", "corrected" or nothing.
    identity: str
    id: t.Optional[str]
    ground: str
    writable: bool
    filesystem: str
    split: tuple[str, ...]
    acl: bool
    space: Space
    done: tuple[Change, ...] = ()
    denied: tuple[Change, ...] = ()
    # Whether the filesystem was probed; and its abilities, if there was room to try.
    probed: bool = False
    abilities: t.Optional[Abilities] = None
    # A directory that the owner may not look into.
    blind: str = ""
    # Nothing can be written, and nothing needs to be.
    read_only: bool = False
    # What is moved aside in people's cache, once nothing else is left to do.
    strays: tuple[Stray, ...] = ()

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Survey:
        changes = {
            name: tuple(Change.from_dict(change) for change in data[name]) for name in ("planned", "done", "denied")
        }
        abilities = data["abilities"] and Abilities(**data["abilities"])
        split, space = tuple(data["split"]), Space(**data["space"])
        strays = tuple(Stray(**stray) for stray in data["strays"])
        return cls(**{**data, **changes, "abilities": abilities, "split": split, "space": space, "strays": strays})


def wanted_directories(wanted: Wanted) -> dict[str, Directory]:
    """The directories of a share, parents before children, and how they should be."""
    layout = wanted.layout
    # With a default ACL, perhaps an inherited one, the kernel ignores the umask: others could write to what we make.
    plain = Directory(wanted.uid, wanted.gid, wanted.mode, acl.NONE)
    found = {wanted.root: plain}
    for path in (
        layout.bin_dir,
        os.path.dirname(layout.uv_versions),
        layout.uv_versions,
        layout.python,
        layout.python_archives,
        layout.locks,
        layout.envs,
        layout.generations,
    ):
        found[path] = plain
    # Closed to others: uv makes world-writable lock files in it, and anybody holding one would block the builder.
    found[layout.cache] = dataclasses.replace(plain, mode=wanted.mode & ~0o077)
    # What compiles it writes there, and generations get links to it.
    found[layout.bytecode] = found[layout.cache]
    if wanted.user_cache == "group":
        # New files there belong to the group (setgid), which may write to them (ACL), whatever people's umask: uv obeys
        # the umask, and with 022 the second person's uv fails at once.
        found[layout.user_cache] = dataclasses.replace(plain, mode=wanted.mode | 0o2070, default_acl=acl.GROUP)
    elif wanted.user_cache == "personal":
        found[layout.user_cache] = dataclasses.replace(plain, mode=_for_everybody(wanted.mode))
    else:
        found[layout.user_cache] = plain
    for person in wanted.people:
        found[os.path.join(layout.user_cache, person.name)] = Directory(person.uid, person.gid, 0o700, acl.NONE)
    return found


def _for_everybody(mode: int) -> int:
    """The mode of a directory in which everybody who gets there makes one of their own, as in /tmp.

    Never setgid, or people's directories would belong to the group, which could write to them with umask 002.
    """
    return mode & 0o755 | (mode & 0o011) << 1 | 0o1000


def is_personal_cache(wanted: Wanted, path: str) -> bool:
    """Whether a directory of the share is one person's cache."""
    return os.path.dirname(path) == wanted.layout.user_cache


def parents(share: Share) -> list[str]:
    """The directories between the mount and the root, from the top.

    None without a mount: what is missing might be a filesystem then, so the parent must exist.
    """
    found: list[str] = []
    path = os.path.dirname(share.root)
    while share.mount is not None and is_below(path, share.mount) and path != share.mount:
        found.insert(0, path)
        path = os.path.dirname(path)
    return found


def plan_directories(
    wanted: Wanted, found: t.Mapping[str, t.Optional[Directory]], *, has_acl: bool = True
) -> list[Change]:
    """What to do to directories, in this order. ``found`` has all of parents() and wanted_directories().

    ``has_acl``: whether the filesystem supports POSIX ACLs.
    """
    directories = wanted_directories(wanted)
    root = directories[wanted.root]
    above = dataclasses.replace(root, default_acl=None)  # Not ours to change.
    changes = [Change(path, None, above) for path in parents(wanted.share) if found[path] is None]
    for path, directory in directories.items():
        before, after = found[path], directory if has_acl else dataclasses.replace(directory, default_acl=None)
        if before == after:
            continue
        aside = False
        if before is not None and is_personal_cache(wanted, path):
            theirs = before.hidden or (before.uid == after.uid and not before.other)
            if theirs and _is_closed(found[wanted.layout.user_cache]):
                continue  # What they do with their own is their business, and must not stop the run.
            aside = not is_acceptable(wanted, before, after)
        changes.append(Change(path, before, after, aside))
    return changes


def _is_closed(user_cache: t.Optional[Directory]) -> bool:
    """Whether people have had separate caches, where nobody could put something into another person's directory."""
    return user_cache is not None and not user_cache.mode & 0o022


def is_acceptable(wanted: Wanted, found: Directory, after: Directory) -> bool:
    """Whether a directory can become what it should be (``after``): nobody else can have put anything in it.

    In a shared cache, anybody can make a directory with any name, or let others write to their own.
    """
    belongs = found.uid in (0, wanted.uid, after.uid) and not found.other and not found.hidden
    return belongs and not found.mode & 0o022 and found.default_acl in (None, acl.NONE)


def check_owners(wanted: Wanted, found: t.Mapping[str, t.Optional[Directory]]) -> None:
    """Raise UvnasError if a directory of the share belongs to somebody else, who can have put anything in it.

    Wrong things in the place of a person's cache are moved aside instead, see plan_directories().
    """
    for path in wanted_directories(wanted):
        directory = found[path]
        if directory is not None and not is_personal_cache(wanted, path) and directory.uid not in (0, wanted.uid):
            raise foreign(path, directory.uid, wanted.uid)


def check_cache(wanted: Wanted, *, default_acls: bool) -> None:
    """Raise UvnasError if people cannot have the declared kind of cache. ``default_acls``: whether these work.

    Without them uv's directories obey the umask, and with 022 the second person's uv fails on the first person's.
    """
    if wanted.user_cache == "group" and not default_acls:
        raise UvnasError(
            f"uvnas_user_cache: group cannot work on the filesystem of {wanted.root}, which has no POSIX default ACLs",
            hint="Use uvnas_user_cache: personal, the default, which gives each person a cache of their own.",
        )


def needs_root(wanted: Wanted, change: Change) -> str:
    """Why only root can make this change, whoever may write where; empty if the owner can."""
    before, after = None if change.aside else change.before, change.after
    if after.uid != wanted.uid:
        return "only root can make a directory that belongs to somebody else"
    if before is not None and before.uid != wanted.uid:
        return f"it belongs to uid {before.uid}, not to {wanted.owner}"
    # Unless the owner is in the group, they can neither give it a directory nor set the setgid bit of one.
    regroup = before is None or before.gid != after.gid or (before.mode != after.mode and bool(after.mode & 0o2000))
    if regroup and after.gid not in wanted.owner_groups:
        return f"{wanted.owner} is not in the group {wanted.group}"
    return ""


def check_runs(wanted: Wanted, found: Space) -> None:
    """Raise UvnasError if programs cannot run."""
    if found.noexec:
        raise UvnasError(
            f"the filesystem of {wanted.root} is mounted noexec here",
            hint="Mount it without noexec: uv, Python and all environments run from the share.",
        )


def check_space(wanted: Wanted, found: Space, *, exported_read_only: bool = False) -> None:
    """Raise UvnasError if nothing can be written, or less space is free than the admin requires."""
    if found.read_only:
        raise UvnasError(
            f"the filesystem of {wanted.root} is mounted read-only here",
            hint="Mount it read-write on the builder of the share, or name another builder.",
        )
    if exported_read_only:
        raise UvnasError(
            f"the NAS exports the filesystem of {wanted.root} read-only to this host",
            hint="Export it read-write to the builder of the share, or name another builder.",
        )
    hint = "Free some, or lower uvnas_min_free_{0} (to 0 for a run that removes environments)."
    if found.free_bytes < wanted.min_free_bytes:
        raise UvnasError(
            f"the filesystem of {wanted.root} has {found.free_bytes} bytes free, but needs {wanted.min_free_bytes}",
            hint=hint.format("bytes"),
        )
    if found.free_inodes is not None and found.free_inodes < wanted.min_free_inodes:
        raise UvnasError(
            f"the filesystem of {wanted.root} has {found.free_inodes} inodes free, but needs {wanted.min_free_inodes}",
            hint=hint.format("inodes"),
        )
