# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: unbuilt
short_description: Environments that a builder could not build in this run
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Those are not there, which their builder has said, so that other hosts need not say it again.
positional: _input, share
options:
  _input:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  share:
    description: The share, as M(uvnas.cluster.uv_declaration) tells of it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what is not there
  ansible.builtin.debug:
    msg: "{{ hostvars | uvnas.cluster.unbuilt(share) }}"
"""

RETURN = r"""
_value:
  description: The names of the environments.
  type: list
  elements: str
"""

import typing as t

from ..plugin_utils.answers import Hostvars, mappings, of_loop
from ..plugin_utils.report import DONE, PUBLISHED


def unbuilt(hostvars: Hostvars, share: t.Mapping[str, t.Any]) -> list[str]:
    """The names of environments of ``share`` that are not there, because its builder has failed to build them.

    Or because they have to be tried first, and are not well.
    """
    builder = share["builder"]
    done = hostvars[builder].get(DONE) if builder in hostvars else None
    published = hostvars[builder].get(PUBLISHED) if builder in hostvars else None
    there = {result.get("environment") for result in of_loop(published, share["name"]) if not result.get("failed")}
    return [
        fact["name"]
        for result in of_loop(done, share["name"])
        for fact in mappings(result.get("environments"))
        if (fact.get("action") == "failed" or fact.get("awaits") is True)
        and not fact.get("previous_id")
        and isinstance(fact.get("name"), str)
        and fact["name"] not in there
    ]


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"unbuilt": unbuilt}
