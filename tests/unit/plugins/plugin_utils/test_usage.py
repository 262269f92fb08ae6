# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What usage.yml says; hosts answer what they want."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import usage
from ansible_collections.uvnas.cluster.plugins.plugin_utils.report import Hosts

USE = {
    "pid": 4321, "user": "alice", "command": "python", "since": "2026-11-27T14:02:31+00:00", "job": "4711",
    "environment": "train", "generation": "3f9a0c2b71de", "interpreter": "",
}  # fmt: skip
ON_IT = {
    **USE,
    "pid": 5,
    "environment": "",
    "generation": "",
    "interpreter": "cpython-3.12.4-linux-x86_64-gnu",
    "job": "",
}


def said(*uses: t.Any, is_root: t.Any = True, unread: t.Any = ()) -> dict[str, t.Any]:
    return {usage.SEEN: {"uses": list(uses), "is_root": is_root, "unread": list(unread)}}


def report(**hosts: t.Any) -> dict[str, t.Any]:
    return usage.report(Hosts(hosts, list(hosts)), time="2026-11-27T15:00:00+00:00")


def test_who_uses_what() -> None:
    found = report(dev1=said(ON_IT, {**USE, "user": "bob", "job": ""}), node1=said(USE))
    assert usage.lines(found) == [
        "cpython-3.12.4-linux-x86_64-gnu",
        "  dev1  pid 5  python  alice    since 2026-11-27 14:02 UTC",
        "train 3f9a0c2b71de",
        "  dev1   pid 4321  python  bob              since 2026-11-27 14:02 UTC",
        "  node1  pid 4321  python  alice  job 4711  since 2026-11-27 14:02 UTC",
        "2 hosts answered.",
    ]
    assert usage.wrong(found) == []


def test_nobody() -> None:
    assert usage.lines(report(dev1=said())) == ["Nobody uses a generation, an interpreter or uv.", "1 host answered."]


def test_many() -> None:
    lines = usage.lines(report(dev1=said(*({**USE, "pid": pid} for pid in range(30)))))
    assert lines[-2:] == ["  and 10 more processes", "1 host answered."]


def test_what_may_be_in_use_besides() -> None:
    stuck = {"pid": 7, "user": "", "command": "", "why": "the kernel has said nothing of it for 5 s"}
    hosts = {
        "down": {usage.SEEN: {"unreachable": True}},
        "broken": {usage.SEEN: {"failed": True, "uses": [USE]}},
        "node1": said(is_root=False),
        "node2": said(unread=[stuck]),
        "away": {},
    }
    found = report(**hosts)
    assert usage.wrong(found) == ["not answered: down, broken, away"]
    assert usage.lines(found) == [
        "Nobody uses a generation, an interpreter or uv.",
        "node2: pid 7 (?) may use anything: the kernel has said nothing of it for 5 s",
        "not as root, so only some processes were seen: node1",
        "2 hosts answered.",
    ]


@pytest.mark.parametrize("nonsense", [None, 5, "x", [], {}, [5], "\x1b[2J", float("nan"), "a\nb", "9" * 5000])
@pytest.mark.parametrize("key", [*USE, "uses", "unread", "is_root"])
def test_a_host_that_lies(nonsense: t.Any, key: str) -> None:
    answer = said({**USE, key: nonsense}) if key in USE else {usage.SEEN: {**said(USE)[usage.SEEN], key: nonsense}}
    found = report(dev1=answer)
    shown = [*usage.lines(found), *usage.wrong(found)]
    assert all(line.isprintable() and len(line) < 2000 for line in shown)
