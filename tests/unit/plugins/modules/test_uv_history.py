# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_history, from its arguments to its result, on real files."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import uv_history
from ansible_collections.uvnas.cluster.tests.support import shares

OLD, NEW = "91be02cc7a1f", "3f9a0c2b71de"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    root = shares.make_share(tmp_path)
    for each, version in ((OLD, "2.0"), (NEW, "2.1")):
        shares.add_generation(root, "train", each, packages={"alpha": version})
    shares.publish(root, "train", NEW)
    (root / "journal.jsonl").write_text(
        '{"time": "2026-01-31T12:01:00+00:00", "action": "publish", "environment": "train"}\n{"torn', encoding="utf-8"
    )
    return Layout(str(root))


@pytest.fixture
def run(layout: Layout, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(*, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        given = {"share": layout.root, "share_name": "nas_a", **more, "_ansible_check_mode": check}
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            uv_history.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


@pytest.mark.parametrize("check", [True, False])
def test_what_is_there_and_nothing_is_written(run: Run, layout: Layout, check: bool) -> None:
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in Path(layout.root).rglob("*"))
    result = run(check=check)
    assert (result["changed"], result["problems"]) == (False, [])
    (train,) = result["environments"]
    assert [(fact["id"], fact["state"]) for fact in train["generations"]] == [(OLD, "retired"), (NEW, "in force")]
    assert [entry["action"] for entry in result["journal"]] == ["publish"]
    assert "difference" not in result
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in Path(layout.root).rglob("*")) == before


def test_a_difference(run: Run) -> None:
    result = run(**{"environment": "train", "from": "91", "to": "3f"})
    assert result["difference"] == {
        "from": OLD, "to": NEW, "packages_changed": ["alpha 2.0 -> 2.1"], "python": ["3.12.4", "3.12.4"]
    }  # fmt: skip
    assert run(**{"environment": "train", "from": "91", "to": ""})["difference"]["to"] == NEW


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"from": "91"}, "from and to compare generations of one environment, which is not named"),
        ({"environment": "train", "to": "91"}, "to is compared with from, which is not given"),
        ({"environment": "train", "from": "zz"}, "environment train has no generation 'zz' on this share"),
        ({"environment": "../../etc"}, "the name may contain only letters"),
        ({"environment": "https://a:s3cret@x"}, "the name may contain only letters"),
        ({"share_name": "nas_b"}, "is the share nas_a, not nas_b"),
        ({"share_id": "0" * 32}, "is another share"),
    ],
)
def test_bad_input(run: Run, given: dict[str, str], said: str) -> None:
    result = run(**given)
    assert said in result["msg"]
    assert "s3cret" not in result["msg"]


def test_a_record_that_is_damaged_is_a_problem_and_no_failure(run: Run, layout: Layout) -> None:
    Path(layout.standing("train")).write_text("{}", encoding="utf-8")
    result = run()
    assert (result["environments"], len(result["problems"])) == ([], 1)


def test_no_share(run: Run, layout: Layout) -> None:
    os.unlink(layout.identity)
    assert "is not a share" in run()["msg"]
