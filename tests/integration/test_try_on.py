# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments that are tried on hosts before they are published."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, Site, finish, make_site

# Nobody answers there.
DOWN = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0}
HOSTS: dict[str, t.Any] = {"builder": None, "node1": None, "node2": None, "down": DOWN}


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    return make_site(public / "site", hosts=HOSTS)


@pytest.fixture
def flag(site: Site) -> Path:
    """While it is there, the check fails."""
    path = site.path / "flag"
    path.unlink(missing_ok=True)
    return path


def declared(flag: Path, hosts: t.Sequence[str] = ("node1", "node2"), version: str = "1.15.0", **more: t.Any) -> t.Any:
    tried = {"hosts": list(hosts), **more}
    checks = [f"test ! -e {flag}", "python -c 'import six'"]
    return [
        {"name": "tools", "requirements": [f"six=={version}"], "imports": ["six"], "checks": checks, "try_on": tried}
    ]


def up(site: Site, *args: t.Any, **more: t.Any) -> Run:
    return site.run(*args, "--limit", "builder,node1,node2", **more)


def test_what_is_well_is_published(site: Site, flag: Path) -> None:
    run = up(site, declared(flag))
    assert run.rc == 0, run.output
    assert site.link("tools")
    assert "nas_a: tools  built" in run.output
    again = up(site, declared(flag))
    assert (again.rc, again.changed) == (0, 0), again.output


def test_what_fails_stays_unpublished_and_is_tried_again(site: Site, flag: Path) -> None:
    before = site.link("tools")
    flag.touch()
    for action in ("build", "keep"):
        run = up(site, declared(flag, version="1.16.0"))
        assert run.rc != 0
        assert site.link("tools") == before
        assert run.environments["tools"]["action"] == action
        assert "is not published on nas_a: FAILED on node1, node2" in run.output
    # The builder alone says that it is not published, and fails at nothing.
    alone = site.envs(declared(flag, version="1.16.0"), "--limit", "builder")
    assert alone.rc == 0, alone.output
    assert "is not published, as it has to be tried first" in " ".join(alone.output.split())
    assert "as it has to be tried first" not in run.output
    assert site.link("tools") == before
    flag.unlink()
    run = up(site, declared(flag, version="1.16.0"))
    assert run.rc == 0, run.output
    assert site.link("tools") != before
    assert "nas_a: tools  published  six 1.15.0 -> 1.16.0" in run.output


def test_hosts_that_do_not_answer_are_named(site: Site, flag: Path) -> None:
    """They are nobody's fault, as long as enough of them do."""
    before = site.link("tools")
    run = up(site, declared(flag, ["node1", "down"], version="1.17.0", at_least=2))
    assert run.rc != 0
    assert "is not published on nas_a: tried on node1, not tried on down, 2 have to answer" in run.output
    assert site.link("tools") == before
    run = site.run(declared(flag, ["node1", "down"], version="1.17.0"))
    assert "UNREACHABLE" in run.output
    assert site.link("tools") != before
    # A new environment that is not well is no reason to look for it everywhere.
    flag.touch()
    new = [*declared(flag, ["node1"], version="1.17.0"), {**declared(flag, ["node1"])[0], "name": "new"}]
    run = up(site, new)
    assert run.rc != 0
    assert site.link("new") is None
    assert "new is not published on share" not in run.output
    assert "environment new: its generation" in run.output


def test_what_is_in_force_is_said_after_it_has_been_published(site: Site, flag: Path, tmp_path: Path) -> None:
    """The builder was asked ahead what is in force, when that was another one."""
    flag.touch()
    assert up(site, declared(flag, version="1.13.0")).rc != 0
    flag.unlink()
    report = tmp_path / "report.json"
    run = up(site, declared(flag, version="1.13.0"), uvnas_report_file=str(report))
    assert run.rc == 0, run.output
    (environment,) = json.loads(report.read_text())["shares"][0]["environments"]
    assert os.path.basename(str(site.link("tools"))) == environment["id"]


def test_one_that_cannot_be_built_does_not_keep_what_is_well_from_being_published(site: Site, flag: Path) -> None:
    before = site.link("tools")
    envs = [*declared(flag, version="1.16.0"), {"name": "broken", "requirements": ["no-such-package-anywhere==1"]}]
    run = up(site, envs)
    assert run.rc != 0
    assert "broken" in run.output
    assert site.link("tools") != before, run.output
    assert "nas_a: tools   published" in run.output or "nas_a: tools   built" in run.output


def test_hosts_that_were_not_tried_are_named_where_it_is_published_too(site: Site, flag: Path) -> None:
    run = site.run(declared(flag, ["node1", "node2"], version="1.15.0"), "--limit", "builder,node1")
    assert run.rc == 0, run.output
    assert "tried on node1, not tried on node2" in run.output


def test_parts_of_site_yml(site: Site, flag: Path) -> None:
    run = up(site, declared(flag, version="1.16.0"), "--tags", "envs")
    assert run.rc == 0, run.output
    before = site.link("tools")
    run = up(site, declared(flag, version="1.15.0"), "--skip-tags", "envs")
    assert (run.rc, site.link("tools")) == (0, before), run.output
    assert "Try what has been built" not in run.output
    run = up(site, declared(flag, version="1.15.0"), "--tags", "envs")
    assert run.rc == 0, run.output
    assert site.link("tools") != before


def test_what_failed_is_not_published_because_nobody_asks_for_a_trial_any_more(site: Site, flag: Path) -> None:
    flag.touch()
    envs = declared(flag, version="1.12.0")
    assert up(site, envs).rc != 0
    before = site.link("tools")
    plain = [{key: value for key, value in envs[0].items() if key != "try_on"}]
    run = up(site, plain)
    assert run.rc != 0
    assert "environment tools: smoke test failed" in run.output
    assert site.link("tools") == before


def test_check_mode_tries_nothing(site: Site, flag: Path) -> None:
    before = site.link("tools")
    run = up(site, declared(flag, version="1.14.0"), "--check")
    assert run.rc == 0, run.output
    assert "would be built" in run.output
    assert "Try what has been built" not in run.output
    assert site.link("tools") == before


def test_nobody_pays_where_it_is_not_used(site: Site, flag: Path) -> None:
    plain = [{key: value for key, value in declared(flag, version="1.17.0")[0].items() if key != "try_on"}]
    run = up(site, plain)
    assert run.rc == 0, run.output
    assert "Try what has been built" not in run.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"hosts": ["nod1"]}, "try_on: nod1 is no host or group of this inventory; did you mean node1?"),
        ({"hosts": ["node1"], "at_least": 2}, "try_on: at_least is 2, and its hosts are 1"),
        ({"hosts": []}, "hosts"),
        ({"hosts": "node1", "at_last": 1}, "at_last"),
        ({"hosts": ["node1"], "at_least": 0}, "at_least must be a number of hosts, not 0"),
    ],
)
def test_bad_input(site: Site, flag: Path, given: dict[str, t.Any], said: str) -> None:
    envs = [{**declared(flag)[0], "try_on": given}]
    playbook = ROOT / "playbooks" / "site.yml"
    run = finish(site.start(envs, "--limit", "builder,node1", playbook=playbook))
    assert run.rc != 0
    assert said in run.output
    assert "Nothing has been changed" in run.output
