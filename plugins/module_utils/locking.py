# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks of a share: which of them stay, which are copied from the controller, which are resolved."""

from __future__ import annotations

import dataclasses
import functools
import os
import typing as t

from . import fs
from . import lock as locks
from .errors import UvnasError, failure
from .interpreter import load_record
from .interpreter import resolve as resolve_interpreter
from .layout import EARLIER_SHARES, Layout
from .process import call_many
from .resolution import Request, resolve
from .spec import ENVIRONMENT_ARGUMENTS, EnvironmentSpec, Sources
from .uv import Uv

KEEP = "keep"
COPY = "copy"
RESOLVE = "resolve"

# What uv_lock takes to bring locks up to date, and uv_env too. Documented in the doc fragment uvnas.cluster.locks.
LOCK_ARGUMENTS: dict[str, t.Any] = {
    "upgrade": {"type": "list", "elements": "str", "default": []},
    "upgrade_packages": {"type": "list", "elements": "str", "default": []},
    "files_dir": {"type": "path"},
    "lock_dir": {"type": "path"},
    "earlier_shares": EARLIER_SHARES,
    "inputs": {"type": "dict", "default": {}},
}

# The options of uv_lock, besides those of every module that works on a share and reaches an index.
ARGUMENTS: dict[str, t.Any] = {
    **LOCK_ARGUMENTS,
    "share_name": {"type": "str", "required": True},
    "environments": {"type": "list", "elements": "dict", "required": True, "options": ENVIRONMENT_ARGUMENTS},
    "glibc": {"type": "dict", "default": {}},
    "jobs": {"type": "int", "default": 4},
}


@dataclasses.dataclass(frozen=True)
class Kept:
    """A lock in uvnas_lock_dir on the controller. ``text`` is None as long as nobody needs it."""

    text_digest: str
    spec_digest: t.Optional[str]
    text: t.Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Input:
    """What the controller knows of one environment. ``sources`` is None as long as nobody needs them."""

    spec_digest: str
    sources: t.Optional[Sources] = None
    kept: t.Optional[Kept] = None
    # Whether the controller wants the text of the lock in any case, having no copy of it.
    want_text: bool = False

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Input:
        sources, kept = data.get("sources"), data.get("kept")
        return cls(
            data["spec_digest"],
            Sources.from_dict(sources) if sources else None,
            Kept(**kept) if kept else None,
            bool(data.get("want_text")),
        )


@dataclasses.dataclass(frozen=True)
class EarlierShare:
    """Another share that this host builds, and whose locks have been brought up to date before."""

    name: str
    layout: Layout

    @classmethod
    def from_params(cls, params: t.Iterable[t.Mapping[str, str]]) -> tuple[EarlierShare, ...]:
        """From the value of a module's ``earlier_shares`` option.

        Those that belong to somebody else are left out: their owner must not decide what is on this share.
        """
        return tuple(cls(share["name"], Layout(share["root"])) for share in params if fs.is_mine(share["root"]))


@dataclasses.dataclass(frozen=True)
class Upgrade:
    """What shall be resolved anew: environments by name (or ``all``), packages by name, or both (both together:
    these packages in these environments)."""

    environments: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()

    def of(self, spec: EnvironmentSpec, on_share: t.Optional[str]) -> tuple[bool, tuple[str, ...]]:
        """For one environment: whether to upgrade everything in it, and which single packages."""
        if spec.requirements is None and not spec.requirements_files:
            return False, ()  # Its project, or whoever wrote its lock, upgrades it.
        named = bool({spec.name, "all"} & self.environments)
        if not self.packages:
            return named, ()
        if self.environments and not named:
            return False, ()
        return False, tuple(sorted({locks.normalize(package) for package in self.packages} & set(_versions(on_share))))


@dataclasses.dataclass(frozen=True)
class Step:
    """What is to be done for the lock of one environment, given its text on the share."""

    spec: EnvironmentSpec
    given: Input
    on_share: t.Optional[str]
    action: str
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    # The lock of the same environment on an earlier share, where it is one for what is declared now.
    earlier: t.Optional[str] = None
    # What was resolved before, there, if a check has to resolve here what a run would copy.
    earlier_prior: t.Optional[str] = None

    @property
    def lacks(self) -> bool:
        """Whether it cannot be done without a text that the controller has not sent yet."""
        if self.action == COPY:
            return self.copied is None
        return self.action == RESOLVE and self.given.sources is None

    @property
    def copied(self) -> t.Optional[str]:
        """What is to be the lock here if the action is COPY: the controller's, or that of an earlier share."""
        return self.given.kept.text if self.given.kept is not None and not self.upgrades else self.earlier

    @property
    def upgrades(self) -> bool:
        return self.upgrade or bool(self.upgrade_packages)

    @property
    def prior(self) -> t.Optional[str]:
        """The lock so far, whose versions are preferred."""
        kept = self.given.kept
        return kept.text if kept is not None and kept.text is not None else self.earlier_prior or self.on_share


def plan(
    layout: Layout,
    specs: t.Sequence[EnvironmentSpec],
    inputs: t.Mapping[str, Input],
    upgrade: Upgrade,
    earlier_shares: t.Sequence[EarlierShare] = (),
    *,
    check_mode: bool = False,
) -> list[Step]:
    """What is to be done, one step per environment. A converged lock costs one open, read and close per share.

    In a check, earlier shares have not been upgraded before this one. So what is to be upgraded is resolved here, from
    what there is there, and comes to the same.
    """
    steps = []
    for spec in specs:
        on_share = _text(layout, spec.name)
        everything, packages = upgrade.of(spec, on_share)
        given = inputs[spec.name]
        upgrades = everything or bool(packages)
        found = _earlier(earlier_shares, spec, given)
        earlier, prior = (None, found) if check_mode and upgrades else (found, None)
        action = decide(given, on_share, earlier, upgrades=upgrades)
        steps.append(Step(spec, given, on_share, action, everything, packages, earlier, prior))
    return steps


def current(
    layout: Layout,
    specs: t.Sequence[EnvironmentSpec],
    inputs: t.Mapping[str, Input],
    earlier_shares: t.Sequence[EarlierShare] = (),
) -> t.Optional[dict[str, str]]:
    """The digests of the locks by environment; None where one is not up to date, or its text is wanted."""
    digests = {}
    for step in plan(layout, specs, inputs, Upgrade(), earlier_shares):
        if step.action != KEEP or step.given.want_text:
            return None
        try:
            digests[step.spec.name] = locks.parse(step.on_share or "", what="its lock").digest
        except UvnasError:
            return None  # Locking tells what is wrong with it.
    return digests


def _text(layout: Layout, env: str) -> t.Optional[str]:
    content = fs.read_bytes(layout.lock(env))
    return None if content is None else content.decode(errors="replace")


def _earlier(shares: t.Sequence[EarlierShare], spec: EnvironmentSpec, given: Input) -> t.Optional[str]:
    """The lock on the first of ``shares`` that the environment is declared for, if it is one for what is declared."""
    share = next((share for share in shares if spec.on_share(share.name)), None)
    if share is None:
        return None
    try:
        text = _text(share.layout, spec.name) or ""
        locks.parse(text, what="it")
    except (OSError, UvnasError):  # That NAS has a problem, or somebody edited it. This one need not have it too.
        return None
    return text if locks.read_header(text).get("spec") == given.spec_digest else None


def decide(given: Input, on_share: t.Optional[str], earlier: t.Optional[str] = None, *, upgrades: bool = False) -> str:
    """KEEP, COPY or RESOLVE.

    A lock on the controller wins over those on shares, that of an earlier share over the one here, so that an
    environment is the same on all shares. None is resolved again unless what it was resolved from has changed, or it
    is to be upgraded; which an earlier share's has been, if it was to be.
    """
    if given.kept is not None and given.kept.spec_digest == given.spec_digest and not upgrades:
        same = on_share is not None and locks.text_digest(on_share) == given.kept.text_digest
        return KEEP if same else COPY
    if earlier is not None and (given.kept is None or upgrades):
        return KEEP if on_share == earlier else COPY
    fits = on_share is not None and locks.read_header(on_share).get("spec") == given.spec_digest
    return KEEP if given.kept is None and fits and not upgrades else RESOLVE


@dataclasses.dataclass(frozen=True)
class Locking:
    """The locks of one share at work."""

    layout: Layout
    uv: Uv
    specs: t.Sequence[EnvironmentSpec]
    inputs: t.Mapping[str, Input]
    upgrade: Upgrade
    jobs: int = 1
    lock_timeout: float = 600.0
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
        with fs.share_lock(self.layout.lock_file, timeout=self.lock_timeout, purpose="locking environments"):
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
            if step.lacks:  # Nothing was lacking before the lock of the share was taken.
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
        before = _versions(step.on_share)
        lock = locks.parse(text, what=f"environment {step.spec.name}: its lock")
        changed = text != step.on_share
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


def _versions(text: t.Optional[str]) -> dict[str, str]:
    """Version by package of a lock so far; empty where there is none, or it is no lock any more."""
    try:
        return locks.parse(text or "", what="the lock so far").versions
    except UvnasError:
        return {}
