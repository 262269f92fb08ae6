# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of rooms in module_utils: imports run downwards only, and never in a circle."""

from __future__ import annotations

import ast
import graphlib
import re
import typing as t
from pathlib import Path

import pytest

UTILS = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
PACKAGE = "ansible_collections.uvnas.cluster.plugins.module_utils"

# The floor of each room. Rooms on one floor do not know each other.
FLOORS = {
    "errors": 0,
    "options": 0,
    "host": 1,
    "share": 2,
    "uv": 3,
    "profile": 3,
    "bytecode": 4,
    "python": 5,
    "env": 6,
    "ahead": 7,
    "adapter": 7,
}
# Inside env: two files that belong to all of it, then locks, then generations; what is beside them may use them all,
# and a prune and a repair that.
ENV_FLOORS = {
    "env/spec": 0,
    "env/imports": 0,
    "env/plan": 1,
    "env/lock": 2,
    "env/generation": 3,
    "env/prune": 5,
    "env/repair": 5,
}
ENV_TOP = 4
# What only generations need to know of locks.
ENV_LOCK_FILE = "env/lock/file"

# Who has become the owner of a share may not be allowed to read the Python it runs from. So modules are loaded before,
# but for these, of which somebody has seen that they are: file, module.
LATE_IMPORTS = {("host/secrets", "urllib.parse"), ("uv/wheel", "csv")}

FILES = sorted(path for path in UTILS.rglob("*.py") if path.name != "__init__.py")


def name_of(path: Path, utils: Path = UTILS) -> str:
    """A file as rooms name it: ``host/files``."""
    return path.relative_to(utils).with_suffix("").as_posix()


def imports_of(path: Path, utils: Path = UTILS) -> set[str]:
    """The files of module_utils that a file imports, wherever in it. From a package its files are imported."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            if node.level:
                here = path.parents[node.level - 1].relative_to(utils.parent).parts[1:]
                package = ".".join([PACKAGE, *here, *([node.module] if node.module else [])])
            modules = [(package, alias.name) for alias in node.names]
        else:
            continue
        for package, name in modules:
            if package == PACKAGE or package.startswith(f"{PACKAGE}."):
                found.add(_file_of(package.removeprefix(PACKAGE).replace(".", "/").strip("/"), name, utils))
    return found


def _file_of(package: str, name: str, utils: Path) -> str:
    """The file that has ``name``: one of the package, or what the package is called itself."""
    inside = f"{package}/{name}".strip("/")
    for candidate in (inside, package):
        if (utils / candidate).with_suffix(".py").is_file():
            return candidate
    raise AssertionError(f"there is no {inside} in module_utils")


def objection(importer: str, imported: str) -> str:
    """What is wrong about an import; nothing where it runs downwards, or stays in its package."""
    room, other = importer.partition("/")[0], imported.partition("/")[0]
    if room != other:
        allowed = FLOORS[room] > FLOORS[other] and room not in ("errors", "options")
        return "" if allowed else f"{importer} imports {imported}"
    if room != "env":
        return ""
    package, below = _env_package(importer), _env_package(imported)
    if package == below:
        return ""
    if ENV_FLOORS.get(package, ENV_TOP) <= ENV_FLOORS.get(below, ENV_TOP):
        return f"{importer} imports {imported}"
    if package == "env/generation" and below == "env/lock" and imported != ENV_LOCK_FILE:
        return f"{importer} imports {imported}, not {ENV_LOCK_FILE}"
    return ""


def _env_package(name: str) -> str:
    """What in env a file belongs to: a package in there, a file below them, or the top (env)."""
    package = "/".join(name.split("/")[:2])
    return package if package in ENV_FLOORS else "env"


def circle(imports: t.Mapping[str, t.Iterable[str]]) -> list[str]:
    """Files that import each other in a circle; none where there is none."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_downwards(path: Path) -> None:
    objections = [objection(name_of(path), imported) for imported in sorted(imports_of(path))]
    assert list(filter(None, objections)) == []


def test_no_imports_run_in_a_circle() -> None:
    assert circle({name_of(path): imports_of(path) for path in FILES}) == []


def test_every_room_has_its_floor() -> None:
    assert {name_of(path).partition("/")[0] for path in FILES} <= set(FLOORS)
    assert {path.name for path in (UTILS / "env").iterdir() if path.is_dir() and path.name != "__pycache__"} == {
        name.partition("/")[2] for name in ENV_FLOORS if (UTILS / name).is_dir()
    }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_codec_is_loaded_later(path: Path) -> None:
    """Python has UTF-8 from its start. By the time of another, the owner may be unable to read Python's library."""
    found = re.findall(r"""(?:encoding=|\.(?:en|de)code\()["']([^"']+)""", path.read_text())
    assert [codec for codec in found if codec != "utf-8"] == []


def test_packages_are_empty_themselves() -> None:
    """What a package did on import, everything in it would have done."""
    assert [path for path in UTILS.rglob("__init__.py") if path.read_bytes()] == []


# The tests themselves


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("host/files", "errors"),
        ("host/files", "host/process"),
        ("share/spec", "host/files"),
        ("uv/install", "share/store"),
        ("profile/files", "share/spec"),
        ("python/plan", "uv/command"),
        ("env/spec", "host/secrets"),
        ("env/lock/plan", "env/spec"),
        ("env/lock/plan", "env/lock/file"),
        ("env/generation/build", "env/lock/file"),
        ("env/generation/build", "env/plan"),
        ("env/generation/build", "env/generation/size"),
        ("env/generation/build", "python/record"),
        ("env/converge", "env/generation/build"),
        ("env/state", "env/lock/plan"),
        ("env/converge", "env/state"),
        ("env/plan", "env/spec"),
        ("adapter", "host/workers"),
    ],
)
def test_what_may_be(importer: str, imported: str) -> None:
    assert not objection(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("errors", "options"),
        ("options", "errors"),
        ("options", "env/spec"),
        ("host/files", "share/layout"),
        ("share/spec", "uv/target"),
        ("uv/command", "profile/files"),
        ("profile/files", "uv/command"),
        ("uv/command", "python/record"),
        ("python/plan", "env/spec"),
        ("env/converge", "adapter"),
        ("host/process", "adapter"),
        ("env/spec", "env/lock/file"),
        ("env/plan", "env/state"),
        ("env/spec", "env/plan"),
        ("env/lock/plan", "env/generation/build"),
        ("env/lock/plan", "env/state"),
        ("env/generation/build", "env/converge"),
        ("env/generation/build", "env/lock/plan"),
    ],
)
def test_what_may_not_be(importer: str, imported: str) -> None:
    assert objection(importer, imported).startswith(f"{importer} imports {imported}")


@pytest.mark.parametrize(
    ("code", "imported"),
    [
        ("from ..errors import UvnasError", {"errors"}),
        ("from . import process, files as other", {"host/process", "host/files"}),
        ("from .process import Runner", {"host/process"}),
        ("from .. import errors", {"errors"}),
        ("from ..share import layout", {"share/layout"}),
        (f"import {PACKAGE}.share.layout as it", {"share/layout"}),
        (f"from {PACKAGE}.share.layout import Layout", {"share/layout"}),
        (f"from {PACKAGE}.share import layout", {"share/layout"}),
        (f"from {PACKAGE} import errors", {"errors"}),
        ("def work():\n    if True:\n        from ..share.layout import Layout", {"share/layout"}),
        ("import os\nfrom os import path\nfrom ansible.module_utils.basic import AnsibleModule", set()),
    ],
)
def test_imports_are_found_however_they_are_written(tmp_path: Path, code: str, imported: set[str]) -> None:
    utils = tmp_path / "module_utils"
    for name in ("errors", "host/process", "host/files", "share/layout"):
        path = (utils / name).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (utils / "host" / "it.py").write_text(code)
    assert imports_of(utils / "host" / "it.py", utils) == imported


def test_circles_are_found() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"a", "c"}}
    assert circle(imports) == []
    assert set(circle({**imports, "c": {"a"}})) == {"a", "b", "c"}


def test_nothing_else_is_imported_late() -> None:
    found = set()
    for path in FILES:
        functions = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
        ]
        for node in [inner for function in functions for inner in ast.walk(function)]:
            if isinstance(node, ast.Import):
                found |= {(name_of(path), alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((name_of(path), node.module or ""))
    assert found == LATE_IMPORTS
