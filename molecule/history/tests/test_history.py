# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of an environment on two NASes, with jobs on the nodes of both."""

from __future__ import annotations

import shlex
import typing as t

import pytest

ROOT_OF = {"a": "/mnt/nas-a/uv", "b": "/mnt/nas-b/uv"}
OLD, NEW = "1.15.0", "1.16.0"
PLACE = "/home/alice/jobs/life"
# Imports idna after the rollback.
LAZY = """
import importlib.metadata, os, sys, time
import six
open(sys.argv[1] + ".started-" + os.environ["SLURM_JOB_ID"], "w").close()
deadline = time.monotonic() + 240
while not os.path.exists(sys.argv[1] + ".rolled-back"):
    assert time.monotonic() < deadline
    time.sleep(0.2)
import idna
print(six.__version__, importlib.metadata.version("six"), os.path.dirname(os.path.dirname(idna.__file__)))
"""


def env(version: str, **more: t.Any) -> dict[str, t.Any]:
    python = "{{ machines_python }}"
    return {"name": "life", "python": python, "requirements": [f"six=={version}", "idna"], "imports": ["six"], **more}


def six(machines, partition):
    ask = "import six; print(six.__version__)"
    python = f"{ROOT_OF[partition]}/envs/life/bin/python"
    return machines.user("dev1", "alice", f"srun -p {partition} {python} -c {shlex.quote(ask)}")


def generation(machines, partition):
    return machines.root("dev1", f"readlink -f {ROOT_OF[partition]}/envs/life").strip()


def well(run):
    assert run.rc == 0, run.output
    return run


@pytest.fixture(scope="session")
def life(machines, jobs, site):
    """The outputs of jobs that ran while their environment was rolled back; then it is held."""
    machines.user("dev1", "alice", f"mkdir -p jobs && rm -f {PLACE}.* && printf %s {shlex.quote(LAZY)} >jobs/life.py")
    well(site(uvnas_envs=[env(OLD)]))
    old = {partition: generation(machines, partition) for partition in ROOT_OF}
    well(site(uvnas_envs=[env(NEW)]))
    new = {partition: generation(machines, partition) for partition in ROOT_OF}
    numbers = {
        partition: jobs.submit(
            f'#!/bin/bash -l\n{root}/envs/life/bin/python "$HOME/jobs/life.py" {PLACE}\n', "-p", partition
        )
        for partition, root in ROOT_OF.items()
    }

    def started():
        return machines.user("dev1", "alice", "ls jobs | grep -c 'life.started' || true") == str(len(numbers))

    machines.wait_until("the jobs have started", started, seconds=60)
    rolled_back = well(site(playbook="rollback", uvnas_envs=[env(NEW)], uvnas_env="life", uvnas_reason="six is slow"))
    machines.user("dev1", "alice", f"touch {PLACE}.rolled-back")
    return old, new, rolled_back, {partition: jobs.output(number) for partition, number in numbers.items()}


@pytest.mark.parametrize("partition", ROOT_OF)
def test_a_running_job_keeps_its_generation(life, partition):
    _old, new, _run, printed = life
    imported, version, place = printed[partition].split()
    assert imported == version == NEW
    assert place.startswith(f"{new[partition]}/lib/")


@pytest.mark.parametrize("partition", ROOT_OF)
def test_what_starts_after_a_rollback_has_the_generation_before(machines, life, partition):
    old, _new, run, _printed = life
    assert generation(machines, partition) == old[partition]
    assert f"six {NEW} -> {OLD}; held: six is slow" in run.output


def test_it_is_held_over_two_runs_and_released(machines, site, life):
    old, new, _run, _printed = life
    for _time in range(2):
        run = well(site(uvnas_envs=[env(NEW)]))
        assert set(run.recap("changed").values()) == {0}
        assert "six is slow" in run.output
    assert six(machines, "a") == six(machines, "b") == OLD
    assert {partition: generation(machines, partition) for partition in ROOT_OF} == old
    well(site(playbook="release", uvnas_envs=[env(NEW)], uvnas_env="life"))
    well(site(uvnas_envs=[env(NEW)]))
    assert {partition: generation(machines, partition) for partition in ROOT_OF} == new
    assert six(machines, "b") == NEW


def test_what_one_host_refuses_is_published_nowhere(machines, site, life):
    """node-b1 only has nas_b; nas_a waits for it all the same, as an environment is the same everywhere."""
    _old, new, _run, _printed = life
    tried = {"hosts": ["cluster_a", "node-b1"], "at_least": 3}
    refusing = env("1.17.0", checks=["test $(uname -n) != node-b1"], try_on=tried)
    for _time in range(2):
        run = site(uvnas_envs=[refusing])
        assert run.rc != 0
        assert "is not published on nas_a, nas_b: tried on node-a1, node-a2, FAILED on node-b1" in run.text
        assert {partition: generation(machines, partition) for partition in ROOT_OF} == new
    # A check may go through Slurm: from the devserver, to the nodes that people get.
    through = 'srun -p b "$VIRTUAL_ENV/bin/python" -c "import six"'
    slurm = env("1.17.0", name="through", shares=["nas_b"], checks=[through], try_on={"hosts": ["dev1"]})
    well(site(uvnas_envs=[slurm]))
    assert machines.root("dev1", "test -e /mnt/nas-b/uv/envs/through/bin/python && echo there").strip() == "there"
