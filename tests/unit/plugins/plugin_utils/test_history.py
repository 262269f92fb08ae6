# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of history.yml, compared literally, and what hosts that answer nonsense make of them."""

from __future__ import annotations

import itertools
import json
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import history
from ansible_collections.uvnas.cluster.plugins.plugin_utils.report import Hosts, Share

NAS_A = Share("nas_a", "/mnt/nas-a/uv", "dev1", frozenset({"train"}))
NAS_B = Share("nas_b", "/mnt/nas-b/uv", "dev2", frozenset({"train"}))
OLD, NEW, NEXT, GONE = "91be02cc7a1f", "3f9a0c2b71de", "0123456789ab", "feedfeedfeed"
HELD = {
    "id": OLD,
    "since": "2026-11-27T14:02:31.000001+00:00",
    "by": "alice on ctl1",
    "reason": "slow",
    "declared": False,
}


def generation(
    generation_id: str, state: str, day: int | None, until: int | None = None, **more: t.Any
) -> dict[str, t.Any]:
    published, retired = (None if each is None else f"2026-11-{each:02}T12:01:00.000001+00:00" for each in (day, until))
    return {
        "id": generation_id, "state": state, "created": "2026-11-01T12:00:00+00:00", "published": published,
        "retired": retired, "python": "3.12.11", "packages": 128, "packages_changed": [], **more,
    }  # fmt: skip


GENERATIONS = [
    generation(GONE, "removed", 1, 2, created=None, packages=None, python="3.12.4"),
    generation(OLD, "in force", 2, packages_changed=["six 1.15 -> 1.16"]),
    generation(NEW, "retired", 20, 27, packages=1, packages_changed=["numpy 2.2.6 -> 2.4.6", "rich 14 (new)"]),
    generation(NEXT, "built", None),
]
JOURNAL = [
    {"time": "2026-11-20T12:01:00.000001+00:00", "action": "publish", "environment": "train", "generation": NEW,
     "previous": OLD, "why": "declared", "user": "bob", "controller": "ctl1", "uv": "0.13.9"},
    {"time": "2026-11-27T14:02:31.000001+00:00", "action": "hold", "environment": "train", "generation": OLD,
     "why": "slow", "user": "alice"},
    {"time": "2026-11-27T14:02:31.000002+00:00", "action": "remove", "environment": "docs"},
]  # fmt: skip
TRAIN = {"name": "train", "id": OLD, "since": GENERATIONS[1]["published"], "held": HELD, "generations": GENERATIONS}
DIFFERENCE = {"from": OLD, "to": NEW, "python": ["3.12.11", "3.12.13"], "packages_changed": ["numpy 2.2.6 -> 2.4.6"]}
TOLD: dict[str, t.Any] = {"environments": [TRAIN], "journal": JOURNAL, "problems": []}


def loop(share: str, **result: t.Any) -> dict[str, t.Any]:
    return {history.TOLD: {"results": [{**result, "__uvnas_share": {"name": share}}]}}


def of(hosts: dict[str, dict[str, t.Any]], *shares: Share) -> dict[str, t.Any]:
    found = history.report(shares or [NAS_A], Hosts(hosts, list(hosts)), time="2026-11-27T15:00:00+00:00")
    assert json.loads(json.dumps(found)) == found
    return found


def day(number: int) -> str:
    return f"2026-11-{number:02} 12:01 UTC"


def test_a_history() -> None:
    found = of({"node1": {}, "dev1": loop("nas_a", **TOLD, difference=DIFFERENCE)})
    assert history.lines(found) == [
        "share nas_a: /mnt/nas-a/uv, seen by dev1",
        "  train  held at 91be02cc7a1f since 2026-11-27 14:02 UTC by alice on ctl1: slow",
        f"    0123456789ab  built     {'':45}  Python 3.12.11  128 packages  same packages",
        f"    3f9a0c2b71de  retired   {day(20)}  to {day(27)}  Python 3.12.11     1 package  numpy 2.2.6 -> 2.4.6, +1",
        f"    91be02cc7a1f  in force  {day(2):45}  Python 3.12.11  128 packages  six 1.15 -> 1.16",
        f"    feedfeedfeed  removed   {day(1)}  to {day(2)}  Python 3.12.4",
        "  91be02cc7a1f -> 3f9a0c2b71de  Python 3.12.11 -> 3.12.13",
        "    numpy 2.2.6 -> 2.4.6",
        "  journal",
        "    2026-11-20 12:01 UTC  publish  train  91be02cc7a1f -> 3f9a0c2b71de  by bob on ctl1: declared",
        "    2026-11-27 14:02 UTC  hold     train  91be02cc7a1f                  by alice: slow",
        "    2026-11-27 14:02 UTC  remove   docs",
    ]
    assert history.wrong(found) == []
    share = found["shares"][0]
    assert share["environments"] == [TRAIN]
    assert share["difference"] == DIFFERENCE
    assert [{**entry, "packages_changed": []} for entry in JOURNAL] == share["journal"]


def test_an_environment_that_a_share_does_not_have() -> None:
    empty = {"name": "tolls", "id": None, "since": None, "held": None, "generations": []}
    found = of({"dev1": loop("nas_a", environments=[empty], journal=[], problems=[])})
    assert history.lines(found)[1:] == ["  tolls  not on this share"]


def test_the_same_packages() -> None:
    same = {**DIFFERENCE, "python": ["3.12.11", "3.12.11"], "packages_changed": []}
    found = of({"dev1": loop("nas_a", environments=[], journal=[], problems=[], difference=same)})
    assert history.lines(found)[1:] == [f"  {OLD} -> {NEW}", "    same packages"]


def test_the_last_lines_of_a_long_journal() -> None:
    journal = [{**JOURNAL[2], "environment": f"env-{number}"} for number in range(100)]
    found = of({"dev1": loop("nas_a", environments=[], journal=journal, problems=[])})
    told = history.lines(found)[1:]
    assert told[0] == "  journal (the last 30 of 100 lines)"
    assert (len(told), told[-1].split()[-1]) == (31, "env-99")
    assert len(found["shares"][0]["journal"]) == 100


def test_who_is_asked_and_what_cannot_be_read() -> None:
    failed = loop("nas_a", failed=True, msg="the NAS hangs\nIs it down?")
    found = of({"dev1": failed, "node1": loop("nas_a", **{**TOLD, "problems": ["x is damaged"]})}, NAS_A, NAS_B)
    assert history.lines(found)[0] == "share nas_a: /mnt/nas-a/uv, seen by node1"
    assert history.wrong(found) == ["share nas_a: x is damaged", "share nas_b: none of its hosts is in this run"]
    found = of({"dev1": failed})
    assert history.lines(found) == ["No shares."]
    assert history.wrong(found) == ["share nas_a: the NAS hangs. Is it down?"]


NONSENSE: list[t.Any] = [
    None, 5, -1, float("nan"), True, "", "x", "a\nshare nas_b: forged", "\x1b[2J", "\u2028", "\ud800", [], ["x"],
    [None], {}, {"a": 1}, 10**400, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
]  # fmt: skip


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_nonsense_of_one_host_neither_breaks_nor_forges_lines(value: t.Any) -> None:
    cases: list[dict[str, t.Any]] = [{**TOLD, "difference": DIFFERENCE, key: value} for key in (*TOLD, "difference")]
    cases += [{**TOLD, key: [value]} for key in TOLD]
    cases += [{**TOLD, "environments": [{**TRAIN, key: value}]} for key in TRAIN]
    cases += [{**TOLD, "environments": [{**TRAIN, "held": {**HELD, key: value}}]} for key in HELD]
    spoilt = [{**each, key: value} for each, key in itertools.product(GENERATIONS, GENERATIONS[0])]
    cases += [{**TOLD, "environments": [{**TRAIN, "generations": [each]}]} for each in spoilt]
    cases += [{**TOLD, "journal": [{**JOURNAL[0], key: value}]} for key in (*JOURNAL[0], "packages_changed")]
    cases += [{**TOLD, "journal": [{}]}]
    cases += [{**TOLD, "difference": {**DIFFERENCE, key: value}} for key in DIFFERENCE]
    fine = loop("nas_b", environments=[], journal=[], problems=[])
    for case in cases:
        found = of({"dev1": loop("nas_a", **case), "dev2": fine}, NAS_A, NAS_B)
        told = [*history.lines(found), *history.wrong(found)]
        assert all(line.isprintable() for line in told), case
        assert sum(line.startswith("share nas_b") for line in told) == 1, case
        json.dumps(found, allow_nan=False)
    of({"dev1": {history.TOLD: value}})
