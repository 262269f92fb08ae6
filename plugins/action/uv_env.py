# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_env that runs on the controller: locks first, where they are to be brought up to date.

Where there is nothing to do, one small module finds that out, and nothing else is run.
"""

from __future__ import annotations

import typing as t

from ..module_utils.env.spec import EnvironmentSpec
from ..module_utils.host.workers import Result
from ..module_utils.options import EARLIER_SHARES, LOCKS, SHARE, UV_ENV, UV_LOCK
from ..plugin_utils.controller_action import TaskVars, malformed
from ..plugin_utils.lock_action import Inputs, LockAction, for_host

# What the module uv_env is not told, as it is about locks, which are done then.
_ONLY_FOR_LOCKS = {*LOCKS, "lock"}
_FOR_COMPARING = {*SHARE, *EARLIER_SHARES, "share_name", "purge", "upgrade", "upgrade_packages"}


class ActionModule(LockAction):
    """Compare; where that finds something to do, bring locks up to date, and then run the module."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_ENV

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        given = self._task.args
        if not args["lock"]:
            return self.on_host("uv_env", given, task_vars)
        here = self.here(args)
        inputs = self.inputs(args, here)
        compared = self._compare(args, task_vars, here, inputs)
        converged, locks = (compared.pop(key, None) for key in ("converged", "locks"))
        needs = self.asked_for(compared, "needs", inputs)
        if converged or compared.get("failed"):
            return compared
        build = {key: value for key, value in given.items() if key not in _ONLY_FOR_LOCKS}
        if locks is not None:
            return self.on_host("uv_env", {**build, "locks": locks}, task_vars)
        lock = {key: value for key, value in given.items() if key in UV_LOCK}
        locked = self.locked(args, task_vars, lock, inputs, needs)
        if "locks" not in locked:
            return locked
        return _merged(locked, self.on_host("uv_env", {**build, "locks": locked["locks"]}, task_vars))

    def _compare(
        self, args: dict[str, t.Any], task_vars: TaskVars, here: t.Sequence[EnvironmentSpec], inputs: Inputs
    ) -> Result:
        told = {key: value for key, value in args.items() if key in _FOR_COMPARING}
        told.update(environments=[spec.as_dict() for spec in here], inputs=for_host(inputs))
        return self.on_host("uv_env_compare", told, task_vars)


def _merged(locked: Result, done: Result) -> Result:
    """One result of both: what either changed, said, or could not do."""
    result = {**done, "locks": locked["locks"], "changed": bool(locked.get("changed") or done.get("changed"))}
    for key in ("diff", "errors", "warnings"):
        lists = [part.get(key) or [] for part in (locked, done)]
        if not all(isinstance(items, list) for items in lists):
            raise malformed(key)
        both = [item for items in lists for item in items]
        if both:
            result[key] = both
    if locked.get("failed"):
        result["failed"] = True
        result["msg"] = "\n".join(str(part.get("msg")) for part in (locked, done) if part.get("failed"))
    return result
