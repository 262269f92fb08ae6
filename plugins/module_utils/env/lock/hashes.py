# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes in requirements, constraints and overrides: they limit those that the lock has for the package.

``uv pip compile`` reads them and forgets them: it writes the hashes of all files that the index has of the version. And
it takes over hashes from the lock so far. So packages whose hashes were limited are marked there, and become free again
when the declaration no longer has hashes.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import UvnasError
from ...uv.wheel import normalize
from ..spec import Sources, significant_lines
from .file import Package

_MARK = "    # hashes as declared"
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?![A-Za-z0-9+.-]*:)")
_HASH = re.compile(r"\s--hash[= ]\s*(\S+)")
_LOCKED = re.compile(r"(\s*\\\n)?\s+--hash[= ]\S+")

# By package name, or by address for what only has an address.
Declared = t.Mapping[str, t.Collection[str]]


def declared(sources: Sources, applies: t.Callable[[str], bool] = lambda _marker: True) -> dict[str, set[str]]:
    """The declared hashes, by package, in lines whose marker ``applies``.

    Of several lines of a kind (for several platforms), any will do. A hash must be in requirements and constraints
    alike, if both name the package. An override replaces both, here too.
    """
    found: dict[str, set[str]] = {}
    for files in (sources.requirements, sources.constraints):
        for key, hashes in _of(files, applies).items():
            found[key] = found[key] & hashes if key in found else hashes
    overrides = _of(sources.overrides, applies)
    overridden = {_key(line) for _name, text in sources.overrides for line in significant_lines(text)}
    return {**{key: hashes for key, hashes in found.items() if key not in overridden}, **overrides}


def limited(packages: t.Iterable[Package], hashes: Declared, env: str) -> list[Package]:
    """``packages``, limited to the hashes declared for them. Raises UvnasError for one left without any."""
    kept, problems = [], []
    for package in packages:
        allowed = hashes.get(package.name, hashes.get(package.version[2:]))
        if allowed is None:
            kept.append(package)
            continue
        both = tuple([value for value in package.hashes if value in allowed])
        if both:
            kept.append(_with(package, both))
        else:
            problems.append(
                f"environment {env}: {package.pin} has none of the hashes declared for it "
                f"({_some(allowed)}); the index has {_some(package.hashes)}"
            )
    if problems:
        raise UvnasError(
            "\n".join(problems),
            hint="Does the index have another file than you meant? If not, correct --hash in the declaration.",
        )
    return kept


def unlimited(text: str, packages: t.Iterable[Package], hashes: Declared) -> str:
    """The text of the lock so far, which has ``packages``, without hashes that were or will be limited."""
    for package in packages:
        if _MARK in package.text or package.name in hashes or package.version[2:] in hashes:
            text = text.replace(package.text, _LOCKED.sub("", package.text), 1)
    return text


def _of(files: t.Iterable[tuple[str, str]], applies: t.Callable[[str], bool]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for _name, text in files:
        for line in significant_lines(text):
            hashes = {value.lower() for value in _HASH.findall(line)}
            if hashes and applies(_marker(line)):
                found.setdefault(_key(line), set()).update(hashes)
    return found


def _key(line: str) -> str:
    named = _NAMED.match(line)
    return normalize(named["name"]) if named else line.split(maxsplit=1)[0]


def _marker(line: str) -> str:
    """The marker of a requirement; empty if it has none. Only white space ends an address."""
    requirement = _HASH.sub("", line)
    parts = re.split(r"\s;" if "://" in requirement.partition(";")[0] else ";", requirement, maxsplit=1)
    return parts[1].strip() if len(parts) > 1 else ""


def _with(package: Package, hashes: tuple[str, ...]) -> Package:
    """A package with these hashes, marked."""
    head, *_rest = _LOCKED.split(package.text.split("\n", 1)[0])
    head = head.removesuffix("\\").rstrip()
    comments = [line for line in package.text.split("\n")[1:] if line.lstrip().startswith("#")]
    lines = [head, *(f"    --hash={value}" for value in hashes)]
    text = "\n".join([" \\\n".join(lines), *comments, _MARK])
    return dataclasses.replace(package, hashes=hashes, text=text)


def _some(hashes: t.Collection[str]) -> str:
    shown = [value if len(value) < 32 else f"{value[:23]}..." for value in sorted(hashes)]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
