# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides what a prune removes, by what all members have answered. Nothing runs on hosts."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ..module_utils.host.workers import Result
from ..module_utils.options import UV_PRUNING
from ..plugin_utils import pruning, report, usage
from ..plugin_utils.controller_action import ControllerAction, TaskVars

_DECLARED = "__uvnas_declared"
_KINDS = (report.MAY_GO, pruning.ASIDE, pruning.JOBS, usage.SEEN)


class ActionModule(ControllerAction):
    """Put together what hosts have registered."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_PRUNING

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        known = task_vars or {}
        hostvars = known["hostvars"]
        declared = hostvars.raw_get(known["inventory_hostname"]).get(_DECLARED) or {}
        site = pruning.site(declared, args["hosts"], datetime.datetime.now(datetime.UTC))
        registered: dict[str, dict[str, t.Any]] = {}
        for host in args["hosts"]:
            about = hostvars.raw_get(host)  # There is nothing to render in what hosts registered, nor should there be.
            registered[host] = {name: about[name] for name in _KINDS if name in about}
        if args["stage"] == "candidates":
            told = pruning.found(site, registered)
            anything = any(here is not None and here.items for here in told.values())
            return {"changed": False, "any": anything, "members": site.everybody}
        if args["stage"] == "clusters":
            members = pruning.Members(site, registered)
            before = pruning.newest(site, registered)
            return {"changed": False, "ask": members.to_ask(), "nodes": members.silent(), "before": before}
        judged = pruning.verdicts(site, registered)
        return {
            "changed": False,
            "going": {share: pruning.going(found) for share, found in judged.items()},
            "verdicts": {
                share: [{**dataclasses.asdict(each.item), "why": list(each.why)} for each in found]
                for share, found in judged.items()
            },
        }
