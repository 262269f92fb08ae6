# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_profile that runs on the controller: it knows whether the host has said that nothing is to do."""

from __future__ import annotations

import typing as t

from ansible.plugins.action.normal import ActionModule as NormalAction

from ..module_utils.host.workers import Result
from ..plugin_utils import ahead


class ActionModule(NormalAction):
    """Run the module, unless its answer is known."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        known = ahead.answer(task_vars, "uv_profile", self._task.args)
        result: Result = known or super().run(tmp, task_vars)
        return result
