# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done, from what is wanted and what is there."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import plan
from ansible_collections.uvnas.cluster.plugins.module_utils.env.plan import Found, Ingredients, Wanted
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.share.standing import Hold

SPEC = EnvironmentSpec("analysis", python="3.12", requirements=("numpy",))
INGREDIENTS = Ingredients("0" * 64, "cpython-3.12.11-linux-x86_64-gnu", "1" * 64, SPEC.build_options())
# The name of a directory on every share. If this changes, every environment everywhere is built again: mean it.
ID = "ac944245fc6d"


def wanted(ingredients: Ingredients | None = INGREDIENTS, name: str = "analysis") -> Wanted:
    return Wanted(dataclasses.replace(SPEC, name=name), ingredients)


def test_the_id_is_stable() -> None:
    assert INGREDIENTS.generation_id == wanted().generation_id == ID
    assert wanted(None).generation_id is None


@pytest.mark.parametrize(
    "changed",
    [
        {"lock_digest": "2" * 64},
        {"interpreter_key": "cpython-3.12.12-linux-x86_64-gnu"},
        {"interpreter_digest": "2" * 64},
        {"options": {**SPEC.build_options(), "compile_bytecode": False}},
        {"options": dataclasses.replace(SPEC, no_binary=("numpy",)).build_options()},
        {"options": dataclasses.replace(SPEC, system_site_packages=True).build_options()},
    ],
)
def test_the_id_depends_on_every_ingredient(changed: dict[str, t.Any]) -> None:
    assert dataclasses.replace(INGREDIENTS, **changed).generation_id != ID


def test_the_id_depends_on_nothing_else() -> None:
    other = EnvironmentSpec(
        "other", python="3.12.11", lock="x.txt", imports=("numpy",), checks=("true",), shares=("nas_b",), seed=True
    )
    assert dataclasses.replace(INGREDIENTS, options=other.build_options()).generation_id == ID
    backwards = dict(reversed(SPEC.build_options().items()))
    assert dataclasses.replace(INGREDIENTS, options=backwards).generation_id == ID


@pytest.mark.parametrize(
    ("want", "found", "action"),
    [
        (wanted(), None, plan.BUILD),
        (wanted(), Found(), plan.BUILD),
        (wanted(), Found(published="f" * 12), plan.BUILD),
        (wanted(), Found(published=ID), plan.BUILD),  # A link to a generation that was never finished, or was removed.
        (wanted(), Found(complete=True), plan.PUBLISH),
        (wanted(), Found(published="f" * 12, complete=True), plan.PUBLISH),
        (wanted(), Found(published=ID, complete=True), plan.KEEP),
        (wanted(None), None, plan.BUILD),
        (wanted(None), Found(published=ID), plan.BUILD),
    ],
)
def test_what_is_wanted(want: Wanted, found: Found | None, action: str) -> None:
    [change] = plan.plan([want], {} if found is None else {"analysis": found}, [])
    assert (change.name, change.action, change.wanted) == ("analysis", action, want)
    assert change.changes is (action != plan.KEEP)
    assert change.published == (found.published if found else None)


@pytest.mark.parametrize(
    ("found", "action"),
    [
        (None, plan.KEEP),
        (Found(), plan.KEEP),
        (Found(exists=True), plan.REMOVE),
        (Found(published=ID, complete=True, exists=True), plan.REMOVE),
    ],
)
def test_what_is_absent(found: Found | None, action: str) -> None:
    [change] = plan.plan([], {} if found is None else {"old": found}, ["old"])
    assert (change.name, change.action, change.wanted) == ("old", action, None)


def test_the_order_is_the_inventorys_and_removals_come_last() -> None:
    names = ["b", "a", "c"]
    changes = plan.plan([wanted(name=name) for name in names], {"x": Found(exists=True)}, ["z", "x"])
    assert [change.name for change in changes] == [*names, "z", "x"]


OTHER = "f" * 12
HELD = Found(published=OTHER, complete=True, hold=Hold(OTHER, "2026-11-27T14:02:31+00:00", reason="slow"))


@pytest.mark.parametrize(
    ("changed", "action"),
    [
        ({}, plan.KEEP),
        ({"complete": False}, plan.BUILD),  # Beside it.
        ({"published": ID}, plan.PUBLISH),
        ({"published": None}, plan.PUBLISH),
        ({"held_complete": False}, plan.PUBLISH),  # Somebody has removed it: the link leads nowhere.
        ({"recorded": False}, plan.RECORD),
        ({"sealed": False, "recorded": False}, plan.SEAL),
        ({"hold": None}, plan.PUBLISH),  # Released.
        ({"hold": Hold(ID, "2026-11-27T14:02:31+00:00")}, plan.PUBLISH),
        ({"hold": Hold(ID, "2026-11-27T14:02:31+00:00"), "published": ID}, plan.KEEP),
    ],
)
def test_what_is_held_stays_in_force(changed: dict[str, t.Any], action: str) -> None:
    found = dataclasses.replace(HELD, **changed)
    [change] = plan.plan([wanted()], {"analysis": found}, [])
    assert change.action == action
    assert change.target == (found.hold.id if found.hold else ID)
    assert change.as_dict()["id"] == change.target


def test_what_is_said_of_what_is_held() -> None:
    [change] = plan.plan([wanted()], {"analysis": HELD}, [])
    fact = change.as_dict()
    assert (fact["id"], fact["previous_id"], fact["declared_id"]) == (OTHER, OTHER, ID)
    assert fact["held"] == {
        "id": OTHER, "since": "2026-11-27T14:02:31+00:00", "by": "", "reason": "slow", "declared": False
    }  # fmt: skip
    [change] = plan.plan([wanted()], {"analysis": dataclasses.replace(HELD, hold=None)}, [])
    assert not {"held", "declared_id"} & set(change.as_dict())


def test_what_is_held_is_removed_where_it_is_absent() -> None:
    [change] = plan.plan([], {"analysis": dataclasses.replace(HELD, exists=True)}, ["analysis"])
    assert (change.action, change.hold, change.target) == (plan.REMOVE, None, None)
