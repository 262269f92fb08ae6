# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a run, where something is wrong with the file that the report goes to."""

from __future__ import annotations

import json
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.action import uv_report
from ansible_collections.uvnas.cluster.plugins.action.uv_report import ActionModule

ROOT = Path(__file__).resolve().parents[4]

SHARE = {"name": "nas_a", "root": "/mnt/nas-a/uv", "builder": "dev1", "environments": ["train"]}


class Hostvars(dict[str, dict[str, t.Any]]):
    """What is known of hosts."""

    def raw_get(self, host: str) -> dict[str, t.Any]:
        return self[host]


def reported(path: Path) -> dict[str, t.Any]:
    declared = {"hosts": {"dev1": 0}, "work": [{"shares": [SHARE]}], "report_file": str(path)}
    fact = {"name": "train", "action": "keep", "id": "a", "previous_id": "a", "packages_changed": []}
    done = {"results": [{"__uvnas_share": {"name": "nas_a"}, "environments": [fact]}]}
    action = ActionModule.__new__(ActionModule)
    action._task = types.SimpleNamespace(check_mode=False)
    hostvars = Hostvars(dev1={"__uvnas_declared": declared, "__uvnas_envs_done": done})
    return action.work({"hosts": ["dev1"], "well": ["dev1"], "kind": "run"}, {"hostvars": hostvars})


def test_a_report_is_written(tmp_path: Path) -> None:
    result = reported(tmp_path / "report.json")
    assert result["msg"] == ["nas_a: train  unchanged", f"The same as JSON: {tmp_path}/report.json"]
    assert json.loads((tmp_path / "report.json").read_text())["shares"][0]["known"] is True


def test_what_a_run_did_is_said_though_the_report_cannot_be_written_any_more(tmp_path: Path) -> None:
    result = reported(tmp_path / "gone" / "report.json")
    assert result["failed"] is True
    said = result["msg"].splitlines()
    assert said[0].startswith(f"uvnas_report_file: cannot write {tmp_path}/gone/report.json: No such file or directory")
    assert said[-1] == "nas_a: train  unchanged"


@pytest.mark.parametrize("name", uv_report._KINDS)
def test_what_it_reads_is_what_some_task_registers(name: str) -> None:
    tasks = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]
    assert any(f"register: {name}\n" in path.read_text(encoding="utf-8") for path in tasks)
