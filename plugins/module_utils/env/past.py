# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations from before: found by the beginning of their id, and built again where they are no longer on the share.

What one was made of is on record (see share/standing), and its lock is kept. So it can be built again for as long as
its interpreter is there, and packages are to be had.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ..errors import UvnasError
from ..host import files
from ..host.secrets import scrub
from ..python.record import Interpreter, load_record
from ..share import manifest as manifests
from ..share import standing, store
from ..share.layout import Layout
from ..share.standing import Past, Standing
from .lock.file import LockText
from .plan import Ingredients
from .spec import EnvironmentSpec

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Again:
    """What it takes to build one again."""

    spec: EnvironmentSpec
    ingredients: Ingredients
    lock: LockText
    interpreter: Interpreter


def find(layout: Layout, env: str, beginning: str, known: Standing, *, to_be_built: t.Optional[str] = None) -> str:
    """The id of the generation that begins with this, on the share or on record. Raises UvnasError unless it is one.

    ``to_be_built`` is one that is about to be there.
    """
    complete = {each for each in store.generations(layout, env) if store.is_complete(layout, env, each)}
    candidates = complete | set(known.generations) | ({to_be_built} if to_be_built else set())
    found = sorted(each for each in candidates if beginning and each.startswith(beginning))
    if len(found) == 1:
        return found[0]
    if found:
        raise UvnasError(
            f"environment {env}: several generations begin with {scrub(repr(beginning))}: {', '.join(found[:_SHOWN])}",
            hint="Give more of its id.",
        )
    newest = sorted(candidates, key=lambda each: _when(known, each), reverse=True)
    there = f"It has {', '.join(newest[:_SHOWN])}" if newest else "It has none"
    raise UvnasError(
        f"environment {env} has no generation {scrub(repr(beginning))} on this share",
        hint=f"{there}{', and earlier ones' * (len(newest) > _SHOWN)}. See uvnas.cluster.history.",
    )


def _when(known: Standing, generation_id: str) -> str:
    past = known.generations.get(generation_id)
    return past.published if past is not None else ""


def check(layout: Layout, env: str, generation_id: str, known: Standing) -> None:
    """Raise UvnasError if a generation, which is not on the share, cannot be built again, as far as can be known."""
    again(layout, EnvironmentSpec(env), generation_id, known)


def again(layout: Layout, spec: EnvironmentSpec, generation_id: str, known: Standing) -> Again:
    """What it takes to build a generation of the environment ``spec`` again. Raises UvnasError if that is not there.

    No smoke tests: those that are declared by now may be about what it does not have.
    """
    env = spec.name
    problem = f"environment {env}: its generation {generation_id} is not on this share, and cannot be built again"
    past = known.generations.get(generation_id)
    if past is None:
        raise UvnasError(f"{problem}: what it was made of is not on record")
    lock = _lock(layout, past, problem)
    interpreter = load_record(layout).interpreters.get(past.python.key)
    if interpreter is None or interpreter.unfinished or interpreter.digest != past.python.digest:
        raise UvnasError(
            f"{problem}: its interpreter {past.python.key} is not on this share",
            hint="Request that version in uvnas_pythons, and run site.yml.",
        )
    ingredients = Ingredients(past.lock, past.python.key, past.python.digest, dict(past.options))
    if ingredients.generation_id != generation_id:
        raise UvnasError(f"{problem}: it was built by a release of uvnas.cluster that builds otherwise")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in past.options.items()}
    declared = {"glibc": None, **options, "imports": (), "checks": (), "python": past.python.version, "hold": None}
    try:
        spec = EnvironmentSpec.from_dict({**spec.as_dict(), **declared})
    except UvnasError as error:
        raise UvnasError(f"{problem}: its options are damaged in {layout.standing(env)}") from error
    return Again(spec, ingredients, lock, interpreter)


def _lock(layout: Layout, past: Past, problem: str) -> LockText:
    path = layout.kept_lock(past.lock)
    text = files.read_bytes(path)
    if text is None:
        raise UvnasError(f"{problem}: its lock is gone: {path}")
    lock = LockText(text.decode(errors="replace"), f"the lock {path}")
    if lock.lock.digest != past.lock:
        raise UvnasError(f"{problem}: somebody has changed its lock: {path}")
    return lock


def versions(layout: Layout, env: str, generation_id: str) -> t.Optional[t.Mapping[str, str]]:
    """The packages of a generation, by its manifest, or else by its lock; None where neither is to be had."""
    with contextlib.suppress(UvnasError, OSError):
        manifest = manifests.of_generation(layout, env, generation_id)
        if manifest is not None:
            return manifest.packages
        past = standing.read(layout, env).generations.get(generation_id)
        if past is not None:
            return _lock(layout, past, f"environment {env}").lock.versions
    return None
