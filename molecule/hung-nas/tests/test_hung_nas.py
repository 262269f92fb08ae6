# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NAS that hangs on one host: docs/docsite/rst/hung-nas.rst says what it stops, and for how long.

It hangs as NFS does: whoever asks waits, until the daemon of a filesystem in user space is let go on.
"""

from __future__ import annotations

import contextlib
import time

import pytest

HOSTS = {"dev1", "node-a1", "node-a2", "node-b1"}
SHELLS = ("sh", "bash", "zsh", "tcsh", "fish")
# Seconds: for a question to the NAS; for a login; for a run, which takes a quarter of it when nothing hangs.
PATIENCE, LOGIN, RUN = 5, 20, 120
SILENT = f"share nas_a: /mnt/nas-a/uv has not answered for {PATIENCE} s on this host; is the NAS or the network down?"


@contextlib.contextmanager
def hanging(bench, host):
    """Have nas_a hang on one host; all who wait go on in the end."""
    bench.root(host, "bindfs /srv/nas/nas_a /mnt/nas-a")
    daemon = bench.root(host, "pgrep -x bindfs").strip()
    try:
        bench.root(host, f"kill -STOP {daemon}")
        bench.await_that(
            "the daemon stops",
            lambda: "T (stopped)" in bench.root(host, f"grep State: /proc/{daemon}/status"),
            seconds=10,
        )
        assert bench[host].run("timeout --signal=KILL 1 stat -f /mnt/nas-a").rc != 0
        yield
    finally:
        # The kernel gives up the filesystem when its daemon ends.
        bench.root(
            host, f"kill -KILL {daemon}; while grep -q ' /mnt/nas-a fuse' /proc/mounts; do umount -l /mnt/nas-a; done"
        )
        bench.root(host, "mountpoint -q /mnt/nas-a && ls /mnt/nas-a/uv/share.json")


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


@pytest.fixture(scope="module")
def node(bench, run):
    with hanging(bench, "node-a1"):
        yield "node-a1"


@pytest.mark.parametrize("shell", SHELLS)
def test_logins_are_not_held_up(bench, node, shell):
    for style in ("-l -c", "-i -c", "-c"):
        # csh takes -l alone only.
        shown = (
            f"timeout --signal=KILL {LOGIN} su {'-' if style == '-l -c' else ''} alice -s /bin/{shell} -c 'echo here'"
        )
        assert bench.root(node, shown).strip() == "here"


def test_hosts_beside_one_that_hangs_are_done(run, node):
    done = run()
    assert done.rc == 2, done.output
    assert done.errors == {node: [SILENT]}
    assert done.finished == HOSTS - {node}
    # Its files for logins, too.
    assert done.recap("ok")[node] > 0


def test_members_are_done_beside_a_builder_that_hangs(run, bench):
    with hanging(bench, "dev1"):
        done = run()
    assert done.rc == 2, done.output
    assert done.errors == {"dev1": [SILENT]}
    assert done.finished == HOSTS - {"dev1"}
    assert {"nas_b: only-b", "nas_b: tools", "nas_b: train", "nas_a: tools", "nas_a: train"} <= set(done.summary)
