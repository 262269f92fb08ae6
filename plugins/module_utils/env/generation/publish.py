# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations are put in force by renaming a symlink, and environments are removed name first.

All of it with the share's mutex, and not without a look whether that is still held.
"""

from __future__ import annotations

import contextlib
import os

from ...errors import UvnasError
from ...host import files, mutex, removal
from ...share import store
from ...share.layout import Layout


def publish(layout: Layout, env: str, generation_id: str) -> None:
    """Make ``envs/<env>`` mean this generation, in one step. Raises UvnasError where the generation is not complete."""
    if not store.is_complete(layout, env, generation_id):
        raise UvnasError(f"environment {env}: generation {generation_id} is not complete, so it cannot be published")
    mutex.check(layout.mutex)
    files.replace_symlink(layout.env_link_target(env, generation_id), layout.env(env))


def withdraw(layout: Layout, env: str) -> None:
    """Take an environment's name away before its generation goes, on the disk too: absent, not broken."""
    mutex.check(layout.mutex)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.env(env))
    files.sync_directory(layout.envs)


def remove(layout: Layout, env: str) -> None:
    """Remove an environment: its name first, so that nobody finds half of it, then its lock, its generations
    and its logs.

    By these a purge that comes after a kill still knows of it.
    What is in use of a generation stays out of sight, for a sweep of the share to go on with.
    """
    withdraw(layout, env)
    mutex.check(layout.mutex)  # That may have taken long.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.lock(env))
    removal.remove_tree(layout.generations_of(env))
    removal.remove_tree(layout.logs_of(env))
