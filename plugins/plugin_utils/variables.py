# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that roles declare: which they are, the types of their values, and what is wrong with one."""

from __future__ import annotations

import difflib
import functools
import reprlib
import typing as t
from collections.abc import Mapping
from pathlib import Path

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..module_utils.host.data import wrong_version
from ..module_utils.host.secrets import scrub

Option = t.Mapping[str, t.Any]
Options = t.Mapping[str, Option]

PREFIX = "uvnas_"
# What Ansible calls the rest of a value of -e after a space.
CUT_OFF = "_raw_params"
_ROLES = Path(__file__).resolve().parents[2] / "roles"
# What to call one item of a list of dictionaries.
_NOUNS = {"uvnas_shares": "share", "uvnas_envs": "environment", "uvnas_site_pythons": "interpreter"}
_KINDS = {
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "a string",
}
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 80
_shown.maxlist, _shown.maxdict = 3, 2


class WrongValueError(Exception):
    """What is wrong with a value, one text per problem."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@functools.cache
def options() -> Options:
    """The options of all roles, by variable name. Roles agree on those that they share."""
    found: dict[str, Option] = {}
    for path in sorted(_ROLES.glob("*/meta/argument_specs.yml")):
        found.update(_yaml(path)["argument_specs"]["main"]["options"])
    return found


def _yaml(path: Path) -> t.Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_bytes(), Loader=loader)


def unknown(names: t.Iterable[str], known: t.Collection[str]) -> list[str]:
    """A message for each of ``names`` that has the collection's prefix and is not ``known``."""
    names = list(names)
    cut = ["a value given with -e ends at its first space; quote it twice: -e \"uvnas_reason='too slow'\""]
    wrong = sorted(name for name in names if name.startswith(PREFIX) and name not in known)
    return (cut if CUT_OFF in names else []) + [
        f"{name} is not a variable of uvnas.cluster; {_meant(name, known) or f'name your own without {PREFIX}'}"
        for name in wrong
    ]


def _meant(name: str, known: t.Collection[str]) -> str:
    """The name most like ``name``, as a question; empty if none is."""
    like = difflib.get_close_matches(name, known, 1, 0.75)
    return f"did you mean {like[0]}?" if like else ""


def checked(name: str, value: t.Any, option: Option) -> t.Any:
    """``value``, as given for a variable, in the type of its ``option``; None is as good as not given.

    Raises WrongValueError.
    """
    problems: list[str] = []
    texts = option["type"] == "list" and option.get("elements", "str") != "dict"
    if texts and value is not None and not isinstance(value, (list, dict)):
        # As from the command line.
        value = [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else [value]
    found = _checked(name, value, option, problems)
    if problems:
        raise WrongValueError(problems)
    return found


def _checked(label: str, value: t.Any, option: Option, problems: list[str]) -> t.Any:
    kind = option["type"]
    if value is None:
        if kind in ("str", "path"):
            return None
        problems.append(f"{label} is empty; leave it out, or give it {_KINDS.get(kind, 'keys with values')}")
        return None
    if kind == "dict":
        return _dictionary(label, value, option, problems)
    if kind == "list":
        return _list(label, value, option, problems)
    return _single(label, value, option, problems)


def _list(name: str, value: t.Any, option: Option, problems: list[str]) -> t.Any:
    element = {**option, "type": option.get("elements", "str")}
    if not isinstance(value, (list, tuple)):
        problems.append(f"{name} must be a list{_of(element)}{_instead(value, option)}")
        return None
    if element["type"] != "dict":
        if None in value:
            problems.append(f"{name} has an empty item; leave it out")
        return [_checked(name, item, element, problems) for item in value]
    noun = _NOUNS.get(name, name)
    found = []
    for position, item in enumerate(value, 1):
        called = item.get("name") if isinstance(item, Mapping) else None
        label = f"{noun} {_named(called) if called and isinstance(called, str) else f'number {position}'}"
        if isinstance(item, Mapping):
            found.append(_dictionary(label, item, element, problems))
        else:
            problems.append(f"{label} must be a dictionary with keys such as name{_instead(item, option)}")
    return found


def _of(element: Option) -> str:
    return " of dictionaries" if element["type"] == "dict" else ""


def _dictionary(label: str, value: t.Any, option: Option, problems: list[str]) -> t.Any:
    if not isinstance(value, Mapping):
        problems.append(f"{label} must be a dictionary{_instead(value, option)}")
        return None
    # In YAML, on and 1 are not.
    if not all(isinstance(key, str) for key in value):
        problems.append(f"{label} has a key that is not a string; quote it")
        return None
    keys: Options = option.get("options") or {}
    if not keys:
        return dict(value)
    for key in sorted(set(value) - set(keys)):
        meant = _meant(key, keys) or f"the keys are {', '.join(sorted(keys))}"
        problems.append(f"{label}: unknown key {_named(key)}; {meant}")
    problems += [
        f"{label}: {key} is missing"
        for key, about in keys.items()
        if about.get("required") and value.get(key) in (None, "")
    ]
    joint = ": " if " " in label else "."
    return {
        key: _checked(f"{label}{joint}{key}", item, keys[key], problems)
        for key, item in value.items()
        if key in keys and item is not None
    }


def _single(label: str, value: t.Any, option: Option, problems: list[str]) -> t.Any:
    kind = option["type"]
    if kind in ("str", "path"):
        if isinstance(value, float):
            problems.append(f"{label} {wrong_version(value)}")
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            problems.append(f"{label} must be {_KINDS[kind]}{_instead(value, option)}")
            return None
    # A path may be on hosts, which have other homes and variables than the controller: it stays as it is.
    plain = "str" if kind == "path" else kind
    done = ArgumentSpecValidator({"value": {"type": plain}}).validate({"value": value})
    if done.error_messages or isinstance(value, (list, tuple, Mapping)):
        problems.append(f"{label} must be {_KINDS[kind]}{_instead(value, option)}")
        return None
    found = done.validated_parameters["value"]
    choices = option.get("choices")
    if choices and found not in choices:
        problems.append(f"{label} must be one of {', '.join(choices)}{_instead(value, option)}")
    return found


def _named(name: str) -> str:
    """A name that people gave, for a message of one line."""
    shown = scrub(name)
    return shown if shown.isprintable() else repr(shown)


def _instead(value: t.Any, option: Option) -> str:
    """What was given, for a message; nothing of what may be secret."""
    return "" if option.get("no_log") else f", not {scrub(_shown.repr(value))}"
