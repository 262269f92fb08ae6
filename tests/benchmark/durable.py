# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of syncing to disk: a build, beside the same one with a syncfs() that does nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
from pathlib import Path

import scale
from arena import SERIES, Arena, remove
from table import Table

_NOTHING = "int syncfs(int descriptor) { (void) descriptor; return 0; }\n"


def measure(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    environments = [{"name": "durable", "python": SERIES, "requirements": ["numpy", "pandas"]}]
    arena.converge(environments)
    lazy = str(_library(arena.directory / "nosync.so"))
    for cache, repeats in (("warm", sizes.repeats), ("cold", max(1, sizes.repeats // 2))):
        without: list[float] = []
        ours: list[float] = []
        for _turn in range(repeats):
            for found, preload in ((without, lazy), (ours, "")):
                arena.unpublish()
                if cache == "cold":
                    for entry in (arena.share / "cache").iterdir():
                        remove(entry)
                os.sync()  # So that neither pays for what the other left unwritten.
                arena.settings["LD_PRELOAD"] = preload
                found.append(arena.converge(environments).module("uv_env").seconds)
        arena.settings.pop("LD_PRELOAD")
        table.section(f"Build of one environment with numpy and pandas, {cache} cache: what syncing costs")
        base = table.add("syncfs() does nothing: module uv_env", without)
        table.add("ours: module uv_env", ours, base=base, of="without")
        table.add("difference of the medians", statistics.median(ours) - base)


def _library(path: Path) -> Path:
    """A library for LD_PRELOAD with a syncfs() that does nothing."""
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, "-x", "c", "-"], input=_NOTHING, text=True, check=True)
    return path
