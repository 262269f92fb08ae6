# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where interpreters come from: uv's downloads, and the site's own archives, both kept in ``python-archives``.

Facts about uv 0.13 used here:

* ``UV_PYTHON_CACHE_DIR`` keeps ``<first nine digits of the sha256>-<file name>``, even for an archive with the wrong
  checksum, which then fails for ever.
* ``--python-downloads-json-url`` replaces uv's built-in list, and cannot be combined with a mirror.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import typing as t
from urllib.parse import quote

from ..errors import SpecError, UvnasError
from ..host import checksum, files, mutex
from ..host.data import parse_json
from ..host.mounts import space
from ..host.platform import Platform
from ..host.secrets import scrub
from ..host.urls import split_url
from ..share.layout import Layout
from ..share.spec import Share
from ..uv.command import Uv
from .archive import Contents, archive_name, inspect
from .pack import ask, pack
from .plan import OTHER_CONTENT, Install
from .record import SITE, Interpreter, Record
from .spec import SitePython
from .version import Version, platform_of_key

# Names in ``python-archives``.
_KEPT_BY_UV = re.compile(r"([0-9a-f]{9})-cpython-3\..+")
_KEPT_BY_US = re.compile(r"cpython-3\..+-[0-9a-f]{9}\.tar\.gz")


@dataclasses.dataclass(frozen=True)
class Download:
    """An interpreter that uv can download."""

    key: str
    url: str

    @property
    def file_name(self) -> str:
        """uv's name for the file."""
        return split_url(self.url).path.rpartition("/")[2].replace("%2B", "-")


def parse_downloads(output: str) -> dict[str, Download]:
    """The final releases of CPython for this machine, by key, in the output of
    ``uv python list --only-downloads --output-format json``."""
    what = "uv's list of interpreters"
    entries, found = parse_json(output, what), {}
    if not isinstance(entries, list):
        raise UvnasError(f"{what} is not a list")
    for entry in entries:
        key, url = (entry.get(name) if isinstance(entry, dict) else None for name in ("key", "url"))
        # Anything else is another implementation, a debug build, or a pre-release.
        with contextlib.suppress(SpecError):
            if isinstance(key, str) and Version.of_key(key) and url and isinstance(url, str):
                found[key] = Download(key, url)
    return found


@dataclasses.dataclass(frozen=True)
class Downloads:
    """What uv can download, and from where."""

    # Set up for the mirror, the list, and offline mode.
    uv: Uv
    mirror: t.Optional[str] = None
    json_url: t.Optional[str] = None

    @classmethod
    def by(cls, uv: Uv, *, mirror: t.Optional[str], json_url: t.Optional[str], offline: bool) -> Downloads:
        """What ``uv`` downloads with these settings."""
        settings = {
            "UV_PYTHON_INSTALL_MIRROR": mirror or "",
            "UV_PYTHON_DOWNLOADS_JSON_URL": json_url or "",
            "UV_OFFLINE": "1" if offline else "",
        }
        given = {name: value for name, value in settings.items() if value}
        told = dataclasses.replace(uv, extra_variables={**uv.extra_variables, **given})
        return cls(told, mirror, json_url)

    def offered(self) -> dict[str, Download]:
        """What there is for this machine, by key. uv's built-in list needs no network."""
        if not os.path.exists(self.uv.layout.uv):
            raise UvnasError(
                f"there is no uv on this share: {self.uv.layout.uv} is missing",
                hint="Run the role uv (module uv_binary) first.",
            )
        hint = "Is uvnas_python_downloads_json_url right, and can the builder reach it?" if self.json_url else ""
        done = self.uv.check(
            "python", "list", "--only-downloads", "--all-versions", "--output-format", "json", "--no-cache",
            message="uv cannot list the interpreters to download",
            hint=hint,
            variables={"UV_PYTHON_DOWNLOADS": "manual"},
            cwd="/",
        )  # fmt: skip
        return parse_downloads(done.stdout)

    def origin(self, download: Download) -> str:
        """The host or directory that a download comes from."""
        url = split_url(self.mirror or download.url)
        return url.hostname or scrub(url.path)

    def kept(self, download: Download) -> list[str]:
        """Archives that uv has kept under a download's file name."""
        directory = self.uv.layout.python_archives
        pattern = re.compile(rf"([0-9a-f]{{9}}|none)-{re.escape(download.file_name)}")
        with contextlib.suppress(FileNotFoundError):
            return [os.path.join(directory, name) for name in sorted(os.listdir(directory)) if pattern.fullmatch(name)]
        return []

    def forget_damaged(self, download: Download) -> None:
        """Remove kept archives with a wrong checksum: uv would pick them up and fail again."""
        for path in self.kept(download):
            if not checksum.of_file(path).startswith(os.path.basename(path).partition("-")[0]):
                os.unlink(path)

    def digest(self, download: Download, kept_before: t.Collection[str], recorded: t.Optional[Interpreter]) -> str:
        """The sha256 of the archive that an interpreter was just installed from."""
        paths = self.kept(download)
        digests = [checksum.of_file(path) for path in [path for path in paths if path not in kept_before] or paths]
        if recorded is not None and recorded.digest in digests:
            return recorded.digest
        # If no archive is kept, the file name of the release has to do, which is never reused.
        named = checksum.of_text(f"{download.key} {download.file_name}")
        return digests[0] if digests else named


@dataclasses.dataclass(frozen=True)
class SiteArchives:
    """Archives of site-supplied interpreters: brought by the controller, packed here, or already on the share."""

    # Set up to know only the list of these archives.
    uv: Uv
    platform: Platform
    # What the controller brought: name -> open file.
    brought: t.Mapping[str, t.IO[bytes]]
    # The space needed, as a multiple of what an archive unpacks to.
    room: int
    # Other shares on this host, which may have the archive too.
    earlier: tuple[Share, ...] = ()

    @classmethod
    def by(
        cls,
        uv: Uv,
        platform: Platform,
        brought: t.Mapping[str, t.IO[bytes]],
        *,
        room: int,
        earlier: tuple[Share, ...] = (),
    ) -> SiteArchives:
        """What ``uv`` installs from archives on its share."""
        plain = {name: value for name, value in uv.extra_variables.items() if not name.startswith("UV_PYTHON_")}
        # They are already in python-archives; uv need not keep another copy.
        told = {"UV_PYTHON_DOWNLOADS_JSON_URL": _site_json(uv.layout), "UV_PYTHON_CACHE_DIR": ""}
        return cls(dataclasses.replace(uv, extra_variables={**plain, **told}), platform, brought, room, earlier)

    def kept(self, install: Install) -> t.Optional[str]:
        """The archive, on this share or an earlier one, that an interpreter was installed from, if still wanted."""
        recorded = install.recorded
        if recorded is None or recorded.archive is None or install.why == OTHER_CONTENT:
            return None
        layouts = (self.uv.layout, *(share.layout for share in self.earlier))
        paths = (os.path.join(layout.python_archives, recorded.archive) for layout in layouts)
        return next((path for path in paths if os.access(path, os.R_OK)), None)

    def lacks(self, install: Install) -> bool:
        """Whether the controller has to bring the archive first."""
        site = install.site
        return bool(site and site.archive and site.name not in self.brought and not self.kept(install))

    def check(self, install: Install) -> None:
        """Check that an interpreter is the declared one, before anything is written."""
        if self.kept(install):
            return
        site = _declared(install)
        if site.prefix:
            ask(site, site.prefix, self.platform, self.uv.runner)
        else:
            self._inspect(site)

    def store(self, install: Install) -> Interpreter:
        """Put the archive of an interpreter on the share; returns the entry for the record."""
        kept, recorded = self.kept(install), install.recorded
        if kept and recorded:
            with open(kept, "rb") as stream:
                checksum.check_archive(stream, recorded.archive_sha256 or "", kept)
            place = self._path(os.path.basename(kept))
            if not os.path.exists(place):
                os.makedirs(os.path.dirname(place), exist_ok=True)
                files.copy(kept, place)
            return dataclasses.replace(recorded, name=install.site.name if install.site else recorded.name)
        site = _declared(install)
        os.makedirs(self.uv.layout.python_archives, exist_ok=True)
        with files.replacing(self._path(f"{install.key}.tar.gz")) as new:
            digest, sha256, contents = self._fill(new.stream, site)
            self._check_room(install.key, contents)
            name = archive_name(install.key, sha256)
            new.path = self._path(name)
        return Interpreter(install.key, str(site.version), digest, SITE, False, site.name, name, sha256)

    def publish(self, interpreters: t.Iterable[Interpreter]) -> None:
        """See publish()."""
        publish(self.uv.layout, interpreters)

    def discard(self, interpreter: t.Optional[Interpreter]) -> None:
        """Remove the archive of an interpreter that is gone, or now has another one."""
        if interpreter is not None and interpreter.archive:
            mutex.check(self.uv.layout.mutex)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(interpreter.archive))

    def _path(self, name: str) -> str:
        return os.path.join(self.uv.layout.python_archives, name)

    def _inspect(self, site: SitePython) -> Contents:
        stream, what = self.brought[site.name], f"{site.name}: {os.path.basename(site.archive or '')}"
        checksum.check_archive(stream, site.sha256 or "", what)
        return inspect(stream, site.version, self.platform, what)

    def _fill(self, file: t.IO[bytes], site: SitePython) -> tuple[str, str, Contents]:
        """Write an archive to ``file``; returns the interpreter's digest, the archive's sha256, and its contents."""
        if site.prefix:
            packed = pack(ask(site, site.prefix, self.platform, self.uv.runner), file)
            if site.sha256 and site.sha256 != packed.digest:
                raise UvnasError(
                    f"{site.name}: the Python in {site.prefix} is not the one declared: "
                    f"sha256 is {packed.digest}, should be {site.sha256}",
                    hint="Has it been updated? Nothing was installed.",
                )
            return packed.digest, packed.sha256, packed.contents
        contents, stream, sha256 = self._inspect(site), self.brought[site.name], site.sha256 or ""
        stream.seek(0)
        shutil.copyfileobj(stream, file, 1 << 20)
        return sha256, sha256, contents

    def _check_room(self, key: str, contents: Contents) -> None:
        """Raise UvnasError if the content of an archive does not fit on the share."""
        free = space(self.uv.layout.root)
        for unit, one, available in (
            ("bytes", contents.bytes, free.free_bytes),
            ("inodes", contents.files, free.free_inodes),
        ):
            if available is not None and available < one * self.room:
                raise UvnasError(
                    f"no space for {key}: it takes about {one * self.room} {unit}, {available} are free",
                    hint="Free some on the share's filesystem, then run again. Nothing was installed.",
                )


def site_entry(key: str, path: str, sha256: str) -> dict[str, t.Any]:
    """An entry in uv's list of downloads for the archive at ``path``."""
    version, platform = Version.of_key(key), platform_of_key(key)
    return {
        "name": "cpython",
        "arch": {"family": platform.arch, "variant": None},
        "os": "linux",
        "libc": platform.libc,
        "major": 3,
        "minor": version.minor_number,
        "patch": version.patch,
        "prerelease": "",
        "url": "file://" + quote(path),
        "sha256": sha256,
        "variant": "freethreaded" if version.freethreaded else None,
        "build": None,
    }


def publish(layout: Layout, interpreters: t.Iterable[Interpreter]) -> None:
    """Write uv's list of those of ``interpreters`` that have an archive here. Hold the share's mutex."""
    entries = {
        found.key: site_entry(found.key, os.path.join(layout.python_archives, found.archive), found.archive_sha256)
        for found in interpreters
        if found.archive and found.archive_sha256
    }
    mutex.check(layout.mutex)
    files.write_json(_site_json(layout), entries)


def leftover_archives(layout: Layout, record: Record) -> list[str]:
    """The paths of kept archives that no interpreter of the record was installed from, uv's and ours."""
    known = record.interpreters.values()
    digests = {found.digest[:9] for found in known}
    ours = {found.archive for found in known}
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(layout.python_archives)):
            is_uvs, is_ours = _KEPT_BY_UV.fullmatch(name), _KEPT_BY_US.fullmatch(name)
            if (is_uvs and is_uvs[1] not in digests) or (is_ours and name not in ours):
                found.append(os.path.join(layout.python_archives, name))
    return found


def _declared(install: Install) -> SitePython:
    """The declaration of an interpreter that cannot be installed without one."""
    if install.site is None:
        raise UvnasError(
            f"{install.key} has to be reinstalled, but its archive is gone from the share",
            hint="Declare it in uvnas_site_pythons again, or remove it (uvnas_python_remove).",
        )
    return install.site


def _site_json(layout: Layout) -> str:
    """uv's list of the site's own interpreters, all it needs to install them, here or elsewhere."""
    return os.path.join(layout.python_archives, "site.json")
