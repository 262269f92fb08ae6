# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees that never change once they are complete, not even by their owner's accident.

In a sealed tree no directory has a write bit, so that nobody adds, replaces, renames or removes anything: pip, uv,
compileall and Python itself all fail, or do without. Its files keep the owner's write bit. Those that are hard-linked
are the cache's too, and to change the mode of each of 14,000 files costs as many round trips on NFS. What that leaves
to the owner is to write into a file that is there.

One file of the tree is its witness: it is the last thing that loses its write bits, and the first that gets the owner's
back. So the status of this one file, which is looked at anyway, says whether all of the tree was sealed, whoever was
killed when. A ``chmod -R`` that opens the tree opens the witness too.
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
# Of a list of paths, in messages.
_SHOWN = 3


def is_sealed(status: os.stat_result) -> bool:
    """Whether nobody may write: of a directory, or of a witness, which speaks for its tree."""
    return not status.st_mode & _ANYBODY


def is_open(status: os.stat_result) -> bool:
    """Whether others than the owner may write, by the mode or by an ACL, whose limit the group's bits are (acl(5))."""
    return bool(status.st_mode & _OTHERS) and not stat.S_ISLNK(status.st_mode)


def seal(tree: str, witness: str) -> None:
    """Seal a tree, whether or not some of it is. Raises UvnasError where something in it is somebody else's."""
    mode = stat.S_IMODE(os.stat(witness).st_mode)
    if not mode & stat.S_IWUSR:
        os.chmod(witness, mode | stat.S_IWUSR)
    for _entry in seal_inside(tree):
        pass
    finish(tree, witness)


def seal_inside(tree: str) -> t.Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Seal all that is in a tree, and tell of each thing in it, with its status, which may be as it was before.

    The top only stops being open to others: finish() does the rest.
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
                elif not stat.S_ISLNK(status.st_mode):
                    _restrict(entry.path, status, ~_OTHERS)
                yield entry, status


def finish(tree: str, witness: str) -> None:
    """Seal the top of a tree in which everything is sealed, and say so."""
    os.chmod(tree, 0o555)
    os.chmod(witness, stat.S_IMODE(os.stat(witness).st_mode) & 0o555)


def unseal(tree: str, witness: str) -> None:
    """Let the owner write to the directories of a sealed tree again."""
    os.chmod(witness, stat.S_IMODE(os.stat(witness).st_mode) | stat.S_IWUSR)
    for directory, _names, _files in os.walk(tree):
        status = os.stat(directory)
        if not status.st_uid == 0 != os.geteuid():  # What is root's is for root to write to.
            os.chmod(directory, stat.S_IMODE(status.st_mode) | stat.S_IWUSR)


def close(path: str) -> None:
    """Have nobody but the owner write to the file or directory ``path``, or to what is made in it by default ACL."""
    status = os.stat(path)
    _restrict(path, status, ~_OTHERS)
    if stat.S_ISDIR(status.st_mode) and acl.default_acl_of(path):
        acl.take_off(path)


def opened(tree: str) -> list[str]:
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
    """The first of some paths, and how many there are more of."""
    more = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _restrict(path: str, status: os.stat_result, mask: int) -> None:
    """Take from the mode what is not in ``mask``, and with write permission of others the ACL that may give it."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & mask == mode:
        return
    if status.st_uid == 0 != os.geteuid() and not is_open(status):
        return  # Bytecode that root wrote, whom no mode stops. Nobody else can write there.
    try:
        os.chmod(path, mode & mask)
        if mode & _OTHERS:  # First the mode, which limits the ACL, so that nothing is open for a moment.
            acl.take_off(path)
    except PermissionError as error:
        if status.st_uid == os.geteuid():
            raise
        raise UvnasError(
            f"{path} belongs to uid {status.st_uid}, not to the owner of what it is in",
            hint="Somebody put it there. See what it is; then remove it, or give it to the owner (chown), as root.",
        ) from error
