# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environments of a share: find, plan, then build, publish and remove, several at once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
import typing as t

from . import borrow, fs, generation
from . import plan as planning
from .errors import UvnasError, failure
from .interpreter import Interpreter, load_record, resolve
from .layout import Layout
from .lock import Lock, parse
from .lock import changes as package_changes
from .locking import LOCK_ARGUMENTS, EarlierShare
from .process import call_many
from .spec import ENVIRONMENT_ARGUMENTS, EnvironmentSpec
from .uv import Uv

# The options of uv_env, besides those of every module that works on a share and reaches an index.
ARGUMENTS: dict[str, t.Any] = {
    **LOCK_ARGUMENTS,
    "lock": {"type": "bool", "default": False},
    "share_name": {"type": "str", "required": True},
    "environments": {"type": "list", "elements": "dict", "required": True, "options": ENVIRONMENT_ARGUMENTS},
    "glibc": {"type": "dict", "default": {}},
    "locks": {"type": "dict"},
    "purge": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 4},
    "link_mode": {"type": "str", "choices": ["clone", "hardlink", "copy"]},
    "min_free_bytes": {"type": "int", "default": 0},
    "min_free_inodes": {"type": "int", "default": 0},
}


@dataclasses.dataclass(frozen=True)
class LockFact:
    """What uv_lock said of a lock: its digest (None: a check cannot know it), and its versions where it changed."""

    digest: t.Optional[str]
    versions: t.Optional[t.Mapping[str, str]] = None


@dataclasses.dataclass(frozen=True)
class Reconciliation:
    """The environments of one share at work."""

    layout: Layout
    uv: Uv
    share_name: str
    specs: t.Sequence[EnvironmentSpec]
    # What uv_lock returned. None: read the locks on the share. An environment that is missing here has no usable lock.
    locks: t.Optional[t.Mapping[str, LockFact]] = None
    # Remove environments that are on the share but not declared.
    purge: bool = False
    jobs: int = 2
    link_mode: t.Optional[str] = None
    # What has to be free before a build begins, in bytes and inodes; 0 for no such condition.
    min_free_bytes: int = 0
    min_free_inodes: int = 0
    lock_timeout: float = 600.0
    earlier_shares: t.Sequence[EarlierShare] = ()

    def run(self, *, check_mode: bool) -> dict[str, t.Any]:
        """Bring the environments to what is wanted; the module's result."""
        changes, errors = self._plan()
        if check_mode or not any(change.changes for change in changes):
            return self._result(changes, {}, errors)
        with fs.share_lock(self.layout.lock_file, timeout=self.lock_timeout, purpose="building environments"):
            generation.clean_up_names(self.layout)
            borrow.clean_up(self.layout.cache)
            # Somebody else may have done it meanwhile, or something else: the plan is made anew.
            changes, errors = self._plan()
            # Described before anything is done: what a run says and what a check says must be the same words.
            described = {change.name: self._describe(change) for change in changes}
            acting = [change for change in changes if change.changes]
            answers = call_many([functools.partial(self._act, change) for change in acting], jobs=self.jobs)
            done: dict[str, dict[str, t.Any]] = {}
            for change, answer in zip(acting, answers):
                try:
                    done[change.name] = answer()
                except UvnasError as error:
                    errors.append(error)
                    done[change.name] = {"action": "failed", "msg": str(error)}
        return self._result(changes, done, errors, described)

    def _plan(self) -> tuple[list[planning.Change], list[UvnasError]]:
        errors: list[UvnasError] = []
        record = load_record(self.layout)
        wanted, found = [], {}
        for spec in self.specs:
            if not spec.present or (self.locks is not None and spec.name not in self.locks):
                continue
            try:
                want = planning.Wanted(spec, self._ingredients(spec, record))
                found[spec.name] = self._find(spec.name, want.generation_id)
            except UvnasError as error:
                errors.append(error)
                continue
            wanted.append(want)
        absent = []
        for name in self._absent():
            try:
                link = planning.published_id(fs.read_link(self.layout.env(name)), name)
            except UvnasError as error:
                errors.append(error)
                continue
            paths = (self.layout.generations_of(name), self.layout.lock(name))
            found[name] = planning.Found(link, exists=link is not None or any(map(os.path.lexists, paths)))
            absent.append(name)
        return planning.plan(wanted, found, absent), errors

    def _ingredients(self, spec: EnvironmentSpec, record: t.Any) -> t.Optional[planning.Ingredients]:
        digest = self._lock_digest(spec.name)
        interpreter = self._interpreter(spec, record)
        if digest is None or interpreter is None:
            return None
        return planning.Ingredients(digest, interpreter.key, interpreter.digest, spec.build_options())

    def _lock_digest(self, env: str) -> t.Optional[str]:
        if self.locks is not None:
            return self.locks[env].digest
        return self._read_lock(env).digest

    def _read_lock(self, env: str) -> Lock:
        content = fs.read_bytes(self.layout.lock(env))
        if content is None:
            raise UvnasError(
                f"environment {env} has no lock on this share",
                hint="uvnas.cluster.uv_lock makes it; run that first, as the role envs does.",
            )
        return parse(content.decode(errors="replace"), what=self.layout.lock(env))

    def _interpreter(self, spec: EnvironmentSpec, record: t.Any) -> t.Optional[Interpreter]:
        """The interpreter for an environment; None where a check comes before it is on the share."""
        if self.locks is not None and self.locks[spec.name].digest is None:
            return None
        return resolve(record, spec.python)

    def _find(self, env: str, generation_id: t.Optional[str]) -> planning.Found:
        """The state of a wanted environment, in two file operations."""
        published = planning.published_id(fs.read_link(self.layout.env(env)), env)
        complete = generation_id is not None and os.path.exists(self.layout.manifest(env, generation_id))
        return planning.Found(published, complete)

    def _absent(self) -> list[str]:
        """Environments that shall not be there."""
        names = [spec.name for spec in self.specs if not spec.present]
        if self.purge:
            declared = {spec.name for spec in self.specs}
            here: set[str] = set()
            for directory in (self.layout.envs, self.layout.generations):
                with contextlib.suppress(FileNotFoundError):
                    here.update(name for name in os.listdir(directory) if not name.startswith("."))
            names += sorted(here - declared)
        return names

    def _act(self, change: planning.Change) -> dict[str, t.Any]:
        """Do one change, in a process of its own."""
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
            lock = self._read_lock(change.name)
            if lock.digest != ingredients.lock_digest:
                raise UvnasError(
                    f"environment {change.name}: its lock changed while this was running", hint="Run again."
                )
            interpreter = resolve(load_record(self.layout), change.wanted.spec.python)
            spec = change.wanted.spec
            caches = tuple(share.layout.cache for share in self.earlier_shares if spec.on_share(share.name))
            what = generation.Build(spec, ingredients, lock, interpreter, self.share_name, self.link_mode, caches)
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
        fact: dict[str, t.Any] = {
            "name": change.name,
            "action": change.action,
            "id": change.wanted.generation_id if change.wanted else None,
            "previous_id": change.published,
            "packages_changed": [],
        }
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
        return self._read_lock(change.name).versions

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
