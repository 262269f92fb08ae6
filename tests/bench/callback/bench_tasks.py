# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible callback of the benchmark: the seconds of each task, as lines of JSON in the file that BENCH_TASKS names."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: bench_tasks
type: notification
short_description: Notes the seconds of each task
description: Writes a line of JSON for each result of a task to the file that E(BENCH_TASKS) names.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bench_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._began = time.monotonic()

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self._began = time.monotonic()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        note = {
            "action": result.task.action,
            "seconds": time.monotonic() - self._began,
            "changed": bool(result.result.get("changed")),
        }
        with open(os.environ["BENCH_TASKS"], "a", encoding="utf-8") as notes:
            notes.write(json.dumps(note) + "\n")
