# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in force since when, and held, as it is kept on a share."""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.data import is_time
from ansible_collections.uvnas.cluster.plugins.module_utils.share import manifest as manifests
from ansible_collections.uvnas.cluster.plugins.module_utils.share import standing
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.manifest import Manifest, Python
from ansible_collections.uvnas.cluster.plugins.module_utils.share.standing import Hold, Standing
from ansible_collections.uvnas.cluster.tests.support import shares

A, B, C, D = ("a" * 12, "b" * 12, "c" * 12, "d" * 12)
HOLD = Hold(A, "2026-11-27T14:02:31.000001+00:00", "alice on ctl1", "too slow")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(shares.make_share(tmp_path)))


def manifest(generation_id: str, **more: t.Any) -> Manifest:
    return manifests.parse(shares.manifest("train", generation_id, **more), "the manifest")


def at(number: int) -> str:
    return f"2026-01-31T12:{number // 60:02}:{number % 60:02}.000000+00:00"


def after(*generation_ids: str) -> Standing:
    """What is known when these have been published, one after the other, a second each."""
    known = Standing()
    for number, generation_id in enumerate(generation_ids):
        known = known.published(manifest(generation_id), declared=True, at=at(number))
    return known


def test_what_is_written_is_read(layout: Layout) -> None:
    known = after(A, B).held(HOLD)
    standing.write(layout, "train", known)
    assert standing.read(layout, "train") == known
    assert [os.listdir(layout.locks), standing.read(layout, "other")] == [["train.state.json"], Standing()]


def test_what_a_later_release_adds_is_left_out(layout: Layout) -> None:
    data = after(A).held(HOLD).as_dict()
    data["more"] = data["hold"]["more"] = data["generations"][A]["more"] = 1
    shares.write_json(Path(layout.standing("train")), data)
    assert standing.read(layout, "train") == after(A).held(HOLD)


WRONG: dict[str, tuple[tuple[str, ...], t.Any]] = {
    "in_force a number": (("in_force",), 5),
    "in_force a path": (("in_force",), "../../envs/other"),
    "since no time": (("since",), "yesterday"),
    "since without a zone": (("since",), "2026-01-31T12:00:00"),
    "since a number": (("since",), 5),
    "hold no object": (("hold",), A),
    "hold without a generation": (("hold",), {"since": at(0)}),
    "hold of a path": (("hold", "id"), "../../../home"),
    "hold of an empty name": (("hold", "id"), ""),
    "hold since no time": (("hold", "since"), ""),
    "hold by a number": (("hold", "by"), 5),
    "a reason that is no text": (("hold", "reason"), "\ud800"),
    "declared no flag": (("hold", "declared"), "yes"),
    "no generations": (("generations",), None),
    "generations a list": (("generations",), [A]),
    "a generation no object": (("generations", A), "x"),
    "a generation that is a path": (("generations", "../../x"), after(A).as_dict()["generations"][A]),
    "published no time": (("generations", A, "published"), "soon"),
    "published missing": (("generations", A, "published"), None),
    "retired no time": (("generations", A, "retired"), "soon"),
    "retired a number": (("generations", A, "retired"), 5),
    "no lock": (("generations", A, "lock"), None),
    "a lock that is a path": (("generations", A, "lock"), "../train"),
    "a lock with more behind it": (("generations", A, "lock"), "2" * 64 + "\n"),
    "no interpreter": (("generations", A, "python"), None),
    "an interpreter without a digest": (("generations", A, "python", "digest"), None),
    "options a list": (("generations", A, "options"), []),
}


@pytest.mark.parametrize(("where", "value"), WRONG.values(), ids=WRONG)
def test_damage_is_an_error_that_says_where(layout: Layout, where: tuple[str, ...], value: t.Any) -> None:
    data = json.loads(json.dumps(after(A, B).held(HOLD).as_dict()))
    inner = data
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    shares.write_json(Path(layout.standing("train")), data)
    with pytest.raises(UvnasError, match=r"train\.state\.json is damaged") as raised:
        standing.read(layout, "train")
    assert "the next run writes it anew, but holds nothing" in raised.value.hint


@pytest.mark.parametrize("number", [None, 0, 2, "1"])
def test_another_format_is_an_error(layout: Layout, number: t.Any) -> None:
    shares.write_json(Path(layout.standing("train")), {**after(A).as_dict(), "format": number})
    with pytest.raises(UvnasError, match=f"has format {number!r}, not 1") as raised:
        standing.read(layout, "train")
    assert "a newer version of uvnas.cluster" in raised.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000])
def test_no_record_at_all_is_an_error_with_a_way_out(layout: Layout, content: str) -> None:
    Path(layout.standing("train")).write_text(content, encoding="utf-8")
    with pytest.raises(UvnasError, match=r"train\.state\.json") as raised:
        standing.read(layout, "train")
    assert "move it away" in raised.value.hint


@pytest.mark.parametrize(
    ("hold", "said"),
    [
        (HOLD, f"held at {A} since 2026-11-27 14:02 UTC by alice on ctl1: too slow"),
        (dataclasses.replace(HOLD, reason=""), f"held at {A} since 2026-11-27 14:02 UTC by alice on ctl1"),
        (dataclasses.replace(HOLD, by=""), f"held at {A} since 2026-11-27 14:02 UTC: too slow"),
        (Hold(A, HOLD.since, declared=True), f"held at {A} since 2026-11-27 14:02 UTC by its declaration"),
        (Hold(A, "2026-11-27T14:02:31+02:00"), f"held at {A} since 2026-11-27 12:02 UTC"),
        # A host says what it wants.
        (Hold(A, "soon"), f"held at {A} since soon"),
        (Hold(A, "0001-01-01T00:00:00+23:00"), f"held at {A} since 0001-01-01T00:00:00+23:00"),
    ],
)
def test_a_hold_as_people_read_it(hold: Hold, said: str) -> None:
    assert str(hold) == said


def test_times_are_those_that_the_oldest_python_reads() -> None:
    assert is_time(standing.now())
    assert standing.now().endswith("+00:00")
    assert len(standing.now()) == len(at(0))  # They are compared as texts.


def test_what_is_published_retires_what_was() -> None:
    known = after(A, B)
    assert (known.in_force, known.since, known.hold) == (B, at(1), None)
    assert [known.generations[each].retired for each in (A, B)] == [at(1), None]
    assert known.generations[A].published == at(0)
    assert known.generations[B].python.key == shares.KEY
    # What is in force already is in force since then.
    assert known.published(manifest(B), declared=True, at=at(9)) is known
    # A record without that generation, which is in force, gets it.
    assert set(dataclasses.replace(known, generations={}).published(manifest(B), declared=True).generations) == {B}


def test_a_second_rollback_goes_back_further() -> None:
    known = after(A, B, C)
    assert known.before(C) == B
    known = known.published(manifest(B), declared=False, at=at(10))
    assert (known.in_force, known.since, known.generations[B].published) == (B, at(10), at(1))
    assert known.before(B) == A
    known = known.published(manifest(A), declared=False, at=at(11))
    assert known.before(A) is None
    # Forth again, as it is declared: then it is the last one.
    known = known.published(manifest(C), declared=True, at=at(12))
    assert known.before(C) == B
    assert [known.generations[each].retired for each in (A, B, C)] == [at(12), at(11), None]


def test_before_one_that_nobody_knows_is_the_last_one_that_is_known() -> None:
    assert after(A, B).before(D) == B
    assert Standing().before(D) is None


def test_the_oldest_are_forgotten_but_not_what_is_held() -> None:
    ids = [f"{number:012x}" for number in range(150)]
    held = Hold(ids[0], at(0))
    known = Standing(hold=held)
    for number, each in enumerate(ids):
        known = known.published(manifest(each), declared=True, at=at(number))
    assert sorted(known.generations) == [ids[0], *ids[49:]]
    assert known.in_force == ids[-1]


def test_locks_are_kept_once_by_their_digests(layout: Layout) -> None:
    generation = shares.add_generation(Path(layout.root), "train", A)
    standing.keep_lock(layout, manifest(A))  # One of which no lock is there.
    assert not os.path.exists(layout.lock_history)
    (generation / ".uvnas-lock.txt").write_text("six==1.16.0\n", encoding="utf-8")
    standing.keep_lock(layout, manifest(A))
    kept = Path(layout.kept_lock("2" * 64))
    assert kept.read_text(encoding="utf-8") == "six==1.16.0\n"
    before = kept.stat()
    standing.keep_lock(layout, manifest(A))
    assert kept.stat() == before


def test_a_digest_is_no_path(layout: Layout) -> None:
    """Or else the manifest of a retired generation would replace the lock in force."""
    damaged = manifest(A, lock={"digest": "../train", "spec": None, "text": "4" * 64})
    generation = shares.add_generation(Path(layout.root), "train", A)
    (generation / ".uvnas-lock.txt").write_text("evil==1\n", encoding="utf-8")
    with pytest.raises(UvnasError, match="is damaged: invalid lock"):
        standing.keep_lock(layout, damaged)
    assert os.listdir(layout.locks) == []


def test_what_is_withdrawn_was_in_force_until_then() -> None:
    known = after(A, B).held(HOLD).withdrawn(at=at(9))
    assert (known.in_force, known.since, known.hold) == (None, None, None)
    assert [known.generations[each].retired for each in (A, B)] == [at(1), at(9)]
    assert known.withdrawn() == known
    assert Standing().withdrawn() == Standing()
    # Published again: what was declared before is what was in force before.
    again = known.published(manifest(B), declared=True, at=at(10))
    assert (again.in_force, again.since, again.hold) == (B, at(10), None)
    assert [again.generations[each].retired for each in (A, B)] == [at(1), None]
    assert again.before(B) == A


@pytest.mark.parametrize(
    ("what", "there"),
    [
        ("link", True),
        ("lock", True),
        ("in force", True),
        ("held", True),
        ("damage", True),
        ("generations", False),
        ("retired", False),
    ],
)
def test_whether_an_environment_is_there_to_be_removed(layout: Layout, what: str, there: bool) -> None:
    assert not standing.exists(layout, "train")
    if what == "link":
        os.symlink("nowhere", layout.env("train"))
    elif what == "lock":
        shares.add_lock(Path(layout.root), "train", "")
    elif what == "damage":
        Path(layout.standing("train")).touch()
    elif what == "generations":
        shares.add_generation(Path(layout.root), "train", A)
    else:
        known = {"in force": after(A), "held": Standing(hold=HOLD), "retired": after(A).withdrawn()}
        standing.write(layout, "train", known[what])
    assert standing.exists(layout, "train") == there


def test_what_has_waited_ever_since_it_was_built() -> None:
    """What is older than the record may have been in force before there was one."""
    past = standing.Past("2026-01-31T12:01:00.500000+00:00", "2" * 64, Python("key", "3.12.4", "1" * 64), {})
    known = standing.Standing("a" * 12, past.published, None, {"a" * 12: past})
    assert known.never_in_force("b" * 12, "2026-01-31T12:01:00+00:00")
    assert known.never_in_force("b" * 12, "2026-01-31T14:00:00+01:00")
    assert not known.never_in_force("b" * 12, "2026-01-31T12:30:00+01:00")
    assert not known.never_in_force("a" * 12, "2026-01-31T14:00:00+00:00")
    assert not known.never_in_force("b" * 12, None)
    assert not standing.Standing().never_in_force("b" * 12, "2026-01-31T14:00:00+00:00")
