# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Few, careful file operations: atomic symlinks, durable writes, removal out of sight, and the lock of a share."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import shutil
import socket
import time
import typing as t

from ..errors import ShareBusyError, UvnasError

# One process holds at most one lock on a share and works in one thread, so its pid makes a temporary name unique on
# this host; the host name makes it unique among the clients of a NAS.
_UNIQUE = f"{socket.gethostname()}-{{pid}}"


def temporary_name(path: str) -> str:
    """A name beside ``path``, hidden, that no other process on any host uses. At most as long as a file name may be."""
    head, tail = os.path.split(path)
    return os.path.join(head, f".{tail[:100]}.{_UNIQUE[:80].format(pid=os.getpid())}.tmp")


def is_mine(path: str) -> bool:
    """Whether only this user, or root, can have put there what is in the directory ``path``. False if it is absent."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def is_temporary(name: str) -> bool:
    """Whether temporary_name() gave this name to something in its directory."""
    return name.startswith(".") and name.endswith(".tmp")


def read_link(path: str) -> t.Optional[str]:
    """Where the symlink ``path`` points; None where there is nothing. Raises UvnasError where it is no symlink."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise UvnasError(
                f"{path} is not a symlink",
                hint="uvnas.cluster made no such thing there; move it away and run again.",
            ) from error
        raise


def read_bytes(path: str) -> t.Optional[bytes]:
    """The content of ``path``; None where there is none. Three system calls for an ordinary file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        size = 1 << 20
        chunks = [os.read(descriptor, size)]
        while len(chunks[-1]) == size:
            chunks.append(os.read(descriptor, size))
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def read_json(path: str) -> t.Optional[dict[str, t.Any]]:
    """The JSON object in ``path``; None where there is no file. Raises UvnasError where it holds something else."""
    content = read_bytes(path)
    if content is None:
        return None
    try:
        data = json.loads(content)
    except ValueError as error:
        raise UvnasError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise UvnasError(f"{path} does not hold a JSON object")
    return data


def write_durable(path: str, content: t.Union[str, bytes], *, mode: int = 0o644) -> None:
    """Write ``path`` so that after a crash it has the old content or the new, never part of it."""
    temporary = temporary_name(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def write_json(path: str, data: t.Mapping[str, t.Any], *, mode: int = 0o644) -> None:
    write_durable(path, json.dumps(data, indent=2, sort_keys=True) + "\n", mode=mode)


def sync_directory(path: str) -> None:
    """Make what was created, renamed or removed in directory ``path`` survive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE filesystems refuse to sync a directory; there the server decides.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def replace_symlink(target: str, path: str) -> None:
    """Make ``path`` a symlink to ``target`` in one step: whoever looks sees the old one or the new one."""
    temporary = temporary_name(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def remove_tree(path: str) -> None:
    """Remove the directory ``path``: out of its name in one step, then bit by bit. Absent is fine.

    What is still being written under the old name by a process that is about to die fails there, and does not
    come back to life.
    """
    trash = temporary_name(path)
    try:
        os.rename(path, trash)
    except FileNotFoundError:
        return
    shutil.rmtree(trash)


@contextlib.contextmanager
def share_lock(path: str, *, timeout: float, purpose: str, what: str = "") -> t.Iterator[None]:
    """Hold the lock of a share for a block of code; wait for it at most ``timeout`` seconds.

    ``what`` is locked, for messages: by default the directory that the lock is in.

    A POSIX record lock: released by the kernel when the process or its host dies, and agreed on between an NFS
    client and the NFS server itself. It belongs to a process, so it must not be taken twice in one.

    Raises ShareBusyError, naming the host, the process and the time since it holds the lock.
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
    """Who wrote their name into the lock file last."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"host {holder['host']}, pid {holder['pid']}, since {holder['since']} ({holder['purpose']})"
    except (ValueError, KeyError, TypeError):
        return "its holder has not said who it is"
