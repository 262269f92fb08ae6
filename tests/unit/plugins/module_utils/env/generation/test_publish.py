# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations are published in one step, and environments are removed, on real files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import publish
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files, removal
from ansible_collections.uvnas.cluster.plugins.module_utils.share import manifest as manifests
from ansible_collections.uvnas.cluster.plugins.module_utils.share import store
from ansible_collections.uvnas.cluster.plugins.module_utils.share.journal import Journal
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.tests.support import shares

ID = "0123456789ab"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(shares.make_share(tmp_path)))


def complete(layout: Layout, generation_id: str = ID) -> None:
    shares.add_generation(Path(layout.root), "analysis", generation_id)


def put(layout: Layout, generation_id: str) -> None:
    manifest = manifests.parse(shares.manifest("analysis", generation_id), "the manifest")
    publish.publish(Journal(layout), manifest)


def test_what_is_complete_is_published_over_what_was(layout: Layout) -> None:
    for generation_id in ("a" * 12, ID):
        complete(layout, generation_id)
        put(layout, generation_id)
    assert os.readlink(layout.env("analysis")) == f"../generations/analysis/{ID}"
    assert os.listdir(layout.envs) == ["analysis"]


def test_what_is_not_complete_is_not_published(layout: Layout) -> None:
    os.makedirs(layout.generation("analysis", ID))
    with pytest.raises(UvnasError, match=f"generation {ID} is not complete"):
        put(layout, ID)
    assert os.listdir(layout.envs) == []


def test_a_removal_that_is_killed_at_the_generations_is_seen_to_be_unfinished(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next purge, which goes by generations. A lock that was left alone would be used by a later environment."""

    def killed(_path: str, _what: str = "") -> None:
        raise KeyboardInterrupt

    shares.add_lock(Path(layout.root), "analysis", "")
    complete(layout)
    put(layout, ID)
    monkeypatch.setattr(removal, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        publish.remove(Journal(layout), "analysis")
    left = os.path.exists(layout.lock("analysis"))
    assert not left or "analysis" in store.known_environments(layout)


def test_removing_twice(layout: Layout) -> None:
    complete(layout)
    put(layout, ID)
    Path(layout.lock("analysis")).touch()
    for _time in range(2):
        publish.remove(Journal(layout), "analysis")
        assert [os.listdir(path) for path in (layout.envs, layout.generations, layout.locks)] == [[], [], []]


def test_its_name_is_gone_from_the_disk_before_anything_else_goes(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(layout)
    put(layout, ID)
    seen = []

    def sync_directory(path: str) -> None:
        seen.append((path, os.listdir(layout.envs), os.listdir(layout.generations_of("analysis"))))

    monkeypatch.setattr(files, "sync_directory", sync_directory)
    publish.remove(Journal(layout), "analysis")
    assert seen[0] == (layout.envs, [], [ID])
