# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a share, as seen from one host: facts of environments, and whether they run here. Writes nothing."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
import socket
import typing as t

from ..errors import UvnasError
from ..host import extents
from ..host import files as fs
from ..host import platform as glibc
from ..host.process import Runner, call_many
from ..share import probe
from ..share.layout import Layout
from .generation import build as generation
from .generation import needs as platform_needs
from .plan import published_id
from .spec import EnvironmentSpec

# How many environments are started at once. Many a member does so at the same time, with the same NAS.
JOBS = 4
_NOEXEC = "Mount it without noexec; uv, Python and every environment run from the share."


# Seconds that an environment may take to import what it should. The largest take a minute from a slow NAS.
IMPORT_TIMEOUT = 300.0


@dataclasses.dataclass(frozen=True)
class Inspection:
    """One share, looked at."""

    layout: Layout
    share_name: str
    runner: Runner
    # The oldest glibc that the share is declared for.
    glibc: t.Optional[str] = None

    def check_share(self, share_id: t.Optional[str], mount: t.Optional[str]) -> t.Optional[str]:
        """The share's id. Raises UvnasError where this host does not see that share."""
        if mount and not (os.path.isdir(mount) and probe.is_mount_point(mount)):
            raise UvnasError(f"{mount} is not mounted on this host", hint=f"Share {self.share_name} lies on it.")
        identity = fs.read_json(self.layout.identity)
        if identity is None:
            raise UvnasError(
                f"there is no share at {self.layout.root}",
                hint="Is its filesystem mounted here? Has site.yml been run?",
            )
        if identity.get("name") != self.share_name or (share_id and identity.get("id") != share_id):
            raise UvnasError(
                f"{self.layout.root} is share {identity.get('name')} with id {identity.get('id')}, "
                f"not {self.share_name}{f' with id {share_id}' if share_id else ''}",
                hint="Another filesystem is mounted here than on the builder.",
            )
        return identity.get("id")

    def environments(self) -> list[str]:
        """The names of all published environments."""
        try:
            return sorted(name for name in os.listdir(self.layout.envs) if not name.startswith("."))
        except FileNotFoundError:
            return []

    def facts(self, env: str, *, sizes: bool) -> dict[str, t.Any]:
        """All there is to know of a published environment. Raises UvnasError where it is not complete."""
        current = published_id(fs.read_link(self.layout.env(env)), env)
        if current is None:
            raise UvnasError(f"environment {env} is not published on share {self.share_name}")
        manifest = generation.read_manifest(self.layout, env, current)
        if manifest is None:
            raise UvnasError(
                f"environment {env}: its generation {current} is not complete", hint="Run site.yml to build it anew."
            )
        created = datetime.datetime.fromisoformat(manifest["created"])
        age = datetime.datetime.now(datetime.timezone.utc) - created
        generations = [name for name in os.listdir(self.layout.generations_of(env)) if not name.startswith(".")]
        facts = {
            "name": env,
            "path": self.layout.env(env),
            "id": current,
            "created": manifest["created"],
            "age_seconds": int(age.total_seconds()),
            "python": manifest["python"],
            "uv": manifest["uv"],
            "packages": manifest["packages"],
            "platform": manifest.get("platform", {}),
            "package_count": len(manifest["packages"]),
            "size": manifest["size"],
            "source": manifest["source"],
            "generations": sorted(generations),
        }
        if sizes:
            facts["true_size"] = true_size(self.layout.generation(env, current))
        return facts

    def problems(self, specs: t.Sequence[EnvironmentSpec]) -> list[str]:
        """Why declared environments cannot be used on this host, a text for each that cannot; or one for all of them.

        Tries several at once.
        """
        if specs and probe.space(self.layout.root).noexec:
            return [f"the filesystem of {self.layout.root} is mounted noexec on this host\n{_NOEXEC}"]

        def work(spec: EnvironmentSpec) -> dict[str, t.Any]:
            return {"problem": self.problem(spec)}

        answers = call_many([functools.partial(work, spec) for spec in specs], jobs=JOBS)
        found = []
        for spec, answer in zip(specs, answers):
            try:
                found.append(answer()["problem"])
            except UvnasError as error:
                found.append(f"environment {spec.name}: {error.explain()}")
        return [problem for problem in found if problem is not None]

    def problem(self, spec: EnvironmentSpec) -> t.Optional[str]:
        """Why a declared environment cannot be used on this host; None where it can."""
        try:
            facts = self.facts(spec.name, sizes=False)
        except UvnasError as error:
            return error.explain()
        needs, host = facts["platform"], probe.platform(self.runner)
        objection = platform_needs.objection(
            spec.name, needs, facts["python"].get("key", ""), facts["packages"], host, socket.gethostname()
        )
        if objection is not None:
            return f"{objection}\n{platform_needs.advice(needs, host, self.share_name, self.glibc)}"
        other_libc = platform_needs.other_libc(needs, host)
        python = os.path.join(facts["path"], "bin", "python")
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        try:
            done = self.runner.run(
                [python, "-I", "-B", "-c", generation.IMPORTS, *spec.imports],
                env=environment,
                cwd="/",
                timeout=IMPORT_TIMEOUT,
            )
        except UvnasError as error:
            return f"environment {spec.name}: {error.explain()}{other_libc}"
        if done.rc != 0:
            what = f"importing {', '.join(spec.imports)}" if spec.imports else "starting its Python"
            return f"environment {spec.name}: {what} failed on this host:\n{done.stderr.strip()}{other_libc}"
        return None

    def warnings(self) -> list[str]:
        """What may go wrong on this host, though nothing has yet."""
        host = probe.platform(self.runner)
        if not self.glibc or host.libc != "gnu" or not glibc.is_older(host.libc_version, self.glibc):
            return []
        here = f"this host ({socket.gethostname()}) has glibc {host.libc_version}"
        declared = f"share {self.share_name} is declared for {self.glibc} and newer"
        return [f"{here}, but {declared}; what is built next may not run here"]


def true_size(path: str) -> dict[str, int]:
    """Of a tree: ``bytes`` of its files; as allocated, ``own_bytes`` of it alone, and ``shared_bytes`` with elsewhere,
    by hard links or, where the filesystem tells, reflinks."""
    own = shared = apparent = 0
    links: dict[tuple[int, int], list[int]] = {}
    paths: dict[tuple[int, int], str] = {}
    clones = True  # As far as is known: until the filesystem says that it cannot tell.
    pending = [path]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    own += status.st_blocks * 512
                    continue
                apparent += status.st_size
                inode = (status.st_dev, status.st_ino)
                links.setdefault(inode, [0, status.st_nlink, status.st_blocks * 512])[0] += 1
                if entry.is_file(follow_symlinks=False):
                    paths[inode] = entry.path
    for inode, (seen_here, all_links, size) in links.items():
        alone: t.Optional[int] = 0 if seen_here < all_links else size
        if alone and clones and inode in paths:
            alone = extents.own_bytes(paths[inode])
            clones = alone is not None
        alone = size if alone is None else min(alone, size)
        own += alone
        shared += size - alone
    return {"bytes": apparent, "own_bytes": own, "shared_bytes": shared}
