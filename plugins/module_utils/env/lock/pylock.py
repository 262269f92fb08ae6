# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``pylock.toml`` (PEP 751, and PyPA's specification of it) as a lock in requirements format.

Extras and groups are decided here, and what depends on the interpreter as far as the inventory says which one it is.
The rest is left to the builder: as markers, and as conditions.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import SpecError, UvnasError
from ...uv.wheel import normalize
from ..spec import Condition
from . import markers
from .fit import check_known, requires_python

_HINT = "Publish it to an index, or lock an archive of it."
_OWN_HINT = "uv export --format pylock.toml --no-emit-local leaves out what is local. Or publish it to an index."
_KINDS = ("vcs", "directory", "archive", "wheels", "sdist")


def from_pylock(
    data: t.Mapping[str, t.Any],
    *,
    what: str,
    python: str,
    extras: t.Sequence[str] = (),
    groups: t.Sequence[str] = (),
) -> tuple[str, tuple[Condition, ...]]:
    """The requirements-format text of a ``pylock.toml``, given as parsed TOML, and what the interpreter must fulfil.

    Packages from an index become pins with all the hashes that the file has for them; an archive becomes a direct
    reference. Without ``groups``, the file's default ones count. Raises UvnasError for what cannot be hashed
    (directories and version control), and if the file is not for ``python``.
    """
    if str(data.get("lock-version", "")).split(".", maxsplit=1)[0] != "1":
        raise UvnasError(f"{what} is not a pylock.toml of version 1")
    values = {**markers.declared(python), **_chosen(data, what, extras, groups)}
    conditions = [*requires_python(_text(data, "requires-python", what), f"{what} is", "", python)]
    conditions += _environments(data, what, python)
    packages = _tables(data, "packages", what)
    lines: list[str] = []
    surely: set[str] = set()
    for position, package in enumerate(packages, 1):
        name = package.get("name")
        if not isinstance(name, str):
            raise UvnasError(f"{what}: package number {position} has no name")
        marker = markers.simplified(_marker(package.get("marker", ""), f"{what}: package {name}"), values)
        if marker == markers.NEVER:
            continue
        when = "" if marker == markers.ALWAYS else str(marker)
        of_package = _text(package, "requires-python", what)
        conditions += requires_python(of_package, f"{what}: package {name} is", when, python)
        if not when and normalize(name) in surely:
            raise UvnasError(f"{what}: package {name} would be installed more than once")
        surely |= set() if when else {normalize(name)}
        lines.append(_line(package, name, when, what))
    if packages and not lines:
        wanted = [f"{kind} {', '.join(each) or '(none)'}" for kind, each in (("extras", extras), ("groups", groups))]
        raise SpecError(
            f"{what}: none of its {len(packages)} packages is meant for Python {python} on Linux with "
            f"{' and '.join(wanted)}",
            hint="For an environment without packages, declare `requirements: []`.",
        )
    return "".join(f"{line}\n" for line in lines), tuple(conditions)


def _chosen(
    data: t.Mapping[str, t.Any], what: str, extras: t.Sequence[str], groups: t.Sequence[str]
) -> dict[str, t.Collection[str]]:
    """The ``extras`` and ``dependency_groups`` that the file's markers see. Raises SpecError for unknown names."""
    default = _texts(data, "default-groups", what)
    known = {"extra": _texts(data, "extras", what), "group": [*_texts(data, "dependency-groups", what), *default]}
    for kind, names in (("extra", extras), ("group", groups)):
        check_known(names, known[kind], kind, what)
    return {"extras": extras, "dependency_groups": groups or default}


def _environments(data: t.Mapping[str, t.Any], what: str, python: str) -> list[Condition]:
    """What the file demands of the interpreter. Raises SpecError if it cannot be met."""
    given = _texts(data, "environments", what)
    if not given:
        return []
    every = markers.Joined("or", tuple(_marker(text, what) for text in given))
    must = markers.simplified(every, markers.declared(python))
    problem = f"{what} is for other environments ({' or '.join(given)})"
    if must == markers.NEVER:
        raise SpecError(f"{problem} than Python {python} on Linux")
    return [] if must == markers.ALWAYS else [Condition(problem, "", str(must))]


def _line(package: t.Mapping[str, t.Any], name: str, when: str, what: str) -> str:
    """A package as an entry of a lock. Raises UvnasError."""
    kinds = [kind for kind in _KINDS if kind in package]
    if kinds[:1] in (["directory"], ["vcs"]):
        where, hint = ("a directory", _OWN_HINT) if kinds[0] == "directory" else ("version control", _HINT)
        raise UvnasError(f"{what}: package {name} comes from {where}, which has no hash", hint=hint)
    if len(kinds) > 1 and kinds != ["wheels", "sdist"]:
        raise UvnasError(f"{what}: package {name} has several sources: {', '.join(kinds)}")
    files = [*_tables(package, "wheels", what), *_table(package, "sdist", what)]
    reference = f"=={package.get('version') or _version_of_wheel(files)}"
    if "archive" in package:
        files = _table(package, "archive", what)
        url, subdirectory = (_text(files[0], key, f"{what}: package {name}") for key in ("url", "subdirectory"))
        reference = f" @ {url or None}"
        if subdirectory:
            reference += f"{'&' if '#' in url else '#'}subdirectory={subdirectory}"
        if ("path" in files[0] and not url) or url.lower().startswith("file:"):
            raise UvnasError(f"{what}: package {name} is a local file, which the builder does not have", hint=_HINT)
    hashes = sorted(
        f"{algorithm}:{value}"
        for file in files
        for each in _table(file, "hashes", what)
        for algorithm, value in each.items()
    )
    if not hashes or "None" in reference:
        raise UvnasError(f"{what}: package {name} has no version or no hash")
    marker = f" ; {when}" if when else ""
    return f"{name}{reference}{marker} \\\n" + " \\\n".join(f"    --hash={value}" for value in hashes)


def _version_of_wheel(files: t.Iterable[t.Mapping[str, t.Any]]) -> t.Optional[str]:
    """The version in a wheel's file name, for a package without one; None if there is no wheel."""
    names = (str(file.get(key, "")).rpartition("/")[2] for file in files for key in ("name", "url", "path"))
    found = (re.match(r"[^-]+-([^-]+)-.+\.whl\Z", name) for name in names)
    return next((match[1] for match in found if match), None)


def _marker(text: t.Any, what: str) -> markers.Marker:
    if not isinstance(text, str):
        raise UvnasError(f"{what}: its marker is not a string")
    try:
        return markers.parse(text) if text.strip() else markers.ALWAYS
    except UvnasError as error:
        raise UvnasError(f"{what}: {error}") from error


def _text(data: t.Mapping[str, t.Any], key: str, what: str) -> str:
    """The string under ``key``; empty if it is missing. Raises UvnasError for anything else."""
    found = data.get(key, "")
    if not isinstance(found, str):
        raise UvnasError(f"{what}: {key} is not a string")
    return found


def _texts(data: t.Mapping[str, t.Any], key: str, what: str) -> list[str]:
    """The strings in a list under ``key``; empty if it is missing. Raises UvnasError for anything else."""
    found = data.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise UvnasError(f"{what}: {key} is not a list of strings")
    return found


def _tables(data: t.Mapping[str, t.Any], key: str, what: str) -> list[dict[str, t.Any]]:
    """The tables in a list under ``key``; empty if it is missing. Raises UvnasError for anything else."""
    found = data.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UvnasError(f"{what}: {key} is not a list of tables")
    return found


def _table(data: t.Mapping[str, t.Any], key: str, what: str) -> list[dict[str, t.Any]]:
    """The table under ``key``; empty if it is missing. Raises UvnasError for anything else."""
    return _tables({key: [data[key]]}, key, what) if key in data else []
