# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NAS and two clients in one machine, in which the tests run: see tests/nfs/machine/boot.py.

The NAS is the kernel's NFS server, which exports /export. Each client has its own network, mounts and host name, so
that they share no cache and no lock; both mount the export at /nas.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Site

NAS = Path("/nas")
EXPORT = Path("/export")
SERVER = "10.0.0.1"
# Seconds. A timeout.
LIMIT = 900.0
OWNER, OTHER = "uvadmin", "mallory"
UIDS = {OWNER: 4001, OTHER: 4002, "alice": 4003, "bob": 4004}


def sh(*command: str | Path, **options: t.Any) -> str:
    """A command's output. Raises if it fails."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


@dataclasses.dataclass(frozen=True)
class Client:
    """A host that mounts the export."""

    name: str
    # The process that keeps its namespaces.
    pid: int

    @property
    def enter(self) -> list[str]:
        """The prefix of commands that run on this client."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--uts", "--"]

    @property
    def python(self) -> Path:
        """A Python on this client, for ansible_python_interpreter."""
        return Path("/run/clients") / self.name

    def command(self, *command: str | Path, user: str | None = None) -> list[str | Path]:
        """The argv that runs ``command`` here, as root or as ``user``."""
        become: list[str | Path] = []
        if user is not None:
            become = ["setpriv", f"--reuid={UIDS[user]}", f"--regid={UIDS[user]}", "--clear-groups", "--"]
        # Without the variables of the tests, which have their own packages.
        return [*self.enter, "env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *become, *command]

    def run(
        self, *command: str | Path, user: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*command, user=user), check=check, text=True, capture_output=True, timeout=LIMIT
        )

    def mount(self, options: str = "vers=4.2") -> None:
        """Mount the export afresh, with empty caches."""
        self.run("umount", NAS, check=False)
        self.run("mount", "-t", "nfs", "-o", options, f"{SERVER}:{EXPORT if 'vers=3' in options else '/'}", NAS)

    def rpcs(self) -> int:
        """How many RPCs this client has sent since it mounted the export.

        Without returned delegations: they concern files used earlier, and the client chooses when.
        """
        text = Path(f"/proc/{self.pid}/mountstats").read_text()
        counted = text.partition("per-op statistics")[2]
        sent = re.findall(r"^\s*([A-Z_0-9]+): (\d+)", counted, re.MULTILINE)
        return sum(int(number) for name, number in sent if name != "DELEGRETURN")

    def processes(self) -> list[int]:
        """The processes on this client, except the one that keeps its namespaces."""
        return [pid for pid in _all_processes() if pid != self.pid and _mounts(pid) == _mounts(self.pid)]

    def cut_off(self, yes: bool) -> None:
        """Disconnect the network, or reconnect it."""
        sh("ip", "link", "set", f"to-{self.name}", "down" if yes else "up")


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _mounts(pid: int) -> str | None:
    """The mount namespace of a process; None if it is gone, or a kernel thread."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/mnt")
    return None


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def kill_all(run: subprocess.Popen[str], client: Client) -> None:
    """Kill a run with all it started on the controller and on the client, as a power cut would."""
    while True:
        doomed = {run.pid} if run.poll() is None else set()
        processes = _all_processes()
        parents = {pid: _parent(pid) for pid in processes}
        while more := {pid for pid in processes if parents[pid] in doomed} - doomed:
            doomed |= more
        doomed.update(client.processes())
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not doomed:
            return
        time.sleep(0.05)


def start_client(name: str, number: int) -> Client:
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


def export(*, squash: bool = True, read_only: bool = False) -> None:
    """Export /export, with root squashed or not, read-only or not."""
    options = f"{'ro' if read_only else 'rw'},{'root_squash' if squash else 'no_root_squash'}"
    sh("exportfs", "-o", f"{options},no_subtree_check,fsid=0,insecure", "10.0.0.0/24:/export")


def serve(yes: bool) -> None:
    """Start or stop the NFS server. Clients keep their mounts."""
    sh("rpc.nfsd", "8" if yes else "0")


@dataclasses.dataclass(frozen=True)
class NfsSite(Site):
    """A site whose share is on the export. c1 is its builder, c2 a member."""

    @property
    def share(self) -> Path:
        return NAS / self.path.name / "uv"

    @property
    def exported(self) -> Path:
        """The share on the server, where the tests themselves look."""
        return EXPORT / self.path.name / "uv"

    def run_python_on(self, client: Client, env: str, code: str) -> str:
        """What the Python of an environment prints on a client."""
        return client.run(self.share / "envs" / env / "bin" / "python", "-c", code, user=OWNER).stdout.strip()

    def halves(self) -> list[Path]:
        """What a killed run left: temporary names, and generations without a manifest."""
        generations = list((self.exported / "generations").glob("*/*"))
        return [path for path in generations if not (path / ".uvnas.json").exists()]


def uv_wheel() -> Path:
    return next(Path("/state/wheels").glob("uv-*.whl"))


def make_site(directory: Path, clients: t.Mapping[str, Client], **share: t.Any) -> NfsSite:
    """A site with nothing but an empty directory on the NAS, which its admin made for the owner."""
    name = directory.name
    (EXPORT / name).mkdir()
    uid = UIDS.get(share.get("owner", OWNER), 0)
    os.chown(EXPORT / name, uid, uid)
    declared = {
        "name": "nas_a", "root": f"/nas/{name}/uv", "mount": "/nas", "builder": "c1", "owner": OWNER, **share
    }  # fmt: skip
    variables = {
        # The machine is slow at starting processes.
        "ansible_pipelining": True,
        "uvnas_shares": [declared],
        "uvnas_index": {"find_links": ["/state/wheels"], "offline": True},
        "uvnas_site_pythons": [{"name": "site", "version": "3.11.2", "prefix": "/usr"}],
        "uvnas_uv_source": "archive",
        "uvnas_uv_archive": {"path": str(uv_wheel())},
    }
    hosts = {name: {"ansible_python_interpreter": str(client.python)} for name, client in clients.items()}
    site = NfsSite(directory, "3.11", variables, hosts)
    site.files.mkdir()
    return site


TOOLS: dict[str, t.Any] = {"name": "tools", "requirements": ["six", "markupsafe"], "imports": ["six", "markupsafe"]}


class Counts:
    """Counts RPCs and seconds, and writes them to a file, the source of the tables on the page *NFS*."""

    def __init__(self, clients: t.Mapping[str, Client]) -> None:
        self.clients = clients
        self._path = ROOT / "build" / "results" / "nfs-counts.json"
        self._rows: dict[str, t.Any] = {"made by": {"kernel": os.uname().release, "uv": uv_wheel().name.split("-")[1]}}

    @contextlib.contextmanager
    def of(self, what: str) -> t.Iterator[dict[str, t.Any]]:
        """Count RPCs in the block, by client; the caller may add to the row."""
        row: dict[str, t.Any] = {}
        before = {name: client.rpcs() for name, client in self.clients.items()}
        yield row
        row.update({name: client.rpcs() - before[name] for name, client in self.clients.items()})
        self.note(what, row)

    def note(self, what: str, found: t.Any) -> None:
        self._rows[what] = found
        self._path.write_text(json.dumps(self._rows, indent=2) + "\n")
        print(what, found)
