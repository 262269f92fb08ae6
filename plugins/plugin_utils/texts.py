# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts on the controller that people wrote, read as text or TOML. Errors name the file."""

from __future__ import annotations

import errno
import os
import re
import typing as t

from ..module_utils.errors import SpecError
from ..module_utils.host import files


def read(path: str) -> str:
    try:
        content = files.read_bytes(path)  # It waits for no pipe that somebody put there.
        if content is None:
            raise SpecError(f"cannot read {path}: {os.strerror(errno.ENOENT)}")
        return re.sub("\r\n?", "\n", content.decode())
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"cannot read {path}: it is not UTF-8 text") from error
    except ValueError as error:
        raise SpecError(f"cannot read {path!r}: no file has such a name") from error


def toml(text: str, path: str) -> dict[str, t.Any]:
    import tomllib  # takes its time, and most sites never need it

    try:
        return tomllib.loads(text)
    except ValueError as error:  # Also of a number or a date that is none in Python.
        raise SpecError(f"{path} is not valid TOML: {error}") from error
    except RecursionError:
        raise SpecError(f"{path} is not valid TOML: it is nested too deeply") from None
