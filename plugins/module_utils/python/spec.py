# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory declares about a share's interpreters: which to have, and which of them the site supplies."""

from __future__ import annotations

import collections
import dataclasses
import os
import re
import typing as t

from ..errors import SpecError
from ..host.checksum import check_sha256
from .version import Version

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclasses.dataclass(frozen=True)
class SitePython:
    """One interpreter as declared; it comes from ``archive`` or ``prefix``."""

    name: str
    version: Version
    # A path on the controller, or a URL; on the builder the path it was brought to, or only its file name.
    archive: t.Optional[str] = None
    # The directory on the builder that a Python is installed in.
    prefix: t.Optional[str] = None
    sha256: t.Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the inventory declares about a share's interpreters."""

    pythons: tuple[str, ...] = ()
    sites: tuple[SitePython, ...] = ()
    # Requests to resolve anew.
    upgrade: frozenset[str] = frozenset()
    remove: tuple[str, ...] = ()
    offline: bool = False
    compile_bytecode: bool = True


def wanted_from_params(params: t.Mapping[str, t.Any]) -> Wanted:
    """What the options of uv_python ask for. Raises SpecError."""
    return check_wanted(
        params["pythons"],
        parse_site_pythons(params["site_pythons"]),
        upgrade=params["upgrade"],
        remove=params["remove"],
        offline=params["offline"],
        compile_bytecode=params["compile_bytecode"],
    )


def check_wanted(
    pythons: t.Sequence[str],
    sites: t.Sequence[SitePython],
    *,
    upgrade: t.Sequence[str] = (),
    remove: t.Sequence[str] = (),
    offline: bool = False,
    compile_bytecode: bool = True,
) -> Wanted:
    """The declaration, checked. Raises SpecError that names every problem at once."""
    problems: list[str] = []
    for request in pythons:
        problems += _problem_of(Version.parse, request)
    for request in upgrade:
        if request != "all" and request not in pythons:
            problems.append(f"upgrade names {request!r}, which is not among the requested Pythons")
    for name in remove:
        problems += _problem_of(exact_version, name)
    if problems:
        raise SpecError("\n".join(problems))
    everything = frozenset(pythons) if "all" in upgrade else frozenset(upgrade)
    requests, removals = tuple(dict.fromkeys(pythons)), tuple(dict.fromkeys(remove))
    return Wanted(requests, tuple(sites), everything, removals, offline, compile_bytecode)


def _problem_of(parse: t.Callable[[str], t.Any], text: str) -> list[str]:
    try:
        parse(text)
    except SpecError as error:
        return [f"{error} ({error.hint.rstrip('.')})" if error.hint else str(error)]
    return []


def exact_version(name: str) -> Version:
    """The version of an interpreter to remove, given as ``3.12.4`` or uv's key."""
    version = Version.of_key(name) if name.startswith("cpython-") else Version.parse(name)
    if not version.exact:
        raise SpecError(f"{name!r} cannot be removed", hint="Name the exact version, such as 3.12.4.")
    return version


def parse_site_pythons(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[SitePython]:
    """``uvnas_site_pythons``. Raises SpecError that names every problem at once."""
    problems: list[str] = []
    found: list[SitePython] = []
    for position, item in enumerate(items, 1):
        label = f"interpreter {item.get('name') or f'number {position}'}"
        try:
            found.append(_parse_item(item))
        except SpecError as error:
            problems.append(f"{label}: {error}")
    names = collections.Counter(site.name for site in found)
    problems += [f"interpreter {name}: declared {count} times" for name, count in names.items() if count > 1]
    for version, count in collections.Counter(site.version for site in found).items():
        if count > 1:
            same = [site.name for site in found if site.version == version]
            problems.append(f"interpreters {' and '.join(same)}: a share has one Python {version}, whoever supplies it")
    if problems:
        raise SpecError("\n".join(problems))
    return found


def _parse_item(item: t.Mapping[str, t.Any]) -> SitePython:
    name, archive, prefix, sha256 = item["name"], item.get("archive"), item.get("prefix"), item.get("sha256")
    if not _NAME.fullmatch(name):
        raise SpecError("a name has at most 64 letters, digits and . _ + -, and begins with a letter or digit")
    version = Version.parse(item["version"])
    if not version.exact:
        raise SpecError(f"version must be exact, such as {item['version']}.4, not {item['version']}")
    if bool(archive) == bool(prefix):
        raise SpecError("exactly one of archive and prefix is required")
    if prefix and not os.path.isabs(prefix):
        raise SpecError(f"prefix must be an absolute path on the builder, not {prefix}")
    if archive and "://" in archive and not sha256:
        raise SpecError("an archive from a URL needs its sha256")
    return SitePython(name, version, archive, prefix, check_sha256(sha256) if sha256 else None)
