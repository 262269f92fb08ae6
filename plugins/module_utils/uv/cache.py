# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages from the cache of another share on this host, so that what one NAS has is not downloaded for the next.

Only uv's cache has them with everything that uv wants to know about them. This is what is used of its structure, as of
uv 0.13 (N is a number that uv raises when it changes a part)::

    archive-vN/<id>/                                  an unpacked wheel
    wheels-vN/<index>/<package>/<version>-<tags>      a relative link to it; beside it files that describe it
    sdists-vN/<index>/<package>/<version>/<id>/       the same for what was built here, and the sources
    sdists-vN/<index>/<package>/<version>/<id>/<id>/  the same for what was built with variables of its own
    simple-vN/<index>/<package>.rkyv                  what the index offers

``<index>`` is ``pypi``, or ``index/<digest of its URL>``. An archive is taken only if every file in it has the hash in
its RECORD: with hard links, somebody who edits an installed file edits the cache.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import errno
import glob
import hashlib
import os
import shutil
import typing as t

from ..errors import UvnasError
from ..host import files, removal, trust
from .unsynced import is_in_doubt
from .wheel import read_record

# Held by a running uv, or useless without rebuilding.
_LEFT_OUT = (".lock",)
_SOURCES = "src"


class CacheMiss(Exception):  # noqa: N818
    """The other cache does not have it, or has it damaged."""


def borrow(source: str, target: str, packages: t.Mapping[str, str], minor: str) -> bool:
    """Copy what the cache ``source`` has of ``packages`` (version by normalized name) and the cache ``target`` lacks.

    For a Python ``minor``, such as ``3.12``. True if ``target`` then has all of it, so that uv can do without an index.
    Raises OSError if ``target`` is full.
    """
    if trust.is_safe(source, os.geteuid()) and not is_in_doubt(source):
        for name, version in packages.items():
            # Anything else that is wrong with it there counts as a miss.
            with contextlib.suppress(CacheMiss, UvnasError, ValueError, TypeError, csv.Error):
                try:
                    _borrow(source, target, name, version, minor)
                except OSError as error:
                    if error.errno in (errno.ENOSPC, errno.EDQUOT):
                        raise
    return all(_has(target, name, version, minor) for name, version in packages.items())


def _has(cache: str, name: str, version: str, minor: str) -> bool:
    """Whether a cache has a wheel of a package, downloaded or built, that may fit this Python."""
    downloaded = (
        entry
        for directory in _directories(cache, "wheels-v*", name)
        for entry in os.scandir(directory)
        if _fits(entry.name, version, minor)
    )
    built = (
        entry
        for directory in _directories(cache, "sdists-v*", os.path.join(name, version))
        for entry in _built(directory)
    )
    return any(entry.is_symlink() for entries in (downloaded, built) for entry in entries)


def _borrow(source: str, target: str, name: str, version: str, minor: str) -> None:
    """Copy one package, and leave what already exists as it is."""
    for page in glob.glob(os.path.join(glob.escape(source), "simple-v*", "**", f"{name}.rkyv"), recursive=True):
        _copy_file(page, _moved(page, source, target), target)
    for directory in _directories(source, "wheels-v*", name):
        # The link last: it makes the package available.
        entries = [entry for entry in os.scandir(directory) if _fits(entry.name, version, minor)]
        for entry in sorted(entries, key=lambda entry: entry.is_symlink()):
            _copy_entry(entry, source, target)
    for directory in _directories(source, "sdists-v*", os.path.join(name, version)):
        for revision in os.scandir(directory):
            if not revision.is_dir():
                _copy_entry(revision, source, target)
        for entry in sorted(_built(directory), key=lambda entry: entry.is_symlink()):
            _copy_entry(entry, source, target)


def _built(directory: str) -> t.Iterator[os.DirEntry[str]]:
    """The cache's entries for what was built from the sources in ``directory``."""
    for revision in os.scandir(directory):
        for entry in os.scandir(revision.path) if revision.is_dir() else ():
            if entry.is_dir(follow_symlinks=False):
                yield from os.scandir(entry.path) if entry.name != _SOURCES else ()
            else:
                yield entry


def _directories(cache: str, bucket: str, tail: str) -> t.Iterator[str]:
    """The directories ``tail`` of every index in a bucket of a cache."""
    for index in ("*", os.path.join("index", "*")):
        yield from glob.glob(os.path.join(glob.escape(cache), bucket, index, glob.escape(tail)))


def _fits(entry: str, version: str, minor: str) -> bool:
    """Whether the name of an entry, ``<version>-<tags>``, has this ``version``, and is not for another Python only."""
    if not entry.startswith(f"{version}-"):
        return False
    python, _dash, rest = entry[len(version) + 1 :].partition("-")
    abi = rest.partition("-")[0]
    if not python.startswith("cp3"):
        return True
    freethreaded = minor.endswith("t")
    if abi == "abi3":
        return not freethreaded
    return f"cp{minor.replace('.', '').rstrip('t')}" in python.split(".") and abi.endswith("t") == freethreaded


def _copy_entry(entry: os.DirEntry[str], source: str, target: str) -> None:
    """Copy a file, or a link with the archive that it leads to."""
    if entry.name.endswith(_LEFT_OUT):
        return
    place = _moved(entry.path, source, target)
    if not entry.is_symlink():
        if entry.is_file(follow_symlinks=False):
            _copy_file(entry.path, place, target)
        return
    archive = os.path.normpath(os.path.join(os.path.dirname(entry.path), os.readlink(entry.path)))
    if not archive.startswith(os.path.join(source, "archive-v")):
        raise CacheMiss
    _copy_archive(archive, _moved(archive, source, target), target)
    if not os.path.lexists(place):
        with contextlib.suppress(FileExistsError):  # Another build has borrowed it too.
            os.symlink(os.readlink(entry.path), place)


def _moved(path: str, source: str, target: str) -> str:
    return os.path.join(target, os.path.relpath(path, source))


def _copy_file(path: str, place: str, target: str) -> None:
    """Copy one file of the cache's own, in one step."""
    if os.path.lexists(place):
        return
    os.makedirs(os.path.dirname(place), exist_ok=True)
    # Started in the cache's top directory, where a sweep finds what a killed run leaves.
    with open(path, "rb") as original, files.replacing(os.path.join(target, os.path.basename(place))) as new:
        shutil.copyfileobj(original, new.stream, 1 << 20)
        new.path = place


def _copy_archive(archive: str, place: str, target: str) -> None:
    """Copy an unpacked wheel, as far as its RECORD vouches for it, in one step. Raises CacheMiss."""
    if os.path.lexists(place):
        return
    os.makedirs(os.path.dirname(place), exist_ok=True)
    scratch = files.temporary_name(os.path.join(target, os.path.basename(place)))
    os.mkdir(scratch)
    try:
        for path, digest in _record(archive):
            _copy_checked(os.path.join(archive, path), os.path.join(scratch, path), digest)
        try:
            os.rename(scratch, place)
        except OSError:
            if not os.path.isdir(place):  # Another build was here first.
                raise
    finally:
        with contextlib.suppress(OSError):  # Already gone if all went well. Otherwise a sweep finds it.
            removal.remove(scratch)


def _record(archive: str) -> list[tuple[str, str]]:
    """The files of an unpacked wheel with their hashes (empty: none), as its RECORD has them."""
    found = glob.glob(os.path.join(glob.escape(archive), "*.dist-info"))
    if len(found) != 1:
        raise CacheMiss
    lines = read_record(found[0])
    for path, _digest in lines:
        if os.path.isabs(path) or ".." in path.split("/"):
            raise CacheMiss
    return lines


def _copy_checked(path: str, place: str, digest: str) -> None:
    os.makedirs(os.path.dirname(place), exist_ok=True)
    kind, _equal, expected = digest.partition("=")
    found = hashlib.new(kind) if kind in hashlib.algorithms_guaranteed else None
    if digest and found is None:
        raise CacheMiss
    with open(path, "rb") as original, open(place, "xb") as copy:
        os.fchmod(copy.fileno(), os.fstat(original.fileno()).st_mode & 0o755)
        while True:
            block = original.read(1 << 20)
            if not block:
                break
            copy.write(block)
            if found is not None:
                found.update(block)
    if found is not None and base64.urlsafe_b64encode(found.digest()).decode().rstrip("=") != expected.rstrip("="):
        raise CacheMiss
