# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says of its work, read from a file there and told to people."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import typing as t
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import progress
from ansible_collections.uvnas.cluster.plugins.plugin_utils.progress import Event, Story, Watch


def event(of: str, stage: str, more: str = "") -> str:
    return json.dumps({"of": of, "stage": stage, "more": more})


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def story(clock: Clock) -> Story:
    return Story("nas_a", clock)


# Stories


def test_a_line_for_each_stage(story: Story) -> None:
    assert story.lines([Event("train", "locking", ""), Event("train", "locked", "27 packages, 3.1 s")]) == [
        "nas_a: train: locking",
        "nas_a: train: locked, 27 packages, 3.1 s",
    ]
    assert story.still() == ""


def test_what_is_still_at_work_and_since_when(story: Story, clock: Clock) -> None:
    story.lines([Event("train", "building", "")])
    clock.time = 28
    story.lines([Event("legacy", "building", ""), Event("other", "testing", "")])
    clock.time = 40
    assert story.lines([Event("train", "says", "Downloading torch (800MiB)"), Event("gone", "says", "x")]) == []
    assert story.silence() == 12
    assert story.still() == (
        "nas_a: still building train (40 s: Downloading torch (800MiB)), legacy (12 s); testing other (12 s)"
    )
    assert story.silence() == 0
    clock.time = 165
    story.lines([Event("legacy", "failed", ""), Event("other", "published", "")])
    assert story.still() == "nas_a: still building train (2 min 45 s: Downloading torch (800MiB))"


def test_a_wait_for_the_mutex(story: Story, clock: Clock) -> None:
    assert story.lines([Event("mutex", "waiting", "as host c1, pid 7, since 2026-01-02 (uv_env) holds it")]) == [
        "nas_a: mutex: waiting, as host c1, pid 7, since 2026-01-02 (uv_env) holds it"
    ]
    clock.time = 20
    assert story.still() == "nas_a: still waiting for mutex (20 s)"
    assert story.lines([Event("mutex", "taken", "21 s")]) == ["nas_a: mutex: taken, 21 s"]
    assert story.still() == ""


def test_a_line_names_a_few(story: Story) -> None:
    story.lines([Event(f"e{number}", "building", "") for number in range(8)])
    assert story.still().endswith("e4 (0 s) and 3 more")


# Events


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]" * 9,
        "[" * 100_000,
        '"text"',
        "{}",
        event("train", "hacked"),
        event("../train", "building"),
        event("train\x1b[2J", "building"),
        event("t" * 101, "building"),
        '{"of": "train", "stage": ["building"], "more": ""}',
        '{"of": "train", "stage": "building", "more": null}',
    ],
)
def test_what_no_module_says_is_not_told(line: str) -> None:
    assert Event.parse(line) is None


def test_a_terminal_gets_no_commands_from_a_host() -> None:
    found = Event.parse(event("train", "says", "a\x1b]0;evil\x07b\nfatal: [dev1]\r\u202ec" + "d" * 999))
    assert found is not None
    assert found.more[:24] == "a ]0;evil b fatal: [dev1"
    assert found.more.isprintable()
    assert len(found.more) <= 300


# Reading


def read(path: Path, offset: int = 0, wait: int = 1) -> tuple[int, str]:
    command = progress.reading(str(path), offset, wait, "BEGIN", "END")
    done = subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, text=True, check=False, timeout=20)
    return done.returncode, done.stdout


def test_a_file_is_read_from_where_it_was_read_to(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text("one\ntwo\n")
    assert read(path) == (0, "BEGIN\none\ntwo\nEND\n")
    assert read(path, 4) == (0, "BEGIN\ntwo\nEND\n")
    began = time.monotonic()
    assert read(path, 8) == (0, "BEGIN\nEND\n")
    assert 0.8 < time.monotonic() - began < 10


def test_news_are_not_waited_for_longer_than_need_be(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text("")
    threading.Timer(0.5, path.write_text, ["news\n"]).start()
    assert read(path, 0, 15) == (0, "BEGIN\nnews\nEND\n")


def test_no_file_is_no_reason_to_wait(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "events", tmp_path / "events"):
        assert read(path, 0, 15)[1] == ""


def test_no_symlink_is_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "events").symlink_to("secret")
    assert read(tmp_path / "events")[1] == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs somebody else's directory")
def test_nothing_is_read_in_a_directory_of_somebody_else(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "events").write_text("theirs\n")
    os.chown(theirs, 12345, 12345)
    assert read(theirs / "events")[1] == ""


@pytest.mark.parametrize("kind", ["symlink", "theirs"])
def test_a_directory_that_somebody_made_sooner_is_left_alone(tmp_path: Path, kind: str) -> None:
    """They have seen its name in the list of processes, and would have root read or remove a file elsewhere."""
    own, made = tmp_path / "own", tmp_path / "made"
    own.mkdir()
    (own / "events").write_text("own\n")
    if kind == "symlink":
        made.symlink_to(own)
    elif os.geteuid() == 0:
        own.rename(made)
        os.chown(made, 12345, 12345)
    else:
        pytest.skip("needs somebody else's directory")
    assert read(made / "events")[1] == ""
    subprocess.run(["/bin/sh", "-c", progress.tidying(str(made / "events"))], check=True)
    assert (made / "events").read_text() == "own\n"


def test_what_a_module_left_is_removed_with_its_directory(tmp_path: Path) -> None:
    """Also where the directory above is reached by a symlink, as /tmp may be."""
    (tmp_path / "real" / "made").mkdir(parents=True)
    (tmp_path / "tmp").symlink_to("real")
    path = tmp_path / "tmp" / "made" / "events"
    path.write_text("one\n")
    assert read(path)[1] == "BEGIN\none\nEND\n"
    subprocess.run(["/bin/sh", "-c", progress.tidying(str(path))], check=True)
    assert os.listdir(tmp_path / "real") == []


# Watching


class Shown:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        monkeypatch.setattr(progress, "Display", lambda: MagicMock(display=self.lines.append))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setattr(progress, "DELAY", 0.05)
    monkeypatch.setattr(progress, "_LATER", 0.05)
    return Shown(monkeypatch)


def action(**task: t.Any) -> t.Any:
    return MagicMock(_task=MagicMock(**{"async_val": 0, "no_log": False, **task}))


def eventually(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reading_from(monkeypatch: pytest.MonkeyPatch, *answers: t.Any) -> list[float]:
    """Have the thread read these answers, one after the other; how long it wanted to wait."""
    left, asked = list(answers), []

    def events(_reader: progress.Reader, wait: float) -> t.Any:
        asked.append(wait)
        answer = left.pop(0) if left else None
        return answer() if callable(answer) else answer

    monkeypatch.setattr(progress.Reader, "events", events)
    return asked


def test_lines_are_shown_meanwhile_and_the_rest_at_the_end(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    reading_from(monkeypatch, None, [Event("train", "building", ""), Event("train", "says", "x")])
    stages = [event("train", "building"), event("train", "published", "3f0c")]
    with Watch(action(), "nas_a") as watch:
        assert watch.path is not None
        eventually(lambda: len(shown.lines) == 1)
        result = {"changed": True, "progress": stages}
        watch.ended(result)
    assert shown.lines == ["nas_a: train: building", "nas_a: train: published, 3f0c"]
    assert result == {"changed": True}


def test_what_is_read_as_the_module_ends_is_shown_too(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives when the thread is not to print any more, which does not mean that it was printed."""
    released = threading.Event()

    def late() -> list[Event]:
        released.wait(20)
        return [Event("train", "building", ""), Event("train", "published", "3f0c")]

    asked = reading_from(monkeypatch, late)
    with Watch(action(), "nas_a") as watch:
        eventually(lambda: bool(asked))
        joined = threading.Timer(0.1, released.set)
        joined.start()
        watch.ended({"progress": [event("train", "building"), event("train", "published", "3f0c")]})
        joined.join()
    assert shown.lines == ["nas_a: train: building", "nas_a: train: published, 3f0c"]


@pytest.mark.parametrize("error", [RuntimeError("no"), OSError("no"), KeyError("no")])
def test_errors_end_it_and_nobody_hears_of_them(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> t.NoReturn:
        raise error

    asked = reading_from(monkeypatch, *[fail] * 9)
    with Watch(action(), "nas_a") as watch:
        eventually(lambda: len(asked) == 3)
        time.sleep(0.3)
        watch.ended({"progress": []})
    assert (len(asked), shown.lines) == (3, [])


def test_a_reader_that_hangs_keeps_nobody_waiting_and_says_nothing_later(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang() -> list[Event]:
        released.wait(20)
        return [Event("train", "building", "")]

    asked = reading_from(monkeypatch, hang)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Watch(action(), "nas_a") as watch:  # noqa: PT012
        eventually(lambda: bool(asked))
        raise KeyboardInterrupt
    assert time.monotonic() - began < 5
    released.set()
    assert watch._thread is not None
    watch._thread.join(10)
    assert (watch._thread.is_alive(), shown.lines) == (False, [])


def test_a_module_that_ends_at_once_is_not_looked_at(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY", 2.0)
    asked = reading_from(monkeypatch)
    began = time.monotonic()
    with Watch(action(), "nas_a") as watch:
        watch.ended({"changed": False, "progress": []})
    assert (asked, shown.lines) == ([], [])
    assert time.monotonic() - began < 0.4


@pytest.mark.parametrize("stages", [None, "text", {"a": 1}, [1, None, {}, "{}", event("train", "hacked")]])
def test_nonsense_is_not_shown(shown: Shown, stages: t.Any) -> None:
    with Watch(action(), "nas_a") as watch:
        watch.ended({"progress": stages})
    assert shown.lines == []


def test_what_a_killed_module_left_is_removed(shown: Shown) -> None:
    told = action()
    with Watch(told, "nas_a") as watch:
        watch.ended({"failed": True, "msg": "killed"})
    command = told._low_level_execute_command.call_args[0][0]
    assert command == progress.tidying(str(watch.path))


@pytest.mark.parametrize("task", [{"async_val": 60}, {"no_log": True}])
def test_some_tasks_have_none(task: dict[str, t.Any]) -> None:
    with Watch(action(**task), "nas_a") as watch:
        assert (watch.path, watch._thread) == (None, None)


@pytest.mark.parametrize(
    ("callback", "machines"),
    [
        ("default", False),
        ("ansible.builtin.default", False),
        ("ansible.builtin.minimal", False),
        ("community.general.unixy", False),
        ("awx_display", False),
        ("json", True),
        ("ansible.posix.json", True),
        ("ansible.posix.jsonl", True),
        ("ansible.builtin.junit", True),
        ("community.general.null", True),
    ],
)
def test_whose_output_is_for_machines(callback: str, machines: bool) -> None:
    assert progress.is_for_machines(callback) == machines
