# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Losing a mutex."""

from __future__ import annotations

import json
from pathlib import Path

# What another host writes into a mutex that it has acquired.
OTHER = {"host": "c2", "pid": 12, "since": "2026-01-01T00:00:00+00:00", "purpose": "uv_env", "word": "f" * 32}


def lose(path: str) -> None:
    """As if the server had given the mutex to somebody else: their name is in it."""
    Path(path).write_text(json.dumps(OTHER))
