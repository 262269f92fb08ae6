# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted + what is found → what is to be done. Pure: a run, a check and a diff all follow the same plan."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import UvnasError
from ..host.checksum import of_data
from ..share.standing import Hold
from .spec import EnvironmentSpec

BUILD = "build"
PUBLISH = "publish"
SEAL = "seal"
# Only the record of what is in force since when, and held, see share/standing.
RECORD = "record"
KEEP = "keep"
REMOVE = "remove"

# What a check may have to wait for before it can say which generation a build makes.
SHARE = "share"
INTERPRETER = "interpreter"
LOCK = "lock"

# What a build adds by itself, as a number: to be raised when that becomes something else, so that it gets a new name.
# What answers to ``pip`` does not count: see generation/no_pip.py.
_RECIPE = 3


@dataclasses.dataclass(frozen=True)
class Ingredients:
    """All that decides what a generation contains. Equal ingredients, equal generation id, on every share.

    And equal content, as far as the packages are wheels. The lock has what others are built with, and not the host.
    """

    lock_digest: str
    interpreter_key: str
    interpreter_digest: str
    options: t.Mapping[str, t.Any]

    @property
    def generation_id(self) -> str:
        """The name of the generation: 48 bits of the digest of what goes in."""
        return of_data(
            {
                "interpreter": [self.interpreter_key, self.interpreter_digest],
                "lock": self.lock_digest,
                "options": dict(self.options),
                "recipe": _RECIPE,
            }
        )[:12]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """An environment that shall be on the share. ``ingredients`` is None where a check cannot know them yet."""

    spec: EnvironmentSpec
    ingredients: t.Optional[Ingredients]

    @property
    def generation_id(self) -> t.Optional[str]:
        return self.ingredients.generation_id if self.ingredients else None


@dataclasses.dataclass(frozen=True)
class Found:
    """An environment as it is on the share."""

    # The generation that envs/<name> points to.
    published: t.Optional[str] = None
    # Whether the generation that is wanted is there, with its manifest.
    complete: bool = False
    # Whether that is sealed, as far as was looked.
    sealed: bool = True
    # Whether the environment is there to be removed, see share/standing. Looked for only where it may go.
    exists: bool = False
    # What keeps a generation in force, and whether that one is there.
    hold: t.Optional[Hold] = None
    held_complete: bool = True
    # Whether all of this is on record.
    recorded: bool = True


@dataclasses.dataclass(frozen=True)
class Change:
    """What is to be done about one environment."""

    name: str
    action: str
    wanted: t.Optional[Wanted] = None
    published: t.Optional[str] = None
    # Whether the generation that is wanted, where it is there, is sealed.
    sealed: bool = True
    # What is in force in place of what is wanted.
    hold: t.Optional[Hold] = None
    # Whether the generation that is held is there.
    held_complete: bool = True
    # Whether the generation that is wanted has to be tried on hosts before it is published.
    awaits: bool = False

    @property
    def changes(self) -> bool:
        return self.action != KEEP

    @property
    def target(self) -> t.Optional[str]:
        """The generation that is in force afterwards; None if there is none, or a check cannot know it."""
        if self.hold is not None:
            return self.hold.id
        if self.awaits:
            return self.published
        return self.wanted.generation_id if self.wanted else None

    def as_dict(self) -> dict[str, t.Any]:
        """What uv_env returns of an environment, as far as it can be said without a look at packages."""
        declared = self.wanted.generation_id if self.wanted else None
        beside: dict[str, t.Any] = {} if self.target == declared else {"declared_id": declared}
        held = {} if self.hold is None else {"held": dataclasses.asdict(self.hold), "declared_id": declared}
        awaits = {"awaits": True} if self.awaits else {}
        return {
            "name": self.name,
            "action": self.action,
            "id": self.target,
            "previous_id": self.published,
            "packages_changed": [],
            **beside,
            **held,
            **awaits,
        }


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done on a share, and what stands in the way of environments for which nothing can be."""

    changes: t.Sequence[Change]
    errors: t.Sequence[UvnasError] = ()


def plan(wanted: t.Sequence[Wanted], found: t.Mapping[str, Found], absent: t.Iterable[str]) -> list[Change]:
    """What to do, environment by environment: first those that are wanted, in order, then those to be removed."""
    changes = []
    for want in wanted:
        here = found.get(want.spec.name, Found())
        target = here.hold.id if here.hold is not None else want.generation_id
        # One that is in force and has to be built again, as it was damaged, has been tried.
        awaits = want.spec.try_on is not None and here.hold is None and (target is None or here.published != target)
        if want.generation_id is None or not here.complete:
            action = BUILD
        elif (here.published != target and not awaits) or not here.held_complete:
            action = PUBLISH
        elif not here.sealed:
            action = SEAL
        elif not here.recorded and here.published is not None:
            action = RECORD
        else:
            action = KEEP
        changes.append(
            Change(
                want.spec.name, action, want, here.published, here.sealed, here.hold, here.held_complete, awaits=awaits
            )
        )
    for name in absent:
        here = found.get(name, Found())
        changes.append(Change(name, REMOVE if here.exists else KEEP, None, here.published))
    return changes


def overtaken(env: str) -> UvnasError:
    """The error of an environment for which somebody else makes another lock."""
    return UvnasError(
        f"environment {env}: somebody else is converging a different declaration of it on this share",
        hint="Two inventories, or two versions of one, do not agree on it. See who else is at work, then run again.",
    )
