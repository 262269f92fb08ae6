# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host of the machines: settings for its container engine, and how it reaches the network."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
# Certificate bundles of Debian and Red Hat, unless SSL_CERT_FILE names one.
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
CAP_SYS_RESOURCE = 24


class MachinesError(Exception):
    """Something about the machines failed; the text tells why."""


def state_directory() -> Path:
    """The directory for everything of the machines: UVNAS_MACHINES_DIR, or build/machines in the checkout."""
    return Path(os.environ.get("UVNAS_MACHINES_DIR") or CHECKOUT / "build" / "machines").absolute()


def run(*argv: str | Path, timeout: float = 300, stdin: str = "") -> str:
    """A command's output. Raises CalledProcessError with all its output, or TimeoutExpired."""
    return subprocess.run(
        argv, check=True, timeout=timeout, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout


def wait_until(what: str, condition: t.Callable[[], bool], *, seconds: float) -> None:
    """Wait until ``condition`` holds. Raises MachinesError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise MachinesError(f"{what}: timed out after {seconds:.0f} s")
        time.sleep(0.2)


class Engine:
    """podman, with any special settings that this machine needs."""

    def __init__(self, state: Path) -> None:
        self.state = state
        settings = engine_settings()
        self.environment = dict(os.environ)
        if settings:
            state.mkdir(parents=True, exist_ok=True)
            (state / "containers.conf").write_text(settings)
            self.environment["CONTAINERS_CONF"] = str(state / "containers.conf")

    def __call__(self, *argv: str | Path, timeout: float = 300) -> str:
        """podman's standard output. Raises CalledProcessError with all its output."""
        done = subprocess.run(
            ["podman", *argv],
            check=False,
            timeout=timeout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise subprocess.CalledProcessError(done.returncode, ["podman", *argv], done.stdout + done.stderr)
        return done.stdout

    def succeeds(self, *argv: str | Path) -> bool:
        """Whether podman succeeds."""
        try:
            self(*argv)
        except subprocess.CalledProcessError:
            return False
        return True


def limits() -> list[str]:
    """The limits for containers; none if the engine may choose.

    By default it raises limits, which takes a capability that root lacks on some virtual machines.
    """
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if not effective or int(effective[1], 16) >> CAP_SYS_RESOURCE & 1:
        return []
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The engine lowers its own limit to this.
    processes = min(resource.getrlimit(resource.RLIMIT_NPROC)[1], int(Path("/proc/sys/kernel/pid_max").read_text()))
    return [f"nofile={files}:{files}", f"nproc={processes}:{processes}"]


def engine_settings() -> str:
    """A containers.conf for this machine's quirks; empty if it has none."""
    settings = ""
    # crun refuses hybrid cgroups.
    cgroups = Path("/sys/fs/cgroup")
    if (cgroups / "unified").is_dir() and not (cgroups / "cgroup.controllers").exists() and shutil.which("runc"):
        settings += '[engine]\nruntime="runc"\n'
    if limits():
        settings += f"[containers]\ndefault_ulimits={json.dumps(limits())}\n"
    return settings


def certificate_bundle() -> Path:
    """The certificates that this machine trusts, in one file. Raises MachinesError if there is none."""
    for name in (os.environ.get("SSL_CERT_FILE", ""), *BUNDLES):
        if name and Path(name).is_file():
            return Path(name)
    raise MachinesError(f"No certificate bundle found. Set SSL_CERT_FILE, or install ca-certificates ({BUNDLES[0]}).")


def pip_settings() -> dict[str, str]:
    """pip's configuration here, by option."""
    listed = run(sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list")
    found: dict[str, str] = {}
    for line in listed.splitlines():
        key, _equals, value = line.partition("=")
        # Later lines win: global, user, environment. Values are printed as Python literals.
        found[key.rpartition(".")[2]] = value.strip("'").replace("\\n", " ")
    return found


def write_facts(state: Path, python: t.Mapping[str, str]) -> None:
    """Write facts for the inventory: how hosts reach an index, and which interpreter to supply.

    Leaves out indexes and proxies by file or loopback, which hosts cannot reach.
    """

    def reachable(url: str) -> bool:
        return url.startswith(("http://", "https://")) and not re.search(r"//(localhost|127\.|\[::1\])", url)

    pip = pip_settings()
    default = os.environ.get("UV_DEFAULT_INDEX") or pip.get("index-url", "")
    extra = [url for url in (os.environ.get("UV_INDEX") or pip.get("extra-index-url", "")).split() if reachable(url)]
    proxies = {name: os.environ.get(name) or os.environ.get(name.lower(), "") for name in PROXIES}
    index: dict[str, t.Any] = {"default": default} if reachable(default) else {}
    facts = {
        "index": {**index, "extra": extra} if extra else index,
        "proxies": {
            name: value for name, value in proxies.items() if value and (name == "NO_PROXY" or reachable(value))
        },
        "python": {**python, "series": ".".join(python["version"].split(".")[:2])},
    }
    (state / "facts.json").write_text(json.dumps(facts, indent=1))
