# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_prune that runs on the controller: it says who does this."""

from __future__ import annotations

import typing as t

from ..module_utils.host.workers import Result
from ..module_utils.options import UV_PRUNE
from ..plugin_utils.author import author
from ..plugin_utils.controller_action import ControllerAction, TaskVars


class ActionModule(ControllerAction):
    """Run the module, watched where it removes."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_PRUNE

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        told = {**self._task.args, **author()}
        if self._task.check_mode or args["stage"] != "remove":
            return self.on_host("uv_prune", told, task_vars)
        return self.on_host_watched("uv_prune", told, task_vars, args)
