# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at random moments of prunes, UVNAS_SOAK_KILLS of them, while somebody may use an old generation.

Each site.yml before leaves a generation, an interpreter and a version of uv behind.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import random
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import contents, pythons
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Site, finish, make_site
from ansible_collections.uvnas.cluster.tests.support.soaking import chance, kill, number

KILLS = number("UVNAS_SOAK_KILLS", 200)
UVS = ("0.13.9", "0.13.8")
OTHER_PYTHON = f"{pythons.VERSION.rpartition('.')[0]}.{9 - int(pythons.VERSION[-1])}".rjust(len(pythons.VERSION), "0")
# No other test has an environment of this name, whose processes this machine may run, too.
NAME = "soaked"
# Imports only at its end.
LAZY = "import sys; print('up', flush=True); sys.stdin.read(); import idna, six; print(idna.__file__)"


class Soak:
    """A site whose environment alternates between two states, and prunes of its share."""

    def __init__(self, site: Site) -> None:
        self.site, self.share = site, site.share
        first = Path(site.variables["uvnas_site_pythons"][0]["archive"])
        second = first.with_name("other.tar.gz")
        pythons.relabel(first, second, OTHER_PYTHON)
        self.archives = {pythons.VERSION: first, OTHER_PYTHON: second}
        self.generations = site.share / "generations" / NAME
        self._report = site.path / "prune.json"

    def publish(self, turn: int) -> None:
        """Bring the share to one of the states."""
        version, archive = list(self.archives.items())[turn % 2]
        self.envs = [{"name": NAME, "python": version, "requirements": [f"six==1.{16 + turn % 2}.0", "idna"]}]
        supplied = {"name": "site", "version": version, "archive": str(archive)}
        self.variables = {"uvnas_uv_version": UVS[turn % 2], "uvnas_site_pythons": [supplied]}
        run = self.site.run(self.envs, **self.variables)
        assert run.rc == 0, run.output

    def start(self) -> subprocess.Popen[str]:
        given = {
            "uvnas_keep": {"generations": 0, "days": 0},
            "uvnas_prune_settle": 1,
            # Root may not look at all processes of some machines. Those that it sees keep what they use all the same.
            "uvnas_prune_without": ["builder"],
            "uvnas_report_file": str(self._report),
        }
        return self.site.start(self.envs, playbook=ROOT / "playbooks" / "prune.yml", **{**given, **self.variables})

    def prune(self) -> float:
        """A prune that is not killed, after which all is gone that nobody needs or uses; and its seconds."""
        begin = time.monotonic()
        noted = self.noted()
        run = finish(self.start())
        assert run.rc == 0, run.output
        (told,) = json.loads(self._report.read_text())["shares"]
        # Other processes of this machine may run the same interpreter and uv.
        stays = {fact["name"] for fact in (*told["kept"], *told["in_use"])}
        assert {f"{NAME}/{name}" for name in self.there()} - stays == {f"{NAME}/{self.in_force()}"}
        left = {path.name for path in self.share.glob("python/cpython-3.*.*-*")} - stays - self.interpreters()
        # One that nothing needs any more is noted first, and goes with the next prune.
        assert left <= self.noted() - noted
        assert {path.name for path in self.share.glob("lib/uv/*")} <= {*stays, self.variables["uvnas_uv_version"]}
        hidden = [
            path for where in ("generations/*", "python", "lib/uv") for path in self.share.glob(f"{where}/.*uvnas-*")
        ]
        assert hidden == []
        return time.monotonic() - begin

    def there(self) -> list[str]:
        """The environment's generations."""
        return sorted(name for name in os.listdir(self.generations) if not name.startswith("."))

    def in_force(self) -> str:
        return os.path.basename(self.site.link(NAME) or "")

    def interpreters(self) -> set[str]:
        """Those that a generation needs."""
        return {(self.generations / name / "bin" / "python").resolve().parents[1].name for name in self.there()}

    def noted(self) -> set[str]:
        """Those that nothing needs, by what prunes have noted."""
        record = json.loads((self.share / "locks" / "pythons.json").read_text())["interpreters"]
        return {key for key, about in record.items() if "unneeded" in about}

    def is_whole(self) -> None:
        """All of what is in force."""
        assert contents.faults_of(self.share, self.archives, {NAME: ["six", "idna"]}) == []

    @contextlib.contextmanager
    def somebody_on(self, generation: str) -> t.Iterator[None]:
        """A process that uses a generation, and in the end finds in it what it has not imported before."""
        python = self.generations / generation / "bin" / "python"
        with subprocess.Popen([python, "-B", "-c", LAZY], stdin=-1, stdout=-1, cwd="/", env={}, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "up\n"
            yield
            said, _nothing = child.communicate("")
            assert child.returncode == 0
            assert said.startswith(str(python.parents[1]))


@pytest.fixture(scope="module")
def soak(public: Path) -> t.Iterator[Soak]:
    """Its NAS is in memory, so that prunes are quick, and so are kills."""
    site = make_site(public / "site", {"uvnas_min_free_bytes": 0})
    nas = site.share.parent
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=0755", "tmpfs", nas], check=True)
    try:
        yield Soak(site)
    finally:
        subprocess.run(["umount", "--lazy", nas], check=True)


def killed(soak: Soak, delay: float, random_numbers: random.Random) -> str:
    """Start a prune, and kill it after ``delay`` seconds unless it has ended."""
    running = soak.start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(finish, running)
        concurrent.futures.wait([run], timeout=delay)
        how = kill(running.pid, random_numbers) if running.poll() is None else "none: it was done"
        return f"{how} after {delay:.2f} s, which ended with {run.result().rc}"


def test_kills_take_nothing_away_and_the_next_prune_ends_it(soak: Soak) -> None:
    random_numbers = chance("prune kills")
    soak.publish(0)
    seconds = soak.prune()
    moments = dict.fromkeys(("before", "aside", "removed"), 0)
    for turn in range(1, KILLS // 2 + 1):
        old = soak.in_force()
        soak.publish(turn)
        new, is_used = soak.in_force(), random_numbers.random() < 0.3
        with soak.somebody_on(old) if is_used else contextlib.nullcontext():
            for what in ("generation", "interpreter"):  # It is unneeded once no generation is there that needs it.
                how = killed(soak, random_numbers.uniform(seconds / 5, seconds), random_numbers)
                assert soak.in_force() == new
                soak.is_whole()
                there = os.listdir(soak.generations)
                assert old in there or not is_used
                moment = "before" if old in there else "aside" if f".{old}.uvnas-aside" in there else "removed"
                if what == "generation":
                    moments[moment] += 1
                print(f"{turn} {what}: killed {how}; {old} {moment}; used: {is_used}", flush=True)
                seconds = soak.prune()
                soak.is_whole()
                assert (old in soak.there()) == is_used
    print(f"when killed, the old generation was: {moments}")
