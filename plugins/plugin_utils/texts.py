# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people wrote on the controller, read as text or TOML. Errors name the file."""

from __future__ import annotations

import codecs
import errno
import os
import re
import typing as t

from ..module_utils.errors import SpecError
from ..module_utils.host import files

# Byte order marks of editors and shells on Windows; pip and uv read them, too. UTF-32-LE's begins with UTF-16-LE's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32-LE"),
    (codecs.BOM_UTF32_BE, "UTF-32-BE"),
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16-LE"),
    (codecs.BOM_UTF16_BE, "UTF-16-BE"),
    (b"", "UTF-8"),
)


def read(path: str) -> str:
    """The text of a file, without a byte order mark, and with one kind of line ends. Raises SpecError."""
    try:
        content = files.read_bytes(path)  # Does not wait on a pipe that somebody put there.
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise SpecError(f"cannot read {path!r}: no file can have such a name") from error
    if content is None:
        raise SpecError(f"cannot read {path}: {os.strerror(errno.ENOENT)}")
    mark, encoding = next(known for known in _MARKS if content.startswith(known[0]))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        where = f" (line {line} has the byte 0x{error.object[error.start]:02x})" if encoding == "UTF-8" else ""
        raise SpecError(f"cannot read {path}: it is not {encoding} text{where}; save it as UTF-8") from error
    if "\0" in text:
        what = "it is not text, or is UTF-16 without a byte order mark"
        raise SpecError(f"cannot read {path}: {what}; save it as UTF-8")
    return re.sub("\r\n?", "\n", text)


def toml(text: str, path: str) -> dict[str, t.Any]:
    import tomllib  # takes its time, and most sites never need it

    try:
        return tomllib.loads(text)
    except ValueError as error:  # Also for numbers and dates that Python does not have.
        raise SpecError(f"{path} is not valid TOML: {error}") from error
    except RecursionError:
        raise SpecError(f"{path} is not valid TOML: it is nested too deeply") from None
