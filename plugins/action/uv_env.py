# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_env that runs on the controller: locks first, where they are to be brought up to date.

Where there is nothing to do, one small module finds that out, and nothing else is run.
"""

from __future__ import annotations

import typing as t

from ..module_utils.options import EARLIER_SHARES, LOCKS, SHARE, UV_ENV, UV_LOCK
from ..plugin_utils.lock_action import LockAction, Result, for_host

# What the module uv_env is not told, as it is about locks, which are done then.
_ONLY_FOR_LOCKS = {*LOCKS, "lock"}
_FOR_COMPARING = {*SHARE, *EARLIER_SHARES, "share_name", "purge"}


class ActionModule(LockAction):
    """Compare; where that finds something to do, bring locks up to date, and then run the module."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_ENV

    def work(self, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> Result:
        given = self._task.args
        if not args["lock"]:
            return self._reconcile(given, task_vars)
        options = {key: value for key, value in given.items() if key not in _ONLY_FOR_LOCKS}
        if not args["upgrade"] and not args["upgrade_packages"]:
            compared = self._compare(args, task_vars)
            converged, locks = compared.pop("converged", False), compared.pop("locks", None)
            if converged or compared.get("failed"):
                return compared
            if locks is not None:
                return self._reconcile({**options, "locks": locks}, task_vars)
        locked = self.locked(args, task_vars, {key: value for key, value in given.items() if key in UV_LOCK})
        if "locks" not in locked:
            return locked
        done = self._reconcile({**options, "locks": locked["locks"]}, task_vars)
        return _merged(locked, done)

    def _compare(self, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> Result:
        here = self.here(args)
        known = for_host(self.inputs(args, here))
        options = {key: value for key, value in args.items() if key in _FOR_COMPARING}
        options.update(environments=[spec.as_dict() for spec in here], inputs=known)
        result: Result = self._execute_module("uvnas.cluster.uv_env_compare", options, task_vars=task_vars)
        return result

    def _reconcile(self, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> Result:
        result: Result = self._execute_module("uvnas.cluster.uv_env", args, task_vars=task_vars)
        return result


def _merged(locked: Result, done: Result) -> Result:
    """One result of both: what either changed, said, or could not do."""
    result = {**done, "locks": locked["locks"], "changed": bool(locked.get("changed") or done.get("changed"))}
    for key in ("diff", "errors", "warnings"):
        both = [item for part in (locked, done) for item in part.get(key) or []]
        if both:
            result[key] = both
    if locked.get("failed"):
        result["failed"] = True
        result["msg"] = "\n".join(part["msg"] for part in (locked, done) if part.get("failed"))
    return result
