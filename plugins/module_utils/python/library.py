# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources in an interpreter's standard library that get bytecode: all of them, as with ``compileall``."""

from __future__ import annotations

import os
import stat

_CACHE = "__pycache__"


def sources(library: str) -> list[str]:
    """The Python sources in the directory ``library``, relative to it; packages that came with it included.

    Left out are those in directories whose bytecode is not ours to replace: root's Python wrote it, whom no mode stops,
    or an archive has a link in its place.
    """
    found: list[str] = []
    pending = [""]
    while pending:
        inside = pending.pop()
        here, ours = [], True
        with os.scandir(os.path.join(library, inside)) as entries:
            for entry in entries:
                if entry.name == _CACHE:
                    ours = _is_ours(entry)
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(os.path.join(inside, entry.name))
                elif entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
                    here.append(os.path.join(inside, entry.name))
        if ours:
            found += here
    return found


def _is_ours(entry: os.DirEntry[str]) -> bool:
    status = entry.stat(follow_symlinks=False)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
