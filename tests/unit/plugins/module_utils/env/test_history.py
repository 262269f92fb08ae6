# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of environments, from records, manifests and kept locks as they are on a share."""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.history import History
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.journal import Journal
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.tests.support import shares

LOCK = "iniconfig==2.1 \\\n    --hash=sha256:" + "2" * 64 + "\n"
DIGEST = "abbdbd05a3325d86ec016d3cb4215e03da97ad95c7fc275d8e20e963044874b3"
GONE, OLD, NEW, NEXT = "feed00000000", "91be00000000", "3f9a00000000", "3f0c00000000"


def past(published: int, retired: int | None = None, **more: t.Any) -> dict[str, t.Any]:
    about = shares.standing("train", NEW)["generations"][NEW]
    times = {"published": day(published), "retired": None if retired is None else day(retired)}
    return {**about, **times, **more}


def day(number: int) -> str:
    return f"2026-02-{number:02}T12:01:00.000001+00:00"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """GONE, OLD and NEW were in force; GONE is not on the share any more, and NEXT never was in force."""
    shares.make_share(tmp_path)
    found = Layout(str(tmp_path))
    os.mkdir(found.lock_history)
    Path(found.kept_lock(DIGEST)).write_text(LOCK, encoding="utf-8")
    python = {"key": "x", "version": "3.12.1", "digest": "1" * 64}
    generations = {GONE: past(1, 2, lock=DIGEST, python=python), OLD: past(2, 20), NEW: past(20)}
    for each, version in ((OLD, "2.2"), (NEW, "2.3"), (NEXT, "2.4")):
        created = "2026-02-25T12:00:00+00:00" if each == NEXT else "2026-01-31T12:00:00+00:00"
        shares.add_generation(tmp_path, "train", each, packages={"iniconfig": version}, created=created)
    shares.publish(tmp_path, "train", NEW, generations=generations, since=day(20))
    return found


def test_generations_from_the_oldest_to_the_newest(layout: Layout) -> None:
    (train,) = History(layout).facts()["environments"]
    assert (train["name"], train["id"], train["since"], train["held"]) == ("train", NEW, day(20), None)
    facts = train["generations"]
    keys = ("id", "state", "published", "retired", "python", "packages", "packages_changed")
    assert [tuple(fact[key] for key in keys) for fact in facts] == [
        (GONE, "removed", day(1), day(2), "3.12.1", 1, []),
        (OLD, "retired", day(2), day(20), "3.12.4", 1, ["iniconfig 2.1 -> 2.2"]),
        (NEW, "in force", day(20), None, "3.12.4", 1, ["iniconfig 2.2 -> 2.3"]),
        (NEXT, "built", None, None, "3.12.4", 1, ["iniconfig 2.3 -> 2.4"]),
    ]
    assert [fact["created"] is None for fact in facts] == [True, False, False, False]


def test_what_nobody_knows_any_more_is_skipped(layout: Layout) -> None:
    shutil.rmtree(layout.lock_history)
    facts = History(layout, "train").facts()["environments"][0]["generations"]
    assert [(fact["packages"], fact["packages_changed"]) for fact in facts[:2]] == [(None, []), (1, [])]
    with pytest.raises(UvnasError, match=f"nobody knows any more what was in its generation {GONE}"):
        History(layout, "train").difference(GONE, None)


def test_what_is_held_and_a_record_that_is_behind(layout: Layout) -> None:
    hold = {"id": OLD, "since": day(21), "by": "alice", "reason": "slow", "declared": False}
    shares.publish(Path(layout.root), "train", OLD, in_force=NEW, hold=hold)
    (train,) = History(layout).facts()["environments"]
    assert (train["id"], train["since"], train["held"]) == (OLD, None, hold)


def test_of_one_environment(layout: Layout) -> None:
    shares.add_generation(Path(layout.root), "docs", OLD)
    for name in ("train", "docs"):
        Journal(layout).tell("build", name)
    assert [each["name"] for each in History(layout).facts()["environments"]] == ["docs", "train"]
    facts = History(layout, "docs").facts()
    assert [each["name"] for each in facts["environments"]] == ["docs"]
    assert [entry["environment"] for entry in facts["journal"]] == ["docs"]
    nothing = {"name": "other", "id": None, "since": None, "held": None, "generations": []}
    assert History(layout, "other").facts() == {"environments": [nothing], "journal": [], "problems": []}


def test_what_cannot_be_read_is_a_problem_of_its_own(layout: Layout) -> None:
    shares.add_generation(Path(layout.root), "docs", OLD)
    Path(layout.standing("train")).write_text("{}", encoding="utf-8")
    os.mkfifo(layout.journal)
    facts = History(layout).facts()
    assert [each["name"] for each in facts["environments"]] == ["docs"]
    assert facts["journal"] == []
    first, second = facts["problems"]
    assert first.endswith("train.state.json has format None, not 1")
    assert second.endswith("journal.jsonl is not a regular file")


def test_a_damaged_manifest_costs_what_it_says(layout: Layout) -> None:
    manifest = Path(layout.manifest("train", NEXT))
    manifest.chmod(0o644)
    manifest.write_text("{}", encoding="utf-8")
    facts = History(layout).facts()["environments"][0]["generations"]
    (fact,) = [fact for fact in facts if fact["id"] == NEXT]
    assert (fact["state"], fact["created"], fact["python"], fact["packages"]) == ("retired", None, None, None)


def test_a_generation_in_force_that_somebody_has_removed(layout: Layout) -> None:
    shutil.move(layout.generation("train", NEW), os.path.join(layout.root, "aside"))
    facts = History(layout).facts()["environments"][0]["generations"]
    assert [fact["state"] for fact in facts if fact["id"] == NEW] == ["in force"]


@pytest.mark.parametrize(
    ("one", "other", "ids", "changed"),
    [
        ("91", None, (OLD, NEW), ["iniconfig 2.2 -> 2.3"]),
        ("91", "3f0c", (OLD, NEXT), ["iniconfig 2.2 -> 2.4"]),
        ("3f0", "91", (NEXT, OLD), ["iniconfig 2.4 -> 2.2"]),
        ("f", "3f9a", (GONE, NEW), ["iniconfig 2.1 -> 2.3"]),
        ("3f9", None, (NEW, NEW), []),
    ],
)
def test_between_any_two(layout: Layout, one: str, other: str | None, ids: tuple[str, str], changed: list[str]) -> None:
    found = History(layout, "train").difference(one, other)
    assert ((found["from"], found["to"]), found["packages_changed"]) == (ids, changed)
    assert found["python"] == ["3.12.1" if each == GONE else "3.12.4" for each in ids]


@pytest.mark.parametrize(("one", "other"), [("3f", None), ("91", "3f"), ("zz", None), ("91", "zz")])
def test_between_what_is_not_one_generation(layout: Layout, one: str, other: str | None) -> None:
    with pytest.raises(UvnasError, match=r"several generations begin with '3f'|has no generation 'zz'"):
        History(layout, "train").difference(one, other)


def test_with_one_that_is_not_published(layout: Layout) -> None:
    os.unlink(layout.env("train"))
    with pytest.raises(UvnasError, match="environment train is not published, so name two generations"):
        History(layout, "train").difference("91", None)
