# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which locks have the packages that somebody wants to upgrade. For all shares together: plugin_utils/upgrades.py."""

from __future__ import annotations

import difflib
import re
import typing as t

from ...uv.wheel import normalize
from ..spec import EnvironmentSpec
from .plan import Step, Upgrade

# How many names to suggest for one that no lock has.
_OFFERED = 1
# The name that a requirement begins with.
_NAME = re.compile(r"\s*([A-Za-z0-9._-]*)")


def found(
    upgrade: Upgrade, steps: t.Sequence[Step], after: t.Optional[t.Mapping[str, t.Optional[set[str]]]] = None
) -> dict[str, dict[str, list[str]]]:
    """For each package of ``upgrade``, as named there, the environments whose lock has it, by what that means.

    ``after`` is what locks will have, by environment; None for a lock that is unknown.
    """
    names: dict[str, t.Optional[set[str]]] = {}
    for step in steps if upgrade.packages else ():
        known = [step.on_share.names] if step.on_share is not None else []
        will = (after or {}).get(step.spec.name)
        known += [will] if will is not None else []
        names[step.spec.name] = set().union(*known) if known else None
    specs = [step.spec for step in steps]
    return {package: _found(upgrade, package, specs, names) for package in sorted(upgrade.packages)}


def _found(
    upgrade: Upgrade, package: str, specs: t.Sequence[EnvironmentSpec], names: t.Mapping[str, t.Optional[set[str]]]
) -> dict[str, list[str]]:
    answer: dict[str, list[str]] = {key: [] for key in ("environments", "fixed", "others", "unknown", "like")}
    wanted = normalize(package)
    for spec in specs:
        known = names[spec.name]
        if known is None:
            answer["unknown"].append(spec.name)
        elif wanted in known:
            what = "others" if not upgrade.names(spec) else "environments" if upgrade.can(spec) else "fixed"
            answer[what].append(spec.name)
    if not answer["environments"]:
        begin = _NAME.match(package)
        every = sorted(set().union(*(known for known in names.values() if known)) - {wanted})
        answer["like"] = difflib.get_close_matches(normalize(begin[1] if begin else ""), every, _OFFERED)
    return answer
