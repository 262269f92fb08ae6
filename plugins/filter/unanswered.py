# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: unanswered
short_description: Shares that no host could look at so far, with the other hosts that use them
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - One host for each share is asked what is on it. Where that one cannot say, others are asked, at most ten.
positional: _input, hostvars
options:
  _input:
    description: What M(uvnas.cluster.uv_declaration) returned.
    type: dict
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show who is asked next
  ansible.builtin.debug:
    msg: "{{ declared | uvnas.cluster.unanswered(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The shares by host; empty if all have been answered for.
  type: dict
"""

import typing as t

from ..plugin_utils.answers import Hostvars, of_loop
from ..plugin_utils.report import LOOKED, looked

# They are asked one after the other, and one may take as long as a NAS that hangs, or a host that is down, is waited
# for. From all over the cluster: racks go down as a whole.
_MOST = 10


def unanswered(declared: t.Mapping[str, t.Any], hostvars: Hostvars) -> dict[str, list[t.Mapping[str, t.Any]]]:
    """The shares that nobody has answered for, by hosts that use them and have not been asked first."""
    uses = {host: declared["work"][number]["uses"] for host, number in declared.get("hosts", {}).items()}
    candidates: dict[str, list[tuple[str, t.Mapping[str, t.Any]]]] = {}
    for host, shares in uses.items():
        for share in shares:
            candidates.setdefault(share["name"], []).append((host, share))
    found: dict[str, list[t.Mapping[str, t.Any]]] = {}
    for name, pairs in candidates.items():
        if any(looked(hostvars[host], name) for host in uses if host in hostvars):
            continue
        others = [(host, share) for host, share in pairs if not of_loop(hostvars[host].get(LOOKED), name)]
        for host, share in others[:: -(-len(others) // _MOST) or 1]:
            found.setdefault(host, []).append(share)
    return found


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"unanswered": unanswered}
