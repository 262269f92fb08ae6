# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation shows of inventories is accepted as it stands there."""

from __future__ import annotations

import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.tests.support import documents
from ansible_collections.uvnas.cluster.tests.unit import declarations

ROOT = Path(__file__).resolve().parents[2]
# What an example leaves out because the page is about something else.
SHARES = [{"name": name, "root": f"/mnt/{name.replace('_', '-')}/uv", "builder": "dev1"} for name in ("nas_a", "nas_b")]
PROJECT = """\
[project]
name = "{name}"
version = "1"
requires-python = ">=3.12"
[project.optional-dependencies]
gpu = []
[dependency-groups]
eval = []
"""
LOCK = """\
version = 1
revision = 3
requires-python = ">=3.12"
{packages}"""
PACKAGE = """\
[[package]]
name = "{name}"
version = "1"
source = {{ virtual = "{where}" }}
[package.optional-dependencies]
gpu = []
[package.dev-dependencies]
eval = []
[package.metadata]
provides-extras = ["gpu"]
[package.metadata.requires-dev]
eval = []
"""
MEMBERS = {"monorepo": ".", "api": "packages/api", "worker": "packages/worker"}
PYLOCK = """\
lock-version = "1.0"
created-by = "us"
extras = ["gpu"]
dependency-groups = ["test"]
packages = []
"""
FILES = {
    "files/legacy.in": "six",
    "files/legacy-constraints.txt": "six<2",
    "files/cpython-3.12.4-install_only.tar.gz": "",
    "files/uv-x86_64-unknown-linux-gnu.tar.gz": "",
    "files/pylock.toml": PYLOCK,
    "files/pylock.vendor.toml": PYLOCK,
    "projects/x/pyproject.toml": PROJECT.format(name="x"),
    "projects/x/uv.lock": LOCK.format(packages=PACKAGE.format(name="x", where=".")),
    "projects/monorepo/pyproject.toml": PROJECT.format(name="monorepo")
    + '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
    "projects/monorepo/packages/api/pyproject.toml": PROJECT.format(name="api"),
    "projects/monorepo/packages/worker/pyproject.toml": PROJECT.format(name="worker"),
    "projects/monorepo/uv.lock": LOCK.format(
        packages='[manifest]\nmembers = ["api", "monorepo", "worker"]\n'
        + "".join(PACKAGE.format(name=name, where=where) for name, where in MEMBERS.items())
    ),
}


def blocks() -> t.Iterator[t.Any]:
    for block in [*documents.blocks(), *documents.examples()]:
        if block.variables:
            yield pytest.param(block, id=f"{block.page}:{block.line}")


@pytest.fixture
def site(tmp_path: Path) -> declarations.Site:
    site = declarations.Site(tmp_path)
    for name, text in FILES.items():
        path = site.inventory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return site


# Those that examples name, as well as one of each kind.
HOSTS = ("dev1", "node001", "gpu1", "node-b1")


@pytest.mark.parametrize("block", [*blocks()])
def test_an_example_is_accepted(block: documents.Block, site: declarations.Site) -> None:
    site.write({"uvnas_shares": SHARES, "vault_index_password": "geheim/%"}, {name: {} for name in HOSTS})
    shown = block.text if isinstance(block.data, dict) else yaml.safe_dump(block.variables)
    (site.inventory / "group_vars" / "all" / "shown.yml").write_text(shown, encoding="utf-8")
    result, errors = site.run(["dev1", "node001"])
    assert errors == []
    assert "geheim" not in str(result)


INVENTORY = f"{documents.PAGES}/inventory.rst"
STARTED = f"{documents.PAGES}/getting-started.rst"
CLUSTER = "A devserver, a NAS and a cluster\n"


def test_the_large_inventory_is_accepted(site: declarations.Site) -> None:
    names = documents.write_inventory(site.inventory, INVENTORY)
    assert names == ["hosts.yml", "group_vars/all.yml", "group_vars/cluster_a.yml", "host_vars/dev1.yml"]
    hosts = ["dev1", *(f"node{number:03}" for number in range(1, 65))]
    result, errors = site.run(hosts, source="hosts.yml")
    assert errors == []
    assert [share["name"] for share in result["work"][result["hosts"]["dev1"]]["builds"]] == ["nas_a", "nas_b"]
    assert [share["name"] for share in result["work"][result["hosts"]["node064"]]["uses"]] == ["nas_a"]


@pytest.mark.parametrize(("page", "after"), [(documents.README, ""), (STARTED, CLUSTER)])
def test_the_inventories_to_begin_with_are_accepted(page: str, after: str, site: declarations.Site) -> None:
    assert documents.write_inventory(site.inventory, page, after) == ["hosts.yml", "group_vars/all.yml"]
    hosts = ["dev1", *(f"node{number:03}" for number in range(1, 65))]
    result, errors = site.run(hosts, source="hosts.yml")
    assert errors == []
    assert [share["name"] for share in result["work"][result["hosts"]["dev1"]]["builds"]] == ["nas_a"]
    assert [share["name"] for share in result["work"][result["hosts"]["node064"]]["uses"]] == ["nas_a"]


def test_every_role_has_an_example_that_uses_it() -> None:
    shown = {Path(block.page).parts[1]: block.data for block in documents.examples()}
    assert sorted(shown) == sorted(path.name for path in (ROOT / "roles").iterdir())
    for role, plays in shown.items():
        assert [item["role"] for play in plays for item in play["roles"]] == [f"uvnas.cluster.{role}"]


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in documents.pages()])
def test_commands_name_a_file_as_the_inventory(page: str) -> None:
    given = re.findall(r"ansible[a-z-]* [^`\n]*-i ([^\s`]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [source for source in given if not source.endswith((".yml", ","))] == []


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in documents.pages()])
def test_commands_are_read_by_a_shell_and_name_what_there_is(page: str) -> None:
    """Playbooks, targets of make, and variables that are given on the command line."""
    known = (ROOT / "meta" / "schema.yml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for block in documents.blocks_of(page, "console"):
        for command, _printed in block.commands:
            subprocess.run(["bash", "-n", "-c", command], check=True)
            for playbook in re.findall(r"(?:uvnas\.cluster\.|\bplaybooks/)(\w+)", command):
                assert (ROOT / "playbooks" / f"{playbook}.yml").exists(), command
            for name in re.findall(r"-e (uvnas_\w+)=", command):
                assert f"\n  {name}:\n" in known, command
            for target in re.findall(r"^make ([a-z-]+)", command):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), command


# The order of the pages


def toctrees() -> dict[str, list[str]]:
    """The pages of each section of the first page, by its caption."""
    text = (ROOT / "docs" / "docsite" / "index.rst").read_text(encoding="utf-8")
    found = re.findall(r"\.\. toctree::\n   :caption: (.+)\n(?:   :.*\n)*\n((?:   .+\n)+)", text)
    return {
        caption: [re.sub(r".*<(.*)>", r"\1", line.strip()) for line in lines.splitlines()] for caption, lines in found
    }


def test_the_readme_is_short_and_names_every_page() -> None:
    text = (ROOT / documents.README).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    linked = set(re.findall(r"\]\(([^):#]+)\)", text))
    assert [name for name in linked if not (ROOT / name).exists()] == []
    assert {str(page.relative_to(ROOT)) for page in (ROOT / documents.PAGES).glob("*.rst")} <= linked
    assert "\n$ make demo\n" in text
    assert "\n$ make test\n" in text


def test_no_page_is_left_out_and_the_order_is_one() -> None:
    sections = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text(encoding="utf-8"))["sections"]
    declared = {section["title"]: [f"docsite/{name}" for name in section["toctree"]] for section in sections}
    shown = toctrees()
    assert list(shown.items())[: len(declared)] == list(declared.items())
    pages = {f"docsite/{page.stem}" for page in (ROOT / documents.PAGES).glob("*.rst")}
    assert pages == {name for names in declared.values() for name in names}


def test_every_plugin_and_role_is_on_the_first_page_and_internals_come_last() -> None:
    shown = toctrees()
    plugins = [
        f"{path.stem}_{kind}"
        for kind, where in (("module", "modules"), ("filter", "filter"))
        for path in (ROOT / "plugins" / where).glob("*.py")
        if path.stem != "__init__"
    ]
    roles = [f"{path.name}_role" for path in (ROOT / "roles").iterdir()]
    assert list(shown)[-3:] == ["Roles", "Modules", "Internals"]
    assert sorted(shown["Roles"]) == sorted(roles)
    assert sorted(shown["Modules"] + shown["Internals"]) == sorted(plugins)
