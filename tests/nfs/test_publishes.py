# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the second client sees what the first publishes."""

from __future__ import annotations

import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import OWNER, Client, Counts, NfsSite
from ansible_collections.uvnas.cluster.tests.support.sites import Run
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel

# Seconds that the page *NFS* promises with default options: the defaults of acdirmax and acregmax, and a little more.
PROMISED = 60 + 10
# Timeout in seconds with options under which it takes longer.
PATIENCE = 90
LONG = "nocto,actimeo=600"
WHEELS = Path("/run/wheels-of-publishes")
PARTS = 4
# Imports what it is told to, and prints where that comes from.
JOB = """
import importlib, sys
for line in sys.stdin:
    part = importlib.import_module(line.strip())
    print(part.VERSION, part.__file__, flush=True)
"""
# Looks repeatedly, as starting jobs do, and prints when it sees another one.
WATCH = """
import os, sys, time
path, limit = sys.argv[1], float(sys.argv[2])
def look():
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
first = look()
print(first, flush=True)
end = time.monotonic() + limit
while look() == first and time.monotonic() < end:
    time.sleep(0.1)
print(time.clock_gettime(time.CLOCK_MONOTONIC) if look() != first else "never", flush=True)
"""
# What the modules do.
PUBLISH = """
import sys
sys.path.insert(0, "/checkout/.collections")
from ansible_collections.uvnas.cluster.plugins.module_utils.host.files import replace_symlink
replace_symlink(*sys.argv[1:])
"""


def talk(process: subprocess.Popen[str], line: str) -> list[str]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline().split()


def on(client: Client, *command: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        client.command(*command, user=OWNER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def publish(site: NfsSite, converged: Run) -> t.Callable[[int], None]:
    """Publish a version of an environment on c1."""

    def publish_version(version: int) -> None:
        parts = {f"part{number}.py": f"VERSION = {version}\n" for number in range(PARTS)}
        write_small_wheel(WHEELS, "parts", str(version), more=parts)
        index = {"find_links": ["/state/wheels", str(WHEELS)], "offline": True}
        done = site.envs([{"name": "job", "requirements": [f"parts=={version}"]}], uvnas_index=index)
        assert done.rc == 0, done.output

    return publish_version


def test_jobs_keep_their_generation(
    site: NfsSite, clients: dict[str, Client], publish: t.Callable[[int], None], counts: Counts
) -> None:
    """Jobs on c2 import lazily, started by path and activated, during three publishes on c1."""
    member = clients["c2"]
    member.mount()
    publish(1)
    env = site.share / "envs" / "job"
    jobs = {
        "by path": on(member, env / "bin" / "python", "-u", "-c", JOB),
        "activated": on(member, "sh", "-c", f'. {env}/bin/activate && exec python -u -c "$1"', "sh", JOB),
    }
    try:
        found = [talk(job, "part0") for job in jobs.values()]
        for version in range(2, PARTS + 1):
            published = time.monotonic()
            publish(version)
            found += [talk(job, f"part{version - 1}") for job in jobs.values()]
            while site.run_python_on(member, "job", "import part0; print(part0.VERSION)") != str(version):
                assert time.monotonic() < published + PROMISED
                time.sleep(0.5)
        generations = {Path(file).parts[:7] for _version, file in found}
        assert {version for version, _file in found} == {"1"}
        assert len(generations) == 1, generations
    finally:
        for job in jobs.values():
            job.kill()
            job.communicate()


# Mount options, and for how many seconds before a publish c2 looks: what it has seen for longer it caches for longer.
OPTIONS = {
    "default": (1, 20, 45),
    "actimeo=3": (1, 20),
    "noac": (1, 20),
    "lookupcache=none": (1, 20),
    "nocto": (1, 20),
    LONG: (1,),
}


@pytest.fixture
def member(clients: dict[str, Client]) -> t.Iterator[Client]:
    """The second client, mounted as before in the end."""
    yield clients["c2"]
    clients["c2"].mount()


def seen_after(site: NfsSite, clients: dict[str, Client], link: Path, target: str, before: float = 0) -> float | None:
    """Seconds until a process on c2 sees what c1 publishes; None if it does not. It starts looking ``before`` seconds
    earlier."""
    watching = on(clients["c2"], "python3", "-c", WATCH, link, str(PATIENCE))
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline().strip() != target
        time.sleep(before)
        clients["c1"].run("python3", "-c", PUBLISH, target, link, user=OWNER)
        published = time.monotonic()
        printed = watching.stdout.readline().strip()
        return None if printed == "never" else max(0.0, float(printed) - published)
    finally:
        watching.kill()
        watching.communicate()


@pytest.mark.parametrize("options", OPTIONS)
def test_seen_after(
    site: NfsSite, converged: Run, clients: dict[str, Client], member: Client, counts: Counts, options: str
) -> None:
    member.mount("vers=4.2" if options == "default" else f"vers=4.2,{options}")
    link = site.share / "envs" / "watched"
    generation = f"../generations/tools/{(site.exported / 'envs' / 'tools').readlink().name}"
    clients["c1"].run("python3", "-c", PUBLISH, "nothing", link, user=OWNER)
    member.run("ls", link.parent, user=OWNER)
    found = {before: seen_after(site, clients, link, f"{generation}-{before}", before) for before in OPTIONS[options]}
    counts.note(f"seen after, {options}", found)
    clients["c1"].run("rm", link, user=OWNER)
    # The last one may or may not see it: nothing is promised.
    assert options == LONG or all(seconds is not None and seconds < PROMISED for seconds in found.values())


def test_a_negative_lookup_is_cached(
    site: NfsSite, converged: Run, clients: dict[str, Client], member: Client, counts: Counts
) -> None:
    """A first publish stays invisible for a while."""
    member.mount()
    link = site.share / "envs" / "new"
    seconds = seen_after(site, clients, link, "../generations/tools/new")
    counts.note("seen after, never before", [seconds])
    clients["c1"].run("rm", link, user=OWNER)
    assert seconds is not None
    assert seconds < PROMISED
