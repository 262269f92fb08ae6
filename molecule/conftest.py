# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by the tests of all scenarios: the hosts, and users who log in and submit jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import shlex
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import testinfra

ROOT = Path(__file__).resolve().parents[1]
STATE = Path(os.environ.get("UVNAS_MACHINES_DIR") or ROOT / "build" / "machines").absolute()
BIN = Path(sys.executable).parent
# Timeout of a run of site.yml in seconds, enough for a busy machine.
RUN_LIMIT = 300


class Machines:
    """Molecule's hosts. ``machines["dev1"]`` is a testinfra host, which runs commands as root."""

    def __init__(self) -> None:
        self._hosts: dict[str, t.Any] = {}

    def __getitem__(self, name: str) -> t.Any:
        return self._hosts.setdefault(name, testinfra.get_host(f"podman://{name}"))

    @functools.cached_property
    def series(self) -> str:
        """The series of the interpreter on the shares, such as 3.9."""
        (found,) = self.root(
            "dev1", "ls /mnt/nas-a/uv/python | sed -n 's/^cpython-\\(3[.][0-9]*\\).*/\\1/p' | sort -u"
        ).split()
        return found

    def root(self, host: str, script: str) -> str:
        """Run a sh script as root, which must succeed; return its output."""
        done = self[host].run(script)
        assert done.rc == 0, f"{script}\n{done.stdout}{done.stderr}"
        return str(done.stdout)

    def as_user(self, host: str, user: str, script: str, *, shell: str = "bash") -> t.Any:
        """Run a script in a user's login shell; return rc, stdout, stderr."""
        return self[host].run("su - %s -s /bin/%s -c %s", user, shell, script)

    def user(self, host: str, user: str, script: str, *, shell: str = "bash") -> str:
        """Run a script as a user, which must succeed; return its output."""
        done = self.as_user(host, user, script, shell=shell)
        assert done.rc == 0, f"{script}\n{done.stdout}{done.stderr}"
        return str(done.stdout).strip()

    @contextlib.contextmanager
    def hanging(self, host: str, *, first: str = "") -> t.Iterator[None]:
        """Make nas_a hang on one host; in the end, all waiting processes continue, and it is mounted as in fstab.

        It hangs as NFS does: accesses wait until the daemon of a filesystem in user space continues. Before that, root
        runs the script ``first``.
        """
        self.root(host, "umount /mnt/nas-a && bindfs /srv/nas/nas_a /mnt/nas-a")
        try:
            self.root(host, first or "true")
            daemon = self.root(host, "pgrep -x bindfs").strip()
            self.root(host, f"kill -STOP {daemon}")
            stopped = f"grep -L 'State:.T' /proc/{daemon}/task/*/status"
            self.wait_until("the NAS hangs", lambda: self[host].run(stopped).stdout == "", seconds=10)
            assert self[host].run("timeout --signal=KILL 1 stat -f /mnt/nas-a").rc != 0
            yield
        finally:
            # The kernel aborts the filesystem when its daemon ends.
            self.root(host, "pkill -KILL -x bindfs; umount -l /mnt/nas-a; mount /mnt/nas-a")

    def wait_until(self, what: str, condition: t.Callable[[], object], *, seconds: float) -> None:
        """Wait until ``condition`` holds. Fails after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: timed out after {seconds} s"
            time.sleep(0.2)


class Jobs:
    """Batch jobs of alice, submitted from a login shell on dev1."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self._running: set[str] = set()

    def submit(self, script: str, *options: str) -> str:
        """Submit a script, which starts with ``#!``; return the job number."""
        number = self.machines.user(
            "dev1",
            "alice",
            f"mkdir -p jobs && cd jobs && printf %s {shlex.quote(script)} >script && "
            f"sbatch --parsable --output=%j.out {shlex.join(options)} script",
        )
        self._running.add(number)
        return number

    def output(self, number: str, *, seconds: float = 60) -> str:
        """Wait for a job, and return its output."""

        def ended() -> bool:
            listed = self.machines.root("dev1", "squeue --noheader --format %i").split()
            self._running.intersection_update(listed)
            return number not in self._running

        self.machines.wait_until(f"job {number} has ended", ended, seconds=seconds)
        return self.machines.root("dev1", f"cat /home/alice/jobs/{number}.out")

    def cancel(self) -> None:
        """Cancel jobs that are still running."""
        if self._running:
            self.machines.root("dev1", f"scancel {' '.join(self._running)} || true")


@dataclasses.dataclass(frozen=True)
class Run:
    """How a run of site.yml ended."""

    rc: int
    output: str

    @property
    def text(self) -> str:
        """The output, with the line breaks and quotes that Ansible escapes."""
        return self.output.replace("\\n", "\n").replace('\\"', '"')

    def recap(self, what: str) -> dict[str, int]:
        """A number of the recap, such as ``changed`` or ``failed``, by host."""
        return {
            host: int(number) for host, number in re.findall(rf"^(\S+) +:.*\b{what}=(\d+)", self.output, re.MULTILINE)
        }

    @property
    def failed(self) -> set[str]:
        """The hosts that failed."""
        return {host for host, number in self.recap("failed").items() if number}

    @property
    def finished(self) -> set[str]:
        """The hosts that were verified without failures, or had nothing to verify as a builder had failed."""
        task = self.output.partition("TASK [uvnas.cluster.verify : Verify that this host has its shares")[2]
        return (
            set(re.findall(r"^(?:ok|skipping): \[([^]]+)\]", task.partition("\nTASK ")[0], re.MULTILINE)) - self.failed
        )

    @property
    def errors(self) -> dict[str, list[str]]:
        """What an admin reads first: the first line of each error, by host."""
        found: dict[str, list[str]] = {}
        for host, data in re.findall(r"^(?:fatal|failed): \[([^]]+)\].*? => (\{.*\})$", self.output, re.MULTILINE):
            found.setdefault(host, []).append(json.loads(data)["msg"].splitlines()[0])
        return found

    @property
    def summary(self) -> dict[str, str]:
        """The final outcome of each environment, a word each, by share and name."""
        return dict(re.findall(r'^ *"(nas_\w: \S+) +(\w+)', self.output, re.MULTILINE))


class Site:
    """Runs site.yml on the machines from an admin's checkout, with variables that override the inventory's."""

    def __init__(self, checkout: Path = ROOT, **environment: str) -> None:
        self.checkout = checkout
        self.environment = environment

    def __call__(self, *options: str, playbook: str = "site", **variables: t.Any) -> Run:
        """Run site.yml as converge does, or another ``playbook``."""
        return self.finish(self.start(*options, playbook=playbook, **variables))

    def start(self, *options: str, playbook: str = "site", **variables: t.Any) -> subprocess.Popen[str]:
        """Start it, or another ``playbook``."""
        environment = {
            # Without molecule's settings for Ansible, such as colours.
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "UVNAS_MACHINES_DIR": str(STATE),
            "ANSIBLE_CONFIG": str(self.checkout / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.checkout / ".collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            **self.environment,
        }
        path = self.checkout / "playbooks" / f"{playbook}.yml"
        inventory = self.checkout / "molecule" / "inventory" / "hosts.yml"
        return subprocess.Popen(
            [BIN / "ansible-playbook", "-i", inventory, *options, "-e", json.dumps(variables), path],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @staticmethod
    def finish(started: subprocess.Popen[str]) -> Run:
        try:
            output, _nothing = started.communicate(timeout=RUN_LIMIT)
        finally:
            started.kill()
        return Run(started.returncode, output)


class Power:
    """Turns hosts off and on."""

    def __init__(self) -> None:
        sys.path.append(str(ROOT / "molecule" / "machines"))
        import container_engine
        import hosts

        self._wait, self._engine = hosts.wait, container_engine.Engine(STATE)

    def off(self, host: str) -> None:
        self._engine("stop", "--time", "10", host)

    def on(self, host: str) -> None:
        """Start a host, and wait until all hosts are up, with mounts and Slurm, and it answers."""
        self._engine("start", host)
        self._wait(self._engine)
        ssh = ["ssh", "-F", STATE / "ssh_config", "-o", "ConnectTimeout=5", f"root@{host}", "true"]
        deadline = time.monotonic() + 60
        while subprocess.run(ssh, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline, f"{host} does not answer"
            time.sleep(0.2)


@pytest.fixture(scope="session")
def site() -> Site:
    return Site()


@pytest.fixture(scope="session")
def power() -> Power:
    return Power()


@pytest.fixture(scope="session")
def state() -> Path:
    """The directory of the machines on this host."""
    return STATE


@pytest.fixture(scope="session")
def machines() -> Machines:
    return Machines()


@pytest.fixture(scope="session")
def jobs(machines: Machines) -> t.Iterator[Jobs]:
    submitted = Jobs(machines)
    yield submitted
    submitted.cancel()
