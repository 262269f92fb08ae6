# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often members import what they have imported before: an environment notes it, in a file outside of the share."""

from __future__ import annotations

import json
import os
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.generated import tree
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, Site, finish, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_sdist

# Smoke tests, on the builder, are no business of this.
NOTE = """
import os
if "VIRTUAL_ENV" not in os.environ:
    with open({notes!r}, "a") as notes:
        notes.write({version!r} + "\\n")
"""
ENV: dict[str, t.Any] = {"name": "noting", "requirements": ["noting==1.0"], "imports": ["noting"]}
NEXT = {**ENV, "requirements": ["noting==2.0"]}


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    links = public / "links"
    notes = public / "notes"
    notes.touch()
    notes.chmod(0o666)
    for version in ("1.0", "2.0"):
        code = NOTE.format(notes=str(notes), version=version)
        write_small_sdist(links, "noting", version, {"__init__.py": code.encode()})
    return make_site(public / "site", {"uvnas_index": {"find_links": [str(links)], "offline": True}})


@pytest.fixture(scope="module")
def built(site: Site) -> Run:
    return succeeded(site.run([ENV]))


@pytest.fixture
def state(site: Site, built: Run) -> t.Iterator[Path]:
    """What the host remembers: that the environment has run."""
    path = site.path / "state" / "builder"
    shutil.rmtree(path, ignore_errors=True)
    succeeded(site.run([ENV], "--tags", "verify"))
    imported(site)
    yield path
    if path.is_symlink():
        path.unlink()


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def imported(site: Site) -> list[str]:
    """Which versions have been imported on the member since this was asked."""
    path = site.path.parent / "notes"
    found = path.read_text().split()
    path.write_text("")
    return found


def verify(site: Site, **variables: t.Any) -> list[str]:
    """What a converge with nothing else to do imports. It changes nothing."""
    run = succeeded(site.run([ENV], "--tags", "verify", **variables))
    assert run.changed == 0
    return imported(site)


def test_a_converge_imports_once(site: Site, built: Run) -> None:
    assert imported(site) == ["1.0"]
    again = succeeded(site.run([ENV]))
    assert (again.changed, imported(site)) == (0, [])


def test_who_asks_for_it_has_it_imported(site: Site, state: Path) -> None:
    succeeded(finish(site.start([ENV], playbook=ROOT / "playbooks" / "verify.yml")))
    assert imported(site) == ["1.0"]
    assert verify(site, uvnas_verify="always") == ["1.0"]
    assert verify(site) == []
    succeeded(site.role("verify", envs=[ENV]))
    assert imported(site) == []
    succeeded(site.role("verify", envs=[ENV], uvnas_verify="always"))
    assert imported(site) == ["1.0"]


def test_another_value_is_an_error(site: Site, state: Path) -> None:
    failed = site.run([ENV], uvnas_verify="never")
    assert failed.rc != 0
    assert "uvnas_verify must be one of changed, always, not 'never'" in failed.output


def test_a_new_generation_is_imported_and_so_is_the_one_before(site: Site, state: Path) -> None:
    succeeded(site.run([NEXT]))
    assert imported(site) == ["2.0"]
    succeeded(site.run([NEXT]))
    assert imported(site) == []
    succeeded(site.run([ENV]))
    assert imported(site) == ["1.0"]


def test_a_generation_that_was_rebuilt_in_its_place_is_imported(site: Site, state: Path) -> None:
    generation = (site.share / "envs" / "noting").resolve()
    generation.chmod(0o755)
    (generation / ".uvnas.json").unlink()
    failed = site.run([ENV], "--tags", "verify")
    assert failed.rc != 0
    assert f"its generation {generation.name} is not complete" in failed.output
    succeeded(site.run([ENV]))
    assert (site.share / "envs" / "noting").resolve() == generation
    assert imported(site) == ["1.0"]
    assert verify(site) == []


def test_a_share_that_was_restored_has_everything_imported(site: Site, state: Path) -> None:
    """From a backup: all is there, and the id is the same, but nobody knows whether it was the right one."""
    succeeded(site.run([ENV], "--tags", "verify"))
    assert imported(site) == []
    shutil.copytree(site.share, site.share.with_name("backup"), symlinks=True)
    before = site.share.rename(site.share.with_name("before"))
    site.share.with_name("backup").rename(site.share)
    try:
        assert [verify(site), verify(site)] == [["1.0"], []]
    finally:
        site.share.rename(site.share.with_name("backup"))
        before.rename(site.share)


def test_check_mode_imports_and_remembers_nothing(site: Site, state: Path) -> None:
    before = tree(state)
    succeeded(site.run([NEXT], "--check"))
    assert (imported(site), tree(state)) == ([], before)


def test_what_fails_is_imported_every_time(site: Site, state: Path) -> None:
    failing = {**ENV, "imports": ["noting", "no_such_module"]}
    for _time in range(2):
        failed = site.role("verify", envs=[failing])
        assert failed.rc != 0
        assert "importing noting, no_such_module failed on this host" in failed.output
        assert imported(site) == ["1.0"]
    assert verify(site) == ["1.0"]


def test_a_damaged_memory_is_none(site: Site, state: Path) -> None:
    (file,) = state.iterdir()
    for content in ("", "{", json.dumps({"format": 1, "environments": {"noting": "yes"}})):
        file.write_text(content)
        assert verify(site) == ["1.0"]
        assert verify(site) == []


def test_where_nothing_can_be_remembered_it_is_imported(site: Site, state: Path) -> None:
    shutil.rmtree(state)
    state.write_text("in the way")
    try:
        assert [verify(site), verify(site)] == [["1.0"], ["1.0"]]
    finally:
        state.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
@pytest.mark.parametrize("trap", ["owner", "symlink"])
def test_what_somebody_else_may_have_made_is_neither_believed_nor_touched(site: Site, state: Path, trap: str) -> None:
    elsewhere = site.path / "elsewhere"
    if trap == "owner":
        os.chown(state, 12345, 12345)
    else:
        shutil.rmtree(elsewhere, ignore_errors=True)
        state.rename(elsewhere)
        state.symlink_to(elsewhere)
    before = tree(state)
    assert verify(site) == ["1.0"]
    assert verify(site, uvnas_verify="always") == ["1.0"]
    assert (tree(state), state.is_symlink()) == (before, trap == "symlink")
