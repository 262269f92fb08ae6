# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutual exclusion: one process at a time, on any host, works on a share, or on whatever else has a mutex.

A mutex can be lost without a word: an NFS server forgets the locks of a client that it has not heard of for longer than
its lease (90 s by default on Linux), as soon as somebody else wants one, and when it loses its own records. So whoever
takes a mutex writes a word into it that nobody else knows, and whatever publishes, seals or removes something looks
first whether that is still there: check(). That costs two or three round trips, and there are some things that are
still possible:

* Between the look and what is done then there is a moment. Whoever is stopped just there and goes on after the lease
  may do this one thing; from NFS 4.1 on the server takes nothing of what had been sent before, as the session is gone
  with the lease. Nothing stops for that long and goes on by default: the watchdog gives up what is not answered for
  30 s, and the guard kills it.
* A lock that the server has forgotten and that nobody has taken yet looks like one that is held, unless the client
  says that it is lost (an error when its holder reads). So who has others at work looks now and then: whoever takes it
  is seen within seconds.
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

_LONGEST = 4096  # What is read of a mutex, in bytes.
_NOBODY = b"\n"  # What is in one that nobody has. Not nothing: it keeps its room.
_LINUX = sys.platform.startswith("linux")  # A controller may be something else.
_FLOCK = "hhqqi"  # struct flock of fcntl(2), on all Linux that has 64 bits.


class _Held(t.NamedTuple):
    """A mutex that was taken."""

    pid: int
    descriptor: int
    # With the word, which nobody else knows.
    content: bytes
    what: str


# By path: what this process has taken, or had been taken when it was forked.
_held: dict[str, _Held] = {}


@contextlib.contextmanager
def hold(path: str, *, timeout: float, purpose: str, what: str = "") -> t.Iterator[None]:
    """Hold the mutex ``path`` for a block of code; wait for it at most ``timeout`` seconds.

    ``what`` it is of, for messages: by default the directory that it is in. In the block, here and in processes that
    are forked there, check() tells whether it is still held.

    It is a POSIX record lock: released by the kernel when the process or its host dies, and agreed on between an NFS
    client and the NFS server itself. It belongs to a process, so it must not be taken twice in one. Nobody else may
    even read the file: a read lock in it would stop everybody for as long as its holder likes.

    Raises ShareBusyError, naming the host, the process and the time since it holds the mutex; UvnasError where the path
    is something else than a mutex.
    """
    descriptor = _open(path)
    where = what or os.path.dirname(path)
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
                raise ShareBusyError(
                    f"another process works on {where}: {_holder(descriptor)}; waited {timeout:g} s",
                    hint="Run again when it is done, or allow a longer wait (uvnas_busy_timeout, seconds).",
                )
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
        since = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        word = os.urandom(16).hex()
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "purpose": purpose, "word": word}
        _held[path] = _Held(os.getpid(), descriptor, _sign(descriptor, json.dumps(holder).encode()), where)
        try:
            yield
        finally:
            # Whoever reads a name there must be able to believe it. Somebody else's stays.
            with contextlib.suppress(OSError, UvnasError):
                check(path)
                _write(descriptor, _NOBODY)
            del _held[path]
    finally:
        os.close(descriptor)


def check(path: str) -> None:
    """See that the mutex ``path`` is still held by who took it: this process, or one that it was forked in.

    To be called before anything is put in force, sealed, replaced or removed. Raises LostMutexError. Where nobody took
    it here, there is nothing to see: then the caller needs none.
    """
    held = _held.get(path)
    if held is None:
        return
    try:
        found = _read_named(path, held.descriptor) if held.pid == os.getpid() else _open_and_read(path)
    except OSError as error:
        raise _lost(held.what, f"{path} cannot be read any more ({error.strerror})") from error
    if found != held.content:
        raise _lost(held.what, f"it has been taken by {_said(found) or 'a process that has not said who it is'}")


def _sign(descriptor: int, name: bytes) -> bytes:
    """Write into a mutex who has taken it, for everybody to see; what is in it then.

    Where the filesystem is full, that may be what was in it before: whoever comes to remove something must be let in.
    Nobody else can write then either, so a change of that tells as much.
    """
    try:
        _write(descriptor, name)
        os.fsync(descriptor)  # What is read from now on comes from the server.
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _read(descriptor)
    return name[:_LONGEST]


def _write(descriptor: int, content: bytes) -> None:
    """Over what is there, for which there is room then on a filesystem that is full."""
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))


def _lost(what: str, how: str) -> LostMutexError:
    return LostMutexError(
        f"lost the mutex of {what}: {how}; nothing more was changed",
        hint=(
            "Was this host cut off from the NAS for longer than the NAS keeps locks? What was begun is left as it is, "
            "and the next run heals it. Run again when nobody else works there."
        ),
    )


def _open_and_read(path: str) -> bytes:
    """What is in a mutex. Not for who took it: a POSIX lock ends when its process closes any descriptor of the file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read_named(path: str, descriptor: int) -> bytes:
    """The same for who took it. Whoever removes the file, as a leftover perhaps, gives the next one another mutex."""
    if not os.path.samestat(os.fstat(descriptor), os.lstat(path)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return _read(descriptor)


def _read(descriptor: int) -> bytes:
    """What is in a mutex, from the server: not what this host remembers of it, however long it may (actimeo, nocto)."""
    if _LINUX:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return os.pread(descriptor, _LONGEST, 0)


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
    """Who holds a mutex."""
    pid = _local_holder(descriptor)
    return _said(os.pread(descriptor, _LONGEST, 0), pid) or (
        f"pid {pid} on this host, which has not said what it does" if pid else "its holder has not said who it is"
    )


def _said(content: bytes, pid: t.Optional[int] = None) -> str:
    """Who wrote their name into a mutex last; nothing where that was not ``pid``, on this host, which holds it now."""
    try:
        holder = parse_json(content, "the mutex")
        name = f"host {holder['host']}, pid {holder['pid']}, since {holder['since']} ({holder['purpose']})"
    except (UvnasError, KeyError, TypeError):
        return ""
    return name if pid is None or (holder["host"], holder["pid"]) == (socket.gethostname(), pid) else ""


def _local_holder(descriptor: int) -> t.Optional[int]:
    """The process on this host that has the lock; None where it is on another one, or in another container."""
    if not _LINUX:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _whence, _start, _length, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return None
    return pid if kind != fcntl.F_UNLCK and pid > 0 else None
