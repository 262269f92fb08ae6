# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the collection as a whole, and nobody should have to remember."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for part in ("docs", "plugins", "tests") for path in sorted((ROOT / part).rglob("*.py"))]
HEADER = """\
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""


def test_every_module_is_in_the_action_group() -> None:
    modules = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
    for of_the_controller in ("uv_declaration", "uv_pruning", "uv_report", "uv_rollback"):
        modules.remove(of_the_controller)
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert runtime["action_groups"]["all"] == modules


def test_every_source_names_its_licence() -> None:
    texts = {path: path.read_text(encoding="utf-8").removeprefix("#!/usr/bin/python\n") for path in SOURCES}
    assert [path for path, text in texts.items() if text and not text.startswith(HEADER)] == []


def test_only_the_adapter_and_no_other_module_util_knows_ansible() -> None:
    utils = (ROOT / "plugins" / "module_utils").rglob("*.py")
    importing = re.compile(r"^\s*(?:from|import)\s+ansible\b", re.MULTILINE)
    assert {path.name for path in utils if importing.search(path.read_text(encoding="utf-8"))} == {"adapter.py"}


def test_pinned_requirements_are_hashed_and_name_no_index() -> None:
    """They are installed from wherever pip is configured to look."""
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        pins = re.findall(r"^[a-z0-9].*$", text, re.MULTILINE)
        assert pins
        assert all("==" in pin and pin.endswith("\\") for pin in pins)
        assert not re.search(r"://|--index|--extra-index|--find-links", text)
