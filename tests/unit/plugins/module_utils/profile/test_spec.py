# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be exported, and what must not be."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.spec import Profile
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share

SHARES = ({"name": "nas_a", "root": "/mnt/nas-a/uv"}, {"name": "nas_b", "root": "/mnt/nas-b/uv"})
MIRROR = "https://mirror.example.org/simple"


def make(shares: t.Sequence[dict[str, str]] = SHARES, variables: dict[str, t.Any] | None = None) -> Profile:
    return Profile.from_params(shares, "group", variables or {})


def test_from_the_options_of_the_module() -> None:
    made = Profile.from_params([{"name": "nas_a", "root": "/mnt//nas-a/uv/"}], "private", {"UV_B": 1, "UV_A": 2})
    variables = (("UV_A", "2"), ("UV_B", "1"), ("UV_PYTHON_DOWNLOADS", "manual"))
    shares = (Share("nas_a", Layout("/mnt/nas-a/uv")),)
    assert made == Profile(shares, one_cache=False, people=(), variables=variables)


@pytest.mark.parametrize(
    ("user_cache", "listed", "one_cache", "people"),
    [
        ("personal", [], False, None),
        ("personal", ["ada"], False, ("ada",)),
        ("group", [], True, None),
        ("group", ["ada"], True, ("ada",)),
        ("private", [], False, ()),
        ("private", ["ada", "dom\\o'hara"], False, ("ada", "dom\\o'hara")),
    ],
)
def test_whom_a_cache_is_for(
    user_cache: str, listed: list[str], one_cache: bool, people: tuple[str, ...] | None
) -> None:
    made = Profile.from_params(SHARES, user_cache, {}, listed)
    assert (made.one_cache, made.people) == (one_cache, people)


@pytest.mark.parametrize("name", ["", ".", "..", "-ada", "a/b", "../ada", "a\nb", "ada\n"])
def test_what_is_no_name_of_a_user(name: str) -> None:
    with pytest.raises(SpecError, match="is not a user name") as caught:
        Profile.from_params(SHARES, "private", {}, ["ada", name])
    assert caught.value.hint == "Correct uvnas_user_cache_users."


def test_the_order_of_shares_counts_and_that_of_variables_does_not() -> None:
    assert make(SHARES) != make(SHARES[::-1])
    assert make(variables={"UV_A": "1", "UV_B": "2"}) == make(variables={"UV_B": "2", "UV_A": "1"})


# Variables


def test_values_become_text() -> None:
    values = {"UV_A": True, "UV_B": False, "UV_C": 3, "UV_D": 1.5, "UV_E": None, "UV_F": "", "PIP_INDEX_URL": MIRROR}
    assert dict(make(variables=values).variables) == {
        "PIP_INDEX_URL": MIRROR,
        "UV_A": "true",
        "UV_B": "false",
        "UV_C": "3",
        "UV_D": "1.5",
        "UV_PYTHON_DOWNLOADS": "manual",
    }


@pytest.mark.parametrize(("value", "wanted"), [("automatic", {"UV_PYTHON_DOWNLOADS": "automatic"}), (None, {})])
def test_downloads_are_manual_unless_said_otherwise(value: str | None, wanted: dict[str, str]) -> None:
    assert dict(make(variables={"UV_PYTHON_DOWNLOADS": value}).variables) == wanted


@pytest.mark.parametrize(
    "name", ["UV_DEFAULT_INDEX", "PIP_INDEX_URL", "HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "NETRC"]
)
def test_names_that_may_be_exported(name: str) -> None:
    assert (name, "x") in make(variables={name: "x"}).variables


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("UV_CACHE_DIR", "follows the share"),
        ("UV_INSTALL_DIR", "follows the share"),
        ("UV_PYTHON_INSTALL_DIR", "follows the share"),
        ("PATH", "cannot be exported"),
        ("IFS", "cannot be exported"),
        ("LD_PRELOAD", "cannot be exported"),
        ("EUID", "cannot be exported"),
        ("UVNAS_ROOT", "cannot be exported"),
        ("UV_", "cannot be exported"),
        ("uv_x", "cannot be exported"),
        ("UV_X Y", "cannot be exported"),
        ("UV_X=1; rm -rf /; UV_Y", "cannot be exported"),
        ("UV_X\n", "cannot be exported"),
        ("", "cannot be exported"),
        ("UV_INDEX_INTERNAL_PASSWORD", "credential"),
        ("UV_INDEX_INTERNAL_USERNAME", "credential"),
        ("UV_PUBLISH_TOKEN", "credential"),
    ],
)
def test_names_that_are_refused(name: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        make(variables={name: "x"})
    assert caught.value.hint or "follows" in said


@pytest.mark.parametrize(
    "value",
    [
        "https://alice:geheim@mirror.example.org/simple",
        "https://geheim@mirror.example.org/simple",
        "https://open.example.org/simple https://alice:geheim@mirror.example.org/simple",
        "internal=https://alice:geheim@mirror.example.org/simple",
        "http://alice:geheim@proxy.example.org:3128",
    ],
)
def test_credentials_are_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(SpecError, match="credentials") as caught:
        make(variables={"UV_INDEX": value})
    assert "geheim" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("value", ["two\nlines", "tab\t", "nul\0", "\x1b[0m", "x" * 501, ["a"], {"a": 1}, "\udc80"])
def test_values_that_are_refused(value: t.Any) -> None:
    with pytest.raises(SpecError, match="UV_A"):
        make(variables={"UV_A": value})


# Shares


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([], "no share"),
        ([{"name": "../x", "root": "/a"}], "name of a share"),
        ([{"name": "a b", "root": "/a"}], "name of a share"),
        ([{"name": "", "root": "/a"}], "name of a share"),
        ([{"name": "a", "root": "relative"}], "absolute"),
        ([{"name": "a", "root": "/"}], "cannot be /"),
        ([{"name": "a", "root": "/a:b"}], "cannot be used"),
        ([{"name": "a", "root": "/a\nb"}], "cannot be used"),
        ([{"name": "a", "root": "/" + "x" * 600}], "cannot be in a shell file"),
        ([{"name": "a", "root": "/\udc80"}], "cannot be in a shell file"),
        ([{"name": "a", "root": "/a"}, {"name": "a", "root": "/b"}], "two shares"),
        ([{"name": "a", "root": "/a"}, {"name": "b", "root": "/a/"}], "same root"),
    ],
)
def test_shares_that_are_refused(shares: list[dict[str, str]], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make(shares)
