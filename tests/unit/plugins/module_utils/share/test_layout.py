# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths of a share."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout, is_below, normalised

ROOT = "/mnt/nas-a/uv"
PROPERTIES = [name for name, value in vars(Layout).items() if isinstance(value, property)]


@pytest.mark.parametrize("name", PROPERTIES)
def test_everything_is_below_the_root(name: str) -> None:
    path = getattr(Layout(ROOT), name)
    assert path == os.path.normpath(path)
    assert os.path.dirname(path).startswith(ROOT)


@pytest.mark.parametrize("root", ["/mnt/nas-a/uv/", "//mnt/nas-a/uv", "/mnt//nas-a/./uv/.", "///mnt/nas-a/uv//"])
def test_everybody_sees_one_root_however_it_was_declared(root: str) -> None:
    assert Layout(root) == Layout(ROOT)
    assert Layout(root).root == ROOT


def test_no_two_things_share_a_path() -> None:
    layout = Layout(ROOT)
    paths = [getattr(layout, name) for name in PROPERTIES]
    assert len(set(paths)) == len(paths) > 10


# Layout version 1 is on disks: a change here is a new version.
def test_where_things_are() -> None:
    layout = Layout(ROOT)
    assert layout.env("a") == "/mnt/nas-a/uv/envs/a"
    assert layout.lock("a") == "/mnt/nas-a/uv/locks/a.txt"
    assert layout.generation("a", "1") == "/mnt/nas-a/uv/generations/a/1"
    assert layout.manifest("a", "1") == "/mnt/nas-a/uv/generations/a/1/.uvnas.json"
    assert layout.generation_lock("a", "1") == "/mnt/nas-a/uv/generations/a/1/.uvnas-lock.txt"
    assert layout.contents("a", "1") == "/mnt/nas-a/uv/generations/a/1/.uvnas-files.json"
    assert layout.interpreter_bin("cpython-3.12.11-linux-x86_64-gnu", "3.12") == (
        "/mnt/nas-a/uv/python/cpython-3.12.11-linux-x86_64-gnu/bin/python3.12"
    )


@pytest.mark.parametrize("root", [ROOT, "/srv/nas/elsewhere"])
def test_the_link_of_an_environment_holds_wherever_the_share_is_mounted(root: str) -> None:
    layout = Layout(root)
    link = os.path.join(os.path.dirname(layout.env("a")), layout.env_link_target("a", "1"))
    assert os.path.normpath(link) == layout.generation("a", "1")


# What was declared


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/srv/uv", "/srv/uv"),
        ("/srv/uv/", "/srv/uv"),
        ("/srv/uv///", "/srv/uv"),
        ("//srv/uv", "/srv/uv"),
        ("///srv/uv", "/srv/uv"),
        ("/srv//uv", "/srv/uv"),
        ("/./srv/./uv/.", "/srv/uv"),
        ("/", "/"),
        ("//", "/"),
        ("/.", "/"),
        ("/srv/my nas", "/srv/my nas"),
        ("/srv/ ", "/srv/ "),
        ("/srv/...", "/srv/..."),
        ("/srv/..uv", "/srv/..uv"),
        ("/srv/$HOME/~", "/srv/$HOME/~"),
        ("/srv/ä", "/srv/ä"),
    ],
)
def test_normalised(path: str, clean: str) -> None:
    assert normalised(path, "the root") == clean


@pytest.mark.parametrize("path", ["", ".", "uv", "./uv", "~/uv", "../uv", " /srv", "\n/srv", None, 5, b"/srv"])
def test_paths_that_are_not_absolute(path: t.Any) -> None:
    with pytest.raises(SpecError) as caught:
        normalised(path, "the root of nas_a")
    assert str(caught.value) == f"the root of nas_a {path!r} is not an absolute path"
    assert caught.value.hint


@pytest.mark.parametrize(
    "path",
    [
        *("/srv/../etc", "/..", "/srv/..", "/srv/uv/../uv", "/srv/..//uv"),
        *("/srv/a:b", "/srv:", "/:"),
        *("/srv/a\nb", "/srv/a\tb", "/srv/a\0b", "/srv/a\x1bb", "/srv/\x7f", "/srv\n"),
    ],
)
def test_paths_that_cannot_be_used(path: str) -> None:
    with pytest.raises(SpecError) as caught:
        normalised(path, "the root of nas_a")
    assert str(caught.value) == f"the root of nas_a {path!r} cannot be used"
    assert "must not contain '..', ':' or control characters" in caught.value.hint


def test_symlinks_stay_what_they_are(tmp_path: Path) -> None:
    """Everybody sees the path that was declared; where it leads may be another on every host."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert Layout(f"{tmp_path}/link//uv").root == f"{tmp_path}/link/uv"
    assert Layout(f"{tmp_path}/link/").root == f"{tmp_path}/link"


@pytest.mark.parametrize("root", ["/", "//", "/./", "///."])
def test_the_root_of_a_share_is_not_that_of_the_host(root: str) -> None:
    with pytest.raises(SpecError, match="the root of a share cannot be /"):
        Layout(root)


@pytest.mark.parametrize("root", ["uv", "", "/srv/../uv", "/srv/a:b"])
def test_no_layout_is_made_of_what_cannot_be_a_root(root: str) -> None:
    with pytest.raises(SpecError, match="^the root of a share "):
        Layout(root)


@pytest.mark.parametrize(
    ("path", "directory", "below"),
    [
        ("/srv/uv", "/srv", True),
        ("/srv", "/srv", True),
        ("/srv-a/uv", "/srv", False),
        ("/srv", "/srv/uv", False),
        ("/srv", "/", True),
        ("/", "/", True),
    ],
)
def test_below(path: str, directory: str, below: bool) -> None:
    assert is_below(path, directory) is below
