# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of site.yml, and other ways to run plays: each works, or says what to do."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, finish, make_site

ENVS: list[dict[str, t.Any]] = [{"name": "first", "requirements": ["six"], "imports": ["six"]}]
MORE = [*ENVS, {"name": "second", "requirements": ["idna"]}]
HOSTS: dict[str, dict[str, t.Any] | None] = {"builder": None, "node1": None, "node2": None}
NOT_CHECKED = "has not been checked: --start-at-task"


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A converged site with two members."""
    site = make_site(public / "parts", {}, HOSTS)
    first = site.run(ENVS)
    assert first.rc == 0, first.output
    return site


def role(run: Run, name: str) -> bool:
    """Whether tasks of a role were run."""
    return f"TASK [uvnas.cluster.{name} :" in run.output.replace("TASK [uvnas.cluster.verify : Summary]", "")


def test_a_tag_is_a_role(site: Site) -> None:
    run = site.run(MORE, "--tags", "envs")
    assert run.rc == 0, run.output
    assert site.link("second")
    assert re.search(r"nas_a: second +built +new, ", run.output), run.output
    assert [name for name in ("share", "uv", "python", "envs", "profile", "verify") if role(run, name)] == ["envs"]
    gone = site.run([*ENVS, {"name": "second", "state": "absent"}], "--tags", "envs")
    assert (gone.rc, site.link("second")) == (0, None)


def test_the_declaration_is_looked_at_whatever_the_tags_are(site: Site) -> None:
    for options in (["--tags", "profile"], ["--skip-tags", "envs,verify"]):
        run = site.run(ENVS, *options, uvnas_user_chache="private")
        assert run.rc != 0
        assert "uvnas_user_chache is not a variable of uvnas.cluster; did you mean uvnas_user_cache?" in run.output


def test_tags_are_skipped(site: Site) -> None:
    run = site.run(MORE, "--skip-tags", "envs")
    assert not role(run, "envs")
    assert site.link("second") is None
    assert "nas_a: first" in run.output  # It was verified.


@pytest.mark.parametrize("options", [["--start-at-task", "Write what login shells read"], ["--skip-tags", "always"]])
def test_what_leaves_the_declaration_out_says_so(options: list[str], site: Site) -> None:
    run = site.run(MORE, *options)
    if "--start-at-task" in options:
        run = site.run(MORE, "--start-at-task", "Export what the shares of this host offer")
    assert run.rc != 0 or "no hosts matched" in run.output
    assert NOT_CHECKED in run.output
    assert "Use --tags" in run.output
    assert site.link("second") is None


def test_another_strategy(site: Site) -> None:
    free = dataclasses.replace(site, process={"ANSIBLE_STRATEGY": "free"})
    run = free.run(ENVS)
    assert (run.rc, run.changed) == (0, 0), run.output
    assert "not currently supported" not in run.output  # Of run_once.


@pytest.mark.parametrize("more", [{"strategy": "free"}, {"serial": 1}])
def test_roles_alone_in_plays_of_ones_own(more: dict[str, t.Any], site: Site) -> None:
    roles = [f"uvnas.cluster.{name}" for name in ("share", "uv", "python", "envs", "profile", "verify")]
    play = {"hosts": "all", "gather_facts": False, "roles": roles, **more}
    path = site.path / f"{next(iter(more))}.yml"
    path.write_text(yaml.safe_dump([play]), encoding="utf-8")
    run = finish(site.start(ENVS, playbook=path))
    assert (run.rc, run.changed) == (0, 0), run.output
    assert role(run, "verify")


def test_mistakes_of_a_role_alone(site: Site) -> None:
    run = site.role("profile", uvnas_user_chache="private")
    assert run.rc != 0
    assert "uvnas_user_chache is not a variable of uvnas.cluster" in run.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody")
def test_who_becomes_somebody_that_may_not(site: Site) -> None:
    become = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_method": "ansible.builtin.su",
              "ansible_become_flags": "-s /bin/sh", "ansible_python_interpreter": "/usr/bin/python3"}  # fmt: skip
    run = site.run(MORE, **become)
    assert run.rc != 0
    assert "or as root, or become one of them (ansible_become)" in run.output, run.output
    assert site.link("second") is None


def test_a_run_without_the_builder_says_so_once(site: Site) -> None:
    run = site.run(MORE, "--limit", "node1,node2")
    assert run.output.count("its builder builder is not among the hosts of this run") == 1
    assert site.link("second") is None
    assert "site.yml" not in run.output.replace("playbooks/site.yml", "")


def test_a_site_that_nobody_has_built_yet(public: Path) -> None:
    site = make_site(public / "new", {}, HOSTS)
    run = site.run(ENVS, "--limit", "node1")
    assert run.rc != 0
    assert run.output.count("its builder builder is not among the hosts of this run") == 1
    assert "is the builder of share nas_a" not in run.output


def test_a_first_look_at_a_new_share_whose_locks_are_in_git(site: Site, public: Path) -> None:
    locks = {"uvnas_lock_dir": str(public / "locks")}
    kept = site.run(ENVS, **locks)
    assert kept.rc == 0, kept.output
    new = make_site(public / "to-be", locks, HOSTS)
    look = new.run(ENVS, "--check", "--diff")
    assert look.rc == 0, look.output
    assert look.environments["first"]["action"] == "build"
    assert not new.share.exists()
