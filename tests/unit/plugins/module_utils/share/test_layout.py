# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths of a share."""

from __future__ import annotations

import os

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout

ROOT = "/mnt/nas-a/uv"
PROPERTIES = [name for name, value in vars(Layout).items() if isinstance(value, property)]


@pytest.mark.parametrize("name", PROPERTIES)
def test_everything_is_below_the_root(name: str) -> None:
    path = getattr(Layout(ROOT), name)
    assert path == os.path.normpath(path)
    assert os.path.dirname(path).startswith(ROOT)


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
    assert layout.interpreter_bin("cpython-3.12.11-linux-x86_64-gnu", "3.12") == (
        "/mnt/nas-a/uv/python/cpython-3.12.11-linux-x86_64-gnu/bin/python3.12"
    )


@pytest.mark.parametrize("root", [ROOT, "/srv/nas/elsewhere"])
def test_the_link_of_an_environment_holds_wherever_the_share_is_mounted(root: str) -> None:
    layout = Layout(root)
    link = os.path.join(os.path.dirname(layout.env("a")), layout.env_link_target("a", "1"))
    assert os.path.normpath(link) == layout.generation("a", "1")
