# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The YAML in the documentation: README, the pages of docs/docsite/rst, and the roles' READMEs."""

from __future__ import annotations

import re
import textwrap
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


class Block(t.NamedTuple):
    """A block of YAML on a page."""

    page: str
    line: int
    text: str

    @property
    def data(self) -> t.Any:
        return yaml.safe_load(self.text)


def pages() -> list[Path]:
    """The files of the documentation."""
    found = [ROOT / "README.md", *sorted((ROOT / "roles").glob("*/README.md")), ROOT / "molecule" / "README.md"]
    return [*found, *sorted((ROOT / "docs" / "docsite" / "rst").glob("*.rst"))]


def blocks() -> list[Block]:
    """All blocks of YAML."""
    found = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        pattern = r"```yaml\n(.*?)```" if path.suffix == ".md" else r"code-block:: yaml\n\n((?:(?: .*)?\n)+)"
        for match in re.finditer(pattern, text, re.DOTALL if path.suffix == ".md" else 0):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(str(path.relative_to(ROOT)), line, textwrap.dedent(match[1])))
    return found


def write_inventory(directory: Path) -> list[str]:
    """Write the inventory that README shows, and return the names of its files."""
    names = []
    for block in blocks():
        name = re.match(r"# inventory/(\S+)\n", block.text)
        if block.page == "README.md" and name:
            path = directory / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            names.append(name[1])
    return names
