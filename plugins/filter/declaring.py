# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: declaring
short_description: Pick the shares that a host builds and that an environment is declared for
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Picks from what a host has to do the shares that it builds, as far as an environment is declared for them.
positional: _input, environment
options:
  _input:
    description: What the host has to do, as P(uvnas.cluster.todo#filter) returns it.
    type: dict
    required: true
  environment:
    description: The environment.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the shares
  ansible.builtin.debug:
    msg: "{{ declared | uvnas.cluster.todo(inventory_hostname) | uvnas.cluster.declaring('train') }}"
"""

RETURN = r"""
_value:
  description: The shares.
  type: list
  elements: dict
"""

import typing as t

from ..plugin_utils.rollback import declaring


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"declaring": declaring}
