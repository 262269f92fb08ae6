# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says at the end of a run what it did, and what there is, and writes the same as JSON. Nothing runs on hosts."""

from __future__ import annotations

import datetime
import typing as t

from ..module_utils.errors import from_os_error
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_REPORT
from ..plugin_utils import damage, history, info, pruned, pruning, report, report_file, summary, trials, usage
from ..plugin_utils.controller_action import ControllerAction, TaskVars
from ..plugin_utils.report import DONE, LOOKED, LOOKED_AGAIN, PUBLISHED, PYTHONS, VERIFIED, Hosts

_KINDS = (
    DONE, PUBLISHED, VERIFIED, PYTHONS, LOOKED, LOOKED_AGAIN, history.TOLD, trials.TRIED, usage.SEEN,
    report.MAY_GO, report.DECIDED, pruning.ASIDE, pruned.DONE, damage.READ, damage.DONE, damage.UV,
)  # fmt: skip
_DECLARED = "__uvnas_declared"


class ActionModule(ControllerAction):
    """Put together what hosts have registered."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_REPORT

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        registered, todo = {}, []
        hostvars = (task_vars or {})["hostvars"]
        path: str | None = None
        trying: dict[str, t.Any] = {}
        for host in args["hosts"]:
            known = hostvars.raw_get(host)  # There is nothing to render in what hosts registered, nor should there be.
            registered[host] = {name: known[name] for name in _KINDS if name in known}
            declared = known.get(_DECLARED) or {}
            if host in declared.get("hosts", {}):
                todo.append(declared["work"][declared["hosts"][host]])
                path = path or declared.get("report_file")
                trying = declared if declared.get("trials") else trying
        hosts = Hosts(registered, frozenset(args["well"]))
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        if args["kind"] == "usage":
            found = usage.report(hosts, time=now)
            lines, wrong = usage.lines(found), usage.wrong(found)
        elif args["kind"] == "prune":
            found = pruned.report(report.shares(todo), hosts, check_mode=self._task.check_mode, time=now)
            lines, wrong = pruned.lines(found), pruned.wrong(found)
        elif args["kind"] in ("deep", "repair"):
            found = damage.report(args["kind"], report.shares(todo), hosts, check_mode=self._task.check_mode, time=now)
            lines, wrong = damage.lines(found), damage.wrong(found)
        elif args["kind"] == "history":
            found = history.report(report.shares(todo), hosts, time=now)
            lines, wrong = history.lines(found), history.wrong(found)
        else:
            make = report.of_look if args["kind"] == "info" else report.of_run
            found = make(report.shares(todo), hosts, check_mode=self._task.check_mode, time=now)
            lines = info.lines(found) if args["kind"] == "info" else summary.lines(found)
            wrong = [*summary.different(found), *info.missing(found)]
            if args["kind"] == "run" and trying and not self._task.check_mode:
                tried, untried = trials.told(trying, registered)
                lines, wrong = [*lines, *tried], [*wrong, *untried]
        if path:
            try:
                report_file.write(path, found)
                lines = [*lines, f"The same as JSON: {path}"]
            except OSError as error:  # What the run did is said all the same.
                wrong.append(f"uvnas_report_file: cannot write {path}: {from_os_error(error).explain()}")
        if wrong:
            return {"changed": False, "failed": True, "msg": "\n".join([*wrong, *lines])}
        # As with debug: this is said however quiet a run is.
        return {"changed": False, "msg": lines, "_ansible_verbose_always": True}
