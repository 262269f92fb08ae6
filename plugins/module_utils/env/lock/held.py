# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds a package at its version: why an upgrade did not change it.

uv is asked for a newer version, with everything else unchanged. Either it finds one by moving other packages too; or it
explains why it cannot. That explanation is searched for a message, and for nothing else.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import CommandError, UvnasError
from ...uv.command import Uv
from ...uv.wheel import normalize
from ..spec import Sources, significant_lines
from . import file as locks
from . import markers
from .file import Lock
from .resolve import Request, attempt

NOTHING_NEWER = "nothing newer that its declaration allows"
_LIMITS = r"(?:[<>=!~]=?=?\s*[0-9][A-Za-z0-9.*+!_-]*)(?:\s*,\s*[<>=!~]=?=?\s*[0-9][A-Za-z0-9.*+!_-]*)*"
# Operators with an upper end: all but the lower bounds.
_ENDS = re.compile(r"<|==|~=|!=")
_SHOWN = 300
# How uv begins, which says only that it failed.
_BEGIN = re.compile(r"error: No solution found when resolving dependencies\S*( cause:)? (Because )?")
# Tells whether a requirement's marker holds.
Fulfils = t.Callable[[str], bool]


def reasons(uv: Uv, request: Request, interpreter: str, before: Lock, after: str) -> list[str]:
    """What holds each package that ``request`` upgrades but that did not change; one text for each.

    ``before`` is the lock so far, ``after`` the text of the new one. If all packages were to be upgraded and none was,
    that is one text. Does not raise what uv reports.
    """
    lock = locks.parse(after, what="the new lock")
    if request.upgrade:
        return [NOTHING_NEWER] if lock.all_versions == before.all_versions else []
    return [
        _reason(uv, request, interpreter, lock, after, package)
        for package in request.upgrade_packages
        if (package in lock.versions or _built_with(lock, package))
        and lock.versions.get(package) == before.versions.get(package)
        and _built_with(lock, package) == _built_with(before, package)
    ]


def _built_with(lock: Lock, package: str) -> dict[str, str]:
    """The versions of a package as a build requirement, by what it builds."""
    return {build.pin: each.version for build in lock.builds for each in build.requires if each.name == package}


def _reason(uv: Uv, request: Request, interpreter: str, lock: Lock, text: str, package: str) -> str:
    version = lock.versions.get(package)
    if version is None:
        built = _built_with(lock, package)
        versions = ", ".join(f"{version} (to build {pin})" for pin, version in sorted(built.items()))
        return f"{package} {versions}: nothing newer that the build and build_constraints allow"
    if version.startswith("@"):
        return f"{package}: held by its address, {version}"
    newer = f">{version.partition('+')[0]}"
    asked = dataclasses.replace(request, upgrade_packages=(package,))
    fulfils = markers.Interpreter(uv.runner, interpreter).fulfils
    try:
        could = locks.parse(attempt(uv, asked, interpreter, text, package + newer), what="a newer lock").versions
    except CommandError as error:
        why = explained(error.stderr, request, lock.versions, package, newer, fulfils, offline=uv.index.offline)
        return f"{package} {version}: {why}"
    except UvnasError as error:  # uv did not write a lock: an index without hashes, say.
        return f"{package} {version}: cannot tell what holds it: {error}"
    moved = tuple(name for name, at in lock.versions.items() if could.get(name) != at and name != package)
    together = bool(moved) and _helps(uv, request, interpreter, text, lock, (package, *moved))
    return f"{package} {version}: {_along(lock, could, package, together=together)}"


def _helps(uv: Uv, request: Request, interpreter: str, text: str, lock: Lock, packages: tuple[str, ...]) -> bool:
    """Whether upgrading all of ``packages`` changes the first of them.

    uv may then take the newest of the others, which may well want the old version of the first.
    """
    try:
        asked = dataclasses.replace(request, upgrade_packages=packages)
        could = locks.parse(attempt(uv, asked, interpreter, text, ""), what="a newer lock").versions
    except UvnasError:
        return False
    return could.get(packages[0]) != lock.versions[packages[0]]


def _along(lock: Lock, could: t.Mapping[str, str], package: str, *, together: bool) -> str:
    """What else would have to move for a newer version; ``together``: whether upgrading all of them moves it."""
    target = f"{package} {could.get(package, '')}".strip()
    moved = {name: version for name, version in lock.versions.items() if could.get(name) != version and name != package}
    if not moved and re.search(r"[0-9](a|b|rc|\.dev)[0-9]", target):
        return f"the newest there is, except pre-releases such as {target}"
    if not moved:
        return f"uv prefers it to {target}, which would fit"
    lines = locks.changes(moved, {name: could[name] for name in moved if name in could})
    holders = ", ".join(f"{name} {version}" for name, version in sorted(moved.items()))
    if not together:
        return f"held by {holders}; {target} would fit with {', '.join(lines)}, if you declared that"
    return f"held by {holders}, as locked; {target} comes with {', '.join(lines)}: upgrade them together"


def explained(
    stderr: str,
    request: Request,
    lock: t.Mapping[str, str],
    package: str,
    newer: str,
    fulfils: Fulfils,
    *,
    offline: bool = False,
) -> str:
    """What uv 0.13 says when it finds no version ``newer`` than the locked one of ``package``.

    ``lock`` has the versions so far. uv writes ranges its own way, derived from the versions on offer.
    """
    said = " ".join(stderr.split())
    name = rf"{re.escape(package)}(?:\[[^\]]*\])?"
    bounds = [
        (match["who"], ",".join(part for part in match["limits"].rstrip(".").split(",") if part != newer))
        for match in re.finditer(
            rf"(?P<who>you require|\S+ depends on|all versions of \S+ depend on) {name}(?P<limits>{_LIMITS})", said
        )
        if not said[: match.start()].endswith("conclude that ")
    ]
    holding = [(who, limits) for who, limits in bounds if _ENDS.search(limits)]
    ends = {end for _who, limits in holding for end in _ends(limits)}
    declaration = declared_in(request.sources, package, ends, fulfils)
    if declaration:
        return f"held by {declaration}"
    for who, limits in holding:
        if who != "you require":
            return f"held by {_holder(who, lock)}, which wants {package}{limits}"
    if holding:
        return f"held by {package}{holding[0][1]}"
    python = re.search(rf"{name}\S* requires Python ({_LIMITS})", said)
    if python is None and re.search(rf"{name}\S* depends? on Python|depend on Python", said):
        python = re.search(rf"does not satisfy Python({_LIMITS})", said)
    if python:
        return f"held by Python {request.spec.python}; newer versions want Python{python[1].rstrip('.')}"
    if f"`{package}` was filtered by `exclude-newer`" in said and request.spec.exclude_newer:
        return f"held by exclude_newer {request.spec.exclude_newer}"
    if re.search(rf"{name}\S* has no wheels with a matching|{name}\S* has no usable wheels", said):
        return "nothing newer has a wheel for this Python and platform"
    # uv lists versions in ascending order. If the last one is newer, it exists, but cannot be used.
    offered = re.search(rf"only (?:the following versions of {name} are available:)?((?: ?{name}{_LIMITS})+)", said)
    newest = re.search(r"[=]=?\s*([^\s=,]+)$", offered[1].rstrip(".,")) if offered else None
    none = re.search(rf"(there is no version|there are no versions) of {name}{re.escape(newer)}(?![0-9.])", said)
    if none or (newest and newest[1].partition("+")[0] == newer[1:]):
        return "the newest available offline" if offline else "the newest there is"
    said = _BEGIN.sub("", said, count=1)
    return f"asked for something newer, uv says: {said[:_SHOWN]}{'…' * (len(said) > _SHOWN)}"


def _holder(who: str, lock: t.Mapping[str, str]) -> str:
    """``pandas>=2.2,<=2.2.3 depends on`` as ``pandas 2.2.3``, the locked version."""
    name = re.sub(r"[\[<>=!~ ].*", "", who.replace("all versions of ", ""))
    return f"{name} {lock[name]}" if name in lock else re.sub(r" depends? on$", "", who)


def declared_in(sources: Sources, package: str, ends: t.Collection[str], fulfils: Fulfils) -> str:
    """The declaration that stops a package at one of ``ends``, and where it is; empty if there is none."""
    for kind, files in (
        ("overrides", sources.overrides),
        ("requirements", sources.requirements),
        ("constraints", sources.constraints),
    ):
        for name, text in files:
            for line in significant_lines(text):
                match = re.match(rf"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?({_LIMITS})", line)
                if match and normalize(match[1]) == package and _ends(match[2]) & set(ends) and _applies(line, fulfils):
                    limits = re.sub(r"\s", "", match[2])
                    return f"{package}{limits} ({kind if name == f'{kind}.in' else f'{kind}, {name}'})"
    return ""


def _applies(line: str, fulfils: Fulfils) -> bool:
    marker = re.sub(r"\s(--hash|\\).*", "", line.partition(";")[2]).strip()
    try:
        return fulfils(marker)
    except UvnasError:
        return False


def _ends(limits: str) -> set[str]:
    """The versions at which a requirement ends, so that two spellings of it have them in common."""
    found = set()
    for part in re.sub(r"\s", "", limits).split(","):
        operator, version = re.match(r"([<>=!~]*)(.*)", part).groups()  # type: ignore[union-attr]
        if operator == "~=":  # ~=1.4.2 ends at 1.5.
            version = _next(version.split(".")[:-1])
        elif operator == "==" and version.endswith(".*"):  # So does ==1.4.*.
            version = _next(version[:-2].split("."))
        elif operator.startswith(">"):
            continue
        found.add(re.sub(r"(\.dev0|\.0|\.\*)+$", "", version))
    return found


def _next(numbers: t.Sequence[str]) -> str:
    """The version after all that begin with ``numbers``; empty if that is nonsense."""
    return ".".join([*numbers[:-1], str(int(numbers[-1]) + 1)]) if numbers and numbers[-1].isdigit() else ""
