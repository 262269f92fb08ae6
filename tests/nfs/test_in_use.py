# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing files on NFS that a process of the builder has open: they stay as ``.nfs…`` until it ends."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import EXPORT, OTHER, OWNER, TOOLS, Client, NfsSite, make_site
from ansible_collections.uvnas.cluster.tests.support.sites import Run

JOB = {"name": "job", "requirements": ["attrs", "markupsafe"]}
MORE = {"name": "more", "requirements": ["idna"]}
# A notebook: maps an extension, opens a file, and prints when ready.
NOTEBOOK = """
import sys, markupsafe._speedups
file = open(markupsafe.__file__)
print("ready", flush=True)
sys.stdin.read()
"""
# What modules do.
TAKE_AWAY = """
import sys
sys.path.insert(0, "/checkout/.collections")
from ansible_collections.uvnas.cluster.plugins.module_utils.host.removal import remove_tree
for path in sys.argv[1:]:
    remove_tree(path)
"""
SLEEP = "import sys, math; print('ready', flush=True); sys.stdin.read()"


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, clients: dict[str, Client]) -> NfsSite:
    """A site with an environment for everybody."""
    site = make_site(tmp_path_factory.mktemp("used"), clients)
    first = site.run([TOOLS, JOB])
    assert first.rc == 0, first.output
    return site


def converged(site: NfsSite, *envs: dict[str, t.Any]) -> Run:
    """Run the role envs alone: these tests need no more."""
    run = site.envs(envs)
    assert run.rc == 0, run.output
    return run


def absent(env: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"name": env["name"], "state": "absent"}


@contextlib.contextmanager
def process(client: Client, python: Path, code: str) -> t.Iterator[int]:
    """The pid of a process on a client, of a user other than the owner."""
    command = client.command(python, "-B", "-c", code, user=OTHER)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            yield started.pid
        finally:
            started.kill()


def exported(site: NfsSite, *parts: str) -> Path:
    """A path of the share on the NAS."""
    return EXPORT.joinpath(site.path.name, "uv", *parts)


def hidden(directory: Path) -> list[str]:
    """The hidden names in a directory."""
    return sorted(name for name in os.listdir(directory) if name.startswith(".") and name.endswith(".tmp"))


def open_files(tree: Path) -> list[str]:
    """The names left in a tree, except directories."""
    return sorted(path.name for path in tree.rglob("*") if not path.is_dir())


def warned(run: Run) -> set[str]:
    """A run's warnings about what could not be removed, without white space: Ansible breaks lines anywhere."""
    text = "".join(run.output.split())
    return set(re.findall(r"(?:environment|cpython-)[^\[]*?cannotberemovedyet:.*?willtryagain", text))


def take_away(site: NfsSite, client: Client, *environments: str) -> None:
    """Remove the files of environments that have lost their names."""
    paths = [site.share / "generations" / env for env in environments]
    client.run("python3", "-c", TAKE_AWAY, *paths, user=OWNER)


def test_an_environment_in_use_is_removed(used: NfsSite, clients: dict[str, Client]) -> None:
    """Its name at once. Where its files go while somebody has them open, what is open stays until it is not."""
    generations = exported(used, "generations")
    with process(clients["c1"], used.share / "envs" / "job" / "bin" / "python", NOTEBOOK) as pid:
        gone = converged(used, TOOLS, absent(JOB))
        for place in ("envs/job", "locks/job.txt"):
            assert not os.path.lexists(exported(used, place))
        assert not warned(gone)
        assert (hidden(generations), open_files(generations / "job")) != ([], [])
        take_away(used, clients["c1"], "job")
        (name,) = hidden(generations)
        # Only open files and their directories are left.
        assert not (generations / "job").exists()
        left = open_files(generations / name)
        assert len(left) >= 2
        assert all(path.startswith(".nfs") for path in left)
        # There is a warning, with the same name, whenever something changes, and only then.
        again = converged(used, TOOLS, absent(JOB))
        assert again.changed == 0
        assert not warned(again)
        built = converged(used, TOOLS, MORE)
        assert os.path.lexists(exported(used, "envs", "more"))
        assert hidden(generations) == [name]
        (warning,) = warned(built)
        assert warning.startswith(f"environmentjob:{used.share}/generations/{name}cannotberemovedyet:")
        assert f"inusebypid{pid}(python,{OTHER})" in warning
        assert open_files(generations / name) == left
    ended = converged(used, TOOLS, absent(MORE))
    assert not warned(ended)
    assert hidden(generations) == []


def test_a_generation_in_use_is_rebuilt_in_its_place(used: NfsSite, clients: dict[str, Client]) -> None:
    """As after somebody followed the hint to remove its manifest."""
    python = used.share / "envs" / "tools" / "bin" / "python"
    generation = used.share / "generations" / "tools" / os.path.basename(os.readlink(exported(used, "envs", "tools")))
    manifest = shlex.quote(str(generation / ".uvnas.json"))
    with process(clients["c1"], python, NOTEBOOK) as pid:
        clients["c1"].run("sh", "-c", f"chmod u+w {generation} && rm -f {manifest}", user=OWNER)
        built = converged(used, TOOLS)
        assert built.changed
        (name,) = hidden(exported(used, "generations", "tools"))
        (warning,) = warned(built)
        assert warning.startswith(f"environmenttools,generation{generation.name}:{generation.parent}/{name}cannot")
        assert f"inusebypid{pid}(" in warning
        found = clients["c1"].run(python, "-c", "import markupsafe; print(markupsafe.__file__)", user=OTHER)
        assert found.stdout.startswith(str(used.share))
    gone = converged(used, absent(TOOLS))
    assert not warned(gone)
    take_away(used, clients["c1"], "more", "tools")
    assert os.listdir(exported(used, "generations")) == []


def test_an_interpreter_in_use_is_removed(used: NfsSite, clients: dict[str, Client]) -> None:
    """No environment uses it any more."""
    pythons = exported(used, "python")
    (key,) = [path.name for path in pythons.glob("cpython-3.11.2-*")]
    remove = {"uvnas_site_pythons": [], "uvnas_python_remove": ["3.11.2"]}
    with process(clients["c1"], used.share / "python" / key / "bin" / "python3.11", SLEEP) as pid:
        removed = used.role("python", **remove)
        assert removed.rc == 0, removed.output
        (name,) = hidden(pythons)
        (warning,) = warned(removed)
        assert warning.startswith(f"{key}:{used.share}/python/{name}cannotberemovedyet:inusebypid{pid}(python3.11,")
        assert not (pythons / key).exists()
        assert key not in exported(used, "locks", "pythons.json").read_text()
        # Installed again; the old one keeps its hidden name.
        again = used.role("python")
        assert again.rc == 0, again.output
        assert hidden(pythons) == [name]
        assert warned(again) == {warning}
    removed = used.role("python", **remove)
    assert removed.rc == 0, removed.output
    assert not warned(removed)
    assert hidden(pythons) == []
