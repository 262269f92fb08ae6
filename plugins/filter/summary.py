# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
short_description: Tell of the environments on shares, a line each
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Makes lines for people of what M(uvnas.cluster.uv_env_info) returned, and M(uvnas.cluster.uv_env) before it.
positional: _input
options:
  _input:
    description: Results of M(uvnas.cluster.uv_env_info). Of several for one share, the first counts.
    type: list
    elements: dict
    required: true
  done:
    description: What M(uvnas.cluster.uv_env) returned as C(environments), by share.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Say what is on the share
  ansible.builtin.debug:
    msg: "{{ [info] | uvnas.cluster.summary }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t
from collections.abc import Mapping

_WORDS = {
    "build": "built",
    "publish": "published",
    "keep": "unchanged",
    "remove": "removed",
    "failed": "FAILED",
    "seal": "sealed",
}
_NONSENSE = "what its host says of it makes no sense"

Facts = t.Mapping[str, t.Any]


def summary(results: t.Any, done: t.Any = None) -> list[str]:
    """A line for each environment: what was done, Python, packages, size, seconds.

    Hosts answer what they want. Nonsense of one does not hide what the others say.
    """
    acts = {share: _by_name(facts) for share, facts in done.items()} if isinstance(done, Mapping) else {}
    shares: dict[str, dict[str, Facts]] = {}
    lines, nonsense = [], False
    for result in reversed(list(results)):
        if isinstance(result, Mapping) and isinstance(result.get("share_name"), str):
            shares[result["share_name"]] = _by_name(result.get("environments"))
        else:
            nonsense = True
    labels = [f"{share}: {name}" for share in shares for name in shares[share]]
    width = max((len(label) for label in labels), default=0)
    for share in sorted({*shares, *filter(_is_text, acts)}):
        left = dict(acts.get(share, {}))
        for name, environment in shares.get(share, {}).items():
            lines.append(_line(f"{share}: {name}".ljust(width), environment, left.pop(name, {})))
        for name, act in left.items():
            action = str(act.get("action"))
            # Of a share that nobody has seen in the end, what was done to it is all there is to tell.
            if action in ("remove", "failed") or share not in shares:
                lines.append(f"{share}: {name}".ljust(width) + f"  {_WORDS.get(action, _NONSENSE)}")
    return [*lines, "A host has answered nonsense about its share."] if nonsense else lines


def _is_text(value: t.Any) -> bool:
    return isinstance(value, str)


def _by_name(facts: t.Any) -> dict[str, Facts]:
    """Facts about environments, by name, as far as they are such."""
    found = [fact for fact in facts if isinstance(fact, Mapping)] if isinstance(facts, (list, tuple)) else []
    return {fact["name"]: fact for fact in found if isinstance(fact.get("name"), str)}


def _line(label: str, environment: Facts, act: Facts) -> str:
    parts = [label, _WORDS.get(str(act.get("action")), "present").ljust(9)]
    try:
        size = environment["size"]
        parts += [
            f"Python {environment['python']['version']}".ljust(14),
            f"{environment['package_count']} packages".rjust(12),
            f"{size['bytes'] / 1e6:.1f} MB ({size['own_bytes'] / 1e6:.1f} MB not shared)".rjust(33),
        ]
        if "seconds" in act:
            parts.append(f"{act['seconds']:.1f} s".rjust(8))
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError):
        parts.append(_NONSENSE)
    return "  ".join(parts)


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"summary": summary}
