# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a generation from a prune on a cluster: processes, however they were started, jobs, and silent nodes.

The tests go on from one another, in their order.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shlex
import time
import typing as t
from pathlib import Path

import pytest

HOSTS = ("dev1", "node-a1", "node-a2", "node-b1")
ROOT_OF = {"nas_a": "/mnt/nas-a/uv", "nas_b": "/mnt/nas-b/uv"}
OLDEST, OLD, NEW = "1.15.0", "1.16.0", "1.17.0"
NAME = "aged"
PLACE = "/home/alice/jobs/prune"
KILLS = 2
# Neither parents nor a terminal, nothing open, nothing in its variables; and imports nothing any more.
DAEMON = """
import os, sys, time
for _time in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
os.chdir("/")
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
os.closerange(0, 256)
time.sleep(3600)
"""
# Reads from its NAS all the time.
READER = """
import os, sys, time
while True:
    os.stat(sys.prefix + "/pyvenv.cfg")
    time.sleep(0.1)
"""
# Moves the time at which generations were retired, as if that had been some hours ago.
RETIRE = """
import datetime, glob, json, sys
moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=float(sys.argv[1]))
for path in glob.glob("/mnt/nas-*/uv/locks/aged.state.json") + glob.glob("/mnt/nas-*/uv/locks/newer.state.json"):
    with open(path) as file:
        found = json.load(file)
    for past in found["generations"].values():
        if past["retired"]:
            past["retired"] = moment.isoformat()
    with open(path, "w") as file:
        json.dump(found, file)
"""
# An environment that is removed, and with it the need for its interpreter.
NEWER = {"name": "newer", "state": "absent"}

Shares = dict[str, dict[str, t.Any]]


def env(version: str) -> dict[str, t.Any]:
    python = "{{ machines_python }}"
    return {"name": NAME, "python": python, "requirements": [f"six=={version}", "idna"], "imports": ["six"]}


def well(run):
    assert run.rc == 0, run.output
    return run


@pytest.fixture(scope="session")
def prune(site, tmp_path_factory) -> t.Callable[..., Shares]:
    """Runs prune.yml, and returns what it reports of each share."""
    report = tmp_path_factory.mktemp("report") / "prune.json"

    def prune(*options: str, **variables: t.Any) -> Shares:
        well(site(*options, playbook="prune", uvnas_report_file=str(report), **{**SETTINGS, **variables}))
        return {share["name"]: share for share in json.loads(report.read_text())["shares"]}

    return prune


SETTINGS = {
    "uvnas_envs": [env(NEW), NEWER],
    "uvnas_keep": {"generations": 0, "days": 0},
    "uvnas_prune_settle": 1,
}


def named(path: str) -> str:
    """What a report calls a generation or an interpreter."""
    return path.rpartition("/generations/")[2] if "/generations/" in path else Path(path).name


def gone(shares: Shares, share: str) -> set[str]:
    """What goes, of what these tests have built."""
    return {fact["name"] for fact in shares[share]["removed"] if fact["name"].startswith((f"{NAME}/", "cpython-"))}


def why(shares: Shares, share: str, path: str) -> set[str]:
    """Who uses what nothing on its share needs; without the pids of jobs."""
    (fact,) = [fact for fact in shares[share]["in_use"] if fact["name"] == named(path)]
    return {re.sub(r"pid \d+ (.*, job)", r"\1", reason) for reason in fact["why"]}


def generation(machines, share):
    return machines.root("dev1", f"readlink -f {ROOT_OF[share]}/envs/{NAME}").strip()


def listed(machines):
    """The state of all jobs, by their numbers."""
    shown = machines.root("dev1", "squeue --noheader --format '%i %T'")
    return dict(line.split() for line in shown.splitlines())


@dataclasses.dataclass
class Life:
    """The generations of the environment on each share, oldest first, and who uses the oldest."""

    generations: dict[str, list[str]]
    # Slurm's numbers, by what is special about a job.
    jobs: dict[str, str]
    # Of processes that are no jobs, by hosts.
    pids: dict[str, str]
    # What only the environment "newer" needs.
    interpreter: str

    def reasons(self, states: dict[str, str]) -> set[str]:
        """What is said of jobs, by their state."""
        late = "perhaps submitted before it was retired"
        how = {what: "restarted" if what == "requeued" else late for what in self.jobs}
        return {f"machines: job {self.jobs[what]} of alice ({state}), {how[what]}" for what, state in states.items()}

    def running(self, share: str) -> set[str]:
        """What is said of the processes on a share."""
        if share == "nas_a":
            return {
                f"node-a1: (python, alice), job {self.jobs['by path']}",
                f"node-a1: pid {self.pids['node-a1']} (python, alice)",
            }
        return {
            f"node-b1: (python, alice), job {self.jobs['by link']}",
            f"node-b1: pid {self.pids['node-b1']} (python, alice)",
        }


@pytest.fixture(scope="session")
def life(machines, jobs, site, tmp_path_factory) -> t.Iterator[Life]:
    machines.user("dev1", "alice", f"rm -rf {PLACE} && mkdir -p {PLACE}")
    archive = tmp_path_factory.mktemp("python") / "python.tar.gz"
    archive.write_bytes(machines["dev1"].file("/machines/python.tar.gz").content)
    version = machines.root("dev1", "cat /machines/python.version").strip()
    own = {"name": "machines", **{key: f"{{{{ machines_facts.python.{key} }}}}" for key in ("version", "archive")}}
    pythons = [own, {"name": "newer", "version": version, "archive": str(archive)}]
    newer = {"name": "newer", "python": version, "requirements": ["idna"], "shares": ["nas_a"]}
    well(site(uvnas_site_pythons=pythons, uvnas_envs=[env(OLDEST), newer]))
    program = machines.root("dev1", f"readlink -f {ROOT_OF['nas_a']}/envs/newer/bin/python").strip()
    generations = {share: [generation(machines, share)] for share in ROOT_OF}
    a, b = (found[0] for found in generations.values())

    lazy, active = "import time, six; time.sleep(3600)", f"--export=ALL,PATH={a}/bin:/usr/bin:/bin"
    show = "#!/bin/bash\npython -c 'import six; print(six.__version__)'\n"
    numbers = {
        "by path": jobs.submit(f"#!/bin/bash\n{a}/bin/python -c '{lazy}'\n", "-w", "node-a1"),
        "by link": jobs.submit(f"#!/bin/bash\n{ROOT_OF['nas_b']}/envs/{NAME}/bin/python -c '{lazy}'\n", "-p", "b"),
        "between steps": jobs.submit("#!/bin/bash\nsleep 3600\n", "-w", "node-a2"),
        "suspended": jobs.submit("#!/bin/bash\nsleep 3600\n", "-w", "node-a2"),
        "requeued": jobs.submit(f"{show}sleep 3600\n", "-w", "node-a2", active),
        "pending": jobs.submit(show, "-w", "node-a2", "--hold", active),
    }
    daemon = f"{a}/bin/python -c {shlex.quote(DAEMON)} {PLACE}/node-a1"
    machines.user("node-a1", "alice", f"env -i {daemon} </dev/null >/dev/null 2>&1")
    # In a mount namespace of its own, where the NAS is elsewhere.
    program_there = f"/run/box/{b.partition('/mnt/nas-b/')[2]}/bin/python"
    boxed = f"setpriv --reuid alice --regid research --clear-groups env -i {program_there} -c {shlex.quote(DAEMON)}"
    boxed = shlex.quote(f"mount --bind /srv/nas/nas_b /run/box && {boxed} {PLACE}/node-b1")
    machines.root("node-b1", f"mkdir -p /run/box && unshare --mount sh -c {boxed} </dev/null >/dev/null 2>&1")
    wanted = {number: "PENDING" if what == "pending" else "RUNNING" for what, number in numbers.items()}

    def all_started():
        said = f"{a}/bin/python -c 'import six'; ls {PLACE}; cat jobs/{numbers['requeued']}.out"
        words = machines.user("dev1", "alice", f"{said} || true").split()
        return listed(machines) == wanted and {"node-a1", "node-b1", OLDEST} <= set(words)

    machines.wait_until("all have started", all_started, seconds=60)
    pids = {host: machines.user("dev1", "alice", f"cat {PLACE}/{host}") for host in ("node-a1", "node-b1")}

    for version in (OLD, NEW):
        well(site(uvnas_site_pythons=pythons, uvnas_envs=[env(version), NEWER]))
        for share, found in generations.items():
            found.append(generation(machines, share))
    machines.root("dev1", f"scontrol suspend {numbers['suspended']} && scontrol requeue {numbers['requeued']}")
    machines.wait_until("requeued", lambda: listed(machines)[numbers["requeued"]] == "PENDING", seconds=60)
    # After the others were retired, but clocks need not agree on that.
    numbers["late"] = jobs.submit(show, "-w", "node-a2", "--hold")
    machines.root("dev1", "scontrol update nodename=node-a1 state=drain reason=tests")
    yield Life(generations, numbers, pids, str(Path(program).parents[1]))
    end(machines, jobs)


def end(machines, jobs):
    """End all that alice runs."""
    jobs.cancel()
    for host in HOSTS:
        machines.root(host, "pkill -KILL -u alice || true")
    machines.wait_until("no job is left", lambda: not listed(machines), seconds=60)
    machines.root("dev1", "scontrol update nodename=node-a1 state=resume || true")


@pytest.fixture(scope="session")
def retire(machines):
    return lambda *, hours: machines.root("dev1", f"python3 -c {shlex.quote(RETIRE)} {hours}")


def test_whoever_uses_a_generation_keeps_it_and_is_named(life, prune):
    foretold = prune("--check")
    submitted = life.reasons(
        {
            "by path": "running",
            "by link": "running",
            "between steps": "running",
            "suspended": "suspended",
            "requeued": "pending",
            "pending": "pending",
            "late": "pending",
        }
    )
    for share, (oldest, old, _new) in life.generations.items():
        assert why(foretold, share, oldest) == submitted | life.running(share)
        assert why(foretold, share, old) == submitted
        assert gone(foretold, share) == set()


def test_jobs_of_later_keep_nothing_unless_they_were_restarted(life, prune, retire):
    retire(hours=1)
    foretold = prune("--check")
    restarted = life.reasons({"requeued": "pending"})
    for share, (oldest, old, _new) in life.generations.items():
        assert why(foretold, share, oldest) == restarted | life.running(share)
        assert why(foretold, share, old) == restarted


def test_a_check_foretells_what_is_done(machines, jobs, life, prune):
    without = [f"job:machines/{life.jobs['requeued']}"]
    foretold, done = prune("--check", uvnas_prune_without=without), prune(uvnas_prune_without=without)
    for share, (oldest, old, new) in life.generations.items():
        assert gone(done, share) == {named(old)}
        assert why(done, share, oldest) == life.running(share)
        for what in ("removed", "in_use", "kept"):
            assert foretold[share][what] == done[share][what]
        there = machines.root("dev1", f"ls -A {ROOT_OF[share]}/generations/{NAME}").split()
        assert set(there) == {Path(oldest).name, Path(new).name}
    # What it was kept for.
    machines.root("dev1", f"scontrol release {life.jobs['pending']}")
    assert jobs.output(life.jobs["pending"]).split() == [OLDEST]


@pytest.fixture(scope="session")
def ended(machines, jobs, life, retire):
    """All that used a generation has ended."""
    end(machines, jobs)
    retire(hours=0)


@pytest.mark.usefixtures("ended")
def test_slurm_that_does_not_answer_keeps_all(machines, life, prune):
    machines.root("dev1", "systemctl stop slurmctld")
    try:
        silent = prune("--check")
    finally:
        machines.root("dev1", "systemctl start slurmctld")
    for share, (oldest, *_later) in life.generations.items():
        (reason,) = why(silent, share, oldest)
        assert reason.startswith("machines: dev1 cannot list its jobs: squeue has failed: ")
    # It has forgotten when they were booted.
    nodes = "sinfo --noheader --Node --format %t"
    machines.wait_until("nodes answer", lambda: set(machines.root("dev1", nodes).split()) == {"idle"}, seconds=60)


@pytest.fixture
def down(power):
    power.off("node-a2")
    yield
    power.on("node-a2")


@pytest.mark.usefixtures("ended")
def test_a_node_that_is_down_keeps_all_unless_it_was_booted_later_or_is_left_out(life, prune, retire, down):
    oldest = {share: found[0] for share, found in life.generations.items()}
    silent = prune("--check")
    assert why(silent, "nas_a", oldest["nas_a"]) == {"node-a2 did not answer"}
    assert named(oldest["nas_b"]) in gone(silent, "nas_b")
    assert named(oldest["nas_a"]) in gone(prune("--check", uvnas_prune_without=["node-a2"]), "nas_a")
    # It was booted with the machine that the containers run on.
    boot = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    retire(hours=(time.time() - int(boot[1])) / 3600 + 1)
    assert named(oldest["nas_a"]) in gone(prune("--check"), "nas_a")
    retire(hours=0)


@pytest.mark.usefixtures("ended")
def test_a_nas_that_hangs_on_its_builder(machines, life, site):
    with machines.hanging("dev1"):
        run = site(playbook="prune", uvnas_answer_timeout=5, **SETTINGS)
    assert run.rc == 2, run.output
    assert "share nas_a: NOT DONE: /mnt/nas-a/uv has not answered for 5 s on this host" in run.text
    assert "the builder of nas_a did not answer, and it may be in force there" in run.text
    for share, (oldest, *_later) in life.generations.items():
        machines.root("dev1", f"test -e {oldest}/bin/python && test -e {ROOT_OF[share]}/envs/{NAME}/bin/python")


@pytest.mark.usefixtures("ended")
def test_a_nas_that_hangs_and_somebodys_own_environments(machines, life, prune):
    oldest, interpreter = life.generations["nas_a"][0], life.interpreter
    own = "jobs/prune/own"
    machines.user("dev1", "alice", f"{interpreter}/bin/python3 -m venv --without-pip --copies {own}-copied")
    machines.user("dev1", "alice", f"$UVNAS_ROOT/bin/uv venv --python {interpreter}/bin/python3 {own}-linked")
    for host, kind in (("dev1", "copied"), ("node-a2", "linked")):
        own_python = f"env -i {own}-{kind}/bin/python -c {shlex.quote(DAEMON)} {PLACE}/own-{host}"
        machines.user(host, "alice", f"{own_python} </dev/null >/dev/null 2>&1")
    reader = f"su alice -c {shlex.quote(f'env -i {oldest}/bin/python -c {shlex.quote(READER)}')}"
    with machines.hanging("node-a1", first=f"{reader} </dev/null >/dev/null 2>&1 & sleep 2"):
        (pid,) = machines.root("node-a1", "pgrep -u alice").split()
        done = prune()
    assert f"node-a1: pid {pid} (python, alice)" in why(done, "nas_a", oldest)
    owners = {host: machines.user("dev1", "alice", f"cat {PLACE}/own-{host}") for host in ("dev1", "node-a2")}
    assert {re.sub(r"\(.*,", "(", reason) for reason in why(done, "nas_a", interpreter)} == {
        f"{host}: pid {owner} ( alice)" for host, owner in owners.items()
    }
    assert gone(done, "nas_a") == set()
    assert gone(done, "nas_b") == {named(life.generations["nas_b"][0])}
    for host, kind in (("dev1", "copied"), ("node-a2", "linked")):
        machines.user(host, "alice", f"{own}-{kind}/bin/python -c 'import decimal'")
        machines.root(host, f"kill {owners[host]}")


@pytest.mark.usefixtures("ended")
def test_one_that_is_killed_is_ended_by_the_next(machines, life, site, prune):
    """At any moment. In the end, nothing is left of what nobody uses, and nothing is missing."""
    for version in (OLDEST, NEW):
        well(site(uvnas_envs=[env(version), NEWER]))
    before = {share: generation(machines, share) for share in ROOT_OF}
    sessions = "pgrep -f '^sshd: root@notty' | paste -sd, | xargs -r pgrep -P"
    for _time in range(KILLS):
        running = site.start(playbook="prune", **SETTINGS)
        time.sleep(random.uniform(2, 8))
        running.kill()
        running.communicate()
        machines.root("dev1", f"{sessions} | paste -sd, | xargs -r pkill -KILL -s || true")
        assert {share: generation(machines, share) for share in ROOT_OF} == before
        for share in ROOT_OF:
            machines.user("dev1", "alice", f"{before[share]}/bin/python -c 'import idna, six'")
    prune()
    for share, root in ROOT_OF.items():
        assert machines.root("dev1", f"ls -A {root}/generations/{NAME}").split() == [Path(before[share]).name]
    assert machines.root("dev1", f"ls -d {life.interpreter} {ROOT_OF['nas_a']}/generations/newer || true") == ""
    assert well(site(playbook="prune", **SETTINGS)).output.count("nothing to remove") == len(ROOT_OF)


@pytest.mark.usefixtures("ended")
def test_what_is_in_force_is_whole_on_every_host(machines, life, site):
    again = well(site(uvnas_envs=[env(NEW)], uvnas_verify="always"))
    assert set(again.recap("changed").values()) == {0}, again.output
    for host in HOSTS:
        version = machines.user(
            host, "alice", f"$UVNAS_ROOT/envs/{NAME}/bin/python -c 'import idna, six; print(six.__version__)'"
        )
        assert version == NEW
