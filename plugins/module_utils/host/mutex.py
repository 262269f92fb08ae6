# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutual exclusion: one process at a time, on any host, works on a share, or on whatever else has a mutex.

A mutex can be lost silently: an NFS server forgets the locks of a client that it has not heard from for longer than its
lease (90 s by default on Linux) as soon as somebody else wants one, and when it loses its own records. So whoever takes
a mutex writes a secret word into it, and checks that the word is still there before publishing, sealing or removing
anything: check(). That costs two or three round trips, and leaves two gaps:

* There is a moment between the check and the action. A process that is stopped right there and resumes after the lease
  may still do this one thing; from NFS 4.1 on the server rejects what had been sent before, as the session is gone with
  the lease. By default nothing stops for that long and resumes: the watchdog gives up after 30 s without an answer, and
  the guard kills the work.
* A lock that the server has forgotten and nobody has taken yet looks as if it were held, unless the client reports it
  lost (an error when its holder reads). So a process that waits for its workers checks now and then, and sees a new
  holder within seconds.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import stat
import struct
import sys
import time
import typing as t

from ..errors import LostMutexError, ShareBusyError, UvnasError
from .data import parse_json

_LONGEST = 4096  # How much of a mutex is read, in bytes.
_NOBODY = b"\n"  # The content of a free one. Not empty, so that it keeps its block on a full filesystem.
_LINUX = sys.platform.startswith("linux")  # A controller may be something else.
_FLOCK = "hhqqi"  # struct flock of fcntl(2), on every 64 bit Linux.


class _Held(t.NamedTuple):
    """A mutex that was taken."""

    pid: int
    descriptor: int
    # With the secret word.
    content: bytes
    what: str


# By path: what this process holds, or its parent held when forking it.
_held: dict[str, _Held] = {}


# Told who holds a mutex, when the wait for it begins; and None when it is over.
Waiting = t.Callable[[t.Optional[str]], None]


def _quietly(holder: t.Optional[str]) -> None:
    """Tell nobody."""


@contextlib.contextmanager
def hold(path: str, *, timeout: float, purpose: str, what: str = "", waiting: Waiting = _quietly) -> t.Iterator[None]:
    """Hold the mutex ``path`` for a block of code; wait for it at most ``timeout`` seconds.

    ``what`` names, in messages, what it protects: by default the directory that it is in. In the block, and in
    processes forked there, check() tells whether it is still held.

    It is a POSIX record lock: released by the kernel when the process or its host dies, and agreed on between an NFS
    client and the NFS server itself. It belongs to a process, so one process must not take it twice. Nobody else may
    even read the file: a read lock on it would block everybody for as long as its holder likes.

    Raises ShareBusyError, which names the host and process that hold the mutex, and since when; UvnasError if the path
    is not a mutex.
    """
    descriptor = _open(path)
    where = what or os.path.dirname(path)
    try:
        deadline = time.monotonic() + timeout
        waited = False
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise UvnasError(
                        f"cannot lock {path}: {error.strerror}",
                        hint="The filesystem of a share must support POSIX locks; on NFS, check that locking is on.",
                    ) from error
            if time.monotonic() >= deadline:
                raise ShareBusyError(
                    f"another process is working on {where}: {_holder(descriptor)}; timed out after {timeout:g} s",
                    hint="Run again when it is done, or wait longer (uvnas_busy_timeout, in seconds).",
                )
            if not waited:
                waiting(_holder(descriptor))
                waited = True
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
        if waited:
            waiting(None)
        since = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        word = os.urandom(16).hex()
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "purpose": purpose, "word": word}
        _held[path] = _Held(os.getpid(), descriptor, _sign(descriptor, json.dumps(holder).encode()), where)
        try:
            yield
        finally:
            # A name in a mutex must be that of its holder. Leave somebody else's.
            with contextlib.suppress(OSError, UvnasError):
                check(path)
                _write(descriptor, _NOBODY)
            del _held[path]
    finally:
        os.close(descriptor)


def check(path: str) -> None:
    """Raise LostMutexError unless this process, or the parent that forked it, still holds the mutex ``path``.

    Call it before putting in force, sealing, replacing or removing anything. If neither has taken it, nothing is
    checked: then the caller does not need it.
    """
    held = _held.get(path)
    if held is None:
        return
    try:
        found = _read_named(path, held.descriptor) if held.pid == os.getpid() else _open_and_read(path)
    except OSError as error:
        raise _lost(held.what, f"{path} can no longer be read ({error.strerror})") from error
    if found != held.content:
        raise _lost(held.what, f"it has been taken by {_named(found) or 'an unknown process'}")


def _sign(descriptor: int, name: bytes) -> bytes:
    """Write into a mutex who has taken it; return what it contains then.

    On a full filesystem that may be the old content: whoever comes to remove something must be let in. Nobody else can
    write then either, so a change of that content tells just as much.
    """
    try:
        _write(descriptor, name)
        os.fsync(descriptor)  # From here on, reads come from the server.
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _read(descriptor)
    return name[:_LONGEST]


def _write(descriptor: int, content: bytes) -> None:
    """Overwrite the content in place, which works on a full filesystem too."""
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))


def _lost(what: str, how: str) -> LostMutexError:
    return LostMutexError(
        f"lost the mutex of {what}: {how}; nothing more was changed",
        hint=(
            "Was this host cut off from the NAS for longer than the NAS keeps locks? Unfinished work is left as it is, "
            "and the next run repairs it. Run again when nobody else is working there."
        ),
    )


def _open_and_read(path: str) -> bytes:
    """The content of a mutex. Not for its holder, whose POSIX lock ends when it closes any descriptor of the file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read_named(path: str, descriptor: int) -> bytes:
    """The same for its holder. If somebody removed the file, perhaps as a leftover, the next one gets another mutex."""
    if not os.path.samestat(os.fstat(descriptor), os.lstat(path)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return _read(descriptor)


def _read(descriptor: int) -> bytes:
    """The content of a mutex as the server has it, whatever this host may have cached (actimeo, nocto)."""
    if _LINUX:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return os.pread(descriptor, _LONGEST, 0)


def _open(path: str) -> int:
    """The file of a mutex, made if missing. Follows no symlink, and touches nothing that is not a mutex."""
    # Without O_NONBLOCK a device put there might block us.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    hint = "uvnas.cluster did not make it; find out who did, move it away and run again."
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise UvnasError(f"the mutex {path} is not a regular file", hint=hint) from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise UvnasError(f"the mutex {path} is not a regular file with a single name", hint=hint)
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
    """Who holds a mutex."""
    pid = _local_holder(descriptor)
    return _named(os.pread(descriptor, _LONGEST, 0), pid) or (
        f"pid {pid} on this host, for an unknown purpose" if pid else "an unknown process"
    )


def _named(content: bytes, pid: t.Optional[int] = None) -> str:
    """Who wrote their name into a mutex last; empty if ``pid``, which holds it now on this host, is another process."""
    try:
        holder = parse_json(content, "the mutex")
        name = f"host {holder['host']}, pid {holder['pid']}, since {holder['since']} ({holder['purpose']})"
    except (UvnasError, KeyError, TypeError):
        return ""
    return name if pid is None or (holder["host"], holder["pid"]) == (socket.gethostname(), pid) else ""


def _local_holder(descriptor: int) -> t.Optional[int]:
    """The process on this host that holds the lock; None if it is on another host, or in another container."""
    if not _LINUX:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _whence, _start, _length, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return None
    return pid if kind != fcntl.F_UNLCK and pid > 0 else None
