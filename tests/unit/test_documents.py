# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation shows of inventories is accepted as it stands there."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
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
    for block in documents.blocks():
        if isinstance(block.data, dict) and any(key.startswith("uvnas_") for key in block.data):
            yield pytest.param(block, id=f"{block.page}:{block.line}")


@pytest.fixture
def site(tmp_path: Path) -> declarations.Site:
    site = declarations.Site(tmp_path)
    for name, text in FILES.items():
        path = site.inventory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return site


@pytest.mark.parametrize("block", [*blocks()])
def test_an_example_is_accepted(block: documents.Block, site: declarations.Site) -> None:
    site.write({"uvnas_shares": SHARES, "vault_index_password": "geheim/%"}, {"dev1": {}, "node001": {}})
    (site.inventory / "group_vars" / "all" / "shown.yml").write_text(block.text, encoding="utf-8")
    result, errors = site.run(["dev1", "node001"])
    assert errors == []
    assert "geheim" not in str(result)


def test_the_inventory_of_the_readme_is_accepted(site: declarations.Site) -> None:
    names = documents.write_inventory(site.inventory)
    assert names == ["hosts.yml", "group_vars/all.yml", "group_vars/cluster_a.yml", "host_vars/dev1.yml"]
    hosts = ["dev1", *(f"node{number:03}" for number in range(1, 65))]
    result, errors = site.run(hosts, source="hosts.yml")
    assert errors == []
    assert [share["name"] for share in result["work"][result["hosts"]["dev1"]]["builds"]] == ["nas_a", "nas_b"]
    assert [share["name"] for share in result["work"][result["hosts"]["node064"]]["uses"]] == ["nas_a"]


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in documents.pages()])
def test_commands_name_a_file_as_the_inventory(page: str) -> None:
    given = re.findall(r"ansible[a-z-]* [^`\n]*-i ([^\s`]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [source for source in given if not source.endswith((".yml", ","))] == []
