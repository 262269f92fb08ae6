# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removals: what is removed loses its name in one step. What cannot go yet stays hidden, for a later sweep.

On NFS a file that a process of this host has open does not go away: the client renames it to ``.nfs…`` in the same
directory, where it is busy, and the directory not empty, until the process closes it. On any filesystem something may
be mounted in a tree, or a directory in it may be somebody else's, such as root's, whose Python wrote bytecode. All the
rest goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import stat
import typing as t

from . import files, mounts

_KEPT = re.compile(r"\.nfs[0-9A-Fa-f]{4,}")
_BUSY = frozenset({errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST, errno.ETXTBSY})
_DENIED = frozenset({errno.EACCES, errno.EPERM})

# What stands in the way of a removal.
IN_USE = "in use"
MOUNTED = "mounted"
# It is in somebody else's directory.
FOREIGN = "foreign"
# Anything else: see the error.
REFUSED = "refused"


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """Something that could not be removed although it contains no other obstacle."""

    kind: str
    path: str
    # The system's error message.
    said: str
    # The owner of the directory that it is in.
    uid: int


@dataclasses.dataclass(frozen=True)
class Leftover:
    """Something that could not be removed, at least not completely. It keeps its path until it can."""

    path: str
    # The first of each kind, and of each owner.
    obstacles: tuple[Obstacle, ...]
    # What it was, for people; empty if only the path is known.
    what: str = ""


def is_kept(name: str) -> bool:
    """Whether an NFS client gave a file this name, which a process had open when it was removed or replaced.

    It goes when it is closed, unless its directory is sealed by then.
    """
    return _KEPT.fullmatch(name) is not None


def remove_tree(path: str) -> None:
    """Rename ``path`` to a hidden name, in one step, then remove as much as possible. It need not exist.

    A dying process that still writes under the old name fails there, and does not bring it back to life. The hidden
    name is in the same directory: moving a directory to another one takes write permission for it, which nobody has for
    a sealed tree. What remains keeps that name: sweep() goes on with it, and reports it.
    """
    trash = files.temporary_name(path)
    try:
        os.rename(path, trash)
    except FileNotFoundError:
        return
    remove(trash)


def sweep(
    directory: str,
    is_leftover: t.Callable[[str], bool] = files.is_temporary,
    *,
    what: t.Callable[[str], str] = lambda _name: "",
) -> list[Leftover]:
    """Remove what killed processes and earlier removals left in ``directory``, recognised by its name.

    Hold the mutex of whatever the directory belongs to, so that nobody else is working there. What cannot be removed
    stays for the next time, and is returned; ``what`` tells from a name what it was. The directory need not exist.
    """
    found: list[t.Optional[Leftover]] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(os.listdir(directory)):
            if not is_leftover(name):
                continue
            path = os.path.join(directory, name)
            try:
                found.append(remove(path, what(name)))
            except FileNotFoundError:
                continue
            except OSError as error:  # The NAS has trouble. The work itself will run into it.
                found.append(refused(path, error, what(name)))
    return [leftover for leftover in found if leftover is not None]


def refused(path: str, error: OSError, what: str) -> Leftover:
    """``path`` as the leftover of a removal that failed."""
    obstacle = Obstacle(REFUSED, error.filename or path, error.strerror or str(error), os.geteuid())
    return Leftover(path, (obstacle,), what)


def remove(path: str, what: str = "") -> t.Optional[Leftover]:
    """Remove the hidden file, symlink or directory ``path``; return what remains of it, if anything.

    Raises FileNotFoundError if it does not exist, and OSError if the filesystem has trouble.
    """
    removal = _Removal(mounts.mount_id(os.path.dirname(path)))
    status = os.lstat(path)
    if stat.S_ISDIR(status.st_mode):
        removal.directory(path, path, None, os.geteuid())
    else:
        removal.file(path, path, None, os.geteuid())
    return Leftover(path, tuple(removal.obstacles.values()), what) if removal.obstacles else None


class _Removal:
    """A removal that goes on past obstacles. It follows no symlink, and enters no mount.

    A ``name`` is relative to ``parent``, a descriptor of a directory owned by ``uid``; without one it is a path.
    ``path`` is for people.
    """

    def __init__(self, mount: int) -> None:
        self._mount = mount
        self._count = 0
        self.obstacles: dict[tuple[str, int], Obstacle] = {}

    def file(self, path: str, name: str, parent: t.Optional[int], uid: int) -> None:
        with self._noting(path, uid):
            os.unlink(name, dir_fd=parent)

    def directory(self, path: str, name: str, parent: t.Optional[int], uid: int) -> None:
        """Remove a directory. If its owner lacks permissions, as in sealed trees, they are restored on the way, so a
        killed removal can be resumed."""
        before = self._count
        try:
            descriptor = _open_directory(name, parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                if error.errno in _DENIED:  # Somebody else's. Perhaps it is empty.
                    uid = os.stat(name, dir_fd=parent, follow_symlinks=False).st_uid
                    os.rmdir(name, dir_fd=parent)
                    return
            self._note(error, path, uid)
            return
        try:
            if mounts.mount_id_of(descriptor, path) != self._mount:
                self._add(Obstacle(MOUNTED, path, os.strerror(errno.EBUSY), uid))
                return
            own = os.fstat(descriptor).st_uid
            with os.scandir(descriptor) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            for inside, is_directory in found:
                remove = self.directory if is_directory else self.file
                remove(os.path.join(path, inside), inside, descriptor, own)
        finally:
            os.close(descriptor)
        if self._count == before:
            with self._noting(path, uid):
                os.rmdir(name, dir_fd=parent)

    @contextlib.contextmanager
    def _noting(self, path: str, uid: int) -> t.Iterator[None]:
        try:
            yield
        except OSError as error:
            self._note(error, path, uid)

    def _note(self, error: OSError, path: str, uid: int) -> None:
        """Note an obstacle and go on; raise the error, with its path, if the filesystem has trouble."""
        if error.errno == errno.ENOENT:  # Such as a ``.nfs…`` that was just closed.
            return
        kind = IN_USE
        if error.errno in _DENIED:
            kind = FOREIGN if uid != os.geteuid() else REFUSED
        elif error.errno not in _BUSY:
            error.filename = path
            raise error
        self._add(Obstacle(kind, path, error.strerror or str(error), uid))

    def _add(self, obstacle: Obstacle) -> None:
        self._count += 1
        self.obstacles.setdefault((obstacle.kind, obstacle.uid), obstacle)


def _open_directory(name: str, parent: t.Optional[int]) -> int:
    """A descriptor of a directory, whose owner gets the permissions to empty it."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(name, os.O_RDONLY | flags, dir_fd=parent)
    except PermissionError:
        handle = os.open(name, os.O_PATH | flags, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IRWXU)
        finally:
            os.close(handle)
        descriptor = os.open(name, os.O_RDONLY | flags, dir_fd=parent)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        with contextlib.suppress(PermissionError):  # Somebody else's; perhaps it is empty.
            os.fchmod(descriptor, mode | stat.S_IRWXU)
    return descriptor
