# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that control how much, and with which random numbers, tests soak; and what kills the runs of theirs.

UVNAS_SOAK_SEED repeats the same moments, as far as the machine's speed allows.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path

SEED = os.environ.get("UVNAS_SOAK_SEED") or "1"


def chance(what: str) -> random.Random:
    """Random numbers for one test."""
    return random.Random(f"{SEED} {what}")


def number(name: str, default: int) -> int:
    """A count from a variable."""
    return int(os.environ.get(name) or default)


def tree_of(pid: int) -> list[int]:
    """A process and its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
    found = [pid]
    for process in found:
        found += children.get(process, [])
    return found


def kill(pid: int, random_numbers: random.Random) -> str:
    """Kill all processes of a run, or only the first, or any single one."""
    tree = tree_of(pid)
    how = random_numbers.choices(("all", "first", "any"), (6, 1, 3))[0]
    chosen = {"all": tree, "first": tree[:1], "any": [random_numbers.choice(tree)]}[how]
    for process in chosen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return f"{how} ({len(chosen)} of {len(tree)} processes)"
