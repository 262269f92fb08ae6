# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of pinning a Python to its generation at its start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import scale
from arena import ROOT, SERIES, Arena, timed
from table import Table

STARTS = 100
PTH = "zzz_uvnas_pin.pth"


def measure(arena: Arena, _sizes: scale.Scale, table: Table) -> None:
    name = "start"
    arena.converge([{"name": name, "python": SERIES, "requirements": ["six"]}])
    link = arena.share / "envs" / name
    generation = link.resolve()
    pth = generation / "lib" / f"python{SERIES}" / "site-packages" / PTH
    aside = arena.directory / PTH
    without: list[float] = []
    activated: list[float] = []
    direct: list[float] = []
    # In turns, so that other load on the machine hits all alike.
    for _turn in range(STARTS):
        pth.rename(aside)
        without.append(start(generation))
        aside.rename(pth)
        activated.append(start(generation))
        direct.append(start(link))
    table.section(f"Start of a Python, {STARTS} times")
    base = table.add("without the pin", [seconds * 1000 for seconds in without], "ms")
    table.add("activated: the pin has nothing to do", [s * 1000 for s in activated], "ms", base=base, of="without")
    table.add("envs/<env>/bin/python: pinned", [s * 1000 for s in direct], "ms", base=base, of="without")


def start(environment: Path) -> float:
    command = [environment / "bin" / "python", "-c", "pass"]
    return timed(lambda: subprocess.run(command, env={}, cwd=ROOT, check=True))
