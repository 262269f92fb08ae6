# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify.yml with uvnas_deep: who reads, who does not, and what is said of shares that nobody could read."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.pythons import owner
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, Site, finish, make_site

DOWN = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0}


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """Two builders, of which one is down, and a member. Shares without environments."""
    shares = [
        {"name": name, "root": str(public / "site" / "nas" / name), "builder": builder, "owner": owner()}
        for name, builder in (("nas_a", "dev1"), ("nas_b", "dev2"))
    ]
    # The host that is first in a play does what is done once for all.
    site = make_site(public / "site", {"uvnas_shares": shares}, {"dev2": DOWN, "dev1": None, "node001": DOWN})
    run = site.role("share", "--limit", "dev1")
    assert run.rc == 0, run.output
    return site


def deep(site: Site, *options: str, **variables: t.Any) -> Run:
    given = ("-e", "uvnas_deep=true", *options)
    return finish(site.start([], *given, playbook=ROOT / "playbooks" / "verify.yml", **variables))


def test_builders_read_and_no_member_is_asked(site: Site) -> None:
    report = site.path / "deep.json"
    for options in ([], ["--check"]):
        run = deep(site, *options, uvnas_report_file=str(report))
        assert run.rc != 0
        assert "Action failed: share nas_b: NOT READ: its builder dev2 does not answer\n" in run.output
        assert run.changed == 0
        assert "unreachable=1" not in run.output
        # Which is down, and would be named.
        assert "Verify that this host" not in run.output
        read, silent = json.loads(report.read_text())["shares"]
        assert (read["name"], read["problem"], silent["name"]) == ("nas_a", "", "nas_b")
        assert [tree for tree in read["trees"] if tree["count"]] == []


def test_a_builder_alone(site: Site) -> None:
    run = deep(site, "--limit", "dev1")
    assert run.rc == 0, run.output
    assert '"  nothing is damaged"' in run.output
    assert "nothing is read: its builder dev2 is not among the hosts of this run (--limit?)" in run.output


def test_a_nas_that_is_not_mounted(site: Site) -> None:
    root = site.path / "nas" / "nas_a"
    os.rename(root, f"{root}.away")
    try:
        run = deep(site, "--limit", "dev1")
    finally:
        os.rename(f"{root}.away", root)
    assert run.rc != 0
    assert f"share nas_a: NOT READ: {root} is not a share" in run.output
