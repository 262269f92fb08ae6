# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: the NAS, its clients, and a site on it. See tests/support/nfs.py."""

from __future__ import annotations

import subprocess
import time

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import (
    EXPORT,
    NAS,
    SERVER,
    TOOLS,
    UIDS,
    Client,
    Counts,
    NfsSite,
    export,
    make_site,
    sh,
    start_client,
)
from ansible_collections.uvnas.cluster.tests.support.sites import Run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that count RPCs first: others stop the server, which empties the clients' caches."""
    items.sort(key=lambda item: item.path.name != "test_site.py")


@pytest.fixture(scope="session")
def network() -> dict[str, Client]:
    """A running server, and two clients that have not mounted anything yet. All of it ends with the machine."""
    for name, uid in UIDS.items():
        if subprocess.run(["id", name], capture_output=True, check=False).returncode != 0:
            sh("groupadd", f"--gid={uid}", name)
            sh("useradd", f"--uid={uid}", f"--gid={uid}", "--no-create-home", name)
    sh("ip", "link", "add", "nas0", "type", "bridge")
    sh("ip", "address", "add", f"{SERVER}/24", "dev", "nas0")
    sh("ip", "link", "set", "nas0", "up")
    sh("rpc.nfsd", "8")
    sh("rpc.mountd")
    return {name: start_client(name, number) for number, name in enumerate(("c1", "c2"), 2)}


@pytest.fixture(scope="session")
def clients(network: dict[str, Client]) -> dict[str, Client]:
    """Both clients with the export mounted, which squashes root. Their first opens wait for the grace period."""
    export()
    for client in network.values():
        client.mount()
    deadline = time.monotonic() + 60
    (EXPORT / "public").mkdir()
    (EXPORT / "public").chmod(0o1777)
    while network["c1"].run("touch", NAS / "public" / "grace", check=False).returncode != 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return network


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, clients: dict[str, Client]) -> NfsSite:
    """A site that only its group can look into."""
    return make_site(tmp_path_factory.mktemp("site"), clients, mode="0750")


@pytest.fixture(scope="session")
def counts(clients: dict[str, Client]) -> Counts:
    return Counts(clients)


@pytest.fixture(scope="session")
def converged(site: NfsSite, counts: Counts) -> Run:
    """The first run: from nothing to one environment."""
    with counts.of("site.yml, small, from nothing"):
        run = site.run([TOOLS])
    assert run.rc == 0, run.output
    return run
