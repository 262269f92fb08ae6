# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a share: environments, generations, and which is in force. Only this file lists them."""

from __future__ import annotations

import contextlib
import functools
import os
import typing as t

from ..errors import UvnasError
from ..host import files, mutex, removal
from ..host.removal import Leftover
from . import aside
from .layout import Layout


def environments(layout: Layout) -> list[str]:
    """The names of all published environments, sorted."""
    return files.names_in(layout.envs)


def known_environments(layout: Layout) -> list[str]:
    """The names of all environments that have a link or generations, sorted."""
    return sorted({*files.names_in(layout.envs), *files.directories_in(layout.generations)})


def generations(layout: Layout, env: str) -> list[str]:
    """The ids of all generations of an environment, sorted, complete or not."""
    return files.directories_in(layout.generations_of(env))


def generations_aside(layout: Layout, env: str) -> list[str]:
    """The ids of those that a prune has put aside, see share/aside."""
    return aside.names_in(layout.generations_of(env))


def published(layout: Layout, env: str) -> t.Optional[str]:
    """The generation that ``envs/<env>`` points to; None if there is no link. Raises UvnasError for a foreign link."""
    link = files.read_link(layout.env(env))
    if link is None:
        return None
    generation_id = os.path.basename(os.path.normpath(link))
    if os.path.normpath(link) != layout.env_link_target(env, generation_id):
        raise UvnasError(
            f"environment {env}: its link points to {link}, which is not one of its generations",
            hint="uvnas.cluster did not make this link; move it away and run again.",
        )
    return generation_id


def uv_version(layout: Layout) -> str:
    """The version of the share's uv, which the name of its directory says; empty without one."""
    with contextlib.suppress(OSError):
        return os.path.basename(os.path.dirname(os.readlink(layout.uv)))
    return ""


def is_complete(layout: Layout, env: str, generation_id: str) -> bool:
    return os.path.exists(layout.manifest(env, generation_id))


def sweep(layout: Layout) -> list[Leftover]:
    """Remove what killed runs left on a share, uv included, and what earlier runs could not remove.

    Returns what still remains. Hold the share's mutex. It is checked before each removal, which may take long: to
    another holder this may not be a leftover.
    """
    temporary, anything, part_of_a_download = (
        functools.partial(_is_ours_to_remove, layout, is_leftover)
        for is_leftover in (files.is_temporary, _anything, _is_part_of_a_download)
    )
    found: list[Leftover] = []
    for directory in (
        layout.root,
        layout.bin_dir,
        layout.cache,
        layout.bytecode,
        layout.locks,
        layout.lock_history,
        layout.envs,
        layout.logs,
    ):
        found += removal.sweep(directory, temporary)
    found += removal.sweep(layout.uv_versions, temporary, what=lambda name: f"uv {files.real_name(name)}")
    found += removal.sweep(layout.python, temporary, what=files.real_name)
    found += removal.sweep(os.path.join(layout.python, ".temp"), anything)
    found += removal.sweep(layout.python_archives, part_of_a_download)
    found += removal.sweep(layout.generations, temporary, what=lambda name: f"environment {files.real_name(name)}")
    for env in files.directories_in(layout.generations):
        what = functools.partial(_generation, env)
        for path in _unfinished(layout, env):
            mutex.check(layout.mutex)
            try:
                removal.remove_tree(path)
            except OSError as error:
                found.append(removal.refused(path, error, what(os.path.basename(path))))
        found += removal.sweep(layout.generations_of(env), temporary, what=what)
    return found


def _generation(env: str, name: str) -> str:
    return f"environment {env}, generation {files.real_name(name)}"


def _unfinished(layout: Layout, env: str) -> t.Iterator[str]:
    """The generations whose builds never finished. The one in force is not among them, whatever it lacks."""
    in_force: t.Optional[str] = None
    with contextlib.suppress(UvnasError):
        in_force = published(layout, env)
    for generation_id in generations(layout, env):
        if generation_id == in_force:
            continue
        try:
            os.lstat(layout.manifest(env, generation_id))
        except FileNotFoundError:
            yield layout.generation(env, generation_id)
        except OSError:  # Without a look there is no telling.
            continue


def _is_ours_to_remove(layout: Layout, is_leftover: t.Callable[[str], bool], name: str) -> bool:
    if not is_leftover(name):
        return False
    mutex.check(layout.mutex)
    return True


def _anything(_name: str) -> bool:
    return True


def _is_part_of_a_download(name: str) -> bool:
    """Ours; uv's (``.tmpAbC123/download``); or an archive without a checksum, which uv would use for any request."""
    return name.startswith((".tmp", "none-")) or files.is_temporary(name)
