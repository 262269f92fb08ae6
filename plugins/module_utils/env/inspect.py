# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A share as seen from one host: facts about its environments. Writes nothing. Whether they run: see ``verify``."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import os
import typing as t

from ..errors import UvnasError
from ..host.mounts import space
from ..host.workers import Result
from ..python.record import load_record
from ..share import manifest as manifests
from ..share import standing, store
from ..share.layout import Layout
from ..share.manifest import Manifest
from ..share.sight import Memory, Sight
from ..share.spec import Share
from ..share.standing import Standing
from .generation.size import true_size

# Of generations. What is incomplete was never in force.
IN_FORCE = "in_force"
RETIRED = "retired"
# Complete, and never in force: another one is held, or it has to be tried first.
BUILT = "built"
INCOMPLETE = "incomplete"
# What grows with packages and generations.
_DETAILS = frozenset({"generations", "packages", "source"})


@dataclasses.dataclass(frozen=True)
class Seen:
    """A published environment."""

    manifest: Manifest
    # Of the manifest, which is the witness of its generation (see host/sealing). None: not looked at.
    witness: t.Optional[os.stat_result]


@dataclasses.dataclass(frozen=True)
class Inspection:
    """One share, inspected."""

    share: Share
    # What was read before, and need not be read again if it has not changed.
    memories: t.Sequence[Memory] = ()
    # The environments that matter. Of the others, what is remembered of their generations will do. None: all matter.
    wanted: t.Optional[t.Container[str]] = None

    @functools.cached_property
    def sight(self) -> Sight:
        return Sight(self.share, self.memories)

    @property
    def layout(self) -> Layout:
        return self.share.layout

    @functools.cached_property
    def environments(self) -> list[str]:
        """The names of all published environments."""
        return self.sight.environments

    def seen(self, env: str) -> Seen:
        """A published environment, looked at once. Raises UvnasError if it is not complete."""
        if env not in self._seen:
            current = published(self.share, env, self.sight.published(env))
            last = None if self.wanted is None or env in self.wanted else self.sight.last_manifest(env, current)
            found = self.sight.manifest(env, current) if last is None else (last, None)
            if found is None:
                raise incomplete(env, current)
            self._seen[env] = Seen(*found)
        return self._seen[env]

    @functools.cached_property
    def _seen(self) -> dict[str, Seen]:
        return {}

    def facts(self, env: str, *, sizes: bool, details: bool = True) -> Result:
        """The facts about a published environment. Raises UvnasError if it is not complete.

        Without ``sizes`` and ``details`` no more is read than its link and its manifest.
        """
        manifest = self.seen(env).manifest
        recorded = manifest.as_dict()
        generations = store.generations(self.layout, env) if sizes or details else []
        facts = {
            "name": env,
            "path": self.layout.env(env),
            "age_seconds": _age(manifest.created),
            "package_count": len(manifest.packages),
            "generations": generations,
            **{
                key: recorded[key]
                for key in ("id", "created", "python", "uv", "packages", "platform", "size", "source")
            },
        }
        if sizes:
            each = {generation: self._size_of(env, generation, manifest.id) for generation in generations}
            facts["generation_sizes"] = [{**about, "id": generation} for generation, about in each.items()]
            facts["true_size"] = {key: each[manifest.id][key] for key in ("bytes", "own_bytes", "shared_bytes")}
        if sizes or details:
            known = self._standing(env)
            facts["since"] = known.since if known.in_force == manifest.id else None
            facts["held"] = None if known.hold is None else dataclasses.asdict(known.hold)
        return {key: value for key, value in facts.items() if details or key not in _DETAILS}

    def unpublished(self) -> list[Result]:
        """Environments that have generations, none of which is in force, with what those take."""
        return [
            {
                "name": env,
                "removed": self._removed(env),
                "generation_sizes": [
                    {**self._size_of(env, generation, None), "id": generation}
                    for generation in store.generations(self.layout, env)
                ],
            }
            for env in store.known_environments(self.layout)
            if env not in self.environments
        ]

    def _removed(self, env: str) -> bool:
        """Whether an environment has been removed, so that only its files are left."""
        with contextlib.suppress(OSError):
            return not standing.exists(self.layout, env)
        return False

    def _standing(self, env: str) -> Standing:
        """What is on record of an environment, read once; nothing where that cannot be read."""
        if env not in self._on_record:
            self._on_record[env] = Standing()
            with contextlib.suppress(UvnasError, OSError):
                self._on_record[env] = standing.read(self.layout, env)
        return self._on_record[env]

    @functools.cached_property
    def _on_record(self) -> dict[str, Standing]:
        return {}

    def _size_of(self, env: str, generation: str, in_force: t.Optional[str]) -> Result:
        """What one generation is and takes; without sizes where that cannot be measured."""
        state = IN_FORCE if generation == in_force else RETIRED
        age, manifest = None, None
        try:
            manifest = manifests.of_generation(self.layout, env, generation)
            age = None if manifest is None else _age(manifest.created)
            if manifest is None:
                state = INCOMPLETE
            elif state == RETIRED and self._standing(env).never_in_force(generation, manifest.created):
                state = BUILT
        except (UvnasError, OSError, ValueError):
            state = INCOMPLETE
        measured = _measured(self.layout.generation(env, generation))
        here = (measured.pop("files"), measured.pop("file_bytes"))
        built = None if manifest is None else (manifest.size.files, manifest.size.bytes)
        past = self._standing(env).generations.get(generation)
        retired = past.retired if past is not None and state == RETIRED else None
        return {
            "state": state,
            "age_seconds": age,
            "retired_since": retired,
            **measured,
            "as_built": None if built is None or None in here else here == built,
        }

    def room(self) -> Result:
        """What is left on the share's filesystem, and what cache and bytecode take. Looks at all their files."""
        free = space(self.layout.root)
        return {
            "filesystem": {"free_bytes": free.free_bytes, "free_inodes": free.free_inodes},
            "cache_bytes": _measured(self.layout.cache)["bytes"],
            "bytecode_bytes": _measured(self.layout.bytecode)["bytes"],
        }

    def interpreters(self) -> list[Result]:
        """The interpreters on the share, with what each takes. Raises UvnasError if their record is damaged."""
        record = load_record(self.layout)
        return [
            {
                "key": key,
                "version": found.version,
                "requests": sorted(request for request, meant in record.requests.items() if meant == key),
                "bytes": _measured(os.path.join(self.layout.python, key))["bytes"],
            }
            for key, found in sorted(record.interpreters.items())
        ]


def published(share: Share, env: str, generation: t.Optional[str]) -> str:
    """The id of the generation in force. Raises UvnasError if there is none."""
    if generation is None:
        raise UvnasError(f"environment {env} is not published on share {share.name}")
    return generation


def incomplete(env: str, generation: str) -> UvnasError:
    return UvnasError(
        f"environment {env}: its generation {generation} is not complete", hint="Run site.yml to rebuild it."
    )


def _age(created: str) -> int:
    """How many seconds ago that was (ISO 8601)."""
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(created)
    return int(age.total_seconds())


def _measured(path: str) -> dict[str, t.Optional[int]]:
    """What a tree takes; None where this user may not look, or somebody changes it meanwhile."""
    try:
        return dict(true_size(path))
    except OSError:
        return dict.fromkeys(("bytes", "own_bytes", "shared_bytes", "files", "file_bytes"))
