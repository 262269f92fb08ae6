# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NAS and two of its clients in one machine: what the tests are run in, see machine/boot.py.

The NAS is the kernel's NFS server, and /export what it has. Each client has a network, mounts and a host name of its
own, so that they share no cache and no lock; both mount the export at /nas.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site

NAS = Path("/nas")
EXPORT = Path("/export")
SERVER = "10.0.0.1"
OWNER, OTHER = "uvadmin", "mallory"
UIDS = {OWNER: 4001, OTHER: 4002}


def sh(*command: str | Path, **options: t.Any) -> str:
    """What a command prints; an error where it fails."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


@dataclasses.dataclass(frozen=True)
class Client:
    """A host that mounts the export."""

    name: str
    # Of the process that keeps its namespaces.
    pid: int

    @property
    def enter(self) -> list[str]:
        """What a command begins with that is run on this client."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--uts", "--"]

    @property
    def python(self) -> Path:
        """A Python that runs on this client, for ansible_python_interpreter."""
        return Path("/run/clients") / self.name

    def command(self, *command: str | Path, user: str | None = None) -> list[str | Path]:
        """The words that run ``command`` here, as root or as somebody else."""
        become: list[str | Path] = []
        if user is not None:
            become = ["setpriv", f"--reuid={UIDS[user]}", f"--regid={UIDS[user]}", "--clear-groups", "--"]
        # Not with the variables of the tests, which have packages of their own.
        return [*self.enter, "env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *become, *command]

    def run(
        self, *command: str | Path, user: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*command, user=user), check=check, text=True, capture_output=True, timeout=120
        )

    def mount(self, options: str = "vers=4.2") -> None:
        """Mount the export, and see everything anew."""
        self.run("umount", NAS, check=False)
        self.run("mount", "-t", "nfs4", "-o", options, f"{SERVER}:/", NAS)

    def rpcs(self) -> int:
        """How many RPCs this client has sent since it mounted the export."""
        text = Path(f"/proc/{self.pid}/mountstats").read_text()
        counted = text.partition("per-op statistics")[2]
        return sum(int(number) for number in re.findall(r"^\s*[A-Z_0-9]+: (\d+)", counted, re.MULTILINE))

    def cut_off(self, yes: bool) -> None:
        """Take the network away, or give it back."""
        sh("ip", "link", "set", f"to-{self.name}", "down" if yes else "up")


def _start_client(name: str, number: int) -> Client:
    holder = subprocess.Popen(["unshare", "--mount", "--net", "--uts", "sleep", "infinity"])
    deadline = time.monotonic() + 10
    while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    client = Client(name, holder.pid)
    sh("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
    sh("ip", "link", "set", f"to-{name}", "master", "nas0", "up")
    for command in (
        ["hostname", name],
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"10.0.0.{number}/24", "dev", "eth0"],
        ["ip", "link", "set", "eth0", "up"],
    ):
        client.run(*command)
    client.python.parent.mkdir(exist_ok=True)
    client.python.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {" ".join(client.enter)} /usr/bin/python3 "$@"\n')
    client.python.chmod(0o755)
    return client


@pytest.fixture(scope="session")
def network() -> dict[str, Client]:
    """The server is up, with two clients that have not mounted anything yet. All of it ends with the machine."""
    for name, uid in UIDS.items():
        if subprocess.run(["id", name], capture_output=True, check=False).returncode != 0:
            sh("groupadd", f"--gid={uid}", name)
            sh("useradd", f"--uid={uid}", f"--gid={uid}", "--no-create-home", name)
    sh("ip", "link", "add", "nas0", "type", "bridge")
    sh("ip", "address", "add", f"{SERVER}/24", "dev", "nas0")
    sh("ip", "link", "set", "nas0", "up")
    sh("rpc.nfsd", "8")
    sh("rpc.mountd")
    return {name: _start_client(name, number) for number, name in enumerate(("c1", "c2"), 2)}


def export(*, squash: bool = True) -> None:
    """Export /export, with root squashed or not."""
    option = "root_squash" if squash else "no_root_squash"
    sh("exportfs", "-o", f"rw,{option},no_subtree_check,fsid=0,insecure", "10.0.0.0/24:/export")


@pytest.fixture(scope="session")
def clients(network: dict[str, Client]) -> dict[str, Client]:
    """Both clients have mounted the export, which squashes root. The first open of each waits for the grace period."""
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


@dataclasses.dataclass(frozen=True)
class NfsSite(Site):
    """A site whose share is on the export. c1 is its builder, c2 a member."""

    @property
    def share(self) -> Path:
        return NAS / self.path.name / "uv"


def make_site(directory: Path, clients: t.Mapping[str, Client], **share: t.Any) -> NfsSite:
    """A site that has nothing yet but a directory on the NAS, as its admin makes one for the owner."""
    name = directory.name
    (EXPORT / name).mkdir()
    os.chown(EXPORT / name, UIDS[OWNER], UIDS[OWNER])
    declared = {
        "name": "nas_a", "root": f"/nas/{name}/uv", "mount": "/nas", "builder": "c1", "owner": OWNER, **share
    }  # fmt: skip
    variables = {
        "uvnas_shares": [declared],
        "uvnas_index": {"find_links": ["/state/wheels"], "offline": True},
        "uvnas_site_pythons": [{"name": "site", "version": "3.11.2", "prefix": "/usr"}],
        "uvnas_uv_source": "archive",
        "uvnas_uv_archive": {"path": str(next(Path("/state/wheels").glob("uv-*.whl")))},
    }
    hosts = {name: {"ansible_python_interpreter": str(client.python)} for name, client in clients.items()}
    site = NfsSite(directory, "3.11", variables, hosts)
    site.files.mkdir()
    return site


TOOLS: dict[str, t.Any] = {"name": "tools", "requirements": ["six", "markupsafe"], "imports": ["six", "markupsafe"]}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, clients: dict[str, Client]) -> NfsSite:
    """A site that shows nobody but its group what it has."""
    return make_site(tmp_path_factory.mktemp("site"), clients, mode="0750")


@pytest.fixture(scope="session")
def converged(site: NfsSite) -> Run:
    """The first run: from nothing to one environment."""
    run = site.run([TOOLS])
    assert run.rc == 0, run.output
    return run
