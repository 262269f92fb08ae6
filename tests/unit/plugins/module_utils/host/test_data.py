# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What YAML makes of versions."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.uvnas.cluster.plugins.module_utils.host.data import wrong_version


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('"3.10"', None),
        ("3.12.4", None),
        ("3.13t", None),
        ('"nonsense"', None),
        ("3.10", 'is the number 3.1; put it in quotes: "3.1", or "3.10" if that was meant: YAML drops the zero'),
        ("3.12", 'is the number 3.12; put it in quotes: "3.12"'),
        ("0.10", 'is the number 0.1; put it in quotes: "0.1", or "0.10" if that was meant: YAML drops the zero'),
        ("3", 'is the number 3; put it in quotes: "3"'),
        ("null", "is None, which is no version; write one in quotes"),
        ("yes", "is True, which is no version; write one in quotes"),
        ("[3.12]", "is [3.12], which is no version; write one in quotes"),
        ("2026-01-31", "is datetime.date(2026, 1, 31), which is no version; write one in quotes"),
        (".nan", 'is the number nan; put it in quotes: "nan"'),
        ('["https://u:geheim@h"]', "is ['https://****@h'], which is no version; write one in quotes"),
    ],
)
def test_versions_without_quotes(text: str, wrong: str | None) -> None:
    assert wrong_version(yaml.safe_load(text)) == wrong
