# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a complete generation is still what was built, judged by its manifest and one directory listing.

Installing or removing packages changes the names of the metadata directories.
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
    # Judged by its witness and by site-packages only.
    sealed: bool
    # Whose its manifest is.
    uid: int


def look(layout: Layout, env: str, generation_id: str) -> t.Optional[Intact]:
    """A complete generation; None if there is none. Raises UvnasError if it is not what was built."""
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
            hint=(
                "Somebody changed it, or its manifest, as the share's owner. uvnas.cluster.verify -e uvnas_deep=true "
                f"names what is damaged, and uvnas.cluster.repair mends it. {manifests.anew(path)}"
            ),
        )
    is_sealed = sealing.is_sealed(witness) and (directory is None or sealing.is_sealed(directory))
    return Intact(manifest, is_sealed, witness.st_uid)


def to_seal(layout: Layout, env: str) -> list[str]:
    """The complete generations of an environment, retired ones too, whose witnesses are not sealed."""
    found = []
    for generation_id in store.generations(layout, env):
        with contextlib.suppress(FileNotFoundError):
            if not sealing.is_sealed(os.stat(layout.manifest(env, generation_id))):
                found.append(generation_id)
    return found


def warn(layout: Layout, env: str, generation_ids: t.Iterable[str]) -> list[str]:
    """Warnings before generations are sealed, one for each that users other than the owner can write to."""
    found = []
    for generation_id in generation_ids:
        paths = sealing.open_paths(layout.generation(env, generation_id))
        if paths:
            found.append(
                f"environment {env}: users other than the share's owner can write to {len(paths)} paths of its "
                f"generation {generation_id} ({sealing.listed(paths)}). Sealing ends that, but what they changed stays "
                f"changed. "
                f"{manifests.anew(layout.manifest(env, generation_id))}"
            )
    return found


def seal(layout: Layout, env: str, generation_ids: t.Iterable[str]) -> None:
    """Seal generations, and keep others from replacing them."""
    mutex.check(layout.mutex)
    sealing.close(layout.generations_of(env))
    for generation_id in generation_ids:
        mutex.check(layout.mutex)
        sealing.seal(layout.generation(env, generation_id), layout.manifest(env, generation_id))


def _list(directory: str) -> tuple[list[str], t.Optional[os.stat_result]]:
    """The names in a directory, and its status, by one descriptor to save a path lookup."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return [], None
    try:
        return os.listdir(descriptor), os.fstat(descriptor)
    finally:
        os.close(descriptor)
