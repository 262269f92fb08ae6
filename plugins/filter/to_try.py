# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: to_try
short_description: List what a host has to try on a share
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - For environments with C(try_on), which are tried on hosts before they are published.
positional: _input, hostvars, share, host, environments
options:
  _input:
    description: What M(uvnas.cluster.uv_declaration) returned.
    type: dict
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  share:
    description: The share.
    type: dict
    required: true
  host:
    description: The name of the host.
    type: str
    required: true
  environments:
    description: The environments, as declared in C(uvnas_envs).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ declared | uvnas.cluster.to_try(hostvars, share, inventory_hostname, uvnas_envs) }}"
"""

RETURN = r"""
_value:
  description: What M(uvnas.cluster.uv_env_try) is told.
  type: list
  elements: dict
"""

import typing as t

from ..plugin_utils.trials import to_try


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"to_try": to_try}
