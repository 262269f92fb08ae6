# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An environment as declared, what it is resolved from, and the digest of that."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ..errors import SpecError
from ..host.checksum import of_data
from ..host.data import is_text, wrong_fields


@dataclasses.dataclass(frozen=True)
class EnvironmentSpec:
    """One environment as declared. The fields are the keys of an item of ``uvnas_envs``, except the last."""

    name: str
    state: str = "present"
    shares: t.Optional[tuple[str, ...]] = None
    python: str = ""
    requirements: t.Optional[tuple[str, ...]] = None
    requirements_files: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    constraints_files: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    overrides_files: tuple[str, ...] = ()
    build_constraints: tuple[str, ...] = ()
    build_constraints_files: tuple[str, ...] = ()
    project: t.Optional[str] = None
    package: t.Optional[str] = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    lock: t.Optional[str] = None
    exclude_newer: t.Optional[str] = None
    no_binary: tuple[str, ...] = ()
    torch_backend: t.Optional[str] = None
    imports: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    seed: bool = False
    system_site_packages: bool = False
    compile_bytecode: bool = True
    # Where its generations are tried before they are published: ``hosts`` and ``at_least``.
    try_on: t.Optional[t.Mapping[str, t.Any]] = None
    # A generation that stays in force, whatever the rest of this says: its id, or the beginning of it.
    hold: t.Optional[str] = None
    # The oldest glibc that it must run with: see declared.for_glibc().
    glibc: t.Optional[str] = None

    @property
    def present(self) -> bool:
        return self.state == "present"

    def on_share(self, share: str) -> bool:
        """Whether it is declared on the share of this name."""
        return self.shares is None or share in self.shares

    def as_dict(self) -> dict[str, t.Any]:
        """As plain data, without defaults."""
        fields = {field.name: (getattr(self, field.name), field.default) for field in dataclasses.fields(self)}
        return {name: value for name, (value, default) in fields.items() if value != default}

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> EnvironmentSpec:
        """The environment that as_dict() described. Raises SpecError if it cannot have been one."""
        unknown = sorted(str(key) for key in set(data) - {field.name for field in dataclasses.fields(cls)})
        wrong = unknown or wrong_fields(cls, data)
        if wrong:
            raise SpecError(f"environment {data.get('name')!r}: unknown or of a wrong type: {', '.join(wrong)}")
        return cls(**{key: _frozen(value) for key, value in data.items()})

    def build_options(self) -> dict[str, t.Any]:
        """Everything that decides what a generation contains, except lock and interpreter."""
        return {
            "compile_bytecode": self.compile_bytecode,
            "no_binary": sorted(self.no_binary),
            "system_site_packages": self.system_site_packages,
            **({"glibc": self.glibc} if self.glibc else {}),
        }

    def uv_variables(self) -> dict[str, str]:
        """The variables of uv for this environment, which win over the site's."""
        return {"UV_TORCH_BACKEND": self.torch_backend} if self.torch_backend else {}


class Condition(t.NamedTuple):
    """What an interpreter must fulfil for a lock to be used, as markers: where ``when`` holds, so must ``must``.

    Without ``when``, always. ``problem`` is the message for an interpreter that does not.
    """

    problem: str
    when: str
    must: str


@dataclasses.dataclass(frozen=True)
class Sources:
    """The texts that an environment is resolved from, wherever they came from: the inventory or files.

    Each file is a pair of its name, for annotations and messages, and its text.
    """

    requirements: tuple[tuple[str, str], ...] = ()
    constraints: tuple[tuple[str, str], ...] = ()
    overrides: tuple[tuple[str, str], ...] = ()
    # Limits for build requirements.
    build_constraints: tuple[tuple[str, str], ...] = ()
    # A project's pyproject.toml and uv.lock, and the pyproject.toml of directories in it and beside it.
    project: tuple[tuple[str, str], ...] = ()
    # The directory of uv.lock among these files.
    directory: str = ""
    # The member of its workspace to install; empty for what is beside uv.lock.
    package: str = ""
    # What must be present or built to know what it depends on, and so whether uv.lock is up to date.
    dynamic: tuple[str, ...] = ()
    # A ready-made lock, in requirements format.
    lock: t.Optional[str] = None
    # What the interpreter must fulfil for that.
    conditions: tuple[Condition, ...] = ()

    def as_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Sources:
        """The texts that as_dict() described. Raises SpecError if it cannot have been them."""
        lock = data.get("lock")
        if not (lock is None or is_text(lock)):
            raise SpecError("sources: lock is not a string")
        keys = ("requirements", "constraints", "overrides", "build_constraints", "project")
        files = {key: _files(data, key) for key in keys}
        directory, package = (data.get(key) or "" for key in ("directory", "package"))
        dynamic, conditions = (data.get(key) or () for key in ("dynamic", "conditions"))
        if not (_are_texts([directory, package]) and _are_texts(dynamic)) or leads_out(directory):
            raise SpecError("sources: those of a project are damaged")
        if not (isinstance(conditions, (list, tuple)) and all(_are_texts(each, 3) for each in conditions)):
            raise SpecError("sources: conditions are damaged")
        return cls(
            **files,
            directory=directory,
            package=package,
            dynamic=tuple(dynamic),
            lock=lock,
            conditions=tuple(Condition(*each) for each in conditions),
        )


def spec_digest(spec: EnvironmentSpec, sources: Sources, index_settings: t.Mapping[str, str]) -> str:
    """The digest of everything that a resolution depends on, except the addresses of indexes.

    A lock is index-agnostic: moving to a mirror is no reason to resolve again.
    """
    settings = {**index_settings, **({"torch_backend": spec.torch_backend} if spec.torch_backend else {})}
    what = {
        "constraints": [significant_lines(text) for _name, text in sources.constraints],
        "exclude_newer": spec.exclude_newer,
        "extras": sorted(spec.extras),
        "groups": sorted(spec.groups),
        "index": settings,
        "lock": significant_lines(sources.lock or ""),
        "no_binary": sorted(spec.no_binary),
        "overrides": [significant_lines(text) for _name, text in sources.overrides],
        "project": sources.project,
        "python": spec.python,
        "requirements": [significant_lines(text) for _name, text in sources.requirements],
        "seed": spec.seed,
    }
    if spec.glibc and spec.project is None and spec.lock is None:  # Those two are not resolved for a platform.
        what["glibc"] = spec.glibc
    what.update({key: getattr(sources, key) for key in ("directory", "package") if getattr(sources, key)})
    declared = (*sources.requirements, *sources.constraints, *sources.overrides)
    if any(" --hash" in line for _name, text in declared for line in significant_lines(text)):
        what["hashes"] = "limit"  # A lock made before they did has others too.
    if sources.conditions:
        what["conditions"] = [[each.when, each.must] for each in sources.conditions]
    if sources.build_constraints:
        what["build_constraints"] = [significant_lines(text) for _name, text in sources.build_constraints]
    return of_data(what)


def significant_lines(text: str) -> list[str]:
    """The lines of a requirements file that mean something: no comments, no blank lines."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def leads_out(path: str) -> bool:
    """Whether a path may lead out of the directory that it starts at."""
    return os.path.isabs(path) or ".." in path.split("/")


def _files(data: t.Mapping[str, t.Any], key: str) -> tuple[tuple[str, str], ...]:
    """Names and texts of files, as Sources.as_dict() has them under ``key``. Raises SpecError."""
    found = data.get(key) or ()
    if not isinstance(found, (list, tuple)):
        raise SpecError(f"sources: {key} is not a list of files")
    for file in found:
        if not (isinstance(file, (list, tuple)) and len(file) == 2 and all(map(is_text, file))):
            raise SpecError(f"sources: {key} has something other than names and texts of files")
        # Each is written below a directory of its own, and nowhere else.
        if leads_out(file[0]):
            raise SpecError(f"sources: {key} has {file[0]!r}, which leads out of its directory")
    return tuple((name, text) for name, text in found)


def _are_texts(value: t.Any, count: t.Optional[int] = None) -> bool:
    """Whether ``value`` is a list of strings, ``count`` of them."""
    is_list = isinstance(value, (list, tuple)) and (count is None or len(value) == count)
    return is_list and all(map(is_text, value))


def _frozen(value: t.Any) -> t.Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
