# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv wrote to a share's cache, as long as a power cut can take it away.

uv syncs nothing. After a power cut its cache has files that are empty, or half of what they were, and uv believes them:
every environment that needs one fails, or has it. So a marker is in the cache, on the disk, before uv first writes
there, and goes when all of it has been synced.

The marker has the id of the boot of the host that set it, which is the one with the data in its memory, on NFS too. One
of this boot is what a killed run left: the data is still there, and is synced with what comes. Under any other id,
which may be of another host that was the builder then, whatever is newer than the marker is dropped: uv gets it again.
Nothing is dropped from generations, which have links of their own, and were synced before they were complete.

(Where a filesystem loses data and is mounted anew while its host runs, the marker does not tell.)
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

# Of a clock that is set meanwhile, in seconds.
_CLOCK = 60
# Of uv: locks, which are empty anyway.
_LOCK = ".lock"


@contextlib.contextmanager
def writing(layout: Layout) -> t.Iterator[None]:
    """A block in which uv writes to the cache of a share, whose mutex has to be held."""
    cache, marker = layout.cache, os.path.join(layout.cache, MARKER)
    if not os.path.isdir(cache):  # Not made here: nobody else may look into it.
        raise UvnasError(f"{cache} is not there", hint="Run site.yml, or the role share, which makes it.")
    with contextlib.closing(durable.Disks(cache)) as disks:
        if is_in_doubt(cache):
            mutex.check(layout.mutex)
            since = os.stat(marker).st_mtime - _CLOCK
            # A clock that was set back further does not tell what is newer: all of it, then.
            _drop_newer(cache, since if since <= time.time() else 0.0)
            disks.sync()
            os.unlink(marker)
        if not os.path.lexists(marker):
            files.write_json(marker, {"boot": durable.boot()}, mode=0o600)
        try:
            yield
        finally:
            disks.sync()
            # With another holder the marker may be that one's.
            with contextlib.suppress(LostMutexError, FileNotFoundError):
                mutex.check(layout.mutex)
                os.unlink(marker)


def is_in_doubt(cache: str) -> bool:
    """Whether something in ``cache`` was written, and perhaps not to the disk, before a power cut."""
    try:
        found = files.read_json(os.path.join(cache, MARKER))
    except (UvnasError, OSError):  # Somebody else wrote that, who knows when.
        return True
    return found is not None and (found.get("boot") is None or found["boot"] != durable.boot())


def _drop_newer(cache: str, since: float) -> None:
    """Remove from a cache what came there after a time.

    By its ctime, which is when it got its name there. The mtime may be from an archive. Of an unpacked wheel it is that
    of its directory: its files have another one each time that an environment gets links to them.
    """
    for bucket in sorted(os.listdir(cache)):
        path = os.path.join(cache, bucket)
        if bucket.startswith("archive-v"):
            for archive in os.listdir(path):
                _drop(os.path.join(path, archive), since)
        elif os.path.isdir(path) and not os.path.islink(path):
            for directory, names, others in os.walk(path):
                for name in (*names, *others):
                    found = os.path.join(directory, name)
                    if name in others or os.path.islink(found):
                        _drop(found, since)
        elif bucket not in (MARKER, _LOCK):
            _drop(path, since)


def _drop(path: str, since: float) -> None:
    if os.lstat(path).st_ctime >= since:
        removal.remove_tree(path)
