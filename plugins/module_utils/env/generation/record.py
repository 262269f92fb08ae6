# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was installed into a generation: checks that no two packages disagree on a file, and takes digests of it all.

RECORDs as uv 0.13 writes them list existing files only, including those that uv adds. Scripts have the hash of their
installed form. A line without a hash is as the wheel has it. Bytecode is listed only if the wheel brought some, and the
compiler has overwritten that, so bytecode is ignored here.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import os
import re
import stat
import typing as t

from ...errors import UvnasError
from ...host.checksum import of_data, of_file
from ...share.contents import Contents, File, PackageRecord, as_text, is_bytecode
from ...share.layout import CONTENTS, GENERATION_LOCK, MANIFEST, SPARE
from ...uv.wheel import metadata_directories, parse_record

# What installers add to a wheel's metadata about how and when it was installed (PEP 376, PEP 610, and uv's own).
_BY_INSTALLER = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"})
# The hashes that vouch for a file. PEP 427 forbids weaker ones, but uv installs such wheels all the same.
VOUCHES = re.compile(r"sha(256|384|512)=.")
OWN = frozenset({MANIFEST, GENERATION_LOCK, CONTENTS, SPARE})
_SHOWN = 3

_HINT = (
    "Which one wins is chance. Leave one out: overrides: [\"{name} ; python_version < '0'\"] drops it, no matter what "
    "requires it (in a project: override-dependencies). Or pin versions that do not collide."
)


@dataclasses.dataclass(frozen=True)
class Package:
    """An installed package. Paths are relative to the generation."""

    name: str
    # The path of its RECORD, and that file's digest.
    record: str
    sha256: str
    # The hashes of its files from its RECORD, by path; empty where it has none.
    hashes: t.Mapping[str, str]


class Recorder:
    """Records what is in a generation: RECORDs when packages are installed, and the rest when it is sealed."""

    def __init__(self, env: str, path: str, site_packages: str) -> None:
        """Raises UvnasError if two packages disagree on a file's content."""
        self._env, self._path, self._site_packages = env, path, site_packages
        self._packages = read_packages(env, path, site_packages)
        check_overlaps(env, self._packages)
        self._vouched_for = {package.record for package in self._packages}
        for package in self._packages:
            self._vouched_for.update(place for place, digest in package.hashes.items() if VOUCHES.match(digest))
        # By path in the generation: a file's full path and size; a symlink's target.
        self._files: dict[str, tuple[str, int]] = {}
        self._links: dict[str, str] = {}
        self._executables: list[str] = []
        self._bytecode: set[str] = set()

    def sources(self) -> list[str]:
        """The Python sources that packages have in site-packages, relative to it, and what uv added at its top."""
        inside = f"{os.path.relpath(self._site_packages, self._path)}/"
        found = {
            place[len(inside) :]
            for package in self._packages
            for place in package.hashes
            if place.startswith(inside) and place.endswith(".py")
        }
        found.update(name for name in os.listdir(self._site_packages) if name.endswith(".py"))
        return sorted(found)

    def see(self, entry: os.DirEntry[str]) -> None:
        """Record an entry of the generation, unless a RECORD vouches for it."""
        if entry.is_dir(follow_symlinks=False):
            return
        place = as_text(entry.path[len(self._path) + 1 :])
        if entry.is_symlink():
            self._links[place] = as_text(os.readlink(entry.path))
        elif not entry.is_file(follow_symlinks=False):
            raise UvnasError(
                f"environment {self._env}: its build left {place}, which is not a file, directory or symlink",
                hint="Do its imports or checks create a pipe or a socket there?",
            )
        elif is_bytecode(place):
            self._bytecode.add(place)
        elif place not in OWN:
            status = entry.stat(follow_symlinks=False)
            if status.st_mode & stat.S_IXUSR:
                self._executables.append(place)
            if place not in self._vouched_for:
                self._files[place] = (entry.path, status.st_size)

    def contents(self, cache_tag: t.Optional[str] = None) -> Contents:
        """Everything recorded. ``cache_tag``: what its bytecode is called, if it was compiled. Raises OSError."""
        found = {place: File(of_file(path), size) for place, (path, size) in self._files.items()}
        records = {
            package.record: PackageRecord(package.sha256, self._portable(package, found)) for package in self._packages
        }
        return Contents(records, found, self._links, sorted(self._executables), self._uncompiled(cache_tag))

    def alone(self, listed: Contents) -> list[str]:
        """The files that no other generation has: RECORDs, what no RECORD covers, and what is written for this one."""
        own = {place for package in self._packages for place in package.hashes if is_of_one_generation(place)}
        return sorted({*listed.records, *listed.files, *own})

    def _uncompiled(self, cache_tag: t.Optional[str]) -> t.Optional[list[str]]:
        """The sources that have no bytecode: they do not compile, or their names are too long."""
        if cache_tag is None:
            return None
        inside = os.path.relpath(self._site_packages, self._path)
        places = (f"{inside}/{name}" for name in self.sources())
        return [place for place in places if bytecode_of(place, cache_tag) not in self._bytecode]

    def _portable(self, package: Package, found: t.Mapping[str, File]) -> str:
        """The digest of what a wheel brought, the same on every share: see share/contents.py."""
        info = os.path.dirname(package.record)
        hashes = {}
        for place, digest in package.hashes.items():
            head, _slash, name = place.rpartition("/")
            if is_bytecode(place) or (head == info and name in _BY_INSTALLER):
                continue
            script = self._script(place) if head == "bin" else None
            # Files without a hash in the RECORD were recorded when seen.
            hashes[place] = script or (_hash(bytes.fromhex(found[place].sha256)) if place in found else digest)
        return of_data(hashes)

    def _script(self, place: str) -> t.Optional[str]:
        """The hash of a script as in its wheel, with ``#!python``; None if its first line was not made for here."""
        try:
            with open(os.path.join(self._path, place), "rb") as file:
                if file.read(2) != b"#!":
                    return None  # A program, perhaps a large one.
                body = script_body(b"#!" + file.read(), self._path)
        except FileNotFoundError:
            return None
        return None if body is None else _hash(hashlib.sha256(b"#!python\n" + body).digest())


def read_packages(env: str, path: str, site_packages: str) -> list[Package]:
    """The packages in the generation at ``path``. Raises UvnasError if a RECORD is missing or damaged."""
    found = []
    inside = os.path.relpath(site_packages, path)
    for name, info in metadata_directories(site_packages).items():
        record = os.path.join(info, "RECORD")
        try:
            with open(record, "rb") as stream:
                content = stream.read()
            lines = parse_record(content)
        except (FileNotFoundError, csv.Error) as error:
            raise UvnasError(
                f"environment {env}: the files of {name} are unknown, because its RECORD cannot be read: {error}",
                hint="Its wheel is damaged or malformed.",
            ) from error
        hashes = by_place(inside, lines)
        place = as_text(os.path.join(inside, os.path.basename(info), "RECORD"))
        found.append(Package(name, place, hashlib.sha256(content).hexdigest(), hashes))
    return found


def is_of_one_generation(place: str) -> bool:
    """Whether a file was written for its generation: scripts, which name it, and what the installer notes."""
    head, _slash, name = place.rpartition("/")
    # (Packages may have metadata of others inside.)
    above, _slash, directory = head.rpartition("/")
    is_noted = name in _BY_INSTALLER and directory.endswith(".dist-info") and above.endswith("/site-packages")
    return head == "bin" or is_noted


def by_place(site_packages: str, lines: t.Iterable[tuple[str, str]]) -> dict[str, str]:
    """The hashes in a RECORD by the file's path in the generation, in which ``site_packages`` is the RECORD's."""
    return {_place(site_packages, file): digest.rstrip("=") for file, digest in lines}


def check_overlaps(env: str, packages: t.Iterable[Package]) -> None:
    """Raise UvnasError if two packages have the same path, unless with the same hash in both RECORDs.

    uv installs packages in parallel, so which one wins is chance.
    """
    owners: dict[str, tuple[str, str]] = {}
    disputed: dict[tuple[str, str], list[str]] = {}
    unknown = False
    for package in packages:
        for place, digest in package.hashes.items():
            if is_bytecode(place):
                continue
            owner, known = owners.setdefault(place, (package.name, digest))
            if owner != package.name and (digest != known or not digest):
                disputed.setdefault((owner, package.name), []).append(place)
                unknown = unknown or not (digest and known)
    if disputed:
        shown = [_dispute(*names, sorted(places)) for names, places in sorted(disputed.items())]
        more = [f"and {len(shown) - _SHOWN} more pairs"] if len(shown) > _SHOWN else []
        doubt = " (or unknown content, as a RECORD has no hash for it)" if unknown else ""
        raise UvnasError(
            f"environment {env}: two packages install the same file with different content{doubt}: "
            + "; ".join(shown[:_SHOWN] + more),
            hint=_HINT.format(name=min(disputed)[1]),
        )


def _dispute(one: str, other: str, places: t.Sequence[str]) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{one} and {other} ({places[0]}{more})"


def bytecode_of(place: str, cache_tag: str) -> str:
    """The path of the bytecode of a source."""
    head, slash, name = place.rpartition("/")
    return f"{head}{slash}__pycache__/{name[:-3]}.{cache_tag}.pyc"


def script_body(content: bytes, generation: str) -> t.Optional[bytes]:
    """A script without the shebang for the generation's Python; None if it does not start with that.

    The shebang is one line, or three if the path is too long for the kernel or has a space in it.
    """
    first, _newline, rest = content.partition(b"\n")
    if first == b"#!/bin/sh":
        second, third, body = [*rest.split(b"\n", 2), b"", b""][:3]
        bound = second.startswith(b"'''exec' ") and second.endswith(b' "$0" "$@"') and third == b"' '''"
        return body if bound else None
    return rest if first.startswith(os.fsencode(f"#!{generation}/bin/python")) else None


def _place(site_packages: str, file: str) -> str:
    """The path in a generation of a RECORD's ``file``; ``site_packages`` is relative to the generation."""
    if not ("./" in file or "//" in file or file.startswith("/") or file.endswith((".", "/"))):
        return f"{site_packages}/{file}"  # Nearly all of them, of which there are many.
    place = os.path.normpath(os.path.join(site_packages, file))
    # In uv's environments, lib64 is a symlink to lib.
    return f"lib/{place[6:]}" if place.startswith("lib64/") else place


def _hash(digest: bytes) -> str:
    """A SHA-256 as RECORDs write it."""
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
