# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs a lock. What is built from source is built with the requirements in the lock and nothing else.

uv takes one list of constraints for all builds of a command. Packages that need different versions of a build backend
cannot share a list, so they are built in turns. Each turn finds what earlier ones built in the cache.

uv does not check what a cached package was built with, but it caches builds with different variables separately: see
config.build_variables(). So every build gets a variable that names its build requirements, even builds that the lock
does not expect.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
import typing as t

from ...host import files
from ...host.checksum import of_data
from ...host.process import Completed
from ...uv.command import Uv
from ..lock.file import Build, Lock, Package, plain, without_hashes
from ..spec import EnvironmentSpec

# Tells builds, and so uv, what they are built with.
_VARIABLE = "UVNAS_BUILD_REQUIREMENTS"
_NOTHING = Build("-", "0", ())
# From uv 0.13's message when a build needs something without a hash. Used for our own message only.
_UNHASHED = re.compile(r"no trusted hash was provided for: `([^`\s]+)`")
_ASKED = re.compile(r"No solution found when resolving: (.+)")
_BUILDING = re.compile(r"Failed to (?:download and )?build `([^`]+)`")


@dataclasses.dataclass(frozen=True)
class Turn:
    """Builds that uv can do in one command."""

    builds: tuple[Build, ...]
    # The packages that their build environments may contain.
    allowed: tuple[Package, ...]
    # By the name of the package built.
    variables: t.Mapping[str, t.Mapping[str, str]]


def turns(lock: Lock) -> list[Turn]:
    """The builds in order. The last turn installs the lock itself."""
    builds = [build for build in lock.builds if build.name]
    grouped: list[list[Build]] = [[]]
    versions: dict[str, str] = {}
    for build in builds:
        wanted = _versions(build)
        if _differ(versions, wanted):
            grouped.append([])
            versions = {}
        grouped[-1].append(build)
        versions.update(wanted)
    # A build must not pick up a version of a package other than the one that the lock installs.
    if _differ(versions, {build.name: lock.versions[build.name] for build in builds if build.name in lock.versions}):
        grouped.append([])
    digests = _digests(lock)
    return [_turn(lock, group, digests, last=group is grouped[-1]) for group in grouped]


def _turn(lock: Lock, builds: t.Sequence[Build], digests: t.Mapping[str, str], *, last: bool) -> Turn:
    # What a build requires overrides what any build may use.
    allowed = {package.name: package for build in lock.builds if not build.name for package in build.requires}
    allowed.update({package.name: package for build in builds for package in build.requires})
    # Where a package has two versions, the one built in this turn decides the variables of its name.
    names = {package.pin: package.name for package in allowed.values()}
    names.update({build.pin: build.name for build in builds})
    names.update({package.pin: package.name for package in lock.packages if last})
    # Packages that are not in the lock may be cached too, built with anything, from when a lock was made.
    nothing = digests[_NOTHING.pin]
    variables = {name: {_VARIABLE: digests.get(pin, nothing)} for pin, name in names.items()}
    return Turn(tuple(builds), tuple(allowed.values()), variables)


def _versions(build: Build) -> dict[str, str]:
    return {build.name: build.version, **{package.name: package.version for package in build.requires}}


def _differ(some: t.Mapping[str, str], others: t.Mapping[str, str]) -> bool:
    return any(some.get(name, version) != version for name, version in others.items())


def _digests(lock: Lock) -> dict[str, str]:
    """A digest of each build's requirements and, recursively, of what those are built with; by pin.

    ``_NOTHING`` stands for builds without requirements of their own.
    """
    anyhow = [plain(build.requires) for build in lock.builds if not build.name]
    found: dict[str, str] = {}
    for build in (*lock.builds, _NOTHING):
        below = sorted(found[package.pin] for package in build.requires if package.pin in found)
        found[build.pin] = of_data([plain(build.requires), below, anyhow])
    return found


def install(
    uv: Uv,
    lock: Lock,
    path: str,
    arguments: t.Sequence[str],
    options: t.Sequence[str],
    variables: t.Mapping[str, str],
    *,
    built: bool = False,
) -> Completed:
    """Install the lock in the file ``path`` with uv. ``options`` are for the final installation, not for builds.

    ``built``: the cache should have everything, so try without builds and without an index first.
    Returns the command that failed, or else the last one.
    """
    todo = turns(lock)
    variables = {**uv.pinned_variables(), **variables}
    with tempfile.TemporaryDirectory(prefix="uvnas-") as scratch:
        done = None
        if built:
            offline = {**variables, "UV_OFFLINE": "1"}
            done = _sync(uv, todo[-1], path, [*arguments, *options], offline, scratch)
        if done is not None and done.rc == 0:
            return done
        for turn in todo[:-1]:
            done = _build(uv, lock, turn, arguments, variables, scratch)
            if done.rc != 0:
                return done
        return _sync(uv, todo[-1], path, [*arguments, *options], variables, scratch)


def _sync(
    uv: Uv, turn: Turn, path: str, arguments: t.Sequence[str], variables: t.Mapping[str, str], scratch: str
) -> Completed:
    return uv.run(
        "pip", "sync", "--quiet", *arguments, *_allowing(turn.allowed, scratch), path,
        variables=variables, build_variables=turn.variables,
    )  # fmt: skip


def _build(
    uv: Uv, lock: Lock, turn: Turn, arguments: t.Sequence[str], variables: t.Mapping[str, str], scratch: str
) -> Completed:
    """Build a turn's packages into the cache, by installing them to a scratch directory: uv has no other way."""
    entries = {package.pin: package.text for build in lock.builds for package in build.requires}
    entries.update({package.pin: package.text for package in lock.packages})
    wanted = os.path.join(scratch, "built.txt")
    files.write(wanted, "".join(f"{entries[build.pin]}\n" for build in turn.builds if build.pin in entries))
    return uv.run(
        "pip", "install", "--quiet", "--no-deps", *arguments, *_allowing(turn.allowed, scratch),
        "--target", os.path.join(scratch, "built"), "--requirements", wanted,
        variables=variables, build_variables=turn.variables,
    )  # fmt: skip


def _allowing(packages: t.Iterable[Package], scratch: str) -> list[str]:
    """The arguments that limit builds to ``packages``."""
    path = os.path.join(scratch, "build-constraints.txt")
    files.write(path, "".join(f"{package.text}\n" for package in packages))
    return ["--require-build-hashes", "--build-constraints", path]


def explain(uv: Uv, spec: EnvironmentSpec, lock: Lock, interpreter: str, stderr: str) -> t.Optional[tuple[str, str]]:
    """The error and hint if an installation failed because a build needs something that its lock has no hash for."""
    missing, building = _UNHASHED.search(stderr), _BUILDING.search(stderr)
    if missing is None or building is None:
        return None
    allowed = {package.name: package for turn in turns(lock) for package in turn.allowed}
    asked = [requirement for line in _ASKED.findall(stderr) for requirement in re.findall(r"`([^`]+)`", line)]
    more = ["--exclude-newer", spec.exclude_newer] if spec.exclude_newer else []
    with tempfile.TemporaryDirectory(prefix="uvnas-") as scratch:
        wanted, constraints = (os.path.join(scratch, name) for name in ("asked.in", "constraints.txt"))
        files.write(wanted, "".join(f"{requirement}\n" for requirement in asked))
        limits = [*(package.pin for package in allowed.values()), *map(without_hashes, spec.build_constraints)]
        files.write(constraints, "".join(f"{limit}\n" for limit in limits))
        done = uv.run(
            "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", interpreter, *more,
            "--constraints", constraints, wanted,
            variables=spec.uv_variables(),
        )  # fmt: skip
    pins = [line for line in done.stdout.split("\n") if "==" in line and line.partition("==")[0] not in allowed]
    shown = ", ".join(f'"{line.strip()}"' for line in pins) or f'"{missing[1]}==…"'
    return (
        f"building {building[1]} requires {missing[1]}, which its lock has no hash for",
        f"If only builds on this host require it, or only since it was locked, declare build_constraints: [{shown}]",
    )
