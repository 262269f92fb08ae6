# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""repair.yml on NFS: damage on the server and by a client, under processes of both clients, and what NFS keeps."""

from __future__ import annotations

import contextlib
import json
import random
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import damages
from ansible_collections.uvnas.cluster.tests.support.damages import ADD, DELETE, EDIT, LINK, MODE, State
from ansible_collections.uvnas.cluster.tests.support.nfs import OTHER, OWNER, TOOLS, UIDS, Client, NfsSite, make_site
from ansible_collections.uvnas.cluster.tests.support.repairs import VERIFY, places
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, finish

ENVS: list[dict[str, t.Any]] = [TOOLS, {"name": "more", "requirements": ["six", "attrs", "idna"], "imports": ["idna"]}]
REPAIR = ROOT / "playbooks" / "repair.yml"
COLLECTIONS = ROOT / ".collections"
# What each of two damages: the packages, or the interpreter. uv, and the archive of that, are repaired from elsewhere.
PACKAGES, INTERPRETER = ("lib", "python-archives", "python"), (
    "lib", "python-archives", "generations", "cache", "bytecode",
)  # fmt: skip
COUNT = 60
# As the owner, on a client.
DAMAGE = """
import json, os, random, sys
from pathlib import Path
share, collections, uid, seed, count, but = sys.argv[1:]
sys.path.insert(0, collections)
from ansible_collections.uvnas.cluster.tests.support import damages
os.setgroups([]); os.setgid(int(uid)); os.setuid(int(uid))
done = damages.do_damage(Path(share), random.Random(seed), int(count), but=json.loads(but))
print(json.dumps([[each.kind, str(each.path)] for each in done]))
"""
# Has an extension mapped, and imports what is left when it is told to.
LAZY = """
import sys, markupsafe._speedups
print("ready", flush=True)
sys.stdin.readline()
import six, markupsafe.{module}
print(six.__file__, flush=True)
"""
# Has a file open, and reads it when it is told to.
READER = """
import sys
with open(sys.argv[1], "rb") as file:
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(file.read()), flush=True)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, clients: dict[str, Client]) -> NfsSite:
    site = make_site(tmp_path_factory.mktemp("repaired"), clients)
    run = site.run(ENVS)
    assert run.rc == 0, run.output
    return site


def as_owner(client: Client, code: str, *arguments: str | Path) -> t.Any:
    """What code that becomes the owner by itself prints on a client, as JSON."""
    done = client.run("/usr/bin/python3", "-c", code, *arguments, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def verify(site: NfsSite, client: Client) -> dict[str, str]:
    """What a client finds, by path below the share's root. Without what it has in its cache."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    return places(as_owner(client, VERIFY, site.share, COLLECTIONS))


def repair(site: NfsSite) -> Run:
    run = finish(site.start(ENVS, playbook=REPAIR, uvnas_repair_remove=True))
    assert run.rc == 0, run.output
    return run


@contextlib.contextmanager
def running(client: Client, *command: str | Path) -> t.Iterator[t.Callable[[], str]]:
    """A process of somebody. When it is called, it goes on, and what it prints is returned."""
    with subprocess.Popen(
        client.command(*command, user=OTHER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        stdin, stdout = started.stdin, started.stdout

        def go_on() -> str:
            stdin.write("\n")
            stdin.flush()
            return stdout.readline().strip()

        try:
            assert stdout.readline() == "ready\n"
            yield go_on
        finally:
            started.kill()


def without(state: State, names: t.Container[str]) -> State:
    facts, files = (
        {name: each for name, each in found.items() if name not in names} for found in (state.facts, state.files)
    )
    return State(facts, t.cast(t.Any, files))


def missed(site: NfsSite, before: State, done: t.Iterable[str], found: t.Mapping[str, str]) -> list[str]:
    """What should have been found, under any of its names."""
    names = before.together()
    return [name for name in done if not {name, *names.get(name, ())} & {*found}]


@pytest.mark.parametrize("swapped", [False, True])
def test_damage_is_found_and_repaired_and_all_is_as_before(
    site: NfsSite, clients: dict[str, Client], swapped: bool
) -> None:
    here, there = (INTERPRETER, PACKAGES) if swapped else (PACKAGES, INTERPRETER)
    before = State.of(site.exported)
    on_the_server = damages.do_damage(site.exported, random.Random(16), COUNT, but=here)
    done = [str(each.path.relative_to(site.exported)) for each in on_the_server]
    arguments = [site.share, COLLECTIONS, str(UIDS[OWNER]), "17", str(COUNT), json.dumps(there)]
    by_a_client = as_owner(clients["c1"], DAMAGE, *arguments)
    done += [str(Path(path).relative_to(site.share)) for _kind, path in by_a_client]
    found = verify(site, clients["c1"])
    assert missed(site, before, done, found) == []
    # Another client sees the same.
    assert verify(site, clients["c2"]) == found
    run = repair(site)
    assert "nothing" not in run.output.partition("Summary")[2].partition("PLAY RECAP")[0]
    assert verify(site, clients["c1"]) == verify(site, clients["c2"]) == {}
    assert before.differences(State.of(site.exported)) == []
    for env, module in (("tools", "markupsafe"), ("more", "attrs")):
        assert site.run_python_on(clients["c2"], env, f"import {module}; print({module}.__name__)") == module


def test_what_runs_goes_on_importing(site: NfsSite, clients: dict[str, Client]) -> None:
    """By what is renamed over: a client that has the old one open keeps it, as long as the server does."""
    before = State.of(site.exported)
    python = site.share / "envs" / "tools" / "bin" / "python"
    with contextlib.ExitStack() as stack:
        going = [
            stack.enter_context(running(client, python, "-B", "-c", LAZY.format(module="_native")))
            for client in clients.values()
        ]
        kinds = (DELETE, LINK, EDIT, ADD, MODE)
        damages.do_damage(site.exported, random.Random(18), COUNT, kinds, but=PACKAGES)
        repair(site)
        for go_on in going:
            assert go_on().startswith(str(site.share / "generations" / "tools"))
    assert before.differences(State.of(site.exported)) == []


def test_what_somebody_has_open_is_kept_by_nfs_and_is_no_damage(site: NfsSite, clients: dict[str, Client]) -> None:
    """When it is closed, the client cannot remove it, as its directory is sealed by then. A later repair does."""
    before = State.of(site.exported)
    place = next(name for name in before.facts if re.fullmatch(r"generations/tools/[0-9a-f]+/lib/.*/six\.py", name))
    path = site.exported / place

    def kept() -> list[str]:
        return [str(each.relative_to(site.exported)) for each in path.parent.glob(".nfs*")]

    with running(clients["c1"], "/usr/bin/python3", "-c", READER, site.share / place) as reader:
        remove = 'd=$(dirname "$1") && chmod u+w "$d" && rm "$1" && chmod u-w "$d"'
        clients["c1"].run("sh", "-c", remove, "sh", site.share / place, user=OWNER)
        assert {*verify(site, clients["c1"])} == {place}
        repair(site)
        assert len(kept()) == 1
        assert before.differences(without(State.of(site.exported), kept())) == []
        assert verify(site, clients["c1"]) == verify(site, clients["c2"]) == {}
        # What it had open, to the end.
        assert int(reader()) == path.stat().st_size
    assert len(kept()) == 1
    assert verify(site, clients["c1"]) == {}
    repair(site)
    assert before.differences(State.of(site.exported)) == []
