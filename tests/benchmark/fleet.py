# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a converge grows with hosts: a converged site.yml beside one ansible.builtin.copy task on the same hosts.

    make benchmark-fleet                                10, 100 and 500 hosts (some 20 minutes on 2 cores)
    python tests/benchmark/fleet.py --quick             5 and 20 hosts
    python tests/benchmark/fleet.py --hosts 10 50       other numbers of hosts
    python tests/benchmark/fleet.py --forks 50          more at once

All hosts are this machine, which runs all their modules: its cores, not the forks, limit the seconds. The controller's
work and memory for each host are those of a real site.

Speed never fails it: the exit code is other than 0 only if a converged run changed something, or a member cost more
than three tasks.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import typing as t
from pathlib import Path

import scale
from arena import SERIES, Arena, BenchmarkError, Run, remove
from table import Table

LIMIT = 3
MB = 1e6
# What another host adds: label, unit, field of Measured, and the size of one unit. Not the memory of forks: their
# number stays the same, so it differs only by chance.
SLOPES = (
    ("seconds", "s", "seconds", 1.0),
    ("CPU, modules too", "s", "cpu", 1.0),
    ("memory of the main process", "kB", "main_memory", 1e3),
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """Medians of the runs with one number of hosts."""

    hosts: int
    seconds: float
    cpu: float
    # In bytes: of the main process, and including its forks.
    main_memory: float
    memory: float

    @classmethod
    def of(cls, hosts: int, runs: t.Sequence[Run]) -> Measured:
        names = ("seconds", "cpu_seconds", "main_memory", "all_memory")
        return cls(hosts, *(statistics.median(getattr(run, name) for run in runs) for name in names))


class Fleet:
    """Hosts that are all this machine, and measurements on them."""

    def __init__(self, arena: Arena, environments: list[dict[str, t.Any]]) -> None:
        self.arena = arena
        self.environments = environments
        self.variables = {
            # No wrapper around modules: starting it would count.
            "ansible_python_interpreter": sys.executable,
            "uvnas_profile_dir": f"{arena.directory}/hosts/{{{{ inventory_hostname }}}}/profile.d",
            "uvnas_profile_fish_dir": f"{arena.directory}/hosts/{{{{ inventory_hostname }}}}/fish",
            "__uvnas_state_dir": f"{arena.directory}/hosts/{{{{ inventory_hostname }}}}/state",
        }

    def resize(self, hosts: int) -> None:
        self.arena.members = [f"node{number:04}" for number in range(1, hosts)]

    def prepare(self) -> None:
        """Converge all hosts, but first the share by the builder alone."""
        members, self.arena.members = self.arena.members, []
        self.arena.prepare()
        self.arena.site(self.environments, **self.variables)
        self.arena.members = members
        profile = {"hosts": "all", "gather_facts": False, "roles": ["uvnas.cluster.profile"]}
        self.arena.play([profile], self.environments, **self.variables)
        self.copy(converged=False)

    def site(self) -> Run:
        run = self.arena.site(self.environments, **self.variables)
        self._unchanged(run)
        cost = self.cost(run)
        if not 0 < cost <= LIMIT:
            raise BenchmarkError(f"members executed {cost} tasks each instead of 1 to {LIMIT}")
        return run

    def cost(self, run: Run) -> int:
        """The most tasks that a member executed, except for one member, which may act for failed builders."""
        costs = sorted(run.executions(member) for member in self.arena.members)
        return (costs[:-1] or costs)[-1]

    def copy(self, *, converged: bool = True) -> Run:
        task = {
            "name": "Copy a file",
            "ansible.builtin.copy": {
                "content": "Of the benchmark.\n",
                "dest": f"{self.arena.directory}/hosts/{{{{ inventory_hostname }}}}/copied",
                "mode": "0644",
            },
        }
        play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
        run = self.arena.play([play], self.environments, **self.variables)
        if converged:
            self._unchanged(run)
        return run

    def _unchanged(self, run: Run) -> None:
        changed = sorted({f"{task['action']} on {task['host']}" for task in run.tasks if task["changed"]})
        if changed:
            raise BenchmarkError(f"a converged run changed something: {', '.join(changed[:5])}")


def measure(fleet: Fleet, sizes: t.Sequence[int], repeats: int | None, table: Table) -> None:
    fleet.resize(max(sizes))
    print("== converge all hosts", file=sys.stderr, flush=True)
    fleet.prepare()
    fleet.arena.sample_memory = True
    sites, copies = [], []
    for hosts in sizes:
        fleet.resize(hosts)
        turns: list[tuple[Run, Run]] = []
        for turn in range(repeats or (3 if hosts <= 50 else 1)):
            print(f"== {hosts} hosts, turn {turn + 1}", file=sys.stderr, flush=True)
            turns.append((fleet.copy(), fleet.site()))
        copies.append(copy := Measured.of(hosts, [turn[0] for turn in turns]))
        sites.append(site := Measured.of(hosts, [turn[1] for turn in turns]))
        table.section(f"{hosts} hosts, measured {len(turns)} x in turns")
        table.add("one ansible.builtin.copy task", copy.seconds)
        table.add("converged site.yml", site.seconds, base=copy.seconds, of="copy")
        table.add("copy: a host", copy.seconds / hosts)
        table.add("site.yml: a host", site.seconds / hosts, base=copy.seconds / hosts, of="copy")
        table.add("copy: CPU of a host, its modules too", copy.cpu / hosts)
        table.add("site.yml: the same", site.cpu / hosts, base=copy.cpu / hosts, of="copy")
        table.add("copy: memory of the controller and its forks", copy.memory / MB, "MB")
        table.add("site.yml: the same", site.memory / MB, "MB", base=copy.memory / MB, of="copy")
        table.add("copy: main process alone", copy.main_memory / MB, "MB")
        table.add("site.yml: main process alone", site.main_memory / MB, "MB", base=copy.main_memory / MB, of="copy")
        executions = max(fleet.cost(run) for _copy, run in turns)
        met = executions <= LIMIT
        table.add("site.yml: tasks that a member executes", executions, "tasks", target=f"<= {LIMIT}", met=met)
    for i in range(1, len(sizes)):
        table.section(f"Each additional host, from {sizes[i - 1]} to {sizes[i]}")
        for what, unit, field, scaled in SLOPES:
            copy_slope, site_slope = (_slope(some[i - 1], some[i], field) / scaled for some in (copies, sites))
            table.add(f"copy: {what}", copy_slope, unit)
            table.add(f"site.yml: {what}", site_slope, unit, base=max(copy_slope, 0), of="copy")


def _slope(fewer: Measured, more: Measured, field: str) -> float:
    return float(getattr(more, field) - getattr(fewer, field)) / (more.hosts - fewer.hosts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", metavar="N", help="how many hosts, ascending")
    parser.add_argument("--quick", action="store_true", help="few hosts")
    parser.add_argument("--forks", type=int, default=5, metavar="N", help="as for ansible-playbook (default: 5, too)")
    parser.add_argument("--environments", type=int, default=1, metavar="N", help="how many to verify on each host")
    parser.add_argument("--repeats", type=int, metavar="N", help="how often (default: 3 up to 50 hosts, then once)")
    parser.add_argument("--directory", type=Path, help="where to work: a directory of the filesystem to use")
    args = parser.parse_args()
    sizes = sorted(set(args.hosts or ([5, 20] if args.quick else [10, 100, 500])))
    if sizes[0] < 2:
        parser.error("needs at least two hosts: the builder and one member")

    directory = Path(tempfile.mkdtemp(prefix="uvnas-benchmark-", dir=args.directory)).resolve()
    table = Table()
    load = os.getloadavg()[0]
    failed = False
    try:
        arena = Arena(directory)
        arena.settings["ANSIBLE_FORKS"] = str(args.forks)
        measure(
            Fleet(arena, scale.overlapping(args.environments, SERIES, compile_bytecode=False)),
            sizes,
            args.repeats,
            table,
        )
    except (BenchmarkError, OSError) as error:
        failed = True
        print(error, file=sys.stderr)
    finally:
        remove(directory)
    environments = f"{args.environments} environment{'s' if args.environments > 1 else ''}"
    print(table.text(f"{os.cpu_count()} cores, load before {load:.1f}, {args.forks} forks, {environments}"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
