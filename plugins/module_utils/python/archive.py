# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that uv installs site-supplied interpreters from: the checks before anything is unpacked.

An archive has one top directory, with ``bin`` and ``lib`` in it, and works wherever it is unpacked.
"""

from __future__ import annotations

import dataclasses
import gzip
import posixpath
import re
import struct
import tarfile
import typing as t
import zlib

from ..errors import UvnasError
from ..host import elf
from ..host.platform import Platform
from .version import Version

_PATCHLEVEL = re.compile(rb'^#define\s+PY_VERSION\s+"([^"]*)"', re.MULTILINE)
# What damaged archives raise; the exceptions meant for it come first.
_UNREADABLE = (
    *(tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError),
    *(ArithmeticError, LookupError, MemoryError, RuntimeError, ValueError, struct.error),
)


@dataclasses.dataclass(frozen=True)
class Contents:
    """What an archive unpacks to."""

    bytes: int
    files: int


def archive_name(key: str, sha256: str) -> str:
    """The file name of the archive of the interpreter ``key`` on a share. uv wants plain letters in it."""
    return f"{key.replace('+', '-')}-{sha256[:9]}.tar.gz"


def inspect(stream: t.IO[bytes], version: Version, platform: Platform, what: str) -> Contents:
    """Check, before unpacking, that the archive in ``stream`` can be the interpreter ``version`` for ``platform``.

    Raises UvnasError if it cannot, or would write outside the directory that it is unpacked to.
    """
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as tar:
            members = {posixpath.normpath(member.name): member for member in tar}
            for member in members.values():
                _check_member(member, what)
            root = _root(members, version, what)
            executable = _follow(members, f"{root}/bin/python{version.minor}")
            _check_program(_content(tar, executable), platform, what)
            patchlevel = members.get(f"{root}/include/python{version.minor}/patchlevel.h")
            if patchlevel is not None:
                _check_patchlevel(_content(tar, patchlevel), version, what)
    except _UNREADABLE as error:
        raise UvnasError(
            f"cannot read {what}: {error}", hint="The archive must be a .tar.gz. Was it downloaded or copied in full?"
        ) from error
    return Contents(sum(member.size for member in members.values()), len(members))


def _check_member(member: tarfile.TarInfo, what: str) -> None:
    """Raise UvnasError if a member leads out of the archive, or is of a kind that no interpreter needs."""
    leads_to = [member.name]
    if member.issym():
        if member.linkname.startswith("/"):
            raise UvnasError(
                f"{what} contains an absolute symlink: {member.name} -> {member.linkname}",
                hint="uv refuses such archives. Make the link relative, or leave it out.",
            )
        leads_to.append(posixpath.join(posixpath.dirname(member.name), member.linkname))
    elif member.islnk():
        leads_to.append(member.linkname)
    elif not member.isfile() and not member.isdir():
        raise UvnasError(f"{what} contains a device or another special file: {member.name}")
    for path in leads_to:
        if path.startswith("/") or posixpath.normpath(path).split("/")[0] == "..":
            raise UvnasError(f"{what} has a member that leads out of it: {member.name}", hint="Nothing was unpacked.")


def _root(members: t.Mapping[str, tarfile.TarInfo], version: Version, what: str) -> str:
    """The directory of the archive that has ``bin`` and ``lib``."""
    tops = {name.split("/")[0] for name in members} - {"."}
    if len(tops) == 1:
        top = tops.pop()
        # python-build-standalone's full archives have one more level.
        for root in (top, f"{top}/install"):
            library = f"{root}/lib/python{version.minor}"
            has_data = any(name.startswith(f"{library}/_sysconfigdata_") for name in members)
            if f"{root}/bin/python{version.minor}" in members and f"{library}/os.py" in members and has_data:
                return root
    raise UvnasError(
        f"{what} is not laid out as an interpreter {version.minor}",
        hint=(
            f"It needs one top directory with bin/python{version.minor} and lib/python{version.minor} "
            "(os.py and _sysconfigdata_*.py among others) in it. Is the version right?"
        ),
    )


def _follow(members: t.Mapping[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo:
    """The file that ``name`` is, or is a link to."""
    for _step in range(10):
        member = members.get(name)
        if member is None:
            break
        if member.issym():
            name = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        elif member.islnk():
            name = posixpath.normpath(member.linkname)
        else:
            return member
    raise UvnasError(f"{name} in the archive is missing, or a circular link")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    if stream is None:
        raise UvnasError(f"{member.name} in the archive is not a regular file")
    with stream:
        return stream.read()


def _check_program(data: bytes, platform: Platform, what: str) -> None:
    """Raise UvnasError if an interpreter is for another kind of machine."""
    program = elf.parse(data, f"the interpreter in {what}")
    # A program without a loader is statically linked, and runs with any C library.
    libc = program.libc or platform.libc
    if (program.machine, libc) != (platform.arch, platform.libc):
        raise UvnasError(
            f"{what} is for {program.machine}-{libc}; this builder is {platform.name}",
            hint="A builder runs what it installs. Supply an archive for its kind of machine.",
        )


def _check_patchlevel(content: bytes, version: Version, what: str) -> None:
    match = _PATCHLEVEL.search(content)
    found = match[1].decode(errors="replace").rstrip("+") if match else ""
    if found and found != str(version).rstrip("t"):
        raise wrong_version(what, version, found)


def wrong_version(what: str, declared: Version, found: str) -> UvnasError:
    """The error for an interpreter whose version differs from the declared one."""
    return UvnasError(
        f"{what} is Python {found}, but declared as {declared}",
        hint="Correct the version in uvnas_site_pythons, or supply the right interpreter. Nothing was installed.",
    )
