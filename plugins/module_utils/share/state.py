# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found where a share is to be, as far as it can be seen without writing.

Whoever is denied a look gets PermissionError: root may try again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
import typing as t

from ..errors import UvnasError
from ..host import files as fs
from . import probe
from .layout import Layout
from .spec import (
    Directory,
    Identity,
    Share,
    acl_is_shared,
    check_empty,
    check_identity,
    is_below,
    parents,
    parse_identity,
    wanted_directories,
)

DEFAULT_ACL = "system.posix_acl_default"
IDENTITY_MODE = 0o644


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is there."""

    directories: dict[str, t.Optional[Directory]]
    identity: t.Optional[Identity]
    # Whether share.json has another owner or mode than it should.
    identity_is_off: bool
    # The root, or the nearest directory above it that exists; and whether this process may write there.
    ground: str
    writable: bool
    filesystem: str
    # Parts of the share that are on another filesystem than its root.
    split: list[str]
    # Whether the filesystem has POSIX ACLs.
    acl: bool
    space: probe.Space


def observe(share: Share) -> Seen:
    """Look at the share without changing anything. Raises UvnasError where it is no place for this share."""
    _check_mounted(share)
    found = {path: _look_at(path, follow=True) for path in parents(share)}
    found[share.root] = _look_at(share.root)
    ground = share.root if found[share.root] else _nearest(share)
    _check_on_mount(share, ground)
    wanted = wanted_directories(share)
    for path in wanted:
        if path != share.root:
            found[path] = _look_at(path) if found[share.root] else None
    identity, identity_is_off = _identity(share) if found[share.root] else (None, False)
    if identity is None:
        _check_not_inside(share)
    acl = default_acl_of(ground) is not None
    all_mounts = probe.mounts()
    mount = probe.mount_of(ground, all_mounts)
    return Seen(
        directories={
            path: _directory(path, status, acl=acl and path in wanted and wanted[path].shared is not None)
            for path, status in found.items()
        },
        identity=identity,
        identity_is_off=identity_is_off,
        ground=ground,
        writable=os.access(ground, os.W_OK | os.X_OK),
        filesystem=mount.type if mount else "unknown",
        split=_split(share, found, all_mounts),
        acl=acl,
        space=probe.space(ground),
    )


def _check_mounted(share: Share) -> None:
    if share.mount is None:
        return
    hint = f"Mount the NAS at {share.mount} (see /etc/fstab, or the automounter), then run again."
    try:
        mounted = probe.is_mount_point(share.mount)
        mount = probe.mount_of(share.mount, probe.mounts()) if mounted else None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UvnasError(
            f"the mount {share.mount} of share {share.name} does not exist on this host", hint=hint
        ) from error
    if not mounted or (mount and mount.type == "autofs"):
        raise UvnasError(
            f"nothing is mounted at {share.mount}; share {share.name} would be written to the local disk", hint=hint
        )


def _check_on_mount(share: Share, ground: str) -> None:
    """A symlink between mount and root may lead anywhere."""
    if share.mount is None:
        return
    real, mount = os.path.realpath(ground), os.path.realpath(share.mount)
    if not is_below(real, mount):
        raise UvnasError(
            f"{ground} is really {real}, which is not below the mount {share.mount} of share {share.name}",
            hint="Declare the path without symlinks that lead out of the mount.",
        )


def _check_not_inside(share: Share) -> None:
    path = share.root
    while path != "/":
        path = os.path.dirname(path)
        data: t.Optional[dict[str, t.Any]] = None
        with contextlib.suppress(OSError, UvnasError):  # somebody else's file of that name
            data = fs.read_json(Layout(path).identity)
        if data and "layout" in data and "id" in data:
            raise UvnasError(
                f"{share.root} lies inside the share {data.get('name')} ({path})",
                hint="Put shares side by side: what is in a share belongs to uvnas.cluster.",
            )


def _nearest(share: Share) -> str:
    """The nearest directory above the root that exists, where one has to."""
    above = [*parents(share)[::-1], share.mount] if share.mount else [os.path.dirname(share.root)]
    for path in above:
        if os.path.isdir(path):
            return path
    raise UvnasError(
        f"{above[-1]}, in which share {share.name} is to be made, does not exist on this host",
        hint="Is a filesystem not mounted? Declare its mount point as the share's mount; or make the directory.",
    )


def _look_at(path: str, *, follow: bool = False) -> t.Optional[os.stat_result]:
    try:
        status = os.stat(path, follow_symlinks=follow)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        kind = "a symlink" if stat.S_ISLNK(status.st_mode) else "no directory"
        raise UvnasError(
            f"{path} is {kind}; a share is made of directories",
            hint="Give the share's root as its real path, and have nothing but directories in place of its own.",
        )
    return status


def _directory(path: str, status: t.Optional[os.stat_result], *, acl: bool) -> t.Optional[Directory]:
    if status is None:
        return None
    shared = acl_is_shared(default_acl_of(path) or b"") if acl else None
    return Directory(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), shared)


def default_acl_of(path: str) -> t.Optional[bytes]:
    """The default ACL of a directory, empty where it has none; None where the filesystem has no such thing."""
    try:
        return os.getxattr(path, DEFAULT_ACL)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return b""
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return None
        raise


def _identity(share: Share) -> tuple[t.Optional[Identity], bool]:
    """Which share the existing root is, and whether owner or mode of share.json are off. None: it may become one."""
    path = share.layout.identity
    try:
        data = fs.read_json(path)
    except UvnasError as error:
        raise UvnasError(
            str(error), hint="Restore it from a snapshot or a backup; it says which share this is."
        ) from error
    if data is None:
        check_empty(share.root, os.listdir(share.root), name=share.name)
        return None, False
    identity = parse_identity(data, path)
    check_identity(identity, share.root, name=share.name, share_id=share.id)
    status = os.stat(path)
    return identity, status.st_uid != share.uid or stat.S_IMODE(status.st_mode) != IDENTITY_MODE


def _split(
    share: Share, found: t.Mapping[str, t.Optional[os.stat_result]], all_mounts: t.Sequence[probe.Mount]
) -> list[str]:
    """The directories between which files are linked, as far as they are not on the filesystem of the root."""
    points = {mount.point for mount in all_mounts}
    real = os.path.realpath(share.root)
    root, layout = found[share.root], share.layout
    parts = []
    for path in (layout.cache, layout.python, layout.generations):
        status = found[path]
        # Mounts of one and the same filesystem have one device number, but no links between them.
        point = os.path.join(real, os.path.relpath(path, share.root))
        if root and status and (status.st_dev != root.st_dev or point in points):
            parts.append(path)
    return parts
