# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says of interpreters."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.python.spec import check_wanted, parse_site_pythons

SHA = "0a" * 32
GOOD = {"name": "ours", "version": "3.12.4", "prefix": "/opt/python/3.12.4"}


def test_what_is_declared() -> None:
    prefix, path, url = parse_site_pythons(
        [
            GOOD,
            {"name": "b", "version": "3.11.9", "archive": "files/b.tar.gz", "prefix": None, "sha256": None},
            {"name": "c", "version": "3.13.1t", "archive": "https://host/c.tar.gz", "sha256": SHA.upper()},
        ]
    )
    assert (prefix.prefix, prefix.archive, str(prefix.version)) == ("/opt/python/3.12.4", None, "3.12.4")
    assert (path.archive, path.sha256) == ("files/b.tar.gz", None)
    assert (url.sha256, url.version.freethreaded) == (SHA, True)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([{**GOOD, "name": ""}], "interpreter number 1: a name has at most 64 letters"),
        ([{**GOOD, "name": "../x"}], "interpreter ../x: a name has at most 64 letters"),
        ([{**GOOD, "name": "a b"}], "a name has at most 64 letters"),
        ([{**GOOD, "name": "x" * 65}], "at most 64"),
        ([{**GOOD, "version": "3.12"}], "version must be exact, such as 3.12.4, not 3.12"),
        ([{**GOOD, "version": "three"}], "'three' is not a request"),
        ([{**GOOD, "archive": "a.tar.gz"}], "exactly one of archive and prefix is required"),
        ([{"name": "ours", "version": "3.12.4"}], "exactly one of archive and prefix is required"),
        ([{**GOOD, "prefix": "opt/python"}], "must be an absolute path on the builder"),
        ([{"name": "u", "version": "3.12.4", "archive": "https://host/a.tar.gz"}], "from a URL needs its sha256"),
        ([{**GOOD, "sha256": "abc"}], "'abc' is not a sha256"),
        ([GOOD, {**GOOD, "version": "3.12.5"}], "interpreter ours: declared 2 times"),
        (
            [GOOD, {**GOOD, "name": "theirs"}],
            "interpreters ours and theirs: a share has one Python 3.12.4, whoever supplies it",
        ),
    ],
)
def test_what_cannot_be_meant(items: list[dict[str, t.Any]], said: str) -> None:
    with pytest.raises(SpecError, match="^interpreter") as error:
        parse_site_pythons(items)
    assert said in str(error.value)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(SpecError) as error:
        check_wanted(["three", "3.12", "pypy3.10"], [], upgrade=["3.13"], remove=["3.12", "x"])
    for said in ("'three'", "'pypy3.10'", "upgrade names '3.13'", "'3.12' cannot be removed", "'x'"):
        assert said in str(error.value)
