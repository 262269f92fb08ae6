# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two inventories that do not agree on an environment, converged at the same time, again and again."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import parse
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION
from ansible_collections.uvnas.cluster.tests.support.sites import Site, finish, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel

# A limit, so that nothing waits for ever, and not a measure.
LIMIT = 600.0


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A site that has everything but environments. Packages come from a directory."""
    links = public / "links"
    for version in ("1.0", "2.0"):
        write_small_wheel(links, "alpha", version)
    series = VERSION.rpartition(".")[0]
    index = {"find_links": [str(links)], "offline": True}
    found = make_site(public / "site", {"uvnas_index": index, "uvnas_pythons": [series]})
    done = found.run([])
    assert done.rc == 0, done.output
    return found


def declared(version: str) -> list[dict[str, t.Any]]:
    # What they agree on is there whoever comes last.
    return [{"name": "train", "requirements": [f"alpha=={version}"]}, {"name": "same", "requirements": ["alpha"]}]


def test_the_last_one_wins_and_nobody_fails(site: Site) -> None:
    started = [site.start(declared(f"{number % 2 + 1}.0"), play="uvnas.cluster.envs") for number in range(8)]
    runs = [finish(process, LIMIT) for process in started]
    assert [run.rc for run in runs] == [0] * 8, "\n".join(run.output for run in runs if run.rc)
    manifest = json.loads((site.share / "envs" / "train" / ".uvnas.json").read_text())
    lock = parse((site.share / "locks" / "train.txt").read_text(), what="the lock")
    # What is in force is what its lock says.
    assert (manifest["packages"], manifest["lock"]["digest"]) == (lock.versions, lock.digest)
    assert site.packages("same") == {"alpha": "2.0"}
    assert not site.unsealed("train")
