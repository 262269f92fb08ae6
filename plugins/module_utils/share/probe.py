# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filesystem of a share is and can do, found out as the share's owner; and the platform that works there.

What can be seen without writing (mounts, flags, free room) is kept apart from what has to be tried.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import glob
import os
import re
import shutil
import typing as t

from ..errors import CommandError, UvnasError
from ..host.files import share_lock
from ..host.process import Runner

PROBE_DIR = ".uvnas-probe"
PROBE_MUTEX = ".uvnas-probe.mutex"
# Names that this file leaves in a share's root, for good or when it is killed.
PROBE_NAMES = frozenset({PROBE_DIR, PROBE_MUTEX})

_FICLONE = 0x40049409  # ioctl_ficlone(2); the same on x86_64 and aarch64
# Errors that say nothing about what a filesystem can do.
_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS})
_SCRIPT_RC = 42
_OCTAL = re.compile(r"\\([0-7]{3})")
_ARCH = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclasses.dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo, see proc(5)."""

    mount_id: int
    point: str
    type: str


@dataclasses.dataclass(frozen=True)
class Space:
    """What statvfs(3) says: room left for the owner, and flags of the mount. None where a filesystem does not count."""

    free_bytes: int
    free_inodes: t.Optional[int]
    read_only: bool
    noexec: bool


@dataclasses.dataclass(frozen=True)
class Abilities:
    """What was tried on the filesystem, and whether it worked."""

    hard_link: bool
    reflink: bool
    symlink: bool
    rename: bool
    exec: bool
    posix_lock: bool


@dataclasses.dataclass(frozen=True)
class Platform:
    """What binaries have to be made for."""

    arch: str
    libc: str
    libc_version: str


# Seen without writing


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts in ``text``, the content of /proc/self/mountinfo."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if separator and len(fields) > 4 and after:
            mounts.append(Mount(int(fields[0]), _unescape(fields[4]), after.split()[0]))
    return mounts


def _unescape(path: str) -> str:
    """A path as the kernel writes it, without white space: ``\\040`` is a space."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), path)


def mounts() -> list[Mount]:
    return parse_mountinfo(_read_proc("/proc/self/mountinfo"))


def _read_proc(path: str) -> str:
    # Not by open(): to find an encoding it may import, which the owner may not in root's Python.
    # Paths may be in any encoding; those that come back from os.path have the same surrogates.
    # To the end: such a file gives no more than a page at once, and a host with many mounts has several of them.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.fsdecode(b"".join(iter(lambda: os.read(descriptor, 1 << 20), b"")))
    finally:
        os.close(descriptor)


def mount_id(path: str) -> int:
    """Which mount the directory ``path`` is on. Mounts it first where that is autofs' job.

    The kernel knows; comparing paths goes wrong with bind mounts, mounts on top of mounts, and symlinks.
    """
    descriptor = os.open(os.path.join(path, "."), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for line in _read_proc(f"/proc/self/fdinfo/{descriptor}").splitlines():
            key, _colon, value = line.partition(":")
            if key == "mnt_id":
                return int(value)
    finally:
        os.close(descriptor)
    raise UvnasError(
        f"the kernel does not say which mount {path} is on", hint="uvnas.cluster needs Linux 3.15 or later, with /proc."
    )


def mount_of(path: str, all_mounts: t.Sequence[Mount]) -> t.Optional[Mount]:
    """The mount that the directory ``path`` is on; None where it is hidden from this process (a chroot)."""
    wanted = mount_id(path)
    return next((mount for mount in all_mounts if mount.mount_id == wanted), None)


def is_mount_point(path: str) -> bool:
    """Whether something is mounted at the directory ``path``, bind mounts included."""
    parent = os.path.join(path, "..")
    return os.path.samefile(path, "/") or mount_id(path) != mount_id(parent)


def space(path: str) -> Space:
    found = os.statvfs(path)
    return Space(
        free_bytes=found.f_bavail * found.f_frsize,
        # btrfs and some NFS servers make inodes as they need them and report 0 of 0.
        free_inodes=found.f_favail if found.f_files > 0 else None,
        read_only=bool(found.f_flag & os.ST_RDONLY),
        noexec=bool(found.f_flag & os.ST_NOEXEC),
    )


def platform(runner: Runner) -> Platform:
    """The platform of this host, as this process sees it."""
    machine = os.uname().machine
    arch = _ARCH.get(machine, machine)
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION")  # "glibc 2.36"
    except (ValueError, OSError):
        glibc = None
    if glibc:
        return Platform(arch, "gnu", glibc.split()[-1])
    loaders = sorted(glob.glob("/lib/ld-musl-*.so.1"))
    # musl's loader, run without arguments, says its version and fails.
    said = runner.run([loaders[0]], env={}).stderr if loaders else ""
    version = re.search(r"^Version (\S+)", said, re.MULTILINE)
    return Platform(arch, "musl", version.group(1) if version else "")


# Tried by writing


def probe(root: str, runner: Runner, *, timeout: float) -> Abilities:
    """Try in a directory below ``root`` what this collection needs and uv would like. Leaves nothing but a lock file.

    One at a time, so that what a killed process left behind can be told from what another one is just doing.
    """
    directory = os.path.join(root, PROBE_DIR)
    with share_lock(os.path.join(root, PROBE_MUTEX), timeout=timeout, purpose="probing the filesystem"):
        _remove(directory)
        try:
            return _probe(directory, runner)
        finally:
            _remove(directory)


def forget(root: str) -> None:
    """Remove what probe() leaves, from a directory that is not going to be a share."""
    if os.path.exists(os.path.join(root, PROBE_DIR)):
        return  # somebody else's
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(root, PROBE_MUTEX))


def _remove(directory: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


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
        # What is done to publish: a name that exists gets another meaning. (Onto a hard link it would do nothing.)
        rename=_works(lambda: _replace(os.path.join(one, "old"), os.path.join(one, "new"))),
        exec=_runs(script, runner),
        posix_lock=True,  # or share_lock() would have failed
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
            fcntl.ioctl(write, _FICLONE, read)
        finally:
            os.close(write)
    finally:
        os.close(read)


def _replace(old: str, new: str) -> None:
    for path in (old, new):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    os.rename(old, new)


def _runs(script: str, runner: Runner) -> bool:
    try:
        return runner.run([script], env={}).rc == _SCRIPT_RC
    except CommandError:
        return False


# What follows from it


def link_mode(abilities: Abilities, *, split: bool) -> str:
    """How uv can best put files of its cache into environments: one of uv's link modes.

    ``split``: the parts of the share are on several filesystems, between which there are no links of any kind.
    """
    if split:
        return "copy"
    if abilities.reflink:
        return "clone"
    return "hardlink" if abilities.hard_link else "copy"


def check_abilities(root: str, abilities: Abilities) -> None:
    """Raise UvnasError where the filesystem lacks what a share cannot do without."""
    needs = {
        "exec": (
            "programs do not run from it",
            "Mount it without noexec; uv, Python and every environment run from the share.",
        ),
        "symlink": ("it has no symlinks", "Environments are made of symlinks and published by one."),
        "rename": ("a file cannot replace another by rename", "That is how an environment is switched in one step."),
    }
    for ability, (what, hint) in needs.items():
        if not getattr(abilities, ability):
            raise UvnasError(f"the filesystem of {root} cannot hold a share: {what}", hint=hint)
