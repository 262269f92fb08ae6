# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines that a run ends with, compared literally, and what hosts that answer nonsense make of them."""

from __future__ import annotations

import itertools
import json
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import info, report, summary
from ansible_collections.uvnas.cluster.plugins.plugin_utils.report import Hosts, Share

TIME = "2026-01-31T12:00:00+00:00"
NAS_A = Share("nas_a", "/mnt/nas-a/uv", "dev1", frozenset({"train", "docs", "gone", "never", "analysis", "sealed"}))
NAS_B = Share("nas_b", "/mnt/nas-b/uv", "dev2", frozenset({"train"}))
GENERATED = ["numpy 2.2.6 -> 2.4.6", "rich 14.0 (new)", "mdurl 0.1 (new)", "tqdm 4.67 (removed)"]


def loop(share: str, **result: t.Any) -> dict[str, t.Any]:
    return {"results": [{**result, "__uvnas_share": {"name": share}}]}


def seen(name: str, version: str, packages: int, size: int, own: int) -> dict[str, t.Any]:
    return {
        "name": name,
        "id": "3f9a0c2b71de",
        "python": {"version": version},
        "package_count": packages,
        "size": {"bytes": size, "own_bytes": own},
    }


def done(name: str, action: str, before: str | None = "91be02cc7a1f", **more: t.Any) -> dict[str, t.Any]:
    fact = {"name": name, "action": action, "id": "3f9a0c2b71de", "previous_id": before, "packages_changed": []}
    return {**fact, **more}


def run(hosts: dict[str, dict[str, t.Any]], well: list[str] | None = None, *, check: bool = False) -> dict[str, t.Any]:
    known = Hosts(hosts, list(hosts) if well is None else well)
    found = report.of_run([NAS_A, NAS_B], known, check_mode=check, time=TIME)
    assert json.loads(json.dumps(found)) == found
    return found


def test_a_run() -> None:
    built = [
        done("analysis", "build", packages_changed=GENERATED, seconds=24.4),
        done("docs", "keep"),
        done("gone", "remove", seconds=0.1),
        done("never", "failed", None),
        done("sealed", "seal", seconds=2),
        done("train", "failed"),
    ]
    there = [
        seen("analysis", "3.12.11", 128, 5_312_400_000, 90_100_000),
        seen("docs", "3.13.1t", 1, 40_000, 400),
        seen("old", "3.9.1", 3, 999_400_000, 0),
        seen("sealed", "3.12.11", 12, 9_960_000, 1_000_000),
        seen("train", "3.12.11", 12, 1_000_000, 0),
    ]
    found = run(
        {
            "dev1": {
                "__uvnas_envs_done": loop("nas_a", environments=built),
                "__uvnas_verify_seen": loop("nas_a", share_id="x", environments=there),
            },
            "dev2": {
                "__uvnas_envs_done": loop("nas_b", environments=[done("train", "publish", None, seconds=200)]),
                "__uvnas_verify_seen": loop("nas_b", share_id="y", environments=[seen("train", "3.12.1", 0, 1, 1)]),
            },
            "node1": {"__uvnas_verify_seen": loop("nas_a", share_id="x", environments=[])},
        }
    )
    assert summary.lines(found) == [
        "nas_a: analysis  built         numpy 2.2.6 -> 2.4.6, +2 -1  24 s",
        "                               Python 3.12.11  128 packages  5.3 GB   (90 MB not shared)",
        "nas_a: docs      unchanged     Python 3.13.1t     1 package   40 kB   (400 B not shared)",
        "nas_a: gone      removed       0.1 s",
        "nas_a: never     FAILED        it is not on the share",
        "nas_a: old       not declared  Python 3.9.1      3 packages  999 MB     (0 B not shared)",
        "nas_a: sealed    sealed        2.0 s",
        "                               Python 3.12.11   12 packages   10 MB  (1.0 MB not shared)",
        "nas_a: train     FAILED        its generation 91be02cc7a1f stays in force",
        "                               Python 3.12.11   12 packages  1.0 MB     (0 B not shared)",
        "nas_b: train     published     new, 0 packages  3 min 20 s",
        "                               Python 3.12.1     0 packages     1 B     (1 B not shared)",
        summary.LEGEND,
    ]
    assert summary.different(found) == []
    first = found["shares"][0]
    assert (first["ids"], first["verified_by"]) == ({"x": ["dev1", "node1"]}, ["dev1", "node1"])
    assert (found["check_mode"], found["failed_hosts"], found["time"]) == (False, [], TIME)
    assert first["environments"][0] == {
        "name": "analysis", "declared": True, "seen": True, "action": "build", "id": "3f9a0c2b71de",
        "previous_id": "91be02cc7a1f", "waits_for": None, "held": None, "declared_id": None,
        "awaits": False,
        "packages_changed": GENERATED, "seconds": 24.4,
        "python": "3.12.11", "packages": 128, "bytes": 5_312_400_000, "own_bytes": 90_100_000,
    }  # fmt: skip


HELD: dict[str, t.Any] = {
    "id": "91be02cc7a1f", "since": "2026-11-27T14:02:31.000001+00:00", "by": "alice on ctl1", "reason": "too slow",
    "declared": False,
}  # fmt: skip
HELD_TEXT = "held at 91be02cc7a1f since 2026-11-27 14:02 UTC by alice on ctl1: too slow"


def holding(name: str, action: str, **more: t.Any) -> dict[str, t.Any]:
    return done(name, action, **{"id": HELD["id"], "declared_id": "3f9a0c2b71de", "held": HELD, **more})


def test_what_is_held() -> None:
    declared = {**HELD, "by": "", "reason": "", "declared": True}
    facts = [
        holding("analysis", "build", seconds=24.4),
        holding("docs", "keep", declared_id=HELD["id"], held=declared),
        holding("gone", "record"),
        holding("train", "publish", before="0123456789ab", packages_changed=["numpy 2.1 -> 2.0"], seconds=1),
    ]
    known = {"dev1": {"__uvnas_envs_done": loop("nas_a", environments=facts)}}
    known["dev2"] = {"__uvnas_envs_done": loop("nas_b", environments=[])}
    found = run(known)
    assert summary.lines(found) == [
        "nas_a: analysis  built      same packages  24 s",
        f"                            {HELD_TEXT}",
        "                            3f9a0c2b71de is what is declared",
        "nas_a: docs      unchanged  held at 91be02cc7a1f since 2026-11-27 14:02 UTC by its declaration",
        f"nas_a: gone      recorded   {HELD_TEXT}",
        "                            3f9a0c2b71de is what is declared",
        "nas_a: train     published  numpy 2.1 -> 2.0  1.0 s",
        f"                            {HELD_TEXT}",
        "                            3f9a0c2b71de is what is declared",
    ]
    (share, _other) = found["shares"]
    assert [environment["held"] for environment in share["environments"]] == [HELD, declared, HELD, HELD]
    planned = [line for line in summary.lines(run(known, check=True)) if "recorded" in line]
    assert planned == [f"nas_a: gone      would be recorded   {HELD_TEXT}"]


def test_a_rollback_that_has_not_come_to_all_shares() -> None:
    """The share did not answer then. One that its declaration holds has no part in that."""
    declared = {**HELD, "declared": True}
    found = run(
        {
            "dev1": {
                "__uvnas_envs_done": loop("nas_a", environments=[holding("train", "keep"), holding("docs", "keep")])
            },
            "dev2": {
                "__uvnas_envs_done": loop(
                    "nas_b", environments=[done("train", "keep", None), holding("docs", "keep", held=declared)]
                )
            },
        }
    )
    assert summary.lines(found)[-1] == (
        "environment train: a rollback holds it on nas_a, but not on nas_b; run it again for all of them, or release it"
    )
    assert sum("a rollback holds it" in line for line in summary.lines(found)) == 1


@pytest.mark.parametrize("damage", [{"id": None}, {"id": 5}, {"since": None}, {"since": []}, {"id": ""}])
def test_a_hold_that_makes_no_sense_is_none(damage: dict[str, t.Any]) -> None:
    assert report.held({**HELD, **damage}) is None


def test_a_hold_is_made_of_texts() -> None:
    found = report.held({**HELD, "by": ["x"], "reason": "a\nnas_b: forged", "declared": "yes", "since": "a b"})
    assert found == {**HELD, "by": "", "reason": "a?nas_b: forged", "since": "a?b"}


def test_a_plan() -> None:
    planned = [
        done("analysis", "build", packages_changed=GENERATED),
        done("docs", "keep"),
        done("gone", "remove", packages_changed=["six 1.17 (removed)"]),
        done("never", "failed", None),
        done("sealed", "seal"),
        done("train", "build", packages_changed=["six 1.16 (new)", "idna 3 (new)"], waits_for="interpreter", id=None),
    ]
    known = {"dev1": {"__uvnas_envs_done": loop("nas_a", environments=planned)}}
    for number, waits in enumerate(("share", "interpreter", "lock")):
        fact = done(f"new{number}", "build", None, waits_for=waits, id=None)
        known[f"dev{number}"] = known.get(f"dev{number}", {})
        planned.append(fact)
    known["dev2"] = {"__uvnas_envs_done": loop("nas_b", environments=[])}
    assert summary.lines(run(known, check=True)) == [
        "nas_a: analysis  would be built    numpy 2.2.6 -> 2.4.6, +2 -1",
        "nas_a: docs      unchanged",
        "nas_a: gone      would be removed",
        "nas_a: never     FAILED            it is not on the share",
        "nas_a: new0      would be built    new share; versions are known once it is locked",
        "nas_a: new1      would be built    versions are known once its interpreter is on the share",
        "nas_a: new2      would be built    versions are known once it is locked",
        "nas_a: sealed    would be sealed",
        "nas_a: train     would be built    +2 packages; its interpreter is not on the share yet",
    ]


def test_a_plan_while_an_interpreter_is_upgraded() -> None:
    """The check of environments sees the share's interpreters as they still are."""
    actions = ["install cpython-3.12.13-linux-x86_64-gnu", "3.12 is 3.12.11 -> 3.12.13", 5, "x is y -> z\n", None]
    known = {
        "dev1": {
            "__uvnas_pythons_done": loop("nas_a", actions=actions),
            "__uvnas_envs_done": loop("nas_a", environments=[done("train", "keep")]),
        },
        # Installed for a request that nothing here means so far: environments wait for it.
        "dev2": {
            "__uvnas_pythons_done": loop("nas_b", actions=actions[:1]),
            "__uvnas_envs_done": loop("nas_b", environments=[]),
        },
    }
    planned = run(known, check=True)
    also = "a run would also build its environments on it, which a check cannot plan"
    assert summary.lines(planned) == ["nas_a: train  unchanged", f"share nas_a: 3.12 is 3.12.11 -> 3.12.13; {also}"]
    assert planned["shares"][0]["upgraded_pythons"] == ["3.12 is 3.12.11 -> 3.12.13"]
    assert summary.lines(run(known)) == ["nas_a: train  unchanged"]


def test_a_builder_that_failed() -> None:
    known: dict[str, dict[str, t.Any]] = {"dev1": {}, "dev2": {}, "node1": {}}
    found = run(known, ["dev2", "node1"])
    said = "share nas_b: no host has said what is on it"
    assert summary.lines(found) == ["share nas_a: not verified, as its builder dev1 failed", said]
    assert found["failed_hosts"] == ["dev1"]
    assert summary.lines(run(known, ["dev2", "node1"], check=True)) == [
        "share nas_a: nothing is known of it, as its builder dev1 failed",
        "share nas_b: nothing is known of it; a check asks only its builder dev2, in the part envs of site.yml",
    ]


@pytest.mark.parametrize("kind", ["__uvnas_envs_done", "__uvnas_verify_seen"])
def test_a_share_without_environments_is_not_one_that_nobody_has_looked_at(kind: str) -> None:
    known = {"dev1": {kind: loop("nas_a", environments=[])}, "dev2": {kind: loop("nas_b", environments=[])}}
    found = run(known)
    assert [share["known"] for share in found["shares"]] == [True, True]
    assert summary.lines(found) == ["No environments."]
    # Its mount is gone; or it was not asked at all.
    known["dev2"] = {kind: loop("nas_b", failed=True, msg="nothing is mounted")}
    found = run(known, ["dev1"] if kind == "__uvnas_envs_done" else ["dev1", "dev2"])
    assert [share["known"] for share in found["shares"]] == [True, False]
    failed = (
        "not verified, as its builder dev2 failed" if kind == "__uvnas_envs_done" else "no host has said what is on it"
    )
    assert summary.lines(found) == [f"share nas_b: {failed}"]


def test_a_check_of_members_alone() -> None:
    assert summary.lines(run({"node1": {}}, check=True)) == [
        f"share {name}: nothing is known of it; a check asks only its builder {builder}, in the part envs of site.yml"
        for name, builder in (("nas_a", "dev1"), ("nas_b", "dev2"))
    ]


def test_a_share_that_is_not_the_same_everywhere() -> None:
    hosts = {f"node{n}": {"__uvnas_verify_seen": loop("nas_a", share_id="x", environments=[])} for n in range(5)}
    hosts["dev1"] = {"__uvnas_verify_seen": loop("nas_a", share_id="y", environments=[])}
    (line,) = summary.different(run(hosts))
    assert line == (
        "share nas_a is not the same on all hosts: "
        "its id is y on dev1; its id is x on node0, node1, node2 and 2 more hosts"
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([], "same packages"),
        (["a 1 -> 2"], "a 1 -> 2"),
        (["a 1 (removed)"], "-1 packages"),
        (["a @ https://x/y -> 2"], "same packages"),
        (
            [f"package-{n} 1.0.0 -> 2.0.0" for n in range(9)],
            "package-0 1.0.0 -> 2.0.0, package-1 1.0.0 -> 2.0.0 and 7 more",
        ),
    ],
)
def test_packages(changed: list[str], said: str) -> None:
    assert summary.packages(changed, new=False) == said


NONSENSE: list[t.Any] = [
    None, 5, -1, 1e308, float("nan"), float("inf"), True, "", "x", "a\nnas_b: forged  built", "\x1b[2J", "\u2028x",
    "\u202e", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
    "\ud800", [], ["x"], [None], {}, {"a": 1}, {"bytes": "big"}, {"version": ["3"]}, 10**400,
]  # fmt: skip


def _spoilt(fact: dict[str, t.Any]) -> t.Iterator[dict[str, t.Any]]:
    for key, value in itertools.product(
        [*fact, "waits_for", "seconds", "packages_changed", "held", "declared_id"], NONSENSE
    ):
        yield {**fact, key: value}
    for key, value in itertools.product(HELD, NONSENSE):
        yield {**fact, "held": {**HELD, key: value}, "declared_id": value}
    for key, value in itertools.product([*fact, "packages_changed"], NONSENSE):
        if isinstance(value, str):
            yield {**fact, key: [value, f"{value} 1 -> 2", f"{value} 1 (new)"]}


@pytest.mark.parametrize("check", [False, True])
def test_nonsense_of_one_host_neither_breaks_nor_forges_lines(check: bool) -> None:
    """What the other hosts say is told all the same."""
    fine = {
        "__uvnas_envs_done": loop("nas_b", environments=[done("train", "keep")]),
        "__uvnas_verify_seen": loop("nas_b", share_id="y", environments=[seen("train", "3.12.1", 1, 1, 1)]),
    }
    cases = [{"environments": value} for value in NONSENSE]
    cases += [{"environments": [value]} for value in NONSENSE]
    cases += [{"environments": [fact]} for fact in _spoilt(done("train", "build"))]
    cases += [{"environments": [fact]} for fact in _spoilt(seen("train", "3.12.1", 1, 1, 1))]
    cases += [{"environments": [], "share_id": value} for value in NONSENSE]
    for case in cases:
        known = {"dev1": {kind: loop("nas_a", **case) for kind in ("__uvnas_envs_done", "__uvnas_verify_seen")}}
        found = run({**known, "dev2": fine}, check=check)
        lines = [*summary.lines(found), *summary.different(found)]
        assert all(line.isprintable() for line in lines), case
        assert sum(line.startswith("nas_b: ") for line in lines) == 1, case
        json.dumps(found, allow_nan=False)
    for value in NONSENSE:
        run({"dev1": dict.fromkeys(("__uvnas_envs_done", "__uvnas_verify_seen"), value), "dev2": fine})


def test_a_host_speaks_of_the_shares_that_it_was_asked_about() -> None:
    forged = loop("nas_b", environments=[done("train", "build")])
    found = run({"dev1": {"__uvnas_envs_done": forged}, "dev2": {}})
    assert [share["environments"] for share in found["shares"]] == [[], []]


LOOKED: dict[str, t.Any] = {
    "share_id": "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a",
    "filesystem": {"free_bytes": 1_200_000_000_000, "free_inodes": 103_000},
    "cache_bytes": 2_300_000_000,
    "bytecode_bytes": 61_000_000,
    "interpreters": [{"key": "cpython-3.12.4", "version": "3.12.4", "requests": ["3.12"], "bytes": 98_000_000}],
    "environments": [
        {
            **seen("train", "3.12.4", 27, 1, 1),
            "since": "2026-11-27T14:02:31.000001+00:00",
            "held": {**HELD, "id": "3f9a0c2b71de"},
            "generation_sizes": [
                {
                    "id": "3f9a0c2b71de",
                    "state": "in_force",
                    "age_seconds": 259_300,
                    "bytes": 312_000_000,
                    "own_bytes": 1_200_000,
                    "as_built": True,
                },
                {
                    "id": "91be02cc7a1f",
                    "state": "retired",
                    "retired_since": "2026-11-27T14:02:31.000001+00:00",
                    "age_seconds": 86_400,
                    "bytes": 2_000_000,
                    "own_bytes": None,
                    "as_built": False,
                },
                {"id": "0123456789ab", "state": "incomplete", "age_seconds": None, "bytes": None, "own_bytes": None},
            ],
        },
        {**seen("old", "3.9.1", 1, 1, 1), "generation_sizes": []},
    ],
    "unpublished": [
        {"name": "gone", "removed": True, "generation_sizes": []},
        {
            "name": "left",
            "generation_sizes": [{"id": "a", "state": "retired", "age_seconds": 61, "bytes": 5, "own_bytes": 5}],
        },
    ],
    "problems": ["environment bad: its generation x is not complete"],
}


def look(hosts: dict[str, dict[str, t.Any]]) -> dict[str, t.Any]:
    return report.of_look([NAS_A], Hosts(hosts, list(hosts)), check_mode=False, time=TIME)


def test_what_is_on_a_share() -> None:
    held, below = HELD_TEXT.replace("91be02cc7a1f", "3f9a0c2b71de"), " " * 16
    changed = " " * 23 + info.CHANGED
    found = look({"node1": {}, "dev1": {"__uvnas_info": loop("nas_a", **LOOKED)}})
    assert info.lines(found) == [
        "share nas_a: /mnt/nas-a/uv, seen by dev1",
        "  id            6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a",
        "  free          1.2 TB, 103000 inodes",
        "  cache         2.3 GB",
        "  bytecode      61 MB",
        "  interpreters  3.12.4 (98 MB)",
        "  gone          removed; its files go with the next prune",
        "  left          not declared, no generation is in force",
        f"{below}a             retired                             built 1 minute ago        5 B     (5 B not shared)",
        "  old           not declared, Python 3.9.1, 1 package",
        f"  train         Python 3.12.4, 27 packages, since 2026-11-27 14:02 UTC, {held}",
        f"{below}3f9a0c2b71de  in force                              built 3 days ago     312 MB  (1.2 MB not shared)",
        f"{below}91be02cc7a1f  retired since 2026-11-27 14:02 UTC     built 1 day ago     2.0 MB{changed}",
        f"{below}0123456789ab  incomplete                                              not known",
        "  problem       environment bad: its generation x is not complete",
        summary.LEGEND,
    ]
    assert info.missing(found) == []


def test_who_could_not_look_is_not_taken_for_who_could() -> None:
    failed = loop("nas_a", failed=True, msg="hung")
    found = look({"dev1": {"__uvnas_info": failed}, "node1": {"__uvnas_info_again": loop("nas_a", **LOOKED)}})
    assert info.lines(found)[0] == "share nas_a: /mnt/nas-a/uv, seen by node1"
    found = look({"dev1": {"__uvnas_info": failed}, "node1": {"__uvnas_info_again": failed}, "node2": {}})
    assert info.lines(found) == []
    assert info.missing(found) == ["share nas_a: none of the hosts that were asked can say what is on it (dev1, node1)"]
    # Ansible goes on with hosts that could not say: it does not count them.
    assert found["failed_hosts"] == ["dev1", "node1"]


def test_nonsense_about_a_share() -> None:
    generation = LOOKED["environments"][0]["generation_sizes"][0]
    cases = [{**LOOKED, key: value} for key in LOOKED for value in NONSENSE]
    cases += [{**LOOKED, key: [value]} for key in LOOKED for value in NONSENSE]
    cases += [
        {**LOOKED, "environments": [{**LOOKED["environments"][0], "generation_sizes": [{**generation, key: value}]}]}
        for key in generation
        for value in NONSENSE
    ]
    for case in cases:
        found = look({"dev1": {"__uvnas_info": loop("nas_a", **case)}})
        lines = [*info.lines(found), *info.missing(found)]
        assert lines
        assert all(line.isprintable() for line in lines), case
        assert sum(line.startswith("share nas_a: ") for line in lines) == 1
        json.dumps(found, allow_nan=False)
