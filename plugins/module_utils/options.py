# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of uv_lock and uv_env, which both the modules and their action plugins check."""

from __future__ import annotations

import typing as t

from .env.spec import ENVIRONMENT_ARGUMENTS
from .share.layout import EARLIER_SHARES

# What uv_lock takes to bring locks up to date, and uv_env too. Documented in the doc fragment uvnas.cluster.locks.
LOCKS: dict[str, t.Any] = {
    "upgrade": {"type": "list", "elements": "str", "default": []},
    "upgrade_packages": {"type": "list", "elements": "str", "default": []},
    "files_dir": {"type": "path"},
    "lock_dir": {"type": "path"},
    "earlier_shares": EARLIER_SHARES,
}

# The options of uv_lock, besides those of every module that works on a share and reaches an index.
UV_LOCK: dict[str, t.Any] = {
    **LOCKS,
    "inputs": {"type": "dict", "default": {}},
    "share_name": {"type": "str", "required": True},
    "environments": {"type": "list", "elements": "dict", "required": True, "options": ENVIRONMENT_ARGUMENTS},
    "glibc": {"type": "dict", "default": {}},
    "jobs": {"type": "int", "default": 4},
}

# The options of uv_env, besides those of every module that works on a share and reaches an index.
UV_ENV: dict[str, t.Any] = {
    **LOCKS,
    "lock": {"type": "bool", "default": False},
    "share_name": {"type": "str", "required": True},
    "environments": {"type": "list", "elements": "dict", "required": True, "options": ENVIRONMENT_ARGUMENTS},
    "glibc": {"type": "dict", "default": {}},
    "locks": {"type": "dict"},
    "purge": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 4},
    "link_mode": {"type": "str", "choices": ["clone", "hardlink", "copy"]},
    "min_free_bytes": {"type": "int", "default": 0},
    "min_free_inodes": {"type": "int", "default": 0},
}
