# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where environments are tried, what came of it, and what follows: hosts answer what they want."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import trials

GROUPS = {"all": ["dev1", "gpu1", "gpu2", "old1"], "gpu": ["gpu1", "gpu2"], "empty": []}
ID = "0123456789ab"


def item(**try_on: t.Any) -> dict[str, t.Any]:
    return {"name": "torch", "try_on": try_on}


def test_hosts_declare_one_trial() -> None:
    items = [item(hosts=["gpu1"]), item(hosts=["gpu1"], at_least=1), item(hosts=["gpu2"])]
    _found, problems = trials.declared(items, GROUPS)
    assert problems == ["environment torch: hosts declare different try_on of it, and there is one trial for all"]
    assert trials.declared(items[:2], GROUPS)[1] == []


def test_hosts_and_groups_are_resolved_once_each() -> None:
    found, problems = trials.declared([item(hosts=["gpu2", "gpu", "all"], at_least=2)], GROUPS)
    assert (found, problems) == ({"torch": {"hosts": ["gpu2", "gpu1", "dev1", "old1"], "at_least": 2}}, [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"hosts": ["gpu3"]}, "try_on: gpu3 is no host or group of this inventory; did you mean"),
        ({"hosts": ["gpu"], "at_least": 3}, "try_on: at_least is 3, and its hosts are 2"),
        ({"hosts": ["empty"]}, "try_on: at_least is 1, and its hosts are 0"),
    ],
)
def test_what_makes_no_sense_is_a_problem(given: dict[str, t.Any], said: str) -> None:
    _found, problems = trials.declared([item(**given)], GROUPS)
    assert len(problems) == 1
    assert said in problems[0]


def test_what_is_to_go_is_not_tried() -> None:
    assert trials.declared([{**item(hosts=["nowhere"]), "state": "absent"}, {"name": "plain"}], GROUPS) == ({}, [])


# Outcomes


def known(*hosts: str, at_least: int = 1, try_hosts: t.Sequence[str] = ("gpu1", "gpu2", "old1")) -> dict[str, t.Any]:
    """What uv_declaration returns for two shares: dev1 builds both, gpu nodes use nas_a, old1 uses nas_b."""
    shares = [
        {"name": name, "root": "/mnt", "builder": "dev1", "environments": ["torch"]} for name in ("nas_a", "nas_b")
    ]
    work = {
        "dev1": {"builds": [{"name": "nas_a"}, {"name": "nas_b"}], "uses": shares, "shares": shares},
        "gpu1": {"builds": [], "uses": shares[:1], "shares": shares[:1]},
        "old1": {"builds": [], "uses": shares[1:], "shares": shares[1:]},
    }
    work["gpu2"] = work["gpu1"]
    numbers = {host: number for number, host in enumerate(hosts)}
    return {
        "work": [work[host] for host in hosts],
        "hosts": numbers,
        "trials": {"torch": {"hosts": list(try_hosts), "at_least": at_least}},
    }


def built(generation: t.Any = ID, awaits: t.Any = True, *, on_b: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
    fact = {"name": "torch", "action": "build", "awaits": awaits, "declared_id": generation}
    facts = {"nas_a": fact, "nas_b": {**fact, **(on_b or {})}}
    results = [{"__uvnas_share": {"name": name}, "environments": [about]} for name, about in facts.items()]
    return {"__uvnas_envs_done": {"results": results}}


def said(share: str, problem: t.Any = None, generation: str = ID) -> dict[str, t.Any]:
    facts = [{"name": "torch", "id": generation, "problem": problem}]
    return {"__uvnas_tried": {"results": [{"__uvnas_share": {"name": share}, "environments": facts}]}}


ALL = ("dev1", "gpu1", "gpu2", "old1")


def outcome(hostvars: dict[str, t.Any], *hosts: str, **more: t.Any) -> trials.Outcome:
    everybody = {host: {} for host in ALL}
    (found,) = trials.outcomes(known(*(hosts or ALL), **more), {**everybody, **hostvars})
    return found


def test_all_that_answer_are_well() -> None:
    found = outcome({"dev1": built(), "gpu1": said("nas_a"), "gpu2": said("nas_a"), "old1": said("nas_b")})
    assert found.is_well
    assert str(found) == "tried on gpu1, gpu2, old1"
    assert list(found.shares) == ["nas_a", "nas_b"]


def test_one_that_is_not_well_is_enough() -> None:
    hostvars = {"dev1": built(), "gpu1": said("nas_a"), "gpu2": {}, "old1": said("nas_b", "no glibc\nat all")}
    found = outcome(hostvars)
    assert not found.is_well
    assert str(found) == "tried on gpu1, FAILED on old1, not tried on gpu2"
    assert trials.to_publish(known(*ALL), hostvars, "dev1") == []
    assert trials.told(known(*ALL), hostvars) == (
        [],
        [
            f"environment torch: its generation {ID} is not published on nas_a, nas_b: {found}",
            "old1: no glibc\nat all",
        ],
    )


def test_too_few_have_answered() -> None:
    found = outcome({"dev1": built(), "gpu1": said("nas_a")}, "dev1", "gpu1", at_least=2)
    assert not found.is_well
    assert str(found) == "tried on gpu1, not tried on gpu2, old1, 2 have to answer"


def test_hosts_outside_of_the_run_are_not_tried_and_do_not_matter() -> None:
    hostvars = {"dev1": built(), "gpu1": said("nas_a")}
    assert outcome(hostvars, "dev1", "gpu1").is_well
    assert [each["name"] for each in trials.to_publish(known("dev1", "gpu1"), hostvars, "dev1")] == ["nas_a", "nas_b"]


def test_an_answer_about_another_generation_is_none() -> None:
    assert not outcome({"dev1": built(), "gpu1": said("nas_a", generation="f" * 12)}).is_well


@pytest.mark.parametrize("generation", [None, 5, "../../../etc", "0123456789abc", "0123456789AB", ["x"]])
def test_a_builder_cannot_name_a_path(generation: t.Any) -> None:
    assert trials.outcomes(known("dev1", "gpu1"), {"dev1": built(generation), "gpu1": {}}) == []
    share = {"name": "nas_a"}
    hostvars = {"dev1": built(generation), "gpu1": {}}
    assert trials.to_try(known("dev1", "gpu1"), hostvars, share, "gpu1", [item()]) == []


def test_what_does_not_wait_is_not_tried() -> None:
    for awaits in (False, None, "yes", 1):
        assert trials.outcomes(known("dev1", "gpu1"), {"dev1": built(awaits=awaits), "gpu1": {}}) == []


def test_what_a_host_has_to_try() -> None:
    environments = [{"name": "torch", "imports": ["torch"], "checks": None}, {"name": "other"}]
    hostvars: dict[str, t.Any] = {"dev1": built(), "gpu1": {}}
    expected = [{"name": "torch", "generation": ID, "imports": ["torch"], "checks": []}]
    share = {"name": "nas_a"}
    assert trials.to_try(known("dev1", "gpu1"), hostvars, share, "gpu1", environments) == expected
    assert trials.to_try(known("dev1", "gpu1"), hostvars, share, "dev1", environments) == []


@pytest.mark.parametrize("problem", [5, ["x"], {"a": "b"}, "", "\x1b[2J"])
def test_a_problem_is_one_whatever_it_is(problem: t.Any) -> None:
    found = outcome({"dev1": built(), "gpu1": said("nas_a", problem)})
    assert list(found.failed) == ["gpu1"]
    assert "\x1b" not in "".join(found.failed.values())


def test_where_it_is_in_force_it_can_be_tried_for_a_share_that_came_later() -> None:
    """No host that shall try it uses that share."""
    declared = known("dev1", "gpu1", "old1", try_hosts=["old1"])
    in_force = {"awaits": None, "declared_id": None, "action": "keep", "id": ID}
    hostvars: dict[str, t.Any] = {"dev1": built(on_b=in_force), "gpu1": {}, "old1": {}}
    environments = [{"name": "torch", "imports": ["torch"]}]
    assert trials.to_try(declared, hostvars, {"name": "nas_b"}, "old1", environments)
    assert trials.to_publish(declared, hostvars, "dev1") == []
    hostvars["old1"] = said("nas_b")
    assert [each["name"] for each in trials.to_publish(declared, hostvars, "dev1")] == ["nas_a"]
    # What is in force everywhere is not tried.
    hostvars["dev1"] = built(ID, None, on_b=in_force)
    assert trials.to_try(declared, hostvars, {"name": "nas_b"}, "old1", environments) == []


def test_an_environment_is_published_on_all_shares_or_on_none() -> None:
    """Although shares with different interpreters have different generations."""
    other = "f" * 12
    hostvars = {
        "dev1": built(on_b={"declared_id": other}),
        "gpu1": said("nas_a"),
        "gpu2": {},
        "old1": said("nas_b", "oh", other),
    }
    assert trials.to_publish(known(*ALL), hostvars, "dev1") == []
    lines, wrong = trials.told(known(*ALL), hostvars)
    assert lines == []
    why = "tried on gpu1, not tried on gpu2, but another generation of it is not well"
    assert wrong == [
        f"environment torch: its generation {ID} is not published on nas_a: {why}",
        f"environment torch: its generation {other} is not published on nas_b: FAILED on old1",
        "old1: oh",
    ]
    hostvars["old1"] = said("nas_b", None, other)
    assert len(trials.to_publish(known(*ALL), hostvars, "dev1")) == 2


def test_where_it_was_tried_is_told() -> None:
    hostvars = {"dev1": built(), "gpu1": said("nas_a"), "gpu2": {}, "old1": {}}
    assert trials.told(known(*ALL), hostvars) == (
        [f"environment torch: its generation {ID} was tried on gpu1, not tried on gpu2, old1"],
        [],
    )


def test_a_cluster_that_says_the_same_is_told_once() -> None:
    nodes = [f"node{number}" for number in range(500)]
    declared = known("dev1", *["gpu1"] * len(nodes), try_hosts=nodes)
    declared["hosts"] = {"dev1": 0, **{node: number for number, node in enumerate(nodes, 1)}}
    hostvars = {"dev1": built(), **{node: said("nas_a", "no CUDA") for node in nodes}}
    _lines, wrong = trials.told(declared, hostvars)
    assert wrong[1:] == ["node0, node1, node2, node3, node4 and 495 more hosts: no CUDA"]
    hostvars.update({node: said("nas_a", f"no CUDA on {node}") for node in nodes})
    _lines, wrong = trials.told(declared, hostvars)
    assert len(wrong) == 7
    assert wrong[-1].endswith("and 490 more hosts: failed, too")


class Counted(dict[str, t.Any]):
    """As Ansible's hostvars, which take milliseconds for each look."""

    looks = 0

    def __getitem__(self, name: str) -> t.Any:
        self.looks += 1
        return super().__getitem__(name)


def test_each_host_is_looked_at_once() -> None:
    facts = [{"name": name, "action": "build", "awaits": True, "declared_id": ID} for name in ("torch", "jax")]
    done = {"__uvnas_envs_done": {"results": [{"__uvnas_share": {"name": "nas_a"}, "environments": facts}]}}
    declared = known("dev1", "gpu1", "gpu2", try_hosts=["gpu1", "gpu2"])
    declared["trials"]["jax"] = declared["trials"]["torch"]
    for todo in declared["work"]:
        todo["shares"][0]["environments"] = ["torch", "jax"]
    hostvars = Counted({"dev1": done, "gpu1": said("nas_a"), "gpu2": said("nas_a")})
    assert len(trials.outcomes(declared, hostvars)) == 2
    assert hostvars.looks <= 4


def test_what_a_host_outside_of_the_run_has_left_does_not_count() -> None:
    """Such as in a cache of facts."""
    found = outcome({"dev1": built(), "gpu1": said("nas_a"), "gpu2": said("nas_a")}, "dev1", "gpu1", at_least=2)
    assert (found.is_well, found.silent) == (False, ["gpu2", "old1"])


def test_what_a_host_says_in_the_end_is_what_happened() -> None:
    lines = [f"line {number}" for number in range(1000)]
    found = outcome({"dev1": built(), "gpu1": said("nas_a", "\n".join(["it failed:", *lines, "ImportError"]))})
    shown = found.failed["gpu1"].splitlines()
    assert shown[0] == "it failed:"
    assert shown[-1] == "ImportError"
    assert len(shown) < 50


def test_a_host_that_answers_and_cannot_try_it_has_failed() -> None:
    """Nobody knows whether that was due to what it tried. One that is down has not answered."""
    result = {"__uvnas_share": {"name": "nas_a"}, "failed": True, "msg": "share nas_a is not mounted\nMount it."}
    hostvars = {"dev1": built(), "gpu1": said("nas_a"), "gpu2": {"__uvnas_tried": {"results": [result]}}}
    found = outcome(hostvars)
    assert (found.is_well, found.failed) == (False, {"gpu2": "share nas_a is not mounted. Mount it."})
    result["unreachable"] = True
    found = outcome(hostvars)
    assert (found.is_well, found.silent) == (True, ["gpu2", "old1"])


@pytest.mark.parametrize(
    ("hosts", "at_least", "count"),
    [(["gpu1", "gpu2"], 2, None), (["gpu1", "dev1"], 2, None), (["gpu1", "plain"], 2, 1), (["plain"], 1, 0)],
)
def test_too_few_hosts_use_a_share_that_has_it(hosts: list[str], at_least: int, count: int | None) -> None:
    declared = known(*ALL, at_least=at_least, try_hosts=hosts)
    work = {host: declared["work"][number] for host, number in declared["hosts"].items()}
    work["plain"] = {"builds": [], "uses": [], "shares": []}
    problems = trials.too_few(declared["trials"], work, [*ALL, "plain"])
    assert len(problems) == (count is not None)
    if count is not None:
        assert f"at_least is {at_least}, and of its hosts {count}" in problems[0]
    # Nobody knows which shares hosts outside of the run use.
    assert trials.too_few(declared["trials"], work, ["dev1"]) == []
