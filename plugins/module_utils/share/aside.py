# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put aside before it is removed: hidden beside itself, under a name that says what it was.

Nobody finds it there who has not found it before, and it is back in one step if somebody has. A sweep leaves it alone.
The rename is within its directory, as nobody may move a sealed one to another. Hold the share's mutex.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ..host import files

_ASIDE = re.compile(r"\.(.+)\.uvnas-aside")


def aside(path: str) -> str:
    """The path of something while it is aside."""
    head, tail = os.path.split(path)
    return os.path.join(head, f".{tail}.uvnas-aside")


def names_in(directory: str) -> list[str]:
    """The names of what is aside in a directory, as they were, sorted. It need not exist."""
    try:
        found = [_ASIDE.fullmatch(name) for name in os.listdir(directory)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(match[1] for match in found if match)


def put(path: str) -> bool:
    """Put something aside, on the disk too; whether it was there. Raises OSError."""
    return _rename(path, aside(path))


def put_back(path: str) -> bool:
    """Put something back; whether it is where it was. If there is another one by now, it is left aside.

    Raises OSError.
    """
    return not os.path.lexists(path) and _rename(aside(path), path)


def release(path: str) -> t.Optional[str]:
    """Give what is aside the name of a leftover, which whoever comes next removes; that path, or None without it.

    From here on it is not put back: some of it may be gone. Raises OSError.
    """
    trash = files.temporary_name(path)
    return trash if _rename(aside(path), trash) else None


def _rename(source: str, target: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        os.rename(source, target)
        files.sync_directory(os.path.dirname(target))
        return True
    return False
