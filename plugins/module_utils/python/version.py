# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of CPython, as people request them and as in uv's keys of interpreters."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import SpecError, UvnasError
from ..host.platform import Platform

_NUMBER = "(0|[1-9][0-9]{0,2})"
_REQUEST = re.compile(rf"(3)\.{_NUMBER}(?:\.{_NUMBER})?(t?)")
_OTHER_IMPLEMENTATION = re.compile(r"(pypy|graalpy|pyodide|jython|ironpython)", re.IGNORECASE)
# uv calls CPython 3.13.1 without a global interpreter lock cpython-3.13.1+freethreaded-linux-x86_64-gnu.
_FREETHREADED = "+freethreaded"
_KEY = re.compile(rf"cpython-(3\.{_NUMBER}\.{_NUMBER})({re.escape(_FREETHREADED)})?-linux-[a-z0-9_]+-[a-z]+")


@dataclasses.dataclass(frozen=True, order=True)
class Version:
    """A version of CPython: a minor series such as 3.12, or exact, such as 3.12.4. ``t``: free-threaded."""

    minor_number: int
    patch: t.Optional[int]
    freethreaded: bool = False

    @classmethod
    def parse(cls, text: str) -> Version:
        """The version that the request ``text`` asks for. Raises SpecError if it is not such a request."""
        match = _REQUEST.fullmatch(text)
        if match:
            patch = int(match[3]) if match[3] else None
            return cls(int(match[2]), patch, bool(match[4]))
        if _OTHER_IMPLEMENTATION.match(text):
            raise SpecError(f"{text!r} is not CPython", hint="Only CPython is supported on a share; write its version.")
        raise SpecError(
            f"{text!r} is not a request for a Python",
            hint='Write a version, in quotes: "3.12", "3.12.4", or "3.13t" for the free-threaded build.',
        )

    @classmethod
    def of_key(cls, key: str) -> Version:
        """The version in uv's key of an interpreter. Raises SpecError unless it is that of a CPython for Linux."""
        match = _KEY.fullmatch(key)
        if not match:
            raise SpecError(f"{key!r} is not uv's key of a CPython for Linux")
        return cls.parse(match[1] + ("t" if match[4] else ""))

    @property
    def exact(self) -> bool:
        return self.patch is not None

    @property
    def minor(self) -> str:
        """``3.12``, or ``3.13t``, as in the names of executables and directories."""
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


def choose(request: Version, keys: t.Iterable[str]) -> t.Optional[str]:
    """The key of the newest interpreter that ``request`` asks for; None if there is none."""
    return max((key for key in keys if request.includes(Version.of_key(key))), key=Version.of_key, default=None)


def not_available(request: Version, among: t.Collection[Version], *, where: str) -> UvnasError:
    """The error that there is no such Python, and which are nearest. ``where`` names who offers them."""
    same = sorted({v for v in among if v.freethreaded == request.freethreaded}, reverse=True)
    patches = [str(version) for version in same if version.minor_number == request.minor_number]
    if patches:
        nearest = f"the newest of {request.minor} are {_some(patches)}"
    else:
        series = [version.minor for version in same]
        nearest = f"available are {_some(list(dict.fromkeys(series)), 12)}" if series else "it offers none of that kind"
    return UvnasError(
        f"Python {request} is not available from {where}: {nearest}",
        hint="Choose one of these. A newer uv knows newer ones (uvnas_uv_version); uvnas_site_pythons adds your own.",
    )


def _some(words: t.Sequence[str], count: int = 5) -> str:
    more = len(words) - count
    return ", ".join(words[:count]) + (f" and {more} older ones" if more > 0 else "")


def platform_of_key(key: str) -> Platform:
    """The platform in uv's key of an interpreter, even one for newer processors of its kind (``x86_64_v3``)."""
    platform = Platform.parse(key.partition("-linux-")[2])
    return dataclasses.replace(platform, arch=re.sub(r"_v[234]\Z", "", platform.arch))
