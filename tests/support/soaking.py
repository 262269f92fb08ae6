# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that control how much, and with which random numbers, tests soak.

UVNAS_SOAK_SEED repeats the same moments, as far as the machine's speed allows.
"""

from __future__ import annotations

import os
import random

SEED = os.environ.get("UVNAS_SOAK_SEED") or "1"


def chance(what: str) -> random.Random:
    """Random numbers for one test."""
    return random.Random(f"{SEED} {what}")


def number(name: str, default: int) -> int:
    """A count from a variable."""
    return int(os.environ.get(name) or default)
