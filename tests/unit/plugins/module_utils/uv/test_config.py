# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv is told by its configuration file, and what is left for everybody to know; and that uv itself reads it so."""

from __future__ import annotations

import base64
import http.server
import os
import sys
import threading
import tomllib
import typing as t
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import config
from ansible_collections.uvnas.cluster.tests.support.sites import BIN
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_sdist


def settings(**variables: str) -> dict[str, t.Any]:
    _left, text = config.split(variables)
    return tomllib.loads(text)


# What is written.


def test_indexes_keep_their_order_and_their_names() -> None:
    found = settings(
        UV_DEFAULT_INDEX="https://a",
        UV_INDEX="corp=https://b  https://c?x=1",
        UV_EXTRA_INDEX_URL="https://d",
        UV_INDEX_URL="https://e",
        UV_FIND_LINKS="/wheels,https://f",
    )
    assert found == {
        "find-links": ["/wheels", "https://f"],
        "index": [
            {"name": "corp", "url": "https://b"},
            {"url": "https://c?x=1"},
            {"url": "https://d"},
            {"url": "https://a", "default": True},
        ],
    }
    assert settings(UV_INDEX_URL="https://e") == {"index": [{"url": "https://e", "default": True}]}
    assert settings(UV_INDEX="", UV_DEFAULT_INDEX="", UV_PYTHON_INSTALL_MIRROR="") == {}


def test_credentials_by_name_go_into_the_address() -> None:
    left, text = config.split(
        {
            "UV_INDEX": "my-corp=https://old:one@b",
            "UV_INDEX_MY_CORP_USERNAME": "alice",
            "UV_INDEX_MY_CORP_PASSWORD": 'ge"heim',
            "UV_INDEX_OTHER_PASSWORD": "geheim",
        }
    )
    assert tomllib.loads(text) == {"index": [{"name": "my-corp", "url": "https://alice:ge%22heim@b"}]}
    assert not left


def test_mirrors() -> None:
    assert settings(UV_PYTHON_INSTALL_MIRROR="https://a", UV_PYTHON_DOWNLOADS_JSON_URL='https://"b"\n') == {
        "python-install-mirror": "https://a",
        "python-downloads-json-url": 'https://"b"\n',
    }


PROXIES = [
    ({"HTTPS_PROXY": "http://p:1"}, {}, {"HTTPS_PROXY"}),
    ({"HTTPS_PROXY": "http://u:geheim@p:1"}, {"https-proxy": "http://u:geheim@p:1"}, set()),
    (
        {"ALL_PROXY": "u:geheim@p:1", "http_proxy": "q:2", "NO_PROXY": "a, .b"},
        {"https-proxy": "http://u:geheim@p:1", "http-proxy": "http://q:2", "no-proxy": ["a", ".b"]},
        {"http_proxy", "NO_PROXY"},
    ),
    (
        {"HTTP_PROXY": "http://u:geheim@p:1", "http_proxy": "http://other:1", "no_proxy": "*"},
        {"http-proxy": "http://u:geheim@p:1", "no-proxy": ["*"]},
        {"http_proxy", "no_proxy"},
    ),
    ({"HTTPS_PROXY": "", "ALL_PROXY": "socks5://u:geheim@p"}, {
        "http-proxy": "socks5://u:geheim@p", "https-proxy": "socks5://u:geheim@p"
    }, {"HTTPS_PROXY"}),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "expected", "left"), PROXIES)
def test_proxies_are_hidden_if_there_is_something_to_hide(
    variables: dict[str, str], expected: dict[str, t.Any], left: set[str]
) -> None:
    known, text = config.split(variables)
    assert tomllib.loads(text) == expected
    assert set(known) == left


def test_no_secret_is_left() -> None:
    left, text = config.split({"GITHUB_PAT": "geheim", "X": "https://u:geheim@a", "NETRC": "/n", "CUDA_HOME": "/c"})
    assert left == {"NETRC": "/n", "CUDA_HOME": "/c"}
    assert not text


@pytest.mark.parametrize(
    "variables",
    [
        {"HTTPS_PROXY": "http://u:geheim@p:1", "all_proxy": "u:geheim@p:1", "NO_PROXY": "a"},
        {"UV_INDEX_CORP_PASSWORD": "geheim", "UV_INDEX": "https://u:geheim@a", "UV_INDEX_URL": "https://geheim@a"},
        {"UV_PYTHON_INSTALL_MIRROR": "https://geheim@a", "UV_HTTP_RETRIES": 0, "CUDA_HOME": "/opt/cuda"},
    ],
)
def test_what_may_be_given(variables: dict[str, t.Any]) -> None:
    config.check_variables(variables)
    left, _text = config.split({name: str(value) for name, value in variables.items()})
    assert "geheim" not in str(left)


# Builds would have what no lock says; or none could be begun to make one.
LOOSE = ["UV_NO_BUILD_ISOLATION", "UV_BUILD_CONSTRAINT", "UV_REQUIRE_BUILD_HASHES"]
SECRET = ["GITHUB_PAT", "UV_API_KEY", "HF_TOKEN", "UV_PUBLISH_PASSWORD"]


@pytest.mark.parametrize("name", [*SECRET, "UV_CONFIG_FILE", *LOOSE])
def test_what_may_not(name: str) -> None:
    with pytest.raises(SpecError, match=name) as caught:
        config.check_variables({name: "geheim"})
    assert "geheim" not in caught.value.explain()


# What uv does with it.


class Server:
    """An index with packages, or a proxy, that wants a user and a password; what it was asked for, and by whom."""

    def __init__(self, directory: Path, user: str, header: str = "Authorization") -> None:
        wanted = "Basic " + base64.b64encode(user.encode()).decode()
        self.answered = answered = list[str]()

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: t.Any) -> None:
                super().__init__(*args, directory=str(directory))

            def do_GET(self) -> None:
                if self.headers.get(header) != wanted:
                    self.send_error(401 if header == "Authorization" else 407)
                    return
                answered.append(self.path)
                self.path = urlsplit(self.path).path  # A proxy is asked for the whole address.
                super().do_GET()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve(tmp_path: Path) -> t.Iterator[t.Callable[..., Server]]:
    """Starts servers of ``uvnas-sample``, with this user and password."""
    page = tmp_path / "index" / "simple" / "uvnas-sample"
    write_small_sdist(page, "uvnas_sample", "1.0", {})
    (page / "index.html").write_text('<a href="uvnas_sample-1.0.tar.gz">uvnas_sample-1.0.tar.gz</a>')
    started: list[Server] = []

    def serve(user: str, header: str = "Authorization") -> Server:
        started.append(Server(tmp_path / "index", user, header))
        return started[-1]

    yield serve
    for server in started:
        server.close()


def resolve(directory: Path, **variables: str) -> str:
    """What uv says of the newest uvnas-sample."""
    (directory / "a.in").write_text("uvnas-sample\n")
    told = {"PATH": os.defpath, "HOME": str(directory), "UV_NO_CONFIG": "1", "UV_HTTP_RETRIES": "0", **variables}
    left, text = config.split(told)
    args = ("pip", "compile", "-q", "--no-cache", "--no-header", "--no-annotate", "-p", sys.executable, "a.in")
    done = SystemRunner().run([str(BIN / "uv"), *config.ARGUMENTS, *args], variables=left, stdin=text, cwd=directory)
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize(
    "told",
    [
        {"UV_DEFAULT_INDEX": "http://alice:p%40ss%2F@HOST/simple"},
        {"UV_DEFAULT_INDEX": "http://127.0.0.1:1/simple", "UV_INDEX": "http://alice:p%40ss%2F@HOST/simple"},
        {"UV_INDEX": "corp=http://HOST/simple", "UV_INDEX_CORP_USERNAME": "alice", "UV_INDEX_CORP_PASSWORD": "p@ss/"},
        {"UV_DEFAULT_INDEX": "file:///nowhere", "UV_FIND_LINKS": "http://alice:p%40ss%2F@HOST/simple/uvnas-sample/"},
    ],
    ids=["default", "extra", "name", "find-links"],
)
def test_uv_gets_in(told: dict[str, str], serve: t.Callable[..., Server], tmp_path: Path) -> None:
    server = serve("alice:p@ss/")
    told = {name: value.replace("HOST", server.host) for name, value in told.items()}
    assert resolve(tmp_path, **told) == "uvnas-sample==1.0"
    assert server.answered


def test_uv_goes_by_way_of_a_proxy(serve: t.Callable[..., Server], tmp_path: Path) -> None:
    proxy = serve("alice:geheim", "Proxy-Authorization")
    told = {"ALL_PROXY": f"alice:geheim@{proxy.host}", "UV_DEFAULT_INDEX": "http://index.invalid/simple"}
    assert resolve(tmp_path, **told) == "uvnas-sample==1.0"
    assert proxy.answered[0] == "http://index.invalid/simple/uvnas-sample/"
    del proxy.answered[:]
    assert "index.invalid" in resolve(tmp_path, **told, NO_PROXY=".invalid,localhost")
    assert not proxy.answered


def test_directories_are_indexes_too(serve: t.Callable[..., Server], tmp_path: Path) -> None:
    links = str(tmp_path / "index" / "simple" / "uvnas-sample")
    assert resolve(tmp_path, UV_OFFLINE="1", UV_FIND_LINKS=f"{tmp_path},{links}") == "uvnas-sample==1.0"
    assert resolve(tmp_path, UV_DEFAULT_INDEX=str(tmp_path / "index" / "simple")) == "uvnas-sample==1.0"
    file = f"file://{tmp_path}/index/simple"
    assert resolve(tmp_path, UV_DEFAULT_INDEX="file:///nowhere", UV_INDEX=file) == "uvnas-sample==1.0"


def test_a_file_longer_than_a_pipe(serve: t.Callable[..., Server], tmp_path: Path) -> None:
    server = serve("alice:geheim")
    links = ",".join([f"{tmp_path}/index{'/.' * 40}"] * 1000)
    told = {"UV_FIND_LINKS": links, "UV_DEFAULT_INDEX": f"http://alice:geheim@{server.host}/simple"}
    assert len(config.split(told)[1]) > 1 << 16
    assert resolve(tmp_path, **told) == "uvnas-sample==1.0"
