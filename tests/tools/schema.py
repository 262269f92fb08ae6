# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""README's tables of variables, from the argument specs of the roles.

With --write, the text between the two markers in README.md is replaced. Without, a difference is shown and returns 1.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "<!-- variables:begin -->"
END = "<!-- variables:end -->"

# The order in which site.yml runs them, which is the order in which a reader meets their variables.
ROLES = ("share", "uv", "python", "envs", "profile", "verify")

Options = dict[str, dict[str, t.Any]]

_LINK = re.compile(r"\bL\((?P<text>[^,)]+), *(?P<url>[^)]+)\)")
_URL = re.compile(r"\bU\((?P<url>[^)]+)\)")
_CODE = re.compile(r"\b[CEMOPV]\((?P<text>(?:[^()\\]|\\.|\([^()]*\))*)\)")
_ITALIC = re.compile(r"\bI\((?P<text>[^)]+)\)")
_BOLD = re.compile(r"\bB\((?P<text>[^)]+)\)")


def markdown(text: str) -> str:
    """Ansible's markup as Markdown, fit for a cell of a table."""
    text = _CODE.sub(lambda found: f"`{found['text']}`".replace("\\", ""), text)
    text = _LINK.sub(r"[\g<text>](\g<url>)", text)
    text = _URL.sub(r"<\g<url>>", text)
    text = _ITALIC.sub(r"*\g<text>*", text)
    text = _BOLD.sub(r"**\g<text>**", text)
    return " ".join(text.split()).replace("|", "\\|")


def description(option: dict[str, t.Any]) -> str:
    said = option["description"]
    choices = ", ".join(f"`{choice}`" for choice in option.get("choices", ()))
    text = markdown(said if isinstance(said, str) else " ".join(said))
    return f"{text} One of {choices}." if choices else text


def kind(option: dict[str, t.Any]) -> str:
    name: str = option.get("type", "str")
    return f"list of {option['elements']}" if name == "list" and "elements" in option else name


def default(option: dict[str, t.Any]) -> str:
    if option.get("required"):
        return "**required**"
    value = option.get("default")
    if value is None:
        return ""
    return f"`{json.dumps(value)}`".replace("|", "\\|")


def rows(options: Options) -> t.Iterator[str]:
    yield "| name | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, option in options.items():
        yield f"| `{name}` | {kind(option)} | {default(option)} | {description(option)} |"


def sections(options: Options, level: str = "###", of: str = "") -> t.Iterator[str]:
    """A table of ``options``, then one for the keys of each of them that has some."""
    yield from rows(options)
    for name, option in options.items():
        if option.get("options"):
            path = f"{of}{name}"
            each = "each of " if option.get("type") == "list" else ""
            yield from ("", f"{level} Keys of {each}`{path}`", "")
            yield from sections(option["options"], level, f"{path}.")


def variables(root: Path) -> Options:
    """All variables of all roles, in the order of the roles; several roles share some of them."""
    found: Options = {}
    paths = {path.parts[-3]: path for path in sorted(root.glob("roles/*/meta/argument_specs.yml"))}
    for role in sorted(paths, key=lambda role: ROLES.index(role) if role in ROLES else len(ROLES)):
        specs = yaml.safe_load(paths[role].read_text(encoding="utf-8"))["argument_specs"]
        for entry_point in specs.values():
            for name, option in entry_point.get("options", {}).items():
                found.setdefault(name, option)
    return found


def rewritten(text: str, root: Path) -> str:
    """README's ``text`` with the tables as they should be."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"README.md has no lines {BEGIN} and {END}")
    return "\n".join((before + begin, "", *sections(variables(root)), "", end + after))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="rewrite README.md")
    readme = ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    new = rewritten(old, ROOT)
    if parser.parse_args().write:
        readme.write_text(new, encoding="utf-8")
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(old.splitlines(True), new.splitlines(True), "README.md", "README.md as the roles have it")
    )
    return 0 if old == new else 1


if __name__ == "__main__":
    sys.exit(main())
