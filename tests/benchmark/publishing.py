# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many reads fail in another process while environments are published."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import sys
import typing as t

import scale
from arena import ROOT, Arena, BenchmarkError, timed
from table import Table

sys.path.insert(0, str(ROOT / ".collections"))
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files as fs


def measure(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    directory = arena.directory / "publishing"
    for name in ("a", "b"):
        (directory / name).mkdir(parents=True)
        (directory / name / "who").write_text(name)
    link = str(directory / "env")
    table.section(f"{sizes.publishes} publishes while another process reads")
    failed = {}
    for name, publish in (("fs.replace_symlink", fs.replace_symlink), ("unlink + symlink", _unlink_and_symlink)):
        seconds, reads, failed[name] = _contest(link, publish, sizes.publishes)
        ours = publish is fs.replace_symlink
        table.add(
            f"{name}: failed reads",
            failed[name],
            "reads",
            target="0" if ours else "",
            met=failed[name] == 0 if ours else None,
        )
        table.add(f"{name}: reads", reads, "reads")
        table.add(f"{name}: a publish", seconds / sizes.publishes * 1e6, "µs")
    if failed["fs.replace_symlink"]:
        raise BenchmarkError(f"{failed['fs.replace_symlink']} reads failed while fs.replace_symlink was publishing")


def _contest(link: str, publish: t.Callable[[str, str], None], count: int) -> tuple[float, int, int]:
    """Seconds, reads, and failed reads of ``count`` publishes."""
    publish("a", link)
    ours, theirs = multiprocessing.Pipe()
    reader = multiprocessing.Process(target=_read, args=(link, theirs), daemon=True)
    reader.start()
    ours.recv()
    seconds = timed(lambda: [publish("ab"[i % 2], link) for i in range(count)])
    ours.send("enough")
    reads, failed = ours.recv()
    reader.join()
    return seconds, reads, failed


def _read(link: str, pipe: multiprocessing.connection.Connection) -> None:
    """Read through the link until told to stop."""
    path = os.path.join(link, "who")
    reads = failed = 0
    pipe.send("ready")
    while reads % 100 or not pipe.poll():
        reads += 1
        try:
            with open(path, "rb") as file:
                failed += file.read() not in (b"a", b"b")
        except OSError:
            failed += 1
    pipe.send((reads, failed))


def _unlink_and_symlink(target: str, path: str) -> None:
    """The non-atomic way."""
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)
