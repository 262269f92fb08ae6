# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server goes away, and comes back."""

from __future__ import annotations

import subprocess
import time
import typing as t

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import Client, NfsSite, serve
from ansible_collections.uvnas.cluster.tests.support.sites import Run, finish

PATIENCE = 10
# Seconds that a run of a role takes besides, on a busy machine.
AROUND = 60
SILENT = f"has not answered for {PATIENCE} s on this host; is the NAS or the network down?"
GONE = {"name": "gone", "requirements": ["rich", "attrs", "idna"], "imports": ["rich"]}


@pytest.fixture(autouse=True)
def _back() -> t.Iterator[None]:
    yield
    serve(True)


def begins(process: subprocess.Popen[str], condition: t.Callable[[], object]) -> None:
    """Wait until a run has reached ``condition``."""
    while not condition():
        assert process.poll() is None, finish(process).output
        time.sleep(0.1)


@pytest.mark.parametrize(
    "begun", [pytest.param(True, marks=pytest.mark.nfs_short), False], ids=["in a build", "from the start"]
)
def test_it_is_reported_in_time_and_the_next_run_heals(
    site: NfsSite, converged: Run, clients: dict[str, Client], begun: bool
) -> None:
    env = {**GONE, "name": f"gone-{begun}".lower()}
    generations = site.exported / "generations" / env["name"]
    if not begun:
        serve(False)
    process = site.start([env], play="uvnas.cluster.envs", uvnas_answer_timeout=PATIENCE)
    if begun:
        begins(process, lambda: list(generations.glob("*/pyvenv.cfg")))
        serve(False)
    failed = finish(process, PATIENCE + AROUND)
    assert failed.rc != 0
    assert f"share nas_a: {site.share} {SILENT}" in failed.output
    assert not list(generations.glob("*/.uvnas.json"))
    serve(True)
    healed = site.envs([env])
    assert healed.rc == 0, healed.output
    for client in clients.values():
        assert site.run_python_on(client, env["name"], "import rich, attrs, idna; print('yes')") == "yes"
    assert not site.halves()
