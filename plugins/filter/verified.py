# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: verified
short_description: What hosts saw of their shares, together
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Puts together what the role C(uvnas.cluster.verify) had each host say of its shares, and what builders did to them.
positional: _input, hosts
options:
  _input:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  hosts:
    description: The names of the hosts. Of several that saw one share, the first counts.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Say what the shares have
  ansible.builtin.debug:
    msg: "{{ (hostvars | uvnas.cluster.verified(ansible_play_hosts_all)).lines }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: What is to be said.
  type: dict
  contains:
    lines:
      description: A line for each environment, as the filter P(uvnas.cluster.summary#filter) makes them.
      type: list
      elements: str
    different:
      description: The shares that are not the same on all hosts, with their ids.
      type: list
      elements: dict
"""

import typing as t
from collections.abc import Mapping

from .summary import summary

Hostvars = t.Mapping[str, t.Mapping[str, t.Any]]


def results_of(hostvars: Hostvars, host: str, name: str) -> list[t.Mapping[str, t.Any]]:
    """The results of a loop that a host registered as ``name``; none where there are none. Hosts say what they want."""
    registered = hostvars[host].get(name) if host in hostvars else None
    results = registered.get("results") if isinstance(registered, Mapping) else None
    return [result for result in results if isinstance(result, Mapping)] if isinstance(results, (list, tuple)) else []


def verified(hostvars: Hostvars, hosts: t.Sequence[str]) -> dict[str, t.Any]:
    """What ``hosts`` saw."""
    seen = [result for host in hosts for result in results_of(hostvars, host, "__uvnas_verify_seen")]
    ids: dict[str, dict[str, None]] = {}
    for result in seen:
        name, share_id = result.get("share_name"), result.get("share_id")
        if isinstance(name, str) and isinstance(share_id, str):
            ids.setdefault(name, {})[share_id] = None
    done = {}
    for result in (result for host in hosts for result in results_of(hostvars, host, "__uvnas_envs_done")):
        if result.get("environments"):
            done[result["__uvnas_share"]["name"]] = result["environments"]
    return {
        "lines": summary([result for result in seen if "environments" in result], done),
        "different": [{"name": name, "ids": list(found)} for name, found in ids.items() if len(found) > 1],
    }


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"verified": verified}
