# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers of a share: what counts, and what is forgotten."""

from __future__ import annotations

import dataclasses
import datetime
import json
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import verified
from ansible_collections.uvnas.cluster.plugins.module_utils.env.verified import Memory, Verified
from ansible_collections.uvnas.cluster.plugins.module_utils.host import memory as host_memory
from ansible_collections.uvnas.cluster.plugins.module_utils.share import manifest as manifests
from ansible_collections.uvnas.cluster.plugins.module_utils.share.sight import Read
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.generated import JSON
from hypothesis import given

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
ROOT, ID = "/mnt/nas-a/uv", "0123456789ab"
ENTRY = Verified("a" * 64, ID, "2026-03-01T12:00:00+00:00")
READ = Read([1, 2, 3], '{"name": "nas_a"}')
DATA = verified.as_data(Memory({"train": ENTRY}, {"identity": READ}), ROOT)
HOST = {"name": "node1", "kernel": "6.1", "platform": ["x86_64-gnu", "2.36"], "libraries": "c" * 64, "user": [1, 2]}


def mark(
    share_id: str = shares.SHARE_ID,
    witness: tuple[int, ...] = (0o100444, 1, 2, 17),
    imports: tuple[str, ...] = ("numpy",),
    host: t.Mapping[str, t.Any] | None = None,
    **manifest: t.Any,
) -> str:
    made = manifests.parse(shares.manifest("train", ID, **manifest), "a test")
    return verified.fingerprint(share_id, made, witness, imports, HOST if host is None else host)


@pytest.mark.parametrize(
    "other",
    [
        {"share_id": "another"},
        {"witness": (0o100644, 1, 2, 17)},
        {"witness": (0o100444, 3, 2, 17)},
        {"witness": (0o100444, 1, 2, 18)},
        {"imports": ()},
        {"imports": ("numpy", "scipy")},
        {"id": "ba9876543210"},
        {"created": "2026-01-31T12:00:01+00:00"},
        {"content": {"files": "7" * 64, "packages": "6" * 64}},
        {"python": {"key": shares.KEY, "version": "3.12.4", "digest": "2" * 64}},
        *({"host": {**HOST, key: value}} for key, value in (("name", "node2"), ("kernel", "6.2"), ("user", [1, 3]))),
        {"host": {**HOST, "platform": ["x86_64-gnu", "2.37"]}},
        {"host": {**HOST, "libraries": "d" * 64}},
    ],
    ids=str,
)
def test_whatever_may_matter_makes_another_fingerprint(other: dict[str, t.Any]) -> None:
    assert mark() == mark()
    assert mark(**other) != mark()


def test_what_is_written_can_be_read() -> None:
    assert verified.parse(json.loads(json.dumps(DATA)), ROOT, NOW) == Memory({"train": ENTRY}, {"identity": READ})


def with_entry(**more: t.Any) -> dict[str, t.Any]:
    return {**DATA, "environments": {"train": {**DATA["environments"]["train"], **more}}}


@pytest.mark.parametrize(
    "data",
    [
        {**DATA, "format": verified.FORMAT + 1},
        {**DATA, "format": None},
        {**DATA, "environments": None},
        {**DATA, "environments": ["train"]},
        {**DATA, "environments": {"train": None}},
        with_entry(time="2026-03-01T12:00:01+00:00"),
        with_entry(time="9999-12-31T23:59:59-23:59"),
        with_entry(time="2026-03-01T12:00:00"),
        with_entry(time="yesterday"),
        with_entry(time=17),
        with_entry(fingerprint="a" * 63),
        with_entry(fingerprint=None),
        with_entry(generation=[ID]),
    ],
    ids=str,
)
def test_what_is_damaged_or_from_the_future_is_not_remembered(data: dict[str, t.Any]) -> None:
    found = verified.parse(data, ROOT, NOW)
    assert found is not None
    assert found.environments == {}


@pytest.mark.parametrize(
    "read",
    [None, [], {"identity": None}, {"identity": {"stamp": [1]}}, {"identity": {"stamp": [1], "text": 1}}],
    ids=str,
)
def test_what_is_damaged_was_not_read(read: t.Any) -> None:
    assert verified.parse({**DATA, "read": read}, ROOT, NOW) == Memory({"train": ENTRY})


def test_another_share_is_another_share() -> None:
    assert verified.parse(DATA, "/mnt/nas-b/uv", NOW) is None
    assert verified.parse({}, ROOT, NOW) is None


@given(JSON)
def test_anything_can_be_in_a_file(data: t.Any) -> None:
    for given_data in (
        {"root": ROOT, "format": 1, "environments": data},
        {"root": ROOT, "format": 1, "environments": {"x": data}},
        {"root": ROOT, "format": 1, "read": data},
        {"root": ROOT, "format": 1, "read": {"identity": data}},
        {"root": data},
    ):
        verified.parse(given_data, ROOT, NOW)


def test_what_is_neither_kept_nor_ran_is_forgotten() -> None:
    before = dict.fromkeys(("kept", "failed", "undeclared", "again"), ENTRY)
    after = verified.after(before, ["kept", "unknown"], {"again": ("g2", "b" * 64), "new": ("g3", "c" * 64)}, NOW)
    assert after == {
        "kept": ENTRY,
        "again": Verified("b" * 64, "g2", "2026-03-01T12:00:00+00:00"),
        "new": Verified("c" * 64, "g3", "2026-03-01T12:00:00+00:00"),
    }


# Files


def remember(directory: Path, *, kept: t.Sequence[str] = (), ran: t.Sequence[str] = (), **more: t.Any) -> None:
    given_args = {"root": ROOT, "share_id": shares.SHARE_ID, "declared": ("one", "two"), "read": {}, **more}
    verified.remember(str(directory), kept=kept, ran=dict.fromkeys(ran, (ID, "a" * 64)), **given_args)


def recalled(directory: Path, root: str = ROOT) -> dict[str, list[str]]:
    return {name: sorted(known.environments) for name, known in verified.recall(str(directory), root).items()}


def test_only_what_is_declared_is_remembered(tmp_path: Path) -> None:
    remember(tmp_path, ran=["one", "two", "forged"])
    assert recalled(tmp_path) == {shares.SHARE_ID: ["one", "two"]}
    remember(tmp_path, kept=["two"])
    assert recalled(tmp_path) == {shares.SHARE_ID: ["two"]}
    remember(tmp_path)
    assert recalled(tmp_path) == {shares.SHARE_ID: []}


def test_shares_have_a_file_each(tmp_path: Path) -> None:
    remember(tmp_path, ran=["one"])
    remember(tmp_path, ran=["two"], root="/mnt/nas-b/uv", share_id="another")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{shares.SHARE_ID}.json", "another.json"]
    assert recalled(tmp_path) == {shares.SHARE_ID: ["one"]}
    assert recalled(tmp_path, "/mnt/nas-b/uv") == {"another": ["two"]}


def test_a_share_that_says_it_is_another_one_has_nothing_of_it(tmp_path: Path) -> None:
    remember(tmp_path, ran=["one"], root="/mnt/hostile/uv")
    assert recalled(tmp_path) == {}
    remember(tmp_path, ran=["two"])
    assert recalled(tmp_path) == {shares.SHARE_ID: ["two"]}


def test_a_former_share_is_forgotten(tmp_path: Path) -> None:
    remember(tmp_path, ran=["one"], share_id="former")
    remember(tmp_path, ran=["one"], root="/mnt/nas-b/uv", share_id="elsewhere")
    remember(tmp_path, ran=["two"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{shares.SHARE_ID}.json", "elsewhere.json"]


@pytest.mark.parametrize("share_id", ["../../escaped", "", "/escaped", ".."])
def test_no_id_leads_out(tmp_path: Path, share_id: str) -> None:
    remember(tmp_path / "state" / "uvnas", ran=["one"], share_id=share_id)
    assert list(tmp_path.rglob("*.json")) == []


def test_nothing_new_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(tmp_path, ran=["one"])
    monkeypatch.setattr(host_memory, "write", None)
    remember(tmp_path, kept=["one"])


def test_what_another_run_found_out_meanwhile_stays(tmp_path: Path) -> None:
    """It saw that one of them does not run any more; to this one nothing seemed to have changed."""
    remember(tmp_path, ran=["one", "two"])
    remember(tmp_path, kept=["two"])
    remember(tmp_path, kept=["one", "two"])
    assert recalled(tmp_path) == {shares.SHARE_ID: ["two"]}


def test_what_was_read_is_what_this_run_has_read(tmp_path: Path) -> None:
    good, bad = dataclasses.asdict(READ), {"stamp": [1]}
    remember(tmp_path, read={"identity": good, "links": bad, "one/0123": good})
    assert verified.recall(str(tmp_path), ROOT)[shares.SHARE_ID].read == {"identity": READ, "one/0123": READ}
    remember(tmp_path, read={"identity": good})
    assert verified.recall(str(tmp_path), ROOT)[shares.SHARE_ID].read == {"identity": READ}


def test_two_runs_at_once_do_not_bring_back_what_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one that has kept both writes, another one has seen that one of them does not run any more."""
    remember(tmp_path, ran=["one"])
    write, others = host_memory.write, []

    def slowly(*args: t.Any) -> None:
        monkeypatch.setattr(host_memory, "write", write)
        others.append(threading.Thread(target=remember, args=(tmp_path,)))
        others[0].start()
        others[0].join(0.2)  # It waits.
        write(*args)

    monkeypatch.setattr(host_memory, "write", slowly)
    remember(tmp_path, kept=["one"], ran=["two"])
    others[0].join()
    assert recalled(tmp_path) == {shares.SHARE_ID: []}
