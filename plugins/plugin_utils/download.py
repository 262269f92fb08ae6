# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On the controller: downloads of uv's archives, from a package index, from uv's releases or from a URL."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import http.client
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
import typing as t

from ..module_utils.errors import UvnasError
from ..module_utils.host.checksum import check_archive, parse_checksum
from ..module_utils.host.platform import Platform
from ..module_utils.host.process import Runner, SystemRunner, check
from ..module_utils.host.secrets import scrub, shown
from ..module_utils.host.urls import split_url
from ..module_utils.uv import target

# Between two packets from the server, in seconds.
_TIMEOUT = 60
# The list of all versions of uv in pip's message is longer than a screen. The newest ones are at its end.
_PIP_VERSIONS = re.compile(r"\(from versions: .*?((?:[^,()]+, ){4}[^,()]+)\)")


class Source(t.Protocol):
    """Where an archive comes from."""

    @property
    def key(self) -> str:
        """The key it is recorded under: the same for the same archive, and usable as a file name."""

    def fetch(self, directory: str) -> str:
        """Download the archive to ``directory``, verify it, and return its path."""


class IndexSource:
    """uv's wheel, from the package index that pip is configured for."""

    def __init__(self, version: str, platform: Platform, runner: Runner | None = None) -> None:
        self._version = version
        self._platforms = target.wheel_platforms(platform)
        self._runner = runner or SystemRunner()
        self.key = f"uv-{version}-{platform.name}-index"

    def fetch(self, directory: str) -> str:
        cmd = [*pip_command(), "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", directory]
        cmd += [word for platform in self._platforms for word in ("--platform", platform)]
        cmd += [f"uv=={self._version}"]
        # A download needs no virtual environment, whatever pip's configuration requires for installations.
        settings = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = self._runner.run(cmd, variables={**os.environ, **settings})
        check(
            dataclasses.replace(done, stderr=_PIP_VERSIONS.sub(r"(newest: \1)", done.stderr)),
            cmd,
            f"pip on the controller cannot download uv {self._version}",
            hint="It uses the controller's pip.conf and PIP_ variables. uvnas_uv_source offers other ways to get uv.",
        )
        wheels = [name for name in os.listdir(directory) if name.startswith(f"uv-{self._version}-")]
        if len(wheels) != 1:
            raise UvnasError(f"pip on the controller downloaded no wheel of uv {self._version}", hint=done.stdout)
        return os.path.join(directory, wheels[0])


class ReleaseSource:
    """An archive among the files of uv's releases, or of a mirror of them, with its checksum file beside it."""

    def __init__(self, base_url: str, version: str, platform: Platform) -> None:
        self._name = target.release_archive(platform)
        # What follows "?" may be a credential for the whole mirror.
        parts = split_url(base_url)
        self._url = parts._replace(path=f"{parts.path.rstrip('/')}/{version}/{self._name}").geturl()
        self._checksum_url = parts._replace(path=f"{parts.path.rstrip('/')}/{version}/{self._name}.sha256").geturl()
        self.key = f"uv-{version}-{platform.name}-release-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}"

    def fetch(self, directory: str) -> str:
        checksum_file = os.path.join(directory, "sha256")
        _download(self._checksum_url, checksum_file)
        with open(checksum_file, encoding="utf-8", errors="replace") as file:
            sha256 = parse_checksum(file.read(100_000), self._name)
        return _download_verified(self._url, os.path.join(directory, self._name), sha256)


class UrlSource:
    """An archive at a URL, and the checksum that it must have."""

    def __init__(self, url: str, sha256: str) -> None:
        self._url = url
        self._sha256 = sha256
        self.key = f"archive-{sha256}"

    def fetch(self, directory: str) -> str:
        name = re.sub(r"[^A-Za-z0-9._+-]", "_", os.path.basename(split_url(self._url).path)).lstrip(".") or "archive"
        return _download_verified(self._url, os.path.join(directory, name), self._sha256)


def _download_verified(url: str, path: str, sha256: str) -> str:
    _download(url, path)
    with open(path, "rb") as stream:
        check_archive(stream, sha256, shown(url))
    return path


def _download(url: str, path: str) -> None:
    """Download ``url`` to the file ``path``."""
    # Not at the top: it takes a fifteenth of a second, and a no-op downloads nothing.
    from ansible.module_utils.urls import ConnectionError as UrlsError
    from ansible.module_utils.urls import open_url

    try:
        # Credentials go with the first request, since some servers answer 404 instead of 401; and never with a
        # redirected one, which may lead anywhere.
        response = open_url(
            url,
            timeout=_TIMEOUT,
            http_agent="uvnas.cluster",
            force_basic_auth=True,
            unredirected_headers=["Authorization"],
            decompress=False,
        )
        with response, open(path, "wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)
    except (OSError, UrlsError, http.client.HTTPException, ValueError) as error:
        # Without its cause, which may contain the whole URL, as may the text of errors about odd ones.
        is_one = "://" in url and isinstance(error, (OSError, UrlsError))
        reason = scrub(str(error)) if is_one else "it is not a usable URL"
        raise UvnasError(
            f"cannot download {shown(url)}: {reason}",
            hint="The controller downloads, with the proxies of its own environment (HTTPS_PROXY and the like).",
        ) from None


def pip_command() -> list[str]:
    """How to run a pip on the controller: this Python's, else the one that comes with Python, else the one on PATH."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # Distributions keep it in a directory of their own. A wheel of pip runs as it is.
    directories = [os.path.join(sysconfig.get_path("stdlib"), "ensurepip", "_bundled")]
    directories += [sysconfig.get_config_var("WHEEL_PKG_DIR") or "", "/usr/share/python-wheels"]
    bundled = [wheel for directory in directories for wheel in glob.glob(os.path.join(directory, "pip-*.whl"))]
    if bundled:
        return [sys.executable, os.path.join(bundled[0], "pip")]
    on_path = shutil.which("pip3") or shutil.which("pip")
    if on_path:
        return [on_path]
    raise UvnasError(
        f"the controller has no pip: none for {sys.executable}, none on PATH",
        hint="Install pip there, or set uvnas_uv_source to release or archive.",
    )
