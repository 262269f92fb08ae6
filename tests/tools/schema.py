# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from meta/schema.yml: argument specs of roles and modules, doc fragments, and the page *Variables*.

With --write, all of that is written. Without, differences are shown and return 1.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
import textwrap
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 120
NOTE = "Written by `make schema`, from meta/schema.yml."
HEADER = """\
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""

Option = dict[str, t.Any]
Options = dict[str, Option]


class Schema(t.NamedTuple):
    """meta/schema.yml, as that explains itself."""

    types: dict[str, Options]
    fragments: dict[str, t.Any]
    examples: dict[str, str]
    roles: dict[str, t.Any]
    variables: Options

    @classmethod
    def load(cls, root: Path = ROOT) -> Schema:
        return cls(**yaml.safe_load((root / "meta" / "schema.yml").read_text(encoding="utf-8")))

    def documented(self, options: Options, keys: str, beside: str = "") -> Options:
        """``options`` as documentation has them, with the name ``keys`` for those of a dictionary, below ``beside``."""
        found: Options = {}
        for name, option in options.items():
            found[name] = {key: value for key, value in option.items() if key not in ("description", "keys", "roles")}
            said = [text.replace("O(.", f"O({beside}") for text in lines(option["description"])]
            found[name] = {"description": said if len(said) > 1 else said[0], **found[name]}
            if "keys" in option:
                below = f"{beside}{name}{'[]' if option['type'] == 'list' else ''}."
                found[name][keys] = self.documented(self.types[option["keys"]], keys, below)
        return found

    def variables_of(self, role: str) -> Options:
        """The variables that a role takes, in its words."""
        found = {}
        for name, option in self.variables.items():
            if role in option["roles"]:
                own = option["roles"][role] if isinstance(option["roles"], dict) else None
                found[name] = {**option, "description": lines(option["description"]) + lines(own)}
        return found


def lines(said: str | list[str] | None) -> list[str]:
    return [said] if isinstance(said, str) else said or []


def between(text: str, begin: str, end: str, new: str) -> str:
    """``text`` with ``new`` between the lines ``begin`` and ``end``."""
    before, found, rest = text.partition(f"{begin}\n")
    _old, found_end, after = rest.partition(f"{end}\n")
    if not found or not found_end:
        raise SystemExit(f"the lines {begin} and {end} are missing")
    return f"{before}{begin}\n{new}{end}\n{after}"


# YAML


class Dumper(yaml.SafeDumper):
    """Writes as people do here: lists are indented, short ones in one line, and quotes are double."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: t.Any) -> bool:
        return True


def _text(dumper: Dumper, text: str) -> yaml.Node:
    if "\n" in text:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    plain = text and isinstance(yaml.safe_load(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _list(dumper: Dumper, items: list[t.Any]) -> yaml.Node:
    short = not any(isinstance(item, dict) or " " in str(item) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


Dumper.add_representer(str, _text)
Dumper.add_representer(list, _list)


def to_yaml(data: t.Any) -> str:
    text = yaml.dump(data, Dumper=Dumper, width=sys.maxsize, sort_keys=False, allow_unicode=True)
    return "".join(f"{_wrapped(line)}\n" for line in text.splitlines())


def _wrapped(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def role_specs(schema: Schema) -> dict[str, str]:
    def specs(role: str, said: dict[str, t.Any]) -> str:
        options = schema.documented(schema.variables_of(role), "options")
        return f"---\n# {NOTE}\n" + to_yaml(
            {"argument_specs": {"main": {**said, "examples": schema.examples[role], "options": options}}}
        )

    return {f"roles/{role}/meta/argument_specs.yml": specs(role, said) for role, said in schema.roles.items()}


# Doc fragments


def without_no_log(options: Options) -> Options:
    """Documentation of modules has no such key."""
    shown = {name: {key: value for key, value in option.items() if key != "no_log"} for name, option in options.items()}
    for option in shown.values():
        if "suboptions" in option:
            option["suboptions"] = without_no_log(option["suboptions"])
    return shown


def doc_fragments(schema: Schema) -> dict[str, str]:
    def fragment(name: str, said: dict[str, t.Any]) -> str:
        options = without_no_log(schema.documented(said["options"], "suboptions"))
        return f'''\
{HEADER}# {NOTE}

from __future__ import annotations


class ModuleDocFragment:
    """{said["short_description"]}; the argument spec is options.{name.upper()}."""

    DOCUMENTATION = r"""
{to_yaml({"options": options})}"""
'''

    return {f"plugins/doc_fragments/{name}.py": fragment(name, said) for name, said in schema.fragments.items()}


# Argument specs of modules

# What many options are, by its name in options.py.
COMMON: dict[str, Option] = {
    "_TEXT": {"type": "str"},
    "_REQUIRED": {"type": "str", "required": True},
    "_TEXTS": {"type": "list", "elements": "str", "default": []},
    "_SECRETS": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "_PATH": {"type": "path"},
    "_REQUIRED_PATH": {"type": "path", "required": True},
    "_FLAG": {"type": "bool", "default": False},
    "_VALUES": {"type": "dict", "default": {}},
}


class Constant(str):
    """The name of a constant of options.py."""


def argument_specs(schema: Schema) -> str:
    """The constants of options.py."""
    groups = {name: said["options"] for name, said in schema.fragments.items()}
    in_use = {option["keys"] for options in groups.values() for option in options.values() if "keys" in option}
    in_use |= {option["keys"] for name in in_use for option in schema.types[name].values() if "keys" in option}
    types = {f"{name}_keys": keys for name, keys in schema.types.items() if name in in_use}
    constants = {name: literal(option) for name, option in COMMON.items()}
    for name, options in {**types, **groups}.items():
        constants[name.upper()] = python(_spec(options), len(f"{name}: Spec = "))
    return "".join(f"{name}: Spec = {value}\n" for name, value in constants.items())


def _spec(options: Options) -> dict[str, Option]:
    """``options`` without prose."""
    found = {}
    for name, option in options.items():
        found[name] = {key: value for key, value in option.items() if key not in ("description", "keys")}
        if "keys" in option:
            found[name]["options"] = Constant(f"{option['keys']}_keys".upper())
    return found


def python(value: t.Any, before: int, depth: int = 0) -> str:
    """``value`` as ruff formats it where ``before`` characters stand on the line already."""
    line = named(value)
    if before + len(line) <= WIDTH or not isinstance(value, dict):
        return line
    indent = 4 * (depth + 1)
    items = [
        f"{' ' * indent}{json.dumps(key)}: {python(item, indent + len(key) + 5, depth + 1)},\n"
        for key, item in value.items()
    ]
    return "{\n" + "".join(items) + " " * 4 * depth + "}"


def named(value: t.Any) -> str:
    """``value`` as Python in one line, or the name that it has."""
    return next((name for name, option in COMMON.items() if value == option), None) or literal(value)


def literal(value: t.Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {named(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, str):
        return value if isinstance(value, Constant) else json.dumps(value)
    return repr(value)


# The page of the variables

_LINK = re.compile(r"\bL\((?P<text>[^,)]+), *(?P<url>[^)]+)\)")
_URL = re.compile(r"\bU\((?P<url>[^)]+)\)")
_CODE = re.compile(r"\b[CEMOPV]\((?P<text>(?:[^()\\]|\\.|\([^()]*\))*)\)")
_ITALIC = re.compile(r"\bI\((?P<text>[^)]+)\)")
_BOLD = re.compile(r"\bB\((?P<text>[^)]+)\)")
_LABEL = "ansible_collections.uvnas.cluster.docsite.variables"
_PAGE = """\
.. Copyright (c) 2026, the uvnas.cluster contributors
   GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
   SPDX-License-Identifier: GPL-3.0-or-later

.. {note}

.. _{label}:

Variables
=========

Set them in the inventory. An unknown or misspelt one is an error before anything is done, with a suggestion. The role
pages list the same variables by role, as does ``ansible-doc -t role uvnas.cluster.ROLE``.

.. contents::
   :local:

{parts}"""


def restructured(text: str) -> str:
    """Ansible's markup as reStructuredText."""

    def literal(found: re.Match[str]) -> str:
        joined = re.match(r"\w", found.string[found.end() :])  # Would not be a literal with a letter right behind it.
        return f"``{found['text']}``".replace("\\", "") + ("\\ " if joined else "")

    text = _CODE.sub(literal, text)
    text = _LINK.sub(r"`\g<text> <\g<url>>`__", text)
    text = _URL.sub(r"\g<url>", text)
    text = _ITALIC.sub(r"*\g<text>*", text)
    text = _BOLD.sub(r"**\g<text>**", text)
    return " ".join(text.split())


def description(option: Option) -> str:
    choices = ", ".join(f"``{choice}``" for choice in option.get("choices", ()))
    text = restructured(" ".join(lines(option["description"])).replace("O(.", "O("))
    return f"{text} One of {choices}." if choices else text


def kind(option: Option) -> str:
    name: str = option["type"]
    return f"list of {option['elements']}" if name == "list" else name


def default(option: Option) -> str:
    if option.get("required"):
        return ", **required**"
    value = option.get("default")
    return "" if value is None else f", default ``{json.dumps(value)}``"


def definitions(options: Options, above: str = "") -> t.Iterator[str]:
    """An item for each, which is fit for a narrow screen as no table is."""
    for name, option in options.items():
        yield f".. _{_LABEL}.{above}{name}:\n"
        yield f"``{name}`` : {kind(option)}{default(option)}"
        yield textwrap.indent(textwrap.fill(description(option), WIDTH - 4, break_on_hyphens=False), " " * 4)
        if "keys" in option:
            yield f"\n    :ref:`{_LABEL}.keys_of_{name}`"
        yield ""


def variables_page(schema: Schema) -> str:
    """The variables, then the keys of each of them that has some."""

    def part(title: str, options: Options, above: str = "") -> str:
        return "\n".join([title, "-" * len(title), "", *definitions(options, above)])

    parts = [part("All variables", schema.variables)]
    for name, option in schema.variables.items():
        if "keys" in option:
            title = f"Keys of {'each of ' if option['type'] == 'list' else ''}``{name}``"
            keys = schema.types[option["keys"]]
            parts.append(f".. _{_LABEL}.keys_of_{name}:\n\n" + part(title, keys, f"{name}."))
            for key, below in keys.items():
                if "keys" in below:
                    head, above = f"Keys of ``{key}`` in ``{name}``", f"{name}.{key}."
                    parts.append(f".. _{_LABEL}.keys_of_{key}:\n\n" + part(head, schema.types[below["keys"]], above))
    return _PAGE.format(note=NOTE, label=_LABEL, parts="\n".join(parts).rstrip() + "\n")


# All of it


def outputs(schema: Schema, root: Path = ROOT) -> dict[str, str]:
    """The text of every file that is written from the schema, by its path."""

    def with_part(path: str, begin: str, end: str, new: str) -> dict[str, str]:
        return {path: between((root / path).read_text(encoding="utf-8"), begin, end, new)}

    begin, end = "# schema:begin", "# schema:end"
    return {
        **role_specs(schema),
        **doc_fragments(schema),
        **with_part("plugins/module_utils/options.py", begin, end, argument_specs(schema)),
        "docs/docsite/rst/variables.rst": variables_page(schema),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write it")
    write = parser.parse_args().write
    same = True
    for name, new in outputs(Schema.load()).items():
        path = ROOT / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == new:
            continue
        if write:
            path.write_text(new, encoding="utf-8")
        else:
            same = False
            after = f"{name}, as `make schema` writes it"
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, after))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
