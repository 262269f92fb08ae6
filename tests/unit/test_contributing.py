# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What contributors and forges read names what is there: files, rooms, targets of make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.tests.unit.test_rooms import ENV_FLOORS, FLOORS

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
ARCHITECTURE = "docs/docsite/rst/architecture.rst"
PAGES = ["CONTRIBUTING.md", ARCHITECTURE, "SECURITY.md", ".github/PULL_REQUEST_TEMPLATE.md"]
TOP = ("changelogs", "docs", "meta", "molecule", "playbooks", "plugins", "requirements", "roles", "tests")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(rf"(?<![\w/.…])((?:{'|'.join(TOP)})/[\w./-]*\w/?)", read(page)))
    named |= {link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", read(page)) if "://" not in link}
    if page == ARCHITECTURE:  # It names files of module_utils from there.
        rooms = "|".join(path.name for path in (ROOT / "plugins" / "module_utils").iterdir() if path.is_dir())
        utils = set(re.findall(rf"``((?:{rooms})/\w+(?:/\w+)*(?:\.py)?)``", read(page)))
        assert len(utils) > 5
        named |= {f"plugins/module_utils/{name}" for name in utils}
    assert [name for name in sorted(named) if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()] == []


@pytest.mark.parametrize("page", [*PAGES, ".ci/run", ".github/workflows/ci.yml", ".pre-commit-config.yaml"])
def test_targets_that_a_page_names_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    said = re.findall(r"(?:`|\$ |run: |^)make ((?:[a-z-]+ ?)+)", read(page), re.MULTILINE)
    assert {name for names in said for name in names.split()} <= targets


def test_architecture_names_every_room() -> None:
    page = read(ARCHITECTURE)
    plugins = {f"plugins/{path.name}" for path in (ROOT / "plugins").iterdir() if path.is_dir()}
    others = {"playbooks", "roles", "tests", "molecule"}
    tests = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and [*path.rglob("*.py")]}
    rooms = {*FLOORS, *ENV_FLOORS, *plugins, *others, *tests, *(path.name for path in (ROOT / "roles").iterdir())}
    assert {room for room in rooms if f"``{room}``" not in page and not room.startswith(("__", "plugins/__"))} == set()


def test_what_quick_leaves_out_is_there() -> None:
    left_out = (
        MAKEFILE.partition("\nSLOW  :=")[2].partition("\n#")[0].replace("$(UTILS)", "tests/unit/plugins/module_utils")
    )
    names = left_out.replace("\\", "").split()
    assert len(names) > 5
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_ci_of_the_forge_is_ours() -> None:
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert ".ci/run" in commands
    assert read(".ci/run").rstrip().endswith("make test")


def test_hooks_before_a_commit_fetch_nothing() -> None:
    config = yaml.safe_load(read(".pre-commit-config.yaml"))
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert {hook["language"] for repo in config["repos"] for hook in repo["hooks"]} == {"system"}


def test_forms_of_issues_are_forms() -> None:
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert forms
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(form)
        ids = [item["id"] for item in form["body"]]
        assert len(ids) == len(set(ids))


def test_every_role_has_a_readme() -> None:
    """Galaxy refuses a role without one."""
    for role in (ROOT / "roles").iterdir():
        assert (role / "README.md").read_text(encoding="utf-8").startswith(f"# uvnas.cluster.{role.name}\n")


def test_files_of_the_execution_environment_exist() -> None:
    wanted = yaml.safe_load(read("meta/execution-environment.yml"))["dependencies"]
    assert set(wanted) == {"python", "system"}
    assert [name for name in wanted.values() if not (ROOT / name).is_file()] == []
