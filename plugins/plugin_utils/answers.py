# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts answered, as far as it is what a module would ever return. Pure.

A host answers what it wants. What is taken from here on is a text on one line, a number, or None.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

Answer = t.Mapping[str, t.Any]
# What each host has registered, among all else that is known of it, by the host's name.
Hostvars = t.Mapping[str, t.Mapping[str, t.Any]]

# Longer than any name, version or path that makes sense.
_LONGEST = 300
_NUMBERS = 1 << 62


def text(value: t.Any) -> str | None:
    """A text on one line, which can only be seen as what it is."""
    if not isinstance(value, str):
        return None
    return "".join(character if character.isprintable() else "?" for character in str(value[:_LONGEST]))


def message(value: t.Any) -> str | None:
    """What a module says of a failure, on one line: what happened, and what to do."""
    if not isinstance(value, str):
        return None
    *first, last = [line.strip() for line in value.splitlines() if line.strip()] or [""]
    return text(" ".join([*(line if line.endswith((".", "?", "!", ":")) else f"{line}." for line in first), last]))


def word(value: t.Any) -> str | None:
    """The same of what has no spaces in it, such as a name: nobody takes a part of it for the next column."""
    found = text(value)
    return None if not found else re.sub(r"\s", "?", found)


def number(value: t.Any) -> int | float | None:
    """A number that can be the size or the age of something."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value < _NUMBERS else None  # Which nan is not.


def whole(value: t.Any) -> int | None:
    return value if isinstance(value, int) and number(value) is not None else None


def mapping(value: t.Any) -> Answer:
    return value if isinstance(value, Mapping) else {}


def is_list(value: t.Any) -> bool:
    return isinstance(value, (list, tuple))


def mappings(value: t.Any) -> list[Answer]:
    return [item for item in value if isinstance(item, Mapping)] if is_list(value) else []


def words(value: t.Any) -> list[str]:
    found = [word(item) for item in value] if is_list(value) else []
    return [item for item in found if item is not None]


def pairs(value: t.Any) -> list[tuple[str, str]] | None:
    """Pairs of words, such as kinds with names; None if it is no list."""
    if not isinstance(value, (list, tuple)):
        return None
    found = [words(item) for item in value if is_list(item) and len(item) == 2]
    return [(item[0], item[1]) for item in found if len(item) == 2]


def texts(value: t.Any) -> list[str]:
    found = [text(item) for item in value] if is_list(value) else []
    return [item for item in found if item is not None]


def of_loop(registered: t.Any, share: str) -> list[Answer]:
    """What a task that a host did for each of its shares, and registered, says of one of them.

    Which share that was is the controller's word, and not the host's.
    """
    results = mappings(mapping(registered).get("results"))
    return [result for result in results if mapping(result.get("__uvnas_share")).get("name") == share]
