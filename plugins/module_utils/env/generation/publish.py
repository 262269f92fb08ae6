# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishes generations by renaming a symlink, and removes environments, name first.

Needs the share's mutex, and checks before each change that it is still held.
"""

from __future__ import annotations

import contextlib
import os

from ...errors import UvnasError
from ...host import files, mutex, removal
from ...share import store
from ...share.layout import Layout


def publish(layout: Layout, env: str, generation_id: str) -> None:
    """Point ``envs/<env>`` to this generation, in one step. Raises UvnasError if the generation is not complete."""
    if not store.is_complete(layout, env, generation_id):
        raise UvnasError(f"environment {env}: generation {generation_id} is not complete, so it cannot be published")
    mutex.check(layout.mutex)
    files.replace_symlink(layout.env_link_target(env, generation_id), layout.env(env))


def withdraw(layout: Layout, env: str) -> None:
    """Remove an environment's name, on the disk too, before its generation goes: absent, not broken."""
    mutex.check(layout.mutex)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.env(env))
    files.sync_directory(layout.envs)


def remove(layout: Layout, env: str) -> None:
    """Remove an environment: its name first, so that nobody finds half of it, then its lock, its generations
    and its logs.

    If this is killed, a purge still finds the environment by its generations.
    What is in use stays, hidden, until a later sweep of the share.
    """
    withdraw(layout, env)
    mutex.check(layout.mutex)  # Withdrawing may have taken long.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.lock(env))
    removal.remove_tree(layout.generations_of(env))
    removal.remove_tree(layout.logs_of(env))
