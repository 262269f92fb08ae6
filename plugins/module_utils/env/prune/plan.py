# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which generations, interpreters and versions of uv of a share may go, and why others stay. Pure.

That is the share's own view. Whether a process or a job on any host uses them is another question.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ...errors import SpecError

GENERATION, INTERPRETER, UV = "generation", "interpreter", "uv"
KINDS = (GENERATION, INTERPRETER, UV)


@dataclasses.dataclass(frozen=True)
class Keep:
    """What stays in any case: so many retired generations of each environment, and whatever was retired since."""

    generations: int = 2
    days: float = 30.0

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Keep:
        """The value of ``uvnas_keep``. Raises SpecError."""
        given = {name: value for name, value in params.items() if value is not None}
        found = cls(**given)
        for name, value in dataclasses.asdict(found).items():
            if not 0 <= value < 1_000_000:
                raise SpecError(f"uvnas_keep: {name} is {value:g}; it must be a number from 0 on")
        return found


@dataclasses.dataclass(frozen=True)
class Item:
    """Something that may go, as far as its share is concerned."""

    kind: str
    # ``train/3f0c…``, uv's key of an interpreter, or a version of uv.
    name: str
    # Since when nothing on the share needs it: ISO 8601, UTC. None: nobody knows.
    retired: t.Optional[str] = None
    # Whether it has been put aside, by this prune or by one that did not end.
    aside: bool = False
    # Why it has to be put back, if that is so.
    wanted: str = ""


@dataclasses.dataclass(frozen=True)
class Kept:
    """Something that stays, and why."""

    kind: str
    name: str
    why: str


@dataclasses.dataclass(frozen=True)
class Old:
    """A complete generation that is not in force."""

    id: str
    # As for Item.
    retired: t.Optional[str]
    # It was never in force.
    never: bool = False
    aside: bool = False
    # Why it stays, whatever ``uvnas_keep`` says.
    needed: str = ""


@dataclasses.dataclass(frozen=True)
class Environment:
    """What there is of an environment."""

    name: str
    old: t.Sequence[Old] = ()
    # Its name is gone from the share, and nobody declares it there.
    removed: bool = False


@dataclasses.dataclass(frozen=True)
class Unneeded:
    """An interpreter, or a version of uv."""

    kind: str
    name: str
    # As for Item; None: not on record yet.
    retired: t.Optional[str]
    aside: bool = False
    # What needs it.
    needed: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What may go; and what stays although it is not in force, and no generation needs it."""

    items: t.Sequence[Item] = ()
    kept: t.Sequence[Kept] = ()


def plan(
    environments: t.Iterable[Environment], others: t.Iterable[Unneeded], keep: Keep, now: datetime.datetime
) -> Plan:
    """What may go of all these at the time ``now``."""
    found = [each for environment in environments for each in _of_environment(environment, keep, now)]
    items = [each for each in found if isinstance(each, Item)]
    kept = [each for each in found if isinstance(each, Kept)]
    for other in others:
        if other.aside:
            items.append(Item(other.kind, other.name, other.retired, aside=True, wanted=other.needed))
        elif not other.needed:
            late = "unneeded since now; a later prune removes it"
            why = _recent(other.retired, keep, now) if other.retired else late
            if why:
                kept.append(Kept(other.kind, other.name, why))
            else:
                items.append(Item(other.kind, other.name, other.retired))
    return Plan(items, kept)


def _of_environment(environment: Environment, keep: Keep, now: datetime.datetime) -> t.Iterator[t.Union[Item, Kept]]:
    known = [old for old in environment.old if old.retired and not (old.never or old.aside or old.needed)]
    newest = sorted(known, key=lambda old: _moment(old.retired or ""), reverse=True)[: keep.generations]
    for old in environment.old:
        name = f"{environment.name}/{old.id}"
        if old.aside:
            yield Item(GENERATION, name, old.retired, aside=True, wanted=old.needed)
            continue
        why = old.needed
        if not why and not environment.removed:
            if old.retired is None:
                why = "it is not on record since when it is retired; the next run of site.yml records it"
            elif old in newest:
                why = f"among the last {keep.generations} that were retired" if keep.generations > 1 else "the last one"
            else:
                why = _recent(old.retired, keep, now)
        yield Kept(GENERATION, name, why) if why else Item(GENERATION, name, old.retired)


def _recent(retired: str, keep: Keep, now: datetime.datetime) -> str:
    """Why something stays that was retired at a time; empty if that was long ago."""
    days = (now - _moment(retired)).total_seconds() / 86400
    return f"retired for {max(0, int(days))} of {keep.days:g} days" if days < keep.days else ""


def _moment(time: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(time)
