# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: todo
short_description: What one host has to do
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Picks what one host has to do from what M(uvnas.cluster.uv_declaration) returned for all of them.
positional: _input, host
options:
  _input:
    description: What M(uvnas.cluster.uv_declaration) returned. If it did not run and this is empty, that is an error.
    type: dict
    required: true
  host:
    description: The name of the host in the inventory.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show which shares this host builds
  ansible.builtin.debug:
    msg: "{{ (declared | uvnas.cluster.todo(inventory_hostname)).builds }}"
"""

RETURN = r"""
_value:
  description: What the host has to do, one of C(work).
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

_NOT_CHECKED = (
    "the declaration for {host} has not been checked: --start-at-task and --skip-tags always skip that. "
    "Use --tags (share, uv, python, envs, profile, verify) or --limit to run a part."
)


def todo(declared: t.Mapping[str, t.Any], host: str) -> t.Any:
    """What ``host`` has to do. Raises AnsibleFilterError if its declaration was not checked."""
    if host not in declared.get("hosts", {}):
        raise AnsibleFilterError(_NOT_CHECKED.format(host=host))
    return declared["work"][declared["hosts"][host]]


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"todo": todo}
