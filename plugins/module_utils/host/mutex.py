# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutual exclusion: one process at a time, on any host, works on a share, or on whatever else has a mutex."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import time
import typing as t

from ..errors import ShareBusyError, UvnasError


@contextlib.contextmanager
def hold(path: str, *, timeout: float, purpose: str, what: str = "") -> t.Iterator[None]:
    """Hold the mutex ``path`` for a block of code; wait for it at most ``timeout`` seconds.

    ``what`` it is of, for messages: by default the directory that it is in.

    It is a POSIX record lock: released by the kernel when the process or its host dies, and agreed on between an NFS
    client and the NFS server itself. It belongs to a process, so it must not be taken twice in one.

    Raises ShareBusyError, naming the host, the process and the time since it holds the mutex.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise UvnasError(
                        f"cannot lock {path}: {error.strerror}",
                        hint="The filesystem of a share must support POSIX locks; on NFS see that locking is not off.",
                    ) from error
            if time.monotonic() >= deadline:
                where = what or os.path.dirname(path)
                raise ShareBusyError(
                    f"another process works on {where}: {_holder(descriptor)}; waited {timeout:g} s",
                    hint="Run again when it is done, or allow a longer wait (uvnas_busy_timeout, seconds).",
                )
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
        since = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "purpose": purpose}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Who wrote their name into the mutex last."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"host {holder['host']}, pid {holder['pid']}, since {holder['since']} ({holder['purpose']})"
    except (ValueError, KeyError, TypeError):
        return "its holder has not said who it is"
