# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a share has that may go: generations, interpreters, versions of uv. Reads only."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import os
import typing as t

from ...errors import UvnasError, as_uvnas_error
from ...host import files
from ...host.platform import here
from ...python.record import Record, load_record
from ...python.spec import SitePython
from ...share import aside, standing, store
from ...share import manifest as manifests
from ...share.layout import MANIFEST, Layout
from ...share.standing import Standing
from ..spec import EnvironmentSpec
from ..state import read_lock
from .plan import INTERPRETER, UV, Environment, Keep, Old, Plan, Unneeded, plan

_UNREADABLE = "its manifest cannot be read"


@dataclasses.dataclass(frozen=True)
class Declared:
    """What is declared for a share, to be compared with what is on it."""

    layout: Layout
    # Of this share, those that are to go among them.
    specs: t.Sequence[EnvironmentSpec]
    # Requests for interpreters, those of environments among them; and the site's own.
    pythons: t.Sequence[str]
    sites: t.Sequence[SitePython]
    keep: Keep

    def plan(self) -> Plan:
        """Raises UvnasError, OSError."""
        environments = [self._environment(env) for env in store.known_environments(self.layout)]
        others = [*self._interpreters(), *self._versions_of_uv()]
        return plan(environments, others, self.keep, datetime.datetime.now(datetime.timezone.utc))

    def in_force(self) -> dict[str, list[str]]:
        """The generations of each environment that are in force, or held; all that it has where that cannot be read."""
        found = {env: self._in_force(env) for env in store.known_environments(self.layout)}
        return {env: ids for env, ids in found.items() if ids}

    def _in_force(self, env: str) -> list[str]:
        try:
            hold = standing.read(self.layout, env).hold
            ids = {store.published(self.layout, env), hold.id if hold is not None else None}
        except UvnasError:
            ids = {*store.generations(self.layout, env), *store.generations_aside(self.layout, env)}
        return sorted(each for each in ids if each is not None)

    def _environment(self, env: str) -> Environment:
        """One environment. Where anything about it cannot be read, all of it stays."""
        complete = [each for each in store.generations(self.layout, env) if store.is_complete(self.layout, env, each)]
        hidden = store.generations_aside(self.layout, env)
        ids = [*((each, False) for each in complete), *((each, True) for each in hidden)]
        try:
            in_force = store.published(self.layout, env)
            known = standing.read(self.layout, env)
        except (UvnasError, OSError) as error:
            why = str(as_uvnas_error(error)).splitlines()[0]
            return Environment(env, [Old(each, None, aside=is_aside, needed=why) for each, is_aside in ids])
        old = [
            self._aside(env, each, in_force, known) if is_aside else self._old(env, each, in_force, known)
            for each, is_aside in ids
            if each != in_force or is_aside
        ]
        return Environment(env, old, self._is_removed(env, in_force, known))

    def is_removed(self, env: str) -> bool:
        """Whether an environment has been removed, so that only its files are left. Raises UvnasError, OSError."""
        return self._is_removed(env, store.published(self.layout, env), standing.read(self.layout, env))

    def _is_removed(self, env: str, in_force: t.Optional[str], known: Standing) -> bool:
        declared = any(spec.present and spec.name == env for spec in self.specs)
        on_record = known.in_force is not None or known.hold is not None
        return not (declared or in_force or on_record or os.path.lexists(self.layout.lock(env)))

    def _aside(self, env: str, generation_id: str, in_force: t.Optional[str], known: Standing) -> Old:
        past = known.generations.get(generation_id)
        needed = ""
        # Where it has been built again, nobody needs this one.
        if not os.path.lexists(self.layout.generation(env, generation_id)):
            if generation_id == in_force:
                needed = "it is in force"
            elif known.hold is not None and known.hold.id == generation_id:
                needed = str(known.hold)
        return Old(generation_id, past.retired if past is not None else None, aside=True, needed=needed)

    def _old(self, env: str, generation_id: str, in_force: t.Optional[str], known: Standing) -> Old:
        if known.hold is not None and known.hold.id == generation_id:
            return Old(generation_id, None, needed=str(known.hold))
        past = known.generations.get(generation_id)
        if past is not None:
            late = in_force is not None and past.retired is None
            needed = "its record says that it is in force; the next run of site.yml corrects that" if late else ""
            return Old(generation_id, past.retired, needed=needed)
        # Not on record: from before there was one, or never in force.
        try:
            manifest = manifests.of_generation(self.layout, env, generation_id)
        except (UvnasError, OSError):
            manifest = None
        if manifest is None:
            return Old(generation_id, None, needed=_UNREADABLE)
        if known.never_in_force(generation_id, manifest.created):
            waits = self._lock_digest(env) == manifest.lock.digest
            needed = "it has been built, and waits to be published" if waits else ""
            return Old(generation_id, manifest.created, never=True, needed=needed)
        return Old(generation_id, known.since if known.in_force == in_force else None)

    def _lock_digest(self, env: str) -> t.Optional[str]:
        with contextlib.suppress(UvnasError):
            return read_lock(self.layout, env).lock.digest
        return None

    def _interpreters(self) -> list[Unneeded]:
        needs, directory = Needs(self), self.layout.python
        record = needs.record.interpreters
        found = [
            Unneeded(INTERPRETER, key, known.unneeded, needed=needs.of(key))
            for key, known in record.items()
            if os.path.lexists(os.path.join(directory, key))
        ]
        for key in aside.names_in(directory):  # Whose place another one may have taken.
            is_missed = key in record and not os.path.lexists(os.path.join(directory, key))
            needed = needs.of(key) if is_missed else ""
            found.append(Unneeded(INTERPRETER, key, record[key].unneeded if key in record else None, True, needed))
        return found

    def _versions_of_uv(self) -> list[Unneeded]:
        """Those beside the one that is linked, which has replaced them at the latest when that link was made."""
        linked = store.uv_version(self.layout)
        since = None
        with contextlib.suppress(OSError):
            since = datetime.datetime.fromtimestamp(
                os.lstat(self.layout.uv).st_mtime, datetime.timezone.utc
            ).isoformat()
        found = []
        versions = files.directories_in(self.layout.uv_versions)
        for version in versions:
            if version != linked:
                needed = "" if linked in versions else "no version of uv is linked"
                found.append(Unneeded(UV, version, since, needed=needed))
        found += [Unneeded(UV, version, since, aside=True) for version in aside.names_in(self.layout.uv_versions)]
        return found


@dataclasses.dataclass(frozen=True)
class Needs:
    """What needs the interpreters of a share, as it is now."""

    declared: Declared

    @functools.cached_property
    def record(self) -> Record:
        return load_record(self.declared.layout)

    def of(self, key: str) -> str:
        """What needs an interpreter; empty if nothing does."""
        meant = {
            found.key: request for request in self.declared.pythons if (found := self.record.find(request)) is not None
        }
        if key in meant:
            return f"{meant[key]} is requested"
        for site in self.declared.sites:
            if site.version.key(here().name) == key:
                return f"{site.name} is declared"
        return self._users.get(key) or self._users.get("", "")

    @functools.cached_property
    def _users(self) -> dict[str, str]:
        """A generation that needs each interpreter; under no name, one of which nobody knows which it needs."""
        found: dict[str, str] = {}
        layout = self.declared.layout
        for env in store.known_environments(layout):
            for generation_id in {*store.generations(layout, env), *store.generations_aside(layout, env)}:
                name = f"{env}/{generation_id}"
                path = layout.generation(env, generation_id)
                for directory in (path, aside.aside(path)):
                    try:
                        content = files.read_bytes(os.path.join(directory, MANIFEST))
                        if content is not None:
                            manifest = manifests.in_content(content, layout, env, generation_id)
                            found[manifest.python.key] = f"{name} needs it"
                    except (UvnasError, OSError):
                        found[""] = f"{name} may need it: {_UNREADABLE}"
        return found
