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
    for package in data.get("packages", []):
        name = package["name"]
        marker = f" ; {package['marker']}" if package.get("marker") else ""
        kinds = [kind for kind in ("directory", "vcs") if kind in package]
        if kinds:
            raise UvnasError(
                f"{what}: package {name} comes from a {kinds[0]}, which has no hash",
                hint="Publish it to an index, or lock an archive of it.",
            )
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        reference = f"=={package.get('version')}"
        if "archive" in package:
            files, reference = [package["archive"]], f" @ {package['archive'].get('url')}"
        hashes = sorted(f"{algorithm}:{value}" for file in files for algorithm, value in file.get("hashes", {}).items())
        if not hashes or "None" in reference:
            raise UvnasError(f"{what}: package {name} has no version or no hash")
        lines.append(f"{name}{reference}{marker} \\\n" + " \\\n".join(f"    --hash={value}" for value in hashes))
    return "\n".join(lines) + "\n"
