# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removals: what is removed loses its name in one step. What cannot go yet is left out of sight, for a later sweep.

On NFS a file that a process of this host has open does not go: the client renames it to ``.nfs…`` beside where it was,
and that is busy, and its directory not empty, until the process closes it. Anywhere something may be mounted in a tree,
or somebody else may have a directory in it, such as root, whose Python wrote bytecode. All the rest goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
import typing as t

from . import files, mounts

_BUSY = frozenset({errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST, errno.ETXTBSY})
_DENIED = frozenset({errno.EACCES, errno.EPERM})

# What stands in the way of a removal.
IN_USE = "in use"
MOUNTED = "mounted"
# It is in a directory of somebody else.
FOREIGN = "foreign"
# None of these: what the error says.
REFUSED = "refused"


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """Something that could not be removed, and nothing in it is to blame."""

    kind: str
    path: str
    # What the system said.
    said: str
    # Whose directory it is in.
    uid: int


@dataclasses.dataclass(frozen=True)
class Leftover:
    """What could not be removed, or not all of it. It keeps its path until it can."""

    path: str
    # The first of each kind, and of each owner.
    obstacles: tuple[Obstacle, ...]
    # What it was, for people; empty: its path has to do.
    what: str = ""


def remove_tree(path: str) -> None:
    """Take the name ``path`` away, in one step, then remove what had it as far as that can be. Absent is fine.

    What is still being written under the old name by a process that is about to die fails there, and does not
    come back to life. The other name is in the same directory: whoever moves a directory to another one needs write
    permission for what is moved, which nobody has for a sealed tree. What is left has that name, and no other one
    later: sweep() goes on with it, and tells of it.
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
    """Remove what is left in ``directory`` from killed processes and earlier removals, told by its name.

    The mutex of whatever the directory belongs to has to be held: nobody else is at work there then. What cannot be
    removed stays as it is for the next time, and is returned; ``what`` says what it was, by its name. A directory that
    is not there is fine.
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
            except OSError as error:  # The NAS has trouble. Whoever is about to work there will see.
                found.append(refused(path, error, what(name)))
    return [leftover for leftover in found if leftover is not None]


def refused(path: str, error: OSError, what: str) -> Leftover:
    """``path`` as what is left by a removal that came to nothing."""
    obstacle = Obstacle(REFUSED, error.filename or path, error.strerror or str(error), os.geteuid())
    return Leftover(path, (obstacle,), what)


def remove(path: str, what: str = "") -> t.Optional[Leftover]:
    """Remove the file, symlink or directory ``path``, which is out of sight; what is left of it, if it cannot go.

    Raises FileNotFoundError where there is none, and OSError where the filesystem has trouble.
    """
    removal = _Removal(mounts.mount_id(os.path.dirname(path)))
    status = os.lstat(path)
    if stat.S_ISDIR(status.st_mode):
        removal.directory(path, path, None, os.geteuid())
    else:
        removal.file(path, path, None, os.geteuid())
    return Leftover(path, tuple(removal.obstacles.values()), what) if removal.obstacles else None


class _Removal:
    """A removal, which goes on past obstacles. No symlink is followed, and no mount entered.

    A ``name`` is one in ``parent``, a descriptor of a directory of ``uid``; without one it is a path. ``path`` is for
    people.
    """

    def __init__(self, mount: int) -> None:
        self._mount = mount
        self._count = 0
        self.obstacles: dict[tuple[str, int], Obstacle] = {}

    def file(self, path: str, name: str, parent: t.Optional[int], uid: int) -> None:
        with self._noting(path, uid):
            os.unlink(name, dir_fd=parent)

    def directory(self, path: str, name: str, parent: t.Optional[int], uid: int) -> None:
        """Remove a directory, for which its owner may lack permissions, as for those of sealed trees: they are given
        back on the way. A removal that was killed can be taken up again."""
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
        """Go on where this is an obstacle; raise the error, with its path, where the filesystem has trouble."""
        if error.errno == errno.ENOENT:  # Such as a ``.nfs…`` that was closed just now.
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
    """A descriptor of a directory, with whose permissions its owner can empty it."""
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
