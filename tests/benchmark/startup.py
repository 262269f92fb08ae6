# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of marking a Python with its generation, and of pinning it to that, at its start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import scale
from arena import ROOT, SERIES, Arena, timed
from table import Table

STARTS = 100
PTH = "zzz_uvnas_pin.pth"
# What a .pth with neither mark nor pin costs.
EMPTY = "import sys\n"


def measure(arena: Arena, _sizes: scale.Scale, table: Table) -> None:
    name = "start"
    arena.converge([{"name": name, "python": SERIES, "requirements": ["six"]}])
    link = arena.share / "envs" / name
    generation = link.resolve()
    pth = generation / "lib" / f"python{SERIES}" / "site-packages" / PTH
    aside, empty = arena.directory / PTH, arena.directory / "empty.pth"
    empty.write_text(EMPTY, encoding="utf-8")
    without: list[float] = []
    idle: list[float] = []
    activated: list[float] = []
    direct: list[float] = []
    # In turns, so that other load on the machine hits all alike.
    for _turn in range(STARTS):
        os.rename(pth, aside)
        without.append(start(generation))
        os.rename(empty, pth)
        idle.append(start(generation))
        os.rename(pth, empty)
        os.rename(aside, pth)
        activated.append(start(generation))
        direct.append(start(link))
    kind = "built in" if "mmap" in sys.builtin_module_names else "a shared object"
    table.section(f"Start of a Python, {STARTS} times, where mmap is {kind}")
    base = table.add("without a .pth", [seconds * 1000 for seconds in without], "ms")
    table.add("with one that does nothing", [s * 1000 for s in idle], "ms", base=base, of="without")
    table.add("activated: marked", [s * 1000 for s in activated], "ms", base=base, of="without")
    table.add("envs/<env>/bin/python: marked, pinned", [s * 1000 for s in direct], "ms", base=base, of="without")


def start(environment: Path) -> float:
    """Seconds until it has ended: the better of two starts, as the first one follows a change of its files."""
    command = [environment / "bin" / "python", "-c", "pass"]
    return min(timed(lambda: subprocess.run(command, env={}, cwd=ROOT, check=True)) for _time in range(2))
