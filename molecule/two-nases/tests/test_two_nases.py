# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One environment on two NASes, as described in docs/docsite/rst/several-nases.rst."""

from __future__ import annotations

import json

import pytest

ROOT_OF = {"nas_a": "/mnt/nas-a/uv", "nas_b": "/mnt/nas-b/uv"}
PYTHON = "{{ machines_python }}"
LATER = {"name": "later", "python": PYTHON, "requirements": ["attrs", "charset-normalizer"], "imports": ["attr"]}
# Keeps uv and pip from reaching any index.
CUT_OFF = {
    "uvnas_uv_variables": {
        **dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    }
}


def manifest(machines, share, env):
    return json.loads(machines.root("dev1", f"cat {ROOT_OF[share]}/envs/{env}/.uvnas.json"))


def records(machines, share, env):
    """The RECORD of each package, without scripts, whose first line names their generation."""
    script = f"cd {ROOT_OF[share]}/envs/{env}/lib && grep -v '^../../../bin/' python*/site-packages/*.dist-info/RECORD"
    return sorted(machines.root("dev1", script).splitlines())


@pytest.mark.parametrize("env", ["train", "tools"])
def test_it_is_the_same_lock_generation_and_content(machines, env):
    locks = [machines.root("dev1", f"cat {root}/locks/{env}.txt") for root in ROOT_OF.values()]
    assert locks[0] == locks[1]
    a, b = (manifest(machines, share, env) for share in ROOT_OF)
    assert (a["id"], a["packages"], a["python"], a["lock"]) == (b["id"], b["packages"], b["python"], b["lock"])
    assert a["content"]["packages"] == b["content"]["packages"]
    assert (a["share"], b["share"]) == ("nas_a", "nas_b")
    assert records(machines, "nas_a", env) == records(machines, "nas_b", env)


@pytest.mark.parametrize("env", ["train", "tools"])
def test_the_files_are_the_same(machines, env):
    """Except scripts and activation files, which name their share, and RECORDs, which have hashes of scripts."""
    sums = [
        machines.root(
            "dev1",
            f"cd {root}/envs/{env}/lib && find . -type f ! -name '*.pyc' ! -name zzz_uvnas_pin.pth ! -name RECORD "
            "-exec sha256sum {} + | sort -k2",
        )
        for root in ROOT_OF.values()
    ]
    assert sums[0] == sums[1]


@pytest.fixture(scope="module")
def cloned(machines, site):
    """An environment on nas_a only, and then on both, while no index is reachable."""
    for root in ROOT_OF.values():
        machines.root("dev1", f"rm -rf {root}/envs/later {root}/generations/later {root}/locks/later.txt")
    # The cache of nas_b must not help.
    machines.root("dev1", f"cd {ROOT_OF['nas_b']}/cache && rm -rf */pypi/attrs* */pypi/charset-normalizer*")
    done = site(uvnas_envs=[{**LATER, "shares": ["nas_a"]}])
    assert done.rc == 0, done.output
    done = site(uvnas_envs=[LATER], **CUT_OFF)
    assert done.rc == 0, done.output
    return done


def test_the_second_nas_needs_no_index(machines, cloned):
    assert manifest(machines, "nas_a", "later")["id"] == manifest(machines, "nas_b", "later")["id"]
    assert records(machines, "nas_a", "later") == records(machines, "nas_b", "later")


def test_without_the_first_nas_it_would_need_one(site, cloned):
    done = site(
        uvnas_envs=[{**LATER, "name": "alone", "requirements": ["tomli==2.0.1"], "shares": ["nas_b"]}], **CUT_OFF
    )
    assert done.rc != 0
    assert "environment alone: its requirements cannot be resolved" in done.output


def test_it_is_hard_linked_within_the_second_nas(machines, cloned):
    root = ROOT_OF["nas_b"]
    (file,) = machines.root("dev1", f"ls {root}/envs/later/lib/python*/site-packages/attr/__init__.py").split()
    links, inode = machines.root("dev1", f"stat -L -c '%h %i' {file}").split()
    assert int(links) > 1
    cached = machines.root("dev1", f"find {root}/cache/archive-v* -inum {inode}").split()
    assert len(cached) == 1


def test_nodes_of_the_second_cluster_run_it(machines, cloned):
    printed = machines.user(
        "dev1", "alice", f"srun -p b {ROOT_OF['nas_b']}/envs/later/bin/python -c 'import attr; print(attr.__file__)'"
    )
    assert printed.startswith(f"{ROOT_OF['nas_b']}/generations/later/")
