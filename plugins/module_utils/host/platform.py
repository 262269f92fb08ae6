# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of glibc, and the oldest one that environments have to run with."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..env.spec import EnvironmentSpec
from ..errors import SpecError

_VERSION = re.compile(r"2\.[1-9][0-9]\Z")
# uv can build for nothing older: it is what manylinux2014 means.
OLDEST = "2.17"

# Compared as numbers: 2.9 is older than 2.17.
Version = tuple[int, int]


def version(text: str) -> Version:
    """``2.31`` as numbers."""
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def is_older(one: str, other: str) -> bool:
    return version(one) < version(other)


def for_glibc(specs: t.Iterable[EnvironmentSpec], shares: t.Mapping[str, t.Any]) -> list[EnvironmentSpec]:
    """The specs with their glibc: the oldest one of the shares that each is declared for. ``shares`` has it by name.

    Not the one of the share at work: an environment on two shares has one lock, and one generation. Raises SpecError.
    """
    known = {name: check(name, glibc) for name, glibc in shares.items()}
    return [
        dataclasses.replace(
            spec, glibc=min((glibc for name, glibc in known.items() if spec.on_share(name)), key=version, default=None)
        )
        for spec in specs
    ]


def check(name: str, glibc: t.Any) -> str:
    """The oldest glibc among the hosts that use a share, or SpecError."""
    if not isinstance(glibc, str) or not _VERSION.match(glibc):
        raise SpecError(
            f'share {name}: {glibc!r} is no version of glibc; give one such as "2.31", in quotes',
            hint="`ldd --version` on the oldest host that uses the share tells it.",
        )
    if glibc < OLDEST:  # Both have two digits after the dot.
        raise SpecError(
            f"share {name}: nothing can be built for glibc {glibc}, only for {OLDEST} and newer",
            hint="Hosts that are older cannot be served.",
        )
    return glibc
