# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A share as seen from one host: facts about its environments, and whether they run here. Writes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import os
import shlex
import socket
import typing as t

from ..errors import UvnasError, as_uvnas_error
from ..host import platform, sealing
from ..host.mounts import space
from ..host.process import Runner
from ..host.users import User
from ..host.workers import Result, call_as, call_many
from ..python.record import load_record
from ..python.version import Version
from ..share import manifest as manifests
from ..share import store
from ..share.layout import Layout, site_packages
from ..share.manifest import Manifest
from ..share.spec import Share
from .generation import build, intact, needs
from .generation.size import true_size
from .spec import EnvironmentSpec

# How many environments to start at once. Many members do so at the same time, from the same NAS.
JOBS = 4
# Seconds for the imports of an environment. The largest take a minute from a slow NAS.
IMPORT_TIMEOUT = 300.0
# Of generations. What is incomplete was never in force.
IN_FORCE = "in_force"
RETIRED = "retired"
INCOMPLETE = "incomplete"
_NOEXEC = "Mount it without noexec; uv, Python and every environment run from the share."


@dataclasses.dataclass(frozen=True)
class Inspection:
    """One share, inspected."""

    share: Share
    runner: Runner
    # Starts environments, if the user of this process must not.
    user: t.Optional[User] = None

    @property
    def layout(self) -> Layout:
        return self.share.layout

    def manifest(self, env: str) -> Manifest:
        """The manifest of a published environment. Raises UvnasError if it is not complete."""
        current = self._current(env)
        return self._complete(env, current, manifests.of_generation(self.layout, env, current))

    def _intact(self, env: str) -> Manifest:
        """The same. Also raises UvnasError if its generation is not what was built."""
        current = self._current(env)
        found = intact.look(self.layout, env, current)
        return self._complete(env, current, found.manifest if found else None)

    def _current(self, env: str) -> str:
        current = store.published(self.layout, env)
        if current is None:
            raise UvnasError(f"environment {env} is not published on share {self.share.name}")
        return current

    @staticmethod
    def _complete(env: str, current: str, manifest: t.Optional[Manifest]) -> Manifest:
        if manifest is None:
            raise UvnasError(
                f"environment {env}: its generation {current} is not complete", hint="Run site.yml to rebuild it."
            )
        return manifest

    def facts(self, env: str, *, sizes: bool) -> Result:
        """All facts about a published environment. Raises UvnasError if it is not complete."""
        manifest = self.manifest(env)
        recorded = manifest.as_dict()
        facts = {
            "name": env,
            "path": self.layout.env(env),
            "age_seconds": _age(manifest.created),
            "package_count": len(manifest.packages),
            "generations": store.generations(self.layout, env),
            **{
                key: recorded[key]
                for key in ("id", "created", "python", "uv", "packages", "platform", "size", "source")
            },
        }
        if sizes:
            each = {generation: self._size_of(env, generation, manifest.id) for generation in facts["generations"]}
            facts["generation_sizes"] = [{**about, "id": generation} for generation, about in each.items()]
            facts["true_size"] = {key: each[manifest.id][key] for key in ("bytes", "own_bytes", "shared_bytes")}
        return facts

    def unpublished(self) -> list[Result]:
        """Environments that have generations, none of which is in force, with what those take."""
        published = set(store.environments(self.layout))
        return [
            {
                "name": env,
                "generation_sizes": [
                    {**self._size_of(env, generation, None), "id": generation}
                    for generation in store.generations(self.layout, env)
                ],
            }
            for env in store.known_environments(self.layout)
            if env not in published
        ]

    def _size_of(self, env: str, generation: str, in_force: t.Optional[str]) -> Result:
        """What one generation is and takes; without sizes where that cannot be measured."""
        state = IN_FORCE if generation == in_force else RETIRED
        age = None
        try:
            manifest = manifests.of_generation(self.layout, env, generation)
            age = None if manifest is None else _age(manifest.created)
            state = state if manifest is not None else INCOMPLETE
        except (UvnasError, OSError, ValueError):
            state = INCOMPLETE
        return {"state": state, "age_seconds": age, **_measured(self.layout.generation(env, generation))}

    def room(self) -> Result:
        """What is left on the share's filesystem, and what cache and bytecode take. Looks at all their files."""
        free = space(self.layout.root)
        return {
            "filesystem": {"free_bytes": free.free_bytes, "free_inodes": free.free_inodes},
            "cache_bytes": _measured(self.layout.cache)["bytes"],
            "bytecode_bytes": _measured(self.layout.bytecode)["bytes"],
        }

    def interpreters(self) -> list[Result]:
        """The interpreters on the share, with what each takes. Raises UvnasError if their record is damaged."""
        record = load_record(self.layout)
        return [
            {
                "key": key,
                "version": found.version,
                "requests": sorted(request for request, meant in record.requests.items() if meant == key),
                "bytes": _measured(os.path.join(self.layout.python, key))["bytes"],
            }
            for key, found in sorted(record.interpreters.items())
        ]

    def problems(self, specs: t.Sequence[EnvironmentSpec]) -> list[str]:
        """Why declared environments cannot be used on this host: one text for each that fails, or one for all.

        Tries several at once.
        """
        if specs and space(self.layout.root).noexec:
            return [f"the filesystem of {self.layout.root} is mounted noexec on this host\n{_NOEXEC}"]
        starts = self.starts

        def work(spec: EnvironmentSpec) -> Result:
            return {"problem": self.problem(spec, start=starts)}

        user = self.user if starts else None
        answers = call_many([functools.partial(work, spec) for spec in specs], jobs=JOBS, user=user)
        found = []
        for spec, answer in zip(specs, answers):
            try:
                found.append(answer()["problem"])
            except UvnasError as error:
                found.append(f"environment {spec.name}: {error.explain()}")
        return [problem for problem in found if problem is not None]

    @functools.cached_property
    def starts(self) -> bool:
        """Whether environments are started: not if ``user`` may not look into the share."""
        if self.user is None:
            return True

        def look() -> Result:
            return {"sees": os.access(self.layout.identity, os.R_OK)}

        return bool(call_as(self.user, look)["sees"])

    def open_places(self) -> list[str]:
        """What users other than the share's owner can write to, as one problem; empty if nothing.

        Checks the witnesses, and the directories in which somebody could replace what people run: of the share, of
        what is published, and of interpreters. Skips what this process may not see.
        """
        layout = self.layout
        uv = os.path.realpath(layout.uv)
        places = [
            layout.root,
            *(layout.bin_dir, os.path.dirname(layout.uv_versions), layout.uv_versions, os.path.dirname(uv), uv),
            *(layout.python, layout.python_archives, layout.locks, layout.envs, layout.generations),
        ]
        for env in store.environments(layout):
            with contextlib.suppress(UvnasError, OSError):  # Checking the environment itself reports this.
                places += self._places_of(env)
        found = [place for place in dict.fromkeys(places) if _is_open(place)]
        paths = " ".join(map(shlex.quote, found))
        text = (
            f"users other than the owner of share {self.share.name} can write to {sealing.listed(found)}, "
            "and may have changed what people run\n"
            "site.yml closes what was never sealed, and the directories of the share itself. The owner has to close "
            f"the rest: chmod -R go-w {paths}"
        )
        return [text] if found else []

    def _places_of(self, env: str) -> list[str]:
        manifest = self.manifest(env)
        minor = Version.parse(manifest.python.version).minor
        generation = self.layout.generation(env, manifest.id)
        executable = self.layout.interpreter_bin(manifest.python.key, minor)
        binaries = os.path.dirname(executable)
        return [
            os.path.dirname(generation),
            generation,
            os.path.join(generation, "bin"),
            site_packages(generation, minor),
            os.path.join(site_packages(generation, minor), "__pycache__"),
            self.layout.manifest(env, manifest.id),
            os.path.dirname(binaries),
            binaries,
            executable,
            *(os.path.join(os.path.dirname(binaries), "lib", f"python{minor}", part) for part in ("", "lib-dynload")),
        ]

    def problem(self, spec: EnvironmentSpec, *, start: bool = True) -> t.Optional[str]:
        """Why a declared environment cannot be used on this host; None if it can.

        To find out, ``start`` runs it, as the user of this process. Without it, only what is known beforehand counts.
        """
        try:
            manifest = self._intact(spec.name)
        except (UvnasError, OSError) as error:
            text = as_uvnas_error(error).explain()
            return text if isinstance(error, UvnasError) else f"environment {spec.name}: {text}"
        needed, host = manifest.platform, platform.here(self.runner)
        objection = needs.objection(
            spec.name, needed, manifest.python.key, manifest.packages, host, socket.gethostname()
        )
        if objection is not None:
            return f"{objection}\n{needs.advice(needed, host, self.share.name, self.share.glibc)}"
        if not start:
            return None
        other_libc = needs.other_libc(needed, host)
        python = os.path.join(self.layout.env(spec.name), "bin", "python")
        try:
            done = self.runner.run(
                [python, "-I", "-B", "-c", build.IMPORTS, *spec.imports],
                variables={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
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
        """What may go wrong on this host later."""
        host, declared, found = platform.here(self.runner), self.share.glibc, []
        if declared and host.libc == platform.GNU and platform.is_older(host.libc_version, declared):
            here = f"this host ({socket.gethostname()}) has glibc {host.libc_version}"
            where = f"share {self.share.name} is declared for {declared} and newer"
            found.append(f"{here}, but {where}; what is built next may not run on it")
        if self.user is not None and not self.starts:
            found.append(
                f"share {self.share.name}: no environment was started. The share belongs to root, and nothing on a"
                f" share runs as root, but uid {self.user.uid} may not look into it. Give it an owner of its own"
                " (owner in uvnas_shares)."
            )
        return found


def _age(created: str) -> int:
    """How many seconds ago that was (ISO 8601)."""
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(created)
    return int(age.total_seconds())


def _measured(path: str) -> dict[str, t.Optional[int]]:
    """What a tree takes; None where this user may not look, or somebody changes it meanwhile."""
    try:
        return dict(true_size(path))
    except OSError:
        return dict.fromkeys(("bytes", "own_bytes", "shared_bytes"))


def _is_open(path: str) -> bool:
    try:
        return sealing.is_open(os.lstat(path))
    except OSError:
        return False
