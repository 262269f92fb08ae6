# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prune.yml on NFS: under processes of the builder and of a member, and what NFS keeps as ``.nfs…``."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.tests.support.nfs import OTHER, OWNER, TOOLS, Client, NfsSite, make_site
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, finish

PRUNE = ROOT / "playbooks" / "prune.yml"
MORE = {**TOOLS, "requirements": [*TOOLS["requirements"], "idna"]}
# Has an extension mapped, and imports another module when it is told to.
NOTEBOOK = """
import sys, markupsafe._speedups
print("ready", flush=True)
sys.stdin.readline()
import six
print(six.__file__, flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, clients: dict[str, Client]) -> NfsSite:
    """A site with an environment of which a generation has been retired."""
    site = make_site(tmp_path_factory.mktemp("pruned"), clients)
    for env in (TOOLS, MORE):
        run = site.run([env])
        assert run.rc == 0, run.output
    return site


@pytest.fixture(scope="module")
def old(site: NfsSite) -> str:
    (found,) = {path.name for path in generations(site).iterdir()} - {os.path.basename(str(link(site)))}
    return found


def generations(site: NfsSite) -> Path:
    return site.exported / "generations" / "tools"


def link(site: NfsSite) -> str:
    return os.readlink(site.exported / "envs" / "tools")


def there(site: NfsSite) -> list[str]:
    return sorted(os.listdir(generations(site)))


def start(site: NfsSite, playbook: Path = PRUNE, **variables: t.Any) -> subprocess.Popen[str]:
    given = {"uvnas_keep": {"generations": 0, "days": 0}, "uvnas_prune_settle": 1, **variables}
    return site.start([MORE], playbook=playbook, **given)


@contextlib.contextmanager
def notebook(client: Client, python: Path) -> t.Iterator[subprocess.Popen[str]]:
    command = client.command(python, "-B", "-c", NOTEBOOK, user=OTHER)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            yield started
        finally:
            started.kill()


def imports(started: subprocess.Popen[str]) -> str:
    """Where a notebook imports another module from."""
    assert started.stdin is not None
    assert started.stdout is not None
    started.stdin.write("\n")
    started.stdin.flush()
    return started.stdout.readline().strip()


@pytest.mark.parametrize("host", ["c1", "c2"])
def test_what_runs_stays_and_goes_on_importing(site: NfsSite, clients: dict[str, Client], old: str, host: str) -> None:
    before = there(site)
    with notebook(clients[host], site.share / "generations" / "tools" / old / "bin" / "python") as running:
        run = finish(start(site))
        assert run.rc == 0, run.output
        assert re.search(rf"tools {old} +stays .*{host}: pid {running.pid} \(python, {OTHER}\)", run.output), run.output
        assert there(site) == before
        assert imports(running).startswith(str(site.share / "generations" / "tools" / old))


def test_what_starts_by_an_old_name_in_between_is_put_back(site: NfsSite, clients: dict[str, Client], old: str) -> None:
    """The other client has the old name in its cache, and starts Python by it after that has been renamed."""
    before = there(site)
    python = site.share / "generations" / "tools" / old / "bin" / "python"
    clients["c2"].run(python, "-c", "import markupsafe, six", user=OTHER)
    pruning = start(site, uvnas_prune_settle=20)
    deadline = time.monotonic() + 300
    while f".{old}.uvnas-aside" not in there(site):
        assert pruning.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(notebook(clients["c2"], python))
        except AssertionError:  # Its cache had forgotten the name. By the new one, then.
            aside = python.parents[1].with_name(f".{old}.uvnas-aside") / "bin" / "python"
            running = stack.enter_context(notebook(clients["c2"], aside))
        run = finish(pruning)
        assert run.rc == 0, run.output
        assert f"pid {running.pid} (python, {OTHER})" in run.output
        assert there(site) == before
        assert imports(running).startswith(str(site.share / "generations" / "tools"))


def test_what_nfs_keeps_is_named_and_goes_later(
    site: NfsSite, clients: dict[str, Client], old: str, tmp_path: Path
) -> None:
    """Nobody was asked, or a process was not seen: what it has open stays until it ends."""
    step = {
        "share": str(site.share),
        "share_name": "nas_a",
        "mount": "/nas",
        "owner": OWNER,
        "environments": [{"python": site.python, **MORE}],
        "pythons": [site.python],
        "keep": {"generations": 0, "days": 0},
        "items": [{"kind": "generation", "name": f"tools/{old}"}],
    }
    play = tmp_path / "blind.yml"
    tasks = [{"uvnas.cluster.uv_prune": {**step, "stage": stage}} for stage in ("aside", "remove")]
    play.write_text(yaml.safe_dump([{"hosts": "c1", "gather_facts": False, "tasks": tasks}]))
    with notebook(clients["c1"], site.share / "generations" / "tools" / old / "bin" / "python") as running:
        run = finish(start(site, play))
        assert run.rc == 0, run.output
        (left,) = set(there(site)) - {os.path.basename(link(site))}
        assert re.fullmatch(rf"\.{old}\.uvnas-[0-9a-f]{{16}}\.tmp", left)
        said = "".join(run.output.split())
        assert f"environmenttools,generation{old}:" in said
        assert f"inusebypid{running.pid}(python,{OTHER})" in said
        kept = [path for path in (generations(site) / left).rglob("*") if not path.is_dir()]
        assert kept
        assert all(path.name.startswith(".nfs") for path in kept)
    again: Run = finish(start(site))
    assert again.rc == 0, again.output
    assert there(site) == [os.path.basename(link(site))]
    assert site.run_python_on(clients["c2"], "tools", "import idna; print(idna.__name__)") == "idna"
