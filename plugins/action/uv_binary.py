# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_binary that runs on the controller: it asks the host, and brings an archive if the host needs one."""

from __future__ import annotations

import os
import re
import typing as t

from ..module_utils.errors import SpecError
from ..module_utils.host import checksum
from ..module_utils.host.platform import Platform
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_BINARY, UV_BINARY_RULES
from ..module_utils.uv.release import check_version
from ..plugin_utils import ahead
from ..plugin_utils.cache_directory import default_directory
from ..plugin_utils.controller_action import ControllerAction, TaskVars, malformed
from ..plugin_utils.download import IndexSource, ReleaseSource, Source, UrlSource
from ..plugin_utils.download_cache import DownloadCache, LocalArchive

# Options that only the controller needs, so that credentials in them do not leave it. (The module gets an archive and a
# checksum too: those of the file that was brought to its host.)
_PLATFORM = re.compile(r"[a-z0-9_]+-[a-z0-9]+")
_CONTROLLER_ONLY = ("source", "archive", "sha256", "release_url", "download_dir", "files_dir")


class ActionModule(ControllerAction):
    """Run the module; if it needs an archive, get it, transfer it, and run the module again."""

    TRANSFERS_FILES = True
    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_BINARY
    RULES: t.ClassVar[dict[str, t.Any]] = UV_BINARY_RULES

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        _check(args)
        known = args["share"] and not args["verify"] and ahead.answer(task_vars, "uv_binary", args, args["share_name"])
        if known:
            return known
        told = {key: value for key, value in self._task.args.items() if key not in _CONTROLLER_ONLY}
        result = self.on_host("uv_binary", told, task_vars)
        target = result.pop("archive_needed_for", None)
        if target is None:
            return result
        if not isinstance(target, str) or not _PLATFORM.fullmatch(target):  # It becomes part of an address.
            raise malformed("archive_needed_for")
        archive = self._obtain(args, Platform.parse(target))
        told.update(archive=self.bring(archive.path, "uv-archive"), sha256=archive.sha256)
        result = self.on_host("uv_binary", told, task_vars)
        brought = {"name": archive.name, "sha256": archive.sha256, "downloaded": archive.downloaded}
        return {**result, "archive": brought}

    def _obtain(self, args: dict[str, t.Any], target: Platform) -> LocalArchive:
        """The archive for ``target`` on the controller."""
        source = self._source(args, target)
        if isinstance(source, LocalArchive):
            archive = source
        else:
            cache = DownloadCache(os.path.expanduser(args["download_dir"] or default_directory()))
            archive = cache.obtain(source, busy_timeout=args["busy_timeout"])
        if args["sha256"]:
            with open(archive.path, "rb") as stream:
                checksum.check_archive(stream, checksum.check_sha256(args["sha256"]), archive.name)
        return archive

    def _source(self, args: dict[str, t.Any], target: Platform) -> Source | LocalArchive:
        if args["source"] == "index":
            return IndexSource(args["version"], target)
        if args["source"] == "release":
            return ReleaseSource(args["release_url"], args["version"], target)
        if "://" in args["archive"]:
            return UrlSource(args["archive"], checksum.check_sha256(args["sha256"]))
        path = self._find_needle("files", os.path.join(args["files_dir"] or "", os.path.expanduser(args["archive"])))
        return LocalArchive(path, os.path.basename(path), checksum.of_file(path), downloaded=False)


def _check(args: dict[str, t.Any]) -> None:
    """Raise SpecError if the options make no sense, before anything is done anywhere."""
    check_version(args["version"])
    if args["sha256"]:
        checksum.check_sha256(args["sha256"])
    if args["source"] != "archive":
        return
    if not args["archive"]:
        raise SpecError("source is archive, but no archive is given", hint="Set uvnas_uv_archive.")
    if "://" in args["archive"] and not args["sha256"]:
        raise SpecError("an archive from a URL needs its checksum", hint="Set sha256 in uvnas_uv_archive.")
