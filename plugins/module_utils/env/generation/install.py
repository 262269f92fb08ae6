# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that are built from their sources: with what their lock says, and nothing else.

To uv that is one list of constraints for all builds of a command. So what cannot be built with one list, as two
packages ask for different versions of a build backend, is built in turns. Each turn finds in the cache what the ones
before it built.

uv does not ask what a package in its cache was built with. But it has other places there for what was built with other
variables, see config.build_variables(). So each build has one that says what it is built with; whatever else might be
built has one, too.
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

# What says to builds, and so to uv, what they are built with.
_VARIABLE = "UVNAS_BUILD_REQUIREMENTS"
_NOTHING = Build("-", "0", ())
# In what uv 0.13 says of a build that asks for something without a hash: for a message, and for nothing else.
_UNHASHED = re.compile(r"no trusted hash was provided for: `([^`\s]+)`")
_ASKED = re.compile(r"No solution found when resolving: (.+)")
_BUILDING = re.compile(r"Failed to (?:download and )?build `([^`]+)`")


@dataclasses.dataclass(frozen=True)
class Turn:
    """Builds that uv can do at the same time."""

    builds: tuple[Build, ...]
    # What may be in their build environments.
    allowed: tuple[Package, ...]
    # By the name of what is built.
    variables: t.Mapping[str, t.Mapping[str, str]]


def turns(lock: Lock) -> list[Turn]:
    """What is built when. The last turn is that in which the lock itself is installed."""
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
    # Of what the lock installs, what is built may not be taken for another version of it that a build asks for.
    if _differ(versions, {build.name: lock.versions[build.name] for build in builds if build.name in lock.versions}):
        grouped.append([])
    digests = _digests(lock)
    return [_turn(lock, group, digests, last=group is grouped[-1]) for group in grouped]


def _turn(lock: Lock, builds: t.Sequence[Build], digests: t.Mapping[str, str], *, last: bool) -> Turn:
    # What any build may use gives way to what one asks for.
    allowed = {package.name: package for build in lock.builds if not build.name for package in build.requires}
    allowed.update({package.name: package for build in builds for package in build.requires})
    # Of two versions of one thing, that which is built here gives its name the variables.
    names = {package.pin: package.name for package in allowed.values()}
    names.update({build.pin: build.name for build in builds})
    names.update({package.pin: package.name for package in lock.packages if last})
    # What the lock says nothing of may be in the cache, too, built with whatever there was: when a lock was made.
    nothing = digests[_NOTHING.pin]
    variables = {name: {_VARIABLE: digests.get(pin, nothing)} for pin, name in names.items()}
    return Turn(tuple(builds), tuple(allowed.values()), variables)


def _versions(build: Build) -> dict[str, str]:
    return {build.name: build.version, **{package.name: package.version for package in build.requires}}


def _differ(some: t.Mapping[str, str], others: t.Mapping[str, str]) -> bool:
    return any(some.get(name, version) != version for name, version in others.items())


def _digests(lock: Lock) -> dict[str, str]:
    """What each build is built with, as a digest, by what is built: what that is built with counts, too.

    And that of what is built with nothing but what any build may use.
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
    """Have uv install the lock in the file ``path``, with ``arguments``, and ``options`` for that alone.

    ``built``: the cache is said to have all of it, so that neither a build nor an index is needed. It may not be so.
    What failed is the result.
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
    """Have what is built in a turn in the cache: uv builds nothing but what it installs somewhere."""
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
    """The arguments that let builds have ``packages`` and nothing else."""
    path = os.path.join(scratch, "build-constraints.txt")
    files.write(path, "".join(f"{package.text}\n" for package in packages))
    return ["--require-build-hashes", "--build-constraints", path]


def explain(uv: Uv, spec: EnvironmentSpec, lock: Lock, interpreter: str, stderr: str) -> t.Optional[tuple[str, str]]:
    """Of an installation that failed as a build asked for what the lock has no hash of: what that is, and a hint."""
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
        f"{building[1]} asks for {missing[1]} to be built, and its lock has no hash of that",
        f"If it does so on this host only, or since it was locked, declare it: build_constraints: [{shown}]",
    )
