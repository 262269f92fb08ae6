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
import stat
import time
import typing as t

from ..errors import ShareBusyError, UvnasError
from .data import parse_json


@contextlib.contextmanager
def hold(path: str, *, timeout: float, purpose: str, what: str = "") -> t.Iterator[None]:
    """Hold the mutex ``path`` for a block of code; wait for it at most ``timeout`` seconds.

    ``what`` it is of, for messages: by default the directory that it is in.

    It is a POSIX record lock: released by the kernel when the process or its host dies, and agreed on between an NFS
    client and the NFS server itself. It belongs to a process, so it must not be taken twice in one. Nobody else may
    even read the file: a read lock in it would stop everybody for as long as its holder likes.

    Raises ShareBusyError, naming the host, the process and the time since it holds the mutex; UvnasError where the path
    is something else than a mutex.
    """
    descriptor = _open(path)
    held = False
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
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
        if held:  # Whoever reads a name there must be able to believe it.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _open(path: str) -> int:
    """The file of a mutex, made where it is missing. Nothing is followed, and nothing that is no mutex is touched."""
    # Without O_NONBLOCK a device that somebody put there might keep us waiting.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    hint = "uvnas.cluster made no such thing there; see who did, move it away and run again."
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise UvnasError(f"the mutex {path} is no regular file", hint=hint) from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise UvnasError(f"the mutex {path} is no regular file with one name", hint=hint)
        owner = os.stat(os.path.dirname(path) or ".").st_uid
        if status.st_uid not in (0, os.geteuid(), owner):
            raise UvnasError(f"the mutex {path} belongs to uid {status.st_uid}, not to uid {owner}", hint=hint)
        if os.geteuid() in (0, status.st_uid) and stat.S_IMODE(status.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _holder(descriptor: int) -> str:
    """Who wrote their name into the mutex last."""
    try:
        holder = parse_json(os.pread(descriptor, 4096, 0), "the mutex")
        return f"host {holder['host']}, pid {holder['pid']}, since {holder['since']} ({holder['purpose']})"
    except (UvnasError, KeyError, TypeError):
        return "its holder has not said who it is"
