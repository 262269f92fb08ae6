# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees that never change once they are complete, not even by their owner's accident.

In a sealed tree no directory has a write bit, so nobody can add, replace, rename or remove anything: pip, uv,
compileall and Python itself fail, or do without. Its files keep the owner's write bit: hard-linked ones are the cache's
too, and changing the mode of 14,000 files costs as many round trips on NFS. So the owner can still write into existing
files.

One file of the tree is its witness: the last to lose its write bits, and the first to get the owner's back. So the
status of this one file, which is looked at anyway, tells whether the whole tree was sealed, no matter who was killed
when. A ``chmod -R`` that opens the tree opens the witness too.
"""

from __future__ import annotations

import os
import shlex
import stat
import typing as t

from ..errors import UvnasError
from . import acl

_ANYBODY = 0o222
_OTHERS = 0o022
# Paths listed in a message.
_SHOWN = 3


def is_sealed(status: os.stat_result) -> bool:
    """Whether nobody may write to a directory, or to a witness, which speaks for its tree."""
    return not status.st_mode & _ANYBODY


def is_open(status: os.stat_result) -> bool:
    """Whether others than the owner may write, by the mode or by an ACL (the group's bits are its mask, acl(5))."""
    return bool(status.st_mode & _OTHERS) and not stat.S_ISLNK(status.st_mode)


def seal(tree: str, witness: str) -> None:
    """Seal a tree, parts of which may be sealed already. Raises UvnasError if something in it is somebody else's."""
    mode = stat.S_IMODE(os.stat(witness).st_mode)
    if not mode & stat.S_IWUSR:
        os.chmod(witness, mode | stat.S_IWUSR)
    for _entry in seal_inside(tree):
        pass
    finish(tree, witness)


def seal_inside(tree: str) -> t.Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Seal everything inside a tree, and yield each entry with its status, which may be the one from before.

    The top itself is only closed to others: finish() does the rest.
    """
    close(tree)
    pending = [tree]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
                    _restrict(entry.path, status, 0o555)
                elif is_open(status):
                    _restrict(entry.path, status, ~_OTHERS)
                yield entry, status


def finish(tree: str, witness: str) -> None:
    """Seal the top of a tree whose content is sealed, and then its witness."""
    os.chmod(tree, 0o555)
    os.chmod(witness, stat.S_IMODE(os.stat(witness).st_mode) & 0o555)


def unseal(tree: str, witness: str) -> None:
    """Make the directories of a sealed tree writable by the owner again."""
    os.chmod(witness, stat.S_IMODE(os.stat(witness).st_mode) | stat.S_IWUSR)
    for directory, _names, _files in os.walk(tree):
        status = os.stat(directory)
        if not status.st_uid == 0 != os.geteuid():  # Only root may change what is root's.
            os.chmod(directory, stat.S_IMODE(status.st_mode) | stat.S_IWUSR)


def close(path: str) -> None:
    """Let only the owner write to the file or directory ``path``, and to new files in it (default ACL)."""
    status = os.stat(path)
    _restrict(path, status, ~_OTHERS)
    if stat.S_ISDIR(status.st_mode) and acl.default_acl_of(path):
        acl.strip(path)


def open_paths(tree: str) -> list[str]:
    """What others can write to in a tree, relative to it."""
    found = [os.curdir] if is_open(os.stat(tree)) else []
    pending = [tree]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if is_open(entry.stat(follow_symlinks=False)):
                    found.append(os.path.relpath(entry.path, tree))
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
    return found


def removal(path: str) -> str:
    """What the owner types to remove a file from a sealed tree."""
    return f"chmod u+w {shlex.quote(os.path.dirname(path))} && rm -f {shlex.quote(path)}"


def listed(paths: t.Sequence[str]) -> str:
    """The first few paths, and how many more there are."""
    more = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _restrict(path: str, status: os.stat_result, mask: int) -> None:
    """Clear the mode's bits that are not in ``mask``; if others lose write permission, remove the ACLs too."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & mask == mode:
        return
    if status.st_uid == 0 != os.geteuid() and not is_open(status):
        return  # Bytecode written by root, whom no mode stops. Nobody else can write there.
    try:
        os.chmod(path, mode & mask)
        if mode & _OTHERS:  # After the mode, which limits the ACL, so that nothing is open for a moment.
            acl.strip(path)
    except PermissionError as error:
        if status.st_uid == os.geteuid():
            raise
        raise UvnasError(
            f"{path} belongs to uid {status.st_uid}, not to the owner of the tree it is in",
            hint="Somebody put it there. Find out what it is; then remove it or give it to the owner (chown), as root.",
        ) from error
