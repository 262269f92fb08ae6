# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has something in use, and what is said of what could not be removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host import in_use
from ansible_collections.uvnas.cluster.plugins.module_utils.host.removal import (
    FOREIGN,
    IN_USE,
    MOUNTED,
    REFUSED,
    Leftover,
    Obstacle,
)
from ansible_collections.uvnas.cluster.tests.support import unprivileged
from ansible_collections.uvnas.cluster.tests.support.processes import other_process

USES = {
    "an open file": "file = open(sys.argv[1] + '/file')",
    "a mapped file": """
import mmap
file = os.open(sys.argv[1] + '/file', os.O_RDONLY)
mapped = mmap.mmap(file, 0, prot=mmap.PROT_READ)
os.close(file)
""",
    "its directory": "os.chdir(sys.argv[1])",
}
WAIT = "\nprint('ready', flush=True)\nsys.stdin.read()"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "a tree"
    tree.mkdir()
    (tree / "file").write_text("content")
    return tree


def pids(*paths: Path) -> list[list[int]]:
    return [[one.pid for one in found] for _path, found in in_use.users([str(path) for path in paths])]


@pytest.mark.parametrize("use", USES)
def test_who_uses_a_tree_is_found(tree: Path, use: str) -> None:
    with other_process(USES[use] + WAIT, tree) as process:
        # It keeps that under another name of the tree.
        moved = tree.rename(tree.with_name(".moved"))
        assert pids(moved, tree, tree.parent, tree.parent / ".move") == [[process.pid], [], [process.pid], []]
    assert pids(moved) == [[]]


def test_who_runs_a_program_of_a_tree_is_found(tree: Path) -> None:
    program = shutil.copy(shutil.which("sleep") or "", tree / "program")
    with subprocess.Popen([program, "60"]) as process:
        try:
            deadline = time.monotonic() + 60
            while not pids(tree)[0] and time.monotonic() < deadline:
                pass
            ((_path, (found,)),) = in_use.users([str(tree)])
            assert (found.pid, found.command) == (process.pid, "program")
        finally:
            process.kill()


@pytest.mark.parametrize("use", USES)
def test_what_is_gone_is_in_nobodys_way(tree: Path, use: str) -> None:
    with other_process(USES[use] + WAIT, tree):
        shutil.rmtree(tree)
        tree.mkdir()
        assert pids(tree) == [[]]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs processes of two users")
def test_whose_it_is_and_what_it_calls_itself(tree: Path) -> None:
    """Its arguments may hold secrets, and its name may be anything."""
    code = """
file = open(sys.argv[1] + '/file')
with open('/proc/self/comm', 'wb') as comm:
    comm.write(b'a\\x1b[31m\\nb')
os.setresuid(23456, 23456, 23456)
"""
    with other_process(code + WAIT, tree, "--password=hunter2") as process:
        ((_path, (found,)),) = in_use.users([str(tree)])
        assert found == in_use.Process(process.pid, "23456", "a?[31m\\nb")


def leftover(path: Path, *obstacles: Obstacle) -> list[dict[str, t.Any]]:
    return in_use.as_data([Leftover(str(path), obstacles, "environment train")])


def busy(tree: Path) -> Obstacle:
    return Obstacle(IN_USE, str(tree / ".nfs0001"), "Device or resource busy", os.geteuid())


END = ". It is hidden and in nobody's way; later changes to the share will try again."


def test_what_is_said(tree: Path) -> None:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(other_process(USES["an open file"] + WAIT, tree)) for _number in range(5)]
        (warning,) = in_use.warnings(leftover(tree, busy(tree)))
        found = sorted(process.pid for process in processes)
    assert warning.startswith(f"environment train: {tree} cannot be removed yet: in use by pid {found[0]} (")
    assert f"pid {found[2]} (" in warning
    assert f"pid {found[3]} (" not in warning
    assert warning.endswith(f" and 2 more ({tree}/.nfs0001)" + END)
    (warning,) = in_use.warnings(leftover(tree, busy(tree)))
    by = "no process visible on this host" if os.geteuid() == 0 else "a process that only root can see"
    assert f": in use by {by} (" in warning
    assert in_use.warnings([]) == []


def test_a_share_by_another_path(tree: Path) -> None:
    """The kernel knows one of them."""
    (tree.parent / "link").symlink_to(tree.parent)
    with other_process(USES["an open file"] + WAIT, tree) as process:
        (warning,) = in_use.warnings(leftover(tree.parent / "link" / tree.name, busy(tree)))
    assert f"in use by pid {process.pid} (" in warning


@pytest.mark.skipif(os.geteuid() != 0, reason="needs processes of two users")
def test_who_is_not_root_does_not_see_everything(tree: Path) -> None:
    with other_process(USES["an open file"] + WAIT, tree):
        data = leftover(tree, busy(tree))
        (warning,) = unprivileged.done(lambda: in_use.warnings(data))
    assert f": in use by a process that only root can see ({tree}/.nfs0001)." in warning


def test_other_obstacles_are_said_with_what_to_do(tree: Path) -> None:
    foreign = Obstacle(FOREIGN, f"{tree}/__pycache__/x.pyc", "Permission denied", 0)
    point = Obstacle(MOUNTED, f"{tree}/point", "Device or resource busy", 1)
    other = Obstacle(REFUSED, f"{tree}/x", "Operation not permitted", 1)
    (warning,) = in_use.warnings(leftover(tree, foreign, point, other))
    assert warning == (
        f"environment train: {tree} cannot be removed yet: {tree}/__pycache__/x.pyc is in a directory of root (uid 0), "
        f"so only root can remove it: sudo rm -rf '{tree}' (run it on the NAS if the export squashes root); "
        f"something is mounted on {tree}/point (umount '{tree}/point'); Operation not permitted: {tree}/x" + END
    )


def test_nobody_waits_long_for_a_process_that_hangs(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It maps a file of a NAS that does not answer: who reads what it has mapped waits with it."""
    proc = tmp_path / "proc"
    for pid in (1, 2):
        (proc / str(pid) / "fd").mkdir(parents=True)
        os.mkfifo(proc / str(pid) / "maps")
    monkeypatch.setattr(in_use, "_PATIENCE", 0.2)
    began = time.monotonic()
    (warning,) = in_use.warnings(leftover(tree, busy(tree)), proc=str(proc))
    assert time.monotonic() - began < 10
    assert "in use by" in warning
