# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is told to export, and what the controller keeps to itself."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.plugin_utils.exports import exports

SHARES = [
    {"name": "nas_a", "root": "/mnt/nas-a/uv", "builder": "dev1", "owner": None},
    {"name": "nas_b", "root": "/mnt/nas-b/uv", "builder": "dev1", "owner": None},
]
NOTHING = {
    "UV_DEFAULT_INDEX": "",
    "UV_FIND_LINKS": "",
    "UV_INDEX": "",
    "UV_INDEX_STRATEGY": "",
    "UV_PYTHON_INSTALL_MIRROR": "",
}


def made(
    *names: str, index: dict[str, t.Any] | None = None, mirror: str | None = None, **variables: t.Any
) -> dict[str, t.Any]:
    return exports(names or ["nas_a"], shares=SHARES, index=index or {}, python_mirror=mirror, variables=variables)


def given(**more: t.Any) -> dict[str, t.Any]:
    """Variables that have a value."""
    return {name: value for name, value in made(**more)["variables"].items() if value != ""}


def test_nothing_is_said_but_the_shares() -> None:
    assert made("nas_b", "nas_a") == {
        "shares": [{"name": "nas_b", "root": "/mnt/nas-b/uv"}, {"name": "nas_a", "root": "/mnt/nas-a/uv"}],
        "variables": NOTHING,
        "withheld": [],
    }
    empty = {"default": None, "extra": None, "find_links": None, "strategy": None}
    assert made(index=empty, mirror="")["variables"] == NOTHING


def test_a_host_without_a_share_gets_nothing() -> None:
    secret = {"default": "https://alice:geheim@mirror.example.org/simple"}
    done = exports([], shares=SHARES, index=secret, python_mirror=None, variables={"UV_A": "1"})
    assert done == {"shares": [], "variables": {}, "withheld": []}


def test_a_share_that_is_none() -> None:
    known = r"The shares in uvnas_shares are: nas_a, nas_b\Z"
    with pytest.raises(SpecError, match=rf"\Auvnas_host_shares names unknown shares: nas_x, nas_y\. {known}"):
        made("nas_x", "nas_a", "nas_y")


def test_what_is_reached_over_the_network_is_exported() -> None:
    index = {
        "default": "https://mirror.example.org/simple",
        "extra": ["https://a.example.org", "b=http://b.example.org", "file:///srv/c", "/srv/d"],
        "find_links": ["/srv/wheels", "https://e.example.org/", "http://f.example.org/"],
        "strategy": "unsafe-best-match",
        "offline": True,
        "keyring": True,
    }
    assert given(index=index, mirror="https://pythons.example.org") == {
        "UV_DEFAULT_INDEX": "https://mirror.example.org/simple",
        "UV_INDEX": "https://a.example.org b=http://b.example.org",
        "UV_FIND_LINKS": "https://e.example.org/,http://f.example.org/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_PYTHON_INSTALL_MIRROR": "https://pythons.example.org",
    }
    assert given(index={"default": "/srv/simple"}, mirror="file:///srv/pythons") == {}


@pytest.mark.parametrize(
    "url",
    [
        "https://alice:geheim@a.example.org/simple",
        "https://geheim@a.example.org/simple",
        "http://:geheim@a.example.org/simple",
        "internal=https://alice:geheim@a.example.org/simple",
        "https://alice:ge heim@a.example.org/simple",
        "https://alice:geheim\n@a.example.org/simple",
        "https://alice:ge@heim@a.example.org/simple",
    ],
)
def test_a_url_with_credentials_is_withheld(url: str) -> None:
    index = {"default": url, "extra": [url, "https://b.example.org"], "find_links": ["https://c.example.org", url]}
    done = made(index=index, mirror=url)
    assert done["withheld"] == ["UV_DEFAULT_INDEX", "UV_FIND_LINKS", "UV_INDEX", "UV_PYTHON_INSTALL_MIRROR"]
    public = {"UV_INDEX": "https://b.example.org", "UV_FIND_LINKS": "https://c.example.org"}
    assert done["variables"] == {**NOTHING, **public}
    assert "heim" not in json.dumps(done)


def test_a_secret_in_a_path_of_the_builder_is_nobodys_business() -> None:
    assert made(index={"default": "file://geheim@host/srv"})["withheld"] == []


def test_variables_win_and_nothing_is_withheld_then() -> None:
    index = {"default": "https://alice:geheim@mirror.example.org/simple", "extra": ["https://geheim@a.example.org"]}
    more = {"UV_DEFAULT_INDEX": "https://public.example.org/simple", "UV_PYTHON_DOWNLOADS": None, "UV_INDEX": None}
    done = made(index=index, mirror="https://pythons.example.org", UV_HTTP_TIMEOUT=60, **more)
    assert done["withheld"] == []
    mirror = {"UV_PYTHON_INSTALL_MIRROR": "https://pythons.example.org"}
    assert done["variables"] == {**NOTHING, **mirror, "UV_HTTP_TIMEOUT": 60, **more}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"UV_INDEX": "https://alice:geheim@a.example.org"}, "UV_INDEX contains credentials"),
        ({"UV_INDEX_A_PASSWORD": "geheim"}, "UV_INDEX_A_PASSWORD would be a credential"),
        ({"PATH": "geheim"}, "cannot be exported"),
    ],
)
def test_variables_that_must_not_be_exported_stay_on_the_controller(variables: dict[str, t.Any], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        made(**variables)
    assert "geheim" not in caught.value.explain()


def test_an_address_that_no_file_can_have() -> None:
    with pytest.raises(SpecError, match="UV_INDEX: the value has a control character"):
        made(index={"extra": ["https://a.example.org/" + "x" * 500]})
