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
        ("3.10", 'must be a string; quote it: "3.1" (or "3.10": YAML drops the zero)'),
        ("3.12", 'must be a string; quote it: "3.12"'),
        ("0.10", 'must be a string; quote it: "0.1" (or "0.10": YAML drops the zero)'),
        ("3", 'must be a string; quote it: "3"'),
        ("null", "must be a version in quotes, not None"),
        ("yes", "must be a version in quotes, not True"),
        ("[3.12]", "must be a version in quotes, not [3.12]"),
        ("2026-01-31", "must be a version in quotes, not datetime.date(2026, 1, 31)"),
        (".nan", 'must be a string; quote it: "nan"'),
        ('["https://u:geheim@h"]', "must be a version in quotes, not ['https://****@h']"),
    ],
)
def test_versions_without_quotes(text: str, wrong: str | None) -> None:
    assert wrong_version(yaml.safe_load(text)) == wrong
