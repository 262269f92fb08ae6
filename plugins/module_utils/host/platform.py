# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines and C libraries under all of their names: the kernel's, ELF's and those of wheels; and versions of glibc.

uv's names for them, and for no others, are in ``uv/target.py``.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import typing as t

from ..errors import SpecError
from .data import wrong_version
from .process import Runner

GNU, MUSL = "gnu", "musl"

# The kernel's names, and those used here, by uv and in the names of wheels.
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
# The machine number in the header of an ELF file (e_machine).
ELF_MACHINES = {62: "x86_64", 183: "aarch64"}

_GLIBC = re.compile(r"2\.[1-9][0-9]\Z")
# The oldest to build for: manylinux2014. Every host has it (CentOS 7, of 2014).
OLDEST_GLIBC = "2.17"
# Platform tags of wheels (PEP 513, 571, 599, 600).
_TAG = re.compile(r"manylinux_([0-9]{1,4})_([0-9]{1,4})_")
_OLD_TAGS = {"manylinux1_": (2, 5), "manylinux2010_": (2, 12), "manylinux2014_": (2, 17)}

# Compared as numbers: 2.9 is older than 2.17.
Version = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Platform:
    """What binaries must be built for."""

    arch: str
    libc: str
    # Empty if nobody asked.
    libc_version: str = ""

    @classmethod
    def parse(cls, name: str) -> Platform:
        """The platform called ``name``, such as ``x86_64-gnu``."""
        arch, _dash, libc = name.rpartition("-")
        return cls(arch, libc)

    @property
    def name(self) -> str:
        """``x86_64-gnu``."""
        return f"{self.arch}-{self.libc}"

    @property
    def is_known(self) -> bool:
        """Whether this collection knows uv's and wheels' names for it."""
        return self.arch in ELF_MACHINES.values() and self.libc in (GNU, MUSL)


def here(runner: t.Optional[Runner] = None) -> Platform:
    """The platform of this host, as this process sees it. Finding the version of musl takes a ``runner``."""
    machine = os.uname().machine.lower()
    arch = _ARCHITECTURES.get(machine, machine)
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION")  # "glibc 2.36"
    except (ValueError, OSError):  # musl knows neither the name nor the value.
        glibc = None
    if glibc:
        return Platform(arch, GNU, glibc.split()[-1])
    loaders = sorted(glob.glob("/lib/ld-musl-*.so.1"))
    # musl's loader, run without arguments, prints its version and fails.
    printed = runner.run([loaders[0]], variables={}).stderr if loaders and runner else ""
    version = re.search(r"^Version (\S+)", printed, re.MULTILINE)
    return Platform(arch, MUSL, version.group(1) if version else "")


def glibc_version(text: str) -> Version:
    """``2.31`` as numbers."""
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def is_older(one: str, other: str) -> bool:
    return glibc_version(one) < glibc_version(other)


def check_glibc(share: str, glibc: t.Any) -> str:
    """The oldest glibc among the hosts that use a share, or SpecError."""
    if not isinstance(glibc, str) or not _GLIBC.match(glibc):
        wrong = wrong_version(glibc) or f'must be a version such as "2.31", not {glibc!r}'
        raise SpecError(
            f"share {share}: glibc {wrong}",
            hint="Run `ldd --version` on the oldest host that uses the share.",
        )
    if glibc < OLDEST_GLIBC:  # Both have two digits after the dot.
        raise SpecError(
            f"share {share}: glibc {glibc} is too old; {OLDEST_GLIBC} or newer is required",
            hint="Hosts with an older glibc are not supported.",
        )
    return glibc


def glibc_of_tag(tag: str) -> t.Optional[Version]:
    """The oldest glibc that a wheel with this platform tag runs with; None if the tag does not tell."""
    if tag == "any":
        return glibc_version(OLDEST_GLIBC)
    match = _TAG.match(tag)
    if match:
        return int(match[1]), int(match[2])
    return next((glibc for prefix, glibc in _OLD_TAGS.items() if tag.startswith(prefix)), None)
