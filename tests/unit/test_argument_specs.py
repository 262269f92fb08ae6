# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role says of its variables, in meta/argument_specs.yml, is what its defaults, its tasks and README say."""

from __future__ import annotations

import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())

# A variable of the collection, as it stands in an expression; internal ones begin with two underscores.
VARIABLE = re.compile(r"(?<![\w./-])uvnas_\w+")


def load(path: Path) -> t.Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def options_of(role: str) -> dict[str, dict[str, t.Any]]:
    """The options of all entry points of the role."""
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for entry in specs.values() for name, option in entry.get("options", {}).items()}


def defaults_of(role: str) -> dict[str, t.Any]:
    return load(ROOT / "roles" / role / "defaults" / "main.yml") or {}


def walk(options: dict[str, dict[str, t.Any]], prefix: str = "") -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """Every option with its path, nested ones too."""
    for name, option in options.items():
        yield f"{prefix}{name}", option
        yield from walk(option.get("options", {}), f"{prefix}{name}.")


def shape(option: dict[str, t.Any]) -> dict[str, t.Any]:
    """All of an option but its prose."""
    kept = {key: value for key, value in option.items() if key not in ("description", "options")}
    return {**kept, "options": {name: shape(nested) for name, nested in option.get("options", {}).items()}}


def is_template(value: t.Any) -> bool:
    return "{{" in str(value)


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_in_the_spec(role: str) -> None:
    assert set(defaults_of(role)) <= set(options_of(role))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_spec_agree(role: str) -> None:
    """A plain default stands in both. One that is a template stands in defaults/main.yml; the spec explains it."""
    wanted = {name: value for name, value in defaults_of(role).items() if value is not None and not is_template(value)}
    assert {name: option["default"] for name, option in options_of(role).items() if "default" in option} == wanted


@pytest.mark.parametrize("role", ROLES)
def test_a_required_option_has_no_default(role: str) -> None:
    required = {name for name, option in options_of(role).items() if option.get("required")}
    assert not required & set(defaults_of(role))
    assert not [path for path, option in walk(options_of(role)) if option.get("required") and "default" in option]


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_described_and_typed(role: str) -> None:
    assert [
        path for path, option in walk(options_of(role)) if not (option.get("description") and option.get("type"))
    ] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_in_use_is_in_the_spec(role: str) -> None:
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


def test_roles_agree_on_the_variables_they_share() -> None:
    """The same inventory serves all roles, and each rejects what it does not know."""
    seen: dict[str, tuple[str, t.Any]] = {}
    for role in ROLES:
        defaults = defaults_of(role)
        for name, option in options_of(role).items():
            first, wanted = seen.setdefault(name, (role, (shape(option), defaults.get(name))))
            assert (shape(option), defaults.get(name)) == wanted, (
                f"{name} in role {role} is not what it is in role {first}"
            )


def test_readme_has_the_variables_as_the_roles_have_them() -> None:
    tool = ROOT / "tests" / "tools" / "schema.py"
    done = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`make readme` would change:\n{done.stdout}{done.stderr}"
