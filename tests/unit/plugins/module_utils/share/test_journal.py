# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a share: what is told, whatever is in its place, and whoever tells at the same time."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share import journal as journals
from ansible_collections.uvnas.cluster.plugins.module_utils.share.journal import NOBODY, Author, Entry, Journal
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.tests.support import shares

ALICE = Author("alice", "ctl1")
TIME = "2026-11-27T14:02:31.000001+00:00"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(shares.make_share(tmp_path)))


@pytest.fixture
def path(layout: Layout) -> Path:
    return Path(layout.journal)


def line(**more: t.Any) -> bytes:
    return json.dumps({"time": TIME, "action": "build", "environment": "train", **more}).encode() + b"\n"


def test_what_is_told_is_read(layout: Layout, path: Path) -> None:
    os.makedirs(os.path.join(layout.uv_versions, "0.13.9"))
    os.symlink("../lib/uv/0.13.9/uv", layout.uv)
    changed = ("numpy 2.0.1 -> 2.1.0", "six 1 (new)")
    Journal(layout, ALICE).tell(
        journals.PUBLISH, "train", generation="b", previous="a", why="declared", packages_changed=changed
    )
    Journal(layout).tell(journals.REMOVE, "docs")
    first, second = journals.read(layout)
    assert first == Entry(
        first.time, "publish", "train", "b", "a", "declared", "alice", "ctl1", "0.13.9", packages_changed=changed
    )
    assert second.as_dict() == {"time": second.time, "action": "remove", "environment": "docs", "uv": "0.13.9"}
    assert first.time < second.time
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("author", "said"),
    [(ALICE, "alice on ctl1"), (Author("alice"), "alice"), (Author("", "ctl1"), "ctl1"), (NOBODY, "")],
)
def test_an_author(author: Author, said: str) -> None:
    assert str(author) == said


def test_an_author_is_a_text_whatever_a_host_is_called() -> None:
    given = {"journal_user": "al\udcffice\n", "journal_controller": None}
    assert Author.from_params(given) == Author("al?ice")


def test_a_share_without_uv_and_without_a_journal(layout: Layout) -> None:
    assert journals.read(layout) == []
    Journal(layout).tell(journals.BUILD, "train")
    assert journals.read(layout)[0].uv == ""


@pytest.mark.parametrize("torn", [b'{"time": "2026-11', line()[:-1], b"\xff\xfe", b"\0" * 4096])
def test_a_torn_last_line_costs_itself_and_no_more(layout: Layout, path: Path, torn: bytes) -> None:
    path.write_bytes(line() + torn)
    read = len(journals.read(layout))
    Journal(layout).tell(journals.RETIRE, "train")
    found = journals.read(layout)
    assert len(found) == read + 1
    assert (found[0].action, found[-1].action) == ("build", "retire")
    assert path.read_bytes().startswith(line() + torn + b"\n{")


FOREIGN = {
    "no JSON": b"hello\n",
    "nested": b"[" * 100_000 + b"\n",
    "a list": b"[1]\n",
    "nothing": b"\n",
    "no time": line(time="soon"),
    "a time without a zone": line(time="2026-11-27T14:02:31"),
    "an action that is a number": line(action=5),
    "no environment": line(environment=None),
    "why a list": line(why=["x"]),
    "a generation that is no text": line(generation="\ud800"),
    "packages a text": line(packages_changed="six"),
    "packages numbers": line(packages_changed=[5]),
    "a time from the future of dates": line(time="99999-11-27T14:02:31+00:00"),
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_foreign_lines_are_left_out(layout: Layout, path: Path, foreign: bytes) -> None:
    path.write_bytes(line() + foreign + line(more={"later": "release"}))
    assert [entry.action for entry in journals.read(layout)] == ["build", "build"]


def test_several_processes_at_once(layout: Layout, path: Path) -> None:
    context = multiprocessing.get_context("fork")
    why = "x" * 20_000

    def tell(number: int) -> None:
        for _time in range(25):
            Journal(layout).tell(journals.BUILD, f"env-{number}", why=why)

    path.write_bytes(b"torn")
    workers = [context.Process(target=tell, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    told = [entry for entry in journals.read(layout) if entry.why == why]
    assert len(told) == 200
    assert {entry.environment for entry in told} == {f"env-{number}" for number in range(8)}


def test_whoever_reads_it_cannot_keep_others_from_telling(layout: Layout, path: Path) -> None:
    """A read lock needs no more than the right to read, which everybody has."""
    path.write_bytes(line())
    code = "import fcntl, sys; f = open(sys.argv[1]); fcntl.lockf(f, fcntl.LOCK_SH); print(flush=True); input()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout
        assert stranger.stdout.readline() == b"\n"
        with path.open("r+b") as file, pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        context = multiprocessing.get_context("fork")
        teller = context.Process(target=Journal(layout).tell, args=(journals.RETIRE, "train"))
        teller.start()
        teller.join(60)
        try:
            assert teller.exitcode == 0
        finally:
            teller.kill()
            stranger.communicate(b"\n")
    assert [entry.action for entry in journals.read(layout)] == ["build", "retire"]


def test_a_symlink_in_its_place_is_not_followed(layout: Layout, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"")
    path.symlink_to(other)
    Journal(layout).tell(journals.BUILD, "train")
    assert other.read_bytes() == b""


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_what_is_no_file_in_its_place_is_in_nobody_s_way(layout: Layout, path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    Journal(layout).tell(journals.BUILD, "train")
    with pytest.raises(UvnasError, match="is not a regular file"):
        journals.read(layout)


@pytest.mark.parametrize("fails", ["write", "fsync", "open", "pread"])
def test_what_cannot_be_told_is_done_all_the_same(
    layout: Layout, path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Such as on a full disk. No descriptor is left."""

    def refuse(*_given: t.Any, **_more: t.Any) -> t.NoReturn:
        raise OSError(28, "No space left on device")

    path.write_bytes(line())
    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patched:
        patched.setattr(os, fails, refuse)
        Journal(layout).tell(journals.BUILD, "train")
    assert os.listdir("/proc/self/fd") == before


def test_a_full_disk_in_the_middle_of_a_line(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, content: real(descriptor, content[: len(content) // 2]))
        Journal(layout).tell(journals.BUILD, "train")
    Journal(layout).tell(journals.RETIRE, "train")
    assert [entry.action for entry in journals.read(layout)] == ["retire"]


def test_no_credentials_are_told_or_read(layout: Layout, path: Path) -> None:
    url = "https://alice:s3cret@pypi.example/simple"
    changed = [f"six @ {url} (new)"]
    Journal(layout).tell(journals.HOLD, "train", why=f"the index {url}\nis wrong", packages_changed=changed)
    assert b"s3cret" not in path.read_bytes()
    (entry,) = journals.read(layout)
    assert entry.why == "the index https://****@pypi.example/simple is wrong"
    path.write_bytes(line(why=url, user=url, packages_changed=changed))
    assert "s3cret" not in str(journals.read(layout))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("zu langsam: Größe ≥ 3 µs", "zu langsam: Größe ≥ 3 µs"),
        ("  two\nlines\t", "two lines"),
        ("raison\u00a0: x", "raison : x"),
        ("\x1b[31mred\udcff\0", "?[31mred??"),
        ("", ""),
    ],
)
def test_what_people_write(given: str, kept: str) -> None:
    assert journals.clean(given) == kept
