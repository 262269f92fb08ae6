# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much, and with which random numbers, tests soak: said by variables.

UVNAS_SOAK_SEED has the same moments come again, as far as the machine is as quick as it was.
"""

from __future__ import annotations

import os
import random

SEED = os.environ.get("UVNAS_SOAK_SEED") or "1"


def chance(what: str) -> random.Random:
    """Random numbers of one test."""
    return random.Random(f"{SEED} {what}")


def number(name: str, default: int) -> int:
    """How many of something there are to be: the value of a variable."""
    return int(os.environ.get(name) or default)
