# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is a secret in texts, addresses and names of variables, and what is shown instead."""

from __future__ import annotations

import time

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host import secrets


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("https://u:p@a.example/simple", "https://****@a.example/simple"),
        ("https://u:p@ss@a.example/simple", "https://****@a.example/simple"),
        (
            "'https://token@a.example' and http://u:@b.example:80/",
            "'https://****@a.example' and http://****@b.example:80/",
        ),
        ("a @ git+ssh://git@a.example/x.git@v1", "a @ git+ssh://****@a.example/x.git@v1"),
        ("https://a.example/x@1 mail a@b.example", "https://a.example/x@1 mail a@b.example"),
        ("https://a.example admin@b.example", "https://a.example admin@b.example"),
        ("https://a.example/x?mail=a@b.example", "https://a.example/x?mail=a@b.example"),
        ("https://u:p#ss@a.example and https://u:p?s@b.example", "https://****@a.example and https://****@b.example"),
        ("https:///u:p@a.example", "https:///****@a.example"),
        ("uv+https://u:p@a.example\nhttps://u:p@b.example", "uv+https://****@a.example\nhttps://****@b.example"),
        ("'https://u:p/s@a.example/simple'", "'https://****@a.example/simple'"),
        ("https://u:1/s@a.example", "https://u:1/s@a.example"),
        ("https://a.example:8080/x@1", "https://a.example:8080/x@1"),
        ("https://a.example:/x@1 https://[::1]:80/x@1", "https://a.example:/x@1 https://[::1]:80/x@1"),
        ("no scheme, but ://u:p@a.example", "no scheme, but ://****@a.example"),
        ("", ""),
    ],
)
def test_scrub(text: str, scrubbed: str) -> None:
    assert secrets.scrub(text) == scrubbed


@pytest.mark.parametrize("text", ["a" * 100_000, "a://" * 25_000, "a://b:" * 20_000, "://" * 30_000, "a.b+c-" * 20_000])
def test_long_texts_are_searched_soon(text: str) -> None:
    """Output of a build may have lines of any length; seconds mean that the work grows with the square of it."""
    begun = time.monotonic()
    assert secrets.scrub(text) == text
    assert not secrets.has_credentials(text)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("https://a.example/simple", False),
        ("https://u:p@a.example/simple", True),
        ("https://token@a.example/simple", True),
        ("x @ git+https://token@a.example/x.git@v1", True),
        ("x @ git+ssh://git@a.example/x.git@v1", False),
        ("x @ ssh://git@a.example/x.git", False),
        ("x @ git+ssh://git:p@a.example/x.git", True),
        ("://token@a.example", True),
        ("https://a.example/simple/x@1", False),
        ("https://a.example/?mail=a@b.example", False),
        ("https://u:p#ss@a.example/simple", True),
        ("https://token:@a.example/simple", True),
        ("x @ git+ssh://git@a.example/x.git\n--index-url https://token@a.example", True),
        ("mail a@b.example", False),
        ("", False),
    ],
)
def test_has_credentials(text: str, has: bool) -> None:
    assert secrets.has_credentials(text) is has


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://a.example/simple", set()),
        ("https://u:s3cret@a.example/simple", {"s3cret"}),
        ("https://u:s3%40cret@a.example/simple", {"s3%40cret", "s3@cret"}),
        ("https://t%2Fken@a.example/simple", {"t%2Fken", "t/ken"}),
        ("https://token@a.example/simple", {"token"}),
        ("https://token:@a.example/simple", {"token"}),
        ("https://u:p#s?s@a.example/simple", {"p#s?s"}),
        ("https://u:p/s%41/@a.example", {"p/s%41/", "p/sA/"}),
        ("https://u:one@a.example https://u:two@b.example", {"one", "two"}),
        ("git+ssh://git@a.example/x.git", set()),
        ("/srv/wheels", set()),
        ("https://u:s3cret@[broken/simple", {"s3cret"}),
        ("", set()),
    ],
)
def test_secrets_in_an_address(url: str, found: set[str]) -> None:
    assert secrets.in_url(url) == found


@pytest.mark.parametrize(
    "name",
    [
        "UV_INDEX_INTERNAL_PASSWORD",
        "UV_INDEX_INTERNAL_USERNAME",
        "UV_PUBLISH_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY",
        "GITHUB_PAT",
        "PAT",
        "PGPASSFILE",
        "HTTP_BASIC_AUTH",
        "google_application_credentials",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert secrets.is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["UV_HTTP_RETRIES", "UV_KEYRING_PROVIDER", "PATH", "HTTPS_PROXY", "UV_INDEX", "PATCH", "KEYS", "AUTHOR", ""],
)
def test_names_of_what_is_no_secret(name: str) -> None:
    assert not secrets.is_secret_name(name)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://mirror.example/uv", "https://mirror.example/uv"),
        ("https://alice:s3cr3t@mirror.example/uv", "https://****@mirror.example/uv"),
        ("https://t0k3n@mirror.example/uv?sig=s3cr3t&x=1#y", "https://****@mirror.example/uv?****"),
        ("https://mirror.example/uv#s3cr3t", "https://mirror.example/uv?****"),
        ("https://mirror.example/uv?a\nb", "https://mirror.example/uv?****"),
        ("/srv/mirror", "/srv/mirror"),
    ],
)
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert secrets.shown(url) == shown


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HTTPS_PROXY", "http://proxy.example:3128", False),
        ("HTTPS_PROXY", "proxy.example:3128", False),
        ("HTTPS_PROXY", "http://alice:s3cret@proxy.example:3128", True),
        ("HTTPS_PROXY", "alice:s3cret@proxy.example:3128", True),
        ("all_proxy", "t0k3n@proxy.example:3128", True),
        ("NO_PROXY", "localhost,@a", False),
        ("MAIL", "alice:x@a.example", False),
        ("GITHUB_PAT", "", True),
        ("CUDA_HOME", "/opt/cuda", False),
    ],
)
def test_variables_that_are_secrets(name: str, value: str, secret: bool) -> None:
    assert secrets.is_secret(name, value) is secret


@pytest.mark.parametrize(
    ("url", "user", "password", "expected"),
    [
        ("https://a.example/simple", "alice", "s3cret", "https://alice:s3cret@a.example/simple"),
        ("https://bob:old@a.example/@x", "alice", "s3cret", "https://alice:s3cret@a.example/@x"),
        ("https://a.example", "a@b", "p/?#:@%ü ", "https://a%40b:p%2F%3F%23%3A%40%25%C3%BC%20@a.example"),
        ("https://a.example", "t0k3n", "", "https://t0k3n@a.example"),
        ("https://a.example", "", "s3cret", "https://:s3cret@a.example"),
        ("/srv/simple", "alice", "s3cret", "/srv/simple"),
    ],
)
def test_an_address_with_credentials(url: str, user: str, password: str, expected: str) -> None:
    assert secrets.with_credentials(url, user, password) == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("user:s3cret@host/x", "****@host/x"),
        ("s3cret@host/x", "****@host/x"),
        ("//user:s3cret@host/x", "****@host/x"),
        ("https//user:s3cret@host/x", "****@host/x"),
        ("https://user:s3cret@host/x", "https://****@host/x"),
        ("https://host/a@b", "https://host/a@b"),
    ],
)
def test_a_mistyped_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert secrets.shown(url) == shown
