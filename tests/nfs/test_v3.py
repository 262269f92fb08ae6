# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NFSv3, which locks by a separate protocol, with daemons on both sides."""

from __future__ import annotations

import subprocess
import typing as t

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import OWNER, TOOLS, Client, Counts, make_site, sh

# Try to get a lock, and keep it until told otherwise.
LOCK = """
import fcntl, sys
file = open(sys.argv[1], "a")
try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError as error:
    print(type(error).__name__, flush=True)
else:
    print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def mounted(clients: dict[str, Client]) -> t.Iterator[dict[str, Client]]:
    """Both clients with the export mounted by version 3; the daemons for its locks run everywhere."""
    sh("rpc.statd")
    for client in clients.values():
        for command in (
            ["mount", "-t", "tmpfs", "run", "/run"],
            ["mkdir", "-p", "/run/rpcbind", "/run/statd/sm", "/run/statd/sm.bak"],
            ["rpcbind", "-w"],
            ["rpc.statd", "-P", "/run/statd"],
        ):
            client.run(*command)
        client.mount("vers=3")
        assert "vers=3" in client.run("cat", "/proc/mounts").stdout
    yield clients
    for client in clients.values():
        client.mount()


def test_from_nothing_and_unchanged(
    tmp_path_factory: pytest.TempPathFactory, mounted: dict[str, Client], counts: Counts
) -> None:
    site = make_site(tmp_path_factory.mktemp("v3"), mounted)
    with counts.of("site.yml, small, from nothing, NFSv3"):
        first = site.run([TOOLS])
    assert first.rc == 0, first.output
    with counts.of("site.yml, small, unchanged, NFSv3"):
        again = site.run([TOOLS])
    assert (again.rc, again.changed) == (0, 0), again.output


def test_locks_are_seen_by_the_other(mounted: dict[str, Client]) -> None:
    """Otherwise the mutex would mean nothing."""
    path = "/nas/public/lock"
    found = []
    holders = []
    for client in mounted.values():
        holder = subprocess.Popen(
            client.command("python3", "-c", LOCK, path, user=OWNER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        holders.append(holder)
        assert holder.stdout is not None
        found.append(holder.stdout.readline().strip())
    for holder in holders:
        holder.communicate("")
    assert found == ["held", "BlockingIOError"]
