# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two shares of one builder on two filesystems: the same environments on both, without a second download.

Each share is a tmpfs, so these tests are run as root.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION, owner
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, make_site

SERIES = VERSION.rpartition(".")[0]
TOOLS: dict[str, t.Any] = {"name": "tools", "requirements": ["six==1.15.0", "markupsafe"], "imports": ["markupsafe"]}
LATER: dict[str, t.Any] = {"name": "later", "requirements": ["attrs", "charset-normalizer"]}
# No index can be reached: whatever is not here already is missing.
CUT_OFF = {"uvnas_uv_variables": {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}}


@dataclasses.dataclass(frozen=True)
class Pair:
    """A site with the shares nas_a and nas_b."""

    site: Site
    shares: dict[str, Path]
    # How that from nothing went.
    first: Run

    def manifest(self, share: str, env: str) -> dict[str, t.Any]:
        data: dict[str, t.Any] = json.loads((self.shares[share] / "envs" / env / ".uvnas.json").read_text())
        return data

    def packages(self, share: str, env: str) -> Path:
        return self.shares[share] / "envs" / env / "lib" / f"python{SERIES}" / "site-packages"

    def lock(self, share: str, env: str) -> str:
        return (self.shares[share] / "locks" / f"{env}.txt").read_text()


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


@pytest.fixture(scope="module")
def pair(public: Path) -> t.Iterator[Pair]:
    path = public / "site"
    shares = {name: path / name / "uv" for name in ("nas_a", "nas_b")}
    # As people write paths. What one share has is found for the other nevertheless.
    common = {"builder": "builder", "owner": owner()}
    declared = [
        {"name": name, "root": f"{root.parent}//./uv/", "mount": f"{root.parent}/", **common}
        for name, root in shares.items()
    ]
    site = make_site(path, {"uvnas_shares": declared, "uvnas_python_compile_bytecode": True})
    mounted = []
    try:
        for root in shares.values():
            root.parent.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=0755", "tmpfs", root.parent], check=True)
            mounted.append(root.parent)
        yield Pair(site, shares, succeeded(site.run([TOOLS])))
    finally:
        for mount in mounted:
            subprocess.run(["umount", mount], check=True)


def test_an_environment_on_two_shares_is_the_same(pair: Pair) -> None:
    assert pair.lock("nas_a", "tools") == pair.lock("nas_b", "tools")
    ids = {pair.manifest(share, "tools")["id"] for share in pair.shares}
    assert len(ids) == 1
    records = [
        {path.parent.name: path.read_text() for path in pair.packages(share, "tools").glob("*.dist-info/RECORD")}
        for share in pair.shares
    ]
    assert records[0] == records[1]
    assert len(records[0]) == 2


def test_it_is_linked_within_its_share(pair: Pair) -> None:
    for share, root in pair.shares.items():
        installed = (pair.packages(share, "tools") / "six.py").stat()
        assert installed.st_nlink > 1
        cached = [path.stat() for path in (root / "cache").glob("archive-v*/*/six.py")]
        assert (installed.st_dev, installed.st_ino) in [(one.st_dev, one.st_ino) for one in cached]


def test_what_is_compiled_on_one_is_copied_to_the_other(pair: Pair) -> None:
    """But for what says where the interpreter is."""
    said = re.findall(r"^(nas_.): .*: compiling, ([0-9]+) module", pair.first.output, re.MULTILINE)
    compiled = {share: [int(number) for name, number in said if name == share] for share in pair.shares}
    assert len(compiled["nas_a"]) == 2  # The standard library, and then packages.
    assert min(compiled["nas_a"]) > 1
    assert sum(compiled["nas_b"]) < 5
    for share, root in pair.shares.items():
        stored = {path.stat().st_ino for path in (root / "bytecode").glob("*/*/*.pyc")}
        for tree in (root / "python", pair.packages(share, "tools")):
            linked = {path.stat().st_ino for path in tree.rglob("*.pyc")}
            assert linked
            assert linked <= stored


def test_a_second_run_changes_nothing(pair: Pair) -> None:
    assert succeeded(pair.site.run([TOOLS])).changed == 0


def test_an_upgrade_is_foretold_and_is_the_same_on_both(pair: Pair) -> None:
    loose = {**TOOLS, "requirements": ["six", "markupsafe"]}
    succeeded(pair.site.envs([loose]))
    assert pair.manifest("nas_b", "tools")["packages"]["six"] == "1.15.0"
    options = {"uvnas_upgrade_packages": ["six"]}
    foretold = succeeded(pair.site.envs([loose], "--check", "--diff", **options))
    done = succeeded(pair.site.envs([loose], "--diff", **options))
    assert foretold.diff == done.diff
    assert len([line for line in done.diff if "six 1.15.0 -> " in line]) == 4  # Lock and environment, on two shares.
    assert pair.lock("nas_a", "tools") == pair.lock("nas_b", "tools")
    assert succeeded(pair.site.envs([loose])).changed == 0


def test_what_one_nas_has_is_not_downloaded_for_the_next(pair: Pair) -> None:
    """Nothing but the cache of nas_a can have it, and nas_b links it from its own."""
    succeeded(pair.site.envs([{**LATER, "shares": ["nas_a"]}]))
    assert not os.path.lexists(pair.shares["nas_b"] / "envs" / "later")
    succeeded(pair.site.envs([LATER], **CUT_OFF))
    assert pair.manifest("nas_a", "later")["id"] == pair.manifest("nas_b", "later")["id"]
    installed = pair.packages("nas_b", "later") / "attr" / "__init__.py"
    assert installed.stat().st_nlink > 1
    assert installed.stat().st_dev != (pair.packages("nas_a", "later") / "attr" / "__init__.py").stat().st_dev


def test_without_the_other_nas_it_would_have_to_be(pair: Pair) -> None:
    failed = pair.site.envs([{**LATER, "name": "alone", "requirements": ["tomli"], "shares": ["nas_b"]}], **CUT_OFF)
    assert failed.rc != 0
    assert "its requirements cannot be resolved" in failed.output
