# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests, keys, and what they mean among what there is."""

from __future__ import annotations

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.python.version import Version, choose, not_available

# What somebody offers, in no order.
VERSIONS = (
    "3.12.16 3.12.15 3.12.14 3.12.13 3.12.12 3.12.11 3.12.10 3.15.2 3.15.2t 3.14.9 3.14.10 3.13.18t 3.13.17t "
    "3.13.18 3.11.18 3.11.17 3.8.20 3.14.9t"
)
KEYS = [Version.parse(version).key("x86_64-gnu") for version in VERSIONS.split()]


@pytest.mark.parametrize(
    ("text", "minor", "key"),
    [
        ("3.12.4", "3.12", "cpython-3.12.4-linux-x86_64-gnu"),
        ("3.9.0", "3.9", "cpython-3.9.0-linux-x86_64-gnu"),
        ("3.13.18t", "3.13t", "cpython-3.13.18+freethreaded-linux-x86_64-gnu"),
    ],
)
def test_an_exact_version_is_a_key_and_back(text: str, minor: str, key: str) -> None:
    version = Version.parse(text)
    assert (str(version), version.minor, version.exact) == (text, minor, True)
    assert version.key("x86_64-gnu") == key
    assert Version.of_key(key) == version
    assert Version.of_key(version.key("aarch64-musl")) == version


@pytest.mark.parametrize("text", ["3.12", "3.9", "3.13t"])
def test_a_series_is_a_request(text: str) -> None:
    version = Version.parse(text)
    assert (str(version), version.minor, version.exact) == (text, text, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "3.",
        "3.012",
        "3.12.",
        "3.12.4.1",
        "2.7",
        "4.0",
        "3.12 ",
        " 3.12",
        "3.12\n",
        "python3.12",
        ">=3.12",
        "3.x",
        "3.13.0rc1",
        "3.16.0a2",
        "3.12d",
        "3.12.4tt",
        "cpython-3.12",
        "../3.12",
        "3.12/..",
        "3.１２",
        "3.1234",
        "-3.12",
    ],
)
def test_what_is_no_request(text: str) -> None:
    with pytest.raises(SpecError, match="is not a request for a Python") as error:
        Version.parse(text)
    assert '"3.12"' in error.value.hint


@pytest.mark.parametrize("text", ["pypy3.10", "pypy@3.10", "PyPy", "graalpy-24"])
def test_other_implementations_are_refused_by_name(text: str) -> None:
    with pytest.raises(SpecError, match="is not CPython"):
        Version.parse(text)


@pytest.mark.parametrize("key", ["cpython-3.12-linux-x86_64-gnu", "pypy-3.12.15-linux-x86_64-gnu", "x", "../cpython"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(SpecError):
        Version.of_key(key)


@pytest.mark.parametrize(
    ("request_", "chosen"),
    [
        ("3.12", "3.12.16"),
        ("3.12.9", None),
        ("3.12.12", "3.12.12"),
        ("3.14", "3.14.10"),
        ("3.13t", "3.13.18t"),
        ("3.11t", None),
        ("3.16", None),
        ("3.99", None),
    ],
)
def test_the_newest_is_chosen(request_: str, chosen: str | None) -> None:
    found = choose(Version.parse(request_), KEYS)
    assert (found and str(Version.of_key(found))) == chosen


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("3.12.999", "the newest of 3.12 are 3.12.16, 3.12.15, 3.12.14, 3.12.13, 3.12.12 and 2 older ones"),
        ("3.99", "available are 3.15, 3.14, 3.13, 3.12, 3.11, 3.8"),
        ("3.11t", "available are 3.15t, 3.14t, 3.13t"),
    ],
)
def test_what_there_is_instead_is_said(request_: str, said: str) -> None:
    error = not_available(Version.parse(request_), [Version.of_key(key) for key in KEYS], where="uv")
    assert str(error) == f"Python {request_} is not available from uv: {said}"
