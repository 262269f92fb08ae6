# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
short_description: Tell of the environments of a share, a line each
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Makes lines for people of what M(uvnas.cluster.uv_env_info) returned, and of what M(uvnas.cluster.uv_env) did.
positional: _input
options:
  _input:
    description: What M(uvnas.cluster.uv_env_info) returned as C(environments).
    type: list
    elements: dict
    required: true
  done:
    description: What M(uvnas.cluster.uv_env) returned as C(environments).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Say what is on the share
  ansible.builtin.debug:
    msg: "{{ info.environments | uvnas.cluster.summary }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

_WORDS = {"build": "built", "publish": "published", "keep": "unchanged", "remove": "removed", "failed": "FAILED"}


def summary(environments: t.Sequence[t.Mapping[str, t.Any]], done: t.Sequence[t.Mapping[str, t.Any]] = ()) -> list[str]:
    """A line for each environment: what was done, Python, packages, size, seconds."""
    acts = {fact["name"]: fact for fact in done}
    width = max((len(name) for name in [*acts, *(e["name"] for e in environments)]), default=0)
    lines = []
    for environment in environments:
        act = acts.pop(environment["name"], {})
        size = environment["size"]
        parts = [
            environment["name"].ljust(width),
            _WORDS.get(act.get("action", ""), "present").ljust(9),
            f"Python {environment['python']['version']}".ljust(14),
            f"{len(environment['packages'])} packages".rjust(12),
            f"{size['bytes'] / 1e6:.1f} MB ({size['own_bytes'] / 1e6:.1f} MB not shared)".rjust(33),
        ]
        if "seconds" in act:
            parts.append(f"{act['seconds']:.1f} s".rjust(8))
        lines.append("  ".join(parts))
    for name, act in acts.items():
        if act["action"] in ("remove", "failed"):
            lines.append(f"{name.ljust(width)}  {_WORDS[act['action']]}")
    return lines


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"summary": summary}
