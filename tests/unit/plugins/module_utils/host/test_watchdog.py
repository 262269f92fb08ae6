# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watched work: it may take long, and it ends where questions are not answered. A FIFO stands for a NAS that hangs:
to open it waits for ever. Real filesystems that hang are in tests/integration/test_hung_nas.py."""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.host.watchdog import ask, call_watched
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import Work, call_as

# Seconds, for what takes a moment. A limit, so that nothing waits for ever, and not a measure.
LIMIT = 60.0


def wait_until(condition: t.Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise UvnasError(f"{what}: not within {LIMIT:g} s")
        time.sleep(0.005)


class Share:
    """A directory whose filesystem answers, as far as the tests can tell, until it is told to hang."""

    def __init__(self, path: Path) -> None:
        self.path = path / "share"
        self.path.mkdir()
        self._fifo, self._asked, self._askers = path / "fifo", path / "asked", path / "askers"
        os.mkfifo(self._fifo)
        self._asked.touch()
        self._askers.touch()
        self._hangs = path / "hangs"

    def hang(self) -> None:
        self._hangs.touch()

    def look(self) -> dict[str, t.Any]:
        """What ask() and any work do: they come back, or not."""
        if self._hangs.exists():
            self._fifo.read_bytes()
        return {}

    def ask(self, path: str) -> None:
        assert path == str(self.path)
        with self._askers.open("a") as askers:
            askers.write(f"{os.getpid()}\n")
        with self._asked.open("a") as asked:
            asked.write(".")
        self.look()

    @property
    def asked(self) -> int:
        """How many questions there were."""
        return self._asked.stat().st_size

    @property
    def askers(self) -> set[int]:
        """The processes that asked."""
        return set(map(int, self._askers.read_text().split()))

    def watch(self, work: Work, *, timeout: float = LIMIT, pause: float = 0.01) -> dict[str, t.Any]:
        return call_watched(work, shares={str(self.path): "nas_a"}, timeout=timeout, ask=self.ask, pause=pause)


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path)


def gone(pid_file: Path) -> bool:
    """Whether the process has ended; nobody may have taken note of that yet."""
    try:
        return Path(f"/proc/{pid_file.read_text()}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_is_quick_is_not_watched(share: Share) -> None:
    assert share.watch(lambda: {"pid": os.getpid()}, pause=LIMIT)["pid"] != os.getpid()
    assert share.asked == 0


def test_long_work_ends_well_as_long_as_questions_are_answered(share: Share) -> None:
    """However short the time to answer is: the time for the work has nothing to do with it."""

    def work() -> dict[str, t.Any]:
        begun = time.monotonic()
        wait_until(lambda: share.asked >= 3 and time.monotonic() - begun > 2.5, "to be asked")
        return {"text": "ä" * 1_000_000}

    assert share.watch(work, timeout=2.0) == {"text": "ä" * 1_000_000}


@pytest.mark.parametrize("patience", [0.2, 1.0])
def test_a_share_that_hangs_from_the_beginning(share: Share, patience: float) -> None:
    share.hang()
    begun = time.monotonic()
    with pytest.raises(UvnasError) as caught:
        share.watch(share.look, timeout=patience)
    assert patience <= time.monotonic() - begun < LIMIT
    assert str(caught.value) == (
        f"share nas_a: {share.path} has not answered for {patience:g} s on this host; is the NAS or the network down?"
    )
    assert "uvnas_answer_timeout" in caught.value.hint
    assert share.asked == 1


def test_a_share_that_begins_to_hang_takes_the_work_and_its_commands_along(share: Share, tmp_path: Path) -> None:
    command = ["sh", "-c", "echo $$ >$0.new; mv $0.new $0; exec sleep 1000", str(tmp_path / "command")]

    def work() -> dict[str, t.Any]:
        (tmp_path / "worker").write_text(str(os.getpid()))

        def nested() -> dict[str, t.Any]:
            SystemRunner().run(command)
            return {}

        return call_as(None, nested)

    def ask(path: str) -> None:
        if share.asked >= 2 and (tmp_path / "command").exists():
            share.hang()
        share.ask(path)

    with pytest.raises(UvnasError, match="has not answered for 0.5 s"):
        call_watched(work, shares={str(share.path): "nas_a"}, timeout=0.5, ask=ask, pause=0.01)
    wait_until(lambda: gone(tmp_path / "worker"), "to end the work")
    wait_until(lambda: gone(tmp_path / "command"), "to end its command")


def test_work_that_hangs_at_its_end(share: Share, tmp_path: Path) -> None:
    """It has said what there is to say, but does not end: the kernel writes back what it had open."""

    def work() -> dict[str, t.Any]:
        share.hang()
        os._exit = lambda _status: share.look()
        return {}

    with pytest.raises(UvnasError, match="has not answered for 0.5 s"):
        share.watch(work, timeout=0.5)


def asked_often(share: Share) -> dict[str, t.Any]:
    wait_until(lambda: share.asked >= 3, "to be asked")
    return {"done": True}


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO, errno.ENOTCONN])
def test_any_answer_will_do(share: Share, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def statvfs(path: str) -> t.NoReturn:
        raise OSError(number, os.strerror(number), path)

    def ask_really(path: str) -> None:
        share.ask(path)
        ask(path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    work = functools.partial(asked_often, share)
    shares = {str(share.path): "nas_a"}
    assert call_watched(work, shares=shares, timeout=LIMIT, ask=ask_really, pause=0.01) == {"done": True}


def test_one_process_asks_all_the_questions_and_ends_with_the_work(share: Share, tmp_path: Path) -> None:
    share.watch(functools.partial(asked_often, share))
    (asker,) = share.askers
    assert asker != os.getpid()
    (tmp_path / "asker").write_text(str(asker))
    wait_until(lambda: gone(tmp_path / "asker"), "to end who asks")


def test_work_goes_on_when_who_asks_is_killed(share: Share, tmp_path: Path) -> None:
    """For lack of memory, perhaps. It says nothing of the filesystem, and nothing is wrong with the work."""
    killed = tmp_path / "killed"

    def ask(path: str) -> None:
        if share.asked and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        share.ask(path)

    work = functools.partial(asked_often, share)
    shares = {str(share.path): "nas_a"}
    assert call_watched(work, shares=shares, timeout=LIMIT, ask=ask, pause=0.01) == {"done": True}
    assert killed.exists()
    assert len(share.askers) == 2


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("killed", "UvnasError: what asks whether .* still answers is killed again and again"),
        ("bug", "RuntimeError: .*a bug"),
    ],
)
def test_nobody_to_ask_is_no_answer(share: Share, how: str, said: str) -> None:
    """Work that nobody watches any more is not waited for: it could wait for ever."""

    def ask(path: str) -> None:
        if share.asked:
            os.kill(os.getpid(), signal.SIGKILL) if how == "killed" else int("a bug")
        share.ask(path)

    with pytest.raises((UvnasError, RuntimeError)) as caught:
        call_watched(endless, shares={str(share.path): "nas_a"}, timeout=LIMIT, ask=ask, pause=0.01)
    assert re.search(f"(?s)^{said}", f"{type(caught.value).__name__}: {caught.value}")


def endless() -> dict[str, t.Any]:
    """Work without an end."""
    time.sleep(10 * LIMIT)
    return {}


def test_errors_of_the_work_cross(share: Share) -> None:
    error = CommandError("it failed", cmd=["uv"], rc=2, stdout="out", stderr="err", hint="Try.")

    def work() -> dict[str, t.Any]:
        wait_until(lambda: share.asked, "to be asked")
        raise error

    with pytest.raises(CommandError) as caught:
        share.watch(work)
    assert caught.value.as_dict() == error.as_dict()


def test_work_that_is_killed(share: Share) -> None:
    def work() -> dict[str, t.Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(UvnasError, match="the process doing the work was ended by SIGKILL"):
        share.watch(work)


def test_a_bug_in_the_work(share: Share) -> None:
    def work() -> dict[str, t.Any]:
        raise ValueError("a bug")

    with pytest.raises(RuntimeError, match="(?s)Traceback.*ValueError: a bug"):
        share.watch(work)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_meant(share: Share, timeout: float) -> None:
    with pytest.raises(SpecError, match="answer_timeout"):
        share.watch(dict, timeout=timeout)


def test_a_share_without_a_name(share: Share) -> None:
    share.hang()
    with pytest.raises(UvnasError, match=f"^{share.path} has not answered"):
        call_watched(share.look, shares={str(share.path): ""}, timeout=0.2, ask=share.ask, pause=0.01)


@pytest.mark.parametrize("silent", ["nas_a", "nas_b", "nas_c"])
def test_any_of_the_shares_that_work_looks_at_may_hang(tmp_path: Path, silent: str) -> None:
    shares = {}
    for name in ("nas_a", "nas_b", "nas_c"):
        (tmp_path / name).mkdir()
        shares[name] = Share(tmp_path / name)
    shares[silent].hang()

    def ask(path: str) -> None:
        next(share for share in shares.values() if str(share.path) == path).ask(path)

    roots = {str(share.path): name for name, share in shares.items()}
    with pytest.raises(UvnasError, match=f"^share {silent}: {shares[silent].path} has not answered for 0.5 s"):
        call_watched(shares[silent].look, shares=roots, timeout=0.5, ask=ask, pause=0.01)


@pytest.mark.parametrize("path", ["", "missing", "missing/below", "file", "file/below", "link"])
def test_asking_leaves_nothing_and_comes_back_wherever(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())
    ask(f"{tmp_path}/{path}")
    assert sorted(tmp_path.iterdir()) == before


def test_asking_about_a_relative_path_comes_back() -> None:
    ask("no/such/directory")
