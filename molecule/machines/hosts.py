# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts: containers with systemd, on a network of their own."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import shutil
import typing as t
from pathlib import Path

import container_engine
import filesystems

LABEL = "uvnas-machines=1"
NETWORK = "uvnas-machines"
# The image whose Python goes to the shares: the oldest, because that runs everywhere.
INTERPRETER_OF = "old"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclasses.dataclass(frozen=True)
class Host:
    """A host. ``nas`` are the NASes that it mounts; ``number`` is its index in the subnet."""

    name: str
    number: int
    image: str
    nas: tuple[str, ...]

    @property
    def fstab(self) -> str:
        lines = [f"/srv/nas/{name} /mnt/{name.replace('_', '-')} none bind,nofail 0 0\n" for name in self.nas]
        return "".join(lines)


HOSTS = (
    Host("dev1", 11, "devserver", ("nas_a", "nas_b")),
    Host("node-a1", 12, "host", ("nas_a",)),
    Host("node-a2", 13, "host", ("nas_a",)),
    Host("node-b1", 14, "old", ("nas_b",)),
)


def write_keys(state: Path) -> None:
    """Make a key for every account on every host, and the users' homes, which all hosts share."""
    key = state / "ssh" / "id_ed25519"
    key.parent.mkdir(mode=0o700, exist_ok=True)
    if not key.exists():
        container_engine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "uvnas-machines", "-f", key)
    for name, number in filesystems.PEOPLE.items():
        home = state / "home" / name
        if not home.exists():
            home.mkdir(parents=True)
            # Without it zsh asks every new user questions.
            (home / ".zshrc").touch()
            for path in (home, home / ".zshrc"):
                shutil.chown(path, number, filesystems.GROUP)


def start(engine: container_engine.Engine, images: t.Mapping[str, str]) -> list[bool]:
    """Make all hosts run, each from its image. Returns for each host whether it was not."""
    if not engine.succeeds("network", "exists", NETWORK):
        engine("network", "create", "--label", LABEL, NETWORK)
    addresses = _addresses(engine)
    _write_ssh_config(engine.state, addresses)
    return [_start(engine, host, images[host.image], addresses) for host in HOSTS]


def _start(engine: container_engine.Engine, host: Host, image: str, addresses: t.Mapping[str, str]) -> bool:
    if _is_running(engine, host.name, image):
        return False
    if engine.succeeds("container", "exists", host.name):
        _refuse_others(engine, host.name)
        engine("rm", "--force", "--time", "0", host.name)
    key = engine.state / "ssh" / "id_ed25519"
    files = {key.with_suffix(".pub"): "/etc/ssh/machines_keys", container_engine.certificate_bundle(): BUNDLE}
    if host.name == "dev1":
        files[key] = "/root/.ssh/id_ed25519"
    volumes = [f"{engine.state / 'nas' / name}:/srv/nas/{name}" for name in host.nas]
    volumes += [f"{engine.state / 'home'}:/home", *(f"{source}:{target}:ro" for source, target in files.items())]
    engine(
        *("create", "--name", host.name, "--hostname", host.name, "--label", LABEL),
        *("--privileged", "--systemd=always", "--network", NETWORK, "--ip", addresses[host.name]),
        *(option for name, address in addresses.items() for option in ("--add-host", f"{name}:{address}")),
        *(option for volume in volumes for option in ("--volume", volume)),
        image,
    )
    fstab = engine.state / "fstab"
    fstab.write_text(host.fstab)
    engine("cp", fstab, f"{host.name}:/etc/fstab")
    engine("start", host.name)
    return True


def wait(engine: container_engine.Engine) -> None:
    """Wait until all hosts are up, with their mounts, and Slurm can run jobs on all nodes."""
    for host in HOSTS:
        # "degraded" is up too; if something does not work, later steps notice.
        container_engine.wait_until(
            f"systemd on {host.name} is up",
            lambda host=host: engine.succeeds(
                "exec", host.name, "sh", "-c", "systemctl is-system-running | grep -Eq 'running|degraded'"
            ),
            seconds=60,
        )
        for name in host.nas:
            engine("exec", host.name, "mountpoint", "-q", f"/mnt/{name.replace('_', '-')}")
    nodes = sum(host.name != "dev1" for host in HOSTS)
    container_engine.wait_until(
        "all nodes are idle in Slurm",
        lambda: (
            engine("exec", "dev1", "sh", "-c", "sinfo --noheader --Node --format %t || true").split().count("idle")
            == nodes
        ),
        seconds=60,
    )


def remove(engine: container_engine.Engine) -> bool:
    """Remove hosts, network and homes. Returns whether there were any."""
    found = engine("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split()
    if found:
        engine("rm", "--force", "--time", "0", *found)
    network = engine.succeeds("network", "exists", NETWORK)
    if network:
        engine("network", "rm", NETWORK)
    for name in ("home", "ssh"):
        shutil.rmtree(engine.state / name, ignore_errors=True)
    return bool(found) or network


def _is_running(engine: container_engine.Engine, name: str, image: str) -> bool:
    shown = engine("ps", "--filter", f"name=^{name}$", "--filter", f"label={LABEL}", "--format", "json")
    return any(container["Image"] == image for container in json.loads(shown))


def _refuse_others(engine: container_engine.Engine, name: str) -> None:
    """Raise MachinesError if a container of this name is not one of the machines."""
    labels = json.loads(engine("inspect", "--type", "container", name))[0]["Config"]["Labels"] or {}
    if LABEL.partition("=")[0] not in labels:
        raise container_engine.MachinesError(
            f"Container {name} exists but is not one of the machines. Rename it: podman rename {name} …"
        )


def _addresses(engine: container_engine.Engine) -> dict[str, str]:
    """The address of each host. They are fixed, so that a restarted host is found again."""
    network = json.loads(engine("network", "inspect", NETWORK))[0]
    subnet = ipaddress.ip_network(network["subnets"][0]["subnet"])
    return {host.name: str(subnet[host.number]) for host in HOSTS}


def _write_ssh_config(state: Path, addresses: t.Mapping[str, str]) -> None:
    """Write the configuration for `ssh -F`."""
    lines = [
        "Host *",
        f"  IdentityFile {state / 'ssh' / 'id_ed25519'}",
        "  IdentitiesOnly yes",
        "  User root",
        "  StrictHostKeyChecking no",
        "  UserKnownHostsFile /dev/null",
        "  LogLevel ERROR",
        *(f"Host {name}\n  HostName {address}" for name, address in addresses.items()),
    ]
    (state / "ssh_config").write_text("\n".join(lines) + "\n")
