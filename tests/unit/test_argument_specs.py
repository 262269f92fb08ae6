# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What meta/schema.yml says of variables and their keys is what roles and code take them to be."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.python.spec import SitePython
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
SCHEMA = yaml.safe_load((ROOT / "meta" / "schema.yml").read_text(encoding="utf-8"))

# A variable of the collection, as it stands in an expression; internal ones begin with two underscores.
VARIABLE = re.compile(r"(?<![\w./-])uvnas_\w+")

Options = dict[str, dict[str, t.Any]]


def load(path: Path) -> t.Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def options_of(role: str) -> Options:
    return {name: option for name, option in SCHEMA["variables"].items() if role in option["roles"]}


def defaults_of(role: str) -> dict[str, t.Any]:
    return load(ROOT / "roles" / role / "defaults" / "main.yml") or {}


def groups() -> t.Iterator[tuple[str, Options]]:
    """All options and keys that the schema has, by what has them."""
    yield "variables", SCHEMA["variables"]
    yield from SCHEMA["types"].items()
    for name, fragment in SCHEMA["fragments"].items():
        yield name, fragment["options"]


def is_template(value: t.Any) -> bool:
    return "{{" in str(value)


@pytest.mark.parametrize(("group", "options"), [*groups()])
def test_every_option_is_described_and_typed(group: str, options: Options) -> None:
    assert [name for name, option in options.items() if not (option.get("description") and option.get("type"))] == []


@pytest.mark.parametrize(("group", "options"), [*groups()])
def test_a_required_option_has_no_default(group: str, options: Options) -> None:
    assert [name for name, option in options.items() if option.get("required") and "default" in option] == []


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("environment", EnvironmentSpec, {"glibc"}),  # It comes from the shares.
        ("index", Index, set()),
        ("site_python", SitePython, set()),
    ],
)
def test_the_fields_of_the_code_are_the_keys(name: str, kind: type[t.Any], more: set[str]) -> None:
    keys = SCHEMA["types"][name]
    fields = {field.name: field.default for field in dataclasses.fields(kind) if field.name not in more}
    assert list(fields) == list(keys)
    for key, option in keys.items():
        if "default" in option:
            default = option["default"]
            assert fields[key] == (tuple(default) if isinstance(default, list) else default), key
        else:
            # What is required has no default; what is not may have one that says that it was not given.
            assert fields[key] in ([dataclasses.MISSING] if option.get("required") else [None, ""]), key


def test_every_role_is_in_the_schema() -> None:
    assert sorted(SCHEMA["roles"]) == ROLES
    assert {role for option in SCHEMA["variables"].values() for role in option["roles"]} == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_schema_agree(role: str) -> None:
    """A plain default stands in both. One that is a template stands in defaults/main.yml; the schema explains it."""
    assert set(defaults_of(role)) <= {name for name, option in options_of(role).items() if not option.get("required")}
    wanted = {name: value for name, value in defaults_of(role).items() if value is not None and not is_template(value)}
    assert {name: option["default"] for name, option in options_of(role).items() if "default" in option} == wanted


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_in_use_is_in_the_schema(role: str) -> None:
    files = [path for part in ("defaults", "tasks", "vars") for path in (ROOT / "roles" / role / part).rglob("*.yml")]
    used = {name for path in files for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    assert used <= set(options_of(role))


@pytest.mark.parametrize("role", ROLES)
def test_variables_have_the_prefix_of_the_collection(role: str) -> None:
    """So that one inventory can hold the variables of all roles. Two underscores mark what is not for users."""
    assert not [name for name in defaults_of(role) if not name.startswith("uvnas_")]
    assert not [
        name for name in load(ROOT / "roles" / role / "vars" / "main.yml") or {} if not name.startswith("__uvnas_")
    ]


def test_roles_agree_on_defaults_that_are_templates() -> None:
    """The same inventory serves all roles."""
    seen: dict[str, t.Any] = {}
    for role in ROLES:
        for name, value in defaults_of(role).items():
            if is_template(value):
                assert seen.setdefault(name, value) == value, f"{name} in role {role} is not what it is in other roles"
