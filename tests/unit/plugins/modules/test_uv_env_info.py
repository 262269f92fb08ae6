# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_env_info, from its arguments to its result, on real files."""

from __future__ import annotations

import json
import os
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import uv_env_info
from ansible_collections.uvnas.cluster.tests.support import shares

ID = "0123456789ab"
TRAIN = {"name": "train", "python": "3.12", "requirements": ["numpy"], "imports": ["json"]}


@pytest.fixture
def layout(public: Path, python: Path) -> t.Iterator[Layout]:
    """A share with one environment, which root runs as nobody."""
    with tempfile.TemporaryDirectory(dir=public) as directory:
        os.chmod(directory, 0o755)
        root = shares.make_share(Path(directory) / "uv")
        generation = shares.add_generation(root, "train", ID)
        (generation / "bin").mkdir()
        (generation / "bin" / "python").symlink_to(python)
        shares.publish(root, "train", ID)
        yield Layout(str(root))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where this host remembers what has run."""
    return tmp_path / "state"


@pytest.fixture
def run(layout: Layout, state: Path, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(*, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        where = {"share": layout.root, "share_name": "nas_a", "state_dir": str(state)}
        given = {**where, **more, "_ansible_check_mode": check}
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            uv_env_info.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


@pytest.mark.parametrize("check", [False, True])
def test_what_is_there(check: bool, run: Run) -> None:
    result = run(check=check, verify=True, environments=[TRAIN, {"name": "old", "state": "absent"}])
    assert (result["changed"], result["share_id"], result["problems"]) == (False, shares.SHARE_ID, [])
    (fact,) = result["environments"]
    assert (fact["name"], fact["id"], "true_size" in fact) == ("train", ID, False)


def test_sizes(run: Run) -> None:
    assert run(sizes=True)["environments"][0]["true_size"]["bytes"] > 0


def test_what_a_share_takes(run: Run, layout: Layout) -> None:
    shares.add_interpreter(Path(layout.root))
    shares.add_generation(Path(layout.root), "train", "aaaaaaaaaaaa")
    os.mkdir(layout.generation("train", "bbbbbbbbbbbb"))
    shares.add_generation(Path(layout.root), "left", "cccccccccccc")
    Path(layout.cache, "file").write_text("12345")
    result = run(sizes=True)
    (train,) = result["environments"]
    states = {fact["id"]: fact["state"] for fact in train["generation_sizes"]}
    assert states == {ID: "in_force", "aaaaaaaaaaaa": "retired", "bbbbbbbbbbbb": "incomplete"}
    assert all(fact["bytes"] > 0 for fact in train["generation_sizes"] if fact["state"] != "incomplete")
    assert [fact["age_seconds"] is None for fact in train["generation_sizes"]] == [False, False, True]
    (left,) = result["unpublished"]
    assert (left["name"], left["generation_sizes"][0]["state"]) == ("left", "retired")
    assert (result["cache_bytes"], result["filesystem"]["free_bytes"] > 0) == (5, True)
    (interpreter,) = result["interpreters"]
    # It is in the record, and not there.
    assert (interpreter["version"], interpreter["requests"], interpreter["bytes"]) == ("3.12.4", ["3.12"], None)
    assert not {"unpublished", "filesystem", "cache_bytes", "interpreters"} & set(run())


def test_without_details_a_result_stays_small(run: Run) -> None:
    details = {"generations", "packages", "source"}
    assert details < set(run()["environments"][0])
    (fact,) = run(details=False)["environments"]
    assert not details & set(fact)
    assert (fact["name"], fact["package_count"]) == ("train", 1)


def test_what_is_declared_but_cannot_be_used_is_a_failure(run: Run) -> None:
    environments = [{**TRAIN, "imports": ["no_such_module"]}, {**TRAIN, "name": "missing"}]
    result = run(verify=True, environments=environments)
    assert result["failed"]
    assert "environment train: importing no_such_module failed on this host" in result["msg"]
    assert "environment missing is not published on share nas_a" in result["msg"]
    assert len(result["problems"]) == 2
    assert "failed" not in run(environments=environments)


def test_what_is_declared_for_another_share_is_not_missed_here(run: Run) -> None:
    assert run(verify=True, environments=[{**TRAIN, "name": "other", "shares": ["nas_b"]}])["problems"] == []


def test_what_is_incomplete_is_one_problem(run: Run, layout: Layout) -> None:
    os.unlink(layout.manifest("train", ID))
    result = run(verify=True, environments=[TRAIN])
    assert (result["environments"], len(result["problems"])) == ([], 1)


def test_another_filesystem_mounted_here(run: Run) -> None:
    other = "00000000-0000-4000-8000-000000000000"
    result = run(share_id=other)
    assert f"its id is {shares.SHARE_ID}, not {other} as declared" in result["msg"]
    assert "Is another NAS, or a copy of the share, mounted there?" in result["msg"]
    assert "is the share nas_a, not nas_b" in run(share_name="nas_b")["msg"]


def test_no_share(run: Run, layout: Layout) -> None:
    os.unlink(layout.identity)
    assert f"{layout.root} is not a share" in run()["msg"]


def test_a_share_whose_filesystem_is_not_mounted(run: Run, layout: Layout) -> None:
    assert f"nothing is mounted at {layout.root}, the mount of share nas_a" in run(mount=layout.root)["msg"]
    assert not run(mount="/")["problems"]


def test_an_environment_that_cannot_be_meant(run: Run) -> None:
    assert "unknown key colour" in run(verify=True, environments=[{**TRAIN, "colour": "red"}])["msg"]
