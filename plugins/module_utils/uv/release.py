# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of uv: what their archives are called, how they are checked, and how the programs get out of them."""

from __future__ import annotations

import codecs
import dataclasses
import gzip
import hashlib
import os
import platform
import re
import shutil
import stat
import tarfile
import typing as t
import zipfile
import zlib

from ..errors import SpecError, UvnasError

PROGRAMS = ("uv", "uvx")

_NUMBER = r"(?:0|[1-9][0-9]*)"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
# A line of a checksum file, as sha256sum writes it: a digest and the file that it is of. Some hold a digest alone.
_CHECKSUM_LINE = re.compile(rf"(?P<digest>{_SHA256.pattern})(?:[ \t]+\*?(?P<name>\S.*?))?\s*")

# Where uv's projects have binaries for: the machine's name in the names of wheels and release archives.
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
# What pip is asked for, best first. uv's wheels have been of the oldest so far; a later uv may leave that behind.
_WHEEL_PLATFORMS = {
    "gnu": ("manylinux_2_17", "manylinux2014", "manylinux_2_28"),
    "musl": ("musllinux_1_1", "musllinux_1_2"),
}

# zipfile and tarfile import these when they meet the first archive. By then this process may be a user who cannot read
# the interpreter's library.
codecs.lookup("cp437")
_UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


@dataclasses.dataclass(frozen=True)
class Target:
    """What kind of machine uv is to run on."""

    machine: str
    libc: str

    @classmethod
    def here(cls) -> Target:
        """This machine, as the running Python sees it."""
        try:
            libc = os.confstr("CS_GNU_LIBC_VERSION")
        except (ValueError, OSError):  # musl knows neither the name nor the value.
            libc = None
        machine = platform.machine().lower()
        return cls(_MACHINES.get(machine, machine), "gnu" if libc else "musl")

    @classmethod
    def parse(cls, name: str) -> Target:
        """The target that calls itself ``name``: ``x86_64-gnu``."""
        machine, _dash, libc = name.rpartition("-")
        return cls(machine, libc)

    def __str__(self) -> str:
        return f"{self.machine}-{self.libc}"

    def release_archive(self) -> str:
        """The name of the archive among the files of a release."""
        self._check()
        return f"uv-{self.machine}-unknown-linux-{self.libc}.tar.gz"

    def wheel_platforms(self) -> list[str]:
        """The platforms of wheels that run here, best first, as pip calls them."""
        self._check()
        return [f"{platform_name}_{self.machine}" for platform_name in _WHEEL_PLATFORMS[self.libc]]

    def _check(self) -> None:
        if self.machine not in _MACHINES.values() or self.libc not in _WHEEL_PLATFORMS:
            raise UvnasError(
                f"this collection knows no uv release for {self}",
                hint="Give an archive with a uv for this machine (uvnas_uv_source: archive).",
            )


def check_version(version: str) -> None:
    """Raise SpecError unless ``version`` is the exact version of a release."""
    if not _VERSION.fullmatch(version):
        raise SpecError(
            f"{version!r} is not an exact version of uv",
            hint='Write all three numbers, in quotes: uvnas_uv_version: "0.13.9".',
        )


def check_sha256(digest: str) -> str:
    """``digest`` as this collection writes it. Raises SpecError where it cannot be one."""
    if not _SHA256.fullmatch(digest):
        raise SpecError(f"{digest!r} is not a sha256 checksum", hint="It has 64 hexadecimal digits.")
    return digest.lower()


def parse_checksum(text: str, name: str) -> str:
    """The checksum of the file ``name`` in the text of a checksum file."""
    lines = [match for match in map(_CHECKSUM_LINE.fullmatch, text.splitlines()) if match]
    for line in lines:
        if line["name"] is not None and os.path.basename(line["name"]) == name:
            return line["digest"].lower()
    if len(lines) == 1 and lines[0]["name"] is None:
        return lines[0]["digest"].lower()
    raise UvnasError(
        f"the checksum file has no sha256 of {name}",
        hint="Does the address lead to a log-in page, or to an incomplete mirror?",
    )


def sha256_of(stream: t.IO[bytes]) -> str:
    """The checksum of all that is in ``stream``."""
    stream.seek(0)
    digest = hashlib.sha256()
    while True:
        block = stream.read(1 << 20)
        if not block:
            return digest.hexdigest()
        digest.update(block)


def check_archive(stream: t.IO[bytes], sha256: str, what: str) -> None:
    """Raise UvnasError unless what is in ``stream`` has the checksum ``sha256``."""
    found = sha256_of(stream)
    if found != sha256:
        raise UvnasError(
            f"the checksum of {what} is wrong: sha256 is {found}, should be {sha256}",
            hint="It is damaged, or not the file that the checksum was made of. Nothing was installed.",
        )


def extract(stream: t.IO[bytes], directory: str) -> None:
    """Write the programs of uv, and nothing else, from an archive to ``directory``, durably.

    The archive is a wheel or a release's ``.tar.gz``. Names inside it only choose what is read; they are no paths here.
    """
    stream.seek(0)
    is_wheel = stream.read(2) == b"PK"
    stream.seek(0)
    try:
        if is_wheel:
            with zipfile.ZipFile(stream) as wheel:
                names = [info.filename for info in wheel.infolist() if not info.is_dir()]
                for program in PROGRAMS:
                    with wheel.open(_member(names, program)) as content:
                        _write_program(content, os.path.join(directory, program))
        else:
            with tarfile.open(fileobj=stream, mode="r:gz") as tar:
                names = [info.name for info in tar.getmembers() if info.isreg()]
                for program in PROGRAMS:
                    # Not None: it is a regular file.
                    member = t.cast("t.IO[bytes]", tar.extractfile(_member(names, program)))
                    with member as content:
                        _write_program(content, os.path.join(directory, program))
    except _UNREADABLE as error:
        raise UvnasError(
            f"cannot read the archive of uv: {error}",
            hint="It has to be a wheel (.whl) or a release archive (.tar.gz).",
        ) from error


def _member(names: t.Sequence[str], program: str) -> str:
    """The one of ``names`` that is ``program``: ``uv-0.13.9.data/scripts/uv``, ``uv-x86_64-unknown-linux-gnu/uv``."""
    found = [name for name in names if name.rpartition("/")[2] == program]
    if len(found) != 1:
        raise UvnasError(
            f"the archive has {len(found)} files called {program}, should have one",
            hint="It has to be a wheel (.whl) or a release archive (.tar.gz) of uv, built for Linux.",
        )
    return found[0]


def _write_program(content: t.IO[bytes], path: str) -> None:
    with open(path, "xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
        os.fchmod(file.fileno(), stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        file.flush()
        os.fsync(file.fileno())


def reported_version(output: str) -> str:
    """The version in what ``uv --version`` printed: ``uv 0.13.9 (x86_64-unknown-linux-gnu)``."""
    words = output.split()
    return words[1] if len(words) > 1 and words[0] == "uv" else ""
