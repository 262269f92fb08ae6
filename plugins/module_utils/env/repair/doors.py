# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open directories of sealed trees for a repair, and seal them again.

The witness of a tree says first that it is not sealed, and last that it is. So whoever is killed in between leaves one
that counts as unsealed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ...host import removal
from .look import Look, Where
from .tree import Tree


class Doors:
    """Directories of sealed trees that are open meanwhile."""

    def __init__(self, seen: Look) -> None:
        self._seen = seen
        self._opened: dict[str, None] = {}
        self._trees: dict[int, None] = {}

    def open(self, where: Where) -> None:
        """Make the directory of a place, if need be, and let its owner write to it."""
        number, place = where
        tree = self._seen.trees[number]
        directory = os.path.dirname(tree.at(place))
        if directory in self._opened or not place:
            return
        above = place.rpartition("/")[0]
        self._check_way(tree, above)
        if above and not os.path.lexists(directory):
            self.open((number, above))
            os.mkdir(directory, 0o755)
        if tree.witness:
            self.seals(where)
            os.chmod(directory, stat.S_IMODE(os.stat(directory).st_mode) | 0o700)
        self._opened[directory] = None

    @staticmethod
    def _check_way(tree: Tree, place: str) -> None:
        """Raise OSError if a symlink, or anything else that is no directory, is on the way to a place in a tree."""
        parts = place.split("/") if place else []
        for count in range(len(parts) + 1):
            path = tree.at("/".join(parts[:count]))
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)

    def closed(self, directory: str) -> None:
        """Note that a directory, if it is one, has got its own mode again."""
        self._opened.pop(directory, None)

    def seals(self, where: Where) -> None:
        """Note that a tree is not sealed for now. Its witness says so first."""
        number = where[0]
        tree = self._seen.trees[number]
        if not tree.witness or number in self._trees:
            return
        self._trees[number] = None
        self._say(tree, is_sealed=False)

    def _say(self, tree: Tree, *, is_sealed: bool) -> None:
        """Have the witness of a tree say whether that is sealed, if it is there and not elsewhere, behind a symlink."""
        path = tree.at(tree.witness)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # The tree may be closed.
            self._check_way(tree, os.path.dirname(tree.witness))
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                mode = stat.S_IMODE(status.st_mode)
                os.chmod(path, mode & 0o555 if is_sealed else mode | stat.S_IWUSR)

    def close(self) -> None:
        """Seal all of that again, witnesses last."""
        sealed = {number: self._seen.trees[number] for number in self._trees}
        for directory in self._opened:
            if any(directory == tree.path or directory.startswith(f"{tree.path}/") for tree in sealed.values()):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    if stat.S_ISDIR(os.lstat(directory).st_mode):  # What was in the way has been replaced.
                        os.chmod(directory, 0o555)
        for tree in sealed.values():
            self._say(tree, is_sealed=True)


def remove_kept(seen: Look) -> None:
    """Remove what NFS has kept of files that were replaced, as far as no process of this host has them open by now.

    Their client cannot: it tries when they are closed, in a directory that is sealed. Hold the share's mutex.
    """
    doors = Doors(seen)
    try:
        for where in seen.kept:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                doors.open(where)
                removal.remove(seen.trees[where[0]].at(where[1]))
    finally:
        doors.close()
