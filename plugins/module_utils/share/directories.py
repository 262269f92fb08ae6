# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make or correct one directory of a share, where others may be working at the same time."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
import typing as t

from ..errors import UvnasError
from ..host import acl
from ..host.trust import foreign
from .plan import Change, Directory, Wanted, is_acceptable, is_personal_cache


def apply(wanted: Wanted, change: Change) -> None:
    """Make one change to a directory.

    Root may be doing this where the owner can slip in a symlink between two steps. So this follows no symlink below the
    share's root, and does everything to one open directory, through its descriptor.
    """
    after = change.after
    with contextlib.ExitStack() as stack:
        parent = _open_parent(wanted, change.path, stack)
        name = os.path.basename(change.path)
        if change.aside:
            _move_aside(change.path, name, parent)
        if change.makes:
            with contextlib.suppress(FileExistsError):  # made by another process since
                os.mkdir(name, 0o700, dir_fd=parent)
        descriptor = _open_directory(name, stack, dir_fd=parent)
        # Works without read permission for the directory, unlike fchmod() and the like.
        handle = f"/proc/self/fd/{descriptor}"
        found = os.fstat(descriptor)
        _check_maker(wanted, change, found, handle)
        if (found.st_uid, found.st_gid) != (after.uid, after.gid):
            # -1: unchanged. On some NFS servers the owner may set a new group, but not even the same owner.
            uid, gid = (
                -1 if old == new else new for old, new in ((found.st_uid, after.uid), (found.st_gid, after.gid))
            )
            os.chown(handle, uid, gid)
        if stat.S_IMODE(found.st_mode) != after.mode:
            os.chmod(handle, after.mode)
            if stat.S_IMODE(os.fstat(descriptor).st_mode) == after.mode & ~stat.S_ISGID != after.mode:
                # The kernel silently drops this bit if the process is not in the directory's group.
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), change.path)
        if after.default_acl is not None and after.default_acl != acl.kind(acl.default_acl_of(handle) or b""):
            if after.default_acl == acl.GROUP:
                os.setxattr(handle, acl.DEFAULT_ACL, acl.default_acl(after.mode))
            else:
                acl.strip(handle)


def _move_aside(path: str, name: str, parent: int) -> None:
    try:
        os.rename(name, f".{name}.{os.urandom(8).hex()}.aside", src_dir_fd=parent, dst_dir_fd=parent)
    except FileNotFoundError:  # moved by another process since
        pass
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        hint = f"Find out who mounted it: findmnt {shlex.quote(path)}. Then, as root: umount {shlex.quote(path)}"
        raise UvnasError(f"{path} cannot be moved aside: something is mounted on it", hint=hint) from error


def _check_maker(wanted: Wanted, change: Change, found: os.stat_result, handle: str) -> None:
    """Raise UvnasError if what is there now is not what was seen, or made, but somebody else's.

    Others may write to some directories: above the share, such as /tmp, and in a cache that was open until now.
    """
    if is_personal_cache(wanted, change.path):
        kind = acl.kind(acl.default_acl_of(handle) or b"")
        now = Directory(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), kind)
        if not is_acceptable(wanted, now, change.after):
            raise UvnasError(f"somebody else has just made {change.path}", hint="Run again.")
    elif found.st_uid not in (0, wanted.uid):
        raise foreign(change.path, found.st_uid, wanted.uid)


def _open_parent(wanted: Wanted, path: str, stack: contextlib.ExitStack) -> int:
    parent = os.path.dirname(path)
    if not path.startswith(wanted.root + "/"):
        return _open_directory(parent, stack, follow=True)
    descriptor = _open_directory(wanted.root, stack)
    for part in [] if parent == wanted.root else os.path.relpath(parent, wanted.root).split("/"):
        descriptor = _open_directory(part, stack, dir_fd=descriptor)
    return descriptor


def _open_directory(
    path: str, stack: contextlib.ExitStack, *, dir_fd: t.Optional[int] = None, follow: bool = False
) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    stack.callback(os.close, descriptor)
    return descriptor
