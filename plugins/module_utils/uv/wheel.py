# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata of wheels where they are unpacked or installed: ``<name>-<version>.dist-info`` (PEP 376, 427)."""

from __future__ import annotations

import contextlib
import io
import os
import re
import typing as t

from ..errors import UvnasError
from ..host import files

_ENDING = ".dist-info"


def normalize(name: str) -> str:
    """A package's normalized name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata_directories(directory: str) -> dict[str, str]:
    """The metadata directories in ``directory``, such as site-packages, if it exists: path by normalized name."""
    with contextlib.suppress(FileNotFoundError):
        return {name: os.path.join(directory, entry) for name, entry in _metadata(os.listdir(directory)).items()}
    return {}


def installed_packages(names: t.Iterable[str]) -> dict[str, str]:
    """Version by package name, from the metadata directories among ``names``, the names in site-packages."""
    found = _metadata(names)
    return {name: entry[: -len(_ENDING)].rpartition("-")[2] for name, entry in found.items()}


def _metadata(names: t.Iterable[str]) -> dict[str, str]:
    """The metadata directories among ``names``, by the package's normalized name."""
    found = {}
    for entry in sorted(names):
        name, dash, version = entry[: -len(_ENDING)].rpartition("-")
        if entry.endswith(_ENDING) and name and dash and version:
            found[normalize(name)] = entry
    return dict(sorted(found.items()))


def read_record(info: str) -> list[tuple[str, str]]:
    """The files of a package with their hashes (empty: none), as the RECORD in its metadata directory has them.

    Paths are relative to the directory that the metadata directory is in. Raises UvnasError, OSError, csv.Error.
    """
    path = os.path.join(info, "RECORD")
    content = files.read_bytes(path)
    if content is None:
        raise UvnasError(f"{path} is missing")
    return parse_record(content)


def parse_record(content: bytes) -> list[tuple[str, str]]:
    """The same from the content of a RECORD. Raises csv.Error."""
    import csv  # Not at the top: a no-op, which only compares names, need not wait for it.

    lines = io.StringIO(content.decode(errors="replace"), newline="")
    return [(line[0], line[1] if len(line) > 1 else "") for line in csv.reader(lines) if line]


def platform_tags(text: str) -> list[str]:
    """The platform tags of a wheel, such as ``manylinux_2_17_x86_64``, in ``text``, its file WHEEL."""
    tags = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Tag:")]
    # A platform tag contains no dash, and may be several joined by dots.
    return [name for tag in tags for name in tag.rpartition("-")[2].split(".")]


def read_wheel(info: str) -> t.Optional[str]:
    """The file WHEEL in a metadata directory; None if there is none. Raises UvnasError, OSError."""
    content = files.read_bytes(os.path.join(info, "WHEEL"))
    return None if content is None else content.decode(errors="replace")
