# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads: a real pip, and a real HTTP server on this machine."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
import typing as t
import venv
from pathlib import Path

import ansible
import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import Platform
from ansible_collections.uvnas.cluster.plugins.plugin_utils import download
from ansible_collections.uvnas.cluster.plugins.plugin_utils.download import IndexSource, ReleaseSource, UrlSource
from ansible_collections.uvnas.cluster.tests.support.uv_archives import sha256, write_release, write_wheel

COLLECTIONS = str(Path(download.__file__).parents[5])
GNU = Platform("x86_64", "gnu")
ARCHIVE = "uv-x86_64-unknown-linux-gnu.tar.gz"
WHEELS = {
    "x86_64-gnu": "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64",
    "x86_64-musl": "py3-none-musllinux_1_1_x86_64",
    "aarch64-gnu": "py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    "aarch64-musl": "py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
}


class Server:
    """Serves a directory; knows who asked for what."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.requests: list[tuple[str, str | None]] = []
        # What to send people elsewhere for, and where to; who is asked for a password, and which.
        self.redirects: dict[str, str] = {}
        self.credentials: str | None = None
        self.truncate = False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("Authorization")))
                path = outer.directory / self.path.partition("?")[0].lstrip("/")
                if outer.credentials and self.headers.get("Authorization") != basic(outer.credentials):
                    self.send_error(404)
                elif self.path in outer.redirects:
                    self.send_response(302)
                    self.send_header("Location", outer.redirects[self.path])
                    self.end_headers()
                elif path.is_file():
                    content = path.read_bytes()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content[: len(content) // 2] if outer.truncate else content)
                else:
                    self.send_error(404)

            def log_message(self, *_args: t.Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> t.Iterator[Server]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    directory = tmp_path / "served"
    directory.mkdir()
    with Server(directory).running() as running:
        yield running


@pytest.fixture
def release(server: Server) -> str:
    """A mirror with release 1.2.3; the checksum of its archive."""
    directory = server.directory / "mirror" / "1.2.3"
    directory.mkdir(parents=True)
    digest = write_release(directory / ARCHIVE, "1.2.3")
    (directory / f"{ARCHIVE}.sha256").write_text(f"{digest} *{ARCHIVE}\n")
    return digest


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip gets everything from."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("0.8.2", "0.8.22"):
        for tags in WHEELS.values():
            write_wheel(wheels / f"uv-{version}-{tags}.whl", version)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def said(error: UvnasError) -> str:
    """All that anybody is told of ``error``."""
    return f"{error.explain()}\n{json.dumps(error.as_dict())}"


@pytest.mark.parametrize("platform", sorted(WHEELS))
@pytest.mark.parametrize("version", ["0.8.2", "0.8.22"])
def test_pip_finds_the_wheel_of_a_version_and_platform(
    index: Path, tmp_path: Path, platform: str, version: str
) -> None:
    source = IndexSource(version, Platform.parse(platform))
    assert source.key == f"uv-{version}-{platform}-index"
    path = Path(source.fetch(str(tmp_path)))
    assert path == tmp_path / f"uv-{version}-{WHEELS[platform]}.whl"
    assert sha256(path) == sha256(index / path.name)


def test_pip_says_what_is_wrong_without_a_page_of_versions(index: Path, tmp_path: Path) -> None:
    for patch in range(300):
        (index / f"uv-0.7.{patch}-{WHEELS['x86_64-gnu']}.whl").write_bytes(b"")
    with pytest.raises(UvnasError, match=r"pip on the controller cannot download uv 9\.9\.9") as raised:
        IndexSource("9.9.9", GNU).fetch(str(tmp_path))
    assert "Could not find a version that satisfies the requirement uv==9.9.9 (newest: " in said(raised.value)
    assert "0.8.22)" in said(raised.value)
    assert "0.7.100" not in said(raised.value)


@pytest.mark.usefixtures("index")
def test_pip_may_be_told_to_want_a_virtual_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    assert Path(IndexSource("0.8.2", GNU).fetch(str(tmp_path))).is_file()


@pytest.mark.usefixtures("index")
def test_credentials_of_an_index_are_not_shown(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url.replace('://', '://alice:s3cr3t@')}/simple")
    with pytest.raises(UvnasError) as raised:
        IndexSource("1.2.3", GNU).fetch(str(tmp_path))
    assert ("/simple/uv/", basic("alice:s3cr3t")) in server.requests
    assert "s3cr3t" not in said(raised.value)


def test_the_pip_that_comes_with_python_will_do(index: Path, tmp_path: Path) -> None:
    """On a controller whose Ansible is in an environment without pip, such as uv and pipx make."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (tmp_path / "lib").mkdir()
    os.symlink(os.path.dirname(ansible.__file__), tmp_path / "lib" / "ansible")
    script = f"""
from {download.__name__} import IndexSource, pip_command
from {Platform.__module__} import Platform
import json
print(json.dumps([pip_command(), IndexSource("0.8.2", Platform("x86_64", "gnu")).fetch({str(tmp_path)!r})]))
"""
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-c", script],
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'lib'}:{COLLECTIONS}", "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    command, wheel = json.loads(done.stdout)
    assert command[0] == str(tmp_path / "venv" / "bin" / "python")
    assert command[1].endswith(".whl/pip")
    assert sha256(Path(wheel)) == sha256(index / Path(wheel).name)


def test_else_the_pip_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(download.glob, "glob", lambda _pattern: [])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UvnasError, match=f"the controller has no pip: none for {sys.executable}, none on PATH"):
        download.pip_command()
    (tmp_path / "pip").write_text("#!/bin/sh\n")
    (tmp_path / "pip").chmod(0o755)
    assert download.pip_command() == [str(tmp_path / "pip")]


@pytest.mark.parametrize("suffix", ["", "/", "?token=s3cr3t"])
def test_a_release_is_verified_by_its_checksum_file(server: Server, release: str, tmp_path: Path, suffix: str) -> None:
    path = Path(ReleaseSource(f"{server.url}/mirror{suffix}", "1.2.3", GNU).fetch(str(tmp_path)))
    assert (path.name, sha256(path)) == (ARCHIVE, release)
    query = suffix.removeprefix("/")
    assert [path for path, _who in server.requests] == [
        f"/mirror/1.2.3/{ARCHIVE}.sha256{query}",
        f"/mirror/1.2.3/{ARCHIVE}{query}",
    ]


def test_a_mirror_may_be_a_directory(server: Server, release: str, tmp_path: Path) -> None:
    path = ReleaseSource(f"file://{server.directory}/mirror", "1.2.3", GNU).fetch(str(tmp_path))
    assert sha256(Path(path)) == release


def test_each_mirror_is_remembered_by_itself() -> None:
    keys = {ReleaseSource(url, "1.2.3", GNU).key for url in ("https://a.example/uv", "https://me:s3cr3t@b.example/uv")}
    assert len(keys) == 2
    assert all("s3cr3t" not in key and "/" not in key for key in keys)


@pytest.mark.usefixtures("release")
def test_a_damaged_release(server: Server, tmp_path: Path) -> None:
    archive = server.directory / "mirror" / "1.2.3" / ARCHIVE
    archive.write_bytes(archive.read_bytes() + b"more")
    url = server.url.replace("://", "://alice:s3cr3t@")
    with pytest.raises(UvnasError, match=r"the checksum of .* is wrong") as raised:
        ReleaseSource(f"{url}/mirror?token=t0k3n", "1.2.3", GNU).fetch(str(tmp_path))
    assert f"{server.url.replace('://', '://****@')}/mirror/1.2.3/{ARCHIVE}?****" in str(raised.value)
    assert "s3cr3t" not in said(raised.value)
    assert "t0k3n" not in said(raised.value)


@pytest.mark.usefixtures("release")
def test_a_download_that_breaks_off(server: Server, tmp_path: Path) -> None:
    source = UrlSource(f"{server.url}/mirror/1.2.3/{ARCHIVE}", "0" * 64)
    server.truncate = True
    with pytest.raises(UvnasError, match=r"cannot download .*|the checksum of .* is wrong"):
        source.fetch(str(tmp_path))


@pytest.mark.usefixtures("release")
def test_a_release_that_does_not_exist(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        UvnasError, match=rf"cannot download {server.url}/mirror/9\.9\.9/{ARCHIVE}\.sha256: HTTP Error 404"
    ):
        ReleaseSource(f"{server.url}/mirror", "9.9.9", GNU).fetch(str(tmp_path))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/uv.whl", "nothing://example/uv.whl", "http://", "file:///no/such/uv.whl"]
)
def test_addresses_that_lead_nowhere(tmp_path: Path, url: str) -> None:
    with pytest.raises(UvnasError, match="cannot download"):
        UrlSource(url, "0" * 64).fetch(str(tmp_path))


def test_credentials_go_to_their_server_only(server: Server, release: str, tmp_path: Path) -> None:
    server.credentials = "alice:s3c:r@t"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Server(server.directory).running() as other:
        server.redirects["/uv.tar.gz"] = f"{other.url}/mirror/1.2.3/{ARCHIVE}"
        url = server.url.replace("://", "://alice:s3c%3Ar%40t@")
        path = UrlSource(f"{url}/uv.tar.gz", release).fetch(str(elsewhere))
    assert sha256(Path(path)) == release
    assert server.requests == [("/uv.tar.gz", basic("alice:s3c:r@t"))]
    assert other.requests == [(f"/mirror/1.2.3/{ARCHIVE}", None)]


def test_a_name_from_an_address_is_no_path(server: Server, tmp_path: Path) -> None:
    (server.directory / "..%2fuv;.whl").write_bytes(b"content")
    (tmp_path / "to").mkdir()
    path = UrlSource(f"{server.url}/..%2fuv;.whl", sha256(server.directory / "..%2fuv;.whl")).fetch(
        str(tmp_path / "to")
    )
    assert os.path.dirname(path) == str(tmp_path / "to")
