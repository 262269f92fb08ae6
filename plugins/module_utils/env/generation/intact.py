# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a complete generation is what was built, as far as a few looks tell: its manifest, and one listing.

What installs into it, or removes from it, leaves the names of its metadata directories changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ...errors import UvnasError
from ...host import mutex, sealing
from ...python.version import Version
from ...share import manifest as manifests
from ...share import store
from ...share.layout import Layout, site_packages
from ...share.manifest import Manifest
from ...uv.wheel import installed_packages
from ..lock.file import changes


@dataclasses.dataclass(frozen=True)
class Intact:
    """A generation that has the packages of its manifest."""

    manifest: Manifest
    # As far as was looked: by its witness, and where packages are.
    sealed: bool


def look(layout: Layout, env: str, generation_id: str) -> t.Optional[Intact]:
    """A complete generation; None where there is none. Raises UvnasError where it is not what was built."""
    path = layout.manifest(env, generation_id)
    found = manifests.with_status(layout, env, generation_id)
    if found is None:
        return None
    manifest, witness = found
    minor = Version.parse(manifest.python.version).minor
    names, directory = _list(site_packages(layout.generation(env, generation_id), minor))
    differences = changes(manifest.packages, installed_packages(names))
    if differences:
        raise UvnasError(
            f"environment {env}: its generation {generation_id} is not what was built: {', '.join(differences)}",
            hint=f"It was changed, or its manifest was, as the share's owner. {manifests.anew(path)}",
        )
    return Intact(manifest, sealing.is_sealed(witness) and (directory is None or sealing.is_sealed(directory)))


def to_seal(layout: Layout, env: str) -> list[str]:
    """The complete generations of an environment that are not sealed, as their witnesses say; retired ones too."""
    found = []
    for generation_id in store.generations(layout, env):
        with contextlib.suppress(FileNotFoundError):
            if not sealing.is_sealed(os.stat(layout.manifest(env, generation_id))):
                found.append(generation_id)
    return found


def warn(layout: Layout, env: str, generation_ids: t.Iterable[str]) -> list[str]:
    """What to say before generations are sealed, a text for each that others than the owner can write to."""
    found = []
    for generation_id in generation_ids:
        paths = sealing.open_paths(layout.generation(env, generation_id))
        if paths:
            found.append(
                f"environment {env}: others than the share's owner can write to {len(paths)} paths of its generation "
                f"{generation_id} ({sealing.listed(paths)}). Sealing ends that; what they have changed stays changed. "
                f"{manifests.anew(layout.manifest(env, generation_id))}"
            )
    return found


def seal(layout: Layout, env: str, generation_ids: t.Iterable[str]) -> None:
    """Seal generations, and have nobody else put another one in their places."""
    mutex.check(layout.mutex)
    sealing.close(layout.generations_of(env))
    for generation_id in generation_ids:
        mutex.check(layout.mutex)
        sealing.seal(layout.generation(env, generation_id), layout.manifest(env, generation_id))


def _list(directory: str) -> tuple[list[str], t.Optional[os.stat_result]]:
    """The names in a directory, and its status: by one descriptor, so that no path is looked up twice."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return [], None
    try:
        return os.listdir(descriptor), os.fstat(descriptor)
    finally:
        os.close(descriptor)
