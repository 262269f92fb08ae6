# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NAS that hangs on one host. docs/docsite/rst/hung-nas.rst describes what that blocks, and for how long."""

from __future__ import annotations

import shlex
import time

import pytest

HOSTS = {"dev1", "node-a1", "node-a2", "node-b1"}
# How each shell reads the settings, if the node does not make it do so.
SHELLS = {
    "sh": "",
    "bash": "",
    "zsh": "emulate sh -c '. /etc/profile.d/uvnas.sh'; ",
    "tcsh": "source /etc/profile.d/uvnas.csh; ",
    "fish": "",
}
# Timeouts in seconds: of the NAS, a login, and a run, which takes a quarter of that if nothing hangs.
PATIENCE, LOGIN, RUN = 5, 20, 120
SILENT = f"share nas_a: /mnt/nas-a/uv has not answered for {PATIENCE} s on this host; is the NAS or the network down?"


@pytest.fixture(scope="module")
def run(site):
    def run():
        started = time.monotonic()
        done = site(uvnas_answer_timeout=PATIENCE)
        assert time.monotonic() - started < RUN
        return done

    yield run
    healed = site()
    assert (healed.rc, healed.finished) == (0, HOSTS), healed.output
    assert sum(healed.recap("changed").values()) == 0, healed.output


def test_members_finish_although_a_builder_hangs(run, machines):
    with machines.hanging("dev1"):
        done = run()
    assert done.rc == 2, done.output
    assert done.errors == {"dev1": [SILENT]}
    assert done.finished == HOSTS - {"dev1"}
    for share in ("nas_a", "nas_b"):
        assert f"share {share}: not verified, as its builder dev1 failed" in done.output


@pytest.fixture(scope="module")
def node(machines, run):
    with machines.hanging("node-a1"):
        yield "node-a1"


@pytest.mark.parametrize("shell", SHELLS)
def test_logins_are_not_held_up(machines, node, shell):
    login = f"timeout --signal=KILL {LOGIN} su - alice -s /bin/{shell} -c"
    assert machines.root(node, f"{login} {shlex.quote(SHELLS[shell] + 'echo $UVNAS_SHARE')}") == "nas_a\n"
    # As with ssh host command.
    command = f"timeout --signal=KILL {LOGIN} su alice -s /bin/{shell} -c 'echo here'"
    assert machines.root(node, command) == "here\n"


def test_other_hosts_finish_although_one_hangs(run, machines, node):
    machines.root(node, "rm /etc/profile.d/uvnas.sh")
    done = run()
    assert done.rc == 2, done.output
    assert done.errors == {node: [SILENT]}
    assert done.finished == HOSTS - {node}
    assert set(done.summary) >= {"nas_a: tools", "nas_a: train", "nas_b: only-b", "nas_b: tools", "nas_b: train"}
    # The files for logins are written all the same.
    assert machines[node].file("/etc/profile.d/uvnas.sh").exists
