# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment specs: what an admin declares, checked before anything is written, and the digests of it."""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t

from ..errors import SpecError
from ..host import secrets
from ..host.checksum import of_data
from ..host.platform import check_glibc, glibc_version
from ..options import ENVIRONMENT_KEYS

# As a directory name, a lock's file name and a word on a command line; no dots first, so no hidden files and no "..".
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\Z")
_NAME_MAX = 64
_PYTHON = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?t?\Z")
_MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")
# What uv's --exclude-newer takes, less its relative forms, whose meaning changes from day to day.
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:?[0-9]{2}))?\Z")


@dataclasses.dataclass(frozen=True)
class EnvironmentSpec:
    """One environment as declared. The fields are the keys of an item of ``uvnas_envs``, but for the last."""

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
    project: t.Optional[str] = None
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
    # The oldest glibc that it has to run with: see for_glibc().
    glibc: t.Optional[str] = None

    @property
    def present(self) -> bool:
        return self.state == "present"

    def on_share(self, share: str) -> bool:
        """Whether it is declared on the share of this name."""
        return self.shares is None or share in self.shares

    def as_dict(self) -> dict[str, t.Any]:
        """As plain data, less what is as by default."""
        fields = {field.name: (getattr(self, field.name), field.default) for field in dataclasses.fields(self)}
        return {name: value for name, (value, default) in fields.items() if value != default}

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> EnvironmentSpec:
        return cls(**{key: _frozen(value) for key, value in data.items()})

    def build_options(self) -> dict[str, t.Any]:
        """Everything but lock and interpreter that decides what a generation contains."""
        return {
            "compile_bytecode": self.compile_bytecode,
            "no_binary": sorted(self.no_binary),
            "system_site_packages": self.system_site_packages,
            **({"glibc": self.glibc} if self.glibc else {}),
        }

    def uv_variables(self) -> dict[str, str]:
        """What uv is told for this environment, which wins over what the site says."""
        return {"UV_TORCH_BACKEND": self.torch_backend} if self.torch_backend else {}


@dataclasses.dataclass(frozen=True)
class Sources:
    """The texts that an environment is resolved from, wherever they came from: the inventory or files.

    Each file is a pair of its name, for annotations and messages, and its text.
    """

    requirements: tuple[tuple[str, str], ...] = ()
    constraints: tuple[tuple[str, str], ...] = ()
    overrides: tuple[tuple[str, str], ...] = ()
    # Of a project: paths relative to it, pyproject.toml and uv.lock among them.
    project: tuple[tuple[str, str], ...] = ()
    # A ready-made lock, in requirements format.
    lock: t.Optional[str] = None

    def as_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Sources:
        def files(key: str) -> tuple[tuple[str, str], ...]:
            return tuple((str(name), str(text)) for name, text in data.get(key) or ())

        return cls(files("requirements"), files("constraints"), files("overrides"), files("project"), data.get("lock"))


def parse_environments(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[EnvironmentSpec]:
    """``uvnas_envs`` as specs. Raises SpecError that names every problem at once."""
    problems: list[str] = []
    specs: list[EnvironmentSpec] = []
    for position, item in enumerate(items, 1):
        unknown = sorted(set(item) - set(ENVIRONMENT_KEYS))
        label = f"environment {item.get('name') or f'number {position}'}"
        if unknown:
            problems.append(f"{label}: unknown key {', '.join(unknown)}")
            continue
        wrong_types = list(_type_problems(item))
        if wrong_types:
            problems += [f"{label}: {problem}" for problem in wrong_types]
            continue
        spec = EnvironmentSpec.from_dict({key: value for key, value in item.items() if value is not None})
        specs.append(spec)
        problems += [f"{label}: {problem}" for problem in _problems(spec)]
    names = collections.Counter(spec.name for spec in specs)
    problems += [f"environment {name}: declared {count} times" for name, count in names.items() if count > 1]
    # Many NAS filesystems are exported to systems that do not tell upper from lower case.
    folded = collections.Counter(name.lower() for name in names)
    problems += [f"environment {name}: differs from another only in case" for name, n in folded.items() if n > 1]
    if problems:
        raise SpecError(
            "uvnas_envs cannot be used: " + "; ".join(problems), hint="Nothing has been changed. Correct the inventory."
        )
    return specs


def for_glibc(specs: t.Iterable[EnvironmentSpec], shares: t.Mapping[str, t.Any]) -> list[EnvironmentSpec]:
    """The specs with their glibc: the oldest one of the shares that each is declared for. ``shares`` has it by name.

    Not the one of the share at work: an environment on two shares has one lock, and one generation. Raises SpecError.
    """
    known = {name: check_glibc(name, glibc) for name, glibc in shares.items()}
    return [
        dataclasses.replace(
            spec,
            glibc=min((glibc for name, glibc in known.items() if spec.on_share(name)), key=glibc_version, default=None),
        )
        for spec in specs
    ]


def check_shares_exist(specs: t.Iterable[EnvironmentSpec], shares: t.Collection[str]) -> None:
    """Raise SpecError where an environment names a share that there is not."""
    wrong = [
        f"environment {spec.name}: no share is called {share}"
        for spec in specs
        for share in spec.shares or ()
        if share not in shares
    ]
    if wrong:
        raise SpecError("; ".join(wrong), hint=f"The shares are: {', '.join(sorted(shares))}.")


def check_name(name: str) -> t.Optional[str]:
    """What is wrong with ``name`` as the name of an environment; None where nothing is."""
    if not name:
        return "the name is empty"
    if len(name) > _NAME_MAX:
        return f"the name is longer than {_NAME_MAX} characters"
    if not _NAME.match(name):
        return "the name may hold letters, digits and . _ + - only, and begins with a letter or digit"
    return None


def spec_digest(spec: EnvironmentSpec, sources: Sources, index_settings: t.Mapping[str, str]) -> str:
    """The digest of everything that a resolution depends on, less the addresses of indexes.

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
    if spec.glibc and spec.project is None and spec.lock is None:  # Those two are not resolved for any platform.
        what["glibc"] = spec.glibc
    return of_data(what)


def significant_lines(text: str) -> list[str]:
    """The lines of a requirements file that mean something: no comments, no blank lines."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def _frozen(value: t.Any) -> t.Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _type_problems(item: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """What YAML made of a value that was meant otherwise, such as a number of a version without quotes."""
    if item.get("name") is None:
        yield "the name is missing"
    for key, value in item.items():
        kind = ENVIRONMENT_KEYS[key]["type"]
        if value is None or kind == "bool":
            continue
        if kind == "str" and not isinstance(value, str):
            yield f"{key} is {value}, which is no text; put it in quotes"
        elif kind == "list" and not (isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)):
            yield f"{key} is {secrets.scrub(repr(value))}, which is no list of texts"


def _problems(spec: EnvironmentSpec) -> t.Iterator[str]:
    wrong_name = check_name(spec.name)
    if wrong_name:
        yield wrong_name
    if spec.state not in ("present", "absent"):
        yield f"state is {spec.state!r}; it must be present or absent"
    if not spec.present:
        return
    if not spec.python:
        yield 'python is missing; say which, such as "3.12"'
    elif not _PYTHON.match(spec.python):
        yield f'python is {spec.python!r}; it must be a version such as "3.12" or "3.12.4", in quotes'
    if spec.shares is not None and not spec.shares:
        yield "shares is an empty list; leave it out for every share, or use state: absent"
    yield from _source_problems(spec)
    for module in spec.imports:
        if not _MODULE_NAME.match(module):
            yield f"imports: {module!r} is no name of a module"
    if spec.exclude_newer and not _TIMESTAMP.match(spec.exclude_newer):
        yield f"exclude_newer is {spec.exclude_newer!r}; it must be a date (2026-01-31) or a time with zone (RFC 3339)"
    for line in spec.requirements or ():
        if not line.strip() or "\n" in line or line.lstrip().startswith("-"):
            shown = secrets.scrub(line)
            yield f"requirements: {shown!r} is no requirement; files go to requirements_files, indexes to uvnas_index"
    for key in ("requirements", "constraints", "overrides"):
        for line in getattr(spec, key) or ():
            if secrets.has_credentials(line):
                shown = secrets.scrub(line)
                yield f"{key}: {shown!r} holds a password, which the lock would show to everybody; use netrc for it"


def _source_problems(spec: EnvironmentSpec) -> t.Iterator[str]:
    from_requirements = spec.requirements is not None or bool(spec.requirements_files)
    given = [
        name
        for name, is_given in (
            ("requirements", from_requirements),
            ("project", spec.project is not None),
            ("lock", spec.lock is not None),
        )
        if is_given
    ]
    if not given:
        yield "it has no source; give requirements, requirements_files, project or lock"
    if len(given) > 1:
        yield f"it has {len(given)} sources ({' and '.join(given)}); give one"
    if given == ["requirements"]:
        extra = [key for key in ("extras", "groups") if getattr(spec, key)]
        if extra:
            yield f"{' and '.join(extra)} can be used with project only"
    elif given:
        resolver = ("constraints", "constraints_files", "overrides", "overrides_files", "exclude_newer")
        extra = [key for key in resolver if getattr(spec, key)]
        if given == ["lock"]:
            extra += [key for key in ("extras", "groups") if getattr(spec, key)]
        if extra:
            yield f"{' and '.join(extra)} cannot be used with {given[0]}, which is resolved already"
