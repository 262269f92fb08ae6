# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A member that has verified an environment misses nothing that happened a moment ago, whatever its client caches."""

from __future__ import annotations

import json
import re
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import Client, NfsSite, sh
from ansible_collections.uvnas.cluster.tests.support.sites import Run

OLD: dict[str, t.Any] = {
    "name": "fresh", "requirements": ["six==1.16.0"], "imports": ["six"], "compile_bytecode": False
}  # fmt: skip
NEW = {**OLD, "requirements": ["six==1.17.0"]}
TRIED = re.compile(r"^(?:ok|failed): \[c2\].*? => (\{.*\})$", re.MULTILINE)


@pytest.fixture
def member(clients: dict[str, Client], converged: Run) -> t.Iterator[Client]:
    """c2, which believes for ten minutes whatever it need not ask for."""
    clients["c2"].mount("vers=4.2,actimeo=600")
    yield clients["c2"]
    clients["c2"].mount()


def tried(site: NfsSite, env: dict[str, t.Any]) -> list[str]:
    """What c2 tries in a run. It runs."""
    run = site.role("verify", envs=[env])
    assert run.rc == 0, run.output
    (answer,) = (json.loads(text) for text in TRIED.findall(run.output) if '"tried"' in text)
    found: list[str] = answer["tried"]
    return found


def rebuilt(generation: Path) -> None:
    aside = generation.with_name("aside")
    generation.rename(aside)
    sh("cp", "--archive", aside, generation)
    shutil.rmtree(aside)


def replaced(generation: Path) -> None:
    manifest = generation / ".uvnas.json"
    sh("cp", "--archive", manifest, generation / "new")
    (generation / "new").rename(manifest)


def opened_and_closed(generation: Path) -> None:
    sh("chmod", "-R", "u+w", generation)
    sh("chmod", "-R", "u-w", generation)


def moved_away_with_all_of_them(generation: Path) -> None:
    """Where the generations of an environment were, there are others of the same name."""
    every = generation.parent
    every.rename(every.with_name("aside"))
    sh("cp", "--archive", every.with_name("aside"), every)
    shutil.rmtree(every.with_name("aside"))


def test_what_was_changed_a_moment_ago_is_seen(site: NfsSite, member: Client) -> None:
    """All of it on the server, so that no client knows."""
    assert site.envs([OLD]).rc == 0
    assert [tried(site, OLD), tried(site, OLD)] == [["fresh"], []]
    generation = (site.exported / "envs" / "fresh").resolve()
    for change in (rebuilt, replaced, opened_and_closed, moved_away_with_all_of_them):
        change(generation)
        assert tried(site, OLD) == ["fresh"], change
        assert tried(site, OLD) == [], change
    assert site.envs([NEW]).rc == 0
    assert [tried(site, NEW), tried(site, NEW)] == [["fresh"], []]
    assert site.envs([OLD]).rc == 0
    assert [tried(site, OLD), tried(site, OLD)] == [["fresh"], []]
    (generation / ".uvnas.json").rename(generation / "aside")
    assert "is not complete" in site.role("verify", envs=[OLD]).output
    (generation / "aside").rename(generation / ".uvnas.json")
    link = site.exported / "envs" / "fresh"
    link.rename(link.with_name(".aside"))
    assert "environment fresh is not published" in site.role("verify", envs=[OLD]).output
    link.with_name(".aside").rename(link)
    assert [tried(site, OLD), tried(site, OLD)] == [["fresh"], []]
