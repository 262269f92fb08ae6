# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to do for the interpreters of a share."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.python import plan as python_plan
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import SITE, Interpreter, Record
from ansible_collections.uvnas.cluster.plugins.module_utils.python.spec import SitePython, check_wanted
from ansible_collections.uvnas.cluster.plugins.module_utils.python.version import Version

PLATFORM = "x86_64-gnu"
SHA = "a" * 64


def key(version: str) -> str:
    return Version.parse(version).key(PLATFORM)


def offer(*versions: str) -> list[str]:
    return [key(version) for version in versions]


def there(version: str, **fields: t.Any) -> Interpreter:
    return Interpreter(
        key(version), version, fields.pop("digest", SHA), compiled=fields.pop("compiled", True), **fields
    )


def record(requests: dict[str, str], *interpreters: Interpreter) -> Record:
    return Record({request: key(version) for request, version in requests.items()}, {i.key: i for i in interpreters})


def site(version: str, **fields: t.Any) -> SitePython:
    return SitePython("ours", Version.parse(version), **{"prefix": "/opt/python", **fields})


CONVERGED = record({"3.12": "3.12.4"}, there("3.12.4"))


@dataclasses.dataclass
class World:
    """What a plan is made from, and what it asked."""

    offered: list[str] | None = dataclasses.field(default_factory=lambda: offer("3.13.1", "3.12.5", "3.12.4", "3.11.9"))
    missing: frozenset[str] = frozenset()
    unsealed: frozenset[str] = frozenset()
    users: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    asked: list[str] = dataclasses.field(default_factory=list)

    def plan(self, pythons: t.Sequence[str] = (), found: Record = CONVERGED, **wanted: t.Any) -> python_plan.Plan:
        sites, earlier = wanted.pop("sites", []), wanted.pop("earlier", Record())
        return python_plan.plan(
            check_wanted(pythons, sites, **wanted),
            found,
            PLATFORM,
            offered=self.downloads,
            is_there=lambda name: name in found.interpreters and name not in self.missing,
            is_sealed=lambda name: name not in self.unsealed,
            users_of=self.users_of,
            earlier=earlier,
        )

    def downloads(self) -> list[str] | None:
        self.asked.append("downloads")
        return self.offered

    def users_of(self, name: str) -> list[str]:
        self.asked.append("users")
        return self.users.get(name, [])


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_to_do_asks_nobody(world: World) -> None:
    planned = world.plan(["3.12"])
    assert not planned.changed
    assert planned.actions() == []
    assert planned.requests == {"3.12": key("3.12.4")}
    assert world.asked == []


def test_a_new_request_means_the_newest(world: World) -> None:
    planned = world.plan(["3.12", "3.13", "3.12.5"], Record())
    assert planned.requests == {"3.12": key("3.12.5"), "3.13": key("3.13.1"), "3.12.5": key("3.12.5")}
    assert [install.key for install in planned.installs] == [key("3.12.5"), key("3.13.1")]
    assert planned.actions() == [
        f"install {key('3.12.5')}",
        f"install {key('3.13.1')}",
        "3.12 is 3.12.5",
        "3.13 is 3.13.1",
    ]


def test_another_request_for_what_is_there_installs_nothing(world: World) -> None:
    assert not world.plan(["3.12", "3.12.4"]).changed
    planned = world.plan(["3.12", "3.13"], record({"3.12": "3.12.4"}, there("3.12.4"), there("3.13.1")))
    assert planned.actions() == ["3.13 is 3.13.1"]


@pytest.mark.parametrize("upgrade", [["3.12"], ["all"]])
def test_an_upgrade_takes_the_newest_and_keeps_the_old(world: World, upgrade: list[str]) -> None:
    planned = world.plan(["3.12"], upgrade=upgrade)
    assert planned.requests == {"3.12": key("3.12.5")}
    assert planned.actions() == [f"install {key('3.12.5')}", "3.12 is 3.12.4 -> 3.12.5"]
    assert planned.removals == ()


def test_an_upgrade_is_of_what_it_names(world: World) -> None:
    found = record({"3.12": "3.12.4", "3.11": "3.11.2"}, there("3.12.4"), there("3.11.2"))
    planned = world.plan(["3.12", "3.11"], found, upgrade=["3.11"])
    assert planned.requests == {"3.12": key("3.12.4"), "3.11": key("3.11.9")}


def test_an_upgrade_never_goes_back(world: World) -> None:
    found = record({"3.12": "3.12.7"}, there("3.12.7"))
    assert not world.plan(["3.12"], found, upgrade=["all"]).changed


def test_what_does_not_exist_is_an_error(world: World) -> None:
    with pytest.raises(UvnasError, match="Python 3.12.999 is not available .*the newest of 3.12 are 3.12.5, 3.12.4"):
        world.plan(["3.12", "3.12.999"], Record())
    with pytest.raises(UvnasError, match="Python 3.99 is not available .*available are 3.13, 3.12, 3.11"):
        world.plan(["3.99"], Record())


def test_what_a_site_supplies_comes_first(world: World) -> None:
    planned = world.plan(["3.12"], Record(), sites=[site("3.12.1")])
    assert planned.requests == {"3.12": key("3.12.1")}
    assert planned.actions() == [f"install {key('3.12.1')} (ours)", "3.12 is 3.12.1"]
    assert world.asked == []


def test_what_a_site_supplies_is_there_even_if_nobody_asks(world: World) -> None:
    planned = world.plan([], Record(), sites=[site("3.10.1")])
    assert [install.key for install in planned.installs] == [key("3.10.1")]


def test_a_request_stays_when_a_site_supplies_one_later(world: World) -> None:
    planned = world.plan(["3.12"], sites=[site("3.12.9")])
    assert planned.requests == {"3.12": key("3.12.4")}
    assert world.plan(["3.12"], sites=[site("3.12.9")], upgrade=["3.12"]).requests == {"3.12": key("3.12.9")}


def test_offline_prefers_what_is_there(world: World) -> None:
    found = record({"3.12.4": "3.12.4"}, there("3.12.4"))
    assert world.plan(["3.12"], found, offline=True).requests == {"3.12": key("3.12.4")}
    assert world.plan(["3.12"], found).requests == {"3.12": key("3.12.5")}


def test_a_missing_executable_is_healed(world: World) -> None:
    world.missing = frozenset({key("3.12.4")})
    planned = world.plan(["3.12"])
    assert planned.actions() == [f"install {key('3.12.4')}: its executable was missing"]
    assert world.asked == []


def test_a_request_whose_interpreter_is_unknown_is_resolved_again(world: World) -> None:
    """Killed after the request was written, or edited by hand."""
    planned = world.plan(["3.12"], record({"3.12": "3.12.4"}))
    assert planned.requests == {"3.12": key("3.12.5")}


def test_bytecode_is_compiled_later_too_and_never_taken_away(world: World) -> None:
    found = record({"3.12": "3.12.4"}, there("3.12.4", compiled=False))
    assert world.plan(["3.12"], found).actions() == [f"compile the standard library of {key('3.12.4')}"]
    assert not world.plan(["3.12"], found, compile_bytecode=False).changed
    assert not world.plan(["3.12"], compile_bytecode=False).changed


def test_other_content_replaces_what_nobody_uses(world: World) -> None:
    found = record({"3.12": "3.12.4"}, there("3.12.4", source=SITE))
    assert not world.plan(["3.12"], found, sites=[site("3.12.4")]).changed
    assert not world.plan(["3.12"], found, sites=[site("3.12.4", sha256=SHA)]).changed
    other = site("3.12.4", sha256="b" * 64)
    assert world.plan(["3.12"], found, sites=[other]).actions() == [f"install {key('3.12.4')} (ours): other content"]
    assert world.plan(["3.12"], sites=[site("3.12.4")]).actions() == [f"install {key('3.12.4')} (ours): other content"]
    world.users = {key("3.12.4"): ["train (1a2b)"]}
    with pytest.raises(UvnasError, match=r"than declared, and is in use by train \(1a2b\)"):
        world.plan(["3.12"], found, sites=[other])


@pytest.mark.parametrize("name", ["3.11.9", key("3.11.9")])
def test_removal(world: World, name: str) -> None:
    found = CONVERGED.adding(there("3.11.9"), ["3.11"])
    planned = world.plan(["3.12"], found, remove=[name])
    assert planned.removals == (key("3.11.9"),)
    assert planned.actions() == [f"remove {key('3.11.9')}"]
    assert not world.plan(["3.12"], remove=[name]).changed


def test_what_is_in_use_is_not_removed(world: World) -> None:
    world.users = {key("3.11.9"): ["legacy (1a2b)", "train (3c4d)"]}
    with pytest.raises(UvnasError, match=r"cannot be removed: legacy \(1a2b\), train \(3c4d\) use it") as raised:
        world.plan(["3.12"], CONVERGED.adding(there("3.11.9"), []), remove=["3.11.9"])
    assert "prune their old generations (uvnas.cluster.prune)" in raised.value.hint


def test_what_is_asked_for_is_not_removed_unless_an_upgrade_frees_it(world: World) -> None:
    with pytest.raises(SpecError, match="3.12.4 should be removed, but is also requested"):
        world.plan(["3.12"], remove=["3.12.4"])
    with pytest.raises(SpecError, match="also requested"):
        world.plan([], sites=[site("3.12.4")], found=record({}, there("3.12.4", source=SITE)), remove=["3.12.4"])
    planned = world.plan(["3.12"], upgrade=["3.12"], remove=["3.12.4"])
    assert planned.removals == (key("3.12.4"),)


def test_a_check_before_there_is_a_uv(world: World) -> None:
    world.offered = None
    planned = world.plan(["3.12", "3.10"], Record(), sites=[site("3.10.2")])
    assert planned.unknown == ("3.12",)
    assert planned.changed
    assert planned.actions() == [f"install {key('3.10.2')} (ours)", "install a Python 3.12", "3.10 is 3.10.2"]


@pytest.mark.parametrize("upgrade", [[], ["all"]])
@pytest.mark.parametrize("found", [Record(), record({"3.12": "3.12.5"}, there("3.12.5"), there("3.12.3"))])
def test_a_request_means_what_it_means_on_an_earlier_share(found: Record, upgrade: list[str]) -> None:
    world = World()
    planned = world.plan(["3.12"], found, upgrade=upgrade, earlier=record({"3.12": "3.12.3"}, there("3.12.3")))
    assert planned.requests == {"3.12": key("3.12.3")}
    assert "downloads" not in world.asked
    assert [install.key for install in planned.installs] == ([] if found.interpreters else [key("3.12.3")])


def test_what_an_earlier_share_does_not_know_is_resolved_here() -> None:
    planned = World().plan(["3.12", "3.13"], Record(), earlier=record({"3.13": "3.13.0"}, there("3.13.0")))
    assert planned.requests == {"3.12": key("3.12.5"), "3.13": key("3.13.0")}


@pytest.mark.parametrize(
    ("declared", "recorded"),
    [({}, SHA), ({"sha256": SHA}, SHA), ({"sha256": "b" * 64}, None)],
)
def test_the_archive_of_an_earlier_share_is_used_if_it_is_what_is_declared(
    declared: dict[str, str], recorded: str | None
) -> None:
    supplied = there("3.12.4", source=SITE, archive="it.tar.gz", archive_sha256=SHA)
    planned = World().plan(["3.12"], Record(), sites=[site("3.12.4", **declared)], earlier=record({}, supplied))
    (install,) = planned.installs
    assert (install.recorded and install.recorded.digest) == recorded


# Sealing


def test_what_is_not_sealed_is_sealed_asked_for_or_not() -> None:
    found = record({"3.12": "3.12.4"}, there("3.12.4"), there("3.11.9"), there("3.13.1"))
    world = World(unsealed=frozenset({key("3.12.4"), key("3.11.9")}))
    planned = world.plan(["3.12"], found)
    assert (planned.changed, planned.actions()) == (True, [f"seal {key('3.12.4')}", f"seal {key('3.11.9')}"])
    gone = frozenset({key("3.11.9")})
    assert not World(missing=gone, unsealed=gone).plan(["3.12"], found).changed


def test_what_is_made_otherwise_or_goes_is_not_sealed_twice() -> None:
    found = record({"3.12": "3.12.4"}, there("3.12.4", compiled=False), there("3.11.9"))
    world = World(unsealed=frozenset({key("3.12.4"), key("3.11.9")}))
    planned = world.plan(["3.12"], found, compile_bytecode=True, remove=["3.11.9"])
    assert (planned.compiles, planned.removals, planned.seals) == ((key("3.12.4"),), (key("3.11.9"),), ())


def test_one_whose_installation_did_not_end_is_installed_anew(world: World) -> None:
    planned = world.plan(["3.12"], record({"3.12": "3.12.4"}, there("3.12.4", unfinished=True)))
    assert planned.actions() == [f"install {key('3.12.4')}: its installation was not finished"]
