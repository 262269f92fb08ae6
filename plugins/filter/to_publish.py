# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: to_publish
short_description: List what a host has to publish, as it has been tried
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - For environments with C(try_on), which are tried on hosts before they are published.
positional: _input, hostvars, host
options:
  _input:
    description: What M(uvnas.cluster.uv_declaration) returned.
    type: dict
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  host:
    description: The name of the host.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ declared | uvnas.cluster.to_publish(hostvars, inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: A share for each environment, with C(environment), C(generation) and C(reason).
  type: list
  elements: dict
"""

import typing as t

from ..plugin_utils.trials import to_publish


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"to_publish": to_publish}
