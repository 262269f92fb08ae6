# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_env_info that runs on the controller: it knows whether the host has said what it would say."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ..module_utils.host.workers import Result
from ..plugin_utils import ahead


class ActionModule(ActionBase):
    """Run the module, unless its answer is known."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        args = self._task.args
        known = ahead.answer(task_vars, "uv_env_info", args, str(args.get("share_name")))
        return known or self._execute_module(task_vars=task_vars)
