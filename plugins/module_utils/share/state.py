# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found where a share should be, as far as it can be seen without writing.

Raises PermissionError where this user may not look: root may try again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fnmatch
import os
import stat
import typing as t

from ..errors import UvnasError
from ..host import acl, files, trust
from ..host.mounts import Mount, Space, mount_of, mounts, space
from .identity import Identity, read_identity
from .layout import Layout
from .place import check_mounted, check_way
from .plan import Directory, Wanted, is_personal_cache, parents, wanted_directories
from .probe import LEFTOVERS
from .spec import Share

IDENTITY_MODE = 0o644

# What a directory that becomes a share may contain: the filesystem's own, and what a killed first run leaves before
# share.json, the first thing that a share gets.
_NOT_CONTENT = (
    "lost+found",
    ".snapshot",
    ".snapshots",
    ".zfs",
    ".nfs*",
    ".uvnas.mutex",
    ".share.json.*.tmp",
    *LEFTOVERS,
)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was found."""

    directories: dict[str, t.Optional[Directory]]
    identity: t.Optional[Identity]
    # Whether share.json has the wrong owner or mode.
    identity_is_off: bool
    # The root, or the nearest directory above it that exists; and whether this process may write there.
    ground: str
    writable: bool
    filesystem: str
    # Parts of the share that are on another filesystem than its root.
    split: list[str]
    # Whether the filesystem supports POSIX ACLs.
    acl: bool
    space: Space
    # Nothing can be written, although it is mounted read-write here.
    exported_read_only: bool = False


def observe(wanted: Wanted) -> Seen:
    """Look at the share without changing anything. Raises UvnasError if this is the wrong place for it."""
    share = wanted.share
    check_mounted(share)
    check_way(share, wanted.uid)
    found = {path: _look_at(path, follow=True) for path in parents(share)}
    found[share.root] = _look_at(share.root)
    ground = share.root if found[share.root] else _nearest(share)
    directories = wanted_directories(wanted)
    hidden: dict[str, Directory] = {}
    for path in directories:
        if path != share.root:
            try:
                found[path] = _look_at(path, other=is_personal_cache(wanted, path)) if found[share.root] else None
            except OSError:
                # A person's own cache: if the way to it is free, they have mounted something, which must stop nobody.
                if not is_personal_cache(wanted, path) or not os.access(share.layout.user_cache, os.X_OK):
                    raise
                hidden[path] = dataclasses.replace(directories[path], hidden=True)
    identity, identity_is_off = _identity(wanted) if found[share.root] else (None, False)
    if identity is None:
        _check_not_inside(share, wanted.uid)
    has_acl = acl.default_acl_of(ground) is not None
    all_mounts = mounts()
    mount = mount_of(ground, all_mounts)
    seen = {
        path: _directory(
            path, status, look=has_acl and path in directories and directories[path].default_acl is not None
        )
        for path, status in found.items()
    }
    return Seen(
        directories={**seen, **hidden},
        identity=identity,
        identity_is_off=identity_is_off,
        ground=ground,
        writable=os.access(ground, os.W_OK | os.X_OK),
        filesystem=mount.type if mount else "unknown",
        split=_split(share, found, all_mounts),
        acl=has_acl,
        space=space(ground),
        exported_read_only=identity is not None and _refuses_to_be_written(share.layout.identity),
    )


def _refuses_to_be_written(path: str) -> bool:
    """Whether a file cannot be opened for writing because its filesystem is read-only, here or on the server.

    access(2) does not say why, and on NFS the client answers it from its cache, although the server decides. This
    writes nothing and does not change the file.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EROFS
    return False


def _check_not_inside(share: Share, uid: int) -> None:
    path = os.path.dirname(share.root)
    while path != "/":
        data: t.Optional[dict[str, t.Any]] = None
        with contextlib.suppress(OSError, UvnasError):  # an unrelated file of that name
            trust.check_owner(Layout(path).identity, uid)
            data = files.read_json(Layout(path).identity)
        if data and "layout" in data and "id" in data:
            raise UvnasError(
                f"{share.root} is inside the share {data.get('name')} ({path})",
                hint="Put shares side by side: everything in a share belongs to uvnas.cluster.",
            )
        path = os.path.dirname(path)


def _nearest(share: Share) -> str:
    """The nearest directory above the root that exists, where one has to."""
    above = [*parents(share)[::-1], share.mount] if share.mount else [os.path.dirname(share.root)]
    for path in above:
        if os.path.isdir(path):
            return path
    raise UvnasError(
        f"{above[-1]}, the parent directory of share {share.name}, does not exist on this host",
        hint="Is a filesystem not mounted? Declare its mount point as the share's mount; or make the directory.",
    )


def _look_at(path: str, *, follow: bool = False, other: bool = False) -> t.Optional[os.stat_result]:
    """What is there. Raises UvnasError if that is not a directory, unless it may be something ``other``."""
    try:
        status = os.stat(path, follow_symlinks=follow)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode) and not other:
        kind = "a symlink" if stat.S_ISLNK(status.st_mode) else "not a directory"
        raise UvnasError(
            f"{path} is {kind}; a share is made of directories",
            hint="Declare the share's root by its real path, and replace what is not a directory in it.",
        )
    return status


def _directory(path: str, status: t.Optional[os.stat_result], *, look: bool) -> t.Optional[Directory]:
    """A directory as it is; ``look``: whether to read its default ACL."""
    if status is None:
        return None
    other = not stat.S_ISDIR(status.st_mode)
    kind = acl.kind(acl.default_acl_of(path) or b"") if look and not other else None
    return Directory(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), kind, other)


def _identity(wanted: Wanted) -> tuple[t.Optional[Identity], bool]:
    """Which share the existing root is, and whether share.json's owner or mode is wrong. None: it may become one."""
    identity = read_identity(wanted.share)
    if identity is None:
        check_empty(wanted.share, os.listdir(wanted.root))
        return None, False
    status = os.stat(wanted.layout.identity)
    return identity, status.st_uid != wanted.uid or stat.S_IMODE(status.st_mode) != IDENTITY_MODE


def check_empty(share: Share, names: t.Iterable[str]) -> None:
    """Raise UvnasError if the share's root, which has no share.json, contains anything (``names``)."""
    strange = sorted(entry for entry in names if not is_leftover(entry))
    if strange:
        shown = ", ".join(strange[:3]) + (", …" if len(strange) > 3 else "")
        raise UvnasError(
            f"{share.root} is neither a share nor empty (it has {shown}); only an empty directory can become a share",
            hint=f"Choose another root for {share.name}. If it was a share, restore share.json from a backup.",
        )


def is_leftover(entry: str) -> bool:
    """Whether an entry of a share's root does not count: the filesystem's own, or our working files."""
    return any(fnmatch.fnmatchcase(entry, pattern) for pattern in _NOT_CONTENT)


def _split(share: Share, found: t.Mapping[str, t.Optional[os.stat_result]], all_mounts: t.Sequence[Mount]) -> list[str]:
    """The directories between which files are linked, unless they are on the filesystem of the root."""
    points = {mount.point for mount in all_mounts}
    real = os.path.realpath(share.root)
    root, layout = found[share.root], share.layout
    parts = []
    for path in (layout.cache, layout.bytecode, layout.python, layout.generations):
        status = found[path]
        # Two mounts of the same filesystem have one device number, but cannot link to each other.
        point = os.path.join(real, os.path.relpath(path, share.root))
        if root and status and (status.st_dev != root.st_dev or point in points):
            parts.append(path)
    return parts
