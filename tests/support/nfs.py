# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NAS and two of its clients in one machine: what the tests are run in, see tests/nfs/machine/boot.py.

The NAS is the kernel's NFS server, and /export what it has. Each client has a network, mounts and a host name of its
own, so that they share no cache and no lock; both mount the export at /nas.
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
# Seconds: a limit, so that nothing waits for ever, and not a measure.
LIMIT = 900.0
OWNER, OTHER = "uvadmin", "mallory"
UIDS = {OWNER: 4001, OTHER: 4002, "alice": 4003, "bob": 4004}


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
            self.command(*command, user=user), check=check, text=True, capture_output=True, timeout=LIMIT
        )

    def mount(self, options: str = "vers=4.2") -> None:
        """Mount the export, and see everything anew."""
        self.run("umount", NAS, check=False)
        self.run("mount", "-t", "nfs", "-o", options, f"{SERVER}:{EXPORT if 'vers=3' in options else '/'}", NAS)

    def rpcs(self) -> int:
        """How many RPCs this client has sent since it mounted the export.

        Less the delegations that it returned: that is about files that were used before, at a time of its choice.
        """
        text = Path(f"/proc/{self.pid}/mountstats").read_text()
        counted = text.partition("per-op statistics")[2]
        sent = re.findall(r"^\s*([A-Z_0-9]+): (\d+)", counted, re.MULTILINE)
        return sum(int(number) for name, number in sent if name != "DELEGRETURN")

    def processes(self) -> list[int]:
        """The processes on this client, but for the one that keeps its namespaces."""
        return [pid for pid in _all_processes() if pid != self.pid and _mounts(pid) == _mounts(self.pid)]

    def cut_off(self, yes: bool) -> None:
        """Take the network away, or give it back."""
        sh("ip", "link", "set", f"to-{self.name}", "down" if yes else "up")


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _mounts(pid: int) -> str | None:
    """The mount namespace of a process; None where the process is gone, or is the kernel's."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/mnt")
    return None


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def kill_all(run: subprocess.Popen[str], client: Client) -> None:
    """Kill a run, and whatever it has started on the controller and on the client, as a power cut would."""
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
    """Export /export, with root squashed or not, for clients to write to or not."""
    options = f"{'ro' if read_only else 'rw'},{'root_squash' if squash else 'no_root_squash'}"
    sh("exportfs", "-o", f"{options},no_subtree_check,fsid=0,insecure", "10.0.0.0/24:/export")


def serve(yes: bool) -> None:
    """Start or stop the NFS server. What clients have mounted stays mounted."""
    sh("rpc.nfsd", "8" if yes else "0")


@dataclasses.dataclass(frozen=True)
class NfsSite(Site):
    """A site whose share is on the export. c1 is its builder, c2 a member."""

    @property
    def share(self) -> Path:
        return NAS / self.path.name / "uv"

    @property
    def exported(self) -> Path:
        """The share as the server sees it, which is where the tests themselves look."""
        return EXPORT / self.path.name / "uv"

    def says(self, client: Client, env: str, code: str) -> str:
        """What the Python of an environment says on a client."""
        return client.run(self.share / "envs" / env / "bin" / "python", "-c", code, user=OWNER).stdout.strip()

    def halves(self) -> list[Path]:
        """What a run that was killed has left: temporary names, and generations without a manifest."""
        generations = list((self.exported / "generations").glob("*/*"))
        return [path for path in generations if not (path / ".uvnas.json").exists()]


def uv_wheel() -> Path:
    return next(Path("/state/wheels").glob("uv-*.whl"))


def make_site(directory: Path, clients: t.Mapping[str, Client], **share: t.Any) -> NfsSite:
    """A site that has nothing yet but a directory on the NAS, as its admin makes one for the owner."""
    name = directory.name
    (EXPORT / name).mkdir()
    uid = UIDS.get(share.get("owner", OWNER), 0)
    os.chown(EXPORT / name, uid, uid)
    declared = {
        "name": "nas_a", "root": f"/nas/{name}/uv", "mount": "/nas", "builder": "c1", "owner": OWNER, **share
    }  # fmt: skip
    variables = {
        # Fewer processes: the machine is slow at that.
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
    """How many RPCs things take, and seconds, kept in a file, which tables of the page *NFS* are made from."""

    def __init__(self, clients: t.Mapping[str, Client]) -> None:
        self.clients = clients
        self._path = ROOT / "build" / "results" / "nfs-counts.json"
        self._rows: dict[str, t.Any] = {"made by": {"kernel": os.uname().release, "uv": uv_wheel().name.split("-")[1]}}

    @contextlib.contextmanager
    def of(self, what: str) -> t.Iterator[dict[str, t.Any]]:
        """Count what is done meanwhile, by client; more may be added to the row."""
        row: dict[str, t.Any] = {}
        before = {name: client.rpcs() for name, client in self.clients.items()}
        yield row
        row.update({name: client.rpcs() - before[name] for name, client in self.clients.items()})
        self.note(what, row)

    def note(self, what: str, found: t.Any) -> None:
        self._rows[what] = found
        self._path.write_text(json.dumps(self._rows, indent=2) + "\n")
        print(what, found)
