# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml on many hosts: what a member costs, and that the variables of each are checked before the first write."""

from __future__ import annotations

import collections
import dataclasses
import json
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, Site, make_site

ENVS: list[dict[str, t.Any]] = [{"name": "first", "requirements": ["six"], "imports": ["six"]}]
MEMBERS = [f"node{number}" for number in range(1, 5)]
SAME: dict[str, dict[str, t.Any]] = {name: {} for name in MEMBERS}
# What a member may cost the controller, see docs/docsite/rst/fleet.rst.
LIMIT = 3


def fleet(path: Path, members: t.Mapping[str, t.Mapping[str, t.Any]]) -> Site:
    """A site whose share is not there yet. Hosts keep the files of login shells apart: all of them are this machine."""
    variables = {
        "uvnas_profile_dir": f"{path}/profile.d/{{{{ inventory_hostname }}}}",
        "uvnas_profile_fish_dir": f"{path}/fish/{{{{ inventory_hostname }}}}",
    }
    return make_site(path, variables, {"builder": None, **members})


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A converged site with four members. One of them has uv in a directory of its own."""
    path = public / "fleet"
    own = {"uvnas_uv_local_dirs": [str(path / "usr-local-bin")]}
    site = fleet(path, {**SAME, "node4": own})
    first = site.run(ENVS)
    assert first.rc == 0, first.output
    return site


class Counted(t.NamedTuple):
    """A run, and the tasks that each host executed; those of the play as a whole not counted."""

    run: Run
    tasks: dict[str, list[str]]


def counted(site: Site, monkeypatch: pytest.MonkeyPatch, *options: str) -> Counted:
    notes = site.path / "notes"
    notes.unlink(missing_ok=True)
    monkeypatch.setenv("BENCHMARK_TASKS", str(notes))
    monkeypatch.setenv("ANSIBLE_CALLBACK_PLUGINS", str(ROOT / "tests" / "benchmark" / "callback"))
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "benchmark_tasks")
    run = site.run(ENVS, *options)
    assert run.rc == 0, run.output
    tasks = collections.defaultdict(list)
    for line in notes.read_text().splitlines():
        note = json.loads(line)
        if not note["once"]:
            tasks[note["host"]].append(f"{note['name']} ({note['outcome']})")
    return Counted(run, tasks)


@pytest.mark.compat
@pytest.mark.parametrize("options", [(), ("--check",)])
def test_converged_member_costs_at_most_three_tasks(
    options: tuple[str, ...], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, tasks = counted(site, monkeypatch, *options)
    assert run.changed == 0
    costs = sorted(len(tasks[member]) for member in MEMBERS[:3])
    # The dearest is left out: one member of a site may stand in for builders that fail.
    assert 0 < costs[0] <= costs[1] <= LIMIT, tasks


def test_uv_in_a_directory_of_their_own_is_for_those_who_ask_for_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (site.path / "usr-local-bin" / "uv").exists()
    tasks = counted(site, monkeypatch).tasks
    assert any("local directories" in task for task in tasks["node4"])
    # One of the others may be with the builders, see declaration.yml.
    others = [member for member in MEMBERS[:3] if any("local directories" in task for task in tasks[member])]
    assert len(others) <= 1


def test_each_member_has_its_own_files(site: Site) -> None:
    for member in MEMBERS:
        assert (site.path / "profile.d" / member / "uvnas.sh").exists()
        assert (site.path / "fish" / member / "uvnas.fish").exists()


# Each of them is a variable of one member only.
WRONG: dict[str, tuple[dict[str, t.Any], str]] = {
    "unknown-share": (
        {"uvnas_host_shares": ["nas_z"]},
        "uvnas_host_shares names unknown shares: nas_z. The shares in uvnas_shares are: nas_a",
    ),
    "no-list": ({"uvnas_host_shares": {"nas_a": 1}}, "uvnas_host_shares must be a list, not {'nas_a': 1}"),
    "misspelt-value": ({"uvnas_user_cache": "gruop"}, "uvnas_user_cache must be one of"),
    "misspelt-name": (
        {"uvnas_user_cahce": "group"},
        "uvnas_user_cahce is not a variable of uvnas.cluster; did you mean",
    ),
    "unknown-key": ({"uvnas_index": {"defualt": "x"}}, "uvnas_index: unknown key defualt; did you mean default?"),
    "wrong-type": ({"uvnas_busy_timeout": "soon"}, "uvnas_busy_timeout must be a number, not 'soon'"),
    "unfinished": ({"uvnas_profile_dir": "{{ nobody_said }}"}, "uvnas_profile_dir: 'nobody_said' is undefined"),
    "unfinished-inside": (
        {"uvnas_profile_variables": {"UV_HTTP_TIMEOUT": "{{ nobody_said }}"}},
        "uvnas_profile_variables: 'nobody_said' is undefined",
    ),
    "exports": ({"uvnas_profile_variables": {"PATH": "/x"}}, "'PATH' cannot be exported from here"),
}


@pytest.fixture(scope="module")
def refused(public: Path) -> tuple[Site, Run]:
    """A site with a host for each kind of mistake, and how a run of it ended."""
    wrong = {host: variables for host, (variables, _message) in WRONG.items()}
    site = fleet(public / "wrong", {**SAME, **wrong})
    return site, site.run(ENVS)


def test_variables_of_one_member_are_refused_before_anything_is_written(refused: tuple[Site, Run]) -> None:
    site, run = refused
    assert run.rc != 0
    assert not site.share.exists()
    assert not (site.path / "profile.d").exists()


def test_mistakes_are_printed_once_and_without_the_spec(refused: tuple[Site, Run]) -> None:
    _site, run = refused
    assert len(re.findall("^\\[ERROR\\]: (?!Task failed)", run.output, re.MULTILINE)) == len(WRONG)
    assert run.output.count("did you mean default?") == 1
    assert "argument_spec" not in run.output
    assert "| uvnas.cluster" not in run.output


@pytest.mark.compat
@pytest.mark.parametrize("host", WRONG)
def test_all_mistakes_are_reported_at_once_with_their_hosts(host: str, refused: tuple[Site, Run]) -> None:
    assert f"{host}: {WRONG[host][1]}" in refused[1].output


def test_variables_of_hosts_outside_of_the_limit_do_not_matter(site: Site) -> None:
    wrong = dataclasses.replace(site, hosts={**site.hosts, "node2": {"uvnas_host_shares": ["nas_z"]}})
    run = wrong.run(ENVS, "--limit", "builder,node1")
    assert (run.rc, run.changed) == (0, 0), run.output
