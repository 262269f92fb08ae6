# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that import lazily while site.yml publishes twice: each sees a single generation from start to end."""

from __future__ import annotations

import json
import shlex

import pytest

ROOT_OF = {"a": "/mnt/nas-a/uv", "b": "/mnt/nas-b/uv"}
# The versions of three successive upgrades; none is in two of them.
VERSIONS = [
    {"six": "1.15.0", "idna": "3.4", "attrs": "22.2.0"},
    {"six": "1.16.0", "idna": "3.6", "attrs": "23.1.0"},
    {"six": "1.17.0", "idna": "3.7", "attrs": "23.2.0"},
]
# Imports one package, reports it, and waits for an upgrade before it imports the next: a long job in short.
LAZY = """
import importlib, importlib.metadata, json, os, subprocess, sys, time
place, seen = sys.argv[1], []
for step, (module, package) in enumerate((("six", "six"), ("idna", "idna"), ("attr", "attrs"))):
    deadline = time.monotonic() + 300
    while step and not os.path.exists("%s.published-%d" % (place, step)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    found = importlib.import_module(module)
    ask = "import importlib.metadata as i, %s as m; print(m.__file__, i.version(%r))" % (module, package)
    child = subprocess.run([sys.executable, "-c", ask], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    seen.append([package, found.__file__, importlib.metadata.version(package), *child])
    open("%s.%s.done-%d" % (place, os.environ["SLURM_JOB_ID"], step), "w").close()
print(json.dumps({"prefix": sys.prefix, "executable": sys.executable, "seen": seen}))
"""
STYLES = {
    "activated": 'source {root}/envs/lazy/bin/activate\npython "$HOME/jobs/lazy.py" {place}\n',
    "direct": '{root}/envs/lazy/bin/python "$HOME/jobs/lazy.py" {place}\n',
    "srun": 'srun {root}/envs/lazy/bin/python "$HOME/jobs/lazy.py" {place}\n',
}
PLACE = "/home/alice/jobs/lazy"


def publish(site, versions):
    """Publish the environment with these versions by site.yml."""
    requirements = [f"{name}=={version}" for name, version in versions.items()]
    python = "{{ machines_python }}"
    done = site(uvnas_envs=[{"name": "lazy", "python": python, "requirements": requirements, "imports": ["six"]}])
    assert done.rc == 0, done.output


def published(machines, root):
    return machines.root("dev1", f"readlink -f {root}/envs/lazy").strip()


@pytest.fixture(scope="session")
def ended(machines, jobs, site):
    """What each job saw, and the generations in force when it started and ended."""
    machines.user("dev1", "alice", f"mkdir -p jobs && rm -f {PLACE}.* && printf %s {shlex.quote(LAZY)} >jobs/lazy.py")
    publish(site, VERSIONS[0])
    first = {partition: published(machines, root) for partition, root in ROOT_OF.items()}
    numbers = {
        (partition, style): jobs.submit("#!/bin/bash -l\n" + script.format(root=root, place=PLACE), "-p", partition)
        for partition, root in ROOT_OF.items()
        for style, script in STYLES.items()
    }
    for step, versions in enumerate(VERSIONS):
        if step:
            publish(site, versions)
            machines.user("dev1", "alice", f"touch {PLACE}.published-{step}")

        def all_did(step=step):
            done = machines.user("dev1", "alice", f"ls jobs | grep -c 'lazy.*done-{step}' || true")
            return int(done) == len(numbers)

        machines.wait_until(f"all jobs have imported package {step}", all_did, seconds=120)
    last = {partition: published(machines, root) for partition, root in ROOT_OF.items()}
    return {key: json.loads(jobs.output(number)) for key, number in numbers.items()}, first, last


@pytest.mark.parametrize("partition", ROOT_OF)
@pytest.mark.parametrize("style", STYLES)
def test_a_job_keeps_the_generation_it_started_with(ended, partition, style):
    printed, first, last = ended
    generation = first[partition]
    assert last[partition] != generation
    found = printed[partition, style]
    assert (found["prefix"], found["executable"]) == (generation, f"{generation}/bin/python")
    for package, file, version, child_file, child_version in found["seen"]:
        assert version == child_version == VERSIONS[0][package]
        assert file == child_file
        assert file.startswith(f"{generation}/lib/")


@pytest.mark.parametrize("partition", ROOT_OF)
def test_what_starts_now_sees_the_newest(machines, ended, partition):
    ask = "import importlib.metadata as m; print(m.version('six'))"
    printed = machines.user(
        "dev1", "alice", f"srun -p {partition} {ROOT_OF[partition]}/envs/lazy/bin/python -c {shlex.quote(ask)}"
    )
    assert printed == VERSIONS[-1]["six"]
