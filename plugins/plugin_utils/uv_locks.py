# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv.lock as uv writes it: what an environment would get from it, and what of that a share cannot have."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import typing as t

from ..module_utils.env.lock import markers
from ..module_utils.errors import SpecError, UvnasError
from ..module_utils.host.secrets import scrub
from ..module_utils.uv.wheel import normalize
from .texts import toml

# The kinds of sources that are directories with one's own code, which is not installed.
_OWN = ("editable", "directory", "virtual")
# As uv writes them.
_WHEELS = re.compile(r'(?:^    \{ (?:url|path|filename) = "[^"\n]*", hash = "[^"\n]*"[^\n]*\},\n)+', re.MULTILINE)
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]+\Z")
_HINTS = {
    "git": "publish it to an index, or leave out what asks for it",
    "path": "put it in a directory or index of the site (uvnas_index), and take it from there",
    "hash": "use an index that lists hashes, and lock again",
}


@dataclasses.dataclass(frozen=True)
class UvLock:
    """A parsed uv.lock; ``path`` names it in errors."""

    data: t.Mapping[str, t.Any]
    path: str

    @classmethod
    def read(cls, text: str, path: str) -> UvLock:
        """The lock in a text. Raises SpecError.

        Nearly all of the text is lists of wheels, where one with a hash says as much as all: that takes a tenth of the
        time.
        """
        return cls(toml(_WHEELS.sub('    { hash = "" },\n', text), path), path)

    @functools.cached_property
    def packages(self) -> list[dict[str, t.Any]]:
        """Its packages. Raises SpecError if uv did not write it."""
        return self._tables(self.data, "package")

    @property
    def requires_python(self) -> str:
        given = self.data.get("requires-python", "")
        if not isinstance(given, str):
            raise self._damaged("requires-python")
        return given

    def own(self) -> dict[str, str]:
        """The directories with one's own code, relative to uv.lock, by the normalized names of their packages."""
        found = {}
        for name, packages in self._by_name.items():
            for source in (self._table(package, "source") for package in packages):
                kind = next((kind for kind in _OWN if kind in source), None)
                if kind is not None:
                    found[name] = str(source[kind])
        return found

    def archives(self) -> set[str]:
        """The names of packages that are local files."""
        return {name for name, found in self._by_name.items() if any("path" in self._table(p, "source") for p in found)}

    def with_versions(self, text: str, versions: t.Mapping[str, str | None]) -> str:
        """``text``, which this is, with other versions of what is not installed; None for one without a version.

        uv would call it outdated if they differed from those in pyproject.toml.
        """
        for name, version in versions.items():
            if version is not None and not _VERSION.match(version):
                continue
            entry = re.compile(
                rf'^(\[\[package\]\]\nname = "{re.escape(name)}"\n)(?:version = "[^"]*"\n)?'
                rf"(?=source = \{{ (?:{'|'.join(_OWN)}) = )",
                re.MULTILINE,
            )
            line = f'version = "{version}"\n' if version is not None else ""
            text = entry.sub(lambda match, line=line: match[1] + line, text)  # type: ignore[misc]
        return text

    def extras(self, name: str) -> set[str]:
        """The extras of one of its own packages."""
        found: set[str] = set()
        for package in self._by_name.get(name, []):
            provided = self._table(package, "metadata").get("provides-extras", [])
            found |= {*self._table(package, "optional-dependencies")}
            found |= {each for each in provided if isinstance(each, str)} if isinstance(provided, list) else set()
        return found

    def certain(
        self, names: t.Iterable[str], extras: t.Collection[str], groups: t.Collection[str], values: markers.Values
    ) -> list[tuple[dict[str, t.Any], str]]:
        """The packages, except own code, that its packages ``names`` need on any builder, with extras and groups.

        Each with the extra or the group that it is there for, if any. What depends on more than ``values`` is left to
        the builder. Raises SpecError if uv did not write it.
        """
        found: dict[int, tuple[dict[str, t.Any], str]] = {}
        seen: set[tuple[int, str]] = set()
        groups = set(map(normalize, groups))
        todo: list[tuple[str, dict[str, t.Any]]] = []
        # Thousands of edges have the same few markers.
        holds = functools.lru_cache(maxsize=None)(functools.partial(self._holds, values=values))
        tables = [self._table(self._table(self.data, "manifest"), "dependency-groups")]
        for name in names:
            tables += [self._table(package, "dev-dependencies") for package in self._candidates({"name": name})]
        for table in tables:
            for group in (group for group in table if normalize(group) in groups):
                todo += [(f" (of group {group})", edge) for edge in self._tables(table, group)]
        for name in names:
            todo += [(f" (of extra {extra})", {"name": name, "extra": [normalize(extra)]}) for extra in extras]
            todo.append(("", {"name": name}))
        while todo:
            why, edge = todo.pop()
            candidates = self._candidates(edge)
            if len(candidates) != 1 or not holds(str(edge.get("marker", ""))):
                continue
            [package] = candidates
            asked = edge.get("extra", [])
            for extra in ["", *(asked if isinstance(asked, list) else [asked])]:
                if (id(package), str(extra)) in seen:
                    continue
                seen.add((id(package), str(extra)))
                optional = self._table(package, "optional-dependencies")
                edges = self._tables(optional, str(extra)) if extra else self._tables(package, "dependencies")
                todo += [(why, each) for each in edges]
            if not set(_OWN) & set(self._table(package, "source")):
                found.setdefault(id(package), (package, why))
        return list(found.values())

    def problem(self, package: t.Mapping[str, t.Any], why: str, undeclared: t.Mapping[str, str]) -> str | None:
        """Why a share cannot have a package; None if it can. ``why`` is what it is there for.

        ``undeclared`` are the names of indexes that the site does not have, by their normalized URL.
        """
        name, source = f"{package['name']}{why}", self._table(package, "source")
        if "git" in source:
            return f"{name} comes from git ({scrub(str(source['git']))}), which has no hash: {_HINTS['git']}"
        if "path" in source:
            return f"{name} is the file {source['path']}, which the builder does not have: {_HINTS['path']}"
        index = undeclared.get(normalized_url(str(source.get("registry", ""))))
        if index is not None:
            return (
                f"{name} comes from the project's index {index} ({scrub(str(source['registry']))}), which uvnas_index "
                f'does not have: declare it, or a mirror of it, as uvnas_index.extra: ["{index}=https://..."]'
            )
        files = [*self._tables(package, "wheels"), self._table(package, "sdist")]
        if not any("hash" in file for file in files):
            return f"{name} was locked without hashes by its index: {_HINTS['hash']}"
        return None

    def _candidates(self, edge: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        """The packages that an edge may mean: one, unless that depends on where it is installed."""
        return [
            package
            for package in self._by_name.get(normalize(str(edge.get("name"))), [])
            if all(edge.get(key, package.get(key)) == package.get(key) for key in ("version", "source"))
        ]

    @functools.cached_property
    def _by_name(self) -> dict[str, list[dict[str, t.Any]]]:
        found: dict[str, list[dict[str, t.Any]]] = {}
        for package in self.packages:
            if not isinstance(package.get("name"), str):
                raise self._damaged("package")
            found.setdefault(normalize(package["name"]), []).append(package)
        return found

    def _holds(self, marker: str, values: markers.Values) -> bool:
        try:
            return markers.holds(marker, values) is True
        except UvnasError as error:
            raise self._damaged(str(error)) from error

    def _tables(self, table: t.Mapping[str, t.Any], key: str) -> list[dict[str, t.Any]]:
        found = table.get(key, [])
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise self._damaged(key)
        return found

    def _table(self, table: t.Mapping[str, t.Any], key: str) -> dict[str, t.Any]:
        found = table.get(key, {})
        if not isinstance(found, dict):
            raise self._damaged(key)
        return found

    def _damaged(self, what: str) -> SpecError:
        return SpecError(f"{self.path} is not a lock file of uv: {what} is not as uv writes it")


def normalized_url(url: str) -> str:
    """The address of an index, to compare with others: without credentials and without a slash at its end.

    uv.lock has file addresses as paths.
    """
    return re.sub(r"(?<=://)[^/@]*@", "", url).rstrip("/").removeprefix("file://")


def directory_of(root: str, path: str) -> str:
    """The absolute path of a directory that uv.lock in ``root`` names."""
    return os.path.normpath(os.path.join(root, path))
