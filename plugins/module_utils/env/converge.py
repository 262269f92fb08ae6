# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environments of a share at work: build, publish and remove what the plan says, several at once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
import typing as t

from ..errors import UvnasError, failure
from ..host import files as fs
from ..host.process import call_many, processors
from ..python.record import load_record, resolve
from ..share.layout import Layout
from ..uv import cache as borrow
from ..uv.command import Uv
from . import plan as planning
from .generation import build as generation
from .lock.file import changes as package_changes
from .lock.plan import EarlierShare
from .spec import EnvironmentSpec
from .state import Comparison, LockFact, read_lock


@dataclasses.dataclass(frozen=True)
class Reconciliation:
    """The environments of one share at work."""

    layout: Layout
    uv: Uv
    share_name: str
    # These three as for Comparison.
    specs: t.Sequence[EnvironmentSpec]
    locks: t.Optional[t.Mapping[str, LockFact]] = None
    purge: bool = False
    jobs: int = 2
    link_mode: t.Optional[str] = None
    # What has to be free before a build begins, in bytes and inodes; 0 for no such condition.
    min_free_bytes: int = 0
    min_free_inodes: int = 0
    busy_timeout: float = 600.0
    earlier_shares: t.Sequence[EarlierShare] = ()

    def run(self, *, check_mode: bool) -> dict[str, t.Any]:
        """Bring the environments to what is wanted; the module's result."""
        comparison = Comparison(self.layout, self.specs, self.locks, self.purge)
        changes, errors = comparison.plan()
        if check_mode or not any(change.changes for change in changes):
            return self._result(changes, {}, errors)
        with fs.share_lock(self.layout.mutex, timeout=self.busy_timeout, purpose="building environments"):
            generation.clean_up_names(self.layout)
            borrow.clean_up(self.layout.cache)
            # Somebody else may have done it meanwhile, or something else: the plan is made anew.
            changes, errors = comparison.plan()
            # Described before anything is done: what a run says and what a check says must be the same words.
            described = {change.name: self._describe(change) for change in changes}
            acting = [change for change in changes if change.changes]
            # Builds at the same time share the processors: uv compiles bytecode on all of them, unless told otherwise.
            # At the end there are fewer builds than jobs.
            at_once = [min(max(1, self.jobs), left) for left in range(len(acting), 0, -1)]
            works = [functools.partial(self._act, *each) for each in zip(acting, at_once)]
            answers = call_many(works, jobs=self.jobs)
            done: dict[str, dict[str, t.Any]] = {}
            for change, answer in zip(acting, answers):
                try:
                    done[change.name] = answer()
                except UvnasError as error:
                    errors.append(error)
                    done[change.name] = {"action": "failed", "msg": str(error)}
        return self._result(changes, done, errors, described)

    def _act(self, change: planning.Change, at_once: int) -> dict[str, t.Any]:
        """Do one change, in a process of its own; ``at_once`` as many are at work."""
        started = time.monotonic()
        if change.action == planning.REMOVE:
            generation.remove(self.layout, change.name)
            return {"seconds": round(time.monotonic() - started, 2)}
        ingredients = change.wanted.ingredients if change.wanted else None
        if change.wanted is None or ingredients is None:
            raise UvnasError(f"environment {change.name}: its lock or its interpreter is not on the share")
        manifest = None
        if change.action == planning.BUILD:
            self._check_room(change)
            lock = read_lock(self.layout, change.name)
            if lock.digest != ingredients.lock_digest:
                raise UvnasError(
                    f"environment {change.name}: its lock changed while this was running", hint="Run again."
                )
            interpreter = resolve(load_record(self.layout), change.wanted.spec.python)
            spec = change.wanted.spec
            caches = tuple(share.layout.cache for share in self.earlier_shares if spec.on_share(share.name))
            workers = max(1, processors() // at_once) if at_once > 1 else None
            what = generation.Build(
                spec, ingredients, lock, interpreter, self.share_name, self.link_mode, caches, workers
            )
            manifest = generation.build(self.layout, self.uv, what)
        generation.publish(self.layout, change.name, ingredients.generation_id)
        manifest = manifest or generation.read_manifest(self.layout, change.name, ingredients.generation_id) or {}
        keys = ("python", "packages", "size")
        facts: dict[str, t.Any] = {key: manifest[key] for key in keys if key in manifest}
        return {**facts, "seconds": round(time.monotonic() - started, 2)}

    def _check_room(self, change: planning.Change) -> None:
        """Raise UvnasError where it can be known that the build will not fit.

        Its last generation tells what it takes beside linked files: bytecode, scripts, directories.
        """
        before = self._manifest(change)
        size = before.get("size", {})
        state = os.statvfs(self.layout.root)
        for noun, free, least in (
            ("bytes", state.f_bavail * state.f_frsize, max(self.min_free_bytes, size.get("own_bytes", 0))),
            ("inodes", state.f_favail, max(self.min_free_inodes, size.get("inodes", 0)) if state.f_files else 0),
        ):
            if free < least:
                raise UvnasError(
                    f"environment {change.name}: no room to build it: {free} {noun} are free, {least} are needed",
                    hint="Free some on the share's filesystem, then run again. Nothing was written.",
                )

    def _manifest(self, change: planning.Change) -> dict[str, t.Any]:
        """The manifest of the generation in force; empty where there is none."""
        if change.published is None:
            return {}
        return generation.read_manifest(self.layout, change.name, change.published) or {}

    def _describe(self, change: planning.Change) -> dict[str, t.Any]:
        """What the module returns about one environment, as far as it can be said beforehand."""
        fact = change.as_dict()
        if change.changes:
            fact["packages_changed"] = package_changes(
                self._manifest(change).get("packages", {}), self._versions(change)
            )
        return fact

    def _unplanned(self, env: str) -> dict[str, t.Any]:
        """The same about one that is not even in the plan: it has no lock, no interpreter, or a foreign link."""
        published = None
        with contextlib.suppress(UvnasError):
            published = planning.published_id(fs.read_link(self.layout.env(env)), env)
        return {"name": env, "action": "failed", "id": None, "previous_id": published, "packages_changed": []}

    def _versions(self, change: planning.Change) -> t.Mapping[str, str]:
        """The packages after ``change``."""
        if change.wanted is None:
            return {}
        if self.locks is not None:
            versions = self.locks[change.name].versions
            if versions is not None:
                return versions
            if self.locks[change.name].digest is None:
                return {}
        return read_lock(self.layout, change.name).versions

    def _result(
        self,
        changes: t.Sequence[planning.Change],
        done: t.Mapping[str, dict[str, t.Any]],
        errors: t.Sequence[UvnasError],
        described: t.Optional[t.Mapping[str, dict[str, t.Any]]] = None,
    ) -> dict[str, t.Any]:
        facts = [
            {**(described[change.name] if described else self._describe(change)), **done.get(change.name, {})}
            for change in changes
        ]
        planned = {change.name for change in changes}
        facts += [self._unplanned(spec.name) for spec in self.specs if spec.present and spec.name not in planned]
        diff = [{"prepared": _diff_text(fact)} for fact in facts if fact["action"] in ("build", "publish", "remove")]
        result: dict[str, t.Any] = {
            "changed": any(fact["action"] in ("build", "publish", "remove") for fact in facts),
            "environments": facts,
            "diff": diff,
        }
        return {**result, **failure(errors, len(self.specs), "build")}


def _diff_text(fact: t.Mapping[str, t.Any]) -> str:
    """One environment in diff mode."""
    if fact["action"] == "remove":
        head = f"environment {fact['name']}: removed"
    else:
        head = f"environment {fact['name']}: {fact['previous_id'] or 'absent'} -> {fact['id'] or 'not known yet'}"
    return "".join(f"{line}\n" for line in (head, *(f"  {line}" for line in fact["packages_changed"])))
