# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parses ``uvnas_envs`` from an inventory into specs, and checks them before anything is written."""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t

from ..errors import SpecError
from ..host import secrets
from ..host.data import is_text, wrong_version
from ..host.platform import check_glibc, glibc_version
from ..options import ENVIRONMENT_KEYS
from .requirement import objection
from .spec import EnvironmentSpec

# A directory name, a lock's file name and a word on a command line. No leading dot, so no hidden files and no "..".
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\Z")
_NAME_MAX = 64
# Ansible's.
_YES, _NO = ("true", "yes", "on", "1", "y", "t"), ("false", "no", "off", "0", "n", "f")
_PYTHON = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?t?\Z")
_MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")
# What uv's --exclude-newer takes, except relative forms, whose meaning changes from day to day.
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:?[0-9]{2}))?\Z")


def parse_environments(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[EnvironmentSpec]:
    """``uvnas_envs`` as specs. Raises one SpecError with every problem."""
    problems: list[str] = []
    specs: list[EnvironmentSpec] = []
    for position, item in enumerate(items, 1):
        unknown = sorted(secrets.scrub(str(key)) for key in set(item) - set(ENVIRONMENT_KEYS))
        label = f"environment {secrets.scrub(str(item.get('name') or f'number {position}'))}"
        if unknown:
            problems.append(f"{label}: unknown key {', '.join(unknown)}")
            continue
        wrong_types = list(_type_problems(item))
        if wrong_types:
            problems += [f"{label}: {problem}" for problem in wrong_types]
            continue
        spec = EnvironmentSpec.from_dict({k: _converted(k, v) for k, v in item.items() if v is not None})
        specs.append(spec)
        problems += [f"{label}: {problem}" for problem in _problems(spec)]
    names = collections.Counter(spec.name for spec in specs)
    problems += [f"environment {name}: declared {count} times" for name, count in names.items() if count > 1]
    # Many NAS filesystems are exported to case-insensitive systems, too.
    folded = collections.Counter(name.lower() for name in names)
    problems += [
        f"environment {name}: its name differs from another only in case" for name, n in folded.items() if n > 1
    ]
    if problems:
        raise SpecError("\n".join(problems))
    return specs


def for_glibc(specs: t.Iterable[EnvironmentSpec], shares: t.Mapping[str, t.Any]) -> list[EnvironmentSpec]:
    """The specs with their glibc: the oldest of the shares that each is declared for. ``shares`` maps names to glibc.

    Not just that of the current share: an environment on two shares has one lock and one generation id. Raises
    SpecError.
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
    """Raise SpecError if an environment names a share that does not exist."""
    wrong = [
        f"environment {spec.name}: unknown share {share}; declared: {', '.join(sorted(shares)) or 'none'}"
        for spec in specs
        for share in spec.shares or ()
        if share not in shares
    ]
    if wrong:
        raise SpecError("\n".join(wrong))


def check_name(name: str) -> t.Optional[str]:
    """What is wrong with ``name`` as the name of an environment; None if nothing is."""
    if not name:
        return "the name is empty"
    if len(name) > _NAME_MAX:
        return f"the name is longer than {_NAME_MAX} characters"
    if not _NAME.match(name):
        return "the name may contain only letters, digits and . _ + -, and must begin with a letter or digit"
    return None


def _type_problems(item: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """Values of the wrong type, often because YAML reads them differently, such as a version without quotes."""
    if item.get("name") is None:
        yield "the name is missing"
    for key, value in item.items():
        kind = ENVIRONMENT_KEYS[key]["type"]
        if value is None:
            continue
        if kind == "dict":
            yield from _try_on_problems(value)
            continue
        if kind == "bool" and not isinstance(_converted(key, value), bool):
            yield f"{key} must be true or false, not {secrets.scrub(repr(value))}"
        if key == "python" and not isinstance(value, str):
            yield f"python {wrong_version(value)}"
        elif kind == "str" and not isinstance(value, str):
            yield f"{key} must be a string, not {secrets.scrub(str(value))}; quote it"
        elif kind == "list" and not (isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)):
            yield f"{key} must be a list of strings, not {secrets.scrub(repr(value))}"
        elif kind != "bool" and not all(map(is_text, [value] if kind == "str" else value)):
            yield f"{key} is {secrets.scrub(repr(value))}, which has a character that no file can contain"


def _try_on_problems(value: t.Any) -> t.Iterator[str]:
    """What is wrong with the value of ``try_on``."""
    if not isinstance(value, dict):
        yield f"try_on must have the keys hosts and at_least, not be {secrets.scrub(repr(value))}"
        return
    unknown = sorted(secrets.scrub(str(key)) for key in set(value) - {"hosts", "at_least"})
    if unknown:
        yield f"try_on: unknown key {', '.join(unknown)}"
    hosts, number = value.get("hosts"), value.get("at_least", 1)
    if not (isinstance(hosts, (list, tuple)) and hosts and all(isinstance(host, str) and host for host in hosts)):
        yield f"try_on: hosts must be a list of hosts and groups, not {secrets.scrub(repr(hosts))}"
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        yield f"try_on: at_least must be a number of hosts, not {secrets.scrub(repr(number))}"


def _converted(key: str, value: t.Any) -> t.Any:
    """A flag as Ansible understands it; anything else unchanged."""
    if ENVIRONMENT_KEYS[key]["type"] == "bool" and isinstance(value, (str, int)):
        word = str(value).lower().strip()
        return word in _YES if word in (*_YES, *_NO) else value
    return value


def _problems(spec: EnvironmentSpec) -> t.Iterator[str]:
    wrong_name = check_name(spec.name)
    if wrong_name:
        yield wrong_name
    if spec.state not in ("present", "absent"):
        yield f"state must be present or absent, not {spec.state!r}"
    if not spec.present:
        return
    if not spec.python:
        yield 'python is missing; give a version, such as "3.12"'
    elif not _PYTHON.match(spec.python):
        yield f'python must be a version such as "3.12" or "3.12.4", not {spec.python!r}'
    if spec.shares is not None and not spec.shares:
        yield "shares is empty; leave it out for every share, or use state: absent"
    yield from _source_problems(spec)
    for module in spec.imports:
        if not _MODULE_NAME.match(module):
            yield f"imports: {module!r} is not a module name"
    if spec.exclude_newer and not _TIMESTAMP.match(spec.exclude_newer):
        yield f"exclude_newer must be a date (2026-01-31) or a time with zone (RFC 3339), not {spec.exclude_newer!r}"
    for key in ("requirements", "constraints", "overrides", "build_constraints"):
        objections = (objection(line, key) for line in getattr(spec, key) or ())
        yield from (f"{key}: {problem}" for problem in objections if problem)


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
        yield "no packages are declared; give requirements, requirements_files, project or lock"
    if len(given) > 1:
        yield f"{' and '.join(given)} exclude each other; give one"
    of_locks = [key for key in ("extras", "groups") if getattr(spec, key)]
    if of_locks and not (spec.project is not None or (spec.lock or "").endswith(".toml")):
        yield f"{' and '.join(of_locks)} can only be used with project or a pylock.toml"
    if spec.package is not None and spec.project is None:
        yield "package can only be used with project"
    if given and given != ["requirements"]:
        resolver = ("constraints", "constraints_files", "overrides", "overrides_files", "exclude_newer")
        extra = [key for key in resolver if getattr(spec, key)]
        if extra:
            yield f"{' and '.join(extra)} cannot be used with {given[0]}, which is already resolved"
