# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares a share's environments with what is wanted, and makes a plan.

For a converged environment that reads one link, two files and one directory. It starts no process and writes nothing.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..errors import SpecError, UvnasError, as_uvnas_error
from ..host import trust
from ..host.data import made_of
from ..python.record import Interpreter, Record, load_record, resolve
from ..share import standing, store
from ..share.layout import Layout
from ..share.standing import Hold, Standing
from . import past
from . import plan as planning
from .generation import intact
from .lock.file import LockText
from .lock.plan import read as read_text
from .spec import EnvironmentSpec


@dataclasses.dataclass(frozen=True)
class LockFact:
    """What uv_lock returned for a lock: its digest (None: unknown in check mode), and its versions if it changed."""

    digest: t.Optional[str]
    versions: t.Optional[t.Mapping[str, str]] = None

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> dict[str, LockFact]:
        """The value of uv_env's option ``locks`` as facts by environment. Raises SpecError."""
        found = {}
        for name, given in params.items():
            fact = made_of(given, cls)
            if fact is None:
                raise SpecError(f"locks: the value for environment {name} is not what uv_lock returns")
            found[name] = fact
        return found


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The environments of one share, wanted and found."""

    layout: Layout
    # The environments declared for this share.
    specs: t.Sequence[EnvironmentSpec]
    # What uv_lock returned; None: read the locks on the share. An environment missing here has no usable lock.
    locks: t.Optional[t.Mapping[str, LockFact]] = None
    # Remove environments that are on the share but not declared.
    purge: bool = False
    check_mode: bool = False

    def plan(self) -> planning.Plan:
        """What to do for each environment, and the errors of those where that cannot be known."""
        errors: list[UvnasError] = []
        record = load_record(self.layout)
        wanted, found = [], {}
        for spec in self.specs:
            if not spec.present or (self.locks is not None and spec.name not in self.locks):
                continue
            try:
                want = planning.Wanted(spec, self._ingredients(spec, record))
                found[spec.name] = self._find(spec, want.generation_id)
            except (UvnasError, OSError) as error:
                errors.append(as_uvnas_error(error))
                continue
            wanted.append(want)
        absent, declared = [], {spec.name for spec in self.specs}
        for name in self._absent():
            try:
                exists = standing.exists(self.layout, name)
                found[name] = planning.Found(store.published(self.layout, name), exists=exists)
            except (UvnasError, OSError) as error:
                errors.append(as_uvnas_error(error))
                continue
            if exists or name in declared:  # Of anything else, only files are left, which a prune removes.
                absent.append(name)
        return planning.Plan(planning.plan(wanted, found, absent), errors)

    def _ingredients(self, spec: EnvironmentSpec, record: Record) -> t.Optional[planning.Ingredients]:
        digest = self._lock_digest(spec.name)
        interpreter = self._interpreter(spec, record)
        if digest is None or interpreter is None:
            return None
        return planning.Ingredients(digest, interpreter.key, interpreter.digest, spec.build_options())

    def _lock_digest(self, env: str) -> t.Optional[str]:
        if self.locks is not None:
            return self.locks[env].digest
        return read_lock(self.layout, env).lock.digest

    def _interpreter(self, spec: EnvironmentSpec, record: Record) -> t.Optional[Interpreter]:
        """The interpreter for an environment; None if check mode runs before it is on the share."""
        if self.locks is not None and self.locks[spec.name].digest is None:
            return None
        if self.check_mode and record.find(spec.python) is None:
            return None  # A run installs it first. The lock is from the controller, or was made for another one.
        return resolve(record, spec.python, check_mode=self.check_mode)

    def _find(self, spec: EnvironmentSpec, generation_id: t.Optional[str]) -> planning.Found:
        """The state of a wanted environment.

        Raises UvnasError if its generation is not what was built, or if the one that is held cannot be had.
        """
        env = spec.name
        published = store.published(self.layout, env)
        known = standing.read(self.layout, env)
        hold = _hold(self.layout, spec, known, generation_id)
        here = None if generation_id is None else intact.look(self.layout, env, generation_id)
        if here is not None and generation_id is not None and here.uid not in (0, os.geteuid()):
            raise trust.foreign(self.layout.generation(env, generation_id), here.uid, os.geteuid())
        held_complete = True
        if hold is not None and hold.id != generation_id:
            held_complete = intact.look(self.layout, env, hold.id) is not None
            if not held_complete:
                past.check(self.layout, env, hold.id, known)
        return planning.Found(
            published,
            here is not None,
            here is None or here.sealed,
            hold=hold,
            held_complete=held_complete,
            recorded=known.in_force == published and known.hold == hold,
        )

    def _absent(self) -> list[str]:
        """Environments that must not be there."""
        names = [spec.name for spec in self.specs if not spec.present]
        if self.purge:
            declared = {spec.name for spec in self.specs}
            names += [name for name in store.known_environments(self.layout) if name not in declared]
        return names


def _hold(layout: Layout, spec: EnvironmentSpec, known: Standing, generation_id: t.Optional[str]) -> t.Optional[Hold]:
    """What is held: by the declaration, else by a rollback. One by a declaration ends with that.

    ``generation_id``: that of what is declared, which may be what is held, and not be built yet.
    """
    last = known.hold
    if spec.hold is None:
        return None if last is None or last.declared else last
    if last is not None and last.declared and spec.hold and last.id.startswith(spec.hold):
        return last  # Whatever has been built since, whose id may begin in the same way.
    held = past.find(layout, spec.name, spec.hold, known, to_be_built=generation_id)
    return Hold(held, standing.now(), declared=True)


def read_lock(layout: Layout, env: str) -> LockText:
    """The lock on the share. Raises UvnasError if there is none; its attribute ``lock`` does so if it is invalid."""
    text = read_text(layout, env)
    if text is None:
        raise UvnasError(
            f"environment {env} has no lock on this share",
            hint="Run uvnas.cluster.uv_lock first, as the role envs does.",
        )
    return text
