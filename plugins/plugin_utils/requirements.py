# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of requirements and constraints, as pip and uv know them, made texts that stand for themselves."""

from __future__ import annotations

import os
import re

from ..module_utils.env.spec import significant_lines
from ..module_utils.errors import SpecError
from ..module_utils.host.secrets import has_credentials
from .texts import read

# What may stand in a requirements file besides requirements, with what it means here.
_INCLUDE = re.compile(r"(-r|--requirement)[ =]?\s*(?P<file>\S+)\Z")
_CONSTRAIN = re.compile(r"(-c|--constraint)[ =]?\s*(?P<file>\S+)\Z")


def with_includes(path: str, constraints: list[tuple[str, str]], including: tuple[str, ...] = ()) -> str:
    """A requirements file with what it includes in place; what it constrains by is added to ``constraints``."""
    path = os.path.normpath(path)  # So that a circle through "../" is seen as one.
    if path in including:
        raise SpecError(f"{path} includes itself")
    lines = []
    for line in significant_lines(read(path)):
        include, constrain = _INCLUDE.match(line), _CONSTRAIN.match(line)
        if include:
            nested = os.path.join(os.path.dirname(path), include.group("file"))
            lines.append(with_includes(nested, constraints, (*including, path)))
        elif constrain:
            nested = os.path.join(os.path.dirname(path), constrain.group("file"))
            constraints.append((os.path.basename(nested), plain(nested)))
        else:
            lines.append(check_line(line, path))
    return "\n".join(lines) + "\n"


def plain(path: str) -> str:
    """A file of requirements and their hashes, and nothing else."""
    text = re.sub(r"[ \t]*\\\n[ \t]*", " ", read(path))  # One line each.
    return "\n".join(check_line(line, path) for line in significant_lines(text)) + "\n"


def check_line(line: str, path: str) -> str:
    """``line`` of the file ``path``, if it is a requirement. Raises SpecError."""
    if line.startswith("-"):
        raise SpecError(f"{path}: {line.split(maxsplit=1)[0]} cannot be used here; indexes go to uvnas_index")
    if has_credentials(line):
        raise SpecError(f"{path}: a requirement has credentials in its URL; use a netrc file or an index with a name")
    return line
