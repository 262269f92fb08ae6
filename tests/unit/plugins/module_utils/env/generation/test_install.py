# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built when, with what, and under which name uv keeps it. With the real uv: see lock/test_builds.py."""

from __future__ import annotations

import typing as t

from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation.install import Turn, turns
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import Build, Lock, Package


def packages(*pins: str) -> tuple[Package, ...]:
    split = [(pin, *pin.split("==")) for pin in pins]
    return tuple(Package(name, version, "", ("sha256:1",), pin) for pin, name, version in split)


def build(pin: str, *requires: str) -> Build:
    name, _equal, version = pin.partition("==")
    return Build(name, version, packages(*requires))


def lock(*builds: Build, installs: tuple[str, ...] = ("a==1",)) -> Lock:
    return Lock(packages(*installs), None, builds)


def shown(found: list[Turn]) -> list[tuple[list[str], list[str]]]:
    return [([build.pin for build in turn.builds], sorted(p.pin for p in turn.allowed)) for turn in found]


def unsaid(*anyhow: Build) -> t.Mapping[str, str]:
    """The variables of what might be built, while the lock does not say with what."""
    return turns(lock(*anyhow))[0].variables["a"]


def test_wheels_are_installed_in_one_turn_that_may_build_nothing() -> None:
    assert turns(lock()) == [Turn((), (), {"a": unsaid()})]


def test_what_agrees_is_built_at_once() -> None:
    found = turns(lock(build("b==1", "s==1"), build("a==1", "b==1", "s==1")))
    assert shown(found) == [(["b==1", "a==1"], ["b==1", "s==1"])]
    assert {name for name, given in found[0].variables.items() if given != unsaid()} == {"a", "b"}
    assert set(found[0].variables) == {"a", "b", "s"}


def test_what_does_not_is_built_in_turns() -> None:
    found = turns(lock(build("b==1", "s==1"), build("a==1", "s==2", "b==1"), installs=("a==1", "b==1")))
    assert shown(found) == [(["b==1"], ["s==1"]), (["a==1"], ["b==1", "s==2"])]
    # The second finds what the first has built.
    assert found[0].variables["b"] == found[1].variables["b"] != found[1].variables["a"]


def test_what_is_installed_is_not_taken_for_what_a_build_asks_for() -> None:
    found = turns(lock(build("b==1"), build("a==1", "b==1"), installs=("a==1", "b==2")))
    assert shown(found) == [(["b==1", "a==1"], ["b==1"]), ([], [])]
    assert found[1].variables == {"a": found[0].variables["a"], "b": unsaid()}


def test_what_any_build_may_use_gives_way() -> None:
    found = turns(lock(build("a==1", "s==1"), build("", "s==2", "cmake==4")))
    assert shown(found) == [(["a==1"], ["cmake==4", "s==1"])]


def test_what_any_build_may_use_may_be_built_itself() -> None:
    gear, anyhow = build("gear==1", "s==1"), build("", "gear==1")
    found = turns(lock(gear, build("a==1", "t==1"), anyhow))
    assert {name for name, given in found[-1].variables.items() if given != unsaid(anyhow)} == {"gear", "a"}
    # Or the lock has another version of it.
    newer = build("gear==2", "t==1")
    found = turns(lock(gear, newer, anyhow, installs=("gear==2",)))
    alone = turns(lock(newer, anyhow, installs=("gear==2",)))
    assert found[-1].variables["gear"] == alone[-1].variables["gear"]


def test_whatever_it_is_built_with_it_has_another_place() -> None:
    def place(*builds: Build) -> str:
        return turns(lock(*builds))[-1].variables["a"]["UVNAS_BUILD_REQUIREMENTS"]

    plain = build("a==1", "s==1", "b==1")
    places = [
        place(plain),
        place(build("a==1", "s==2", "b==1")),
        place(build("b==1", "s==1"), plain),
        place(build("b==1", "s==1", "t==1"), plain),
        place(plain, build("", "cmake==4")),
    ]
    assert len(set(places)) == len(places)
    assert place(build("a==1", "b==1", "s==1")) == places[0]
