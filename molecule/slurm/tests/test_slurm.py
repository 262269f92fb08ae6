# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What alice's jobs see when submitted from dev1, as described in docs/docsite/rst/slurm.rst."""

from __future__ import annotations

import pytest

ROOT_OF = {"a": "/mnt/nas-a/uv", "b": "/mnt/nas-b/uv"}
NODES_OF = {"a": {"node-a1", "node-a2"}, "b": {"node-b1"}}
LOGIN = "#!/bin/bash -l"
PLAIN = "#!/bin/bash"
# The root on dev1, where jobs are submitted; and a marker for that of the node they run on.
HERE = "/mnt/nas-a/uv"
NODE = "the node's"

# Which host's settings a batch job gets.
BATCH = {
    (LOGIN, ()): NODE,
    (LOGIN, ("--export=ALL",)): NODE,
    (LOGIN, ("--export=NONE",)): NODE,
    (LOGIN, ("--get-user-env",)): NODE,
    (LOGIN, ("--export=NONE", "--get-user-env")): NODE,
    (PLAIN, ()): HERE,
    (PLAIN, ("--export=ALL",)): HERE,
    # Slurm takes the variables of a login shell on the node.
    (PLAIN, ("--export=NONE",)): NODE,
    # Inherited variables win.
    (PLAIN, ("--get-user-env",)): HERE,
    (PLAIN, ("--export=NONE", "--get-user-env")): NODE,
}
SHOW = """
echo "host $(hostname)"
env | grep -E '^(UV|PATH)' | sed 's/^/batch /'
srun $UVNAS_ROOT/envs/train/bin/python -c 'import os, sys, pandas
print("prefix", sys.prefix)
for item in os.environ.items(): print("srun", "=".join(item))'
"""


@pytest.fixture(scope="session")
def batches(jobs):
    """Run all jobs at once; the output of each."""
    numbers = {
        (partition, first, options): jobs.submit(first + SHOW, "-p", partition, *options)
        for partition in ROOT_OF
        for first, options in BATCH
    }
    return {key: jobs.output(number) for key, number in numbers.items()}


def variables(output, what):
    """Variables that a job showed, by name."""
    lines = [line.removeprefix(what + " ") for line in output.splitlines() if line.startswith(what + " ")]
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize("partition", ROOT_OF)
@pytest.mark.parametrize(
    ("first", "options"), BATCH, ids=lambda value: " ".join(value) if isinstance(value, tuple) else value
)
def test_batch(batches, partition, first, options):
    output = batches[partition, first, options]
    root = {NODE: ROOT_OF[partition], HERE: HERE}[BATCH[first, options]]
    assert output.split()[1] in NODES_OF[partition], output
    found = variables(output, "batch")
    assert found["UVNAS_ROOT"] == root
    assert found["UV_CACHE_DIR"] == f"{root}/user-cache/alice"
    assert found["UV_PYTHON_INSTALL_DIR"] == f"{root}/python"
    assert found["UV_PYTHON_DOWNLOADS"] == "manual"
    assert found["PATH"].endswith(f":{root}/bin")

    # On a node of the other cluster, inherited variables name a share that it does not mount.
    if root not in (ROOT_OF[partition],):
        assert "No such file or directory" in output
        return
    assert f"prefix {root}/generations/train/" in output
    # With --export=NONE, srun in the job passes on nothing, not even PATH.
    step = variables(output, "srun")
    if "--export=NONE" in options:
        assert "UVNAS_ROOT" not in step
        assert "PATH" not in step
    else:
        assert step["UVNAS_ROOT"] == root


def test_srun_in_a_job_with_export_none(jobs):
    # The workaround: make srun pass on the script's variables.
    activate = "export SLURM_EXPORT_ENV=ALL\nsource $UVNAS_ROOT/envs/train/bin/activate\n"
    script = f"{LOGIN}\n{activate}srun python -c 'import sys, numpy; print(sys.prefix)'\n"
    numbers = {partition: jobs.submit(script, "-p", partition, "--export=NONE") for partition in ROOT_OF}
    for partition, number in numbers.items():
        assert jobs.output(number).startswith(f"{ROOT_OF[partition]}/generations/train/")


def test_the_example_of_the_documentation(jobs):
    activate = 'source "$UVNAS_ROOT/envs/train/bin/activate"'
    script = f"{LOGIN}\n{activate}\nsrun python -c 'import sys, pandas; print(sys.prefix)'\n"
    numbers = {partition: jobs.submit(script, "-p", partition) for partition in ROOT_OF}
    for partition, number in numbers.items():
        assert jobs.output(number).startswith(f"{ROOT_OF[partition]}/generations/train/")


def test_a_value_of_ones_own(jobs):
    script = f"{LOGIN}\necho $UV_CACHE_DIR\nsrun -n1 bash -c 'echo $UV_CACHE_DIR'\n"
    number = jobs.submit(script, "-p", "b", "--export=ALL,UV_CACHE_DIR=/home/alice/cache")
    assert jobs.output(number) == "/home/alice/cache\n/home/alice/cache\n"


def test_the_home_share_of_one_job(jobs):
    # Works if the host has the share; otherwise the host's home share is used.
    script = f"{LOGIN}\necho $UVNAS_SHARE\n"
    numbers = {
        partition: jobs.submit(script, "-p", partition, "--export=ALL,UVNAS_HOME_SHARE=nas_b") for partition in ROOT_OF
    }
    assert {partition: jobs.output(number) for partition, number in numbers.items()} == {"a": "nas_a\n", "b": "nas_b\n"}


@pytest.mark.parametrize("partition", ROOT_OF)
def test_srun_by_path(machines, partition):
    root = ROOT_OF[partition]
    printed = machines.user(
        "dev1", "alice", f"srun -p {partition} {root}/envs/train/bin/python -c 'import numpy, sys; print(sys.prefix)'"
    )
    assert printed.startswith(f"{root}/generations/train/")


def test_srun_on_two_nodes(machines):
    printed = machines.user(
        "dev1",
        "alice",
        f"srun -p a -N2 {ROOT_OF['a']}/envs/tools/bin/python -c 'import os, rich; print(os.uname().nodename)'",
    )
    assert set(printed.split()) == NODES_OF["a"]


@pytest.mark.parametrize(
    ("options", "command", "root"),
    [
        ("", "env", HERE),
        ("--export=ALL", "env", HERE),
        ("--export=ALL", "bash -lc env", ROOT_OF["b"]),
        ("--export=NONE", "/bin/bash -lc env", ROOT_OF["b"]),
        ("--export=NONE", "/usr/bin/env", None),
    ],
)
def test_srun_from_the_devserver(machines, options, command, root):
    printed = machines.user("dev1", "alice", f"srun -p b {options} {command}")
    found = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    assert found.get("UVNAS_ROOT") == root
    # Without USER, it is unknown whose cache to use.
    assert found.get("UV_CACHE_DIR") == (f"{root}/user-cache/alice" if root and "USER" in found else None)
    assert ("USER" in found) == ("NONE" not in options)
    assert ("PATH" in found) == (root is not None)


def test_a_job_pins_the_generation_that_was_activated_at_submission(machines, jobs):
    pinned = machines.user("dev1", "alice", f"source {HERE}/envs/tools/bin/activate; echo $VIRTUAL_ENV")
    assert pinned.startswith(f"{HERE}/generations/tools/")
    script = f"{LOGIN}\nsource \"$TOOLS/bin/activate\"\npython -c 'import sys, rich; print(sys.prefix)'\n"
    assert jobs.output(jobs.submit(script, "-p", "a", f"--export=ALL,TOOLS={pinned}")) == f"{pinned}\n"
