# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small projects, locked by a real uv from a small index."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import uv as uv_package
from ansible_collections.uvnas.cluster.tests.support.wheels import write_index, write_small_wheel


def write_packages(directory: Path) -> str:
    """alpha 1.0 and 2.0, which need beta; beta 1.0, 2.0 and 3.0rc1; gamma; delta: the URL of an index of them."""
    links = directory / "links"
    for version in ("1.0", "2.0"):
        write_small_wheel(links, "alpha", version, ["beta"])
    for version in ("1.0", "2.0", "3.0rc1"):
        write_small_wheel(links, "beta", version)
    for name in ("gamma", "delta", "pip"):
        write_small_wheel(links, name, "1.0")
    return write_index(directory / "simple", links)


def write_project(directory: Path, text: str, *, name: str = "ours", **more: str) -> None:
    """A pyproject.toml of ``[project]`` with ``text`` after its name; ``more`` are further lines of that table."""
    lines = {"version": '"0.1"', "requires_python": '">=3.9"', "dependencies": '["alpha"]', **more}
    table = "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in lines.items() if value)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n{table}{text}', encoding="utf-8")


def lock_project(directory: Path, index: str, **variables: str) -> str:
    """Lock a project with uv from ``index``, as its author would; return the lock."""
    subprocess.run(
        [uv_package.find_uv_bin(), "lock", "--quiet", "--python", sys.executable],
        cwd=directory,
        env={**os.environ, "UV_DEFAULT_INDEX": index, "UV_CACHE_DIR": str(directory.parent / "cache"), **variables},
        check=True,
    )
    return (directory / "uv.lock").read_text(encoding="utf-8")


def edit(path: Path, pattern: str, replacement: str, count: int = 0) -> None:
    """Replace ``pattern`` in a file; it must occur."""
    text, found = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=count)
    assert found, pattern
    path.write_text(text, encoding="utf-8")
