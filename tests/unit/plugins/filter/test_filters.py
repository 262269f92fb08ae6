# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters: what one host has to do, what can be verified, and whom to ask next."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.filter import not_upgraded, todo, unanswered, unbuilt, verifiable
from ansible_collections.uvnas.cluster.plugins.plugin_utils import upgrades

NAS_A = {"name": "nas_a", "root": "/mnt/nas-a/uv", "builder": "dev1"}
NAS_B = {"name": "nas_b", "root": "/mnt/nas-b/uv", "builder": "dev2"}
FAILED = {"name": "train", "action": "failed", "previous_id": None}


def loop(*results: tuple[dict[str, str], dict[str, t.Any]]) -> dict[str, t.Any]:
    """What a task registers that is done for shares."""
    return {"results": [{**result, "__uvnas_share": share} for share, result in results]}


def test_the_names_of_the_filters() -> None:
    for module, name in ((todo, "todo"), (unanswered, "unanswered"), (unbuilt, "unbuilt"), (verifiable, "verifiable")):
        assert list(module.FilterModule().filters()) == [name]


HOSTS = ["dev1", "dev2", "node1"]


@pytest.mark.parametrize(
    ("dev1", "well", "left"),
    [
        ({}, HOSTS, ["nas_a", "nas_b"]),
        # It failed before it could say anything of environments.
        ({}, HOSTS[1:], ["nas_b"]),
        ({"__uvnas_envs_done": loop((NAS_A, {"failed": True, "msg": "hung"}))}, HOSTS[1:], ["nas_b"]),
        ({"__uvnas_envs_done": {"unreachable": True}}, HOSTS[1:], ["nas_b"]),
        # Of another share.
        ({"__uvnas_envs_done": loop((NAS_B, {"environments": [FAILED]}))}, HOSTS[1:], ["nas_b"]),
        # It said which of them failed: the others are verified.
        ({"__uvnas_envs_done": loop((NAS_A, {"environments": [FAILED]}))}, HOSTS[1:], ["nas_a", "nas_b"]),
        # It fails now, as any member may.
        ({"__uvnas_verify_seen": loop((NAS_A, {"failed": True}))}, HOSTS[1:], ["nas_a", "nas_b"]),
    ],
)
def test_shares_of_a_builder_that_failed_are_not_verified(
    dev1: dict[str, t.Any], well: list[str], left: list[str]
) -> None:
    hostvars = {"dev1": dev1, "dev2": {}, "node1": {}}
    found = verifiable.verifiable([NAS_A, NAS_B], hostvars, HOSTS, well)
    assert [share["name"] for share in found] == left


def test_a_builder_outside_of_this_run_has_not_failed() -> None:
    assert verifiable.verifiable([NAS_A], {"dev1": {}, "node1": {}}, ["node1"], ["node1"]) == [NAS_A]


@pytest.mark.parametrize("nonsense", [None, 5, [5], [{}], [{"name": "train"}], [{"name": 5, "action": "failed"}]])
def test_environments_that_were_not_built(nonsense: t.Any) -> None:
    done = loop((NAS_B, {"environments": [FAILED]}), (NAS_A, {"environments": nonsense}))
    assert unbuilt.unbuilt({"dev1": {"__uvnas_envs_done": done}}, NAS_A) == []
    done = loop((NAS_A, {"environments": [{**FAILED, "previous_id": "x", "name": "old"}, FAILED]}))
    assert unbuilt.unbuilt({"dev1": {"__uvnas_envs_done": done}}, NAS_A) == ["train"]


def test_others_are_asked_where_a_host_could_not_look() -> None:
    declared = {"work": [{"uses": [NAS_A, NAS_B]}], "hosts": dict.fromkeys(HOSTS, 0)}
    good, bad = {"environments": []}, {"failed": True, "msg": "hung"}
    hostvars: dict[str, dict[str, t.Any]] = {
        "dev1": {"__uvnas_info": loop((NAS_A, good))},
        "dev2": {"__uvnas_info": loop((NAS_B, good))},
        "node1": {},
    }
    assert unanswered.unanswered(declared, hostvars) == {}
    hostvars["dev2"] = {"__uvnas_info": loop((NAS_B, bad))}
    assert unanswered.unanswered(declared, hostvars) == {"dev1": [NAS_B], "node1": [NAS_B]}
    hostvars["node1"] = {"__uvnas_info_again": loop((NAS_B, good))}
    assert unanswered.unanswered(declared, hostvars) == {}


@pytest.mark.parametrize("share", [None, 5, "nas_a", [], {}, {"name": 5}])
def test_what_looks_like_a_loop_but_is_a_hosts_own_word(share: t.Any) -> None:
    """A builder that fails early can say it as a fact, and must not take members with it."""
    hostvars = {"dev1": {"__uvnas_envs_done": {"results": [{"__uvnas_share": share, "environments": [FAILED]}, {}]}}}
    assert unbuilt.unbuilt(hostvars, NAS_A) == []


def test_a_nas_that_answers_nobody_does_not_keep_all_hosts_waiting_for_it() -> None:
    """They are asked one after the other. From all over the cluster, as whole racks may be down."""
    nodes = [f"node{number:04}" for number in range(1000)]
    declared = {"work": [{"uses": [NAS_A, NAS_B]}], "hosts": dict.fromkeys(["dev1", *nodes], 0)}
    hung = loop((NAS_A, {"failed": True, "msg": "hung"}))
    hostvars: dict[str, dict[str, t.Any]] = {"dev1": {"__uvnas_info": hung}, **{node: {} for node in nodes}}
    found = unanswered.unanswered(declared, hostvars)
    assert len([host for host, shares in found.items() if NAS_A in shares]) == 10
    assert "dev1" not in [host for host, shares in found.items() if NAS_A in shares]
    assert max(found) >= "node0900"
    # It does not change while they are asked.
    hostvars[nodes[0]] = {"__uvnas_info_again": hung}
    assert unanswered.unanswered(declared, hostvars) == found


def test_packages_to_upgrade_are_looked_for_in_what_builders_said_of_their_shares() -> None:
    declared = {"work": [{"builds": [NAS_A]}, {"builds": []}], "hosts": {"dev1": 0, "node1": 1}}
    asked: dict[str, t.Any] = {"numpyy": {key: [] for key in upgrades._KEYS}}
    for share in (NAS_A, NAS_B, None, []):
        done = {"results": [{"__uvnas_share": share, "upgrade_packages": asked}]}
        hostvars = {
            "dev1": {"__uvnas_declared": declared, "__uvnas_envs_done": done},
            "node1": {"__uvnas_declared": declared, "__uvnas_envs_done": done},
        }
        found = not_upgraded.not_upgraded(hostvars, ["dev1", "node1"])
        assert found == (["numpyy cannot be upgraded: no lock has it."] if share is NAS_A else [])
