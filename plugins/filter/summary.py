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

from ansible.errors import AnsibleFilterError

_WORDS = {
    "build": "built",
    "publish": "published",
    "keep": "unchanged",
    "remove": "removed",
    "failed": "FAILED",
    "seal": "sealed",
}

Facts = t.Mapping[str, t.Any]


def summary(results: t.Iterable[Facts], done: t.Mapping[str, t.Sequence[Facts]] | None = None) -> list[str]:
    """A line for each environment: what was done, Python, packages, size, seconds."""
    try:
        return _lines(results, done or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # Hosts answer what they want.
        raise AnsibleFilterError(f"a host answered nonsense about its environments: {error!r}") from error


def _lines(results: t.Iterable[Facts], done: t.Mapping[str, t.Sequence[Facts]]) -> list[str]:
    acts = {share: {fact["name"]: fact for fact in facts} for share, facts in done.items()}
    shares = {result["share_name"]: result["environments"] for result in reversed(list(results))}
    labels = [f"{share}: {environment['name']}" for share in shares for environment in shares[share]]
    width = max((len(label) for label in labels), default=0)
    lines = []
    for share in sorted({*shares, *acts}):
        for environment in shares.get(share, ()):
            act = acts.get(share, {}).pop(environment["name"], {})
            lines.append(_line(f"{share}: {environment['name']}".ljust(width), environment, act))
        lines += [
            f"{share}: {name}".ljust(width) + f"  {_WORDS[act['action']]}"
            for name, act in acts.get(share, {}).items()
            # Of a share that nobody has seen in the end, what was done to it is all there is to tell.
            if act["action"] in ("remove", "failed") or share not in shares
        ]
    return lines


def _line(label: str, environment: Facts, act: Facts) -> str:
    size = environment["size"]
    parts = [
        label,
        _WORDS.get(act.get("action", ""), "present").ljust(9),
        f"Python {environment['python']['version']}".ljust(14),
        f"{environment['package_count']} packages".rjust(12),
        f"{size['bytes'] / 1e6:.1f} MB ({size['own_bytes'] / 1e6:.1f} MB not shared)".rjust(33),
    ]
    if "seconds" in act:
        parts.append(f"{act['seconds']:.1f} s".rjust(8))
    return "  ".join(parts)


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"summary": summary}
