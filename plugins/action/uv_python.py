# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_python that runs on the controller: it brings archives of site-supplied interpreters, when needed."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..module_utils.host import checksum
from ..module_utils.host.urls import split_url
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_PYTHON
from ..module_utils.python.spec import SitePython, wanted_from_params
from ..plugin_utils import ahead
from ..plugin_utils.cache_directory import default_directory
from ..plugin_utils.controller_action import ControllerAction, TaskVars, malformed
from ..plugin_utils.download import UrlSource
from ..plugin_utils.download_cache import DownloadCache


@dataclasses.dataclass(frozen=True)
class Archive:
    """The archive of a site-supplied interpreter, before anybody knows whether it is needed."""

    # A path on the controller, or a URL.
    source: str
    sha256: str

    @property
    def is_url(self) -> bool:
        return "://" in self.source

    @property
    def name(self) -> str:
        return os.path.basename(split_url(self.source).path if self.is_url else self.source)


class ActionModule(ControllerAction):
    """Run the module; as long as it wants archives, get those, transfer them, and run it again."""

    TRANSFERS_FILES = True
    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_PYTHON

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        wanted = wanted_from_params(args)
        # What an archive has in it was looked at when this was asked.
        asked = {key: value for key, value in args.items() if key != "site_pythons"}
        known = ahead.answer(task_vars, "uv_python", asked, args["share_name"])
        if known:
            return known
        archives = {
            site.name: self._archive(site, site.archive, args["files_dir"] or "")
            for site in wanted.sites
            if site.archive
        }
        brought: dict[str, str] = {}
        while True:
            given = self._args_for_host(args, archives, brought)
            if self._task.check_mode:  # It installs nothing.
                result = self.on_host("uv_python", given, task_vars)
            else:
                result = self.on_host_watched("uv_python", given, task_vars, args)
            names = self.asked_for(result, "archives_wanted", archives)
            if not names:
                return result
            # Others may be wanted when the share's mutex is held; but none again that is there.
            if not brought.keys().isdisjoint(names):
                raise malformed("archives_wanted")
            brought.update({name: self._bring(archives[name], args["busy_timeout"]) for name in names})

    def _args_for_host(
        self, args: dict[str, t.Any], archives: dict[str, Archive], brought: dict[str, str]
    ) -> dict[str, t.Any]:
        """The module's options, given archives that are on its host by now: path by name of the interpreter.

        Of the others it learns the file name only: an address may have credentials in it.
        """
        sites = []
        for item in args["site_pythons"]:
            site = {key: value for key, value in item.items() if value is not None}
            archive = archives.get(site["name"])
            if archive is not None:
                site.update(archive=brought.get(site["name"], archive.name), sha256=archive.sha256)
            sites.append(site)
        return {**self._task.args, **({"site_pythons": sites} if sites else {})}

    def _archive(self, site: SitePython, source: str, directory: str) -> Archive:
        """The archive of an interpreter with its checksum, which must be the declared one if there is one."""
        if "://" in source:
            return Archive(source, site.sha256 or "")
        path = self._find_needle("files", os.path.join(directory, os.path.expanduser(source)))
        with open(path, "rb") as stream:
            if site.sha256:
                checksum.check_archive(stream, site.sha256, f"{site.name}: {source}")
            return Archive(path, checksum.of_stream(stream))

    def _bring(self, archive: Archive, timeout: float) -> str:
        """Bring an archive to where the module can read it; its path there."""
        source = archive.source
        if archive.is_url:
            cache = DownloadCache(default_directory())
            source = cache.obtain(UrlSource(archive.source, archive.sha256), busy_timeout=timeout).path
        return self.bring(source, f"{archive.sha256[:16]}-{archive.name}")
