# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading all of a share to verify it, beside sha256sum of the same files, each inode once, on all processors."""

from __future__ import annotations

import json
import os
import stat
import statistics
import subprocess
import sys
from pathlib import Path

import scale
from arena import ROOT, SERIES, Arena, BenchmarkError, timed
from table import Table

sys.path.insert(0, str(ROOT / ".collections"))
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair import converge
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share

_TREES = ("generations", "python", "lib", "cache", "bytecode")


def measure(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    environments = scale.overlapping(sizes.environments, SERIES)
    arena.prepare()
    arena.converge(environments)
    name = json.loads((arena.share / "share.json").read_text())["name"]
    share = Share(name, Layout(str(arena.share)))
    paths = _files(arena.share)
    listed = "\0".join(paths).encode()
    ours, theirs = [], []
    found = {}

    def verify() -> None:
        found.update(converge.verify(share))

    cmd = ["xargs", "-0", "-P", str(os.cpu_count()), "-n", "200", "sha256sum"]
    for _repeat in range(sizes.repeats):
        theirs.append(timed(lambda: subprocess.run(cmd, input=listed, stdout=subprocess.DEVNULL, check=True)))
        ours.append(timed(verify))
    wrong = [damage for tree in found["trees"] for damage in tree["damages"]]
    if wrong:
        raise BenchmarkError(f"a new share is damaged: {wrong[:3]}")
    size = sum(os.lstat(path).st_size for path in paths) / 1e6
    table.section(f"Verify {len(environments)} environments: {len(paths)} files, {size:.0f} MB, warm")
    base = statistics.median(theirs)
    table.add("sha256sum of each inode", base, "s")
    table.add("verify, deep", statistics.median(ours), "s", base=base, of="sha256sum")


def _files(share: Path) -> list[str]:
    """A path of each inode that is verified."""
    found: dict[int, str] = {}
    for tree in _TREES:
        for above, _directories, names in os.walk(share / tree):
            for name in names:
                path = os.path.join(above, name)
                status = os.lstat(path)
                is_other = tree == "cache" and "/archive-v" not in above
                if stat.S_ISREG(status.st_mode) and not is_other:
                    found.setdefault(status.st_ino, path)
    return list(found.values())
