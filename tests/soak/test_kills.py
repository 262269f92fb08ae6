# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at random moments of whole converges, UVNAS_SOAK_KILLS of them, while people use the environments.

Each converge switches uv, installs an interpreter, writes locks, builds and publishes two environments.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import random
import shutil
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import contents, pythons
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, finish, make_site
from ansible_collections.uvnas.cluster.tests.support.soaking import chance, kill, number

KILLS = number("UVNAS_SOAK_KILLS", 200)
UVS = ("0.13.9", "0.13.8")
OTHER_PYTHON = f"{pythons.VERSION.rpartition('.')[0]}.{9 - int(pythons.VERSION[-1])}".rjust(len(pythons.VERSION), "0")
# Of the two states that converges alternate between, by environment.
PACKAGES = (
    {"one": ["six", "markupsafe", "attrs"], "two": ["six", "idna", "pluggy"]},
    {"one": ["six", "markupsafe", "iniconfig"], "two": ["six", "idna", "packaging"]},
)
# What people do all the time: check that all they import is from one generation.
USE = """
import sys, six, {module}
roots = {{m.__file__.partition("/lib/")[0] for m in (six, {module})}}
assert roots == {{sys.prefix}}, roots
"""
USES = {"one": USE.format(module="markupsafe"), "two": USE.format(module="idna")}


class State(t.NamedTuple):
    """A wanted state of the site as variables, and what must then be there."""

    envs: list[dict[str, t.Any]]
    variables: dict[str, t.Any]
    imports: dict[str, list[str]]


class People:
    """Users of a share's environments, in a thread."""

    def __init__(self, share: Path) -> None:
        self.runs, self.failures = 0, list[str]()
        self.absent = threading.Lock()
        self._share, self._end = share, threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._end.is_set():
            for env, code in USES.items():
                with self.absent:
                    cmd = [self._share / "envs" / env / "bin" / "python", "-I", "-c", code]
                    try:
                        done = subprocess.run(cmd, env={}, capture_output=True, text=True, check=False)
                        if done.returncode:
                            self.failures.append(f"{env}: {done.returncode} {done.stderr}")
                    except OSError as error:
                        self.failures.append(f"{env}: {error}")
                    self.runs += 1
                time.sleep(0.2)

    @contextlib.contextmanager
    def at_work(self) -> t.Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._end.set()
            self._thread.join()


@pytest.fixture(scope="module")
def site(public: Path) -> t.Iterator[Site]:
    """A site whose NAS is in memory, so that converges are quick, and so are kills."""
    made = make_site(public / "site", {"uvnas_min_free_bytes": 0})
    nas = made.share.parent
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=0755", "tmpfs", nas], check=True)
    try:
        yield made
    finally:
        subprocess.run(["umount", "--lazy", nas], check=True)


@pytest.fixture(scope="module")
def archives(site: Site) -> dict[str, Path]:
    """The archives of the two interpreters, by version."""
    first = Path(site.variables["uvnas_site_pythons"][0]["archive"])
    second = first.with_name("other.tar.gz")
    pythons.relabel(first, second, OTHER_PYTHON)
    return {pythons.VERSION: first, OTHER_PYTHON: second}


@pytest.fixture(scope="module")
def states(archives: dict[str, Path]) -> list[State]:
    found = []
    for uv, (version, archive), packages in zip(UVS, archives.items(), PACKAGES, strict=True):
        envs = [
            {"name": name, "python": version, "requirements": wanted, "imports": wanted}
            for name, wanted in packages.items()
        ]
        supplied = {"name": "site", "version": version, "archive": str(archive)}
        found.append(State(envs, {"uvnas_uv_version": uv, "uvnas_site_pythons": [supplied]}, packages))
    return found


def killed(site: Site, state: State, delay: float, random_numbers: random.Random) -> tuple[str, Run]:
    """Start a run, and kill it after ``delay`` seconds unless it has ended."""
    running = site.start(state.envs, **state.variables)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(finish, running)
        concurrent.futures.wait([run], timeout=delay)
        how = kill(running.pid, random_numbers) if running.poll() is None else "none: it was done"
        return how, run.result()


def tidy(share: Path) -> None:
    """Remove what is not in force, as admins do by hand, so that the next converge has work."""
    kept = {(share / "envs" / env).resolve() for env in contents.in_force(share)}
    pythons_kept = {(path / "bin" / "python").resolve().parents[1] for path in kept}
    for path in [*share.glob("generations/*/*"), *share.glob("python/cpython-*"), *share.glob("lib/uv/[0-9]*")]:
        if path not in kept | pythons_kept and path != (share / "bin" / "uv").resolve().parent:
            subprocess.run(["chmod", "-R", "u+w", path], check=True)
            shutil.rmtree(path)


def converge(site: Site, state: State) -> float:
    """Run, which must succeed, and return the seconds."""
    begin = time.monotonic()
    run = site.run(state.envs, **state.variables)
    assert run.rc == 0, run.output
    return time.monotonic() - begin


def test_kills_break_nothing_that_is_in_force_and_the_next_run_heals(
    site: Site, archives: dict[str, Path], states: list[State]
) -> None:
    random_numbers = chance("kills")
    for state in (*states, states[0]):  # Download everything, and check that both work.
        seconds = converge(site, state)
        tidy(site.share)
    people = People(site.share)
    with people.at_work():
        for turn in range(KILLS):
            state, delay = states[(turn + 1) % 2], random_numbers.uniform(0, seconds)
            before = {env: site.link(env) for env in state.imports}
            how, ended = killed(site, state, delay, random_numbers)
            # Each environment must be in one of the two states.
            either = {env: ["six"] for env in state.imports}
            assert contents.in_force(site.share) == sorted(state.imports)
            assert contents.faults_of(site.share, archives, either) == []
            moved = [env for env, link in before.items() if site.link(env) != link]
            print(
                f"{turn}: killed {how} after {delay:.2f} s, which ended with {ended.rc}; published {moved}", flush=True
            )
            took = converge(site, state)
            # If the killed run did nothing, that was a full converge: its time on a machine this busy.
            seconds = took if ended.rc and not moved else seconds
            assert contents.faults_of(site.share, archives, state.imports) == []
            assert people.failures == []
            with people.absent:
                tidy(site.share)
    assert people.failures == []
    print(f"{people.runs} runs of environments meanwhile")
