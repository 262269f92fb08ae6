# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides for all shares whether a rollback is done, and says what was done. Nothing runs on hosts."""

from __future__ import annotations

import dataclasses
import typing as t

from ..module_utils.errors import UvnasError
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_ROLLBACK
from ..plugin_utils import rollback
from ..plugin_utils.controller_action import ControllerAction, TaskVars

_DECLARED = "__uvnas_declared"


class ActionModule(ControllerAction):
    """Put together what hosts have registered."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_ROLLBACK

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        hostvars = (task_vars or {})["hostvars"]
        env = args["environment"] or ""
        known: set[str] = set()
        builds: dict[str, list[str]] = {}
        registered: dict[str, t.Any] = {}
        for host in args["hosts"]:
            about = registered[host] = hostvars.raw_get(host)  # There is nothing to render in what hosts registered.
            declared = about.get(_DECLARED) or {}
            if host in declared.get("hosts", {}):
                todo = declared["work"][declared["hosts"][host]]
                known.update(name for share in todo["shares"] for name in share["environments"])
                builds[host] = [share["name"] for share in rollback.declaring(todo, env)]
        if args["stage"] == "decide" or not any(builds.values()):
            decision = rollback.decide(rollback.by_share(registered, rollback.SEEN, builds), known, env)
            if decision.problems:
                raise UvnasError("\n".join([*decision.problems, "Nothing was changed."]))
            return {"changed": False, **dataclasses.asdict(decision)}
        done, left = rollback.lines(rollback.by_share(registered, rollback.DONE, builds), env)
        if left:
            return {"changed": False, "failed": True, "msg": "\n".join([*left, *done])}
        return {"changed": False, "msg": done, "_ansible_verbose_always": True}
