# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which interpreters a share should have, and what to do about it. Pure: reads no file, changes none.

The plan follows from the inventory, the record and a look at each executable, for check mode and real runs alike.
``converge`` carries it out.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import SpecError, UvnasError
from .record import SITE, Interpreter, Record
from .spec import SitePython, Wanted, exact_version
from .version import Version, choose, not_available

NEW, MISSING, UNFINISHED, OTHER_CONTENT = "new", "missing", "unfinished", "other content"
_NOTHING = Record()


@dataclasses.dataclass(frozen=True)
class Install:
    """One interpreter to install, and why."""

    key: str
    why: str
    # As declared; if it is no longer declared, as recorded here or on an earlier share.
    site: t.Optional[SitePython] = None
    recorded: t.Optional[Interpreter] = None

    @property
    def version(self) -> Version:
        return Version.of_key(self.key)

    @property
    def from_site(self) -> bool:
        return self.site is not None or (self.recorded is not None and self.recorded.source == SITE)

    def describe(self) -> str:
        whose = f" ({self.site.name})" if self.site else ""
        reasons = {
            NEW: "",
            MISSING: ": its executable was missing",
            UNFINISHED: ": its installation was not finished",
            OTHER_CONTENT: ": other content",
        }
        return f"install {self.key}{whose}{reasons[self.why]}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What there is to do."""

    record: Record
    # What each request in the inventory means from now on: request -> key.
    requests: t.Mapping[str, str]
    # Requests that check mode cannot resolve before there is a uv on the share.
    unknown: tuple[str, ...] = ()
    installs: tuple[Install, ...] = ()
    compiles: tuple[str, ...] = ()
    seals: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()

    @property
    def moved(self) -> dict[str, tuple[t.Optional[str], str]]:
        """Requests whose meaning changes: from which key, to which."""
        before = self.record.requests
        series = {request: key for request, key in self.requests.items() if not Version.parse(request).exact}
        return {request: (before.get(request), key) for request, key in series.items() if before.get(request) != key}

    @property
    def changed(self) -> bool:
        return bool(self.installs or self.compiles or self.seals or self.removals or self.unknown or self.moved)

    def actions(self) -> list[str]:
        found = [install.describe() for install in self.installs]
        found += [f"compile the standard library of {key}" for key in self.compiles]
        found += [f"seal {key}" for key in self.seals]
        found += [f"remove {key}" for key in self.removals]
        found += [f"install a Python {request}" for request in self.unknown]
        for request, (before, after) in self.moved.items():
            old = f"{Version.of_key(before)} -> " if before else ""
            found.append(f"{request} is {old}{Version.of_key(after)}")
        return found


def plan(
    wanted: Wanted,
    record: Record,
    platform: str,
    *,
    offered: t.Callable[[], t.Optional[t.Sequence[str]]],
    is_there: t.Callable[[str], bool],
    is_sealed: t.Callable[[str], bool],
    users_of: t.Callable[[str], t.Sequence[str]],
    earlier: Record = _NOTHING,
) -> Plan:
    """What to do for a share to have what is ``wanted``, given its ``record``.

    ``earlier`` is the record of shares already brought up to date. A request means the same here as there, so that
    environments are the same on all of them.
    ``offered`` names the keys of what uv can download; None if there is no uv to ask yet. Not called if the record
    answers.
    ``is_there`` tells whether the interpreter of a key can be run, ``is_sealed`` whether such a one is sealed;
    ``users_of`` names the generations that use it.
    Raises UvnasError if something is wanted that is impossible.
    """
    sites = {site.version.key(platform): site for site in wanted.sites}
    requests, unknown = {}, []
    for request in wanted.pythons:
        key = earlier.requests.get(request) or _resolve(request, wanted, record, sites, offered)
        if key is None:
            unknown.append(request)
        else:
            requests[request] = key
    needed = list(dict.fromkeys([*requests.values(), *sites]))
    installs, compiles = [], []
    for key in needed:
        why = _why_install(sites.get(key), record.interpreters.get(key), is_there, key)
        if why:
            _check_replaceable(key, why, users_of)
            there = earlier.interpreters.get(key)
            same = there if there and _is_declared(sites.get(key), there) else None
            installs.append(Install(key, why, sites.get(key), record.interpreters.get(key) or same))
        elif wanted.compile_bytecode and not record.interpreters[key].compiled:
            compiles.append(key)
    removals = _removals(wanted, record, platform, needed, is_there)
    for key in removals:
        _check_removable(key, users_of)
    # All of them, requested or not: old generations use some that nobody requests any more.
    others = [key for key in record.interpreters if key not in (*(i.key for i in installs), *compiles, *removals)]
    seals = tuple(key for key in others if is_there(key) and not is_sealed(key))
    return Plan(record, requests, tuple(unknown), tuple(installs), tuple(compiles), seals, removals)


def _resolve(
    request: str,
    wanted: Wanted,
    record: Record,
    sites: t.Mapping[str, SitePython],
    offered: t.Callable[[], t.Optional[t.Sequence[str]]],
) -> t.Optional[str]:
    """The key that a request means; None if that cannot be known yet."""
    current = record.find(request)
    if current is not None and request not in wanted.upgrade:
        return current.key
    version = Version.parse(request)
    supplied = choose(version, sites)
    if supplied:
        return supplied
    if wanted.offline:
        installed = choose(version, record.interpreters)
        if installed:
            return installed
    downloads = offered()
    if downloads is None:
        return None
    found = choose(version, downloads)
    if found is None:
        known = [Version.of_key(key) for key in (*sites, *downloads)]
        raise not_available(version, known, where="this uv and uvnas_site_pythons")
    # An older uv, or a shorter list, is no reason to go back.
    if current is not None and Version.of_key(found) < Version.of_key(current.key):
        return current.key
    return found


def _why_install(
    site: t.Optional[SitePython], recorded: t.Optional[Interpreter], is_there: t.Callable[[str], bool], key: str
) -> t.Optional[str]:
    """Why an interpreter has to be installed; None if it is in place."""
    if recorded is None:
        return NEW
    if site and not _is_declared(site, recorded):
        return OTHER_CONTENT
    if not is_there(key):
        return MISSING
    return UNFINISHED if recorded.unfinished else None


def _is_declared(site: t.Optional[SitePython], found: Interpreter) -> bool:
    """Whether an interpreter comes from where the inventory says; ``site`` None: a download."""
    if site is None:
        return found.source != SITE
    return found.source == SITE and site.sha256 in (None, found.digest)


def _check_replaceable(key: str, why: str, users_of: t.Callable[[str], t.Sequence[str]]) -> None:
    if why == OTHER_CONTENT and users_of(key):
        raise UvnasError(
            f"{key} has other content on this share than declared, and is in use by {', '.join(users_of(key))}",
            hint="An interpreter in use is not replaced. Supply the new one as another version, or free this one.",
        )


def _check_removable(key: str, users_of: t.Callable[[str], t.Sequence[str]]) -> None:
    users = users_of(key)
    if users:
        raise UvnasError(
            f"{key} cannot be removed: {', '.join(users)} {'uses' if len(users) == 1 else 'use'} it",
            hint="Keep it, or move these environments to another Python and prune their old generations "
            "(uvnas.cluster.prune).",
        )


def _removals(
    wanted: Wanted, record: Record, platform: str, needed: t.Collection[str], is_there: t.Callable[[str], bool]
) -> tuple[str, ...]:
    """The keys of the interpreters to remove that exist."""
    found = []
    for name in wanted.remove:
        version = exact_version(name)
        keys = [key for key in record.interpreters if Version.of_key(key) == version]
        named = name if name.startswith("cpython-") else version.key(platform)
        if named not in keys and is_there(named):
            keys.append(named)
        for key in keys:
            if key in needed:
                raise SpecError(
                    f"{name} should be removed, but is also requested",
                    hint="Take it out of uvnas_pythons, uvnas_site_pythons and uvnas_envs, or upgrade the request.",
                )
        found += keys
    return tuple(dict.fromkeys(found))
