# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is on a share, listed; and what killed runs leave on it, removed."""

from __future__ import annotations

import errno
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share import store
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.tests.support import unprivileged
from ansible_collections.uvnas.cluster.tests.support.shares import (
    KEY,
    add_generation,
    add_lock,
    make_share,
    publish,
)

ONE, TWO = "1a2b3c", "4d5e6f"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A share with an environment of two generations, and leftovers that nothing may list."""
    root = make_share(tmp_path / "uv")
    for generation_id in (ONE, TWO):
        add_generation(root, "train", generation_id)
    publish(root, "train", TWO)
    add_lock(root, "train", "numpy==2.3.1\n")
    (root / "envs" / ".train.uvnas-0000000000000001.tmp").symlink_to("nowhere")
    (root / "generations" / ".gone.uvnas-0000000000000001.tmp").mkdir()
    (root / "generations" / "train" / f".{ONE}.uvnas-0000000000000001.tmp").mkdir()
    return root


@pytest.fixture
def layout(root: Path) -> Layout:
    return Layout(str(root))


# Lists


def test_environments(root: Path, layout: Layout) -> None:
    assert store.environments(layout) == store.known_environments(layout) == ["train"]
    add_generation(root, "old", ONE)
    publish(root, "dangling", ONE)
    assert store.environments(layout) == ["dangling", "train"]
    assert store.known_environments(layout) == ["dangling", "old", "train"]


def test_a_share_that_is_not_laid_out_has_none(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "absent"))
    assert store.environments(layout) == store.known_environments(layout) == store.generations(layout, "train") == []
    assert store.published(layout, "train") is None
    store.sweep(layout)


def test_generations(root: Path, layout: Layout) -> None:
    (root / "generations" / "train" / "0-unfinished").mkdir()
    assert store.generations(layout, "train") == ["0-unfinished", ONE, TWO]
    assert store.generations(layout, "other") == []
    assert [store.is_complete(layout, "train", one) for one in store.generations(layout, "train")] == [
        False,
        True,
        True,
    ]


# What is in force


def test_what_is_published(root: Path, layout: Layout) -> None:
    assert store.published(layout, "train") == TWO
    assert store.published(layout, "other") is None
    publish(root, "train", "gone")
    assert store.published(layout, "train") == "gone"


@pytest.mark.parametrize(
    "link", [f"..//generations/train/{ONE}", f"../generations/train/{ONE}/", f"../generations/./train/{ONE}"]
)
def test_however_it_is_written(root: Path, layout: Layout, link: str) -> None:
    (root / "envs" / "train").unlink()
    (root / "envs" / "train").symlink_to(link)
    os.unlink(root / "envs" / "train")
    os.symlink(link, root / "envs" / "train")
    assert store.published(layout, "train") == ONE


@pytest.mark.parametrize(
    "link",
    [
        f"../generations/other/{ONE}",
        f"../../generations/train/{ONE}",
        f"/elsewhere/generations/train/{ONE}",
        "../generations/train",
        "../generations/train/..",
        "../generations",
        f"../generations/train/{ONE}/bin",
        f"../generations/train/../train2/{ONE}",
        "..",
        ".",
        "/home/ada/env",
    ],
)
def test_a_foreign_link_is_not_believed(root: Path, layout: Layout, link: str) -> None:
    os.unlink(root / "envs" / "train")
    os.symlink(link, root / "envs" / "train")
    with pytest.raises(UvnasError) as caught:
        store.published(layout, "train")
    assert str(caught.value) == f"environment train: its link points to {link}, which is not one of its generations"
    assert "move it away" in caught.value.hint


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_no_link_is_not_believed_either(root: Path, layout: Layout, kind: str) -> None:
    link = root / "envs" / "train"
    link.unlink()
    link.mkdir() if kind == "directory" else link.touch()
    with pytest.raises(UvnasError, match=f"^{link} is not a symlink$"):
        store.published(layout, "train")


# Sweeping


def names(directory: Path) -> set[str]:
    """All there is below ``directory``, relative."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def make(root: Path, paths: t.Iterable[str]) -> None:
    """Files, and directories (``…/``) with a file in them, which nobody may write to."""
    for path in paths:
        if path.endswith("/"):
            (root / path).mkdir(parents=True)
            (root / path / "below").touch()
            (root / path / "below").chmod(0o444)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()


LEFT = [
    ".share.json.uvnas-0000000000001267.tmp",
    ".x.uvnas-0000000000001267.tmp/",
    "bin/.uv.uvnas-0000000000001267.tmp",
    "lib/uv/.0.13.9.uvnas-0000000000001267.tmp/",
    "cache/.abc.uvnas-0000000000001267.tmp/",
    "cache/.alpha.rkyv.uvnas-0000000000001267.tmp",
    "python/.cpython-3.12.4.uvnas-0000000000001267.tmp/",
    "python/.temp/.tmpAbC123/",
    "python/.temp/download",
    "python-archives/.a.tar.gz.uvnas-0000000000001267.tmp",
    "python-archives/.tmpAbC123/",
    "python-archives/none-cpython-3.12.4.tar.gz",
    "locks/.train.txt.uvnas-0000000000001267.tmp",
    "locks/.pythons.json.uvnas-0000000000001267.tmp",
    "locks/history/.0123.txt.uvnas-0000000000001267.tmp",
    "envs/.new.uvnas-0000000000001267.tmp",
    "generations/.old.uvnas-0000000000001267.tmp/",
    "generations/train/.1.uvnas-0000000000001267.tmp/",
    "generations/train/unfinished/",
    "generations/new/unfinished/",
]
KEPT = [
    ".uvnas.mutex",
    ".uvnas-probe.mutex",
    ".uvnas-probe/",
    ".snapshot/.x.uvnas-0000000000000001.tmp",
    ".nfs0001",
    "lost+found/.x.uvnas-0000000000000001.tmp",
    "journal.jsonl",
    "bin/.hidden",
    "lib/uv/0.13.9/uv",
    "lib/uv/0.13.9/.x.uvnas-0000000000000001.tmp",
    "cache/.lock",
    "cache/.gitignore",
    "cache/.tmpAbC123/",
    "cache/archive-v0/abc/.x.uvnas-0000000000000001.tmp",
    "user-cache/.x.uvnas-0000000000000001.tmp",
    "user-cache/ada/.x.uvnas-0000000000000001.tmp/",
    "python/.lock",
    "python/.gitignore",
    "python/cpython-3.12.4-linux-x86_64-gnu/lib/.x.uvnas-0000000000000001.tmp",
    "python-archives/0123-cpython-3.12.4.tar.gz",
    "locks/train.txt",
    "locks/train.state.json",
    "locks/history/0123456789abcdef.txt",
    f"generations/train/{ONE}/lib/.x.uvnas-0000000000000001.tmp",
    "generations/new/.hidden",
    "notes.tmp",
]


def test_what_killed_runs_leave_is_removed_everywhere(tmp_path: Path) -> None:
    root = make_share(tmp_path / "uv")
    for generation_id in (ONE, TWO):
        add_generation(root, "train", generation_id)
    publish(root, "train", TWO)
    make(root, KEPT)
    (root / "generations" / "new").mkdir(exist_ok=True)
    before = names(root)
    make(root, LEFT)
    (root / "envs" / ".link.uvnas-0000000000001267.tmp").symlink_to("nowhere")
    assert names(root) > before
    store.sweep(Layout(str(root)))
    # The directory that uv unpacks in stays; it is of uv's own.
    assert names(root) - before == {"python/.temp"}
    assert before <= names(root)


def test_sweeping_twice_changes_nothing(root: Path, layout: Layout) -> None:
    store.sweep(layout)
    before = {path: path.lstat().st_ctime_ns for path in root.rglob("*")}
    store.sweep(layout)
    assert {path: path.lstat().st_ctime_ns for path in root.rglob("*")} == before


def test_leftovers_are_removed_and_not_what_they_lead_to(root: Path, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    for directory in ("envs", "generations", "cache", "generations/train", "python-archives"):
        (root / directory / ".link.uvnas-0000000000000001.tmp").symlink_to(tmp_path / "mine")
    (root / "generations" / "train" / "unfinished").mkdir()
    (root / "generations" / "train" / "unfinished" / "link").symlink_to(tmp_path / "mine")
    store.sweep(layout)
    assert names(tmp_path / "mine") == {"file"}
    assert not [name for name in names(root) if name.endswith(".tmp")]


def test_what_is_in_force_is_never_swept(root: Path, layout: Layout) -> None:
    """Whatever it lacks: somebody works with it. What else is not complete goes."""
    for generation_id in (ONE, TWO):
        os.unlink(layout.manifest("train", generation_id))
    store.sweep(layout)
    assert store.generations(layout, "train") == [TWO]


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_who_cannot_look_removes_nothing(
    root: Path, layout: Layout, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retired generation, which jobs still run from, on a NAS that has a bad moment."""
    real = os.stat, os.lstat

    def fails(path: t.Any, *args: t.Any, **more: t.Any) -> os.stat_result:
        if str(path) == layout.manifest("train", ONE):
            raise OSError(number, os.strerror(number), path)
        return real[0](path, *args, **more)

    monkeypatch.setattr(os, "stat", fails)
    monkeypatch.setattr(os, "lstat", lambda path, **more: fails(path, follow_symlinks=False, **more))
    store.sweep(layout)
    monkeypatch.undo()
    assert store.generations(layout, "train") == [ONE, TWO]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two users")
def test_what_cannot_be_swept_is_named(tmp_path: Path) -> None:
    """By what it was, wherever it is; and it stays as it is."""
    root = make_share(tmp_path / "uv")
    mark = "uvnas-0000000000000001.tmp"
    places = {
        f"cache/.abc.{mark}": "",
        f"lib/uv/.0.13.9.{mark}": "uv 0.13.9",
        f"python/.{KEY}.{mark}": KEY,
        "python/.temp/.tmpAbC123": "",
        f"generations/.gone.{mark}": "environment gone",
        f"generations/train/.{ONE}.{mark}": f"environment train, generation {ONE}",
        "generations/train/unfinished": "environment train, generation unfinished",
    }
    for place in places:
        (root / place / "lib" / "empty").mkdir(parents=True)
        (root / place / "file").touch()
    unprivileged.give(root)
    for place in places:
        (root / place / "lib" / "__pycache__").mkdir()
        (root / place / "lib" / "__pycache__" / "x.pyc").touch()
    left = unprivileged.done(lambda: store.sweep(Layout(str(root))))
    found = {str(Path(each.path).relative_to(root)): each.what for each in left}
    (unfinished,) = set(found) - set(places)
    assert unfinished.startswith("generations/train/.unfinished.uvnas-")
    del places["generations/train/unfinished"]
    places[unfinished] = "environment train, generation unfinished"
    assert found == places
    for place in places:
        assert names(root / place) == {"lib", "lib/__pycache__", "lib/__pycache__/x.pyc"}
    assert unprivileged.done(lambda: store.sweep(Layout(str(root)))) == left


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_generation_is_left_alone(root: Path, layout: Layout, kind: str, tmp_path: Path) -> None:
    for place in (root / "generations" / "train" / "notes", root / "generations" / "notes"):
        place.touch() if kind == "file" else place.symlink_to(tmp_path)
    store.sweep(layout)
    assert store.generations(layout, "train") == [ONE, TWO]
    for place in (root / "generations" / "train" / "notes", root / "generations" / "notes"):
        assert os.path.lexists(place)
