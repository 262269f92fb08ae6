# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_repair that runs on the controller: it says who does this, and shows how far the module is."""

from __future__ import annotations

import typing as t

from ..module_utils.host.workers import Result
from ..module_utils.options import UV_REPAIR
from ..plugin_utils.author import author
from ..plugin_utils.controller_action import ControllerAction, TaskVars


class ActionModule(ControllerAction):
    """Run the module, watched."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_REPAIR

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        return self.on_host_watched("uv_repair", {**self._task.args, **author()}, task_vars, args)
