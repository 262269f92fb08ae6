# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NAS that hangs on one host: docs/docsite/rst/hung-nas.rst says what it stops, and for how long.

It hangs as NFS does: whoever asks waits, until the daemon of a filesystem in user space is let go on.
"""

from __future__ import annotations

import contextlib
import shlex
import time

import pytest

HOSTS = {"dev1", "node-a1", "node-a2", "node-b1"}
# How each shell reads the settings, where the node does not have it do so by itself.
SHELLS = {
    "sh": "",
    "bash": "",
    "zsh": "emulate sh -c '. /etc/profile.d/uvnas.sh'; ",
    "tcsh": "source /etc/profile.d/uvnas.csh; ",
    "fish": "",
}
# Seconds: for a question to the NAS; for a login; for a run, which takes a quarter of it when nothing hangs.
PATIENCE, LOGIN, RUN = 5, 20, 120
SILENT = f"share nas_a: /mnt/nas-a/uv has not answered for {PATIENCE} s on this host; is the NAS or the network down?"


@contextlib.contextmanager
def hanging(machines, host):
    """Have nas_a hang on one host; in the end all who wait go on, and all is as fstab has it."""
    machines.root(host, "umount /mnt/nas-a && bindfs /srv/nas/nas_a /mnt/nas-a")
    try:
        daemon = machines.root(host, "pgrep -x bindfs").strip()
        machines.root(host, f"kill -STOP {daemon}")
        stopped = f"grep -L 'State:.T' /proc/{daemon}/task/*/status"
        machines.await_that("the NAS hangs", lambda: machines[host].run(stopped).stdout == "", seconds=10)
        assert machines[host].run("timeout --signal=KILL 1 stat -f /mnt/nas-a").rc != 0
        yield
    finally:
        # The kernel gives up the filesystem when its daemon ends.
        machines.root(host, "pkill -KILL -x bindfs; umount -l /mnt/nas-a; mount /mnt/nas-a")


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


def test_members_are_done_beside_a_builder_that_hangs(run, machines):
    with hanging(machines, "dev1"):
        done = run()
    assert done.rc == 2, done.output
    assert done.errors == {"dev1": [SILENT]}
    assert done.finished == HOSTS - {"dev1"}
    assert set(done.summary) >= {"nas_a: tools", "nas_a: train", "nas_b: only-b", "nas_b: tools", "nas_b: train"}


@pytest.fixture(scope="module")
def node(machines, run):
    with hanging(machines, "node-a1"):
        yield "node-a1"


@pytest.mark.parametrize("shell", SHELLS)
def test_logins_are_not_held_up(machines, node, shell):
    login = f"timeout --signal=KILL {LOGIN} su - alice -s /bin/{shell} -c"
    assert machines.root(node, f"{login} {shlex.quote(SHELLS[shell] + 'echo $UVNAS_SHARE')}") == "nas_a\n"
    # As ssh runs a command.
    command = f"timeout --signal=KILL {LOGIN} su alice -s /bin/{shell} -c 'echo here'"
    assert machines.root(node, command) == "here\n"


def test_hosts_beside_one_that_hangs_are_done(run, machines, node):
    machines.root(node, "rm /etc/profile.d/uvnas.sh")
    done = run()
    assert done.rc == 2, done.output
    assert done.errors == {node: [SILENT]}
    assert done.finished == HOSTS - {node}
    assert set(done.summary) >= {"nas_a: tools", "nas_a: train", "nas_b: only-b", "nas_b: tools", "nas_b: train"}
    # What logins read is written all the same.
    assert machines[node].file("/etc/profile.d/uvnas.sh").exists
