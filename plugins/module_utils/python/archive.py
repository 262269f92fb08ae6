# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interpreters that a site supplies: what an inventory says of them, and the archives that uv installs them from.

An archive has one directory at its top, with ``bin`` and ``lib`` in it, and works wherever it is unpacked.
"""

from __future__ import annotations

import collections
import dataclasses
import gzip
import os
import posixpath
import re
import tarfile
import typing as t
import zlib
from urllib.parse import quote

from ..errors import SpecError, UvnasError
from ..host import elf
from ..uv.release import Target, check_sha256
from .record import Version

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_PATCHLEVEL = re.compile(rb'^#define\s+PY_VERSION\s+"([^"]*)"', re.MULTILINE)
_UNREADABLE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


@dataclasses.dataclass(frozen=True)
class SitePython:
    """One interpreter as declared: where it comes from is ``archive`` or ``prefix``."""

    name: str
    version: Version
    # Path on the controller, or URL; on the builder where it was brought to, or only its file name.
    archive: t.Optional[str] = None
    # Directory on the builder that a Python is installed in.
    prefix: t.Optional[str] = None
    sha256: t.Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Contents:
    """What an archive unpacks to."""

    bytes: int
    files: int


def parse_site_pythons(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[SitePython]:
    """``uvnas_site_pythons``. Raises SpecError that names every problem at once."""
    problems: list[str] = []
    found: list[SitePython] = []
    for position, item in enumerate(items, 1):
        label = f"{item.get('name') or f'number {position}'}"
        try:
            found.append(_parse_item(item))
        except SpecError as error:
            problems.append(f"{label}: {error}")
    names = collections.Counter(site.name for site in found)
    problems += [f"{name}: declared {count} times" for name, count in names.items() if count > 1]
    for version, count in collections.Counter(site.version for site in found).items():
        if count > 1:
            same = [site.name for site in found if site.version == version]
            problems.append(f"{' and '.join(same)}: a share has one Python {version}, whoever supplies it")
    if problems:
        raise SpecError(
            "uvnas_site_pythons cannot be used: " + "; ".join(problems),
            hint="Nothing has been changed. Correct the inventory.",
        )
    return found


def _parse_item(item: t.Mapping[str, t.Any]) -> SitePython:
    name, archive, prefix, sha256 = item["name"], item.get("archive"), item.get("prefix"), item.get("sha256")
    if not _NAME.fullmatch(name):
        raise SpecError("a name begins with a letter or digit, and goes on with these and . _ + - only, 64 at most")
    version = Version.parse(item["version"])
    if not version.exact:
        raise SpecError(f"version is {item['version']}; give it exactly, such as {item['version']}.4")
    if bool(archive) == bool(prefix):
        raise SpecError("give either archive or prefix")
    if prefix and not os.path.isabs(prefix):
        raise SpecError(f"prefix is {prefix}; it must be an absolute path, on the builder")
    if archive and "://" in archive and not sha256:
        raise SpecError("an archive from a URL needs its sha256")
    return SitePython(name, version, archive, prefix, check_sha256(sha256) if sha256 else None)


def archive_name(key: str, sha256: str) -> str:
    """What the archive of the interpreter ``key`` is called on a share. uv wants plain letters in the name."""
    return f"{key.replace('+', '-')}-{sha256[:9]}.tar.gz"


def downloads_json(archives: t.Mapping[str, tuple[str, str]]) -> dict[str, t.Any]:
    """uv's downloads JSON for interpreters by key, each with the path of its archive and the archive's sha256."""
    entries = {}
    for key, (path, sha256) in archives.items():
        version = Version.of_key(key)
        machine, _dash, libc = key.partition("-linux-")[2].rpartition("-")
        entries[key] = {
            "name": "cpython",
            "arch": {"family": machine, "variant": None},
            "os": "linux",
            "libc": libc,
            "major": 3,
            "minor": version.minor_number,
            "patch": version.patch,
            "prerelease": "",
            "url": "file://" + quote(path),
            "sha256": sha256,
            "variant": "freethreaded" if version.freethreaded else None,
            "build": None,
        }
    return entries


def inspect(stream: t.IO[bytes], version: Version, target: Target, what: str) -> Contents:
    """See that the archive in ``stream`` can be the interpreter ``version`` for ``target``, before it is unpacked.

    Raises UvnasError where it cannot, or where it would write outside of the directory that it is unpacked to.
    """
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as tar:
            members = {posixpath.normpath(member.name): member for member in tar}
            for member in members.values():
                _check_member(member, what)
            root = _root(members, version, what)
            executable = _follow(members, f"{root}/bin/python{version.minor}")
            _check_program(_content(tar, executable), target, what)
            patchlevel = members.get(f"{root}/include/python{version.minor}/patchlevel.h")
            if patchlevel is not None:
                _check_patchlevel(_content(tar, patchlevel), version, what)
    except _UNREADABLE as error:
        raise UvnasError(
            f"cannot read {what}: {error}", hint="The archive has to be a .tar.gz. Was it downloaded or copied in full?"
        ) from error
    return Contents(sum(member.size for member in members.values()), len(members))


def _check_member(member: tarfile.TarInfo, what: str) -> None:
    """Raise UvnasError where a member leads out of the archive, or is something that an interpreter has no use for."""
    leads_to = [member.name]
    if member.issym():
        if member.linkname.startswith("/"):
            raise UvnasError(
                f"{what} has an absolute symlink: {member.name} -> {member.linkname}",
                hint="uv refuses such archives. Make the link relative, or leave it out.",
            )
        leads_to.append(posixpath.join(posixpath.dirname(member.name), member.linkname))
    elif member.islnk():
        leads_to.append(member.linkname)
    elif not member.isfile() and not member.isdir():
        raise UvnasError(f"{what} has a device or another special file: {member.name}")
    for path in leads_to:
        if path.startswith("/") or posixpath.normpath(path).split("/")[0] == "..":
            raise UvnasError(f"{what} leads out of itself: {member.name}", hint="Nothing was unpacked.")


def _root(members: t.Mapping[str, tarfile.TarInfo], version: Version, what: str) -> str:
    """The directory of the archive that has ``bin`` and ``lib``."""
    tops = {name.split("/")[0] for name in members} - {"."}
    if len(tops) == 1:
        top = tops.pop()
        # python-build-standalone's full archives have one directory more.
        for root in (top, f"{top}/install"):
            library = f"{root}/lib/python{version.minor}"
            has_data = any(name.startswith(f"{library}/_sysconfigdata_") for name in members)
            if f"{root}/bin/python{version.minor}" in members and f"{library}/os.py" in members and has_data:
                return root
    raise UvnasError(
        f"{what} is not laid out as an interpreter {version.minor}",
        hint=(
            f"It needs one directory at its top, with bin/python{version.minor} and lib/python{version.minor} "
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
    raise UvnasError(f"{name} in the archive is missing, or a link that goes round in circles")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    if stream is None:
        raise UvnasError(f"{member.name} in the archive is no file")
    with stream:
        return stream.read()


def _check_program(data: bytes, target: Target, what: str) -> None:
    """Raise UvnasError where an interpreter is for another kind of machine than this one."""
    program = elf.parse(data, f"the interpreter in {what}")
    # A program without a loader is linked statically, and runs with any C library.
    libc = program.libc or target.libc
    if (program.machine, libc) != (target.machine, target.libc):
        raise UvnasError(
            f"{what} is for {program.machine}-{libc}; this builder is {target}",
            hint="The builder of a share runs what it puts there. Give an archive for its kind of machine.",
        )


def _check_patchlevel(content: bytes, version: Version, what: str) -> None:
    match = _PATCHLEVEL.search(content)
    found = match[1].decode(errors="replace").rstrip("+") if match else ""
    if found and found != str(version).rstrip("t"):
        raise wrong_version(what, version, found)


def wrong_version(what: str, declared: Version, found: str) -> UvnasError:
    """The error for an interpreter that is not the version it is declared to be."""
    return UvnasError(
        f"{what} is Python {found}, and declared as {declared}",
        hint="Correct the version in uvnas_site_pythons, or give the right interpreter. Nothing was installed.",
    )
