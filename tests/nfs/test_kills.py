# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A converge killed at any time: what is in force runs on the other client, and the next run heals."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import Client, Counts, NfsSite, kill_all
from ansible_collections.uvnas.cluster.tests.support.sites import Run, finish
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel

POINTS = 20
# One random point in each of POINTS equal parts of a build's time.
_RANDOM = random.Random(int(os.environ.get("UVNAS_NFS_SEED") or 1))
FRACTIONS = [(number + _RANDOM.random()) / POINTS for number in range(POINTS)]
IN_SHORT = (10, 15)
# Every user of every client can read them.
WHEELS = Path("/run/wheels")


class Victim:
    """An environment that is rebuilt each time, and how long that takes."""

    def __init__(self, site: NfsSite) -> None:
        self.site = site
        self.version = 0
        for version in range(1, POINTS + 2):
            write_small_wheel(WHEELS, "alpha", str(version), more={"alpha_says.py": f"VERSION = {version}\n"})
        self.version += 1
        started = time.monotonic()
        done = self.finish()
        assert done.rc == 0, done.output
        self.seconds = time.monotonic() - started

    def start(self) -> subprocess.Popen[str]:
        # The cache has everything but the newest version, so all builds take equally long.
        requirements = ["six", "markupsafe", f"alpha=={self.version}"]
        declared = {"name": "victim", "requirements": requirements, "imports": ["six", "alpha"]}
        index = {"find_links": ["/state/wheels", str(WHEELS)], "offline": True}
        return self.site.start([declared], play="uvnas.cluster.envs", uvnas_index=index)

    def finish(self) -> Run:
        return finish(self.start())

    def seen(self, client: Client) -> int:
        """The version in force on a client with empty caches; checks that all of it works."""
        client.mount()
        code = "import six, markupsafe, alpha, alpha_says; print(alpha_says.VERSION)"
        return int(self.site.run_python_on(client, "victim", code))


@pytest.fixture(scope="module")
def victim(site: NfsSite, converged: Run) -> Victim:
    return Victim(site)


@pytest.mark.parametrize(
    "point",
    [pytest.param(number, marks=[pytest.mark.nfs_short] if number in IN_SHORT else []) for number in range(POINTS)],
)
def test_killed_at(victim: Victim, clients: dict[str, Client], counts: Counts, point: int) -> None:
    before = victim.seen(clients["c2"])
    victim.version += 1
    run = victim.start()
    time.sleep(FRACTIONS[point] * victim.seconds)
    kill_all(run, clients["c1"])
    halves, seen = len(victim.site.halves()), victim.seen(clients["c2"])
    counts.note(f"killed after {FRACTIONS[point]:.2f} of a build", {"halves": halves, "published": seen != before})
    assert seen in (before, victim.version)
    healed = victim.finish()
    assert healed.rc == 0, healed.output
    assert [victim.seen(client) for client in clients.values()] == [victim.version] * 2
    assert not victim.site.halves()
