# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""usage.yml on a real site: who runs what."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, Site, finish, make_site

TOOLS: dict[str, t.Any] = {"name": "tools", "requirements": ["six==1.15.0"]}
DOWN = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0}


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    site = make_site(public / "site", hosts={"builder": None, "down": DOWN})
    run = site.run([TOOLS], "--limit", "builder")
    assert run.rc == 0, run.output
    return site


def usage(site: Site, *options: str, **variables: t.Any) -> Run:
    return finish(site.start([TOOLS], *options, playbook=ROOT / "playbooks" / "usage.yml", **variables))


def test_who_uses_what(site: Site) -> None:
    """A job, started by the link, after an upgrade: pure Python, somewhere else, with the variables of Slurm."""
    generation = os.path.basename(str(site.link("tools")))
    report = site.path / "usage.json"
    program = site.share / "envs" / "tools" / "bin" / "python"
    code = "import os, sys; os.setsid(); print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [program, "-c", code], cwd="/", env={"SLURM_JOB_ID": "4711"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as job:
        assert job.stdout is not None
        job.stdout.readline()
        upgraded = site.run([{**TOOLS, "requirements": ["six==1.16.0"]}], "--limit", "builder")
        assert upgraded.rc == 0, upgraded.output
        run = usage(site, "--limit", "builder", uvnas_report_file=str(report))
        job.communicate()
    assert run.rc == 0, run.output
    assert f"tools {generation}" in run.output
    (host,) = json.loads(report.read_text())["hosts"]
    uses = [use for use in host["uses"] if use["pid"] == job.pid]
    assert {(use["generation"], use["job"]) for use in uses if use["environment"]} == {(generation, "4711")}
    # It rests on the interpreter of the share, too.
    assert [use["interpreter"].startswith("cpython-3") for use in uses if not use["environment"]] == [True]
    assert usage(site, "--limit", "builder").output.count(str(job.pid)) == 0


def test_a_host_that_does_not_answer_is_named(site: Site) -> None:
    run = usage(site)
    assert run.rc != 0
    assert "not answered: down" in run.output
    assert "1 host answered." in run.output
