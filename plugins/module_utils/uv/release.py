# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of uv: their versions, and the programs in their archives."""

from __future__ import annotations

import codecs
import errno
import gzip
import os
import re
import shutil
import stat
import struct
import tarfile
import typing as t
import zipfile
import zlib

from ..errors import SpecError, UvnasError

PROGRAMS = ("uv", "uvx")

_NUMBER = r"(?:0|[1-9][0-9]*)"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")

# zipfile and tarfile import these when they open their first archive. By then this process may have become a user who
# cannot read the interpreter's library.
codecs.lookup("cp437")
# What they raise for damaged archives; the exceptions meant for it come first.
_UNREADABLE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError),
    *(ArithmeticError, LookupError, MemoryError, RuntimeError, ValueError, struct.error),
)


def check_version(version: str) -> None:
    """Raise SpecError unless ``version`` is the exact version of a release."""
    if not _VERSION.fullmatch(version):
        raise SpecError(
            f"{version!r} is not an exact version of uv",
            hint='Write all three numbers, in quotes: uvnas_uv_version: "0.13.9".',
        )


def extract(stream: t.IO[bytes], directory: str) -> None:
    """Write the programs of uv, and nothing else, from an archive to ``directory``, durably.

    The archive is a wheel or a release's ``.tar.gz``. Names inside it only select what is read; none becomes a path.
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
                    # Never None for a regular file.
                    member = t.cast("t.IO[bytes]", tar.extractfile(_member(names, program)))
                    with member as content:
                        _write_program(content, os.path.join(directory, program))
    except (*_UNREADABLE, OSError) as error:
        # The only OSError meant here is a seek beyond the file.
        if isinstance(error, OSError) and not isinstance(error, _UNREADABLE) and error.errno != errno.EINVAL:
            raise
        raise UvnasError(
            f"cannot read the archive of uv: {error}",
            hint="It must be a wheel (.whl) or a release archive (.tar.gz).",
        ) from error


def _member(names: t.Sequence[str], program: str) -> str:
    """The name in ``names`` of ``program``: ``uv-0.13.9.data/scripts/uv``, ``uv-x86_64-unknown-linux-gnu/uv``."""
    found = [name for name in names if name.rpartition("/")[2] == program]
    if len(found) != 1:
        raise UvnasError(
            f"the archive has {len(found)} files called {program} instead of one",
            hint="It must be a wheel (.whl) or a release archive (.tar.gz) of uv, built for Linux.",
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
