# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: verifiable
short_description: Shares whose builder has not failed
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Leaves out those shares whose builder failed earlier in this run. The builder has said why, and nobody knows what
    should be on them, so members need not look.
positional: _input, hostvars, hosts, well
options:
  _input:
    description: Shares, as M(uvnas.cluster.uv_declaration) tells of them.
    type: list
    elements: dict
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  hosts:
    description: The names of the hosts of this run.
    type: list
    elements: str
    required: true
  well:
    description: The names of those that have not failed.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the shares that can be verified
  ansible.builtin.debug:
    msg: "{{ shares | uvnas.cluster.verifiable(hostvars, ansible_play_hosts_all, ansible_play_hosts) }}"
"""

RETURN = r"""
_value:
  description: The shares that are left.
  type: list
  elements: dict
"""

import typing as t

from ..plugin_utils.answers import Hostvars
from ..plugin_utils.report import Hosts, not_verified

Share = t.Mapping[str, t.Any]


def verifiable(
    shares: t.Sequence[Share], hostvars: Hostvars, hosts: t.Sequence[str], well: t.Sequence[str]
) -> list[Share]:
    """Those of ``shares`` that members can verify."""
    found = []
    for share in shares:
        builder = share["builder"]
        known = {builder: hostvars[builder]} if builder in hosts and builder not in well else {}
        if not not_verified(share["name"], builder, Hosts(known, well)):
            found.append(share)
    return found


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"verifiable": verifiable}
