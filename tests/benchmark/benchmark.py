# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark: one run, everything side by side, one table of medians and ratios.

    make benchmark                                        all of it (minutes, most of them for ansible.builtin.pip)
    python tests/benchmark/benchmark.py --quick               the same on small sets
    python tests/benchmark/benchmark.py --only noop disk      some parts
    python tests/benchmark/benchmark.py --directory /mnt/nas  on another filesystem

Speed never fails it: the exit code is other than 0 only if something did not work or a read failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import typing as t
from pathlib import Path

import builds
import disk
import durable
import noop
import publishing
import scale
import startup
import verifying
from arena import Arena, BenchmarkError, remove
from table import Table

PARTS: dict[str, t.Callable[[Arena, scale.Scale, Table], None]] = {
    "publish": publishing.measure,
    "build": builds.measure,
    # Before anything else fills the cache.
    "disk": disk.measure,
    "durable": durable.measure,
    "big": builds.measure_big,
    "pip": builds.measure_pip,
    "noop": noop.measure,
    "start": startup.measure,
    "verify": verifying.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sets, few repetitions")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--environments", type=int, metavar="N", help="how many overlapping environments to build")
    parser.add_argument("--repeats", type=int, metavar="N", help="how often to repeat what is measured")
    parser.add_argument("--publishes", type=int, metavar="N", help="how many publishes while another process reads")
    parser.add_argument("--directory", type=Path, help="where to work: a directory of the filesystem to measure")
    parser.add_argument("--keep", action="store_true", help="keep the share and everything else")
    args = parser.parse_args()

    sizes = scale.chosen(args.quick, args.environments, args.repeats, args.publishes)
    directory = Path(tempfile.mkdtemp(prefix="uvnas-benchmark-", dir=args.directory)).resolve()
    table = Table()
    # On a loaded machine, seconds mean little, and ratios not much more.
    load = os.getloadavg()[0]
    failed = []
    try:
        arena = Arena(directory)
        for name in args.only or PARTS:
            print(f"== {name}", file=sys.stderr, flush=True)
            try:
                PARTS[name](arena, sizes, table)
            except (BenchmarkError, OSError) as error:
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr)
    finally:
        if args.keep:
            print(f"Kept: {directory}", file=sys.stderr)
        else:
            remove(directory)
    print(table.text(f"{os.cpu_count()} cores, load before {load:.1f}, {sizes.describe()}"))
    if failed:
        print(f"Failed: {', '.join(failed)}. The table has what they measured before.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
