# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds a package at its version: why an upgrade that was asked for did not change it.

uv is asked for a newer version, with everything else as it was. Either that can be had, if other packages move, too; or
uv explains why it cannot. The words of that are looked through for a message, and for nothing else.
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
from .file import Lock
from .resolve import Request, attempt

NOTHING_NEWER = "nothing newer that its declaration lets in"
_LIMITS = r"(?:[<>=!~]=?=?\s*[0-9][A-Za-z0-9.*+!_-]*)(?:\s*,\s*[<>=!~]=?=?\s*[0-9][A-Za-z0-9.*+!_-]*)*"
# What ends at a version: all but the lower bounds.
_ENDS = re.compile(r"<|==|~=|!=")
_SHOWN = 300


def reasons(uv: Uv, request: Request, interpreter: str, before: Lock, after: str) -> list[str]:
    """What holds each package of ``request`` that is to be upgraded and has not been; one text for each.

    ``before`` is the lock so far, ``after`` the text of the one that was resolved. Where all packages were to be
    upgraded, and none was, that is one text. Raises nothing that uv says.
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
    """The versions of a package that others are built with, by what that is."""
    return {build.pin: each.version for build in lock.builds for each in build.requires if each.name == package}


def _reason(uv: Uv, request: Request, interpreter: str, lock: Lock, text: str, package: str) -> str:
    version = lock.versions.get(package)
    if version is None:
        built = _built_with(lock, package)
        versions = ", ".join(f"{version} (to build {pin})" for pin, version in sorted(built.items()))
        return f"{package} {versions}: nothing newer that the build and build_constraints let in"
    if version.startswith("@"):
        return f"{package}: held by its address, {version}"
    newer = f">{version.partition('+')[0]}"
    asked = dataclasses.replace(request, upgrade_packages=(package,))
    try:
        could = locks.parse(attempt(uv, asked, interpreter, text, package + newer), what="a newer lock").versions
    except CommandError as error:
        return f"{package} {version}: {explained(error.stderr, request, package, newer, offline=uv.index.offline)}"
    except UvnasError as error:  # What uv wrote is no lock: an index without hashes, say.
        return f"{package} {version}: it is not known what holds it: {error}"
    return f"{package} {version}: {_along(lock, could, package)}"


def _along(lock: Lock, could: t.Mapping[str, str], package: str) -> str:
    """What would have to move for a newer version to be had."""
    target = f"{package} {could.get(package, '')}".strip()
    moved = {name: version for name, version in lock.versions.items() if could.get(name) != version and name != package}
    if not moved:
        return f"uv prefers it to {target}, which could be had"
    lines = locks.changes(moved, {name: could[name] for name in moved if name in could})
    holders = ", ".join(f"{name} {version}" for name, version in sorted(moved.items()))
    return f"held by {holders}, as locked; {target} comes with {', '.join(lines)}: upgrade them together"


def explained(stderr: str, request: Request, package: str, newer: str, *, offline: bool = False) -> str:
    """What uv 0.13 says of a resolution that failed for want of a version ``newer`` than that of ``package``."""
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
    for _who, limits in holding:
        where = declared_in(request.sources, package, limits)
        if where:
            return f"held by {package}{limits} ({where})"
    for who, limits in holding:
        if who != "you require":
            return f"held by {_holder(who)}, which wants {package}{limits}"
    if holding:
        return f"held by {package}{holding[0][1]}"
    python = re.search(rf"does not satisfy (Python{_LIMITS})", said)
    if python and re.search(rf"{name}\S* depends? on Python|depend on Python", said):
        return f"held by Python {request.spec.python}; what is newer wants {python[1].rstrip('.')}"
    if "was filtered by `exclude-newer`" in said and request.spec.exclude_newer:
        return f"held by exclude_newer {request.spec.exclude_newer}"
    if re.search(rf"{name}\S* has no wheels with a matching|{name}\S* has no usable wheels", said):
        return "nothing newer has a wheel for this Python and platform"
    if re.search(rf"only {name}\S* is available|only the following versions of {name} are available", said):
        return "the newest that can be had offline" if offline else "the newest there is"
    if re.search(rf"(there is no version|there are no versions) of {name}", said):
        return "the newest that can be had offline" if offline else "the newest there is"
    return f"uv says of something newer: {said[:_SHOWN]}{'…' * (len(said) > _SHOWN)}"


def _holder(who: str) -> str:
    """``pandas==2.2.3 depends on`` as ``pandas 2.2.3``."""
    return re.sub(r"^all versions of | depends? on$", "", who).replace("==", " ")


def declared_in(sources: Sources, package: str, limits: str) -> str:
    """Where it is declared that a package has to keep to ``limits``; empty for nowhere."""
    for kind, files in (
        ("requirements", sources.requirements),
        ("constraints", sources.constraints),
        ("overrides", sources.overrides),
    ):
        for name, text in files:
            for line in significant_lines(text):
                match = re.match(rf"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?({_LIMITS})", line)
                if match and normalize(match[1]) == package and _parts(match[2]) == _parts(limits):
                    return kind if name == f"{kind}.in" else f"{kind}, {name}"
    return ""


def _parts(limits: str) -> set[str]:
    return {re.sub(r"\s", "", part) for part in limits.split(",")}
