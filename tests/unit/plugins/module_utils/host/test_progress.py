# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a module says how far it is."""

from __future__ import annotations

import json
import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.progress import SILENT, seconds, to
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import call_many


def test_events_of_forked_processes_are_in_one_file_that_goes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events"

    def work(name: str) -> t.Callable[[], dict[str, t.Any]]:
        def do() -> dict[str, t.Any]:
            told = progress.of(name)
            for _time in range(50):
                told("building", "x" * 200)
                told.says("Downloading")
            told.ends("published", "3f0c")
            return {}

        return do

    with to(str(path)) as progress:
        assert progress.heard
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for answer in call_many([work("one"), work("two")], jobs=2):
            answer()
        events = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(events) == 2 * 101
        assert {event["of"] for event in events} == {"one", "two"}
        assert len(progress.stages()) == 2 * 51
        assert "says" not in "".join(progress.stages())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["directory", "symlink", "file", "no room"])
def test_what_cannot_be_made_is_no_error(tmp_path: Path, what: str) -> None:
    path = tmp_path / "there" / "events"
    {
        "directory": path.parent.mkdir,
        "symlink": lambda: path.parent.symlink_to(tmp_path),
        "file": path.parent.touch,
        "no room": lambda: None,
    }[what]()
    before = sorted(tmp_path.rglob("*"))
    where = path if what != "no room" else tmp_path / "none" / "there" / "events"
    with to(str(where)) as progress:
        progress.say("train", "building")
        assert (progress.heard, progress.stages()) == (False, [])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_no_error() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        type(SILENT)(descriptor).say("train", "building")
    finally:
        os.close(descriptor)


def test_who_is_not_asked_says_nothing() -> None:
    with to(None) as progress:
        progress.of("train").ends("published")
        assert not progress.heard


def test_a_failure_is_said_and_passed_on(tmp_path: Path) -> None:
    with to(str(tmp_path / "new" / "events")) as progress:
        with pytest.raises(UvnasError), progress.of("train").failing():
            raise UvnasError("no")
        assert json.loads(progress.stages()[0])["stage"] == "failed"


@pytest.mark.parametrize(
    ("time_taken", "text"), [(0.04, "0.0 s"), (3.14, "3.1 s"), (24.4, "24 s"), (99.4, "99 s"), (165.2, "2 min 45 s")]
)
def test_times(time_taken: float, text: str) -> None:
    assert seconds(time_taken) == text
