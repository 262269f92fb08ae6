# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of locks and builds."""

from __future__ import annotations

import os
import stat
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import log as logs
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index, Uv

# Says what uv says, and what it should not.
UV = """#!/bin/sh
echo "the lock"
echo "arguments: $*" >&2
echo "Resolved 2 packages in 5ms" >&2
echo " + six==1.17.0" >&2
echo "error: see https://user:hunter22@host/simple, or hunter22" >&2
exit 3
"""
VARIABLES = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    layout = Layout(str(tmp_path))
    Path(layout.uv).parent.mkdir(parents=True)
    Path(layout.uv).write_text(UV)
    Path(layout.uv).chmod(0o755)
    return Uv(layout, SystemRunner(), Index(default="https://user:hunter22@host/simple"))


def test_what_uv_says_is_in_it_without_secrets_and_errors_have_the_errors(uv: Uv) -> None:
    path = uv.layout.build_log("train")
    heard: list[str] = []
    with logs.logging(path, uv, "environment train") as log:
        done = logs.logged(uv, log, heard.append).run("pip", "sync", "--quiet", "x")
    text = Path(path).read_text()
    assert "arguments: --config-file /proc/self/fd/0 pip sync x\n" in text.replace("--color never ", "")
    assert "Resolved 2 packages" in text
    assert "hunter22" not in text + "".join(heard)
    assert "the lock" not in text
    assert "# returned 3 after " in text
    assert text.endswith("# done\n")
    assert done.stdout == "the lock\n"
    assert [line for line in done.stderr.splitlines() if not line.startswith("arguments")] == [
        "error: see https://****@host/simple, or hunter22"
    ]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_it_is_written_while_a_command_runs(uv: Uv) -> None:
    path = Path(uv.layout.build_log("train"))
    seen: list[tuple[float, str]] = []
    script = "echo one >&2; printf half >&2; sleep 2; echo ' done' >&2; echo out"
    with logs.logging(str(path), uv, "it") as log:
        runner = logs.Logged(SystemRunner(), log, lambda line: seen.append((time.monotonic(), line)))
        runner.run(["/bin/sh", "-c", script], variables=VARIABLES)
    assert [line for _when, line in seen] == ["one", "half done"]
    assert seen[1][0] - seen[0][0] > 0.5
    assert "one\nhalf done\nout\n" in path.read_text()


def test_the_last_one_takes_the_place_of_the_one_before(uv: Uv) -> None:
    path = Path(uv.layout.lock_log("train"))
    for title in ("first", "second"):
        with logs.logging(str(path), uv, title):
            pass
    assert "first" not in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["lock.log"]


def test_where_there_can_be_none_the_one_before_is_no_longer_there(uv: Uv, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be taken for the log of this build, which names its path."""
    path = uv.layout.build_log("train")
    with logs.logging(path, uv, "first"):
        pass

    def full(*_args: t.Any, **_more: t.Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logs.os, "open", full)
    with logs.logging(path, uv, "second"):
        pass
    assert not os.path.exists(path)


def test_an_error_names_it(uv: Uv) -> None:
    path = uv.layout.build_log("train")
    with pytest.raises(UvnasError) as caught, logs.logging(path, uv, "it"):
        raise UvnasError("it failed", hint="Do this.")
    assert caught.value.hint == f"Do this. Its log: {path}"
    assert "# failed: it failed\nDo this.\n" in Path(path).read_text()


def test_a_command_that_does_not_end_has_said_something(uv: Uv) -> None:
    path = uv.layout.build_log("train")
    with pytest.raises(CommandError, match="timed out after 1.5 s") as caught, logs.logging(path, uv, "it") as log:  # noqa: PT012
        runner = logs.Logged(SystemRunner(), log, lambda _line: None)
        runner.run(["/bin/sh", "-c", "echo begun >&2; sleep 60"], variables=VARIABLES, timeout=1.5)
    assert caught.value.stderr == "begun\n"
    assert "begun" in Path(path).read_text()


@pytest.mark.parametrize("size", [0, 10, 5_000, 60_000, 300_000])
def test_input_gets_there_while_it_is_heard(size: int) -> None:
    heard: list[str] = []
    script = "sleep 2; wc -c; echo heard >&2"
    done = SystemRunner(heard.append).run(["/bin/sh", "-c", script], stdin="x" * size, timeout=60)
    assert (done.stdout.strip(), heard) == (str(size), ["heard\n"])


def test_who_does_not_read_its_input_is_heard() -> None:
    heard: list[str] = []
    done = SystemRunner(heard.append).run(["/bin/sh", "-c", "exec <&-; echo heard >&2"], stdin="x" * 300_000)
    assert (done.rc, heard) == (0, ["heard\n"])


@pytest.mark.parametrize("place", ["a file where its directory is", "no permission", "nowhere"])
def test_without_one_all_is_the_same(uv: Uv, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path: str | None = uv.layout.build_log("train")
    if place == "a file where its directory is":
        Path(uv.layout.logs).write_text("")
    elif place == "nowhere":
        path = None
    else:

        def refuse(*_args: t.Any, **_more: t.Any) -> int:
            raise PermissionError(13, "no")

        monkeypatch.setattr(logs.files, "make_directory", refuse)
    with pytest.raises(UvnasError) as caught, logs.logging(path, uv, "it") as log:  # noqa: PT012
        assert logs.logged(uv, log, lambda _line: None).run("pip", "sync").rc == 3
        raise UvnasError("it failed")
    assert caught.value.hint == ""


def test_a_full_disk_ends_it_and_nothing_else() -> None:
    log = logs.Log(os.open("/dev/full", os.O_WRONLY), "/dev/full")
    log.write("text")
    log.write("more")
    log.close()


def test_it_has_a_bound_and_keeps_its_beginning_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_MOST", 100)
    monkeypatch.setattr(logs, "_END", 50)
    path = tmp_path / "log"
    log = logs.Log(os.open(path, os.O_WRONLY | os.O_CREAT), str(path))
    for number in range(30):
        log.write(f"{number:09}\n")
    log.close()
    assert path.read_text() == (
        "".join(f"{number:09}\n" for number in range(10))
        + "\n(150 bytes are left out here.)\n"
        + "".join(f"{number:09}\n" for number in range(25, 30))
    )


@pytest.mark.parametrize("lines", [0, 10, 15])
def test_within_its_bounds_nothing_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int) -> None:
    monkeypatch.setattr(logs, "_MOST", 100)
    monkeypatch.setattr(logs, "_END", 50)
    path = tmp_path / "log"
    log = logs.Log(os.open(path, os.O_WRONLY | os.O_CREAT), str(path))
    text = "".join(f"{number:09}\n" for number in range(lines))
    log.write(text)
    log.close()
    assert path.read_text() == text
