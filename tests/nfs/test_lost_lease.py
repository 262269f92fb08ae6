# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A builder is cut off in the middle of a build, another host takes over, and the builder comes back.

UVNAS_NFS_ROUNDS times, each with the builder cut off at another moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import stat
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import Client, NfsSite
from ansible_collections.uvnas.cluster.tests.support.sites import Run, finish

EXPORT = Path("/export")
ROUNDS = int(os.environ.get("UVNAS_NFS_ROUNDS") or 2)
PACKAGES = ["rich", "attrs", "charset-normalizer", "idna", "markupsafe"]
# Seconds. A timeout.
LIMIT = 300.0


def wait_until(condition: t.Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"{what}: timed out after {LIMIT:g} s"
        time.sleep(0.02)


def on_the_nas(site: NfsSite, *parts: str) -> Path:
    return EXPORT.joinpath(site.path.name, "uv", *parts)


def snapshot(top: Path) -> dict[str, tuple[t.Any, ...]]:
    """Everything below a directory on the NAS: inode, times and bytes of each file."""
    found: dict[str, tuple[t.Any, ...]] = {}
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            path = Path(directory, name)
            status = path.lstat()
            content = os.readlink(path) if path.is_symlink() else ""
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path)] = (status.st_ino, oct(status.st_mode), status.st_size, status.st_mtime_ns, content)
    return found


def in_force(site: NfsSite, env: dict[str, t.Any]) -> list[dict[str, tuple[t.Any, ...]]]:
    """The generations of an environment, and everything that puts them in force."""
    return [snapshot(on_the_nas(site, *parts)) for parts in (("generations", env["name"]), ("envs",), ("locks",))]


def of_client(client: Client) -> dict[int, tuple[str, int, str]]:
    """The processes of a client with their states, parents and command lines."""
    network = os.readlink(f"/proc/{client.pid}/ns/net")
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(path / "ns" / "net") == network and int(path.name) != client.pid:
                after = (path / "stat").read_text().rpartition(")")[2].split()
                found[int(path.name)] = after[0], int(after[1]), (path / "cmdline").read_text().replace("\0", " ")
    return found


def at_work(client: Client) -> list[str]:
    """The processes at work on a client, except those that wait for the NAS in the kernel, and their guards."""
    found = of_client(client)
    waiting = {pid for pid, (state, _parent, _command) in found.items() if state in "DZX"}
    parents = {found[pid][1] for pid in waiting}
    return [f"{pid} {found[pid]}" for pid in found if pid not in waiting and pid not in parents]


def answers(client: Client) -> bool:
    return client.run("timeout", "--signal=KILL", "2", "stat", "--file-system", "/nas", check=False).returncode == 0


@contextlib.contextmanager
def cut_off(client: Client) -> t.Iterator[None]:
    client.cut_off(True)
    try:
        yield
    finally:
        client.cut_off(False)
        wait_until(lambda: answers(client), "to see the NAS again")


def by(site: NfsSite, builder: str) -> list[dict[str, t.Any]]:
    """The shares of a site, with another builder."""
    return [{**share, "builder": builder} for share in site.variables["uvnas_shares"]]


def take_over(site: NfsSite, env: dict[str, t.Any]) -> Run:
    """Let c2 do what c1 was about to do, once the NAS has dropped c1's lock."""
    done = site.envs([env], uvnas_shares=by(site, "c2"), uvnas_busy_timeout=120)
    assert done.rc == 0, done.output
    return done


@pytest.mark.parametrize("number", range(ROUNDS))
def test_an_abandoned_build_stops(site: NfsSite, converged: Run, clients: dict[str, Client], number: int) -> None:
    """However late the NAS answers, what c2 built in the same place stays as it is."""
    c1 = clients["c1"]
    env = {"name": f"round-{number}", "requirements": PACKAGES}
    generations = on_the_nas(site, "generations", env["name"])
    started = site.start([env], play="uvnas.cluster.envs", uvnas_answer_timeout=3)
    wait_until(lambda: next(generations.glob("*/lib/python3*/site-packages/*/__pycache__"), None), "to compile")
    time.sleep(random.uniform(0, 2))
    with cut_off(c1):
        assert list(generations.glob("*/.uvnas.json")) == [], "cut off too late"
        done = finish(started, LIMIT)
        time.sleep(1)
        left = of_client(c1)
        assert at_work(c1) == []
        print(f"round {number}: 1 s after it was abandoned: {sorted(state for state, *_more in left.values())}")
        assert done.rc == 2
        assert "has not answered for 3 s on this host" in done.output
        take_over(site, env)
        assert len(list(generations.glob("*/.uvnas.json"))) == 1
        before = in_force(site, env)
    wait_until(lambda: not of_client(c1), "to end what was in the kernel")
    time.sleep(2)
    assert in_force(site, env) == before
    # Nor does it block anybody.
    again = site.envs([env])
    assert (again.rc, again.changed) == (0, 0), again.output


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_build_that_has_lost_the_mutex_changes_nothing_more(
    site: NfsSite, converged: Run, clients: dict[str, Client], number: int, tmp_path: Path
) -> None:
    """If it may wait longer than the NAS keeps locks, it is not abandoned, and notices by itself."""
    c1 = clients["c1"]
    word = f"go-{number}-{os.getpid()}"
    wait = f"test $(hostname) = c2 || while test ! -e /tmp/{word}; do sleep 0.1; done"
    env = {"name": f"lost-{number}", "requirements": ["six"], "checks": [wait]}
    generations = on_the_nas(site, "generations", env["name"])
    started = site.start([env], play="uvnas.cluster.envs", uvnas_answer_timeout=600)
    wait_until(
        lambda: any(command.startswith("/bin/sh") and word in command for *_more, command in of_client(c1).values()),
        "to test",
    )
    with cut_off(c1):
        take_over(site, env)
        assert len(list(generations.glob("*/.uvnas.json"))) == 1
        before = in_force(site, env)
        if number % 2:  # Otherwise the check does not end by itself.
            Path("/tmp", word).touch()
    done = finish(started, LIMIT)
    assert done.rc == 2, done.output
    line = next(line for line in done.output.splitlines() if "lost the mutex" in line)
    print(f"round {number}: {line[line.index('lost the mutex') :][:200]}")
    assert at_work(c1) == []
    assert in_force(site, env) == before
