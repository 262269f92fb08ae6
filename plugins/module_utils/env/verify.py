# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the environments on a share run on this host. Writes nothing.

What has run here before (see ``verified``) is not started again: a look at its link and its manifest is all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import shlex
import socket
import typing as t

from ..errors import UvnasError, as_uvnas_error
from ..host import files, platform, sealing
from ..host.mounts import is_noexec
from ..host.process import Runner
from ..host.users import User
from ..host.workers import Result, call_as, call_many
from ..python.version import Version
from ..share import standing, store
from ..share.layout import Layout, site_packages
from ..share.manifest import Manifest
from ..share.spec import Share
from .generation import intact, needs
from .imports import IMPORTS
from .inspect import Inspection, incomplete, published
from .lock.file import LockText
from .spec import EnvironmentSpec
from .verified import Environments, fingerprint

# How many environments to start at once. Many members do so at the same time, from the same NAS.
JOBS = 4
# Seconds for the imports of an environment. The largest take a minute from a slow NAS.
IMPORT_TIMEOUT = 300.0
_NOEXEC = "Mount it without noexec; uv, Python and every environment run from the share."
# What the loader finds libraries by; it changes when the operating system's do. musl has none.
_LIBRARIES = "/etc/ld.so.cache"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of a verification."""

    problems: list[str]
    # Environments that have run here before, as nothing has changed since.
    kept: list[str]
    # Those that were looked at anew.
    tried: list[str]
    # The generations and fingerprints of those of them that ran.
    ran: dict[str, tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Verification:
    """The verification of one share."""

    inspection: Inspection
    share_id: str
    runner: Runner
    # Starts environments, if the user of this process must not.
    user: t.Optional[User] = None

    @property
    def share(self) -> Share:
        return self.inspection.share

    @property
    def layout(self) -> Layout:
        return self.share.layout

    def of(self, specs: t.Sequence[EnvironmentSpec], memory: Environments) -> Outcome:
        """Which declared environments can be used on this host, and why the others cannot.

        One text for each that fails, or one for all. Tries several at once.
        """
        if specs and is_noexec(self.layout.root):
            why = f"the filesystem of {self.layout.root} is mounted noexec on this host\n{_NOEXEC}"
            return Outcome([why], [], [spec.name for spec in specs], {})
        specs = [dataclasses.replace(spec, imports=self._imports(spec)) for spec in specs]
        kept = [spec.name for spec in specs if self._is_known(spec, memory)]
        pending = [spec for spec in specs if spec.name not in kept]
        outcome = Outcome([], kept, [spec.name for spec in pending], {})
        for spec, answer in zip(pending, self._try(pending)):
            try:
                found = answer()
            except UvnasError as error:
                outcome.problems.append(f"environment {spec.name}: {error.explain()}")
                continue
            if found["problem"] is not None:
                outcome.problems.append(found["problem"])
            if found["ran"] is not None:
                generation, mark = found["ran"]
                outcome.ran[spec.name] = (generation, mark)
        return outcome

    def _imports(self, spec: EnvironmentSpec) -> tuple[str, ...]:
        """What an environment must import here: what is declared.

        Of a generation that is in force in place of another one, what it was tested with, as what is declared is about
        that.
        """
        with contextlib.suppress(UvnasError, OSError):  # Trying it says why.
            manifest = self.inspection.seen(spec.name).manifest
            if not set(spec.imports) <= set(manifest.imports):
                # It may be in force until another one has been tried.
                if spec.try_on is not None:
                    text = files.read_bytes(self.layout.lock(spec.name)) or b""
                    if LockText(text.decode(errors="replace")).lock.digest != manifest.lock.digest:
                        return tuple(manifest.imports)
                hold = standing.read(self.layout, spec.name).hold
                if hold is not None and hold.id == manifest.id:
                    return tuple(manifest.imports)
        return spec.imports

    def _is_known(self, spec: EnvironmentSpec, memory: Environments) -> bool:
        """Whether an environment has run here before, just as it is."""
        if spec.name not in memory:
            return False
        try:
            return memory[spec.name].fingerprint == self._mark(spec)[1]
        except (UvnasError, OSError):
            return False  # Trying it says why.

    def _try(self, specs: t.Sequence[EnvironmentSpec]) -> list[t.Callable[[], Result]]:
        if not specs:
            return []
        starts = self.starts

        def work(spec: EnvironmentSpec) -> Result:
            return self._tried(spec, start=starts)

        user = self.user if starts else None
        return call_many([functools.partial(work, spec) for spec in specs], jobs=JOBS, user=user)

    def _tried(self, spec: EnvironmentSpec, *, start: bool) -> Result:
        """The problem of an environment; or, if it ran and there is none, what to remember it by."""
        mark: t.Optional[tuple[str, str]] = None
        with contextlib.suppress(UvnasError, OSError):
            mark = self._mark(spec)
        problem = self.problem(spec, start=start)
        ran = False
        if start and problem is None and mark is not None:
            with contextlib.suppress(UvnasError, OSError):  # Another one may have been published meanwhile.
                ran = store.published(self.layout, spec.name) == mark[0]
        return {"problem": problem, "ran": mark if ran else None}

    def _mark(self, spec: EnvironmentSpec) -> tuple[str, str]:
        """The generation of an environment, and its fingerprint. Raises UvnasError if it is not complete."""
        seen = self.inspection.seen(spec.name)
        # Whoever replaces what is at the top of a generation leaves a trace there, and none in its manifest.
        top = os.lstat(self.layout.generation(spec.name, seen.manifest.id))
        looked_at = [top] if seen.witness is None else [top, seen.witness]
        witness = [
            number
            for status in looked_at
            for number in (status.st_mode, status.st_uid, status.st_gid, status.st_ctime_ns)
        ]
        return seen.manifest.id, fingerprint(self.share_id, seen.manifest, witness, spec.imports, self._host)

    @functools.cached_property
    def _host(self) -> dict[str, t.Any]:
        """All that is known of this host, and of who starts environments, that may make a difference."""
        about, here, user = os.uname(), platform.here(self.runner), self.user
        libraries = hashlib.sha256(files.read_bytes(_LIBRARIES) or b"").hexdigest()
        numbers = [user.uid, user.gid, *user.groups] if user else [os.geteuid(), os.getegid(), *os.getgroups()]
        return {
            "name": about.nodename,
            "kernel": about.release,
            "platform": [here.name, here.libc_version],
            "libraries": libraries,
            "user": [*numbers[:2], *sorted(numbers[2:])],
        }

    @functools.cached_property
    def starts(self) -> bool:
        """Whether environments are started: not if ``user`` may not look into the share."""
        if self.user is None:
            return True

        def look() -> Result:
            return {"sees": os.access(self.layout.identity, os.R_OK)}

        return bool(call_as(self.user, look)["sees"])

    def open_places(self, kept: t.Optional[t.Container[str]] = None) -> list[str]:
        """What users other than the share's owner can write to, as one problem; empty if nothing.

        Checks the witnesses, and the directories in which somebody could replace what people run: of the share, of
        what is published, and of interpreters.
        Of environments in ``kept`` only the tops and the witnesses; where that is all of them, of the share only the
        way there. All of this is known already, and costs nothing on NFS. Skips what this process may not see.
        """
        layout = self.layout
        places = [layout.root, layout.envs, layout.generations]
        if kept is None or any(env not in kept for env in self.inspection.environments):
            uv = _target(layout.uv)
            places = [
                layout.root,
                *(layout.bin_dir, os.path.dirname(layout.uv_versions), layout.uv_versions, os.path.dirname(uv), uv),
                *(layout.python, layout.python_archives, layout.locks, layout.envs, layout.generations),
            ]
        found = [place for place in dict.fromkeys(places) if _is_open(place)]
        for env in self.inspection.environments:
            with contextlib.suppress(UvnasError, OSError):  # Checking the environment itself reports this.
                seen = self.inspection.seen(env)
                if kept is None or env not in kept:
                    found += filter(_is_open, self._places_of(env, seen.manifest))
                elif seen.witness is not None:
                    found += filter(_is_open, [layout.generation(env, seen.manifest.id)])
                    if sealing.is_open(seen.witness):
                        found.append(layout.manifest(env, seen.manifest.id))
        found = list(dict.fromkeys(found))
        paths = " ".join(map(shlex.quote, found))
        text = (
            f"users other than the owner of share {self.share.name} can write to {sealing.listed(found)}, "
            "and may have changed what people run\n"
            "site.yml closes what was never sealed, and the directories of the share itself. The owner has to close "
            f"the rest: chmod -R go-w {paths}"
        )
        return [text] if found else []

    def _places_of(self, env: str, manifest: Manifest) -> list[str]:
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

    def problem(
        self, spec: EnvironmentSpec, *, start: bool = True, generation: t.Optional[str] = None
    ) -> t.Optional[str]:
        """Why a declared environment cannot be used on this host; None if it can.

        To find out, ``start`` runs it, as the user of this process. Without it, only what is known beforehand counts.
        ``generation``: one that need not be published, by its final path.
        """
        try:
            manifest = self._intact(spec.name, generation)
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
        path = self.layout.generation(spec.name, generation) if generation else self.layout.env(spec.name)
        python = os.path.join(path, "bin", "python")
        try:
            done = self.runner.run(
                [python, "-I", "-B", "-c", IMPORTS, *spec.imports],
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

    def _intact(self, env: str, generation: t.Optional[str]) -> Manifest:
        """The manifest of a generation, or else of the published one. Raises UvnasError if it is not what was built."""
        current = generation or published(self.share, env, store.published(self.layout, env))
        found = intact.look(self.layout, env, current)
        if found is None:
            raise incomplete(env, current)
        return found.manifest

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


def _target(link: str) -> str:
    """Where a symlink leads, as far as one look tells."""
    try:
        return os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
    except OSError:
        return link


def _is_open(path: str) -> bool:
    try:
        return sealing.is_open(os.lstat(path))
    except OSError:
        return False
