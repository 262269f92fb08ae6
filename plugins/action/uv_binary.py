# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_binary that runs on the controller: it asks the host, and brings an archive if one is needed."""

from __future__ import annotations

import os
import typing as t

from ansible.plugins.action import ActionBase

from ..module_utils.errors import SpecError, UvnasError
from ..module_utils.host.process import explain_os_error
from ..module_utils.options import UV_BINARY, UV_BINARY_RULES
from ..module_utils.uv.release import Target, check_archive, check_sha256, check_version, sha256_of
from ..plugin_utils.cache_directory import default_directory
from ..plugin_utils.download import IndexSource, ReleaseSource, Source, UrlSource
from ..plugin_utils.download_cache import DownloadCache, LocalArchive

# What only the controller needs to know. Credentials in there do not leave it. (The module is given an archive and a
# checksum too: those of the file that was brought to its host.)
_CONTROLLER_ONLY = ("source", "archive", "sha256", "release_url", "download_dir")


class ActionModule(ActionBase):
    """Run the module; if it needs an archive, get that, transfer it, and run the module again."""

    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(UV_BINARY, **UV_BINARY_RULES)
        try:
            _check(args)
            result = self._on_host(task_vars)
            target = result.pop("archive_needed_for", None)
            if target is None:
                return result
            archive = self._obtain(args, Target.parse(target))
            result = self._on_host(task_vars, archive=self._transfer(archive), sha256=archive.sha256)
        except UvnasError as error:
            return {**error.as_dict(), "failed": True, "changed": False, "msg": error.explain()}
        except OSError as error:
            return {"failed": True, "changed": False, "msg": f"on the controller: {explain_os_error(error).explain()}"}
        brought = {"name": archive.name, "sha256": archive.sha256, "downloaded": archive.downloaded}
        return {**result, "archive": brought}

    def _on_host(self, task_vars: dict[str, t.Any] | None, **more: t.Any) -> dict[str, t.Any]:
        args = {key: value for key, value in self._task.args.items() if key not in _CONTROLLER_ONLY}
        args.update(more)
        result: dict[str, t.Any] = self._execute_module("uvnas.cluster.uv_binary", args, task_vars=task_vars)
        return result

    def _obtain(self, args: dict[str, t.Any], target: Target) -> LocalArchive:
        """The archive for ``target`` on the controller."""
        source = self._source(args, target)
        if isinstance(source, LocalArchive):
            archive = source
        else:
            cache = DownloadCache(os.path.expanduser(args["download_dir"] or default_directory()))
            archive = cache.obtain(source, busy_timeout=args["busy_timeout"])
        if args["sha256"]:
            with open(archive.path, "rb") as stream:
                check_archive(stream, check_sha256(args["sha256"]), archive.name)
        return archive

    def _source(self, args: dict[str, t.Any], target: Target) -> Source | LocalArchive:
        if args["source"] == "index":
            return IndexSource(args["version"], target)
        if args["source"] == "release":
            return ReleaseSource(args["release_url"], args["version"], target)
        if "://" in args["archive"]:
            return UrlSource(args["archive"], check_sha256(args["sha256"]))
        path = self._find_needle("files", os.path.expanduser(args["archive"]))
        with open(path, "rb") as stream:
            return LocalArchive(path, os.path.basename(path), sha256_of(stream), downloaded=False)

    def _transfer(self, archive: LocalArchive) -> str:
        """Bring ``archive`` to where the module can read it; its path there. Ansible removes it after the task."""
        shell = self._connection._shell
        directory = shell.tmpdir or self._make_tmp_path()
        path = shell.join_path(directory, "uv-archive")
        self._transfer_file(archive.path, path)
        self._fixup_perms2((directory, path))
        return str(path)


def _check(args: dict[str, t.Any]) -> None:
    """Raise SpecError where the options cannot be meant, before anything is done anywhere."""
    check_version(args["version"])
    if args["sha256"]:
        check_sha256(args["sha256"])
    if args["source"] != "archive":
        return
    if not args["archive"]:
        raise SpecError("source is archive, and no archive is given", hint="Set uvnas_uv_archive.")
    if "://" in args["archive"] and not args["sha256"]:
        raise SpecError("an archive from a URL needs its checksum", hint="Set sha256 in uvnas_uv_archive.")
