# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations are published in one step, and environments lose their names, on real files."""

from __future__ import annotations

import errno
import itertools
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import publish
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import LostMutexError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files, mutex
from ansible_collections.uvnas.cluster.plugins.module_utils.share import journal as journals
from ansible_collections.uvnas.cluster.plugins.module_utils.share import manifest as manifests
from ansible_collections.uvnas.cluster.plugins.module_utils.share import standing, store
from ansible_collections.uvnas.cluster.plugins.module_utils.share.journal import Journal
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.standing import Hold
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


def test_removing_twice(layout: Layout) -> None:
    complete(layout)
    put(layout, ID)
    Path(layout.lock("analysis")).touch()
    for _time in range(2):
        publish.remove(Journal(layout), "analysis")
        assert (os.listdir(layout.envs), store.generations(layout, "analysis")) == ([], [ID])
        assert os.listdir(layout.locks) == ["analysis.state.json"]
    assert told(layout)[1:] == [("remove", None, ID), ("retire", ID, None), ("remove", None, None)]


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


# What is on record, and when


OTHER = "a" * 12
HOLD = Hold(OTHER, "2026-11-27T14:02:31.000001+00:00", "alice", "too slow")


class KilledError(BaseException):
    """As good as SIGKILL: nothing that cleans up after an error in the code under test sees it."""


def parsed(generation_id: str) -> manifests.Manifest:
    return manifests.parse(shares.manifest("analysis", generation_id), "the manifest")


@pytest.fixture
def upgraded(layout: Layout) -> Layout:
    """OTHER was in force, and now ID is; each with its lock."""
    for generation_id in (OTHER, ID):
        complete(layout, generation_id)
        (Path(layout.generation("analysis", generation_id)) / ".uvnas-lock.txt").write_text("six==1\n")
        put(layout, generation_id)
    return layout


def found(layout: Layout) -> tuple[str | None, str | None, Hold | None]:
    known = standing.read(layout, "analysis")
    return store.published(layout, "analysis"), known.in_force, known.hold


def roll_back(layout: Layout) -> None:
    publish.publish(Journal(layout), parsed(OTHER), hold=HOLD, declared=False, why="too slow")


def told(layout: Layout) -> list[tuple[str, str | None, str | None]]:
    return [(entry.action, entry.generation, entry.previous) for entry in journals.read(layout)]


def test_what_is_published_is_on_record_with_its_lock(upgraded: Layout) -> None:
    assert found(upgraded) == (ID, ID, None)
    assert told(upgraded) == [("publish", OTHER, None), ("publish", ID, OTHER), ("retire", OTHER, None)]
    assert os.listdir(upgraded.lock_history) == [f"{'2' * 64}.txt"]
    before = Path(upgraded.standing("analysis")).stat()
    put(upgraded, ID)
    assert Path(upgraded.standing("analysis")).stat() == before
    assert len(told(upgraded)) == 3


def test_a_hold_and_a_release_are_told_once(upgraded: Layout) -> None:
    for _time in range(2):
        roll_back(upgraded)
    assert found(upgraded) == (OTHER, OTHER, HOLD)
    assert told(upgraded)[3:] == [("hold", OTHER, None), ("publish", OTHER, ID), ("retire", ID, None)]
    put(upgraded, ID)
    assert told(upgraded)[6:] == [("release", OTHER, None), ("publish", ID, OTHER), ("retire", OTHER, None)]
    assert {entry.why for entry in journals.read(upgraded)[3:6]} == {"too slow"}


STEPS: dict[str, tuple[t.Any, str, int, tuple[str, str, bool]]] = {
    # What kills, at which of its calls, and what is found then: in force, on record, held.
    "before the hold": (standing, "write", 0, (ID, ID, False)),
    "before the link": (files, "replace_symlink", 0, (ID, ID, True)),
    "before the record": (standing, "write", 1, (OTHER, ID, True)),
    "before the journal": (Journal, "tell", 0, (OTHER, OTHER, True)),
    "in the journal": (Journal, "tell", 1, (OTHER, OTHER, True)),
}


@pytest.mark.parametrize(("where", "name", "number", "then"), STEPS.values(), ids=STEPS)
def test_whenever_a_rollback_is_killed_the_next_one_ends_it(
    upgraded: Layout, monkeypatch: pytest.MonkeyPatch, where: t.Any, name: str, number: int, then: tuple[str, str, bool]
) -> None:
    real, calls = getattr(where, name), itertools.count()

    def killed(*given: t.Any, **more: t.Any) -> t.Any:
        if next(calls) == number:
            raise KilledError
        return real(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(where, name, killed)
        with pytest.raises(KilledError):
            roll_back(upgraded)
    in_force, recorded, hold = found(upgraded)
    assert (in_force, recorded, hold is not None) == then
    assert hold in (None, HOLD)
    roll_back(upgraded)
    assert found(upgraded) == (OTHER, OTHER, HOLD)
    known = standing.read(upgraded, "analysis").generations
    assert [known[each].retired is None for each in (OTHER, ID)] == [True, False]


@pytest.mark.parametrize("fails", ["hold", "link", "record"])
def test_a_mutex_that_is_lost_ends_it_before_the_next_write(
    upgraded: Layout, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Whoever has it by now may have decided otherwise."""
    number = {"hold": 1, "link": 2, "record": 3}[fails]
    checks = itertools.count()

    def lost(_path: str) -> None:
        if next(checks) == number:
            raise LostMutexError("lost")

    monkeypatch.setattr(mutex, "check", lost)
    with pytest.raises(LostMutexError):
        roll_back(upgraded)
    expected = {"hold": (ID, ID, None), "link": (ID, ID, HOLD), "record": (OTHER, ID, HOLD)}
    assert found(upgraded) == expected[fails]


def test_a_journal_that_cannot_be_written_is_in_no_rollback_s_way(upgraded: Layout) -> None:
    os.unlink(upgraded.journal)
    os.mkdir(upgraded.journal)
    roll_back(upgraded)
    assert found(upgraded) == (OTHER, OTHER, HOLD)


@pytest.mark.parametrize("content", ["{}", "not JSON"])
def test_a_record_that_cannot_be_read_is_replaced_by_nobody(upgraded: Layout, content: str) -> None:
    Path(upgraded.standing("analysis")).write_text(content, encoding="utf-8")
    with pytest.raises(UvnasError, match=r"analysis\.state\.json"):
        roll_back(upgraded)
    assert store.published(upgraded, "analysis") == ID
    assert Path(upgraded.standing("analysis")).read_text(encoding="utf-8") == content


# What a removal leaves


def remove(layout: Layout) -> standing.Standing:
    """Remove the environment; what is on record then."""
    publish.remove(Journal(layout), "analysis")
    assert not any(map(os.path.lexists, (layout.env("analysis"), layout.lock("analysis"))))
    assert not standing.exists(layout, "analysis")
    return standing.read(layout, "analysis")


def in_force_or_not(known: standing.Standing) -> dict[str, bool]:
    return {name: past.retired is None for name, past in known.generations.items()}


def test_a_removal_leaves_generations_and_what_is_known_of_them(upgraded: Layout) -> None:
    roll_back(upgraded)
    Path(upgraded.lock("analysis")).touch()
    os.makedirs(upgraded.logs_of("analysis"))
    before = standing.read(upgraded, "analysis")
    known = remove(upgraded)
    assert (known.in_force, known.since, known.hold) == (None, None, None)
    assert in_force_or_not(known) == {OTHER: False, ID: False}
    assert known.generations[ID] == before.generations[ID]
    assert store.generations(upgraded, "analysis") == [ID, OTHER]
    assert os.path.isdir(upgraded.logs_of("analysis"))
    assert os.listdir(upgraded.lock_history) == [f"{'2' * 64}.txt"]
    assert told(upgraded)[-2:] == [("remove", None, OTHER), ("retire", OTHER, None)]


ENDS: dict[str, tuple[t.Any, str, int, bool]] = {
    # What kills, at which of its calls, and whether there is something left to remove.
    "before the link": (os, "unlink", 0, True),
    "before the record": (standing, "write", 0, True),
    "before the lock": (os, "unlink", 1, True),
    "before the journal": (Journal, "tell", 0, False),
    "in the journal": (Journal, "tell", 1, False),
}


@pytest.mark.parametrize(("where", "name", "number", "left"), ENDS.values(), ids=ENDS)
def test_whenever_a_removal_is_killed_the_next_one_ends_it(
    upgraded: Layout, monkeypatch: pytest.MonkeyPatch, where: t.Any, name: str, number: int, left: bool
) -> None:
    """A lock, or a hold, that was left alone would count for an environment of the same name that comes later."""
    real, calls = getattr(where, name), itertools.count()

    def killed(*given: t.Any, **more: t.Any) -> t.Any:
        if next(calls) == number:
            raise KilledError
        return real(*given, **more)

    roll_back(upgraded)
    Path(upgraded.lock("analysis")).touch()
    with monkeypatch.context() as patched:
        patched.setattr(where, name, killed)
        with pytest.raises(KilledError):
            publish.remove(Journal(upgraded), "analysis")
    assert standing.exists(upgraded, "analysis") == left
    assert "analysis" in store.known_environments(upgraded)
    known = remove(upgraded)
    assert (known.in_force, known.hold, in_force_or_not(known)) == (None, None, {OTHER: False, ID: False})


def test_what_a_killed_run_published_is_on_record_as_retired(upgraded: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its link was further than the record."""

    def killed(*_given: t.Any, **_more: t.Any) -> None:
        raise KilledError

    newest = "f" * 12
    complete(upgraded, newest)
    with monkeypatch.context() as patched:
        patched.setattr(publish, "record", killed)
        with pytest.raises(KilledError):
            put(upgraded, newest)
    assert found(upgraded) == (newest, ID, None)
    known = remove(upgraded)
    assert in_force_or_not(known) == {OTHER: False, ID: False, newest: False}
    assert known.before(newest) == ID
    assert told(upgraded)[-1] == ("retire", newest, None)


@pytest.mark.parametrize("content", ["{}", "not JSON", '{"format": 2}', None])
@pytest.mark.parametrize("readable", [True, False])
def test_without_a_record_its_manifest_tells_what_was_in_force(
    upgraded: Layout, content: str | None, readable: bool
) -> None:
    """A damaged record keeps nobody from removing its environment, and nobody from declaring it again."""
    os.unlink(upgraded.standing("analysis"))
    os.unlink(upgraded.kept_lock("2" * 64))
    if content is not None:
        Path(upgraded.standing("analysis")).write_text(content, encoding="utf-8")
    if not readable:
        Path(upgraded.manifest("analysis", ID)).chmod(0o644)
        Path(upgraded.manifest("analysis", ID)).write_text("{}", encoding="utf-8")
    assert in_force_or_not(remove(upgraded)) == ({ID: False} if readable else {})
    assert os.path.exists(upgraded.kept_lock("2" * 64)) == readable
    # Nothing to tell is nothing to write.
    assert os.path.exists(upgraded.standing("analysis")) == (readable or content is not None)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_keeps_no_environment_and_nothing_held(
    upgraded: Layout, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_given: t.Any) -> None:
        raise OSError(number, os.strerror(number))

    roll_back(upgraded)
    Path(upgraded.lock("analysis")).touch()
    monkeypatch.setattr(standing, "write", full)
    assert remove(upgraded) == standing.Standing()


def test_a_record_that_cannot_be_written_leaves_something_to_remove(
    upgraded: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_given: t.Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    Path(upgraded.lock("analysis")).touch()
    with monkeypatch.context() as patched:
        patched.setattr(standing, "write", fails)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            publish.remove(Journal(upgraded), "analysis")
    assert (store.published(upgraded, "analysis"), standing.exists(upgraded, "analysis")) == (None, True)
    assert in_force_or_not(remove(upgraded)) == {OTHER: False, ID: False}
