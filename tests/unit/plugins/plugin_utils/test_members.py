# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checking the variables of many hosts, with hostvars as Ansible makes them of a real inventory."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.uvnas.cluster.plugins.plugin_utils import members

ROOT = Path(__file__).resolve().parents[4]
SHARES = [
    {"name": "nas_a", "root": "/mnt/nas-a/uv", "builder": "dev1"},
    {"name": "nas_b", "root": "/mnt/nas-b/uv", "builder": "dev1"},
]
ENVS = [{"name": "train", "python": "3.12", "requirements": ["numpy"]}]
NODES = [f"node{number:03}" for number in range(200)]
SAME: dict[str, dict[str, t.Any]] = {name: {} for name in NODES}


class Counting:
    """hostvars, noting whose variables were asked for in rendered form."""

    def __init__(self, hostvars: HostVars) -> None:
        self._hostvars = hostvars
        self.rendered: list[str] = []

    def __getitem__(self, key: str) -> t.Any:
        self.rendered.append(key)
        return self._hostvars[key]

    def raw_get(self, host_name: str) -> t.Any:
        return self._hostvars.raw_get(host_name)


@pytest.fixture
def hostvars(tmp_path: Path) -> t.Callable[..., Counting]:
    """Variables of all hosts, and of some."""

    def hostvars(variables: dict[str, t.Any], hosts: dict[str, dict[str, t.Any]]) -> Counting:
        inventory = tmp_path / "inventory"
        (inventory / "group_vars").mkdir(parents=True)
        (inventory / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
        (inventory / "group_vars" / "all.json").write_text(json.dumps(variables), encoding="utf-8")
        loader = DataLoader()
        manager = InventoryManager(loader, sources=[str(inventory)])
        return Counting(HostVars(manager, VariableManager(loader, manager), loader))

    return hostvars


@pytest.fixture(scope="module")
def options() -> dict[str, t.Any]:
    """Those of all roles."""
    specs = [yaml.safe_load(path.read_text()) for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")]
    return {name: option for spec in specs for name, option in spec["argument_specs"]["main"]["options"].items()}


Hostvars = t.Callable[..., Counting]
Options = dict[str, t.Any]


def test_what_all_hosts_have_in_common_is_looked_at_once(hostvars: Hostvars, options: Options) -> None:
    given = hostvars({"uvnas_shares": SHARES, "uvnas_envs": ENVS}, SAME)
    assert members.problems(NODES, given, options, SHARES) == []
    assert set(given.rendered) == {NODES[0]}


def test_a_template_is_looked_at_for_each_host(hostvars: Hostvars, options: Options) -> None:
    where = "{{ '/etc' if inventory_hostname != 'node007' else 'somewhere' }}/profile.d"
    given = hostvars({"uvnas_shares": SHARES, "uvnas_profile_dir": where}, SAME)
    (problem,) = members.problems(NODES, given, options, SHARES)
    assert problem.startswith("node007: 'somewhere/profile.d' is no directory for profile files")


def test_a_mistake_is_said_once_with_the_hosts_that_have_it(hostvars: Hostvars, options: Options) -> None:
    hosts = {name: {"uvnas_host_shares": ["nas_c"]} for name in NODES[:2]}
    hosts |= {name: {"uvnas_host_shares": ["nas_b", "nas_a"]} for name in NODES[2:]}
    said = members.problems(NODES, hostvars({"uvnas_shares": SHARES}, hosts), options, SHARES)
    known = "The shares in uvnas_shares are: nas_a, nas_b"
    assert said == [f"node000, node001: uvnas_host_shares names what is no share: nas_c. {known}"]


def test_of_a_whole_cluster_a_few_are_named(hostvars: Hostvars, options: Options) -> None:
    given = hostvars({"uvnas_user_cache": "gruop"}, SAME)
    (problem,) = members.problems(NODES, given, options, SHARES)
    assert problem.startswith(
        "node000, node001, node002, node003, node004 and 195 more hosts: value of uvnas_user_cache"
    )


def test_shares_that_are_not_among_the_variables_of_hosts(hostvars: Hostvars, options: Options) -> None:
    given = hostvars({}, {"node1": {"uvnas_host_shares": ["nas_a"]}, "node2": {"uvnas_host_shares": []}})
    assert members.problems(["node1", "node2"], given, options, SHARES) == []
    assert "names what is no share: nas_a" in members.problems(["node1"], given, options, [])[0]


def test_credentials_are_not_repeated(hostvars: Hostvars, options: Options) -> None:
    url = "https://alice:geheim@example.org/simple"
    given = hostvars({}, {"node1": {"uvnas_profile_variables": {"UV_DEFAULT_INDEX": url}, "uvnas_user_cache": url}})
    said = members.problems(["node1"], given, options, SHARES)
    assert said
    assert "geheim" not in "\n".join(said)


def test_what_is_checked_is_what_a_host_is_told_to_export(hostvars: Hostvars, options: Options) -> None:
    long = {"default": "https://example.org/" + "x" * 500}
    secret = {"extra": ["https://alice:geheim@example.org/simple"]}
    given = hostvars({"uvnas_shares": SHARES}, {"node1": {"uvnas_index": long}, "node2": {"uvnas_index": secret}})
    (problem,) = members.problems(["node1", "node2"], given, options, SHARES)
    assert problem.startswith("node1: UV_DEFAULT_INDEX: the value has a control character")


def test_secrets_that_builds_would_inherit_are_refused(hostvars: Hostvars, options: Options) -> None:
    proxy = {"HTTPS_PROXY": "http://alice:geheim@proxy.example.org:3128"}
    hosts: dict[str, dict[str, t.Any]] = {"node1": {"uvnas_uv_variables": {"HF_TOKEN": "geheim"}}, "node2": {}}
    given = hostvars({"uvnas_uv_variables": proxy}, hosts)
    (problem,) = members.problems(["node1", "node2"], given, options, SHARES)
    assert problem.startswith("node1: uvnas_uv_variables has secrets")
    assert "HF_TOKEN" in problem
    assert "geheim" not in problem
