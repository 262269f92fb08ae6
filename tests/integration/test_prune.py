# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prune.yml on a real site: what nobody uses goes, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import transcripts
from ansible_collections.uvnas.cluster.tests.support.pythons import owner
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, Site, finish, make_site

NAME = "train"
VERSIONS = ("1.14.0", "1.15.0", "1.16.0", "1.17.0")
NOW = {"generations": 1, "days": 0}
DOWN = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_retries": 0}


def unreadable() -> list[str]:
    """The hosts of a machine whose root may not look at all processes, as in some containers: pid 1 may use any."""
    try:
        os.readlink("/proc/1/exe")
    except PermissionError:
        return ["dev1", "node001"]
    return []


def env(version: str, **more: t.Any) -> dict[str, t.Any]:
    return {"name": NAME, "requirements": [f"six=={version}"], **more}


class Life(t.NamedTuple):
    """A site with an environment of which four generations were in force, one after the other."""

    site: Site
    ids: tuple[str, ...]

    @property
    def generations(self) -> Path:
        return self.site.share / "generations" / NAME

    def there(self) -> list[str]:
        """What is below the environment's generations, hidden names too."""
        return sorted(os.listdir(self.generations)) if self.generations.exists() else []

    def start(
        self, *options: str, playbook: str = "prune.yml", envs: list[dict[str, t.Any]] | None = None, **variables: t.Any
    ) -> t.Any:
        left_out = [
            *(host for host in unreadable() if host in self.site.hosts),
            *variables.pop("uvnas_prune_without", []),
        ]
        given = {"uvnas_keep": NOW, "uvnas_prune_settle": 1, "uvnas_prune_without": left_out, **variables}
        declared = [env("1.17.0")] if envs is None else envs
        return self.site.start(declared, *options, playbook=ROOT / "playbooks" / playbook, **given)

    def prune(self, *options: str, **variables: t.Any) -> Run:
        return finish(self.start(*options, **variables))

    def python(self, generation: str) -> Path:
        return self.generations / generation / "bin" / "python"


@pytest.fixture(scope="module")
def built(public: Path) -> Life:
    share = {"name": "nas_a", "root": str(public / "site" / "nas" / "uv"), "builder": "dev1", "owner": owner()}
    site = make_site(public / "site", {"uvnas_shares": [share]}, hosts={"dev1": None, "node001": None})
    ids = []
    for version in VERSIONS:
        run = site.run([env(version)])
        assert run.rc == 0, run.output
        ids.append(os.path.basename(str(site.link(NAME))))
    return Life(site, tuple(ids))


@pytest.fixture
def life(built: Life) -> Life:
    """The same again, and retired in the same order, whatever a test has removed: the cache has it all."""
    are_there = all(built.python(generation).exists() for generation in built.ids)
    for version in VERSIONS[-1:] if are_there else VERSIONS:
        run = built.site.envs([env(version)])
        assert run.rc == 0, run.output
    assert os.path.basename(str(built.site.link(NAME))) == built.ids[-1]
    return built


@contextlib.contextmanager
def running(python: Path) -> t.Iterator[int]:
    """A process, pure Python, that has nothing open, and nothing in its variables; and its pid."""
    code = "import os, sys; os.closerange(3, 99); print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [python, "-c", code], cwd="/", env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        try:
            yield child.pid
        finally:
            assert child.stdin is not None
            child.stdin.close()
    assert child.returncode == 0


def test_the_page_as_it_is(life: Life) -> None:
    """Each command of *Making room* is typed, and says what is shown; a check foretells what is done then."""
    life = life._replace(site=dataclasses.replace(life.site, hosts={"dev1": None}))
    report = life.site.path / "prune.json"
    page = (ROOT / "docs" / "docsite" / "rst" / "prune.rst").read_text()
    typed = [command for session in transcripts.sessions(page) for command in session]
    assert [command.text.split()[3:] for command in typed] == [
        ["uvnas.cluster.prune", "--check"], ["uvnas.cluster.prune"], ["uvnas.cluster.usage"],
    ]  # fmt: skip
    reports = []
    with running(life.python(life.ids[1])) as pid:
        for command in typed:
            before = life.there()
            playbook = f"{command.text.split()[3].partition('cluster.')[2]}.yml"
            run = life.prune(*command.text.split()[4:], playbook=playbook, uvnas_report_file=str(report))
            assert run.rc == 0, run.output
            assert transcripts.fits(command.output, run.output), run.output
            reports.append(json.loads(report.read_text()))
            assert life.there() == before or playbook == "prune.yml"
            assert before == sorted(life.ids) or "--check" not in command.text
        assert life.there() == sorted(life.ids[1:])
    (foretold,), (done,) = reports[0]["shares"], reports[1]["shares"]
    freed = [each.pop("freed") for each in (foretold, done)]
    assert foretold == done
    assert [fact["name"] for fact in done["removed"]] == [f"{NAME}/{life.ids[0]}"]
    (kept,) = done["in_use"]
    (why,) = kept["why"]
    assert (kept["name"], str(pid) in why) == (f"{NAME}/{life.ids[1]}", True)
    assert freed[0]["inodes"] > 10
    told = finish(life.site.start([env("1.17.0")], playbook=ROOT / "playbooks" / "history.yml", uvnas_env=NAME))
    assert re.search(rf"remove +{NAME} +{life.ids[0]} .*: pruned", told.output), told.output


def test_what_has_ended_goes_and_then_nothing_is_left_to_do(life: Life) -> None:
    with running(life.python(life.ids[0])) as pid:
        info = life.prune(playbook="info.yml")
        assert info.rc == 0, info.output
        assert re.search(rf"{life.ids[0]} .*safe to remove: no, dev1: pid {pid} \(python", info.output), info.output
        assert re.search(rf"{life.ids[1]} .*safe to remove: yes", info.output)
    run = life.prune()
    assert (run.rc, run.changed) == (0, 2), run.output
    assert life.there() == sorted(life.ids[2:])
    again = life.prune()
    assert (again.rc, again.changed) == (0, 0), again.output
    assert "nothing to remove" in again.output
    assert life.site.packages(NAME) == {"six": "1.17.0"}


def test_days_keep_what_was_retired_lately(life: Life) -> None:
    run = life.prune(uvnas_keep={"generations": 0})
    assert run.rc == 0, run.output
    assert "retired for 0 of 30 days" in run.output
    assert life.there() == sorted(life.ids)


def test_what_starts_between_question_and_removal_is_put_back(life: Life) -> None:
    pruning = life.start(uvnas_prune_settle=8)
    aside = f".{life.ids[0]}.uvnas-aside"
    deadline = time.monotonic() + 120
    while aside not in life.there():
        assert pruning.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # As with an NFS client that still knows the way.
    with running(life.python(aside)) as pid:
        run = finish(pruning)
        assert run.rc == 0, run.output
        assert f"pid {pid} (python" in run.output
        assert life.there() == sorted({*life.ids} - {life.ids[1]})
    assert (
        subprocess.check_output([life.python(life.ids[0]), "-c", "import six; print(six.__version__)"]) == b"1.14.0\n"
    )


def test_one_that_is_killed_is_ended_by_the_next(life: Life) -> None:
    pruning = life.start(uvnas_prune_settle=100)
    aside = f".{life.ids[0]}.uvnas-aside"
    deadline = time.monotonic() + 120
    while aside not in life.there():
        assert pruning.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pruning.kill()
    pruning.communicate()
    assert life.site.run([env("1.17.0")]).rc == 0
    assert aside in life.there()  # site.yml leaves it to the next prune.
    with running(life.python(aside)):
        run = life.prune()
        assert run.rc == 0, run.output
        assert life.there() == sorted({*life.ids} - {life.ids[1]})
    assert life.prune().rc == 0
    assert life.there() == sorted(life.ids[2:])


def test_a_held_generation_stays(life: Life) -> None:
    held = {"playbook": ROOT / "playbooks" / "rollback.yml", "uvnas_env": NAME, "uvnas_generation": life.ids[0]}
    assert finish(life.site.start([env("1.17.0")], **held)).rc == 0
    try:
        run = life.prune(uvnas_keep={"generations": 0, "days": 0})
        assert run.rc == 0, run.output
        assert life.there() == [life.ids[0]]
    finally:
        released = {"playbook": ROOT / "playbooks" / "release.yml", "uvnas_env": NAME}
        assert finish(life.site.start([env("1.17.0")], **released)).rc == 0


def test_a_member_that_does_not_answer_keeps_everything_unless_the_admin_says_so(life: Life) -> None:
    # And another one that uses no share, and is the first of all.
    hosts = {"admin": {**DOWN, "uvnas_host_shares": []}, "dev1": None, "node001": None, "node17": DOWN}
    site = Site(life.site.path, life.site.python, life.site.variables, hosts)
    down = Life(site, life.ids)
    run = down.prune()
    assert run.rc == 0, run.output
    assert re.search(rf"{NAME} {life.ids[0]} +stays +node17 did not answer", run.output)
    assert re.findall(r"(\w+)\]: UNREACHABLE", run.output) == ["node17"]
    assert life.there() == sorted(life.ids)
    run = down.prune("--limit", "dev1")
    assert "node17 is not among the hosts of this run (--limit?)" in run.output
    assert life.there() == sorted(life.ids)
    run = down.prune("--limit", "node001")
    assert run.rc == 0, run.output
    assert "nothing is removed: its builder dev1 is not among the hosts of this run (--limit?)" in run.output
    wrong = down.prune(uvnas_prune_without=["nod17", "job:4711"])
    assert wrong.rc != 0
    assert "uvnas_prune_without: nod17 is no host of this inventory; did you mean node17?" in wrong.output
    assert "job:4711 is no job; write job:<cluster>/<number>" in wrong.output
    run = down.prune(uvnas_prune_without=["node17"])
    assert run.rc == 0, run.output
    assert life.there() == sorted(life.ids[2:])


def test_site_yml_prunes_only_if_it_is_told_to(life: Life) -> None:
    told = {"uvnas_keep": NOW, "uvnas_prune_settle": 1, "uvnas_prune_without": unreadable()}
    run = life.site.run([env("1.17.0")], **told)
    assert run.rc == 0, run.output
    assert life.there() == sorted(life.ids)
    run = life.site.run([env("1.17.0")], **told, uvnas_prune=True)
    assert run.rc == 0, run.output
    assert life.there() == sorted(life.ids[2:])


def test_a_removed_environment_goes_whatever_is_kept(life: Life) -> None:
    absent = [{"name": NAME, "state": "absent"}]
    with running(life.python(life.ids[3])) as pid:
        assert life.site.run(absent).rc == 0
        assert life.there() == sorted(life.ids)
        run = life.prune(envs=absent, uvnas_keep={})
        assert run.rc == 0, run.output
        assert f"pid {pid} (python" in run.output
        assert life.there() == [life.ids[3]]
    run = life.prune(envs=absent, uvnas_keep={})
    assert run.rc == 0, run.output
    assert not life.generations.exists()
    assert not [name for name in os.listdir(life.site.share / "locks") if name.startswith(NAME)]
