# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about the locks of a share: which to keep, which to copy, which to resolve."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import SpecError, UvnasError, as_uvnas_error
from ...host import files
from ...host.data import is_text
from ...share.layout import Layout
from ...share.spec import Share
from ...uv.wheel import normalize
from ..spec import EnvironmentSpec, Sources
from .file import LockText, parse

KEEP = "keep"
COPY = "copy"
RESOLVE = "resolve"


@dataclasses.dataclass(frozen=True)
class Kept:
    """A lock in uvnas_lock_dir on the controller. ``text`` is None until somebody needs it."""

    text_digest: str
    spec_digest: t.Optional[str]
    text: t.Optional[LockText] = None

    @classmethod
    def of(cls, text: LockText) -> Kept:
        return cls(text.digest, text.spec_digest, text)

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any], env: str) -> Kept:
        """The lock that as_dict() described. Raises SpecError if it cannot have been one."""
        digest, spec, text = (data.get(key) for key in ("text_digest", "spec_digest", "text"))
        if not (is_text(digest) and all(value is None or is_text(value) for value in (spec, text))):
            raise SpecError(f"inputs: the lock of {env} is damaged")
        what = f"environment {env}: its lock in uvnas_lock_dir"
        return cls(str(digest), spec, None if text is None else LockText(text, what))

    def as_dict(self, *, with_text: bool) -> dict[str, t.Any]:
        text = self.text.text if self.text is not None and with_text else None
        return {"text_digest": self.text_digest, "spec_digest": self.spec_digest, "text": text}


@dataclasses.dataclass(frozen=True)
class Input:
    """What the controller knows about one environment. ``sources`` is None until somebody needs them."""

    spec_digest: str
    sources: t.Optional[Sources] = None
    kept: t.Optional[Kept] = None
    # Whether the controller wants the text of the lock even if it stays, having no copy of it.
    want_text: bool = False

    def keeping(self, text: t.Optional[LockText], *, keeps: bool) -> Input:
        """This, with the lock that the controller keeps (None: none yet); ``keeps``: whether it keeps locks at all."""
        return dataclasses.replace(self, kept=Kept.of(text) if text else None, want_text=keeps and text is None)

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any], env: str) -> Input:
        """The input that as_dict() described. Raises SpecError if it cannot have been one."""
        digest, sources, kept = (data.get(key) for key in ("spec_digest", "sources", "kept"))
        if not (is_text(digest) and isinstance(sources or {}, dict) and isinstance(kept or {}, dict)):
            raise SpecError(f"inputs: those of {env} are damaged")
        return cls(
            str(digest),
            Sources.from_dict(sources) if sources else None,
            Kept.from_dict(kept, env) if kept else None,
            bool(data.get("want_text")),
        )

    def as_dict(self, *, with_texts: bool) -> dict[str, t.Any]:
        """As plain data for the builder, which needs no texts until it asks for them."""
        return {
            "spec_digest": self.spec_digest,
            "sources": self.sources.as_dict() if self.sources is not None and with_texts else None,
            "kept": self.kept.as_dict(with_text=with_texts) if self.kept is not None else None,
            "want_text": self.want_text,
        }


def inputs_from_params(params: t.Mapping[str, t.Any], specs: t.Iterable[EnvironmentSpec]) -> dict[str, Input]:
    """What the controller knows about ``specs``, from a module's ``inputs`` option. Raises SpecError."""
    found = {}
    for spec in specs:
        given = params.get(spec.name)
        if not isinstance(given, dict):
            raise SpecError(f"inputs: environment {spec.name} is missing")
        found[spec.name] = Input.from_dict(given, spec.name)
    return found


@dataclasses.dataclass(frozen=True)
class Upgrade:
    """What to resolve anew: environments by name (or ``all``), packages by name, or both (then these packages in these
    environments)."""

    environments: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()

    @staticmethod
    def can(spec: EnvironmentSpec) -> bool:
        """Whether an environment can be upgraded from here, and not only in its project or its ready-made lock."""
        return spec.requirements is not None or bool(spec.requirements_files)

    def names(self, spec: EnvironmentSpec) -> bool:
        """Whether an environment is named; with packages, no name at all means every environment."""
        return bool({spec.name, "all"} & self.environments or (self.packages and not self.environments))

    def of(self, spec: EnvironmentSpec, on_share: t.Optional[LockText]) -> tuple[bool, tuple[str, ...]]:
        """For one environment: whether to upgrade everything in it, and which single packages."""
        if not (self.can(spec) and self.names(spec)):
            return False, ()
        if not self.packages:
            return True, ()
        wanted = {normalize(package) for package in self.packages}
        return False, tuple(sorted(wanted & (on_share.names if on_share is not None else set())))


@dataclasses.dataclass(frozen=True)
class Step:
    """What to do about the lock of one environment, given its text on the share."""

    spec: EnvironmentSpec
    given: Input
    on_share: t.Optional[LockText]
    action: str
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    # The lock of the same environment on an earlier share, if it is for the current declaration.
    earlier: t.Optional[LockText] = None
    # The lock so far on that share, if a check has to resolve here what a run would copy.
    earlier_prior: t.Optional[LockText] = None
    # Why nothing can be done: the lock on the share exists but cannot be read.
    obstacle: t.Optional[UvnasError] = None

    @property
    def lacks(self) -> bool:
        """Whether it needs a text that the controller has not sent yet."""
        if self.action == COPY:
            return self.copied is None
        return self.action == RESOLVE and self.given.sources is None

    @property
    def copied(self) -> t.Optional[LockText]:
        """What becomes the lock here if the action is COPY: the controller's, or that of an earlier share."""
        return self.given.kept.text if self.given.kept is not None and not self.upgrades else self.earlier

    @property
    def upgrades(self) -> bool:
        return self.upgrade or bool(self.upgrade_packages)

    @property
    def prior(self) -> t.Optional[LockText]:
        """The lock so far, whose versions are preferred."""
        kept = self.given.kept
        return kept.text if kept is not None and kept.text is not None else self.earlier_prior or self.on_share


def plan(
    layout: Layout,
    specs: t.Sequence[EnvironmentSpec],
    inputs: t.Mapping[str, Input],
    upgrade: Upgrade,
    earlier_shares: t.Sequence[Share] = (),
    *,
    check_mode: bool = False,
) -> list[Step]:
    """What to do, one step per environment. A converged lock costs one open, read and close per share.

    In a check, earlier shares have not been upgraded before this one. So upgrades are resolved here, from the locks on
    the earlier share, which comes to the same.
    """
    steps = []
    for spec in specs:
        given = inputs[spec.name]
        try:
            on_share = read(layout, spec.name)
        except (UvnasError, OSError) as error:
            steps.append(Step(spec, given, None, KEEP, obstacle=as_uvnas_error(error)))
            continue
        everything, packages = upgrade.of(spec, on_share)
        upgrades = everything or bool(packages)
        found = _earlier(earlier_shares, spec, given)
        earlier, prior = (None, found) if check_mode and upgrades else (found, None)
        action = decide(given, on_share, earlier, upgrades=upgrades)
        steps.append(Step(spec, given, on_share, action, everything, packages, earlier, prior))
    return steps


def needs(steps: t.Iterable[Step]) -> list[str]:
    """The environments whose texts the controller must send before the plan can be done."""
    return [step.spec.name for step in steps if step.lacks]


def digests(steps: t.Iterable[Step]) -> t.Optional[dict[str, str]]:
    """The digests of the locks by environment; None if one is not up to date, or its text is wanted."""
    found = {}
    for step in steps:
        if step.action != KEEP or step.given.want_text or step.on_share is None:
            return None
        try:
            # Not by its ``lock``, which would be kept: a hundred of them, and nobody asks for anything else.
            found[step.spec.name] = parse(step.on_share.text, what=step.on_share.what).digest
        except UvnasError:
            return None  # Locking reports what is wrong with it.
    return found


def read(layout: Layout, env: str) -> t.Optional[LockText]:
    """The lock of an environment on a share; None where there is none."""
    path = layout.lock(env)
    content = files.read_bytes(path)
    if content is None:
        return None
    hint = f"Was {path} edited? Fix it, or remove it: the next run recreates it."
    return LockText(content.decode(errors="replace"), f"environment {env}: its lock", hint)


def _earlier(shares: t.Sequence[Share], spec: EnvironmentSpec, given: Input) -> t.Optional[LockText]:
    """The environment's lock on the first of ``shares`` it is declared for, if it is for the current declaration."""
    share = next((share for share in shares if spec.on_share(share.name)), None)
    if share is None:
        return None
    try:
        text = read(share.layout, spec.name)
        if text is None or text.spec_digest != given.spec_digest:
            return None
        _lock = text.lock
    except (OSError, UvnasError):  # Trouble on that NAS, or an edited lock, must not spread here.
        return None
    return text


def decide(
    given: Input, on_share: t.Optional[LockText], earlier: t.Optional[LockText] = None, *, upgrades: bool = False
) -> str:
    """KEEP, COPY or RESOLVE.

    A lock on the controller wins over those on shares, that of an earlier share over the one here, so that an
    environment is the same on all shares. A lock is resolved again only if what it was resolved from has changed, or
    for an upgrade; that of an earlier share has been upgraded already.
    """
    if given.kept is not None and given.kept.spec_digest == given.spec_digest and not upgrades:
        same = on_share is not None and on_share.digest == given.kept.text_digest
        return KEEP if same else COPY
    if earlier is not None and (given.kept is None or upgrades):
        return KEEP if on_share is not None and on_share.text == earlier.text else COPY
    fits = on_share is not None and on_share.spec_digest == given.spec_digest
    return KEEP if given.kept is None and fits and not upgrades else RESOLVE
