# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether locks and environments are as declared: a handful of file operations for each, no process, no network."""

from __future__ import annotations

import typing as t

from ..host.workers import Result
from ..share.place import check_place, earlier_shares
from ..share.spec import Share
from .lock import upgrades
from .lock.plan import Upgrade, digests, inputs_from_params, needs
from .lock.plan import plan as plan_locks
from .spec import EnvironmentSpec
from .state import Comparison, LockFact


def compare(params: t.Mapping[str, t.Any], *, check_mode: bool) -> Result:
    """What the module uv_env_compare returns. Raises UvnasError."""
    share = Share.from_params(params)
    check_place(share, may_be_missing=check_mode)
    specs = [EnvironmentSpec.from_dict(item) for item in params["environments"]]
    present = [spec for spec in specs if spec.present]
    upgrade = Upgrade(frozenset(params["upgrade"]), frozenset(params["upgrade_packages"]))
    steps = plan_locks(
        share.layout,
        present,
        inputs_from_params(params["inputs"], present),
        upgrade,
        earlier_shares(params["earlier_shares"], share),
        check_mode=check_mode,
    )
    found = digests(steps)
    if found is None:
        return {"changed": False, "converged": False, "needs": needs(steps)}
    locks = {name: {"digest": digest} for name, digest in found.items()}
    facts = {name: LockFact(digest) for name, digest in found.items()}
    asked = {"upgrade_packages": upgrades.found(upgrade, steps)} if upgrade.packages else {}
    plan = Comparison(share.layout, specs, facts, params["purge"], check_mode).plan()
    if plan.errors or any(change.changes for change in plan.changes):
        # The modules that do the work report errors and changes.
        return {"changed": False, "converged": False, "locks": locks, **asked}
    environments = [change.as_dict() for change in plan.changes]
    return {"changed": False, "converged": True, "locks": locks, "environments": environments, **asked}
