# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects on the controller: what uv gets to see of them, and whether that can be installed for an environment.

What counts is what uv would take: pyproject.toml and uv.lock of a project or of its workspace, a uv.toml beside them,
and the pyproject.toml of members and of directories that the project depends on. Their own code is not installed.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t
from pathlib import Path

from ..module_utils.env.lock import markers
from ..module_utils.env.lock.fit import check_known, requires_python
from ..module_utils.env.spec import EnvironmentSpec, Sources
from ..module_utils.errors import SpecError
from ..module_utils.uv.command import Index
from ..module_utils.uv.wheel import normalize
from .requirements import check_line
from .texts import read, toml
from .uv_locks import UvLock, directory_of, normalized_url

# The public index, as projects call it. What they lock from there comes from the site's default index.
_PUBLIC = "pypi"


def project_sources(path: str, spec: EnvironmentSpec, index: Index | None = None) -> Sources:
    """What uv gets to see of the project in the directory ``path``, for an environment.

    Raises SpecError naming what cannot be installed, as far as that shows here; ``index`` is that of the site, None if
    unknown.
    """
    if not os.path.isdir(path):
        raise SpecError(f"{path} is not a directory with a project")
    path = os.path.abspath(path)
    root = _root(path)
    project = _Project.read(root)
    package = _package(project, path, spec.package)
    text = read(os.path.join(root, "uv.lock"))
    lock = UvLock.read(text, os.path.join(root, "uv.lock"))
    members = project.members()
    for name, directory in lock.own().items():
        if os.path.isabs(directory):
            raise SpecError(f"{lock.path}: {name} is the directory {directory}; give its path relative to the project")
    beside = {directory_of(root, directory): name for name, directory in lock.own().items()}
    own = {directory: _Project.read(directory) for directory in {root, *members, *beside} if _has_project(directory)}
    named = {own[directory].name: own[directory] for directory in own}
    chosen = [named[package]] if package else [project] if project.name else [own[each] for each in members]
    _check_chosen(spec, lock, project, chosen)
    conditions = requires_python(lock.requires_python, f"{root} is", "", spec.python)
    undeclared = _undeclared(project, index)
    values = markers.declared(spec.python)
    certain = lock.certain([each.name for each in chosen if each.name], spec.extras, spec.groups, values)
    problems = [problem for each, why in certain if (problem := lock.problem(each, why, undeclared))]
    if problems:
        raise SpecError("\n".join(f"{root} cannot be installed: {problem}" for problem in sorted(problems)))
    top = os.path.commonpath([*own, *beside])
    text = lock.with_versions(text, {each.name: each.version for each in own.values() if each.is_versioned})
    texts = [(os.path.join(root, "uv.lock"), text)]
    texts += [(os.path.join(directory, "pyproject.toml"), each.text) for directory, each in own.items()]
    texts += [(each, read(each)) for each in [os.path.join(root, "uv.toml")] if os.path.exists(each)]
    relative = os.path.relpath(root, top)
    return Sources(
        project=tuple(sorted((os.path.relpath(name, top), text) for name, text in texts)),
        directory="" if relative == "." else relative,
        package=package,
        dynamic=tuple(sorted({*lock.archives(), *_dynamic(root, own, beside)})),
        build_constraints=tuple(_build_constraints(project)),
        conditions=tuple(conditions),
    )


@dataclasses.dataclass(frozen=True)
class _Project:
    """A pyproject.toml."""

    directory: str
    text: str
    data: t.Mapping[str, t.Any]

    @classmethod
    def read(cls, directory: str) -> _Project:
        path = os.path.join(directory, "pyproject.toml")
        text = read(path)
        return cls(directory, text, toml(text, path))

    @property
    def path(self) -> str:
        return os.path.join(self.directory, "pyproject.toml")

    @property
    def name(self) -> str:
        """The normalized name of its package; empty if it has none."""
        name = self.table("project").get("name")
        return normalize(name) if isinstance(name, str) else ""

    @property
    def version(self) -> str | None:
        version = self.table("project").get("version")
        return version if isinstance(version, str) else None

    @property
    def is_versioned(self) -> bool:
        """Whether it says what uv.lock must say of its version: which one, or that it is dynamic."""
        return bool(self.name) and (self.version is not None or "version" in self.dynamic)

    @property
    def dynamic(self) -> list[t.Any]:
        return _list(self.table("project").get("dynamic", []))

    def table(self, *keys: str) -> t.Mapping[str, t.Any]:
        """A table in it; empty if it is missing. Raises SpecError."""
        table = self.data
        for key in keys:
            table = table.get(key, {})
            if not isinstance(table, dict):
                raise SpecError(f"{self.path}: {key} is not a table")
        return table

    def members(self) -> list[str]:
        """The directories of the members of its workspace, without its own. Raises SpecError."""
        table = self.table("tool", "uv", "workspace")
        for key in ("members", "exclude"):
            if not isinstance(table.get(key, []), list) or not all(
                isinstance(each, str) for each in table.get(key, [])
            ):
                raise SpecError(f"{self.path}: {key} of its workspace is not a list of strings")
            for pattern in table.get(key, []):
                if os.path.isabs(pattern) or ".." in pattern.split("/"):
                    raise SpecError(
                        f"{self.path}: {key} of its workspace has {pattern!r}, which leads out of the project"
                    )

        def found(patterns: t.Iterable[str]) -> set[str]:
            return {match for pattern in patterns for match in self._matches(pattern)}

        directories = found(table.get("members", [])) - found(table.get("exclude", [])) - {self.directory}
        return sorted(filter(_has_project, directories))

    def _matches(self, pattern: str) -> t.Iterator[str]:
        """What a pattern of uv's finds: hidden directories too, and with ``**`` nothing behind a symbolic link."""
        if os.path.normpath(pattern) == ".":
            return
        try:
            yield from map(os.path.normpath, Path(self.directory).glob(pattern))
        except (NotImplementedError, ValueError) as error:
            raise SpecError(f"{self.path}: its workspace has {pattern!r}, which is not a path pattern") from error

    def groups(self) -> set[str]:
        """The names of its dependency groups."""
        old = {"dev"} if "dev-dependencies" in self.table("tool", "uv") else set()
        return {*self.table("dependency-groups"), *old}


def _has_project(directory: str) -> bool:
    return os.path.exists(os.path.join(directory, "pyproject.toml"))


def _root(path: str) -> str:
    """The directory of the workspace that the project in ``path`` is a member of: as uv looks for it, or itself."""
    if not _has_project(path) or "workspace" in _Project.read(path).table("tool", "uv"):
        return path
    above = path
    while os.path.dirname(above) != above:
        above = os.path.dirname(above)
        if _has_project(above):
            return above if path in _Project.read(above).members() else path
    return path


def _package(root: _Project, path: str, wanted: str | None) -> str:
    """The name of the workspace member to install; empty for what is at the root. Raises SpecError."""
    if wanted is None and path == root.directory:
        return ""
    if wanted is None:
        member = _Project.read(path)
        if not member.name:
            raise SpecError(f"{member.path}: its project has no name")
        return member.name
    members = {each.name for each in [root, *map(_Project.read, root.members())] if each.name}
    check_known([wanted], members, "member", f"the workspace {root.directory}")
    return normalize(wanted)


def _check_chosen(spec: EnvironmentSpec, lock: UvLock, root: _Project, chosen: t.Sequence[_Project]) -> None:
    """Raise SpecError if an environment asks for extras or groups that do not exist."""
    extras: set[str] = set()
    for each in chosen:
        is_dynamic = "optional-dependencies" in each.dynamic
        extras |= lock.extras(each.name) if is_dynamic else {*each.table("project", "optional-dependencies")}
    what = chosen[0].directory if len(chosen) == 1 else root.directory
    check_known(spec.extras, extras, "extra", what)
    check_known(spec.groups, {group for each in [root, *chosen] for group in each.groups()}, "group", what)


def _dynamic(root: str, own: t.Mapping[str, _Project], beside: t.Mapping[str, str]) -> t.Iterator[str]:
    """What would have to be built to know its dependencies."""
    for directory in {*own, *beside}:
        project = own.get(directory)
        if project is None or (not project.name and directory != root):
            yield beside.get(directory, os.path.basename(directory))
        elif {"dependencies", "optional-dependencies"} & set(project.dynamic):
            yield project.name


def _undeclared(project: _Project, index: Index | None) -> dict[str, str]:
    """The indexes of a project, except its default one, that the site does not have: their names, by URL."""
    if index is None:
        return {}
    settings = project.table("tool", "uv")
    path = os.path.join(project.directory, "uv.toml")
    if os.path.exists(path):  # Then uv reads nothing of the kind elsewhere.
        settings = toml(read(path), path)
    urls, names = set(), set()
    for each in index.urls():
        name, equals, url = each.partition("=")
        is_named = bool(equals) and ":" not in name
        names |= {name} if is_named else set()
        urls.add(normalized_url(url if is_named else each))
    found = {}
    for each in _list(settings.get("index", [])):
        given = each if isinstance(each, dict) else {}
        address, name = normalized_url(str(given.get("url", ""))), str(given.get("name", ""))
        if not given.get("default") and address not in urls and name not in names | {_PUBLIC}:
            found[address] = name or "extra"
    return found


def _build_constraints(project: _Project) -> list[tuple[str, str]]:
    """What a project limits builds to: uv's ``build-constraint-dependencies``. Raises SpecError."""
    lines = []
    for item in _list(project.table("tool", "uv").get("build-constraint-dependencies", [])):
        parts = [item.get("requirement"), *_list(item.get("hashes", []))] if isinstance(item, dict) else [item]
        words = [part for part in parts if isinstance(part, str) and len(part.splitlines()) == 1]
        if len(words) != len(parts):
            raise SpecError(f"{project.path}: build-constraint-dependencies has an item that is not a requirement")
        lines.append(check_line(" ".join([words[0], *(f"--hash={each}" for each in words[1:])]), project.path))
    return [("pyproject.toml.in", "".join(f"{line}\n" for line in lines))] if lines else []


def _list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else [value]
