# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One site.yml sets up both NASes and all four hosts from scratch."""

from __future__ import annotations

import json

import pytest

SHARES_OF = {"dev1": ["nas_a", "nas_b"], "node-a1": ["nas_a"], "node-a2": ["nas_a"], "node-b1": ["nas_b"]}
ROOT_OF = {"nas_a": "/mnt/nas-a/uv", "nas_b": "/mnt/nas-b/uv"}
ENVS_OF = {"nas_a": ["tools", "train"], "nas_b": ["only-b", "tools", "train"]}
IMPORTS = {"tools": "numpy, requests, rich", "train": "numpy, pandas", "only-b": "rich"}
USES = [(host, share) for host, shares in SHARES_OF.items() for share in shares]


@pytest.mark.parametrize(("host", "share"), USES)
def test_every_host_runs_the_environments_of_its_shares(machines, host, share):
    root = ROOT_OF[share]
    assert machines.root(host, f"ls {root}/envs").split() == ENVS_OF[share]
    for env in ENVS_OF[share]:
        printed = machines.user(
            host, "alice", f"{root}/envs/{env}/bin/python -c 'import sys, {IMPORTS[env]}; print(sys.prefix)'"
        )
        # By the link, as people type it, and pinned to its target.
        assert printed.startswith(f"{root}/generations/{env}/")


def test_hosts_mount_their_shares(machines):
    filesystems = {"nas_a": "xfs", "nas_b": "ext4"}
    for host, shares in SHARES_OF.items():
        mounted = {share for share in ROOT_OF if machines[host].file(f"{ROOT_OF[share]}/share.json").exists}
        assert mounted == set(shares)
        for share in shares:
            assert machines.root(host, f"stat -f -c %T {ROOT_OF[share]}").strip().startswith(filesystems[share][:3])


def test_the_same_declaration_is_the_same_generation_on_both_shares(machines):
    for env in ("tools", "train"):
        a, b = (json.loads(machines.root("dev1", f"cat {root}/envs/{env}/.uvnas.json")) for root in ROOT_OF.values())
        assert a["id"] == b["id"]
        assert a["packages"] == b["packages"]


def test_the_older_host_has_an_older_glibc_and_slurm(machines):
    def versions(host):
        return machines.root(host, "getconf GNU_LIBC_VERSION; scontrol --version").split()

    assert versions("node-b1") < versions("dev1") == versions("node-a1")


@pytest.mark.parametrize(
    ("host", "home"), [("dev1", "nas_a"), ("node-a1", "nas_a"), ("node-a2", "nas_a"), ("node-b1", "nas_b")]
)
def test_login_shells_know_their_home_share(machines, host, home):
    printed = machines.user(host, "alice", 'echo "$UVNAS_SHARE $UV_CACHE_DIR"')
    assert printed == f"{home} {ROOT_OF[home]}/user-cache/alice"


def test_uv_is_on_shares_and_in_local_directories_that_want_it(machines):
    for host, shares in SHARES_OF.items():
        for share in shares:
            assert machines.user(host, "alice", f"{ROOT_OF[share]}/bin/uv --version").startswith("uv ")
        assert machines[host].file("/usr/local/bin/uv").exists == (host == "node-b1")
    assert machines.user("node-b1", "alice", "command -v uv; uv --version").startswith("/usr/local/bin/uv\nuv ")


def test_environments_on_ext4_are_hard_links_of_the_cache(machines):
    linked = machines.root("dev1", f"find {ROOT_OF['nas_b']}/generations -name '*.so' -links +1 | wc -l")
    assert int(linked) > 50
    assert machines.root("dev1", f"find {ROOT_OF['nas_b']}/generations -name '*.so' -links 1") == ""


def test_environments_on_xfs_share_their_blocks_with_the_cache(machines):
    library = machines.root(
        "dev1", f"find {ROOT_OF['nas_a']}/generations/train -name 'libopenblas*.so' -o -name '_multiarray_umath*.so'"
    )
    for path in library.split():
        assert "shared" in machines.root("dev1", f"filefrag -v {path}")
