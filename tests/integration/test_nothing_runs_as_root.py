# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml by root, with an environment whose packages say who runs them. Needs root."""

from __future__ import annotations

import os
import pwd
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host.users import nobody
from ansible_collections.uvnas.cluster.tests.support.pythons import owner
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, finish, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_sdist

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root cannot be kept out where there is no root")

# An owner whom this machine does not know.
OWNER, GROUP = 54321, 54322
SPY = """
import os
with open({said!r}, "a") as said:
    said.write(f"{{os.geteuid()}}\\n")
"""
HOSTILE: dict[str, t.Any] = {"name": "hostile", "requirements": ["hostile"], "imports": ["hostile"]}


def make(path: Path, **share: t.Any) -> Site:
    """A site, and an index with a package that says who imports it, in a file that everybody writes to."""
    said, links = path.with_name(f"{path.name}-said"), path.with_name(f"{path.name}-links")
    said.touch()
    said.chmod(0o666)
    write_small_sdist(links, "hostile", "1.0", {"__init__.py": SPY.format(said=str(said)).encode()})
    variables = {
        "uvnas_shares": [{"name": "nas_a", "root": f"{path}/nas/uv", "builder": "builder", **share}],
        "uvnas_index": {"find_links": [str(links)], "offline": True},
    }
    return make_site(path, variables)


def said(site: Site) -> set[int]:
    """As whom it was imported, since this was asked."""
    path = site.path.with_name(f"{site.path.name}-said")
    found = {int(line) for line in path.read_text().split()}
    path.write_text("")
    return found


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def verify(site: Site) -> Run:
    return succeeded(finish(site.start([HOSTILE], play="uvnas.cluster.verify", uvnas_verify="always")))


def warnings(run: Run) -> list[str]:
    """What is said of undeclared owners."""
    return re.findall(r"no owner is declared[^.]*\.", re.sub(r"\s+", " ", run.output))


@pytest.fixture(scope="module")
def roots(public: Path) -> Site:
    """A site that root made without an owner."""
    return make(public / "roots")


@pytest.fixture(scope="module")
def laid_out(roots: Site) -> Run:
    return succeeded(roots.run([HOSTILE]))


def test_environments_of_a_declared_owner_start_as_the_owner_everywhere(public: Path) -> None:
    site = make(public / "owned", owner=owner(), mode="0750")
    assert warnings(succeeded(site.run([HOSTILE]))) == []
    assert said(site) == {pwd.getpwnam(owner()).pw_uid}
    verify(site)
    assert said(site) == {pwd.getpwnam(owner()).pw_uid}


def test_without_an_owner_it_is_said_once_that_root_builds(roots: Site, laid_out: Run) -> None:
    assert len(warnings(laid_out)) == 1
    assert "so it is root's; uv runs as root" in warnings(laid_out)[0]
    assert said(roots) == {0, nobody().uid}  # Smoke tests, as was said, and verification.
    verify(roots)
    assert said(roots) == {nobody().uid}


def test_a_share_that_was_given_away_is_worked_on_as_whom_it_belongs_to(roots: Site, laid_out: Run) -> None:
    for path in (roots.share, *roots.share.rglob("*")):
        os.chown(path, OWNER, GROUP, follow_symlinks=False)
    said(roots)
    more = {**HOSTILE, "name": "more", "checks": ["python -c 'import hostile'"]}
    run = succeeded(roots.run([HOSTILE, more]))
    assert said(roots) == {OWNER}
    assert {path.lstat().st_uid for path in (roots.share, *roots.share.rglob("*"))} == {OWNER}
    assert [warning for warning in warnings(run) if "root" in warning] == []
    assert len(warnings(run)) == 1
    again = succeeded(roots.run([HOSTILE, more], uvnas_verify="always"))
    assert again.changed == 0
    assert said(roots) == {OWNER}
