# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects on the controller: their pyproject.toml and uv.lock, and those of a workspace's members."""

from __future__ import annotations

import glob
import os
import typing as t

from ..module_utils.errors import SpecError
from .requirements import check_line
from .texts import read, toml


def project_files(root: str) -> tuple[tuple[str, str], ...]:
    """pyproject.toml and uv.lock of a project, and pyproject.toml of the members of its workspace."""
    if not os.path.isdir(root):
        raise SpecError(f"{root} is no directory with a project")
    texts = [(name, read(os.path.join(root, name))) for name in ("pyproject.toml", "uv.lock")]
    path = os.path.join(root, "pyproject.toml")
    workspace = _workspace(toml(texts[0][1], path), path)
    for member in _members(root, workspace.get("members", []), workspace.get("exclude", [])):
        texts.append((os.path.join(member, "pyproject.toml"), read(os.path.join(root, member, "pyproject.toml"))))
    return tuple(texts)


def build_constraints(text: str, path: str) -> list[tuple[str, str]]:
    """What the pyproject.toml of a project says of it with uv's ``build-constraint-dependencies``. Raises SpecError."""
    tool = toml(text, path).get("tool")
    settings = tool.get("uv") if isinstance(tool, dict) else None
    given = settings.get("build-constraint-dependencies", []) if isinstance(settings, dict) else []
    lines = []
    for item in _list(given):
        parts = [item.get("requirement"), *_list(item.get("hashes", []))] if isinstance(item, dict) else [item]
        words = [part for part in parts if isinstance(part, str) and len(part.splitlines()) == 1]
        if len(words) != len(parts):
            raise SpecError(f"{path}: build-constraint-dependencies has something in it that is no requirement")
        lines.append(check_line(" ".join([words[0], *(f"--hash={each}" for each in words[1:])]), path))
    return [("pyproject.toml.in", "".join(f"{line}\n" for line in lines))] if lines else []


def _list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else [value]


def _workspace(project: dict[str, t.Any], path: str) -> dict[str, t.Any]:
    """What a pyproject.toml says of a workspace of uv: ``members`` and ``exclude``. Raises SpecError."""
    table = project
    for key in ("tool", "uv", "workspace"):
        table = table.get(key, {})
        if not isinstance(table, dict):
            raise SpecError(f"{path}: {key} is no table")
    for key in ("members", "exclude"):
        if not isinstance(table.get(key, []), list) or not all(isinstance(item, str) for item in table.get(key, [])):
            raise SpecError(f"{path}: {key} of its workspace is no list of texts")
        for pattern in table.get(key, []):
            if os.path.isabs(pattern) or ".." in pattern.split("/"):
                raise SpecError(f"{path}: {key} of its workspace has {pattern!r}, which leads out of the project")
    return table


def _members(root: str, patterns: t.Iterable[str], excluded: t.Iterable[str]) -> list[str]:
    """The directories of a workspace's members, relative to ``root``."""

    def found(some: t.Iterable[str]) -> set[str]:
        return {os.path.normpath(match) for pattern in some for match in glob.glob(pattern, root_dir=root)}

    members = found(patterns) - found(excluded) - {"."}
    return sorted(member for member in members if os.path.exists(os.path.join(root, member, "pyproject.toml")))
