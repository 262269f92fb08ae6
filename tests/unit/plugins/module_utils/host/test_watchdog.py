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
from ansible_collections.uvnas.cluster.plugins.module_utils.host.watchdog import call_watched, probe
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
        self._fifo, self._probed, self._probers = path / "fifo", path / "probed", path / "probers"
        os.mkfifo(self._fifo)
        self._probed.touch()
        self._probers.touch()
        self._hangs = path / "hangs"

    def hang(self) -> None:
        self._hangs.touch()

    def look(self) -> dict[str, t.Any]:
        """What probe() and any work do: return, or hang."""
        if self._hangs.exists():
            self._fifo.read_bytes()
        return {}

    def probe(self, path: str) -> None:
        assert path == str(self.path)
        with self._probers.open("a") as probers:
            probers.write(f"{os.getpid()}\n")
        with self._probed.open("a") as probed:
            probed.write(".")
        self.look()

    @property
    def probed(self) -> int:
        """How many probes there were."""
        return self._probed.stat().st_size

    @property
    def probers(self) -> set[int]:
        """The processes that sent them."""
        return set(map(int, self._probers.read_text().split()))

    def watch(self, work: Work, *, timeout: float = LIMIT, pause: float = 0.01) -> dict[str, t.Any]:
        return call_watched(work, shares={str(self.path): "nas_a"}, timeout=timeout, probe=self.probe, pause=pause)


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
    assert share.probed == 0


def test_long_work_ends_well_as_long_as_questions_are_answered(share: Share) -> None:
    """However short the time to answer is: the time for the work has nothing to do with it."""

    def work() -> dict[str, t.Any]:
        begun = time.monotonic()
        wait_until(lambda: share.probed >= 3 and time.monotonic() - begun > 2.5, "to be probed")
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
    assert share.probed == 1


def test_a_share_that_begins_to_hang_takes_the_work_and_its_commands_along(share: Share, tmp_path: Path) -> None:
    command = ["sh", "-c", "echo $$ >$0.new; mv $0.new $0; exec sleep 1000", str(tmp_path / "command")]

    def work() -> dict[str, t.Any]:
        (tmp_path / "worker").write_text(str(os.getpid()))

        def nested() -> dict[str, t.Any]:
            SystemRunner().run(command)
            return {}

        return call_as(None, nested)

    def probe(path: str) -> None:
        if share.probed >= 2 and (tmp_path / "command").exists():
            share.hang()
        share.probe(path)

    with pytest.raises(UvnasError, match="has not answered for 0.5 s"):
        call_watched(work, shares={str(share.path): "nas_a"}, timeout=0.5, probe=probe, pause=0.01)
    wait_until(lambda: gone(tmp_path / "worker"), "to end the work")
    wait_until(lambda: gone(tmp_path / "command"), "to end its command")


def test_work_that_hangs_at_its_end(share: Share, tmp_path: Path) -> None:
    """Its answer is complete, but it does not end: the kernel is writing back its open files."""

    def work() -> dict[str, t.Any]:
        share.hang()
        os._exit = lambda _status: share.look()
        return {}

    with pytest.raises(UvnasError, match="has not answered for 0.5 s"):
        share.watch(work, timeout=0.5)


def probed_often(share: Share) -> dict[str, t.Any]:
    wait_until(lambda: share.probed >= 3, "to be probed")
    return {"done": True}


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EACCES, errno.EIO, errno.ENOTCONN])
def test_any_error_counts_as_an_answer(share: Share, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def statvfs(path: str) -> t.NoReturn:
        raise OSError(number, os.strerror(number), path)

    def probe_really(path: str) -> None:
        share.probe(path)
        probe(path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    work = functools.partial(probed_often, share)
    shares = {str(share.path): "nas_a"}
    assert call_watched(work, shares=shares, timeout=LIMIT, probe=probe_really, pause=0.01) == {"done": True}


def test_one_process_sends_all_probes_and_ends_with_the_work(share: Share, tmp_path: Path) -> None:
    share.watch(functools.partial(probed_often, share))
    (prober,) = share.probers
    assert prober != os.getpid()
    (tmp_path / "prober").write_text(str(prober))
    wait_until(lambda: gone(tmp_path / "prober"), "to end the prober")


def test_work_goes_on_when_the_prober_is_killed(share: Share, tmp_path: Path) -> None:
    """Perhaps out of memory. That says nothing about the filesystem or the work."""
    killed = tmp_path / "killed"

    def probe(path: str) -> None:
        if share.probed and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        share.probe(path)

    work = functools.partial(probed_often, share)
    shares = {str(share.path): "nas_a"}
    assert call_watched(work, shares=shares, timeout=LIMIT, probe=probe, pause=0.01) == {"done": True}
    assert killed.exists()
    assert len(share.probers) == 2


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("killed", "UvnasError: cannot check whether .* still answers: the process that does so keeps being killed"),
        ("bug", "RuntimeError: .*a bug"),
    ],
)
def test_a_prober_that_keeps_dying_ends_the_work(share: Share, how: str, said: str) -> None:
    """Work that nobody watches any more could block for ever."""

    def probe(path: str) -> None:
        if share.probed:
            os.kill(os.getpid(), signal.SIGKILL) if how == "killed" else int("a bug")
        share.probe(path)

    with pytest.raises((UvnasError, RuntimeError)) as caught:
        call_watched(endless, shares={str(share.path): "nas_a"}, timeout=LIMIT, probe=probe, pause=0.01)
    assert re.search(f"(?s)^{said}", f"{type(caught.value).__name__}: {caught.value}")


def endless() -> dict[str, t.Any]:
    """Work without an end."""
    time.sleep(10 * LIMIT)
    return {}


def test_errors_of_the_work_cross(share: Share) -> None:
    error = CommandError("it failed", cmd=["uv"], rc=2, stdout="out", stderr="err", hint="Try.")

    def work() -> dict[str, t.Any]:
        wait_until(lambda: share.probed, "to be probed")
        raise error

    with pytest.raises(CommandError) as caught:
        share.watch(work)
    assert caught.value.as_dict() == error.as_dict()


def test_work_that_is_killed(share: Share) -> None:
    def work() -> dict[str, t.Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(UvnasError, match="the process doing the work was killed by SIGKILL"):
        share.watch(work)


def test_a_bug_in_the_work(share: Share) -> None:
    def work() -> dict[str, t.Any]:
        raise ValueError("a bug")

    with pytest.raises(RuntimeError, match="(?s)Traceback.*ValueError: a bug"):
        share.watch(work)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_a_timeout_that_makes_no_sense(share: Share, timeout: float) -> None:
    with pytest.raises(SpecError, match="answer_timeout"):
        share.watch(dict, timeout=timeout)


def test_a_share_without_a_name(share: Share) -> None:
    share.hang()
    with pytest.raises(UvnasError, match=f"^{share.path} has not answered"):
        call_watched(share.look, shares={str(share.path): ""}, timeout=0.2, probe=share.probe, pause=0.01)


@pytest.mark.parametrize("silent", ["nas_a", "nas_b", "nas_c"])
def test_any_of_the_shares_that_work_looks_at_may_hang(tmp_path: Path, silent: str) -> None:
    shares = {}
    for name in ("nas_a", "nas_b", "nas_c"):
        (tmp_path / name).mkdir()
        shares[name] = Share(tmp_path / name)
    shares[silent].hang()

    def probe(path: str) -> None:
        next(share for share in shares.values() if str(share.path) == path).probe(path)

    roots = {str(share.path): name for name, share in shares.items()}
    with pytest.raises(UvnasError, match=f"^share {silent}: {shares[silent].path} has not answered for 0.5 s"):
        call_watched(shares[silent].look, shares=roots, timeout=0.5, probe=probe, pause=0.01)


@pytest.mark.parametrize("path", ["", "missing", "missing/below", "file", "file/below", "link"])
def test_probing_leaves_nothing_behind_and_returns(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())
    probe(f"{tmp_path}/{path}")
    assert sorted(tmp_path.iterdir()) == before


def test_probing_a_relative_path_returns() -> None:
    probe("no/such/directory")
