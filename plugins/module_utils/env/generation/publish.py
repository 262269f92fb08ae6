# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishes generations by renaming a symlink, and removes environments: their names, and not their files.

Needs the share's mutex, and checks before each change that it is still held.
"""

from __future__ import annotations

import contextlib
import errno
import os
import typing as t

from ...errors import UvnasError
from ...host import files, mutex
from ...share import journal as journals
from ...share import manifest as manifests
from ...share import standing, store
from ...share.journal import Journal
from ...share.layout import Layout
from ...share.manifest import Manifest
from ...share.standing import Hold, Standing


def publish(
    journal: Journal,
    manifest: Manifest,
    *,
    hold: t.Optional[Hold] = None,
    declared: bool = True,
    why: str = "",
    packages_changed: t.Sequence[str] = (),
) -> None:
    """Point ``envs/<env>`` to the generation of ``manifest``, in one step, and put that on record.

    ``declared``: see Standing.published(). Raises UvnasError if the generation is not complete.
    """
    layout, env = journal.layout, manifest.environment
    if not store.is_complete(layout, env, manifest.id):
        raise UvnasError(f"environment {env}: generation {manifest.id} is not complete, so it cannot be published")
    known = standing.read(layout, env)
    mutex.check(layout.mutex)
    standing.keep_lock(layout, manifest)
    before = store.published(layout, env)
    if hold is not None and known.hold != hold:
        # First: whoever is killed after that has not lost it, and the next run goes on.
        mutex.check(layout.mutex)
        standing.write(layout, env, known.held(hold))
    if before != manifest.id:
        mutex.check(layout.mutex)
        files.replace_symlink(layout.env_link_target(env, manifest.id), layout.env(env))
    record(journal, manifest, known, hold=hold, declared=declared)
    if before != manifest.id:
        about = {"why": why, "packages_changed": tuple(packages_changed)}
        journal.tell(journals.PUBLISH, env, generation=manifest.id, previous=before, **about)
        if before is not None:
            journal.tell(journals.RETIRE, env, generation=before, why=why)


def record(
    journal: Journal, manifest: Manifest, known: Standing, *, hold: t.Optional[Hold], declared: bool = True
) -> None:
    """Put on record that the generation of ``manifest`` is in force, and held or not."""
    layout, env = journal.layout, manifest.environment
    after = known.published(manifest, declared=declared).held(hold)
    if after != standing.read(layout, env):
        mutex.check(layout.mutex)
        standing.keep_lock(layout, manifest)
        standing.write(layout, env, after)
    if hold is not None and known.hold != hold:
        journal.tell(journals.HOLD, env, generation=hold.id, why=hold.reason)
    elif hold is None and known.hold is not None:
        journal.tell(journals.RELEASE, env, generation=known.hold.id)


def withdraw(layout: Layout, env: str) -> None:
    """Remove an environment's name, on the disk too, before its generation goes: absent, not broken."""
    mutex.check(layout.mutex)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.env(env))
    files.sync_directory(layout.envs)


def remove(journal: Journal, env: str) -> None:
    """Remove an environment: its name first, so that nobody finds half of it, then what its record says to be in force
    or held, then its lock. If this is killed, the next run goes on: see standing.exists().

    Its generations stay, as jobs may run from them, and so do its logs, the journal and locks from before.
    """
    layout = journal.layout
    before = None
    with contextlib.suppress(UvnasError):
        before = store.published(layout, env)
    withdraw(layout, env)
    mutex.check(layout.mutex)  # Withdrawing may have taken long.
    before = _retire(layout, env, before)
    mutex.check(layout.mutex)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.lock(env))
    journal.tell(journals.REMOVE, env, previous=before)
    if before is not None:
        journal.tell(journals.RETIRE, env, generation=before, why="removed")


def _retire(layout: Layout, env: str, published: t.Optional[str]) -> t.Optional[str]:
    """Put on record that nothing of an environment is in force, or held, any more. Returns what was in force.

    ``published``: what its link named, which counts where a killed run has not put it on record.
    """
    known: t.Optional[Standing] = None
    with contextlib.suppress(UvnasError):  # A damaged record keeps no environment.
        known = standing.read(layout, env)
    before = known or Standing()
    try:
        with contextlib.suppress(UvnasError):
            manifest = None if published is None else manifests.of_generation(layout, env, published)
            if manifest is not None:
                standing.keep_lock(layout, manifest)
                before = before.published(manifest, declared=before.hold is None)
        after = before.withdrawn()
        if after != known:
            standing.write(layout, env, after)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # Rather no record than one that holds an environment of the same name that comes later.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(layout.standing(env))
    return published or before.in_force
