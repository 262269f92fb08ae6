# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filesystem of a share can do, found out by trying, as the share's owner."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import stat
import typing as t

from ..errors import CommandError, UvnasError
from ..host import acl, files, mutex, removal
from ..host.process import Runner

PROBE_MUTEX = ".uvnas-probe.mutex"
# The directory to probe in. Not a files.temporary_name(): those are swept under another mutex.
_PROBE_DIR = ".uvnas-probe-"
# Patterns of names that this file leaves in a share's root, for good or when it is killed.
LEFTOVERS = (PROBE_MUTEX, f"{_PROBE_DIR}*")

# Errors that tell nothing about what a filesystem can do.
_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS})
_SCRIPT_RC = 42


@dataclasses.dataclass(frozen=True)
class Abilities:
    """What works on the filesystem, found out by trying."""

    hard_link: bool
    reflink: bool
    symlink: bool
    rename: bool
    exec: bool
    posix_lock: bool
    # A default ACL lets a group write to new files in a directory, whatever the umask of their makers.
    default_acl: bool


@contextlib.contextmanager
def alone(root: str, *, timeout: float) -> t.Iterator[None]:
    """Be the only one who probes in ``root``. Like a share's mutex, this needs a share that has been looked at."""
    with mutex.hold(os.path.join(root, PROBE_MUTEX), timeout=timeout, purpose="probing the filesystem"):
        yield


def probe(root: str, runner: Runner) -> Abilities:
    """Try in a directory below ``root`` what this collection needs and uv would like. Call it inside alone().

    That tells what a killed process left behind from what another one is doing. Nothing else stays behind.
    """
    removal.sweep(root, _is_probe_directory)
    directory = os.path.join(root, f"{_PROBE_DIR}{os.urandom(8).hex()}")
    try:
        return _probe(directory, runner)
    finally:
        with contextlib.suppress(FileNotFoundError):
            removal.remove(directory)  # Leftovers, if somebody has them open just now, go with the next probe.


def forget(root: str) -> None:
    """Remove what alone() leaves behind from a directory that will not be a share."""
    if any(map(_is_probe_directory, os.listdir(root))):
        return  # somebody else's
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(root, PROBE_MUTEX))


def _is_probe_directory(name: str) -> bool:
    return name.startswith(_PROBE_DIR)


def _probe(directory: str, runner: Runner) -> Abilities:
    one, other = os.path.join(directory, "one"), os.path.join(directory, "other")
    for path in (directory, one, other):
        os.mkdir(path, 0o700)
    script = os.path.join(one, "script")
    descriptor = os.open(script, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
    try:
        os.write(descriptor, f"#!/bin/sh\nexit {_SCRIPT_RC}\n".encode())
    finally:
        os.close(descriptor)
    return Abilities(
        hard_link=_works(lambda: os.link(script, os.path.join(other, "hard"))),
        reflink=_works(lambda: _reflink(script, os.path.join(other, "reflink"))),
        symlink=_works(lambda: os.symlink("script", os.path.join(one, "symlink"))),
        # As in publishing: an existing name gets another meaning. (Renaming onto a hard link would do nothing.)
        rename=_works(lambda: _replace(os.path.join(one, "old"), os.path.join(one, "new"))),
        exec=_runs(script, runner),
        posix_lock=True,  # or mutex.hold() would have failed
        default_acl=_works(lambda: _inherit(other)),
    )


def _works(attempt: t.Callable[[], None]) -> bool:
    try:
        attempt()
    except OSError as error:
        if error.errno in _TROUBLE:
            raise
        return False
    return True


def _reflink(source: str, target: str) -> None:
    read = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        write = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.ioctl(write, files.FICLONE, read)
        finally:
            os.close(write)
    finally:
        os.close(read)


def _replace(old: str, new: str) -> None:
    for path in (old, new):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    os.rename(old, new)


def _inherit(directory: str) -> None:
    made = os.path.join(directory, "made")
    os.setxattr(directory, acl.DEFAULT_ACL, acl.default_acl(0o770))
    umask = os.umask(0o077)
    try:
        os.mkdir(made, 0o777)
    finally:
        os.umask(umask)
    if not os.stat(made).st_mode & stat.S_IWGRP:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), made)


def _runs(script: str, runner: Runner) -> bool:
    try:
        return runner.run([script], variables={}).rc == _SCRIPT_RC
    except CommandError:
        return False


def link_mode(abilities: Abilities, *, split: bool) -> str:
    """The best of uv's link modes for putting files from its cache into environments.

    ``split``: the share is spread over several filesystems, which cannot link to each other.
    """
    if split:
        return "copy"
    if abilities.reflink:
        return "clone"
    return "hardlink" if abilities.hard_link else "copy"


def check_abilities(root: str, abilities: Abilities) -> None:
    """Raise UvnasError if the filesystem lacks something that a share needs."""
    needs = {
        "exec": (
            "programs do not run from it",
            "Mount it without noexec: uv, Python and all environments run from the share.",
        ),
        "symlink": ("it does not support symlinks", "Environments contain symlinks and are published by one."),
        "rename": ("rename() cannot replace a file", "That is how an environment is switched in one step."),
    }
    for ability, (what, hint) in needs.items():
        if not getattr(abilities, ability):
            raise UvnasError(f"the filesystem of {root} cannot hold a share: {what}", hint=hint)
