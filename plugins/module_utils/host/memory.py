# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files that a host remembers something by from one run to the next: JSON objects, in one directory.

Whatever is wrong there, nothing is: what cannot be read is not remembered, and what cannot be written will not be. What
somebody else can have written is neither read nor touched. Where nothing can be written, nothing is read either: nobody
could take back what was written there before.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import typing as t

from ..errors import UvnasError
from . import files, sealing, trust

_ROOTS = "/var/lib/uvnas"
_SUFFIX = ".json"
# What a directory or a file may be called here: no way out.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Bytes. What is larger is not ours.
_LARGEST = 1 << 26


def default_directory() -> t.Optional[str]:
    """Where this user keeps it on this host; None if nowhere.

    A home may be on several hosts, so that each has a directory of its own there.
    """
    if os.geteuid() == 0:
        return _ROOTS
    host = os.uname().nodename
    home = os.path.expanduser("~")
    state = os.environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):  # Then it does not count, says the XDG Base Directory Specification.
        state = os.path.join(home, ".local", "state")
    return os.path.join(state, "uvnas", host) if state.startswith("/") and is_name(host) else None


def is_name(text: str) -> bool:
    """Whether something can be remembered by this name."""
    return _NAME.fullmatch(text) is not None


def read_all(directory: str) -> dict[str, dict[str, t.Any]]:
    """All that is remembered, by name."""
    found = {}
    with contextlib.suppress(OSError), _opened(directory) as here:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=here):
            return {}
        for entry in sorted(os.listdir(here)):
            name = entry[: -len(_SUFFIX)]
            if entry.endswith(_SUFFIX) and is_name(name):
                with contextlib.suppress(OSError, UvnasError):
                    found[name] = files.json_object(_read(here, entry), entry)
    return found


def write(directory: str, name: str, data: t.Mapping[str, t.Any]) -> None:
    """Remember ``data`` instead of what there was by this ``name``, in one step; or nothing, if that cannot be done."""
    if not is_name(name):
        return
    text = json.dumps(data, indent=1, sort_keys=True) + "\n"
    try:
        _check_way(directory)
        files.make_directory(os.path.dirname(os.path.normpath(directory)))
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        with _opened(directory) as here:
            for left in filter(files.is_temporary, os.listdir(here)):  # By a run that was killed.
                os.unlink(left, dir_fd=here)
            _write(here, f"{name}{_SUFFIX}", text)
    except OSError:
        forget(directory, name)  # A full disk has room for that. What was true before may not be any more.


def forget(directory: str, name: str) -> None:
    """Remember nothing by this ``name`` any more."""
    if is_name(name):
        with contextlib.suppress(OSError), _opened(directory) as here:
            os.unlink(f"{name}{_SUFFIX}", dir_fd=here)


@contextlib.contextmanager
def alone(directory: str) -> t.Iterator[None]:
    """Have other runs wait that would change what is remembered there, if anything is."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            fcntl.flock(stack.enter_context(_opened(directory)), fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(directory: str) -> t.Iterator[int]:
    """A descriptor of the directory, by which to reach what is in it. Raises OSError if others could write there."""
    _check_way(directory)
    # With a slash at its end, a symlink would be followed.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open(os.path.normpath(directory), flags)
    try:
        _check(os.fstat(here))
        yield here
    finally:
        os.close(here)


def _check_way(directory: str) -> None:
    """Raise OSError if somebody else could lead the way to ``directory`` elsewhere, to what they have prepared."""
    try:
        trust.check_way(directory, os.geteuid())
    except UvnasError as error:
        raise PermissionError(str(error)) from error


def _check(status: os.stat_result) -> None:
    if status.st_uid != os.geteuid() or sealing.is_open(status):
        raise PermissionError("others than this user can write there")


def _read(here: int, name: str) -> bytes:
    # Opening a pipe would wait for somebody to write.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=here), "rb") as file:
        status = os.fstat(file.fileno())
        _check(status)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            raise OSError(f"{name} is not a small file")
        return file.read(_LARGEST)


def _write(here: int, name: str, text: str) -> None:
    # Not synced: what a power cut takes is what will be found out again.
    if len(text) > _LARGEST:
        raise OSError(f"{name} is too large to be read again")
    temporary = files.temporary_name(name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600, dir_fd=here), "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=here)
        raise
