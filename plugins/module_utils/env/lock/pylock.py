# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``pylock.toml`` (PEP 751), as a lock in requirements format."""

from __future__ import annotations

import typing as t

from ...errors import UvnasError


def from_pylock(data: t.Mapping[str, t.Any], *, what: str) -> str:
    """The requirements-format text of a ``pylock.toml`` (PEP 751), given as parsed TOML.

    Packages from an index become pins with all the hashes that the file has for them; an archive becomes a direct
    reference. Raises UvnasError for what cannot be hashed: directories and version control.
    """
    if str(data.get("lock-version", "")).split(".", maxsplit=1)[0] != "1":
        raise UvnasError(f"{what} is not a pylock.toml of version 1")
    lines = []
    for position, package in enumerate(_tables(data, "packages", what), 1):
        name = package.get("name")
        if not isinstance(name, str):
            raise UvnasError(f"{what}: package number {position} has no name")
        marker = f" ; {package['marker']}" if package.get("marker") else ""
        kinds = [kind for kind in ("directory", "vcs") if kind in package]
        if kinds:
            raise UvnasError(
                f"{what}: package {name} comes from a {kinds[0]}, which has no hash",
                hint="Publish it to an index, or lock an archive of it.",
            )
        files = [*_tables(package, "wheels", what), *_table(package, "sdist", what)]
        reference = f"=={package.get('version')}"
        if "archive" in package:
            files = _table(package, "archive", what)
            reference = f" @ {files[0].get('url')}"
        hashes = sorted(
            f"{algorithm}:{value}"
            for file in files
            for each in _table(file, "hashes", what)
            for algorithm, value in each.items()
        )
        if not hashes or "None" in reference:
            raise UvnasError(f"{what}: package {name} has no version or no hash")
        lines.append(f"{name}{reference}{marker} \\\n" + " \\\n".join(f"    --hash={value}" for value in hashes))
    return "\n".join(lines) + "\n"


def _tables(data: t.Mapping[str, t.Any], key: str, what: str) -> list[dict[str, t.Any]]:
    """The tables in a list under ``key``; none where it is missing. Raises UvnasError where it is something else."""
    found = data.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UvnasError(f"{what}: {key} is no list of tables")
    return found


def _table(data: t.Mapping[str, t.Any], key: str, what: str) -> list[dict[str, t.Any]]:
    """The table under ``key``; none where it is missing. Raises UvnasError where it is something else."""
    return _tables({key: [data[key]]}, key, what) if key in data else []
