# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converge the locks of a share: keep them, copy them from the controller or another share, or resolve them with uv."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import typing as t

from ...errors import UvnasError, failure
from ...host import files, mutex
from ...host.progress import SILENT, Progress
from ...host.workers import Result, call_many
from ...python.record import Interpreter, load_record
from ...python.record import resolve as resolve_interpreter
from ...share.convergence import ShareConvergence
from ...share.spec import Share
from ...uv import unsynced
from ...uv.command import Uv
from ...uv.log import logged, logging
from ..spec import EnvironmentSpec, Sources
from . import file as locks
from . import held, upgrades
from .file import LockText
from .plan import COPY, KEEP, RESOLVE, Input, Step, Upgrade, needs, plan
from .resolve import Request, resolve

# How many environments a message names that is the same for several.
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one lock: the text it should have (None: a check cannot know it), and warnings; or an error."""

    text: t.Optional[LockText] = None
    warnings: t.Sequence[str] = ()
    # What holds the packages that an upgrade was asked for but did not change.
    held: t.Sequence[str] = ()
    error: t.Optional[UvnasError] = None


# By environment.
Outcomes = t.Mapping[str, Outcome]


@dataclasses.dataclass(frozen=True)
class Locking(ShareConvergence[list[Step], Outcomes]):
    """The locks of one share."""

    share: Share
    uv: Uv
    specs: t.Sequence[EnvironmentSpec]
    inputs: t.Mapping[str, Input]
    upgrade: Upgrade
    jobs: int = 1
    earlier_shares: t.Sequence[Share] = ()
    check_mode: bool = False
    progress: Progress = SILENT

    def plan(self) -> list[Step]:
        shares = self.earlier_shares
        return plan(self.layout, self.specs, self.inputs, self.upgrade, shares, check_mode=self.check_mode)

    def changes(self, plan: list[Step]) -> bool:
        return any(step.action != KEEP for step in plan)

    def obstacle(self, plan: list[Step]) -> t.Optional[Result]:
        """If texts are missing, the result names the environments in ``needs``, and nothing is done."""
        lacking = needs(plan)
        return {"changed": False, "needs": lacking, "locks": {}} if lacking else None

    def do(self, plan: list[Step]) -> Outcomes:
        resolves = any(step.action == RESOLVE for step in plan)
        with unsynced.writing(self.layout) if resolves else contextlib.nullcontext():
            outcomes = self._outcomes(plan)
        for step in plan:
            text = outcomes[step.spec.name].text
            if text is not None and (step.on_share is None or text.text != step.on_share.text):
                mutex.check(self.mutex)
                files.write(self.layout.lock(step.spec.name), text.text)
        return outcomes

    def report(self, plan: list[Step], done: t.Optional[Outcomes]) -> Result:
        outcomes = self._outcomes(plan) if done is None else done
        facts: dict[str, Result] = {}
        diffs: list[Result] = []
        errors: list[UvnasError] = []
        warnings: list[str] = []
        keeping: dict[str, list[str]] = {}
        for step in plan:
            outcome = outcomes[step.spec.name]
            if outcome.error is not None:
                errors.append(outcome.error)
                continue
            warnings += outcome.warnings
            fact = facts[step.spec.name] = self._fact(step, outcome.text)
            if outcome.held:
                fact["held"] = list(outcome.held)
            for reason in outcome.held:
                keeping.setdefault(reason, []).append(step.spec.name)
            if fact["changed"]:
                lines = [f"lock {step.spec.name}:", *(f"  {line}" for line in fact["packages_changed"])]
                diffs.append({"prepared": "".join(f"{line}\n" for line in lines)})
        result: Result = {
            "changed": any(fact["changed"] for fact in facts.values()),
            "locks": facts,
            "diff": diffs,
            "warnings": [*warnings, *(f"{_listed(envs)}: {reason}" for reason, envs in keeping.items())],
        }
        if self.upgrade.packages:
            texts = {name: outcome.text for name, outcome in outcomes.items()}
            names = {name: None if text is None else text.names for name, text in texts.items()}
            result["upgrade_packages"] = upgrades.found(self.upgrade, plan, names)
        return {**result, **failure(errors, len(plan))}

    def _outcomes(self, steps: t.Sequence[Step]) -> Outcomes:
        """For each step, what its lock becomes. What is not a lock is an error here, before anything is written."""
        resolving = [step for step in steps if step.action == RESOLVE]
        answers = call_many([functools.partial(self._resolve, step) for step in resolving], jobs=self.jobs)
        resolved = {step.spec.name: answer for step, answer in zip(resolving, answers)}
        outcomes = {}
        for step in steps:
            name = step.spec.name
            try:
                outcome = self._outcome(step, resolved.get(name))
                _lock = outcome.text.lock if outcome.text is not None else None
            except UvnasError as error:
                outcome = Outcome(error=error)
            outcomes[name] = outcome
        return outcomes

    def _outcome(self, step: Step, resolved: t.Optional[t.Callable[[], Result]]) -> Outcome:
        if step.obstacle is not None:
            raise step.obstacle
        if resolved is not None:
            answer = resolved()
            text = answer["text"]
            known = None if text is None else LockText(text, f"environment {step.spec.name}: its lock")
            return Outcome(known, answer.get("warnings", ()), answer.get("held", ()))
        return Outcome(step.copied if step.action == COPY else step.on_share)

    def _resolve(self, step: Step) -> Result:
        if not os.path.exists(self.layout.uv):
            return {"text": None}  # A check before there is a uv on the share.
        interpreter = resolve_interpreter(load_record(self.layout), step.spec.python, check_mode=self.check_mode)
        if interpreter.unfinished:
            return {"text": None}  # A check before it is reinstalled.
        name = step.spec.name
        told = self.progress.of(name)
        told("locking")
        # A check leaves the share alone.
        path = None if self.check_mode else self.layout.lock_log(name)
        with told.failing(), logging(path, self.uv, f"environment {name}, its lock") as log:
            found = self._resolved(step, interpreter, logged(self.uv, log, told.says))
            count = len(LockText(found["text"], f"environment {name}: its lock").lock.packages)
        told.ends("locked", f"{count} package{'s' * (count != 1)}", log=log.path)
        return found

    def _resolved(self, step: Step, interpreter: Interpreter, uv: Uv) -> Result:
        request = Request(
            step.spec,
            step.given.spec_digest,
            step.given.sources or Sources(),
            step.upgrade,
            step.upgrade_packages,
        )
        executable = self.layout.interpreter_bin(interpreter.key, interpreter.minor)
        prior = step.prior
        text, warnings = resolve(uv, request, executable, prior.text if prior is not None else None)
        kept: list[str] = []
        if step.upgrades and prior is not None:
            with contextlib.suppress(UvnasError):  # The text so far is not a lock.
                kept = held.reasons(uv, request, executable, prior.lock, text)
        return {"text": text, "warnings": warnings, "held": kept}

    @staticmethod
    def _fact(step: Step, text: t.Optional[LockText]) -> Result:
        """What the module returns about one lock."""
        if text is None:
            return {"action": step.action, "changed": True, "digest": None, "packages_changed": ["not known yet"]}
        before = step.on_share.all_versions if step.on_share is not None else {}
        changed = step.on_share is None or text.text != step.on_share.text
        fact: Result = {
            "action": step.action,
            "changed": changed,
            "digest": text.lock.digest,
            "packages_changed": locks.changes(before, text.lock.all_versions) if changed else [],
        }
        if changed:
            fact["versions"] = text.lock.versions
        if changed or step.given.want_text:
            fact["text"] = text.text
        return fact


def _listed(envs: t.Sequence[str]) -> str:
    """The environments that share a message."""
    more = f" and {len(envs) - _SHOWN} more" if len(envs) > _SHOWN else ""
    return f"environment{'s' * (len(envs) > 1)} {', '.join(envs[:_SHOWN])}{more}"
