# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters: lines for people, and what is checked on the controller before anything is written."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.uvnas.cluster.plugins.filter import declared, exported, summary, validated

SHARES = [{"name": "nas_a", "root": "/mnt/nas-a/uv", "builder": "node1", "owner": "uv"}]
TRAIN = {"name": "train", "python": "3.12", "requirements": ["numpy"]}


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


def test_what_is_declared(tmp_path: Path) -> None:
    given = [TRAIN, {"name": "old", "state": "absent"}]
    assert declared.declared(given, shares=SHARES, files_dir=str(tmp_path), upgrade=["all"]) == ["train", "old"]


@pytest.mark.parametrize(
    ("environments", "more", "said"),
    [
        ([{**TRAIN, "requirement": ["x"]}], {}, "environment train: unknown key requirement"),
        ([{"python": "3.12", "requirements": ["numpy"]}], {}, "environment number 1: the name is missing"),
        ([{**TRAIN, "python": 3.1}], {}, "environment train: python is the number 3.1; put it in quotes"),
        ([{**TRAIN, "requirements": "numpy"}], {}, "requirements is 'numpy', which is no list of texts"),
        ([{**TRAIN, "shares": [1]}], {}, "shares is [1], which is no list of texts"),
        ([TRAIN, TRAIN], {}, "environment train: declared 2 times"),
        ([{**TRAIN, "shares": ["nas_b"]}], {}, "environment train: no share is called nas_b\nThe shares are: nas_a."),
        ([{"name": "train", "python": "3.12", "requirements_files": ["no.txt"]}], {}, "no.txt: No such file"),
        ([TRAIN], {"upgrade": ["tarin"]}, "cannot upgrade tarin: no such environment is declared\nDeclared are: train"),
        ([], {"upgrade": ["train"]}, "Declared are: none."),
    ],
)
def test_what_is_wrong_is_said(
    environments: list[dict[str, t.Any]], more: dict[str, t.Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        declared.declared(environments, shares=SHARES, files_dir=str(tmp_path), **more)
    assert said in str(caught.value)


def test_files_of_what_is_absent_may_be_gone(tmp_path: Path) -> None:
    given = [{"name": "old", "state": "absent", "python": "3.12", "requirements_files": ["gone.txt"]}]
    assert declared.declared(given, shares=SHARES, files_dir=str(tmp_path)) == ["old"]


def test_a_kept_lock_that_was_spoilt_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("numpy\n", encoding="utf-8")
    with pytest.raises(AnsibleFilterError, match=r"train\.txt is not a lock"):
        declared.declared([TRAIN], shares=SHARES, files_dir=str(tmp_path), lock_dir=str(tmp_path))


def test_what_a_host_exports() -> None:
    assert exported.exported(["nas_a"], shares=SHARES, index=None, python_mirror=None, variables=None)["shares"] == [
        {"name": "nas_a", "root": "/mnt/nas-a/uv"}
    ]


def test_what_must_not_be_exported_is_said_and_not_repeated() -> None:
    variables = {"UV_INDEX": "https://alice:geheim@mirror.example.org/simple"}
    with pytest.raises(AnsibleFilterError, match="UV_INDEX has credentials in it") as caught:
        exported.exported(["nas_a"], shares=SHARES, variables=variables)
    assert "geheim" not in str(caught.value)
    assert "~/.netrc" in str(caught.value)


def test_the_names_of_the_filters() -> None:
    assert exported.FilterModule().filters() == {"exported": exported.exported}
    assert summary.FilterModule().filters() == {"summary": summary.summary}
    assert declared.FilterModule().filters() == {"declared": declared.declared}
    assert validated.FilterModule().filters() == {"validated": validated.validated}
