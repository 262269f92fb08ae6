# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv wrote to a share's cache, and what was compiled beside it, until it is safe from a power cut.

uv syncs nothing, and neither does the compiler. After a power cut there may be empty or truncated files, and uv trusts
those in its cache, as Python trusts bytecode: every environment that needs one fails, or contains it. So a marker is
put into the cache, and synced, before anything is written there, and removed once everything has been synced.

The marker has the boot id of the host that set it, which is the one with the data in its memory, on NFS too. A marker
of this boot is from a killed run: the data is still there, and is synced along with the new. With any other id, perhaps
of another host that was the builder then, whatever is newer than the marker is dropped, and uv fetches it again.
Generations lose nothing: they have links of their own, and were synced before they were complete.

(If a filesystem loses data and is remounted while its host keeps running, the marker does not help.)
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ..errors import LostMutexError, UvnasError
from ..host import durable, files, mutex, removal
from ..share.layout import Layout

MARKER = ".uvnas-unsynced.json"

# How far the clock may be set back meanwhile, in seconds.
_CLOCK = 60
# uv's lock files, which are empty anyway.
_LOCK = ".lock"


@contextlib.contextmanager
def writing(layout: Layout) -> t.Iterator[None]:
    """A block in which a share's cache and its bytecode are written to. Hold the share's mutex."""
    cache, marker = layout.cache, os.path.join(layout.cache, MARKER)
    if not os.path.isdir(cache):  # Not made here: nobody else may look into it.
        raise UvnasError(f"{cache} does not exist", hint="Run site.yml, or the role share, which makes it.")
    # On a share that was laid out before there was any bytecode, too.
    with contextlib.suppress(FileExistsError):
        os.mkdir(layout.bytecode, 0o700)
    with contextlib.closing(durable.Disks(cache, layout.bytecode)) as disks:
        if is_in_doubt(cache):
            mutex.check(layout.mutex)
            since = os.stat(marker).st_mtime - _CLOCK
            # If the clock was set back further, there is no telling what is newer: drop everything.
            since = since if since <= time.time() else 0.0
            _drop_newer(cache, since)
            _drop_files(layout.bytecode, since)
            disks.sync()
            os.unlink(marker)
        if not os.path.lexists(marker):
            files.write_json(marker, {"boot": durable.boot()}, mode=0o600)
        try:
            yield
        finally:
            disks.sync()
            # If somebody else holds the mutex by now, the marker may be theirs.
            with contextlib.suppress(LostMutexError, FileNotFoundError):
                mutex.check(layout.mutex)
                os.unlink(marker)


def is_in_doubt(cache: str) -> bool:
    """Whether something in ``cache`` may not have reached the disk before a power cut."""
    try:
        found = files.read_json(os.path.join(cache, MARKER))
    except (UvnasError, OSError):  # Not ours, and from who knows when.
        return True
    return found is not None and (found.get("boot") is None or found["boot"] != durable.boot())


def _drop_newer(cache: str, since: float) -> None:
    """Remove from a cache what was added after a time.

    By ctime, which is when it got its name there; the mtime may be from an archive. For an unpacked wheel the ctime of
    its directory counts: that of its files changes whenever an environment gets links to them.
    """
    for bucket in sorted(os.listdir(cache)):
        path = os.path.join(cache, bucket)
        if bucket.startswith("archive-v"):
            for archive in os.listdir(path):
                _drop(os.path.join(path, archive), since)
        elif os.path.isdir(path) and not os.path.islink(path):
            _drop_files(path, since)
        elif bucket not in (MARKER, _LOCK):
            _drop(path, since)


def _drop_files(tree: str, since: float) -> None:
    """The same for whatever is no directory in a tree. Bytecode that got a link since goes too, for nothing."""
    for directory, names, others in os.walk(tree):
        for name in (*names, *others):
            found = os.path.join(directory, name)
            if name in others or os.path.islink(found):
                _drop(found, since)


def _drop(path: str, since: float) -> None:
    if os.lstat(path).st_ctime >= since:
        removal.remove_tree(path)
