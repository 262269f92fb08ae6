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
        """The generations of each environment that are in force, or held."""
        found: dict[str, list[str]] = {}
        for env in store.known_environments(self.layout):
            ids = []
            with contextlib.suppress(UvnasError):
                ids.append(store.published(self.layout, env))
            with contextlib.suppress(UvnasError):
                hold = standing.read(self.layout, env).hold
                ids.append(hold.id if hold is not None else None)
            found[env] = sorted({each for each in ids if each is not None})
        return {env: ids for env, ids in found.items() if ids}

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
        stays = any(spec.present and spec.name == env for spec in self.specs)
        lock = files.read_bytes(self.layout.lock(env)) is not None
        removed = in_force is None and not lock and not stays
        old = [
            self._old(env, each, in_force, known, is_aside=is_aside)
            for each, is_aside in ids
            if each != in_force or is_aside
        ]
        return Environment(env, old, removed)

    def _old(self, env: str, generation_id: str, in_force: t.Optional[str], known: Standing, *, is_aside: bool) -> Old:
        if known.hold is not None and known.hold.id == generation_id:
            return Old(generation_id, None, aside=is_aside, needed=str(known.hold))
        past = known.generations.get(generation_id)
        if past is not None:
            late = in_force is not None and past.retired is None
            needed = "its record says that it is in force; the next run of site.yml corrects that" if late else ""
            return Old(generation_id, past.retired, aside=is_aside, needed="" if is_aside else needed)
        if is_aside:
            return Old(generation_id, None, aside=True)
        # Not on record: from before there was one, or never in force.
        try:
            manifest = manifests.of_generation(self.layout, env, generation_id)
        except UvnasError:
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
            needed = needs.of(key) if key in record else ""
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
        for version in files.directories_in(self.layout.uv_versions):
            if version != linked:
                needed = "" if linked else "no version of uv is linked"
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
        for env in store.known_environments(self.declared.layout):
            for generation_id in store.generations(self.declared.layout, env):
                name = f"{env}/{generation_id}"
                try:
                    manifest = manifests.of_generation(self.declared.layout, env, generation_id)
                except (UvnasError, OSError):
                    found[""] = f"{name} may need it: {_UNREADABLE}"
                    continue
                if manifest is not None:
                    found[manifest.python.key] = f"{name} needs it"
            for generation_id in store.generations_aside(self.declared.layout, env):
                path = aside.aside(self.declared.layout.generation(env, generation_id))
                try:
                    manifest = manifests.read(os.path.join(path, MANIFEST))
                except (UvnasError, OSError):
                    manifest = None
                if manifest is not None:
                    found[manifest.python.key] = f"{env}/{generation_id} needs it"
        return found
