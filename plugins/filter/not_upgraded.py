# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: not_upgraded
short_description: Tell which packages that are to be upgraded no lock has
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Puts together what M(uvnas.cluster.uv_env) returned as RV(uvnas.cluster.uv_env#module:upgrade_packages) on each of
    several shares.
  - Where a share has not answered, or does not know one of its locks yet, nothing is said of packages that it may have.
positional: _input, shares
options:
  _input:
    description: Results of M(uvnas.cluster.uv_env), of a loop with C(__uvnas_share).
    type: list
    elements: dict
    required: true
  shares:
    description: The names of the shares that were to answer.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: See that packages to upgrade are in a lock
  ansible.builtin.fail:
    msg: "{{ missing | join('\n') }}"
  when: missing | length > 0
  vars:
    missing: "{{ done.results | uvnas.cluster.not_upgraded(['nas_a', 'nas_b']) }}"
"""

RETURN = r"""
_value:
  description: A line for each package.
  type: list
  elements: str
"""

import typing as t
from collections.abc import Mapping

from ..plugin_utils import upgrades


def not_upgraded(results: t.Any, shares: t.Iterable[str]) -> list[str]:
    """A line for each package that no lock of ``shares`` has."""
    answers = {
        result["__uvnas_share"]["name"]: result.get("upgrade_packages")
        for result in results
        if isinstance(result, Mapping) and isinstance(result.get("__uvnas_share"), Mapping)
    }
    return upgrades.not_upgraded(answers.get(share) for share in shares)


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"not_upgraded": not_upgraded}
