# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which generations, interpreters and versions of uv may go, as far as their share is concerned."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.prune.plan import (
    GENERATION,
    INTERPRETER,
    UV,
    Environment,
    Item,
    Keep,
    Kept,
    Old,
    Unneeded,
    plan,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError

NOW = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)


def ago(days: float) -> str:
    return (NOW - datetime.timedelta(days=days)).isoformat()


def old(number: int, days: float | None, **more: t.Any) -> Old:
    return Old(str(number) * 12, None if days is None else ago(days), **more)


def of(*generations: Old, removed: bool = False, **keep: t.Any) -> dict[str, str]:
    """Why each generation stays, by the first digit of its id; empty if it may go."""
    found = plan([Environment("train", generations, removed)], [], Keep(**keep), NOW)
    whys = {**{item.name: "" for item in found.items}, **{kept.name: kept.why for kept in found.kept}}
    assert {each.kind for each in (*found.items, *found.kept)} <= {GENERATION}
    return {name.removeprefix("train/")[0]: why for name, why in whys.items()}


FOUR = (old(1, 40), old(2, 50), old(3, 60), old(4, 70))


def test_the_last_ones_stay_and_what_is_older_goes() -> None:
    last = "among the last 2 that were retired"
    assert of(*FOUR) == {"1": last, "2": last, "3": "", "4": ""}
    # Whatever order they are in.
    assert of(*reversed(FOUR)) == {"1": last, "2": last, "3": "", "4": ""}
    assert of(*FOUR, generations=1)["1"] == "the last one"
    assert [name for name, why in of(*FOUR, generations=1).items() if not why] == ["2", "3", "4"]
    assert set(of(*FOUR, generations=0).values()) == {""}
    assert "" not in of(*FOUR, generations=4).values()


@pytest.mark.parametrize(
    ("days", "why"),
    [
        (29.99, "retired for 29 of 30 days"),
        (30, ""),
        (0, "retired for 0 of 30 days"),
        (-3, "retired for 0 of 30 days"),  # The clock was set back.
    ],
)
def test_the_days(days: float, why: str) -> None:
    assert of(old(1, days), generations=0) == {"1": why}


def test_a_part_of_a_day_and_none() -> None:
    assert of(old(1, 0.4), generations=0, days=0.5)["1"] == "retired for 0 of 0.5 days"
    assert of(old(1, 0), generations=0, days=0) == {"1": ""}


def test_times_of_several_zones_are_compared_as_times() -> None:
    late = Old("1" * 12, "2026-01-01T23:00:00-05:00")
    early = Old("2" * 12, "2026-01-02T01:00:00+00:00")
    assert of(early, late, generations=1) == {"1": "the last one", "2": ""}


def test_what_was_never_in_force_is_none_of_the_last() -> None:
    """Or else failed trials would push out what one can go back to."""
    found = of(old(1, 31, never=True), old(2, 40), old(3, 50), old(4, 5, never=True))
    last = "among the last 2 that were retired"
    assert found == {"1": "", "2": last, "3": last, "4": "retired for 5 of 30 days"}


def test_what_is_needed_stays_whatever_else_and_is_none_of_the_last() -> None:
    found = of(old(1, 99, needed="held at 1"), old(2, 40), old(3, 50), generations=1, days=0)
    assert found == {"1": "held at 1", "2": "the last one", "3": ""}
    assert of(old(1, 99, needed="held at 1"), removed=True) == {"1": "held at 1"}


def test_what_nobody_knows_the_time_of_stays() -> None:
    (why,) = of(old(1, None), generations=0, days=0).values()
    assert why.startswith("it is not on record since when it is retired")


def test_of_a_removed_environment_all_goes() -> None:
    assert of(old(1, 0), old(2, None), old(3, 3, never=True), removed=True, generations=9) == dict.fromkeys("123", "")


def test_what_is_aside_goes_or_is_wanted_back() -> None:
    given = [old(1, 0, aside=True), old(2, 99, aside=True, needed="held at 2"), old(3, 50)]
    found = plan([Environment("train", given)], [], Keep(generations=1), NOW)
    assert list(found.items) == [
        Item(GENERATION, f"train/{'1' * 12}", ago(0), aside=True),
        Item(GENERATION, f"train/{'2' * 12}", ago(99), aside=True, wanted="held at 2"),
    ]
    # It is none of the last.
    assert list(found.kept) == [Kept(GENERATION, f"train/{'3' * 12}", "the last one")]


def test_interpreters_and_versions_of_uv() -> None:
    given = [
        Unneeded(INTERPRETER, "new", None),
        Unneeded(INTERPRETER, "recent", ago(3)),
        Unneeded(INTERPRETER, "old", ago(31)),
        Unneeded(INTERPRETER, "needed", ago(31), needed="3.12 is requested"),
        Unneeded(UV, "0.13.8", ago(31)),
        Unneeded(UV, "0.13.7", None, aside=True),
        Unneeded(INTERPRETER, "back", ago(1), aside=True, needed="3.11 is requested"),
    ]
    found = plan([], given, Keep(generations=9), NOW)
    assert [(item.name, item.aside, item.wanted) for item in found.items] == [
        ("old", False, ""),
        ("0.13.8", False, ""),
        ("0.13.7", True, ""),
        ("back", True, "3.11 is requested"),
    ]
    whys = {kept.name: kept.why for kept in found.kept}
    assert (whys["new"], whys["recent"]) == ("unneeded since now; a later prune removes it", "retired for 3 of 30 days")


def test_what_is_kept() -> None:
    assert Keep.from_params({}) == Keep(2, 30.0)
    assert Keep.from_params({"generations": None, "days": 0.5}) == Keep(2, 0.5)
    assert Keep.from_params({"generations": 0, "days": 0}) == Keep(0, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"generations": -1}, "uvnas_keep: generations is -1; it must be a number from 0 on"),
        ({"days": -0.5}, "uvnas_keep: days is -0.5"),
        ({"days": float("nan")}, "uvnas_keep: days is nan"),
        ({"days": float("inf")}, "uvnas_keep: days is inf"),
    ],
)
def test_what_cannot_be_kept(given: dict[str, float], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Keep.from_params(given)
