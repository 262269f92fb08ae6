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

from ..errors import UvnasError, failure, naming
from ..host import mutex
from ..host.mounts import space
from ..host.progress import SILENT, Progress, Teller
from ..host.workers import Result, call_many, processors
from ..python.record import load_record, resolve
from ..share import journal as journals
from ..share import manifest as manifests
from ..share import standing, store
from ..share.convergence import ShareConvergence
from ..share.journal import NOBODY, Author, Journal
from ..share.manifest import Manifest
from ..share.spec import Share
from ..uv import unsynced
from ..uv.command import Uv
from . import past
from .generation import build, intact, publish
from .lock.file import changes as package_changes
from .plan import BUILD, INTERPRETER, LOCK, PUBLISH, RECORD, REMOVE, SEAL, SHARE, Change, Plan, overtaken
from .spec import EnvironmentSpec
from .state import Comparison, LockFact, read_lock

_CHANGING = (BUILD, PUBLISH, SEAL, RECORD, REMOVE)


@dataclasses.dataclass(frozen=True)
class Done:
    """What was done about environments, by name."""

    # Said before anything was done: what a run says and what a check says must be the same words.
    described: t.Mapping[str, Result]
    warnings: t.Sequence[str]
    facts: t.Mapping[str, Result] = dataclasses.field(default_factory=dict)
    errors: t.Sequence[UvnasError] = ()
    # Those for which somebody has made another lock since they were compared.
    overtaken: t.Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Environments(ShareConvergence[Plan, Done]):
    """The environments of one share."""

    share: Share
    uv: Uv
    # These three as for Comparison.
    specs: t.Sequence[EnvironmentSpec]
    locks: t.Optional[t.Mapping[str, LockFact]] = None
    purge: bool = False
    jobs: int = 2
    link_mode: t.Optional[str] = None
    # What has to be free before a build begins, in bytes and inodes; 0 for no such condition.
    min_free_bytes: int = 0
    min_free_inodes: int = 0
    earlier_shares: t.Sequence[Share] = ()
    check_mode: bool = False
    # How long a smoke test may take, in seconds.
    smoke_timeout: float = 300.0
    progress: Progress = SILENT
    # Whoever runs this, for the journal.
    author: Author = NOBODY

    @property
    def journal(self) -> Journal:
        return Journal(self.layout, self.author)

    def plan(self) -> Plan:
        return Comparison(self.layout, self.specs, self.locks, self.purge, self.check_mode).plan()

    def changes(self, plan: Plan) -> bool:
        return any(change.changes for change in plan.changes)

    def obstacle(self, plan: Plan) -> t.Optional[Result]:
        return None

    def do(self, plan: Plan) -> Done:
        before = self._before(plan)
        facts: dict[str, Result] = {}
        acting, late = [], []
        for change in plan.changes:
            if change.changes and self._is_overtaken(change):
                late.append(change.name)
                facts[change.name] = {"action": "failed"}
            elif change.changes:
                acting.append(change)
        # Builds at the same time share the processors: uv compiles bytecode on all of them, unless told otherwise.
        # At the end there are fewer builds than jobs.
        at_once = [min(max(1, self.jobs), left) for left in range(len(acting), 0, -1)]
        works = [functools.partial(self._act, *each) for each in zip(acting, at_once)]
        errors: list[UvnasError] = []
        builds = any(change.action == BUILD or not change.held_complete for change in acting)
        still_held = functools.partial(mutex.check, self.mutex)
        with unsynced.writing(self.layout) if builds else contextlib.nullcontext():
            answers = call_many(works, jobs=self.jobs, meanwhile=still_held)
        for change, answer in zip(acting, answers):
            try:
                facts[change.name] = answer()
            except UvnasError as error:
                errors.append(error)
                facts[change.name] = {"action": "failed"}
        return dataclasses.replace(before, facts=facts, errors=errors, overtaken=late)

    def _before(self, plan: Plan) -> Done:
        """What can be said before anything is done."""
        described = {change.name: self._describe(change) for change in plan.changes}
        warnings = [
            warning
            for change in plan.changes
            if change.changes and change.action != REMOVE
            for warning in intact.warn(self.layout, change.name, self._to_seal(change))
        ]
        return Done(described, warnings)

    def _to_seal(self, change: Change) -> list[str]:
        """The generations to seal with a change: all that are not, and what was found not to be where it seemed so."""
        found = intact.to_seal(self.layout, change.name)
        wanted = change.wanted.generation_id if change.wanted else None
        return found if wanted is None or change.sealed or wanted in found else [*found, wanted]

    def report(self, plan: Plan, done: t.Optional[Done]) -> Result:
        if done is None:
            done = self._before(plan)
        facts = [{**done.described[change.name], **done.facts.get(change.name, {})} for change in plan.changes]
        planned = {change.name for change in plan.changes}
        facts += [self._unplanned(spec.name) for spec in self.specs if spec.present and spec.name not in planned]
        changing = [fact for fact in facts if fact["action"] in _CHANGING]
        result: Result = {
            "changed": bool(changing),
            "environments": facts,
            "diff": [{"prepared": _diff_text(fact)} for fact in changing],
            "warnings": list(done.warnings),
        }
        errors = [*plan.errors, *done.errors]
        result.update(failure([*errors, *map(overtaken, done.overtaken)], len(self.specs)))
        if done.overtaken:  # Whoever locks them again can go on with them: they are no errors yet.
            result.update(errors=[error.as_dict() for error in errors], overtaken=list(done.overtaken))
        return result

    def _is_overtaken(self, change: Change) -> bool:
        """Whether the lock on the share is not the one that a change was planned for, but somebody else's by now."""
        if self.locks is None or change.wanted is None or change.wanted.ingredients is None:
            return False
        try:
            return read_lock(self.layout, change.name).lock.digest != change.wanted.ingredients.lock_digest
        except (UvnasError, OSError):  # It has been removed, or worse. Locking tells.
            return True

    def _act(self, change: Change, at_once: int) -> Result:
        """Do one change, in a process of its own; ``at_once`` as many are at work."""
        started = time.monotonic()
        told = self.progress.of(change.name)
        with told.failing():
            result = self._acted(change, at_once, told)
        return {**result, "seconds": round(time.monotonic() - started, 2)}

    def _acted(self, change: Change, at_once: int, told: Teller) -> Result:
        doing = f"environment {change.name}: cannot {change.action} it"
        if change.action == REMOVE:
            told("removing")
            with naming(doing, self.layout.env(change.name)):
                publish.remove(self.journal, change.name)
            told.ends("removed")
            return {}
        wanted_id = (change.wanted.generation_id if change.wanted else None) or ""
        with naming(doing, self.layout.generation(change.name, wanted_id)):
            manifest = self._have(change, at_once, told)
        facts = manifest.as_dict() if manifest is not None else {}
        kept: Result = {key: facts[key] for key in ("python", "packages", "size") if key in facts}
        log = self.layout.build_log(change.name) if change.action == BUILD else ""
        if log and os.path.exists(log):  # There may have been no room for one.
            kept["log"] = log
        if change.action == SEAL:
            told.ends("sealed", wanted_id)
        elif change.action == RECORD:
            told.ends("recorded", change.target or "")
        elif change.awaits or (change.hold is not None and change.target == change.published):
            told.ends("built", wanted_id, log=kept.get("log", ""))
        else:
            told.ends("published", change.target or "", log=kept.get("log", ""))
        return kept

    def _have(self, change: Change, at_once: int, told: Teller) -> t.Optional[Manifest]:
        """Have the wanted generation on the share, that or the held one in force, and all of them sealed.

        Returns the manifest of the one in force, if that is to be had.
        """
        generation_id = change.wanted.generation_id if change.wanted else None
        if change.wanted is None or generation_id is None:
            raise UvnasError(f"environment {change.name}: its lock or its interpreter is not on the share")
        unsealed = self._to_seal(change)
        if generation_id in unsealed:
            intact.seal(self.layout, change.name, [generation_id])
        known = standing.read(self.layout, change.name)
        beside = change.hold is not None and change.hold.id != generation_id
        manifest = self._held(change, at_once, known, told) if beside else None
        if change.action == BUILD:
            self._check_room(change)
            what = self._build_of(change, at_once)
            if change.published == generation_id and not beside:
                publish.withdraw(self.layout, change.name)
            built = self._built(what, told)
            manifest = manifest or built
        if change.awaits:  # Whoever has tried it publishes it, see hold.
            before = self._manifest(change)
            if before is not None:
                publish.record(self.journal, before, known, hold=None)
        elif not beside:
            is_tested = change.action == BUILD and change.wanted.spec.try_on is None
            if not is_tested and change.published != generation_id and generation_id not in known.generations:
                # It was built to be tried on hosts, which nobody asks for any more.
                told("testing")
                path = self.layout.generation(change.name, generation_id)
                build.smoke_test(self.uv, self._build_of(change, at_once), path)
            manifest = manifest or manifests.of_generation(self.layout, change.name, generation_id)
            self._publish(change, manifest, generation_id)
        # Last: what is wrong with one that is retired stands in nobody's way.
        intact.seal(self.layout, change.name, [retired for retired in unsealed if retired != generation_id])
        return manifest

    def _held(self, change: Change, at_once: int, known: standing.Standing, told: Teller) -> t.Optional[Manifest]:
        """Have the held generation in force; whatever becomes of the build of what is declared."""
        held_id = change.target or ""
        if not change.held_complete:
            held = self._held_build(change, at_once, known)
            if change.published == held.id:
                publish.withdraw(self.layout, change.name)
            self._built(held, told)
        manifest = manifests.of_generation(self.layout, change.name, held_id)
        self._publish(change, manifest, held_id)
        return manifest

    def _publish(self, change: Change, manifest: t.Optional[Manifest], generation_id: str) -> None:
        if manifest is None:
            raise UvnasError(f"environment {change.name}: its generation {generation_id} has gone meanwhile")
        publish.publish(
            self.journal,
            manifest,
            hold=change.hold,
            declared=change.hold is None,
            why=str(change.hold) if change.hold is not None else "declared",
            packages_changed=self._changes(change, manifest.packages),
        )

    def _built(self, what: build.Build, told: Teller) -> Manifest:
        manifest = build.build(self.layout, self.uv, what, told)
        self.journal.tell(journals.BUILD, what.spec.name, generation=what.id)
        return manifest

    def _held_build(self, change: Change, at_once: int, known: standing.Standing) -> build.Build:
        """The held generation, to be built again."""
        if change.wanted is None or change.hold is None:
            raise UvnasError(f"environment {change.name}: nothing is held")
        found = past.again(self.layout, change.wanted.spec, change.hold.id, known)
        return dataclasses.replace(
            self._build_of(change, at_once),
            spec=found.spec,
            ingredients=found.ingredients,
            lock=found.lock,
            interpreter=found.interpreter,
        )

    def _changes(self, change: Change, packages: t.Mapping[str, str]) -> list[str]:
        before = self._manifest(change)
        return package_changes(before.packages if before else {}, packages)

    def _build_of(self, change: Change, at_once: int) -> build.Build:
        """What is to be built for a change, as it is on the share by now."""
        if change.wanted is None or change.wanted.ingredients is None:
            raise UvnasError(f"environment {change.name}: its lock or its interpreter is not on the share")
        spec, ingredients = change.wanted.spec, change.wanted.ingredients
        return build.Build(
            spec,
            ingredients,
            read_lock(self.layout, change.name),
            resolve(load_record(self.layout), spec.python),
            self.share.name,
            self.link_mode,
            earlier=tuple(share.layout for share in self.earlier_shares if spec.on_share(share.name)),
            workers=max(1, processors() // at_once) if at_once > 1 else None,
            smoke_timeout=self.smoke_timeout,
        )

    def _check_room(self, change: Change) -> None:
        """Raise UvnasError where it can be known that the build will not fit.

        Its last generation tells what it takes beside linked files: bytecode, scripts, directories.
        """
        before = self._manifest(change)
        own_bytes, inodes = (before.size.own_bytes, before.size.inodes) if before is not None else (0, 0)
        found = space(self.layout.root)
        for noun, free, least in (
            ("bytes", found.free_bytes, max(self.min_free_bytes, own_bytes)),
            ("inodes", found.free_inodes, max(self.min_free_inodes, inodes)),
        ):
            if free is not None and free < least:
                raise UvnasError(
                    f"environment {change.name}: no room to build it: {free} {noun} are free, {least} are needed",
                    hint="Free some on the share's filesystem, then run again. Nothing was written.",
                )

    def _manifest(self, change: Change) -> t.Optional[Manifest]:
        """The manifest of the generation in force; None where there is none, or it is damaged."""
        with contextlib.suppress(UvnasError, OSError):
            if change.published is not None:
                return manifests.of_generation(self.layout, change.name, change.published)
        return None

    def _describe(self, change: Change) -> Result:
        """What the module returns about one environment, as far as it can be said beforehand."""
        fact = change.as_dict()
        if change.changes and change.action not in (SEAL, RECORD):
            before = self._manifest(change)
            versions = self._versions(change)
            if versions is not None:
                fact["packages_changed"] = package_changes(before.packages if before else {}, versions)
            if change.action == BUILD and fact["id"] is None and fact.get("declared_id") is None:
                fact["waits_for"] = self._waits_for(change)
        return fact

    def _waits_for(self, change: Change) -> str:
        """What has to be there before anybody can say which generation a build makes. Only a check has to ask."""
        if change.wanted is not None and os.path.exists(self.layout.identity):
            found = load_record(self.layout).find(change.wanted.spec.python)
            return INTERPRETER if found is None or found.unfinished else LOCK
        return SHARE

    def _unplanned(self, env: str) -> Result:
        """The same about one that is not even in the plan: it has no lock, no interpreter, or a foreign link."""
        published = None
        with contextlib.suppress(UvnasError, OSError):
            published = store.published(self.layout, env)
        return {"name": env, "action": "failed", "id": None, "previous_id": published, "packages_changed": []}

    def _versions(self, change: Change) -> t.Optional[t.Mapping[str, str]]:
        """The packages after ``change``; None where a check cannot know them yet."""
        if change.wanted is None:
            return {}
        if change.hold is not None:
            return past.versions(self.layout, change.name, change.hold.id)
        if self.locks is not None:
            versions = self.locks[change.name].versions
            if versions is not None:
                return versions
            if self.locks[change.name].digest is None:
                return None
        with contextlib.suppress(UvnasError, OSError):  # What is wrong with it comes up when it is needed.
            return read_lock(self.layout, change.name).lock.versions
        return None


def _diff_text(fact: t.Mapping[str, t.Any]) -> str:
    """One environment in diff mode."""
    if fact["action"] == REMOVE:
        head = f"environment {fact['name']}: removed"
    elif fact["action"] == SEAL:
        head = f"environment {fact['name']}: {fact['id']} sealed"
    elif fact["action"] == RECORD:
        head = f"environment {fact['name']}: what is in force, and since when, is put on record"
    elif fact.get("awaits"):
        what = fact.get("declared_id") or "not known yet"
        if fact["previous_id"]:
            what = f"{fact['previous_id']} stays in force; {what} beside it"
        head = f"environment {fact['name']}: {what}, to be tried before it is published"
    elif "held" in fact and fact["id"] == fact["previous_id"]:
        head = f"environment {fact['name']}: {fact['id']} stays in force; {fact['declared_id']} beside it"
    else:
        head = f"environment {fact['name']}: {fact['previous_id'] or 'absent'} -> {fact['id'] or 'not known yet'}"
    return "".join(f"{line}\n" for line in (head, *(f"  {line}" for line in fact["packages_changed"])))
