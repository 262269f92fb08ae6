# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain data from elsewhere: JSON, and dataclasses built from it. None of it is trusted."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import math
import re
import typing as t

from ..errors import UvnasError
from .secrets import scrub

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
# Sizes and numbers of files are no larger anywhere.
_LARGEST = 1 << 63


def parse_json(text: t.Union[str, bytes], what: str, *, hint: str = "") -> t.Any:
    """Parse ``text``, which was read from ``what``. Raises UvnasError if it is not JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise UvnasError(f"{what} is not valid JSON: {error}", hint=hint) from error
    except RecursionError:
        raise UvnasError(f"{what} is not valid JSON: it is nested too deeply", hint=hint) from None


def is_text(value: t.Any) -> bool:
    """Whether ``value`` is text that files and programs accept: no NUL, no lone surrogate."""
    return isinstance(value, str) and not _NO_TEXT.search(value)


def is_time(value: t.Any) -> bool:
    """Whether ``value`` is a time with its zone, ISO 8601."""
    try:
        return datetime.datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def plain(text: str) -> str:
    """A text that is safe for terminals and JSON: people may give processes and files any name."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def wrong_version(value: t.Any) -> t.Optional[str]:
    """What is wrong with ``value``, as YAML read it, as a version: words to follow its name.

    None for a string; others decide whether that is a version. Unquoted, 3.10 is the number 3.1, and nobody can tell
    them apart any more. Ansible turns numbers into strings on the way to modules, so this is for variables.
    """
    if isinstance(value, str):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"must be a version in quotes, not {scrub(repr(value))}"
    zero = f' (or "{value}0": YAML drops the zero)' if re.fullmatch(r"\d+\.\d", str(value)) else ""
    return f'must be a string; quote it: "{value}"{zero}'


def _is_whole(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST


def _is_number(value: t.Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_list_of_texts(value: t.Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(is_text, value))


def _is_mapping_of_texts(value: t.Any) -> bool:
    return isinstance(value, dict) and all(map(is_text, value.values()))


# The JSON that fields of dataclasses accept, by their annotations.
_KINDS: dict[str, t.Callable[[t.Any], bool]] = {
    "str": is_text,
    "t.Optional[str]": lambda value: value is None or is_text(value),
    "bool": lambda value: isinstance(value, bool),
    "int": _is_whole,
    "float": _is_number,
    "t.Mapping[str, str]": _is_mapping_of_texts,
    "t.Optional[t.Mapping[str, str]]": lambda value: value is None or _is_mapping_of_texts(value),
    "t.Optional[t.Mapping[str, t.Any]]": lambda value: value is None or isinstance(value, dict),
    "t.Sequence[str]": _is_list_of_texts,
    "tuple[str, ...]": _is_list_of_texts,
    "t.Optional[tuple[str, ...]]": lambda value: value is None or _is_list_of_texts(value),
}


def _is_of_kind(annotation: str, value: t.Any) -> bool:
    if annotation in _KINDS:
        return _KINDS[annotation](value)
    return isinstance(value, dict) if annotation.startswith("t.Mapping[") else value is not None


def wrong_fields(kind: type, given: t.Mapping[str, t.Any]) -> list[str]:
    """The fields of a dataclass that are missing in what is given, or have another type there."""
    return [
        field.name
        for field in dataclasses.fields(kind)
        if not _is_of_kind(str(field.type), given.get(field.name, field.default))
    ]


Part = t.TypeVar("Part")


def made_of(data: t.Any, kind: type[Part]) -> t.Optional[Part]:
    """A dataclass built from ``data``; None if it is missing or damaged. What a later release added is left out."""
    if not isinstance(data, dict):
        return None
    names = {field.name for field in dataclasses.fields(t.cast(t.Any, kind))}
    with contextlib.suppress(TypeError):
        made = kind(**{name: value for name, value in data.items() if name in names})
        return None if wrong_fields(kind, vars(made)) else made
    return None
