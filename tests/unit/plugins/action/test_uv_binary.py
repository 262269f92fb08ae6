# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of uv_binary. What it does with archives: tests/integration."""

from __future__ import annotations

import typing as t
from unittest.mock import MagicMock

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.uvnas.cluster.plugins.action import uv_binary
from ansible_collections.uvnas.cluster.plugins.plugin_utils import ahead


@pytest.mark.parametrize("verify", [False, True])
def test_what_a_host_has_said_before_does_not_verify(monkeypatch: pytest.MonkeyPatch, verify: bool) -> None:
    """It looked at the version then, and read nothing of it."""
    monkeypatch.setattr(ahead, "answer", lambda *_about: {"changed": False, "executable": "as before"})
    args = {"share": "/mnt/nas-a/uv", "share_name": "nas_a", "version": "0.13.9", "verify": verify}
    task = MagicMock(args=args, async_val=0, check_mode=False, diff=False)
    plugin = uv_binary.ActionModule(task, MagicMock(), MagicMock(), DataLoader(), MagicMock(), MagicMock())
    told: list[t.Any] = []

    def execute_module(_name: str, given: dict[str, t.Any], **_rest: t.Any) -> dict[str, t.Any]:
        told.append(given["verify"])
        return {"changed": False, "executable": "as found"}

    monkeypatch.setattr(plugin, "_execute_module", execute_module)
    result = plugin.run(task_vars={})
    assert result["executable"] == ("as found" if verify else "as before"), result
    assert told == ([True] if verify else [])
