# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tree contains, by digests: ``.uvnas-files.json`` at its top, in generations, interpreters and versions of uv.

In a generation it is beside the manifest, which has its digest. Not in the manifest itself, which even runs with
nothing to do must read: it would be several times as large. Of interpreters, ``locks/pythons.json`` has the digest.

Every file is vouched for once. Most are by their package's RECORD, whose digest is here; a file that no RECORD has a
hash of is listed here itself. Left out are bytecode, which is made from the sources, the generation's own lock, whose
digest is in the manifest, and the manifest.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
import stat
import typing as t

from ..errors import UvnasError
from ..host import files
from ..host.checksum import of_data, of_file, of_text
from ..host.workers import Result, call_many, portions, processors
from .layout import CONTENTS
from .manifest import DAMAGED_HINT, ContentFact

FORMAT = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Files that one process is given to read. So few are read sooner than a process starts.
_PORTION = 500
_FEW = 20


@dataclasses.dataclass(frozen=True)
class PackageRecord:
    """The RECORD of a package.

    ``sha256`` is that of the file as it is here. ``portable`` covers what the wheel contained, the same on every share:
    without the installer's notes, and scripts without the line that names the interpreter by the share's path.
    """

    sha256: str
    portable: str


@dataclasses.dataclass(frozen=True)
class File:
    """A file that no RECORD has a hash of."""

    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class Contents:
    """The content of ``.uvnas-files.json``, by path in the tree."""

    records: t.Mapping[str, PackageRecord]
    files: t.Mapping[str, File]
    # The targets of symlinks, verbatim.
    links: t.Mapping[str, str]
    # Files that may be run, RECORDs' ones among them; and sources that have no bytecode although others have.
    # None: not recorded.
    executables: t.Optional[t.Sequence[str]] = None
    uncompiled: t.Optional[t.Sequence[str]] = None

    @property
    def portable(self) -> str:
        """One digest of all packages, the same on every share for wheels; what is built locally may differ."""
        return of_data({path: record.portable for path, record in self.records.items()})

    def as_dict(self) -> dict[str, t.Any]:
        known = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return {"format": FORMAT, **known}

    @property
    def text(self) -> str:
        """What the file contains."""
        return json.dumps(self.as_dict(), indent=1, sort_keys=True) + "\n"


def write(path: str, contents: Contents) -> ContentFact:
    """Write it; return the manifest's entry for it."""
    text = contents.text
    files.write(path, text)
    return ContentFact(of_text(text), contents.portable)


def take(tree: str) -> Contents:
    """What is in a tree that no RECORD vouches for, by reading it all. Raises UvnasError, OSError.

    Bytecode and what lies at CONTENTS are left out. ``uncompiled`` is up to the caller.
    """
    sizes: dict[str, int] = {}
    links: dict[str, str] = {}
    executables = []
    pending = [tree]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                place = entry.path[len(tree) + 1 :]
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_symlink():
                    links[as_text(place)] = as_text(os.readlink(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    raise UvnasError(f"{entry.path} is not a file, directory or symlink")
                elif place != CONTENTS and not is_bytecode(place):
                    status = entry.stat(follow_symlinks=False)
                    sizes[place] = status.st_size
                    if status.st_mode & stat.S_IXUSR:
                        executables.append(as_text(place))
    digests = _digests(tree, list(sizes))
    found = {as_text(place): File(digest, size) for (place, size), digest in zip(sizes.items(), digests)}
    return Contents({}, found, links, sorted(executables))


def _digests(tree: str, places: t.Sequence[str]) -> list[str]:
    """The digests of these files, in order."""
    if len(places) <= _FEW:
        return _read(tree, places)
    jobs = processors()
    parts = portions(places, min(_PORTION, -(-len(places) // jobs)))
    answers = call_many([functools.partial(_read_portion, tree, part) for part in parts], jobs=jobs)
    return [digest for answer in answers for digest in answer()["digests"]]


def _read(tree: str, places: t.Sequence[str]) -> list[str]:
    return [of_file(os.path.join(tree, place)) for place in places]


def _read_portion(tree: str, places: t.Sequence[str]) -> Result:
    return {"digests": _read(tree, places)}


def is_bytecode(place: str) -> bool:
    """Whether a path is that of bytecode compiled from a source file."""
    return place.endswith(".pyc") and place.split("/")[-2:-1] == ["__pycache__"]


def as_text(path: str) -> str:
    """A path as in RECORDs and JSON, whatever this process's filesystem encoding."""
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "surrogateescape")


def read(path: str, fact: ContentFact) -> Contents:
    """The contents at ``path``, which must match ``fact``, the manifest's entry. Raises UvnasError otherwise."""
    content = files.read_bytes(path)
    if content is None:
        raise UvnasError(f"{path} is missing", hint=DAMAGED_HINT)
    if hashlib.sha256(content).hexdigest() != fact.files:
        raise UvnasError(f"{path} is damaged: it is not the file that its manifest was written for", hint=DAMAGED_HINT)
    try:
        return parse(json.loads(content), path)
    except ValueError as error:
        raise UvnasError(f"{path} is not valid JSON: {error}", hint=DAMAGED_HINT) from error


def _is_number(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def parse(data: t.Any, what: str) -> Contents:
    """The contents in ``data``, which was read from ``what``. Raises UvnasError if it is anything else."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UvnasError(f"{what} is not a list of what a tree contains, or has another version")
    fits: dict[str, t.Callable[[t.Any], bool]] = {
        "records": lambda record: _has(record, "sha256", "portable"),
        "files": lambda file: _has(file, "sha256") and _is_number(file.get("size")),
        "links": lambda target: isinstance(target, str),
    }
    parts: dict[str, dict[str, t.Any]] = {
        key: data[key] if isinstance(data.get(key), dict) else {"": None} for key in fits
    }
    wrong = [key for key, part in parts.items() if not all(map(fits[key], part.values()))]
    lists = {key: data.get(key) for key in ("executables", "uncompiled")}
    wrong += [key for key, value in lists.items() if not (value is None or _are_texts(value))]
    if wrong:
        raise UvnasError(f"{what} is damaged: missing or invalid {', '.join(wrong)}", hint=DAMAGED_HINT)
    return Contents(
        {path: PackageRecord(record["sha256"], record["portable"]) for path, record in parts["records"].items()},
        {path: File(file["sha256"], file["size"]) for path, file in parts["files"].items()},
        parts["links"],
        **lists,
    )


def _are_texts(value: t.Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _has(data: t.Any, *digests: str) -> bool:
    """Whether ``data`` has a digest under each of these names."""
    return isinstance(data, dict) and all(
        isinstance(data.get(name), str) and _SHA256.fullmatch(data[name]) for name in digests
    )
