# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes and inodes of environments together on a share, against their sum one by one."""

from __future__ import annotations

import os
from pathlib import Path

import scale
from arena import SERIES, Arena
from table import Table


def measure(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    environments = scale.overlapping(sizes.environments, SERIES)
    arena.prepare()
    arena.unpublish()
    arena.converge(environments)
    single = [usage(arena.share / "generations" / environment["name"]) for environment in environments]
    together = usage(arena.share / "generations")
    with_cache = usage(arena.share / "generations", arena.share / "cache")
    table.section(f"Room for {len(environments)} environments on the share, each inode counted once")
    for index, (unit, per) in enumerate((("MB", 1_000_000), ("inodes", 1))):
        total = sum(each[index] for each in single) / per
        table.add(f"{unit}: sum of single environments", total, unit)
        table.add(f"{unit}: generations together", together[index] / per, unit, base=total, of="sum")
        table.add(f"{unit}: generations and cache", with_cache[index] / per, unit, base=total, of="sum")


def usage(*roots: Path) -> tuple[int, int]:
    """Bytes and inodes below the roots as du counts them: hard links count once."""
    seen = set()
    size = 0
    stack = [os.fspath(root) for root in roots]
    while stack:
        path = stack.pop()
        status = os.lstat(path)
        key = (status.st_dev, status.st_ino)
        if key in seen:
            continue
        seen.add(key)
        size += status.st_blocks * 512
        if os.path.isdir(path) and not os.path.islink(path):
            stack += [entry.path for entry in os.scandir(path)]
    return size, len(seen)
