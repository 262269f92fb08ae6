# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: exported
short_description: Choose what a host exports to its users
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Makes options for M(uvnas.cluster.uv_profile) of what an inventory says of shares, indexes and variables.
  - Indexes and mirrors count if they begin with C(http://) or C(https://). Those with credentials in their URLs are
    left out, so that they stay on the controller.
positional: _input
options:
  _input:
    description: The names of the shares that the host uses, C(uvnas_host_shares).
    type: list
    elements: str
    required: true
  shares:
    description: The shares, C(uvnas_shares).
    type: list
    elements: dict
    required: true
  index:
    description: Where packages come from, C(uvnas_index).
    type: dict
    default: {}
  python_mirror:
    description: Where interpreters come from, C(uvnas_python_mirror).
    type: str
    default: ""
  variables:
    description: Further variables, which win over those that follow from O(index) and O(python_mirror).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Have login shells use the share nas_a and the site's index
  uvnas.cluster.uv_profile:
    shares: "{{ exports.shares }}"
    variables: "{{ exports.variables }}"
    withheld: "{{ exports.withheld }}"
  vars:
    exports: "{{ ['nas_a'] | uvnas.cluster.exported(shares=uvnas_shares, index=uvnas_index) }}"
  become: true
"""

RETURN = r"""
_value:
  description:
    - What to export. All of it is empty for a host without a share.
    - A share that is not among O(shares), and a variable that must not be exported, are errors.
  type: dict
  contains:
    shares:
      description: Names and roots of the host's shares, in the order of O(_input).
      type: list
      elements: dict
    variables:
      description: Variables with their values. Those with an empty value are not exported.
      type: dict
    withheld:
      description: Names of variables of which something was left out, because there are credentials in it.
      type: list
      elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils.errors import UvnasError
from ..plugin_utils.exports import exports


def exported(
    host_shares: t.Sequence[str],
    *,
    shares: t.Sequence[t.Mapping[str, t.Any]],
    index: t.Mapping[str, t.Any] | None = None,
    python_mirror: str | None = None,
    variables: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """What a host exports, for the module uv_profile. Raises AnsibleFilterError where that cannot be meant."""
    try:
        return exports(
            host_shares, shares=shares, index=index or {}, python_mirror=python_mirror, variables=variables or {}
        )
    except UvnasError as error:
        raise AnsibleFilterError(error.explain()) from None


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"exported": exported}
