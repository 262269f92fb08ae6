# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of a piece of work outlives it, however it ends, and whatever kinds of processes it has started.

Work that cannot even be killed, as the kernel waits for a NAS, is in tests/integration/test_hung_nas.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import guard, process, users, workers
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import Child, Work, readable, result_of
from ansible_collections.uvnas.cluster.tests.support.processes import wait_for

# Seconds: a limit for what takes a moment, on a busy machine.
LIMIT = 20.0

# Start what uv, a build backend or a smoke test may start: children of children in the same group, in one of their own,
# in a session of their own, daemons. Each waits under a name that it is found by.
STARTS = r"""
job=(sh -c "sleep 1000; :" "$0")
"${job[@]}" &
setsid "${job[@]}" &
sh -c '"$@" & exit' sh "${job[@]}"
setsid sh -c '"$@" & exit' sh "${job[@]}"
set -m
"${job[@]}" &
wait
"""
COUNT = 5
# In a process of its own, to be killed: the module.
MODULE = f"""
import signal, sys
from {process.__name__} import SystemRunner
from {workers.__name__} import Child, call_many
def work():
    run = lambda: {{"rc": SystemRunner().run(sys.argv[1:], timeout=1000).rc}}
    return call_many([run], jobs=1)[0]()
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Which nohup has ignored.
child = Child(work, guarded=True)
print("ready", flush=True)
while not child.read():
    pass
child.reap()
"""


@pytest.fixture
def name(tmp_path: Path) -> t.Iterator[str]:
    """A word that is in the command lines of what a test starts, all of which has ended when the test has."""
    word = f"guarded-{os.getpid()}-{tmp_path.name}"
    yield word
    left = alive(word)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left


def alive(word: str) -> list[int]:
    """The shells with ``word`` as their name that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "cmdline").read_bytes().split(b"\0")[:4] == [b"sh", b"-c", b"sleep 1000; :", word.encode()]:
                found.append(int(path.name))
    return found


def wait_until(condition: t.Callable[[], object], limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def starts(name: str, timeout: float | None) -> Work:
    """Work that never ends, by a child of the worker."""

    def run() -> dict[str, t.Any]:
        process.SystemRunner().run(["bash", "-c", STARTS, name], timeout=timeout)
        return {}

    def work() -> dict[str, t.Any]:
        return workers.call_as(None, run)

    return work


@pytest.mark.parametrize("timeout", [None, 1000.0])
def test_work_that_is_given_up(name: str, timeout: float | None) -> None:
    child = Child(starts(name, timeout), guarded=True)
    wait_until(lambda: len(alive(name)) == COUNT)
    child.kill()
    assert readable([child.reader], LIMIT), "the worker lives"
    assert child.read()
    assert child.reap()
    # Its guard ends last.
    assert alive(name) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_module_that_is_killed(name: str, number: signal.Signals) -> None:
    module = subprocess.Popen(
        [sys.executable, "-c", MODULE, "bash", "-c", STARTS, name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
    )
    with module:
        try:
            wait_until(lambda: len(alive(name)) == COUNT)
        finally:
            module.send_signal(number)
    wait_until(lambda: not alive(name))


def test_a_worker_that_is_killed(name: str, tmp_path: Path) -> None:
    def work() -> dict[str, t.Any]:
        (tmp_path / "pid.new").write_text(str(os.getpid()))
        (tmp_path / "pid.new").rename(tmp_path / "pid")
        return starts(name, None)()

    child = Child(work, guarded=True)
    wait_for(tmp_path / "pid")
    wait_until(lambda: len(alive(name)) == COUNT)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert child.read()
    child.reap()
    assert alive(name) == []
    with pytest.raises(UvnasError, match="was killed by SIGKILL"):
        result_of(child.answer())


def test_what_work_leaves_ends_with_it(name: str) -> None:
    """Nobody writes to a generation that is complete."""

    def work() -> dict[str, t.Any]:
        process.SystemRunner().run(["setsid", "sh", "-c", f'sh -c "sleep 1000; :" {name} >&- 2>&- & exit'])
        wait_until(lambda: alive(name))
        return {"left": alive(name) != []}  # Two for a moment, before the one that sleeps has its own name.

    child = Child(work, guarded=True)
    while not child.read():
        pass
    assert child.reap()
    assert result_of(child.answer()) == {"left": True}
    assert alive(name) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_work_of_another_user(name: str) -> None:
    """The guard stays who it is."""
    nobody = users.nobody()
    child = Child(starts(name, 1000.0), nobody, guarded=True)
    wait_until(lambda: len(alive(name)) == COUNT)
    assert {os.stat(f"/proc/{pid}").st_uid for pid in alive(name)} == {nobody.uid}
    child.kill()
    child.reap()
    assert alive(name) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_guard_ends_as_the_work_did(number: signal.Signals) -> None:
    def work() -> dict[str, t.Any]:
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return {}

    child = Child(work, guarded=True)
    assert child.read()
    child.reap()
    with pytest.raises(UvnasError, match=f"was killed by {number.name}"):
        result_of(child.answer())


def test_a_bug_in_guarded_work() -> None:
    child = Child(lambda: {"number": int("a bug")}, guarded=True)
    while not child.read():
        pass
    child.reap()
    with pytest.raises(RuntimeError, match="(?s)Traceback.*ValueError"):
        child.answer()


def test_work_has_the_signals_of_its_module(tmp_path: Path) -> None:
    """A guard blocks some of the signals that would end it. What it guards, such as uv, must still be ended by them."""

    def work() -> dict[str, t.Any]:
        blocked = process.SystemRunner().run(["sed", "-n", "s/^SigBlk://p", "/proc/self/status"]).stdout
        return {"here": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "command": int(blocked, 16)}

    child = Child(work, guarded=True)
    while not child.read():
        pass
    child.reap()
    assert result_of(child.answer()) == {"here": 0, "command": 0}


def test_descendants() -> None:
    """Of this process, the one in between too; and none of anybody else."""
    with subprocess.Popen(["sh", "-c", "sleep 1000 & wait"]) as shell:
        try:
            wait_until(lambda: len(guard.descendants(shell.pid)) == 1)
            (sleep,) = guard.descendants(shell.pid)
            assert {shell.pid, sleep} <= set(guard.descendants(os.getpid()))
            assert guard.descendants(sleep) == []
        finally:
            shell.kill()
            os.kill(sleep, signal.SIGKILL)
