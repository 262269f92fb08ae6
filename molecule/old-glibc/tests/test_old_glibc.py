# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node with an older glibc than the builder, as described in docs/docsite/rst/glibc.rst."""

from __future__ import annotations

import json
import re

import pytest

ROOT = "/mnt/nas-b/uv"
# bcrypt has wheels for glibc 2.28 and 2.34; uv takes the newest that runs on the builder.
CRYPT = {"name": "crypt", "python": "{{ machines_python }}", "requirements": ["bcrypt"], "imports": ["bcrypt"]}


@pytest.fixture(scope="module")
def without_floor(site):
    """A run with an environment that node-b1 cannot run."""
    return site(uvnas_envs=[CRYPT])


@pytest.fixture(scope="module")
def with_floor(site, without_floor):
    """The same with the oldest glibc declared for nas_b."""
    return site(uvnas_envs=[CRYPT], uvnas_shares=shares("2.31"))


def shares(glibc=None):
    """uvnas_shares, with the oldest glibc of nas_b."""
    names = {"nas_a": "/mnt/nas-a", "nas_b": "/mnt/nas-b"}
    common = {"builder": "dev1", "owner": "uvadmin", "group": "research"}
    found = [{"name": name, "root": f"{mount}/uv", "mount": mount, **common} for name, mount in names.items()]
    found[1] |= {"glibc": glibc} if glibc else {}
    return found


def test_verify_reports_host_environment_wheel_and_reason(without_floor):
    assert without_floor.rc != 0
    assert re.search(
        r"environment crypt: cannot run here: bcrypt \S+ \(manylinux_2_34_x86_64\) needs glibc 2\.34; "
        r"this host \(node-b1\) has 2\.31",
        without_floor.text,
    ), without_floor.output
    assert 'Declare glibc: "2.31" for share nas_b' in without_floor.text
    assert "Traceback" not in without_floor.output


def test_it_is_the_only_host_that_fails(without_floor):
    assert without_floor.failed == {"node-b1"}


def test_newer_hosts_run_it(machines, without_floor):
    assert machines.user("node-a1", "alice", "/mnt/nas-a/uv/envs/crypt/bin/python -c 'import bcrypt; print(1)'") == "1"


def test_with_the_floor_it_is_built_for_the_oldest_host(machines, with_floor):
    assert with_floor.rc == 0, with_floor.output
    assert machines.user("dev1", "alice", f"srun -p b {ROOT}/envs/crypt/bin/python -c 'import bcrypt; print(1)'") == "1"
    platform = json.loads(machines.root("dev1", f"cat {ROOT}/envs/crypt/.uvnas.json"))["platform"]
    assert platform["packages"]["bcrypt"] == {"glibc": "2.28", "tag": "manylinux_2_28_x86_64"}


def test_it_is_the_same_on_the_other_nas(machines, with_floor):
    ids = {machines.root("dev1", f"readlink {root}/envs/crypt").strip() for root in ("/mnt/nas-a/uv", ROOT)}
    assert len(ids) == 1


def test_the_interpreter_of_the_machines_runs_on_the_oldest_host(machines, with_floor):
    platform = json.loads(machines.root("dev1", f"cat {ROOT}/envs/crypt/.uvnas.json"))["platform"]
    assert tuple(map(int, platform["interpreter"].split("."))) <= (2, 31)
