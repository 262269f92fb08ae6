# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request such as ``3.12`` means, and the record of it on a share.

A request is resolved to one exact interpreter once. The record remembers that, so that the same request means the
same interpreter until an upgrade is asked for.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ..errors import SpecError, UvnasError
from ..host import files as fs
from ..share.layout import Layout

RECORD_FORMAT = 1
DOWNLOAD = "download"
SITE = "site"

_NUMBER = "(0|[1-9][0-9]{0,2})"
_REQUEST = re.compile(rf"(3)\.{_NUMBER}(?:\.{_NUMBER})?(t?)")
_OTHER_IMPLEMENTATION = re.compile(r"(pypy|graalpy|pyodide|jython|ironpython)", re.IGNORECASE)
# uv calls CPython 3.13.1 without a global interpreter lock cpython-3.13.1+freethreaded-linux-x86_64-gnu.
_FREETHREADED = "+freethreaded"
_KEY = re.compile(rf"cpython-(3\.{_NUMBER}\.{_NUMBER})({re.escape(_FREETHREADED)})?-linux-[a-z0-9_]+-[a-z]+")


@dataclasses.dataclass(frozen=True, order=True)
class Version:
    """A version of CPython: of a minor series such as 3.12, or exact, such as 3.12.4. ``t``: free-threaded."""

    minor_number: int
    patch: t.Optional[int]
    freethreaded: bool = False

    @classmethod
    def parse(cls, text: str) -> Version:
        """The version that the request ``text`` asks for. Raises SpecError where it is no such request."""
        match = _REQUEST.fullmatch(text)
        if match:
            patch = int(match[3]) if match[3] else None
            return cls(int(match[2]), patch, bool(match[4]))
        if _OTHER_IMPLEMENTATION.match(text):
            raise SpecError(
                f"{text!r} is not CPython", hint="Only CPython is supported on a share; write a version of it."
            )
        raise SpecError(
            f"{text!r} is not a request for a Python",
            hint='Write a version, in quotes: "3.12", "3.12.4", or "3.13t" for the free-threaded build.',
        )

    @classmethod
    def of_key(cls, key: str) -> Version:
        """The version in uv's key of an interpreter. Raises SpecError where it is no key of a CPython for Linux."""
        match = _KEY.fullmatch(key)
        if not match:
            raise SpecError(f"{key!r} is not uv's key of a CPython for Linux")
        return cls.parse(match[1] + ("t" if match[4] else ""))

    @property
    def exact(self) -> bool:
        return self.patch is not None

    @property
    def minor(self) -> str:
        """``3.12``, or ``3.13t``: what executables and directories are called by."""
        return f"3.{self.minor_number}" + ("t" if self.freethreaded else "")

    def includes(self, other: Version) -> bool:
        """Whether the exact version ``other`` is what this asks for."""
        if (self.minor_number, self.freethreaded) != (other.minor_number, other.freethreaded):
            return False
        return self.patch is None or self.patch == other.patch

    def key(self, platform: str) -> str:
        """uv's key of this exact version on a ``platform`` such as ``x86_64-gnu``."""
        return f"cpython-{self._numbers()}{_FREETHREADED if self.freethreaded else ''}-linux-{platform}"

    def _numbers(self) -> str:
        return f"3.{self.minor_number}" + ("" if self.patch is None else f".{self.patch}")

    def __str__(self) -> str:
        return self._numbers() + ("t" if self.freethreaded else "")


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """An interpreter on a share."""

    key: str
    # With all three numbers: 3.12.4, or 3.13.1t.
    version: str
    # What identifies its content: of a download or a given archive, the archive's sha256.
    digest: str
    source: str = DOWNLOAD
    # Whether its standard library was compiled to bytecode.
    compiled: bool = False
    # Of a site-supplied one: what the site calls it, and its archive on the share, to install it anew.
    name: t.Optional[str] = None
    archive: t.Optional[str] = None
    archive_sha256: t.Optional[str] = None

    @property
    def minor(self) -> str:
        """``3.12``, or ``3.13t``, as for Layout.interpreter_bin()."""
        return Version.parse(self.version).minor

    def as_dict(self) -> dict[str, t.Any]:
        """As it stands in the record, under its key."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if name != "key" and value is not None}


@dataclasses.dataclass(frozen=True)
class Record:
    """The content of ``locks/pythons.json``."""

    # Request for a series, such as 3.12 -> key. An exact version means itself.
    requests: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Key -> interpreter.
    interpreters: t.Mapping[str, Interpreter] = dataclasses.field(default_factory=dict)

    def find(self, request: str) -> t.Optional[Interpreter]:
        """What ``request`` was resolved to; None where it was not, or where that is not on the share."""
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

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "format": RECORD_FORMAT,
            "requests": dict(self.requests),
            "interpreters": {key: interpreter.as_dict() for key, interpreter in self.interpreters.items()},
        }


def load_record(layout: Layout) -> Record:
    """The record of a share: three file operations. Empty where there is none yet."""
    data = fs.read_json(layout.pythons_record)
    return Record() if data is None else parse_record(data, layout.pythons_record)


def parse_record(data: t.Mapping[str, t.Any], what: str) -> Record:
    """The record in ``data``, which was read from ``what``."""
    if data.get("format") != RECORD_FORMAT:
        raise UvnasError(
            f"{what} has format {data.get('format')!r}, not {RECORD_FORMAT}",
            hint="Was it written by a newer version of uvnas.cluster? Then use that one.",
        )
    known = {field.name for field in dataclasses.fields(Interpreter)} - {"key"}
    try:
        interpreters = {
            key: Interpreter(key=key, **{name: value for name, value in fields.items() if name in known})
            for key, fields in data["interpreters"].items()
        }
        return Record(dict(data["requests"]), interpreters)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UvnasError(
            f"{what} cannot be understood: {error!r}",
            hint="Move it away; the module uv_python makes a new one, and installs the interpreters anew.",
        ) from error


def resolve(record: Record, request: str) -> Interpreter:
    """The interpreter on the share that ``request`` means. Raises UvnasError that says what there is instead."""
    found = record.find(request)
    if found is not None:
        return found
    Version.parse(request)
    there = ", ".join([*sorted(record.requests), *sorted({i.version for i in record.interpreters.values()})])
    raise UvnasError(
        f"Python {request} is not on this share, which has {there or 'no interpreter yet'}",
        hint=f'Add "{request}" to uvnas_pythons, or let the role python bring what the environments ask for.',
    )


@dataclasses.dataclass(frozen=True)
class Download:
    """An interpreter that uv knows where to download."""

    key: str
    version: Version
    url: str


def parse_downloads(output: str) -> list[Download]:
    """What can be asked for of what ``uv python list --only-downloads --output-format json`` printed: final releases
    of CPython for this machine, newest first."""
    downloads = []
    for entry in json.loads(output):
        if entry["implementation"] != "cpython" or not entry["url"] or not _KEY.fullmatch(entry["key"]):
            continue  # Another implementation, a debug build, a pre-release.
        downloads.append(Download(entry["key"], Version.of_key(entry["key"]), entry["url"]))
    return sorted(downloads, key=lambda download: download.version, reverse=True)


def choose(request: Version, among: t.Iterable[Version]) -> t.Optional[Version]:
    """The newest of exact versions that ``request`` asks for; None where there is none."""
    return max((version for version in among if request.includes(version)), default=None)


def not_available(request: Version, among: t.Collection[Version], *, where: str) -> UvnasError:
    """The error that says there is no such Python, and which are nearest. ``where`` names who offers them."""
    same = sorted({v for v in among if v.freethreaded == request.freethreaded}, reverse=True)
    patches = [str(version) for version in same if version.minor_number == request.minor_number]
    if patches:
        nearest = f"of {request.minor} there are {_some(patches)}"
    else:
        series = [version.minor for version in same]
        nearest = f"there are {_some(list(dict.fromkeys(series)), 12)}" if series else "it offers none of that kind"
    return UvnasError(
        f"there is no Python {request} to be had from {where}: {nearest}",
        hint="Ask for one of these. A newer uv knows newer ones (uvnas_uv_version); uvnas_site_pythons adds your own.",
    )


def _some(words: t.Sequence[str], count: int = 5) -> str:
    more = len(words) - count
    return ", ".join(words[:count]) + (f" and {more} older ones" if more > 0 else "")
