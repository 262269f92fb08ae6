# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: validated
short_description: Check the variables of many hosts at once
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Sees, on the controller and in one task, that the variables of each host are what the roles of the collection
    declare in their argument specs, that the host's shares exist, and that its exports can be written.
  - What many hosts have from the same group is looked at once, so that a host costs next to nothing.
positional: _input
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  options:
    description: Options of argument specs, by the name of the variable.
    type: dict
    required: true
  shares:
    description: The shares for hosts that have no C(uvnas_shares) among their variables.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Check the variables of the role profile for every host
  ansible.builtin.assert:
    that: >-
      (ansible_play_hosts_all | uvnas.cluster.validated(hostvars=hostvars, options=options, shares=uvnas_shares))
      is sequence
  vars:
    options: "{{ (lookup('ansible.builtin.file', 'argument_specs.yml') | from_yaml).argument_specs.main.options }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The names of the hosts. What is wrong with any of them is an error that names them.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..plugin_utils import members


def validated(
    hosts: t.Sequence[str],
    *,
    hostvars: members.HostVariables,
    options: members.Options,
    shares: t.Sequence[t.Mapping[str, t.Any]] = (),
) -> list[str]:
    """The hosts. Raises AnsibleFilterError that says all that is wrong, and where."""
    problems = members.problems(hosts, hostvars, options, shares)
    if problems:
        raise AnsibleFilterError("\n".join([*problems, "Nothing has been changed."]))
    return list(hosts)


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"validated": validated}
