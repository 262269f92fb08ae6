# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_env that runs on the controller: locks first, where they are to be brought up to date.

Where there is nothing to do, one small module finds that out, and nothing else is run.
"""

from __future__ import annotations

import random
import time
import typing as t

from ..module_utils.env.plan import overtaken
from ..module_utils.env.spec import EnvironmentSpec
from ..module_utils.host.workers import Result
from ..module_utils.options import EARLIER_SHARES, LOCKS, SHARE, UV_ENV, UV_LOCK
from ..plugin_utils import ahead, answers
from ..plugin_utils.author import author
from ..plugin_utils.controller_action import TaskVars, malformed
from ..plugin_utils.lock_action import Inputs, LockAction, for_host, told

# How often what has lost a race against other declarations is begun anew. Half of those who run are in front.
_ROUNDS = 12
# In seconds.
_LONGEST_PAUSE = 3.0
# What the module uv_env is not told, as it is about locks, which are done then.
_ONLY_FOR_LOCKS = {*LOCKS, "lock", "tries"}
_FOR_COMPARING = {*SHARE, *EARLIER_SHARES, "share_name", "purge", "upgrade", "upgrade_packages"}
# What locks say of packages that are to be upgraded, in results.
_ASKED = "upgrade_packages"


class ActionModule(LockAction):
    """Compare; where that finds something to do, bring locks up to date, and then run the module."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_ENV

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        result = self._worked(args, task_vars)
        untried = [] if args["tries"] else [fact for fact in _facts(result) if fact.get("awaits") is True]
        if untried:
            result["warnings"] = [*(result.get("warnings") or ()), *map(_untried, untried)]
        return result

    def _worked(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        here = self.here(args)
        if not args["lock"]:
            return told(self._build(self._task.args, task_vars, args), here, args)
        # The controller's own files were looked at when this was asked.
        asked = {**args, "environments": [spec.as_dict() for spec in here]}
        known = ahead.answer(task_vars, "uv_env", asked, args["share_name"])
        if known:
            return told(known, here, args)
        return told(self._locked_and_built(args, task_vars, here), here, args)

    def _locked_and_built(
        self, args: dict[str, t.Any], task_vars: TaskVars, here: t.Sequence[EnvironmentSpec]
    ) -> Result:
        """Compare, lock, build and publish, again where somebody else was in the way."""
        given = self._task.args
        inputs = self.inputs(args, here)
        result = self._converge(args, given, task_vars, here, inputs)
        for number in range(1, _ROUNDS):
            late = self.asked_for(result, "overtaken", inputs)
            if not late:
                return result
            # Whoever else is at work waits in the same places for the same time: not in step with them.
            time.sleep(random.uniform(0, min(number, _LONGEST_PAUSE)))
            # The others are done, and so is a purge, which must not take them for undeclared.
            items = [{key: value for key, value in item.items() if value is not None} for item in args["environments"]]
            only = {"environments": [item for item in items if item["name"] in late], "purge": False}
            again = [spec for spec in here if spec.name in late]
            after = self._converge({**args, **only}, {**given, **only}, task_vars, again, inputs)
            result = _continued(result, after, late)
        late = self.asked_for(result, "overtaken", inputs)
        more = [overtaken(name).as_dict() for name in late]
        return {**result, "failed": True, "errors": [*(result.get("errors") or ()), *more]} if late else result

    def _converge(
        self,
        args: dict[str, t.Any],
        given: t.Mapping[str, t.Any],
        task_vars: TaskVars,
        here: t.Sequence[EnvironmentSpec],
        inputs: Inputs,
    ) -> Result:
        """Compare, lock, build and publish the environments ``here``, once."""
        inputs = {spec.name: inputs[spec.name] for spec in here if spec.present}
        compared = self._compare(args, task_vars, here, inputs)
        converged, locks = (compared.pop(key, None) for key in ("converged", "locks"))
        asked = {_ASKED: compared[_ASKED]} if _ASKED in compared else {}
        needs = self.asked_for(compared, "needs", inputs)
        if converged or compared.get("failed"):
            return compared
        build = {key: value for key, value in given.items() if key not in _ONLY_FOR_LOCKS}
        if locks is not None:
            return {**asked, **self._build({**build, "locks": locks}, task_vars, args)}
        lock = {key: value for key, value in given.items() if key in UV_LOCK}
        locked = self.locked(args, task_vars, lock, inputs, needs)
        if "locks" not in locked:
            return locked
        return _merged(locked, self._build({**build, "locks": locked["locks"]}, task_vars, args))

    def _build(self, given: t.Mapping[str, t.Any], task_vars: TaskVars, args: dict[str, t.Any]) -> Result:
        given = {**given, **author()}
        if self._task.check_mode:  # It builds nothing.
            return self.on_host("uv_env", given, task_vars)
        return self.on_host_watched("uv_env", given, task_vars, args)

    def _compare(
        self, args: dict[str, t.Any], task_vars: TaskVars, here: t.Sequence[EnvironmentSpec], inputs: Inputs
    ) -> Result:
        told = {key: value for key, value in args.items() if key in _FOR_COMPARING}
        told.update(environments=[spec.as_dict() for spec in here], inputs=for_host(inputs))
        return self.on_host("uv_env_compare", told, task_vars)


def _merged(locked: Result, done: Result) -> Result:
    """One result of both: what either changed, said, or could not do."""
    changed = bool(locked.get("changed") or done.get("changed"))
    asked = {_ASKED: locked[_ASKED]} if _ASKED in locked else {}
    result = {**done, **asked, "locks": locked["locks"], "changed": changed, **_joined(locked, done)}
    return {**result, "failed": True} if locked.get("failed") else result


def _joined(*parts: Result) -> Result:
    """What each of ``parts`` has said, one after the other; and why the last one got nowhere, if it did not."""
    result: Result = {}
    for key in ("diff", "errors", "warnings"):
        lists = [part.get(key) or [] for part in parts]
        if not all(isinstance(items, list) for items in lists):
            raise malformed(key)
        both = [item for items in lists for item in items]
        if both:
            result[key] = both
    last = parts[-1]
    if last.get("failed") and not last.get("errors") and not last.get("overtaken"):
        result["stopped"] = last.get("msg")
    return result


def _continued(before: Result, after: Result, late: t.Collection[str]) -> Result:
    """One result of ``before``, where the environments ``late`` were overtaken, and what became of them ``after``."""
    facts = {fact["name"]: fact for fact in _facts(after)}
    result = {
        **after,
        "changed": bool(before.get("changed") or after.get("changed")),
        "environments": [facts.get(fact["name"], fact) if fact["name"] in late else fact for fact in _facts(before)],
        **_joined(before, after),
    }
    locks = [part.get("locks") or {} for part in (before, after)]
    if not all(isinstance(each, dict) for each in locks):
        raise malformed("locks")
    if any(locks):
        result["locks"] = {**locks[0], **locks[1]}
    if _ASKED in before:  # Of all environments.
        result[_ASKED] = before[_ASKED]
    return {**result, "failed": True} if before.get("errors") else result


def _untried(fact: t.Mapping[str, t.Any]) -> str:
    what = answers.word(fact.get("declared_id"))
    generation = f"its generation {what}" if what else "what is built of it"
    return (
        f"environment {answers.word(fact['name'])}: {generation} is not published, as it has to be tried first "
        "(try_on); site.yml does that"
    )


def _facts(result: Result) -> list[dict[str, t.Any]]:
    """What a result says of environments. Raises UvnasError where that is nonsense."""
    facts = result.get("environments", [])
    if not isinstance(facts, list) or not all(isinstance(f, dict) and isinstance(f.get("name"), str) for f in facts):
        raise malformed("environments")
    return facts
