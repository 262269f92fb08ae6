# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about the locks of a share: which of them stay, which are copied, which are to be resolved."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import UvnasError
from ...host import files as fs
from ...share.layout import Layout
from ..spec import EnvironmentSpec, Sources
from . import file as locks

KEEP = "keep"
COPY = "copy"
RESOLVE = "resolve"


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
        wanted = {locks.normalize(package) for package in self.packages}
        return False, tuple(sorted(wanted & set(versions_in(on_share))))


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


def versions_in(text: t.Optional[str]) -> dict[str, str]:
    """Version by package of a lock so far; empty where there is none, or it is no lock any more."""
    try:
        return locks.parse(text or "", what="the lock so far").versions
    except UvnasError:
        return {}
