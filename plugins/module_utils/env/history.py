# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the environments of a share: which generations were in force, from when to when, and what differs.

Reads records, manifests and kept locks. Starts no process and writes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ..errors import UvnasError, as_uvnas_error
from ..host.workers import Result
from ..share import journal as journals
from ..share import manifest as manifests
from ..share import standing, store
from ..share.layout import Layout
from ..share.standing import Standing
from . import past
from .lock.file import changes as package_changes

# Of generations.
IN_FORCE = "in force"
RETIRED = "retired"
# Never in force: built while another one was held.
BUILT = "built"
# No longer on the share. It can be built again, as long as its lock and its interpreter are there.
REMOVED = "removed"


@dataclasses.dataclass(frozen=True)
class History:
    """The history of one share, or of one of its environments."""

    layout: Layout
    # None: all.
    env: t.Optional[str] = None

    def facts(self) -> Result:
        """``environments``, ``journal``, and ``problems``: what cannot be read. Raises OSError."""
        names = store.known_environments(self.layout) if self.env is None else [self.env]
        found, problems = [], []
        for name in names:
            try:
                found.append(self._environment(name))
            except (UvnasError, OSError) as error:
                problems.append(str(as_uvnas_error(error)))
        entries: list[journals.Entry] = []
        try:
            entries = [entry for entry in journals.read(self.layout) if self.env in (None, entry.environment)]
        except (UvnasError, OSError) as error:  # It tells less than the records do.
            problems.append(str(as_uvnas_error(error)))
        return {"environments": found, "journal": [entry.as_dict() for entry in entries], "problems": problems}

    def difference(self, one: str, other: t.Optional[str]) -> Result:
        """How one generation of the environment differs from another, by the beginnings of their ids.

        Without ``other``, from the one in force. Raises UvnasError.
        """
        env = self.env or ""
        known = standing.read(self.layout, env)
        ids = [past.find(self.layout, env, each, known) for each in (one, other) if each]
        if other is None:
            in_force = store.published(self.layout, env)
            if in_force is None:
                raise UvnasError(f"environment {env} is not published, so name two generations")
            ids.append(in_force)
        versions = [past.versions(self.layout, env, each) for each in ids]
        for generation_id, found in zip(ids, versions):
            if found is None:
                raise UvnasError(f"environment {env}: nobody knows any more what was in its generation {generation_id}")
        return {
            "from": ids[0],
            "to": ids[1],
            "packages_changed": package_changes(versions[0] or {}, versions[1] or {}),
            "python": [self._python(known, env, each) for each in ids],
        }

    def _environment(self, env: str) -> Result:
        known = standing.read(self.layout, env)
        in_force = store.published(self.layout, env)
        complete = {each for each in store.generations(self.layout, env) if store.is_complete(self.layout, env, each)}
        generations = [
            self._generation(env, each, in_force, known, complete) for each in complete | {*known.generations}
        ]
        generations.sort(key=lambda fact: (fact["published"] or fact["created"] or "", fact["id"]))
        before: t.Optional[t.Mapping[str, str]] = None
        for fact in generations:
            versions = past.versions(self.layout, env, fact["id"])
            if versions is not None:
                fact["packages"] = len(versions)
                fact["packages_changed"] = [] if before is None else package_changes(before, versions)
                before = versions
        return {
            "name": env,
            "id": in_force,
            "since": known.since if known.in_force == in_force else None,
            "held": None if known.hold is None else dataclasses.asdict(known.hold),
            "generations": generations,
        }

    def _generation(
        self, env: str, generation_id: str, in_force: t.Optional[str], known: Standing, complete: t.Collection[str]
    ) -> Result:
        recorded = known.generations.get(generation_id)
        created = None
        with contextlib.suppress(UvnasError, OSError):
            manifest = manifests.of_generation(self.layout, env, generation_id)
            created = manifest.created if manifest is not None else None
        if generation_id == in_force:
            state = IN_FORCE
        elif generation_id not in complete:
            state = REMOVED
        else:
            state = BUILT if known.never_in_force(generation_id, created) else RETIRED
        return {
            "id": generation_id,
            "state": state,
            "created": created,
            "published": recorded.published if recorded else None,
            "retired": recorded.retired if recorded else None,
            "python": self._python(known, env, generation_id),
            "packages": None,
            "packages_changed": [],
        }

    def _python(self, known: Standing, env: str, generation_id: str) -> t.Optional[str]:
        """The version of a generation's interpreter."""
        if generation_id in known.generations:
            return known.generations[generation_id].python.version
        with contextlib.suppress(UvnasError, OSError):
            manifest = manifests.of_generation(self.layout, env, generation_id)
            return manifest.python.version if manifest is not None else None
        return None
