# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible callback: writes each execution of a task on a host as a line of JSON to the file BENCHMARK_TASKS."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: benchmark_tasks
type: notification
short_description: Notes each execution of a task
description:
  - Writes a line of JSON for each task that a host executed, including skipped ones, to the file E(BENCHMARK_TASKS).
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "benchmark_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._began = time.monotonic()

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self._began = time.monotonic()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._note(result, "ok")

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._note(result, "skipped")

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._note(result, "failed")

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._note(result, "unreachable")

    def _note(self, result: t.Any, outcome: str) -> None:
        note = {
            "host": result.host.get_name(),
            "name": result.task.get_name(),
            "action": result.task.action,
            "outcome": outcome,
            "once": bool(result.task.run_once),
            "seconds": time.monotonic() - self._began,
            "changed": bool(result.result.get("changed")),
        }
        with open(os.environ["BENCHMARK_TASKS"], "a", encoding="utf-8") as notes:
            notes.write(json.dumps(note) + "\n")
