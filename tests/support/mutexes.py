# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutexes that are lost."""

from __future__ import annotations

import contextlib
import json
import typing as t
from pathlib import Path

from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex

# What another host writes into a mutex that it has taken.
OTHER = {"host": "c2", "pid": 12, "since": "2026-01-01T00:00:00+00:00", "purpose": "uv_env", "word": "f" * 32}


def lose(path: str) -> None:
    """What is seen when the server has given the lock to somebody else: their name."""
    Path(path).write_text(json.dumps(OTHER))


@contextlib.contextmanager
def lost(path: str) -> t.Iterator[None]:
    """Have had the mutex ``path``, and lost it."""
    with mutex.hold(path, timeout=0, purpose="test"):
        lose(path)
        yield
