# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On the controller: archives downloaded once for all hosts and all later runs."""

from __future__ import annotations

import dataclasses
import os
import shutil

from ..module_utils.errors import UvnasError
from ..module_utils.host import checksum, files, mutex, trust
from .download import Source


@dataclasses.dataclass(frozen=True)
class LocalArchive:
    """An archive on the controller."""

    path: str
    name: str
    sha256: str
    downloaded: bool


@dataclasses.dataclass(frozen=True)
class DownloadCache:
    """A directory with archives by checksum, and records of which download is which archive.

    ``<sha256>-<name>`` is an archive, ``<key>.json`` a record with the name and checksum of one. An archive counts only
    if it has the checksum in the record; one that was truncated or edited is downloaded again.
    """

    directory: str

    def obtain(self, source: Source, *, busy_timeout: float) -> LocalArchive:
        """The archive of ``source``, downloaded unless it is here. Others who want the same one wait meanwhile."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        # Anybody who can write there can make all hosts install what they put there, record and all.
        trust.check_way(self.directory, os.geteuid())
        path = os.path.join(self.directory, f"{source.key}.mutex")
        with mutex.hold(path, timeout=busy_timeout, purpose="download"):
            return self._find(source) or self._download(source)

    def _find(self, source: Source) -> LocalArchive | None:
        try:
            record = files.read_json(self._record(source))
        except UvnasError:
            return None
        if record is None or not isinstance(record.get("name"), str) or not isinstance(record.get("sha256"), str):
            return None
        name, sha256 = record["name"], record["sha256"]
        archive = LocalArchive(self._path(sha256, name), name, sha256, downloaded=False)
        try:
            return archive if checksum.of_file(archive.path) == archive.sha256 else None
        except FileNotFoundError:
            return None

    def _download(self, source: Source) -> LocalArchive:
        # A fixed name, so that what a killed process left there goes too.
        directory = os.path.join(self.directory, f".{source.key}.download")
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory)
        try:
            downloaded = source.fetch(directory)
            name = os.path.basename(downloaded)
            sha256 = checksum.of_file(downloaded)
            archive = LocalArchive(self._path(sha256, name), name, sha256, downloaded=True)
            os.rename(downloaded, archive.path)
        finally:
            shutil.rmtree(directory)
        files.write_json(self._record(source), {"name": name, "sha256": sha256})
        return archive

    def _record(self, source: Source) -> str:
        return os.path.join(self.directory, f"{source.key}.json")

    def _path(self, sha256: str, name: str) -> str:
        return os.path.join(self.directory, f"{sha256}-{name}")
