# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_jobs, from its arguments to its result, with programs in the place of Slurm's."""

from __future__ import annotations

import json
import os
import socket
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.host import slurm
from ansible_collections.uvnas.cluster.plugins.modules import uv_jobs

JOBS = """\
11|CANCELLED|2026-11-27T17:37:14|0|root|
4|PENDING|2026-11-27T17:37:19|1|alice|
2|RUNNING|2026-11-27T17:37:14|0|bob|
"""
NODES = "NodeName=node-a1 Arch=x86_64 NodeAddr=node-a1 NodeHostName=node-a1 BootTime=2026-11-27T13:35:17 AllocTRES=\n"
FOUR = {
    "id": "4", "user": "alice", "state": "PENDING", "submitted": "2026-11-27T17:37:19+00:00", "restarted": True,
}  # fmt: skip
TWO = {
    "id": "2", "user": "bob", "state": "RUNNING", "submitted": "2026-11-27T17:37:14+00:00", "restarted": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where Slurm's programs would be; nothing of this machine's own Slurm is found."""
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setattr(slurm, "_DIRECTORIES", (str(tmp_path),))
    monkeypatch.setattr(slurm, "_CONFIGURATIONS", (str(tmp_path / "slurm.conf"),))
    return tmp_path


def program(directory: Path, name: str, script: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def cluster(directory: Path) -> Path:
    """A cluster with three jobs and a node."""
    (directory / "slurm.conf").write_text("ClusterName=Machines\n")
    for name, text in {"squeue": JOBS, "scontrol": NODES}.items():
        (directory / f"{name}.txt").write_text(text)
        program(directory, name, f"cat {directory / name}.txt")
    return directory


def run(capsys: pytest.CaptureFixture[str], **given: t.Any) -> dict[str, t.Any]:
    with patch_module_args(given), pytest.raises(SystemExit):
        uv_jobs.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    result.pop("invocation", None)  # Which older releases of ansible-core add.
    return result


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.usefixtures("cluster")
def test_it_says_which_jobs_there_are_and_changes_nothing(check: bool, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, nodes=["node-a1.example.org", "dev1"], _ansible_check_mode=check)
    assert result == {
        "changed": False,
        "host": socket.gethostname(),
        "is_root": os.geteuid() == 0,
        "cluster": "machines",
        "jobs": [FOUR, TWO],
        "nodes": [{"name": "node-a1.example.org", "booted": "2026-11-27T13:35:17+00:00"}],
    }


@pytest.mark.usefixtures("cluster")
def test_jobs_submitted_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, before="2026-11-27T17:37:13+00:00")["jobs"] == [FOUR]
    assert run(capsys, before="")["jobs"] == [FOUR, TWO]


def test_no_slurm(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, nodes=["node-a1"])
    assert (result["cluster"], result["jobs"], result["nodes"]) == (None, [], [])


def test_slurm_that_does_not_answer(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    program(cluster, "squeue", f"echo '{said}' >&2; exit 1")
    result = run(capsys)
    assert result["failed"]
    assert result["msg"].splitlines() == [
        f"squeue has failed: {said}",
        "See that slurmctld runs, and that this host can reach it and may ask it.",
    ]


def test_slurm_that_hangs(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(cluster, "scontrol", "exec sleep 1000")
    result = run(capsys, nodes=["node-a1"], timeout=0.5)
    assert result["msg"].splitlines()[0] == f"{cluster / 'scontrol'} timed out after 0.5 s"


@pytest.mark.usefixtures("cluster")
def test_a_nas_that_hangs_with_slurm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def hangs() -> t.NoReturn:
        while True:
            os.read(reader, 1)

    reader, writer = os.pipe()
    monkeypatch.setattr(slurm, "cluster", hangs)
    result = run(capsys, timeout=0.1)
    os.close(reader)
    os.close(writer)
    assert result["msg"].splitlines()[0] == "Slurm has not answered for 0.3 s"


@pytest.mark.parametrize("before", ["yesterday", "2026-11-27T17:37:13"])
def test_no_time(before: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, before=before)["msg"].startswith("before must be a time with its zone, such as ")


@pytest.mark.parametrize("timeout", [0, -1, "inf", "nan"])
def test_no_timeout(timeout: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "timeout must be a number of seconds greater than 0" in run(capsys, timeout=timeout)["msg"]
