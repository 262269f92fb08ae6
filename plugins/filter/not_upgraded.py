# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: not_upgraded
short_description: List the packages to upgrade that no lock has
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Combines what M(uvnas.cluster.uv_env) returned as RV(uvnas.cluster.uv_env#module:upgrade_packages) on each
    of several shares.
  - If a share has not answered, or does not know one of its locks yet, packages that it may have are left out.
positional: _input, hosts
options:
  _input:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  hosts:
    description: The names of the hosts of this run. Those that build a share should have answered.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Check that packages to upgrade are in a lock
  ansible.builtin.fail:
    msg: "{{ missing | join('\n') }}"
  when: missing | length > 0
  vars:
    missing: "{{ hostvars | uvnas.cluster.not_upgraded(ansible_play_hosts_all) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: A line for each package.
  type: list
  elements: str
"""

import typing as t

from ..plugin_utils import upgrades
from ..plugin_utils.answers import Hostvars, of_loop
from ..plugin_utils.report import DONE
from .todo import todo


def not_upgraded(hostvars: Hostvars, hosts: t.Sequence[str]) -> list[str]:
    """A line for each package that no lock has, on the shares that ``hosts`` build."""
    shares, answers = [], {}
    for host in hosts:
        known = hostvars[host]
        names = [share["name"] for share in todo(known.get("__uvnas_declared", {}), host)["builds"]]
        shares += names
        for name in names:
            for result in of_loop(known.get(DONE), name):
                answers[name] = result.get("upgrade_packages")
    return upgrades.not_upgraded(answers.get(share) for share in shares)


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"not_upgraded": not_upgraded}
