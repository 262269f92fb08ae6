# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generation's size on disk, measured while it is sealed or later. Hard links and reflinks do not count.

But for one: bytecode that one generation and the share's store have is that generation's.
"""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from ...host import extents, sealing
from ...share.layout import CONTENTS, MANIFEST, SPARE
from ...share.manifest import Size

# What is written into a generation after it was sealed and measured.
_LATER = (CONTENTS, MANIFEST, SPARE)


def seal(path: str, see: t.Optional[t.Callable[[os.DirEntry[str]], None]] = None) -> Size:
    """Seal everything in a generation, and measure it on the way. sealing.finish() seals its top at the very end.

    ``see`` gets every entry, which saves its owner a second walk.
    """
    files = total = own = inodes = 0
    clones = True  # As far as is known: until the filesystem says that it cannot tell.
    for entry, status in sealing.seal_inside(path):
        if see is not None:
            see(entry)
        if not stat.S_ISREG(status.st_mode):
            inodes += 1
            continue
        files += 1
        total += status.st_size
        stored = _stored(entry.name, status)
        if status.st_nlink - stored == 1:
            alone: t.Optional[int] = status.st_size
            if clones and alone and not stored:  # Bytecode was written by the compiler.
                alone = extents.own_bytes(entry.path)
                clones = alone is not None
            # Extents are whole blocks, and the last one is seldom full.
            own += status.st_size if alone is None else min(alone, status.st_size)
            inodes += 1
    return Size(files, total, own, inodes)


def true_size(path: str) -> dict[str, int]:
    """The size of a tree: ``bytes`` is what its files hold. Of what is allocated, ``own_bytes`` belong to this tree
    alone; ``shared_bytes`` are shared with others by hard links or, where the filesystem tells, reflinks. ``files`` and
    ``file_bytes`` are what seal() counted, of a generation that is as it was built."""
    own = shared = apparent = files = total = 0
    later = {os.path.join(path, name) for name in _LATER}
    links: dict[tuple[int, int], list[int]] = {}
    paths: dict[tuple[int, int], str] = {}
    clones = True  # As far as is known: until the filesystem says that it cannot tell.
    pending = [path]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    own += status.st_blocks * 512
                    continue
                apparent += status.st_size
                if stat.S_ISREG(status.st_mode) and entry.path not in later:
                    files += 1
                    total += status.st_size
                inode = (status.st_dev, status.st_ino)
                all_links = status.st_nlink - _stored(entry.name, status)
                links.setdefault(inode, [0, all_links, status.st_blocks * 512])[0] += 1
                if entry.is_file(follow_symlinks=False):
                    paths[inode] = entry.path
    for inode, (seen_here, linked, size) in links.items():
        alone: t.Optional[int] = 0 if seen_here < linked else size
        if alone and clones and inode in paths:
            alone = extents.own_bytes(paths[inode])
            clones = alone is not None
        alone = size if alone is None else min(alone, size)
        own += alone
        shared += size - alone
    return {"bytes": apparent, "own_bytes": own, "shared_bytes": shared, "files": files, "file_bytes": total}


def freed(paths: t.Iterable[str]) -> dict[str, int]:
    """What comes free, in ``bytes`` and ``inodes``, if all these trees go: what nothing else has a link to.

    Of bytecode, the share's store keeps nothing that no generation has. Reflinks count as if they were copies.
    """
    own = inodes = 0
    links: dict[tuple[int, int], int] = {}
    pending = list(paths)
    while pending:
        # Others may be at work; and what is aside may be anything.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(pending.pop()) as entries:
            inodes += 1
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    own += status.st_blocks * 512
                    continue
                inode = (status.st_dev, status.st_ino)
                links[inode] = links.get(inode, 0) + 1
                if links[inode] == status.st_nlink - _stored(entry.name, status):
                    own += status.st_blocks * 512
                    inodes += 1
    return {"bytes": own, "inodes": inodes}


def _stored(name: str, status: os.stat_result) -> int:
    """How many links of a file are the store's, as far as can be told: a wheel may have come with bytecode."""
    return 1 if name.endswith(".pyc") and status.st_nlink > 1 else 0
