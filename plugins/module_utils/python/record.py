# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request such as ``3.12`` means, and the record of it on a share.

A request is resolved to one exact interpreter once. The record keeps that, so that the same request means the same
interpreter until somebody asks for an upgrade.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import SpecError, UvnasError
from ..host import files
from ..host.data import is_time, made_of
from ..share.layout import Layout
from .version import Version

RECORD_FORMAT = 1
DOWNLOAD = "download"
SITE = "site"

# The file name of an archive, which cannot lead elsewhere.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """An interpreter on a share."""

    key: str
    # With all three numbers: 3.12.4, or 3.13.1t.
    version: str
    # What identifies its content: for a download or a supplied archive, the archive's sha256.
    digest: str
    source: str = DOWNLOAD
    # Whether its standard library was compiled to bytecode.
    compiled: bool = False
    # For a site-supplied one: the site's name for it, and its archive on the share, to reinstall it from.
    name: t.Optional[str] = None
    archive: t.Optional[str] = None
    archive_sha256: t.Optional[str] = None
    # The digest of the list of its files, see ``contents``. None: not recorded, as an earlier version installed it.
    files: t.Optional[str] = None
    # Whether it is being reinstalled in place: until that is done, anything may be there.
    unfinished: bool = False
    # Since when nothing needs it, as far as prunes have looked: ISO 8601, UTC.
    unneeded: t.Optional[str] = None

    @property
    def minor(self) -> str:
        """``3.12``, or ``3.13t``, as for Layout.interpreter_bin()."""
        return Version.parse(self.version).minor

    def as_dict(self) -> dict[str, t.Any]:
        """Its entry in the record, under its key."""
        fields = dataclasses.asdict(self)
        if not self.unfinished:
            del fields["unfinished"]
        return {name: value for name, value in fields.items() if name != "key" and value is not None}


@dataclasses.dataclass(frozen=True)
class Record:
    """The content of ``locks/pythons.json``."""

    # Request for a series, such as 3.12 -> key. An exact version stands for itself.
    requests: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Key -> interpreter.
    interpreters: t.Mapping[str, Interpreter] = dataclasses.field(default_factory=dict)

    def find(self, request: str) -> t.Optional[Interpreter]:
        """What ``request`` was resolved to; None if it was not, or if that is not on the share."""
        key = self.requests.get(request)
        if key is not None:
            return self.interpreters.get(key)
        return next((found for found in self.interpreters.values() if found.version == request), None)

    def adding(self, interpreter: Interpreter, requests: t.Iterable[str] = ()) -> Record:
        """The record with ``interpreter`` in it, resolving ``requests`` to it."""
        return Record(
            {**self.requests, **dict.fromkeys(requests, interpreter.key)},
            {**self.interpreters, interpreter.key: interpreter},
        )

    def without(self, key: str) -> Record:
        """The record without an interpreter, and without the requests that were resolved to it."""
        return Record(
            {request: found for request, found in self.requests.items() if found != key},
            {name: interpreter for name, interpreter in self.interpreters.items() if name != key},
        )

    def noting(self, key: str, unneeded: t.Optional[str]) -> Record:
        """The record with since when nothing needs an interpreter; None: something does."""
        return self.adding(dataclasses.replace(self.interpreters[key], unneeded=unneeded))

    def beginning(self, key: str) -> Record:
        """The record while one of its interpreters is being reinstalled."""
        return self.adding(dataclasses.replace(self.interpreters[key], unfinished=True))

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "format": RECORD_FORMAT,
            "requests": dict(self.requests),
            "interpreters": {key: interpreter.as_dict() for key, interpreter in self.interpreters.items()},
        }


def load_record(layout: Layout) -> Record:
    """The record of a share: three file operations. Empty if there is none yet."""
    data = files.read_json(layout.pythons_record)
    return Record() if data is None else parse_record(data, layout.pythons_record)


def parse_record(data: t.Mapping[str, t.Any], what: str) -> Record:
    """The record in ``data``, which was read from ``what``."""
    if data.get("format") != RECORD_FORMAT:
        raise UvnasError(
            f"{what} has format {data.get('format')!r}, not {RECORD_FORMAT}",
            hint="Was it written by a newer version of uvnas.cluster? Then use that version.",
        )
    try:
        requests = {request: _request(request, key) for request, key in _mapping(data, "requests").items()}
        interpreters = {key: _interpreter(key, fields) for key, fields in _mapping(data, "interpreters").items()}
    except SpecError as error:
        raise UvnasError(
            f"{what} is damaged: {error}",
            hint="Move it away; the module uv_python makes a new one, and reinstalls the interpreters.",
        ) from error
    return Record(requests, interpreters)


def _mapping(data: t.Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    found = data.get(name)
    if not isinstance(found, dict):
        raise SpecError(f"missing or invalid {name}")
    return found


def _request(request: str, key: t.Any) -> str:
    """The key that a request means. Raises SpecError."""
    if not isinstance(key, str) or not Version.parse(request).includes(Version.of_key(key)):
        raise SpecError(f"{request} cannot mean {key!r}")
    return key


def _interpreter(key: str, fields: t.Any) -> Interpreter:
    """The interpreter of a record under ``key``. Raises SpecError."""
    found = made_of({**fields, "key": key} if isinstance(fields, dict) else None, Interpreter)
    if found is None or found.version != str(Version.of_key(key)) or found.source not in (DOWNLOAD, SITE):
        raise SpecError(f"invalid entry for {key}")
    if found.unneeded is not None and not is_time(found.unneeded):
        raise SpecError(f"invalid entry for {key}")
    if found.archive is not None and not _FILE_NAME.fullmatch(found.archive):
        raise SpecError(f"the archive of {key} is {found.archive!r}, which is not a file name")
    return found


def resolve(record: Record, request: str, *, check_mode: bool = False) -> Interpreter:
    """The interpreter on the share that ``request`` means. Raises UvnasError that names what there is instead.

    Check mode accepts an unfinished one: a real run finishes it first.
    """
    found = record.find(request)
    if found is not None and found.unfinished and not check_mode:
        raise UvnasError(
            f"{found.key} is incomplete on this share: its installation was not finished",
            hint="Run site.yml, or the role python, to reinstall it.",
        )
    if found is not None:
        return found
    Version.parse(request)
    there = ", ".join([*sorted(record.requests), *sorted({i.version for i in record.interpreters.values()})])
    raise UvnasError(
        f"Python {request} is not on this share, which has {there or 'no interpreter yet'}",
        hint=f'Add "{request}" to uvnas_pythons, or run the role python, which installs what environments ask for.',
    )
