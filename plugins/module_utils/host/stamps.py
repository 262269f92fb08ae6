# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By what to know that a file or a directory is what it was, without reading it: its status.

Nobody can set the time at which an inode changed last. So whatever somebody writes, renames or links, and in whatever
way they put its size and its times back, the stamp is another one afterwards. What is left is a change in the very
moment, as the filesystem counts time, of the one before. That is why a stamp is to be remembered only once it is old.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

# Plain data.
Stamp = list[int]

# Seconds. Some servers count time in seconds; and a clock that is ahead of theirs makes a stamp look older.
_YOUNG = 2.0


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of what has this status. The device is not part of it: on NFS each mount has another one."""
    return [
        *(status.st_ino, status.st_mode, status.st_uid, status.st_gid),
        *(status.st_size, status.st_mtime_ns, status.st_ctime_ns),
    ]


def is_old(status: os.stat_result, now: float) -> bool:
    """Whether any change after ``now``, in seconds by the clock of this host, gives another stamp than this one."""
    return status.st_ctime_ns / 1e9 + _YOUNG < now


@contextlib.contextmanager
def opened(directory: str, inside: t.Optional[int] = None) -> t.Iterator[int]:
    """A descriptor of a directory, of which an NFS client asks the server how it is now, for one RPC and no more.

    A mere stat() has what the client believes, for up to a minute: it is when a directory is opened that it must not
    (close-to-open). What it knows of names in there is void as well, then, if the directory has changed.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
