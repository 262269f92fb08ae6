# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests are made with must not be made with what they test."""

from __future__ import annotations

import re
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def test_no_fixture_is_built_with_the_code_under_test() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in SUPPORT.glob("*.py")}
    importing = re.compile(r"^\s*(?:from|import)\s.*\bplugins\b", re.MULTILINE)
    assert texts
    assert [name for name, text in texts.items() if importing.search(text)] == []
