# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs work as an owner who is not root: root ignores modes, so tests of modes prove nothing as root."""

from __future__ import annotations

import os
import pickle
import traceback
import typing as t
from pathlib import Path

# A uid that no machine uses. It has no name.
UID = 12345 if os.geteuid() == 0 else os.geteuid()

_Found = t.TypeVar("_Found")


def give(directory: Path) -> Path:
    """Give ``directory`` and all in it to that owner, and let them reach it."""
    if os.geteuid() == 0:
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, UID, UID, follow_symlinks=False)
        for path in directory.parents:
            if path.owner() == "root" and path.stat().st_mode & 0o011 != 0o011:  # pytest makes it for this user only.
                path.chmod(path.stat().st_mode | 0o011)
    return directory


def done(work: t.Callable[[], _Found]) -> _Found:
    """Run ``work`` in a process of that owner; return or raise what it does."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(UID, UID, UID)
                os.setresuid(UID, UID, UID)
            answer: tuple[str, t.Any] = ("returned", work())
        except BaseException as error:  # noqa: BLE001
            answer = ("raised", error)
        try:
            pickled = pickle.dumps(answer)
        except Exception:  # noqa: BLE001
            pickled = pickle.dumps(("raised", RuntimeError(traceback.format_exc())))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(pickled)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        how, what = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    if how == "raised":
        raise what
    found: _Found = what
    return found
