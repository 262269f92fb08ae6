# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation shows: README, the pages, the README of roles, and the examples in their specs."""

from __future__ import annotations

import re
import textwrap
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
README = "README.md"
PAGES = "docs/docsite/rst"


class Block(t.NamedTuple):
    """A block of code, as it stands on its page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def data(self) -> t.Any:
        return yaml.safe_load(self.text)

    @property
    def name(self) -> str | None:
        """The file of an inventory that it is, as its first line says."""
        found = re.match(r"# inventory/(\S+)\n", self.text)
        return found[1] if found else None

    @property
    def variables(self) -> dict[str, t.Any]:
        """The variables of this collection that it sets: as a file of an inventory, or for the roles of a play."""
        data = self.data
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key.startswith("uvnas_")}
        roles = [role for play in data for role in play.get("roles", ())] if isinstance(data, list) else []
        return {key: value for role in roles for key, value in role["vars"].items()}

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """The commands of a console, each with the lines that it is shown to print."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            prompt = re.match(r"(?:\(\S+\) )?[$#] (.*)", line)
            if prompt:
                found.append((prompt[1], []))
            else:
                found[-1][1].append(line)
        return found


def pages() -> list[Path]:
    """The files of the documentation."""
    found = [ROOT / README, *sorted((ROOT / "roles").glob("*/README.md")), ROOT / "molecule" / "README.md"]
    return [*found, *sorted((ROOT / PAGES).glob("*.rst"))]


def blocks(language: str = "yaml") -> list[Block]:
    """All blocks in a language."""
    found = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            matches = re.finditer(rf"```{language}\n(.*?)```", text, re.DOTALL)
        else:
            matches = re.finditer(rf"code-block:: {language}\n\n((?:(?: .*)?\n)+)", text)
        for match in matches:
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(str(path.relative_to(ROOT)), line, language, f"{textwrap.dedent(match[1]).rstrip()}\n"))
    return found


def blocks_of(page: str, *languages: str) -> list[Block]:
    """The blocks of one page, from top to bottom."""
    found = [block for language in languages for block in blocks(language) if block.page == page]
    return sorted(found, key=lambda block: block.line)


def examples() -> list[Block]:
    """The examples on the pages of roles."""
    found = []
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]
        found.append(Block(str(path.relative_to(ROOT)), 1, "yaml", spec["examples"]))
    return found


def write_inventory(directory: Path, page: str, after: str = "") -> list[str]:
    """Write the inventory that a page shows, behind the text ``after``, and return the names of its files."""
    text = (ROOT / page).read_text(encoding="utf-8")
    line = text.count("\n", 0, text.index(after)) + 1
    names = []
    for block in blocks_of(page, "yaml"):
        if block.name and block.line >= line:
            path = directory / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            names.append(block.name)
    return names
