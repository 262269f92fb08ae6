# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_lock that runs on the controller."""

from __future__ import annotations

import typing as t

from ..module_utils.host.workers import Result
from ..module_utils.options import UV_LOCK
from ..plugin_utils.controller_action import TaskVars
from ..plugin_utils.lock_action import LockAction, told


class ActionModule(LockAction):
    """Run the module with what the controller knows."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_LOCK

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        here = self.here(args)
        inputs = self.inputs(args, here)
        result = self.locked(args, task_vars, self._task.args, inputs)
        return told(result, [spec for spec in here if spec.present], args)
