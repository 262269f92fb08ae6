# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pylock.toml as a lock, from what uv writes; and what is refused."""

from __future__ import annotations

import tomllib
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import Lock
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import parse as parse_lock
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.pylock import from_pylock
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError

# uv export --format pylock.toml --no-emit-project
PYLOCK = tomllib.loads((Path(__file__).parent / "golden" / "pylock.toml").read_text())


def parse(text: str) -> Lock:
    return parse_lock(text, what="pylock.toml")


def test_pylock() -> None:
    read = {package.name: package for package in parse(from_pylock(PYLOCK, what="pylock.toml")).packages}
    assert {name: (one.version, one.marker) for name, one in read.items()} == {
        "colorama": ("0.4.6", "sys_platform == 'win32'"),
        "iniconfig": ("2.1.0", ""),
    }
    # Of the wheel and of the source: which is installed is the host's affair.
    assert read["iniconfig"].hashes == (
        "sha256:3abbd2e30b36733fee78f9c7f7308f2d0050e88f0087fd25c2645f63c773e1c7",
        "sha256:9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760",
    )
    # It has no addresses of an index, so a mirror serves as well.
    assert "https://" not in from_pylock(PYLOCK, what="pylock.toml")


def pylock(**package: t.Any) -> dict[str, t.Any]:
    return {"lock-version": "1.0", "packages": [{"name": "a", **package}]}


def test_pylock_with_an_archive() -> None:
    archive = {"url": "https://b.example/a.tar.gz", "hashes": {"sha256": "0" * 64}}
    [package] = parse(from_pylock(pylock(archive=archive), what="pylock.toml")).packages
    assert (package.name, package.version) == ("a", "@ https://b.example/a.tar.gz")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "is not a pylock.toml of version 1"),
        ({"lock-version": "2.0"}, "is not a pylock.toml of version 1"),
        (pylock(version="1", directory={"path": "."}), "package a comes from a directory, which has no hash"),
        (pylock(version="1", vcs={"type": "git"}), "package a comes from a vcs, which has no hash"),
        (pylock(version="1"), "package a has no version or no hash"),
        (pylock(wheels=[{"hashes": {"sha256": "00"}}]), "package a has no version or no hash"),
        (pylock(archive={"path": "a.whl", "hashes": {"sha256": "00"}}), "package a has no version or no hash"),
        (pylock(version="1", wheels=[{"url": "https://b.example/a.whl"}]), "package a has no version or no hash"),
    ],
)
def test_pylock_refused(data: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(UvnasError, match=problem):
        from_pylock(data, what="pylock.toml")
