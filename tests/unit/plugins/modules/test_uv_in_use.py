# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_in_use, from its arguments to its result."""

from __future__ import annotations

import datetime
import json
import os
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.modules import uv_in_use


def run(capsys: pytest.CaptureFixture[str], **given: t.Any) -> dict[str, t.Any]:
    with patch_module_args(given), pytest.raises(SystemExit):
        uv_in_use.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("check", [True, False])
def test_it_says_who_uses_what_and_changes_nothing(check: bool, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, _ansible_check_mode=check)
    assert (result["changed"], result["is_root"]) == (False, os.geteuid() == 0)
    assert datetime.datetime.fromisoformat(result["booted"]) < datetime.datetime.now(datetime.UTC)
    assert result["cluster"] is None or isinstance(result["cluster"], str)
    assert os.getpid() not in [use["pid"] for use in result["uses"]]


@pytest.mark.parametrize("patience", [0, -1, "inf", "nan"])
def test_no_patience(patience: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, patience=patience)
    assert result["failed"]
    assert "patience must be a number of seconds greater than 0" in result["msg"]
