# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters: lines for people, and what one host has to do."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.filter import summary, todo


def fact(name: str, version: str, packages: int, size: int, own: int) -> dict[str, t.Any]:
    return {
        "name": name,
        "python": {"version": version},
        "package_count": packages,
        "size": {"bytes": size, "own_bytes": own},
    }


def test_a_summary() -> None:
    nas_a = [
        fact("analysis", "3.12.11", 128, 5_312_400_000, 90_100_000),
        fact("docs", "3.13.1t", 1, 40_000, 40_000),
        fact("train", "3.12.11", 12, 1_000_000, 0),
    ]
    results = [
        {"share_name": "nas_b", "environments": [fact("train", "3.9.1", 3, 2_000_000, 1_000_000)]},
        {"share_name": "nas_a", "environments": nas_a},
        {"share_name": "nas_a", "environments": []},
    ]
    done = {
        "nas_a": [
            {"name": "analysis", "action": "build", "seconds": 12.34},
            {"name": "docs", "action": "keep"},
            {"name": "train", "action": "failed"},
            {"name": "gone", "action": "remove", "seconds": 0.1},
            {"name": "never", "action": "failed"},
        ]
    }
    assert summary.summary(results, done) == [
        "nas_a: analysis  built      Python 3.12.11  128 packages     5312.4 MB (90.1 MB not shared)    12.3 s",
        "nas_a: docs      unchanged  Python 3.13.1t    1 packages         0.0 MB (0.0 MB not shared)",
        "nas_a: train     FAILED     Python 3.12.11   12 packages         1.0 MB (0.0 MB not shared)",
        "nas_a: gone      removed",
        "nas_a: never     FAILED",
        "nas_b: train     present    Python 3.9.1      3 packages         2.0 MB (1.0 MB not shared)",
    ]


def test_a_summary_of_a_share_that_nobody_saw() -> None:
    done = {"nas_a": [{"name": "train", "action": "build", "seconds": 1.0}, {"name": "docs", "action": "failed"}]}
    assert summary.summary([], done) == ["nas_a: train  built", "nas_a: docs  FAILED"]


@pytest.mark.parametrize(
    "results",
    [
        [{"share_name": "nas_a"}],
        [{"share_name": "nas_a", "environments": 5}],
        [{"share_name": "nas_a", "environments": [{"name": "train"}]}],
        [{"share_name": "nas_a", "environments": [{**fact("train", "3.12.1", 1, 1, 1), "size": "big"}]}],
        [{"share_name": ["nas_a"], "environments": []}],
        [[]],
    ],
)
def test_a_summary_of_nonsense(results: t.Any) -> None:
    """Of a host that answers what it wants: what the others say is told all the same."""
    fine = {"share_name": "nas_b", "environments": [fact("docs", "3.12.1", 1, 1, 1)]}
    lines = summary.summary([*results, fine])
    assert sum(line.startswith("nas_b: docs") for line in lines) == 1
    assert all(line.startswith("nas_b: docs") or "sense" in line for line in lines)


def test_a_summary_of_nothing() -> None:
    assert summary.summary([]) == []


def test_the_names_of_the_filters() -> None:
    assert summary.FilterModule().filters() == {"summary": summary.summary}
    assert todo.FilterModule().filters() == {"todo": todo.todo}
