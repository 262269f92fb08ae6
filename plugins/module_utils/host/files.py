# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Few, careful file operations: what is written gets its name in one step. For removals see ``removal``."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import typing as t

from ..errors import UvnasError
from . import acl
from .data import parse_json

# What os.link() fails with where the filesystem has no hard links (or they are forbidden), or no more for this file.
NO_LINKS = frozenset((errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EMLINK))
FICLONE = 0x40049409  # ioctl_ficlone(2); the same on x86_64 and aarch64


def temporary_name(path: str) -> str:
    """A hidden name beside ``path`` that nobody else uses or can foresee, and no longer than a file name may be."""
    head, tail = os.path.split(path)
    return os.path.join(head, f".{tail[:100]}.uvnas-{os.urandom(8).hex()}.tmp")


_TEMPORARY = re.compile(r"\.(.+)\.uvnas-[0-9a-f]{16}\.tmp")


def is_temporary(name: str) -> bool:
    """Whether temporary_name() gave this name to something in its directory."""
    return _TEMPORARY.fullmatch(name) is not None


def real_name(name: str) -> str:
    """The name that temporary_name() started from, perhaps cut short; any other name unchanged."""
    found = _TEMPORARY.fullmatch(name)
    return found[1] if found else name


def is_same(one: str, other: str) -> bool:
    """Whether two paths lead to one file or directory, by device and inode. False if either is absent."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def names_in(directory: str) -> list[str]:
    """The names in ``directory`` that are not hidden, sorted; empty if it does not exist."""
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def directories_in(directory: str) -> list[str]:
    """The same for directories only: no files and no symlinks, wherever they lead."""
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in found if not name.startswith("."))


def read_link(path: str) -> t.Optional[str]:
    """Where the symlink ``path`` points; None if nothing is there. Raises UvnasError if it is not a symlink."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise UvnasError(
                f"{path} is not a symlink",
                hint="uvnas.cluster did not make it; move it away and run again.",
            ) from error
        raise


def read_bytes(path: str) -> t.Optional[bytes]:
    """The content of ``path``; None if it does not exist. Three system calls for an ordinary file.

    Anything else there is an error, so that no pipe makes us wait and no device feeds us endless data.
    """
    found = _read(path, lambda _descriptor: None)
    return None if found is None else found[0]


def read_with_status(path: str) -> t.Optional[tuple[bytes, os.stat_result]]:
    """The same with the status that the file had before it was read, at no further cost.

    So if somebody writes into it meanwhile, it has another one afterwards.
    """
    return _read(path, os.fstat)


_Before = t.TypeVar("_Before")


def _read(path: str, before: t.Callable[[int], _Before]) -> t.Optional[tuple[bytes, _Before]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        known = before(descriptor)
        size = 1 << 20
        chunks = [b""]
        with contextlib.suppress(BlockingIOError, IsADirectoryError):
            chunks = [os.read(descriptor, size)]
        # A short read is nearly always a file, and whatever it is, that was all of it.
        if len(chunks[0]) in (0, size) and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UvnasError(f"{path} is not a regular file", hint="Find out who put it there, and remove it.")
        while len(chunks[-1]) == size:
            chunks.append(os.read(descriptor, size))
        return b"".join(chunks), known
    finally:
        os.close(descriptor)


def read_json(path: str) -> t.Optional[dict[str, t.Any]]:
    """The JSON object in ``path``; None if there is no file. Raises UvnasError if it holds anything else."""
    content = read_bytes(path)
    return None if content is None else json_object(content, path)


def json_object(content: bytes, path: str) -> dict[str, t.Any]:
    """The JSON object in the content of the file ``path``. Raises UvnasError if it holds anything else."""
    data = parse_json(content, path)
    if not isinstance(data, dict):
        raise UvnasError(f"{path} does not hold a JSON object")
    return data


class Replacement:
    """A file that is being written, and the path that it will have."""

    def __init__(self, stream: t.IO[bytes], path: str) -> None:
        self.stream = stream
        # May be changed, on the same filesystem, if the name depends on what is written.
        self.path = path


@contextlib.contextmanager
def replacing(path: str, *, mode: int = 0o644) -> t.Iterator[Replacement]:
    """Write a file so that after a crash ``path`` has the old content or the new, never part of it.

    What the block writes to ``stream`` is synced and gets its path when the block ends; if the block raises, nothing
    has changed.
    """
    temporary = temporary_name(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            replacement = Replacement(stream, path)
            yield replacement
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.rename(temporary, replacement.path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # write() and fsync() know only a descriptor.
            error.filename = path
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(replacement.path))


def write(path: str, content: t.Union[str, bytes], *, mode: int = 0o644) -> None:
    """Write ``content`` to the file ``path``, in one step."""
    with replacing(path, mode=mode) as new:
        new.stream.write(content.encode() if isinstance(content, str) else content)


def write_json(path: str, data: t.Mapping[str, t.Any], *, mode: int = 0o644) -> None:
    write(path, json.dumps(data, indent=2, sort_keys=True) + "\n", mode=mode)


def copy(source: str, path: str) -> None:
    """Copy the file ``source`` to ``path``, readable by everybody, in one step."""
    with open(source, "rb") as original, replacing(path) as new:
        shutil.copyfileobj(original, new.stream, 1 << 20)


def sync_directory(path: str) -> None:
    """Make what was created, renamed or removed in directory ``path`` survive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE filesystems refuse to sync a directory; there it is up to the server.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def replace_symlink(target: str, path: str) -> None:
    """Make ``path`` a symlink to ``target`` in one step: others see the old one or the new one."""
    temporary = temporary_name(path)
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def make_private(path: str) -> None:
    """Make ``path`` a file that only this user can open, whatever its mode was. A symlink is an error."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def make_directory(path: str) -> None:
    """Make the directory ``path`` and missing parents: readable by everybody, writable by this user only.

    Whatever the umask, and whatever default ACL they inherit. Another process may make them at the same time: hosts
    may have one directory in common.
    """
    try:
        try:
            os.mkdir(path, 0o755)
        except FileNotFoundError:
            make_directory(os.path.dirname(path))
            os.mkdir(path, 0o755)
    except FileExistsError:
        return
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & 0o7000 | 0o755)
    acl.strip(path)
