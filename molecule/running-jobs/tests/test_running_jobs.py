# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that import lazily while site.yml publishes twice: each sees a single generation from start to end.

And while what they have not imported yet is damaged, and repaired by repair.yml.
"""

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
# Imports a module after the other, of its own and in new processes, until the share is repaired; then the rest.
PATIENT = """
import importlib, json, os, subprocess, sys, time
place, seen = sys.argv[1], []
names = iter("calendar colorsys configparser csv difflib fractions ipaddress mailbox plistlib sched statistics".split())
while not os.path.exists(place + ".repaired"):
    assert len(seen) < 1500
    seen.append(importlib.import_module(next(names, "six")).__file__)
    subprocess.run([sys.executable, "-c", "import six"], check=True)
    open("%s.%s.begun" % (place, os.environ["SLURM_JOB_ID"]), "w").close()
    time.sleep(0.2)
import attr, attr.filters, idna.core, idna.idnadata
print(json.dumps([attr.filters.__file__, idna.core.__file__, idna.encode("xn--bcher-kva").decode()]))
"""
# What is done to an environment by root, none of which has been imported: bytes, cut, deleted, added, mode, link.
HARM = """
cd {generation}/lib/python*/site-packages
printf '#' | dd of=attr/_make.py bs=1 seek=100 conv=notrunc status=none
truncate --size=100 idna/core.py
rm idna/idnadata.py
touch idna/added.py
chmod 0600 attr/__init__.py
ln -sf /etc/passwd attr/filters.py
printf x >attr/__pycache__/_make.cpython-*.pyc
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


def test_what_a_job_has_not_imported_yet_is_damaged_and_repaired(machines, jobs, site, ended):
    place = "/home/alice/jobs/patient"
    machines.user("dev1", "alice", f"rm -f {place}.* && printf %s {shlex.quote(PATIENT)} >jobs/patient.py")
    script = '#!/bin/bash -l\n{root}/envs/lazy/bin/python -B "$HOME/jobs/patient.py" {place}\n'
    numbers = {
        partition: jobs.submit(script.format(root=root, place=place), "-p", partition)
        for partition, root in ROOT_OF.items()
    }
    machines.wait_until(
        "the jobs import",
        lambda: machines.user("dev1", "alice", "ls jobs | grep -c 'patient.*begun' || true") == str(len(numbers)),
        seconds=60,
    )
    for root in ROOT_OF.values():
        machines.root("dev1", HARM.format(generation=published(machines, root)))
    damaged = site("-e", "uvnas_deep=true", playbook="verify")
    assert damaged.rc != 0
    for share in ("nas_a", "nas_b"):
        assert f"share {share}: DAMAGED" in damaged.text
    repaired = site(playbook="repair", uvnas_repair_remove=True)
    assert repaired.rc == 0, repaired.output
    machines.user("dev1", "alice", f"touch {place}.repaired")
    for partition, root in ROOT_OF.items():
        *imported, encoded = json.loads(jobs.output(numbers[partition]))
        assert {file.partition("/lib/")[0] for file in imported} == {published(machines, root)}
        assert encoded == "xn--bcher-kva"
        # A job that starts afterwards.
        again = jobs.submit(script.format(root=root, place=place), "-p", partition)
        assert json.loads(jobs.output(again)) == [*imported, encoded]
    whole = site("-e", "uvnas_deep=true", playbook="verify")
    assert whole.rc == 0, whole.output
