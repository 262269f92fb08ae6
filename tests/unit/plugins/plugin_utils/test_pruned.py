# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What prune.yml says, as lines and as JSON."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import pruned, pruning
from ansible_collections.uvnas.cluster.plugins.plugin_utils.pruning import ASIDE
from ansible_collections.uvnas.cluster.plugins.plugin_utils.report import Hosts, Share

# What hosts register.
SEEN, DECISION = "__uvnas_prune_seen", "__uvnas_prune_decision"
RETIRED = "2026-10-01T12:00:00+00:00"
ID, USED = "a" * 12, "b" * 12
KEY = "cpython-3.11.9-linux-x86_64-gnu"
NAS_A = Share("nas_a", "/mnt/nas-a/uv", "dev1")


def verdict(kind: str, name: str, *why: str, retired: str | None = RETIRED) -> dict[str, t.Any]:
    return {"kind": kind, "name": name, "retired": retired, "aside": False, "wanted": "", "why": list(why)}


VERDICTS = [
    verdict("generation", f"train/{ID}"),
    verdict("generation", f"train/{USED}", "node1: pid 7 (python, alice), job 4711", "node2 did not answer", "3", "4"),
    verdict("interpreter", KEY, retired=None),
    verdict("uv", "0.13.8"),
]
KEPT = [{"kind": "generation", "name": f"train/{'c' * 12}", "why": "the last one"}]


def loop(**answer: t.Any) -> dict[str, t.Any]:
    return {"results": [{**answer, "__uvnas_share": {"name": "nas_a"}}]}


def said(removed: t.Any = (), **more: t.Any) -> dict[str, t.Any]:
    """What dev1 has registered."""
    return {
        SEEN: loop(items=[], kept=KEPT, freed={"bytes": 5_000_000, "inodes": 1200}),
        DECISION: {"verdicts": {"nas_a": VERDICTS}},
        pruned.DONE: loop(removed=list(removed), freed={"bytes": 3_000_000_000, "inodes": 12_000}),
        **more,
    }


def report(registered: dict[str, t.Any], *, check_mode: bool = False) -> dict[str, t.Any]:
    hosts = Hosts({"dev1": registered, "node1": {}}, ["dev1", "node1"])
    found = pruned.report([NAS_A], hosts, check_mode=check_mode, time="2026-11-27T15:00:00+00:00")
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def removed(*verdicts: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return [{key: fact[key] for key in ("kind", "name", "retired", "aside", "wanted")} for fact in verdicts]


def test_what_was_removed_and_what_stays() -> None:
    found = report(said(removed(VERDICTS[0], VERDICTS[2])))
    assert [re.sub("   +", "  ", line) for line in pruned.lines(found)] == [
        "share nas_a",
        f"  train {ID}  removed  retired since 2026-10-01 12:00 UTC",
        f"  {KEY}  removed",
        f"  train {USED}  stays  node1: pid 7 (python, alice), job 4711; node2 did not answer; 3; and 1 more",
        "  uv 0.13.8  stays  needed again meanwhile, or another prune is at work",
        f"  train {'c' * 12}  stays  the last one",
        "  3.0 GB, 12000 inodes came free",
        "If a host or a job keeps something that it does not use: uvnas_prune_without leaves it out.",
    ]
    assert pruned.wrong(found) == []
    (share,) = found["shares"]
    assert (found["kind"], found["check_mode"], share["name"], share["builder"]) == ("prune", False, "nas_a", "dev1")
    assert share["removed"] == [
        {"kind": "generation", "name": f"train/{ID}", "retired": RETIRED},
        {"kind": "interpreter", "name": KEY, "retired": None},
    ]
    # JSON has every reason.
    assert share["in_use"][0]["why"] == VERDICTS[1]["why"]
    assert (share["kept"], share["freed"]) == (KEPT, {"bytes": 3_000_000_000, "inodes": 12_000})


def test_a_check_foretells_it() -> None:
    registered = said()
    registered[pruned.DONE] = {"skipped": True}
    found = report(registered, check_mode=True)
    assert pruned.wrong(found) == []
    lines = pruned.lines(found)
    going = [line.split("  ")[1] for line in lines if "would go" in line]
    assert going == [f"train {ID}", KEY, "uv 0.13.8"]
    assert lines[-2] == "  5.0 MB, 1200 inodes would come free"
    assert found["shares"][0]["freed"] == {"bytes": 5_000_000, "inodes": 1200}


def test_nothing_to_remove() -> None:
    registered = said(**{DECISION: {"verdicts": {"nas_a": []}}})
    assert pruned.lines(report(registered))[-1] == "  nothing to remove"
    assert pruned.lines(pruned.report([], Hosts({}, []), check_mode=False, time="")) == ["No shares."]
    # Nobody was asked, as there was nothing to ask about.
    del registered[DECISION]
    assert pruned.lines(report(registered))[-1] == "  nothing to remove"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({SEEN: {}}, "its builder dev1 does not answer"),
        ({SEEN: loop(unreachable=True)}, "its builder dev1 does not answer"),
        ({SEEN: loop(failed=True, msg="it is full\nFree some.")}, "it is full. Free some"),
        ({SEEN: loop(failed=True, msg="share nas_a: is the NAS down?\nSee df.")}, "is the NAS down? See df"),
        ({ASIDE: loop(failed=True, msg="it is busy")}, "it is busy"),
        ({ASIDE: loop(unreachable=True)}, "its builder dev1 does not answer"),
        ({pruned.DONE: loop(failed=True)}, "failed"),
        ({pruned.DONE: loop(unreachable=True)}, "its builder dev1 does not answer"),
    ],
)
def test_what_was_not_done(more: dict[str, t.Any], why: str) -> None:
    found = report(said(**more))
    assert pruned.wrong(found) == [f"share nas_a: NOT DONE: {why}"]
    assert "  nothing to remove" not in pruned.lines(found)
    assert not [line for line in pruned.lines(found) if "may be aside" in line]


@pytest.mark.parametrize(
    ("aside", "hidden"),
    [
        (
            loop(aside=[["generation", f"train/{ID}"], ["generation", f"train/{USED}"]]),
            [f"train {ID}", f"train {USED}"],
        ),
        (loop(aside=[]), []),
        ({"results": []}, []),
        # The connection broke, or it failed in the middle.
        (loop(unreachable=True), [f"train {ID}", f"train {USED}", KEY, "uv 0.13.8"]),
    ],
)
@pytest.mark.parametrize("done", [loop(failed=True, msg="the NAS is gone"), loop(unreachable=True), {}])
def test_what_may_be_aside_is_named(aside: dict[str, t.Any], hidden: list[str], done: dict[str, t.Any]) -> None:
    found = report(said(**{ASIDE: aside, pruned.DONE: done}))
    told = [line.split("  ")[1] for line in pruned.lines(found) if "  may be aside  " in line]
    assert [each.strip() for each in told] == hidden
    (wrong,) = pruned.wrong(found)
    assert wrong.endswith(". Run this again: until then, nobody finds what is aside") is bool(hidden)
    assert len(found["shares"][0]["aside"]) == len(hidden)


def test_what_was_aside_before_is_named_if_this_one_fails_too() -> None:
    verdicts = [{**VERDICTS[0], "aside": True}]
    found = report(
        said(**{DECISION: {"verdicts": {"nas_a": verdicts}}, pruned.DONE: loop(failed=True, msg="it is busy")})
    )
    assert re.search(f"train {ID} +may be aside +this prune has failed", pruned.lines(found)[1])


def test_what_was_not_put_aside() -> None:
    verdicts = [verdict("generation", f"train/{ID}", pruning.NOT_ASIDE)]
    more: dict[str, t.Any] = {DECISION: {"verdicts": {"nas_a": verdicts}}, ASIDE: loop(aside=[])}
    assert re.search(f"train {ID} +stays +it was not put aside", pruned.lines(report(said(**more)))[1])
    # It may have been, where the connection broke.
    more |= {ASIDE: loop(unreachable=True), pruned.DONE: loop(unreachable=True)}
    assert re.search(f"train {ID} +may be aside +this prune has failed", pruned.lines(report(said(**more)))[1])


def test_a_builder_outside_of_limit_is_nothing_that_went_wrong() -> None:
    found = pruned.report([NAS_A], Hosts({"node1": {}}, ["node1"]), check_mode=False, time="")
    assert pruned.wrong(found) == []
    assert pruned.lines(found) == [
        "share nas_a",
        "  nothing is removed: its builder dev1 is not among the hosts of this run (--limit?)",
    ]


def test_a_builder_that_has_failed_before() -> None:
    found = pruned.report([NAS_A], Hosts({"dev1": {}, "node1": {}}, ["node1"]), check_mode=False, time="")
    assert pruned.wrong(found) == ["share nas_a: NOT DONE: its builder dev1 has failed before"]


def test_others_write_too() -> None:
    """So less may be free than before."""
    done = loop(removed=removed(VERDICTS[0]), freed={"bytes": -2_000_000, "inodes": None})
    lines = pruned.lines(report(said(**{pruned.DONE: done})))
    assert lines[-2] == "  others wrote more to this filesystem meanwhile than came free"


def test_many_that_stay_are_counted() -> None:
    kept = [{"kind": "generation", "name": f"train/{number:012x}", "why": "the last one"} for number in range(50)]
    found = report(said(**{SEEN: loop(items=[], kept=kept)}))
    assert "  and 30 more stay, retired not long ago" in pruned.lines(found)
    assert len(found["shares"][0]["kept"]) == 50


NONSENSE: list[t.Any] = [
    None,
    5,
    -5,
    1e400,
    True,
    "x",
    "a\nb\x1b[2J",
    [],
    ["x"],
    {},
    [{}],
    "x" * 9999,
    10**30,
    -(10**30),
]


@pytest.mark.parametrize("lie", NONSENSE)
def test_a_builder_that_lies_forges_no_line(lie: t.Any) -> None:
    answers = [{**said()[SEEN]["results"][0], key: lie} for key in ("kept", "freed", "msg", "failed")]
    answers += [loop(kept=[{**KEPT[0], key: lie}, lie])["results"][0] for key in ("kind", "name", "why")]
    answers += [loop(kept=KEPT, freed={key: lie})["results"][0] for key in ("bytes", "inodes")]
    for answer in answers:
        for check_mode in (True, False):
            found = report(said(removed(VERDICTS[0]), **{SEEN: {"results": [answer]}}), check_mode=check_mode)
            told = [*pruned.lines(found), *pruned.wrong(found)]
            assert all(line.isprintable() for line in told)
            assert len(told) < 12
    for key in ("aside", "failed", "msg"):
        for done in ({}, said()[pruned.DONE]):
            aside = loop(**{"aside": [["generation", f"train/{ID}"]], key: lie})
            found = report(said(**{ASIDE: aside, pruned.DONE: done}))
            assert all(line.isprintable() for line in [*pruned.lines(found), *pruned.wrong(found)])
    for key in ("removed", "freed", "failed", "msg"):
        done = {**said()[pruned.DONE]["results"][0], key: lie}
        found = report(said(**{pruned.DONE: {"results": [done, lie]}}))
        assert all(line.isprintable() for line in [*pruned.lines(found), *pruned.wrong(found)])
    for key in ("kind", "name"):
        found = report(said([{**removed(VERDICTS[0])[0], key: lie}]))
        assert all(fact["name"] == f"train/{ID}" for fact in found["shares"][0]["removed"])
    # What was not to go was not removed, whatever a builder says.
    found = report(said(removed(*VERDICTS)))
    assert f"train/{USED}" not in [fact["name"] for fact in found["shares"][0]["removed"]]
