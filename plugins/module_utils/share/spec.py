# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A share as declared: its checks, its identity, and which directories it is made of. Pure: touches no file.

What is found on the filesystem is in ``survey``, the work there in ``establish``.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import struct
import typing as t
import uuid

from ..errors import SpecError, UvnasError
from ..host import platform as glibc
from .layout import LAYOUT_VERSION, Layout
from .probe import PROBE_NAMES, Space

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}\Z")
_MODE = re.compile(r"0?[0-7]{3,4}\Z")
# A colon would end the path in PATH, a line break in every file that names it.
_BAD_IN_PATH = re.compile(r"[\x00-\x1f\x7f:]")

# linux/posix_acl_xattr.h
_ACL_HEAD = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")

# What may lie in a directory that is to become a share: the filesystem's own, and what a killed first run leaves before
# share.json, which is the first thing that a share gets.
_NOT_CONTENT = (
    "lost+found",
    ".snapshot",
    ".snapshots",
    ".zfs",
    ".nfs*",
    ".uvnas.mutex",
    ".share.json.*.tmp",
    *sorted(PROBE_NAMES),
)


# The declaration


def check_shares(shares: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Raise SpecError where the shares of an inventory cannot be meant: bad names or paths, doubles, one in another."""
    seen: dict[str, str] = {}
    roots: dict[str, str] = {}
    ids: dict[str, str] = {}
    for share in shares:
        name = check_name(share.get("name"))
        root, _mount = check_paths(name, share.get("root"), share.get("mount"))
        check_mode(name, share.get("mode"))
        if share.get("glibc") is not None:
            glibc.check(name, share["glibc"])
        share_id = check_id(name, share.get("id"))
        if name in seen:
            raise SpecError(f"two shares are called {name}", hint="Every item of uvnas_shares needs a name of its own.")
        seen[name] = root
        for other_root, other in roots.items():
            _check_apart(name, root, other, other_root)
        roots[root] = name
        if share_id and share_id in ids:
            raise SpecError(f"the shares {ids[share_id]} and {name} have the same id", hint="An id names one share.")
        ids[share_id] = name


def check_name(name: t.Any) -> str:
    if not isinstance(name, str) or not _NAME.match(name):
        raise SpecError(
            f"{name!r} cannot be the name of a share",
            hint="A name is 1 to 64 letters, digits, '_' and '-', and does not begin with '-'.",
        )
    return name


def check_paths(name: str, root: t.Any, mount: t.Any) -> tuple[str, t.Optional[str]]:
    """The share's root and mount without trailing or double slashes, or SpecError."""
    clean_root = _clean_path(name, "root", root)
    if clean_root == "/":
        raise SpecError(f"share {name}: its root cannot be /", hint="Give the share a directory of its own.")
    if mount is None:
        return clean_root, None
    clean_mount = _clean_path(name, "mount", mount)
    if not is_below(clean_root, clean_mount):
        raise SpecError(
            f"share {name}: its root {clean_root} is not below its mount {clean_mount}",
            hint="The mount is the mount point of the filesystem that the share's root is on.",
        )
    return clean_root, clean_mount


def _clean_path(name: str, what: str, path: t.Any) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        raise SpecError(f"share {name}: its {what} {path!r} is not an absolute path", hint="It begins with '/'.")
    if ".." in path.split("/") or _BAD_IN_PATH.search(path):
        raise SpecError(
            f"share {name}: its {what} {path!r} cannot be used",
            hint="The path goes into PATH and shell files: no '..', no ':' and no control characters.",
        )
    return os.path.normpath("/" + path.lstrip("/"))


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _check_apart(name: str, root: str, other: str, other_root: str) -> None:
    if root == other_root:
        raise SpecError(
            f"the shares {other} and {name} have the same root {root}", hint="A directory can only be one share."
        )
    for inner, inner_root, outer, outer_root in ((name, root, other, other_root), (other, other_root, name, root)):
        if is_below(inner_root, outer_root):
            raise SpecError(
                f"the share {inner} ({inner_root}) lies inside the share {outer} ({outer_root})",
                hint="Put shares side by side: what is in a share belongs to uvnas.cluster.",
            )


def check_mode(name: str, mode: t.Any) -> int:
    """The mode of a share's directories as a number; 0755 where none is given."""
    if mode is None:
        return 0o755
    if not isinstance(mode, str) or not _MODE.match(mode):
        raise SpecError(
            f"share {name}: {mode!r} is not a mode", hint="Give it as a quoted octal number, such as '0755' or '0750'."
        )
    number = int(mode, 8)
    if number & 0o5022:
        raise SpecError(
            f"share {name}: mode {mode} would let others than the owner write, or sets a bit that means nothing here",
            hint="Only the owner writes to a share; people have user-cache. Use '0755' or '0750' (or '2755', '2750').",
        )
    if number & 0o700 != 0o700:
        raise SpecError(f"share {name}: mode {mode} would lock the owner out", hint="Use '0755' or '0750'.")
    return number


def check_id(name: str, share_id: t.Any) -> str:
    """A share's id as ``share.json`` has it; empty where none is given."""
    if share_id is None or share_id == "":
        return ""
    try:
        return str(uuid.UUID(str(share_id)))
    except ValueError:
        raise SpecError(
            f"share {name}: {share_id!r} is not an id", hint="Copy the id from the share's share.json, or leave it out."
        ) from None


# Identity


@dataclasses.dataclass(frozen=True)
class Identity:
    """Which share a directory is: the content of ``share.json``."""

    name: str
    id: str

    def as_dict(self) -> dict[str, t.Any]:
        return {"layout": LAYOUT_VERSION, "name": self.name, "id": self.id}


def parse_identity(data: t.Mapping[str, t.Any], path: str) -> Identity:
    """The identity in ``data``, the content of the share.json at ``path``."""
    layout, name, share_id = data.get("layout"), data.get("name"), data.get("id")
    is_number = isinstance(layout, int) and not isinstance(layout, bool)
    if is_number and layout != LAYOUT_VERSION:
        raise UvnasError(
            f"{path} says layout {layout}, but this uvnas.cluster knows layout {LAYOUT_VERSION}",
            hint="The share was made by another release of uvnas.cluster. Use that one, or one that knows both.",
        )
    if not (is_number and isinstance(name, str) and name and isinstance(share_id, str) and share_id):
        raise UvnasError(
            f"{path} is not the identity of a share",
            hint=f'Wanted: {{"layout": {LAYOUT_VERSION}, "name": "…", "id": "…"}}. Restore it from a backup.',
        )
    return Identity(name, share_id)


def check_identity(identity: Identity, root: str, *, name: str, share_id: str) -> None:
    """Raise UvnasError where the share at ``root`` is another one than ``name`` (and, where given, ``share_id``)."""
    if identity.name != name:
        raise UvnasError(
            f"{root} is the share {identity.name}, not {name}",
            hint="Is another NAS mounted there? Otherwise correct name or root in uvnas_shares.",
        )
    if share_id and identity.id != share_id:
        raise UvnasError(
            f"{root} is a share called {name}, but another one: its id is {identity.id}, declared is {share_id}",
            hint="Is another NAS, or a copy of the share, mounted there? Otherwise correct id in uvnas_shares.",
        )


def check_empty(root: str, names: t.Iterable[str], *, name: str) -> None:
    """Raise UvnasError where the directory ``root``, which has no share.json, holds anything (``names``)."""
    strange = sorted(entry for entry in names if not is_leftover(entry))
    if strange:
        shown = ", ".join(strange[:3]) + (", …" if len(strange) > 3 else "")
        raise UvnasError(
            f"{root} is no share and not empty (it has {shown}); a share is made only in an empty directory",
            hint=f"Choose another root for {name}. If it was a share, restore share.json from a snapshot or a backup.",
        )


def is_leftover(entry: str) -> bool:
    """Whether an entry of a share's root is no content: the filesystem's own, or our working files."""
    return any(fnmatch.fnmatchcase(entry, pattern) for pattern in _NOT_CONTENT)


# Directories


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody with a cache of their own."""

    name: str
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True)
class Share:
    """A share as it should be. ``owner`` and ``group`` are resolved to numbers; names are for messages."""

    name: str
    root: str
    owner: str
    uid: int
    group: str
    gid: int
    owner_groups: tuple[int, ...]
    mount: t.Optional[str] = None
    id: str = ""
    mode: int = 0o755
    user_cache: str = "group"
    people: tuple[Person, ...] = ()
    min_free_bytes: int = 0
    min_free_inodes: int = 0

    @property
    def layout(self) -> Layout:
        return Layout(self.root)


@dataclasses.dataclass(frozen=True)
class Directory:
    """Owner, group and mode of a directory. ``shared``: its default ACL lets the group write what is made in it."""

    uid: int
    gid: int
    mode: int
    # None: of no interest, or the filesystem has no such ACLs.
    shared: t.Optional[bool] = None


@dataclasses.dataclass(frozen=True)
class Change:
    """A directory to make (``before`` is None) or to correct."""

    path: str
    before: t.Optional[Directory]
    after: Directory

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Change:
        before = data["before"]
        return cls(data["path"], Directory(**before) if before else None, Directory(**data["after"]))


def wanted_directories(share: Share) -> dict[str, Directory]:
    """The directories of a share, parents before children, and how they should be."""
    layout = share.layout
    plain = Directory(share.uid, share.gid, share.mode)
    found = {share.root: plain}
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
    # Closed to others: uv makes lock files in it that everybody can write, and who holds one stops the builder.
    found[layout.cache] = dataclasses.replace(plain, mode=share.mode & ~0o077)
    if share.user_cache == "group":
        # What people make there belongs to the group (setgid), and the group may write it (ACL) whatever their umask:
        # uv makes its directories and files as the umask says, and with 022 the second person's uv fails at once.
        found[layout.user_cache] = dataclasses.replace(plain, mode=share.mode | 0o2070, shared=True)
    else:
        found[layout.user_cache] = dataclasses.replace(plain, shared=False)
    for person in share.people:
        found[os.path.join(layout.user_cache, person.name)] = Directory(person.uid, person.gid, 0o700)
    return found


def parents(share: Share) -> list[str]:
    """The directories between the mount and the root, from the top.

    Without a mount none: nothing says then that what is missing is not a filesystem, so the parent has to exist.
    """
    found: list[str] = []
    path = os.path.dirname(share.root)
    while share.mount is not None and is_below(path, share.mount) and path != share.mount:
        found.insert(0, path)
        path = os.path.dirname(path)
    return found


def plan_directories(share: Share, found: t.Mapping[str, t.Optional[Directory]], *, acl: bool = True) -> list[Change]:
    """What to do to directories, in this order. ``found`` has each of parents() and of wanted_directories().

    ``acl``: whether the filesystem has POSIX ACLs.
    """
    wanted = wanted_directories(share)
    changes = [Change(path, None, wanted[share.root]) for path in parents(share) if found[path] is None]
    for path, directory in wanted.items():
        before, after = found[path], directory if acl else dataclasses.replace(directory, shared=None)
        if before != after:
            changes.append(Change(path, before, after))
    return changes


def needs_root(share: Share, change: Change) -> str:
    """Why only root can make this change, whoever may write where; empty where the owner can."""
    before, after = change.before, change.after
    if after.uid != share.uid:
        return "only root can make a directory that belongs to somebody else"
    if before is not None and before.uid != share.uid:
        return f"it belongs to uid {before.uid}, not to {share.owner}"
    # Without being in the group the owner can neither give it a directory, nor set the setgid bit of one.
    regroup = before is None or before.gid != after.gid or (before.mode != after.mode and bool(after.mode & 0o2000))
    if regroup and after.gid not in share.owner_groups:
        return f"{share.owner} is not in the group {share.group}"
    return ""


def default_acl(mode: int) -> bytes:
    """A POSIX default ACL that gives what is made in a directory the permissions ``mode``, whatever the umask.

    As the kernel takes it in the attribute ``system.posix_acl_default``.
    """
    entries = ((0x01, mode >> 6), (0x04, mode >> 3), (0x20, mode))  # ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER
    return _ACL_HEAD.pack(2) + b"".join(_ACL_ENTRY.pack(tag, bits & 7, 0xFFFFFFFF) for tag, bits in entries)


def acl_is_shared(acl: bytes) -> bool:
    """Whether a default ACL (empty: none) lets the owning group write. A site may well have more in it than we set."""
    bits = {tag: permissions for tag, permissions, _id in _ACL_ENTRY.iter_unpack(acl[_ACL_HEAD.size :])}
    return bool(bits.get(0x04, 0) & bits.get(0x10, 7) & 2)  # ACL_GROUP_OBJ, as far as ACL_MASK allows


# Room


def check_space(share: Share, found: Space) -> None:
    """Raise UvnasError where nothing can be written, nothing could run, or there is less room than the admin wants."""
    if found.read_only:
        raise UvnasError(
            f"the filesystem of {share.root} is mounted read-only here",
            hint="Mount it read-write on the builder of the share, or name another builder.",
        )
    if found.noexec:
        raise UvnasError(
            f"the filesystem of {share.root} is mounted noexec here",
            hint="Mount it without noexec; uv, Python and every environment run from the share.",
        )
    hint = "Free some; or lower uvnas_min_free_{0}, for one run that removes environments perhaps to 0."
    if found.free_bytes < share.min_free_bytes:
        raise UvnasError(
            f"the filesystem of {share.root} has {found.free_bytes} bytes free, {share.min_free_bytes} are wanted",
            hint=hint.format("bytes"),
        )
    if found.free_inodes is not None and found.free_inodes < share.min_free_inodes:
        raise UvnasError(
            f"the filesystem of {share.root} has {found.free_inodes} inodes free, {share.min_free_inodes} are wanted",
            hint=hint.format("inodes"),
        )
