# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks of a share at work: kept, copied from the controller or another share, or resolved by uv."""

from __future__ import annotations

import dataclasses
import functools
import os
import typing as t

from ...errors import UvnasError, failure
from ...host import files as fs
from ...host.process import call_many
from ...python.record import load_record
from ...python.record import resolve as resolve_interpreter
from ...share.layout import Layout
from ...uv.command import Uv
from ..spec import EnvironmentSpec, Sources
from . import file as locks
from .plan import COPY, KEEP, RESOLVE, EarlierShare, Input, Step, Upgrade, plan, versions_in
from .resolve import Request, resolve


@dataclasses.dataclass(frozen=True)
class Locking:
    """The locks of one share at work."""

    layout: Layout
    uv: Uv
    specs: t.Sequence[EnvironmentSpec]
    inputs: t.Mapping[str, Input]
    upgrade: Upgrade
    jobs: int = 1
    busy_timeout: float = 600.0
    earlier_shares: t.Sequence[EarlierShare] = ()

    def run(self, *, check_mode: bool) -> dict[str, t.Any]:
        """Bring the locks up to date; the module's result.

        Where texts are lacking, the result names the environments in ``needs`` and nothing is done.
        """
        steps = self._plan(check_mode=check_mode)
        needs = [step.spec.name for step in steps if step.lacks]
        if needs:
            return {"changed": False, "needs": needs, "locks": {}}
        if check_mode or all(step.action == KEEP for step in steps):
            return self._result(steps, self._texts(steps))
        with fs.share_lock(self.layout.mutex, timeout=self.busy_timeout, purpose="locking environments"):
            # Somebody else may have done it meanwhile, or something else: the plan is made anew.
            steps = self._plan(check_mode=False)
            texts = self._texts(steps)
            for step in steps:
                text = texts[step.spec.name].get("text")
                if text is not None and text != step.on_share:
                    fs.write_durable(self.layout.lock(step.spec.name), text)
        return self._result(steps, texts)

    def _plan(self, *, check_mode: bool) -> list[Step]:
        shares = self.earlier_shares
        return plan(self.layout, self.specs, self.inputs, self.upgrade, shares, check_mode=check_mode)

    def _texts(self, steps: t.Sequence[Step]) -> dict[str, dict[str, t.Any]]:
        """For each step, by name: the wanted ``text`` (None: a check cannot know it), ``warnings``, or ``error``."""
        texts: dict[str, dict[str, t.Any]] = {}
        for step in steps:
            if step.lacks:  # Nothing was lacking before the mutex of the share was taken.
                changed = f"environment {step.spec.name}: its lock changed while this was running"
                texts[step.spec.name] = {"error": UvnasError(changed, hint="Run again.")}
            elif step.action == KEEP:
                texts[step.spec.name] = {"text": step.on_share}
            elif step.action == COPY:
                texts[step.spec.name] = {"text": step.copied}
        resolving = [step for step in steps if step.action == RESOLVE and not step.lacks]
        answers = call_many([functools.partial(self._resolve, step) for step in resolving], jobs=self.jobs)
        for step, answer in zip(resolving, answers):
            try:
                texts[step.spec.name] = answer()
            except UvnasError as error:
                texts[step.spec.name] = {"error": error}
        return texts

    def _resolve(self, step: Step) -> dict[str, t.Any]:
        if not os.path.exists(self.layout.uv):
            return {"text": None}  # A check before there is a uv on the share.
        interpreter = resolve_interpreter(load_record(self.layout), step.spec.python)
        request = Request(
            step.spec,
            step.given.spec_digest,
            step.given.sources or Sources(),
            step.upgrade,
            step.upgrade_packages,
        )
        executable = self.layout.interpreter_bin(interpreter.key, interpreter.minor)
        text, warnings = resolve(self.uv, request, executable, step.prior)
        return {"text": text, "warnings": warnings}

    def _result(self, steps: t.Sequence[Step], texts: t.Mapping[str, dict[str, t.Any]]) -> dict[str, t.Any]:
        facts, diffs, errors, warnings = {}, [], [], []
        for step in steps:
            answer = texts[step.spec.name]
            if "error" in answer:
                errors.append(answer["error"])
                continue
            try:
                fact = self._fact(step, answer["text"])
            except UvnasError as error:
                errors.append(error)
                continue
            warnings += answer.get("warnings", [])
            facts[step.spec.name] = fact
            if fact["changed"]:
                lines = [f"lock {step.spec.name}:", *(f"  {line}" for line in fact["packages_changed"])]
                diffs.append({"prepared": "".join(f"{line}\n" for line in lines)})
        result: dict[str, t.Any] = {
            "changed": any(fact["changed"] for fact in facts.values()),
            "locks": facts,
            "diff": diffs,
            "warnings": warnings,
        }
        return {**result, **failure(errors, len(steps), "lock")}

    def _fact(self, step: Step, text: t.Optional[str]) -> dict[str, t.Any]:
        """What the module returns about one lock."""
        if text is None:
            return {"action": step.action, "changed": True, "digest": None, "packages_changed": ["not known yet"]}
        before = versions_in(step.on_share)
        changed = text != step.on_share
        path = self.layout.lock(step.spec.name)
        hint = "" if changed else f"Was {path} edited? Put it right, or remove it: the next run makes it anew."
        lock = locks.parse(text, what=f"environment {step.spec.name}: its lock", hint=hint)
        fact: dict[str, t.Any] = {
            "action": step.action,
            "changed": changed,
            "digest": lock.digest,
            "packages_changed": locks.changes(before, lock.versions) if changed else [],
        }
        if changed:
            fact["versions"] = lock.versions
        if changed or step.given.want_text:
            fact["text"] = text
        return fact
