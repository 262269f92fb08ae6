# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generation put back in force and held there, or released: on one share, in seconds.

What is declared is left alone: later runs build it beside what is held. Without a generation's id, it is the one that
was in force before, or, where one is held already, the one before that. A generation that the share no longer has is
built again, see past. Interpreters and uv stay what they are: a generation names its own.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import SpecError, UvnasError
from ..host import mutex
from ..host.progress import SILENT, Progress
from ..host.secrets import scrub
from ..host.workers import Result
from ..share import journal as journals
from ..share import manifest as manifests
from ..share import standing, store
from ..share.convergence import ShareConvergence
from ..share.journal import NOBODY, Author, Journal
from ..share.spec import Share
from ..share.standing import Hold, Standing
from ..uv import unsynced
from ..uv.command import Uv
from . import past
from .declared import check_name
from .generation import build, intact, publish
from .lock.file import changes as package_changes
from .plan import overtaken
from .spec import EnvironmentSpec
from .state import read_lock

HELD, RELEASED, PUBLISHED = "held", "released", "published"
# Of a reason, in characters. It is shown on one line.
_LONGEST = 300


@dataclasses.dataclass(frozen=True)
class HoldPlan:
    """What is in force, what shall be, and what is held then."""

    known: Standing
    published: t.Optional[str]
    target: str
    hold: t.Optional[Hold]
    # Whether the target is on the share.
    complete: bool = True


@dataclasses.dataclass(frozen=True)
class Holding(ShareConvergence[HoldPlan, bool]):
    """One environment of one share, to be held or released."""

    share: Share
    uv: Uv
    env: str
    state: str = HELD
    # The beginning of the id of a generation; None: the one before.
    generation: t.Optional[str] = None
    reason: str = ""
    author: Author = NOBODY
    earlier_shares: t.Sequence[Share] = ()
    check_mode: bool = False
    progress: Progress = SILENT

    @property
    def why(self) -> str:
        """The reason as it is kept. Raises SpecError if it is too long."""
        why = journals.clean(self.reason)
        if self.state == PUBLISHED:  # Which site.yml makes up.
            return why[:_LONGEST]
        if len(why) > _LONGEST:
            raise SpecError(f"reason: {len(why)} characters are too many", hint=f"Say it in {_LONGEST}.")
        return why

    def plan(self) -> HoldPlan:
        problem = check_name(self.env)
        if problem is not None:
            raise SpecError(f"environment {scrub(repr(self.env))}: {problem}")
        why = self.why
        published, known = store.published(self.layout, self.env), standing.read(self.layout, self.env)
        if self.state == PUBLISHED:
            return HoldPlan(known, published, self._tried(known), None)
        if published is None:
            raise UvnasError(
                f"environment {self.env} is not published on share {self.share.name}",
                hint=f"It has {', '.join(store.environments(self.layout)) or 'no environments'}.",
            )
        if known.hold is not None and known.hold.declared:
            raise UvnasError(
                f"environment {self.env} is {known.hold} on share {self.share.name}",
                hint="Change or remove its hold in uvnas_envs, and run site.yml.",
            )
        if self.state == RELEASED:
            return HoldPlan(known, published, published, None)
        target = self._target(known, published)
        complete = intact.look(self.layout, self.env, target) is not None
        if not complete:
            past.check(self.layout, self.env, target, known)
        last = known.hold
        same = last is not None and last.id == target and why in ("", last.reason)
        hold = last if same else Hold(target, standing.now(), str(self.author), why)
        return HoldPlan(known, published, target, hold, complete)

    def _tried(self, known: Standing) -> str:
        """A generation that has been tried, and is still what is declared. Raises UvnasError if it is not."""
        generation_id = self.generation or ""
        found = intact.look(self.layout, self.env, generation_id) if generation_id else None
        if found is None:
            raise UvnasError(
                f"environment {self.env}: its generation {generation_id} is not on share {self.share.name}"
            )
        if known.hold is not None:
            raise UvnasError(f"environment {self.env} is {known.hold}, so what has been tried is not published")
        if read_lock(self.layout, self.env).lock.digest != found.manifest.lock.digest:
            raise overtaken(self.env)
        return generation_id

    def _target(self, known: Standing, published: str) -> str:
        if self.generation:
            return past.find(self.layout, self.env, self.generation, known)
        held = known.hold is not None and known.hold.id == published
        if held and known.in_force != published:
            return published  # A rollback that was killed before it was on record: this is the same one.
        # Where there is nothing before what is held, it stays. Another share may not have come as far.
        found = known.before(published) or (published if held else None)
        if found is None:
            raise UvnasError(
                f"environment {self.env}: nothing on record was in force before {published} on share {self.share.name}",
                hint="Name one: -e uvnas_generation=… (uvnas.cluster.history and uvnas.cluster.info show them).",
            )
        return found

    def changes(self, plan: HoldPlan) -> bool:
        if plan.target != plan.published or plan.hold != plan.known.hold:
            return True
        return plan.hold is not None and (not plan.complete or plan.known.in_force != plan.published)

    def obstacle(self, plan: HoldPlan) -> t.Optional[Result]:
        return None

    def do(self, plan: HoldPlan) -> bool:
        journal = Journal(self.layout, self.author)
        if plan.hold is None and self.state == RELEASED:
            mutex.check(self.layout.mutex)
            standing.write(self.layout, self.env, plan.known.held(None))
            released = plan.known.hold
            journal.tell(journals.RELEASE, self.env, generation=released and released.id, why=self.why)
            return True
        if not plan.complete:
            self._build(plan, journal)
        manifest = manifests.of_generation(self.layout, self.env, plan.target)
        if manifest is None:
            raise UvnasError(f"environment {self.env}: its generation {plan.target} has gone meanwhile")
        changed = self._packages_changed(plan)
        declared, why = (True, "tried") if self.state == PUBLISHED else (False, "rollback")
        publish.publish(
            journal, manifest, hold=plan.hold, declared=declared, why=self.why or why, packages_changed=changed
        )
        return True

    def _build(self, plan: HoldPlan, journal: Journal) -> None:
        found = past.again(self.layout, EnvironmentSpec(self.env), plan.target, plan.known)
        earlier = tuple(share.layout for share in self.earlier_shares)
        what = build.Build(
            found.spec, found.ingredients, found.lock, found.interpreter, self.share.name, earlier=earlier
        )
        told = self.progress.of(self.env)
        with told.failing(), unsynced.writing(self.layout):
            if plan.published == plan.target:
                publish.withdraw(self.layout, self.env)
            build.build(self.layout, self.uv, what, told)
        told.ends("built", plan.target)
        journal.tell(journals.BUILD, self.env, generation=plan.target, why="rollback")

    def _packages_changed(self, plan: HoldPlan) -> list[str]:
        before = past.versions(self.layout, self.env, plan.published) if plan.published else None
        after = past.versions(self.layout, self.env, plan.target)
        return package_changes(before or {}, after or {}) if plan.target != plan.published else []

    def report(self, plan: HoldPlan, done: t.Optional[bool]) -> Result:
        changed = self.changes(plan)
        lines = self._packages_changed(plan)
        result: Result = {
            "changed": changed,
            "environment": self.env,
            "id": plan.target,
            "previous_id": plan.published,
            "complete": plan.complete,
            "held": None if plan.hold is None else dataclasses.asdict(plan.hold),
            "was_held": None if plan.known.hold is None else dataclasses.asdict(plan.known.hold),
            "packages_changed": lines,
        }
        if changed:
            head = f"environment {self.env}: "
            moved = f"{plan.published or 'absent'} -> {plan.target}" if self.state == PUBLISHED else "released"
            head += moved if plan.hold is None else str(plan.hold)
            text = "".join(f"{line}\n" for line in (head, *(f"  {line}" for line in lines)))
            result["diff"] = [{"prepared": text}]
        return result
