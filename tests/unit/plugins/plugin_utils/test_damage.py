# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify.yml with uvnas_deep and repair.yml say, as lines and as JSON."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import damage
from ansible_collections.uvnas.cluster.plugins.plugin_utils.report import Hosts, Share

ID, OLD = "3f9a0c2b71de", "91be02cc7a1f"
KEY = "cpython-3.12.11-linux-x86_64-gnu"
NAS_A, NAS_B = Share("nas_a", "/mnt/nas-a/uv", "dev1"), Share("nas_b", "/mnt/nas-b/uv", "dev1")
READ = {"files": 41210, "bytes": 3_200_000_000, "seconds": 14.2}
Fact = dict[str, t.Any]


def hurt(path: str, what: str = "content", says: str = "differs from its RECORD", **more: str) -> Fact:
    return {"path": path, "what": what, "says": says, **more}


def tree(name: str, *damages: Fact, kind: str = "generation", state: str = "", **more: t.Any) -> Fact:
    known = {"kind": kind, "name": name, "state": state, "files": 7, "bytes": 70, "count": len(damages)}
    return {**known, "damages": list(damages), "notes": [], **more}


NUMPY = "lib/python3.12/site-packages/numpy/core.py"
TRAIN = tree(f"train/{ID}", hurt(NUMPY), hurt("bin/pip", "missing", "missing"), state="in force")
WHOLE = [tree(KEY, kind="interpreter"), tree("0.13.9", kind="uv"), tree("cache", kind="cache")]


def loop(share: str = "nas_a", **answer: t.Any) -> Fact:
    return {"results": [{**answer, "__uvnas_share": {"name": share}}]}


def found(*trees: t.Any, **more: t.Any) -> Fact:
    return loop(**{"trees": list(trees), "read": READ, "remaining": [], **more})


def report(kind: str, *, check_mode: bool = False, **registered: t.Any) -> Fact:
    hosts = Hosts({"dev1": registered, "node1": {}}, ["dev1", "node1"])
    told = damage.report(kind, [NAS_A], hosts, check_mode=check_mode, time="2026-11-27T15:00:00+00:00")
    return json.loads(json.dumps(told))  # type: ignore[no-any-return]


def deep(*trees: t.Any, **more: t.Any) -> Fact:
    return report("deep", **{damage.READ: found(*trees, **more)})


def repair(*trees: t.Any, check_mode: bool = False, uv: Fact | None = None, **more: t.Any) -> Fact:
    said = {} if uv is None else {damage.UV: uv}
    return report("repair", check_mode=check_mode, **{damage.DONE: found(*trees, **more), **said})


def lines(told: Fact) -> list[str]:
    return [re.sub("(?<=[^ ])   +", "  ", line) for line in damage.lines(told)]


def test_what_is_damaged() -> None:
    told = deep(TRAIN, *WHOLE)
    assert lines(told) == [
        "share nas_a: 41,210 files, 3.2 GB read in 14 s",
        f"  train {ID} (in force)  2 damaged",
        f"    {NUMPY}  differs from its RECORD",
        "    bin/pip  missing",
        "  3 others are whole",
        "To mend this: ansible-playbook uvnas.cluster.repair",
    ]
    assert damage.wrong(told) == ["share nas_a: DAMAGED: 2 files in 1 tree"]
    (share,) = told["shares"]
    assert (told["kind"], share["read"], share["trees"][1]["kind"]) == ("deep", READ, "interpreter")
    assert [each["what"] for each in share["trees"][0]["damages"]] == ["content", "missing"]
    assert "uv" not in share


def test_nothing_is_damaged() -> None:
    told = deep(*WHOLE)
    assert lines(told) == ["share nas_a: 41,210 files, 3.2 GB read in 14 s", "  nothing is damaged"]
    assert damage.wrong(told) == []
    nowhere = damage.report("deep", [], Hosts({}, []), check_mode=False, time="")
    assert damage.lines(nowhere) == ["No shares."]


@pytest.mark.parametrize(
    ("trees", "hints"),
    [
        ([tree("bytecode", hurt("x", "mode", "mode is 0666, not 0644"), kind="bytecode")], ["mend"]),
        ([tree(KEY, hurt("lib/x.py", "undeclared", "does not belong there"), kind="interpreter")], ["remove"]),
        ([TRAIN, tree("cache", hurt("x", "undeclared", "does not belong there"), kind="cache")], ["mend", "remove"]),
        # Which says itself what helps.
        ([tree("locks/train.state.json", hurt("", "invalid", "is no JSON. Restore it."), kind="record")], []),
    ],
)
def test_what_to_do(trees: list[Fact], hints: list[str]) -> None:
    hint = {
        "mend": "To mend this: ansible-playbook uvnas.cluster.repair",
        "remove": "To remove what does not belong there: "
        "ansible-playbook uvnas.cluster.repair -e uvnas_repair_remove=true",
    }
    told = deep(*trees)
    assert [line for line in damage.lines(told) if line.startswith("To ")] == [hint[each] for each in hints]
    assert len(damage.wrong(told)) == 1


def test_many_damages_are_counted() -> None:
    many = tree(f"train/{ID}", *[hurt(f"lib/{number}") for number in range(100)], count=5000)
    told = deep(many, *[tree(f"other/{number:012x}", hurt("x")) for number in range(30)])
    said = lines(told)
    assert sum(line.startswith("    lib/") for line in said) == 10
    assert "    and 4990 more" in said
    assert "  and 11 more are damaged" in said
    assert damage.wrong(told) == ["share nas_a: DAMAGED: 5030 files in 31 trees"]
    assert len(told["shares"][0]["trees"][0]["damages"]) == 100


def test_what_limits_what_is_said() -> None:
    note = "its files are not on record: it was installed by an earlier version of uvnas.cluster"
    old = [tree(f"train/{number:012x}", notes=[note]) for number in range(5)]
    assert lines(deep(*old))[1:] == [
        "  nothing is damaged",
        f"  train {0:012x}; train {1:012x}; train {2:012x}; and 2 more: {note}",
    ]


def test_a_budget_leaves_something_for_the_next_run() -> None:
    told = deep(*WHOLE, remaining=["train/a", "cache", "bytecode", "docs/b"])
    assert lines(told)[1:] == [
        "  nothing is damaged",
        "  4 wait for the next run: train/a; cache; bytecode; and 1 more",
    ]
    assert lines(deep(remaining=["cache"]))[-1] == "  1 waits for the next run: cache"
    assert told["shares"][0]["remaining"] == ["train/a", "cache", "bytecode", "docs/b"]


# Repairs

ANOTHER = {"done": "repaired from another generation", "why": ""}
NOBODY = {"done": "", "why": "no source has it: it was built on this share"}
MENDED = tree(f"train/{ID}", hurt(NUMPY, **ANOTHER), hurt("bin/pip", "missing", "missing", **NOBODY), state="in force")


def test_what_was_repaired_and_what_stays() -> None:
    told = repair(MENDED, *WHOLE)
    assert lines(told) == [
        "share nas_a: 41,210 files, 3.2 GB read in 14 s",
        f"  train {ID} (in force)  1 of 2 repaired",
        "    bin/pip  missing  stays: no source has it: it was built on this share",
        f"    {NUMPY}  differs from its RECORD  repaired from another generation",
        "  3 others are whole",
    ]
    (wrong,) = damage.wrong(told)
    assert wrong == f"share nas_a: STILL DAMAGED: 1 file in 1 tree: train {ID} bin/pip ({NOBODY['why']})"


def test_all_was_repaired() -> None:
    told = repair(tree(f"train/{ID}", hurt(NUMPY, **ANOTHER)), *WHOLE)
    assert f"  train {ID}  1 of 1 repaired" in lines(told)
    assert damage.wrong(told) == []


def test_a_check_foretells_it() -> None:
    told = repair(MENDED, check_mode=True)
    said = lines(told)
    assert f"  train {ID} (in force)  1 of 2 would be repaired" in said
    assert f"    {NUMPY}  differs from its RECORD  would be repaired from another generation" in said
    assert "    bin/pip  missing  would stay: no source has it: it was built on this share" in said
    (wrong,) = damage.wrong(told)
    assert wrong.startswith("share nas_a: WOULD STAY DAMAGED: 1 file in 1 tree")


def test_what_does_not_belong_there_stays_until_somebody_says_so() -> None:
    stray = hurt("lib/x.py", "undeclared", "does not belong there", done="", why="")
    told = repair(tree(KEY, stray, kind="interpreter"))
    assert damage.wrong(told) == [
        f"share nas_a: STILL DAMAGED: 1 file in 1 tree: {KEY} lib/x.py (remove it with -e uvnas_repair_remove=true)"
    ]
    assert lines(told)[-1] == (
        "To remove what does not belong there: ansible-playbook uvnas.cluster.repair -e uvnas_repair_remove=true"
    )
    gone = repair(tree(KEY, {**stray, "done": "removed"}, kind="interpreter"))
    assert damage.wrong(gone) == []
    assert not [line for line in damage.lines(gone) if line.startswith("To ")]


def test_of_too_many_damages_those_that_stay_are_named_first() -> None:
    named = [hurt(f"lib/{number}", **NOBODY) for number in range(100)]
    assert "STILL DAMAGED: 5000 files in 1 tree" in damage.wrong(repair(tree("a/b", *named, count=5000)))[0]
    named[0].update(ANOTHER)
    assert "STILL DAMAGED: 99 files in 1 tree" in damage.wrong(repair(tree("a/b", *named, count=5000)))[0]


REINSTALLED = loop(changed=True, version="0.13.9", actions=["reinstall uv 0.13.9: uv is damaged"])


def test_uv_is_installed_anew() -> None:
    told = repair(*WHOLE, uv=REINSTALLED)
    assert lines(told)[1:] == ["  reinstall uv 0.13.9: uv is damaged", "  nothing else is damaged"]
    assert damage.wrong(told) == []
    # In a check, it is still damaged when everything else is looked at.
    broken = [tree(version, hurt("uv", done="", why="uv_binary"), kind="uv") for version in ("0.13.9", "0.13.8")]
    told = repair(*broken, uv=REINSTALLED, check_mode=True)
    assert "    uv  differs from its RECORD  would be repaired by installing it anew" in lines(told)
    assert damage.wrong(told) == ["share nas_a: WOULD STAY DAMAGED: 1 file in 1 tree: uv 0.13.8 uv (uv_binary)"]


def test_uv_cannot_be_had_and_the_rest_goes_on() -> None:
    told = repair(MENDED, uv=loop(failed=True, msg="cannot download uv\nIs there a network?"))
    assert damage.wrong(told)[0] == "share nas_a: NOT DONE: uv: cannot download uv. Is there a network?"
    assert f"  train {ID} (in force)  1 of 2 repaired" in lines(told)
    assert "  nothing else is damaged" in lines(repair(*WHOLE, uv=loop(failed=True, msg="cannot download uv")))
    # Where nothing goes on, that is said once.
    silent = loop(failed=True, msg="the NAS does not answer")
    told = report("repair", **{damage.DONE: silent, damage.UV: silent})
    assert damage.wrong(told) == ["share nas_a: NOT DONE: the NAS does not answer"]


# What nobody knows


@pytest.mark.parametrize(("kind", "verb", "what"), [("deep", "READ", damage.READ), ("repair", "DONE", damage.DONE)])
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({}, "its builder dev1 does not answer"),
        (loop(unreachable=True), "its builder dev1 does not answer"),
        (loop(failed=True, msg="share nas_a: is the NAS down?\nSee df."), "is the NAS down? See df."),
        (loop(failed=True), "failed"),
        (loop(), "what its builder answers makes no sense"),
        (found(TRAIN)["results"][0], "its builder dev1 does not answer"),
        (loop("nas_b", trees=[], read=READ), "its builder dev1 does not answer"),
    ],
)
def test_what_was_not_done(kind: str, verb: str, what: str, answer: Fact, why: str) -> None:
    told = report(kind, **{what: answer})
    assert damage.wrong(told) == [f"share nas_a: NOT {verb}: {why}"]
    assert lines(told) == ["share nas_a"]


def test_one_share_of_two_does_not_answer() -> None:
    answers = {"results": [*found(TRAIN)["results"], *loop("nas_b", unreachable=True)["results"]]}
    hosts = Hosts({"dev1": {damage.READ: answers}}, ["dev1"])
    told = damage.report("deep", [NAS_A, NAS_B], hosts, check_mode=False, time="")
    assert damage.wrong(told) == [
        "share nas_a: DAMAGED: 2 files in 1 tree",
        "share nas_b: NOT READ: its builder dev1 does not answer",
    ]


@pytest.mark.parametrize("kind", ["deep", "repair"])
def test_a_builder_outside_of_limit_is_nothing_that_went_wrong(kind: str) -> None:
    told = damage.report(kind, [NAS_A], Hosts({"node1": {}}, ["node1"]), check_mode=False, time="")
    assert damage.wrong(told) == []
    assert damage.lines(told) == [
        "share nas_a",
        "  nothing is read: its builder dev1 is not among the hosts of this run (--limit?)",
    ]


NONSENSE: list[t.Any] = [
    None, 5, -5, 1e400, True, "x", "a\nb\x1b[2J", [], ["x"], {}, [{}], "x" * 9999, 10**30, -(10**30),
]  # fmt: skip


@pytest.mark.parametrize("lie", NONSENSE)
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_builder_that_lies_forges_no_line(lie: t.Any, check_mode: bool) -> None:
    answers = [found(MENDED, **{key: lie}) for key in ("trees", "read", "remaining", "msg", "failed", "unreachable")]
    answers += [found(MENDED, read={**READ, key: lie}) for key in READ]
    answers += [found({**MENDED, key: lie}, lie) for key in MENDED]
    answers += [found({**MENDED, "damages": [{**MENDED["damages"][1], key: lie}, lie]}) for key in MENDED["damages"][1]]
    for answer in answers:
        for kind, what in (("deep", damage.READ), ("repair", damage.DONE)):
            told = report(kind, check_mode=check_mode, **{what: answer, damage.UV: REINSTALLED})
            said = [*damage.lines(told), *damage.wrong(told)]
            assert all(line.isprintable() and len(line) < 1500 for line in said)
            assert len(said) < 14
    for key in ("changed", "version", "actions", "failed", "msg"):
        uv = loop(**{**REINSTALLED["results"][0], key: lie})
        told = repair(MENDED, *WHOLE, uv=uv, check_mode=check_mode)
        assert all(line.isprintable() for line in [*damage.lines(told), *damage.wrong(told)])


@pytest.mark.parametrize("key", ["count", "kind", "damages"])
@pytest.mark.parametrize("lie", [None, -5, 1e400, True, "x", {}])
def test_nonsense_does_not_count_as_whole(key: str, lie: t.Any) -> None:
    told = deep({**WHOLE[0], key: lie}, WHOLE[1])
    assert damage.wrong(told) == ["share nas_a: NOT READ: what its builder answers makes no sense"]
    assert "  nothing is damaged" not in damage.lines(told)
