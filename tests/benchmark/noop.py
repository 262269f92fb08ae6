# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A no-op converge: its seconds beyond ping, the modules that it starts, and its file operations on the share."""

from __future__ import annotations

import statistics
from pathlib import Path

import scale
from arena import SERIES, Arena, BenchmarkError, Run
from table import Table

LIMIT_SECONDS = 0.5
# Of site.yml, in runs of ansible.builtin.ping: Ansible's start, one module of ours, and ten tasks that start none.
LIMIT_PINGS = 3.0
# Reads lock, link and manifest, and lists one directory.
LIMIT_PATHS = 4
LIMIT_OPERATIONS = 12


def measure(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    arena.prepare()
    # Remove what other parts of the benchmark built: it is not declared here.
    arena.unpublish()
    # Without bytecode, a hundred take less than a minute, and a no-op looks at the same files.
    environments = scale.overlapping(max(sizes.noop), SERIES, compile_bytecode=False)
    arena.site(environments)
    counted = {}
    for count in sizes.noop:
        some = environments[:count]
        ping: list[Run] = []
        role: list[Run] = []
        site: list[Run] = []
        for _turn in range(sizes.noop_repeats):
            ping.append(arena.ping(some))
            role.append(_unchanged(arena.converge(some)))
            site.append(_unchanged(arena.site(some)))
        table.section(f"No-op converge of {count} environments" if count > 1 else "No-op converge of 1 environment")
        base = table.add("ansible.builtin.ping: whole ansible-playbook", [run.seconds for run in ping])
        whole = table.add("role envs: whole ansible-playbook", [run.seconds for run in role], base=base, of="ping")
        is_target = count == max(sizes.noop)
        table.add(
            "role envs: beyond ping",
            whole - base,
            target=f"<= {LIMIT_SECONDS} s" if is_target else "",
            met=whole - base <= LIMIT_SECONDS if is_target else None,
        )
        table.add("role envs: module uv_env_compare alone", [run.module("uv_env_compare").seconds for run in role])
        table.add("site.yml: whole ansible-playbook", [run.seconds for run in site], base=base, of="ping")
        cpu = table.add("ansible.builtin.ping: CPU, its module too", [run.cpu_seconds for run in ping])
        first = count == min(sizes.noop)
        pings = statistics.median(run.cpu_seconds for run in site) / cpu
        table.add(
            "site.yml: the same",
            [run.cpu_seconds for run in site],
            base=cpu,
            of="ping",
            target=f"<= {LIMIT_PINGS:g} x" if first else "",
            met=pings <= LIMIT_PINGS if first else None,
        )
        started = max(len(run.modules) for run in site)
        table.add("site.yml: modules that it starts", started, "modules", target="<= 1", met=started <= 1)
        counted[count] = _operations(arena, _unchanged(arena.converge(some, trace=True)))
    fewer, more = sizes.noop[-2:]
    table.section(f"File operations on the share for one converged environment ({more} less {fewer} environments)")
    paths = (counted[more][0] - counted[fewer][0]) / (more - fewer)
    every = (counted[more][1] - counted[fewer][1]) / (more - fewer)
    table.add("system calls that take a path", paths, "calls", target=f"<= {LIMIT_PATHS}", met=paths <= LIMIT_PATHS)
    table.add(
        "those, and reads and closes", every, "calls", target=f"<= {LIMIT_OPERATIONS}", met=every <= LIMIT_OPERATIONS
    )


def _unchanged(run: Run) -> Run:
    if run.has_changed():
        culprits = sorted({task["action"] for task in run.tasks if task["changed"]})
        raise BenchmarkError(f"a no-op converge changed something: {', '.join(culprits)}")
    return run


def _operations(arena: Arena, run: Run) -> tuple[int, int]:
    """System calls on the share by all modules of the role: those with a path, and all that were traced."""
    if not run.traces:
        raise BenchmarkError("no module was traced")
    calls = [call for trace in run.traces for call in _calls(trace, arena.share)]
    return sum(call not in ("read", "close", "getdents64") for call in calls), len(calls)


def _calls(trace: Path, share: Path) -> list[str]:
    """Names of the calls on paths or file descriptors below the share (strace -f -y)."""
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        call = line.split(maxsplit=1)[-1]
        name, separator, arguments = call.partition("(")
        # Interrupted calls appear twice, the second time as "<... name resumed>".
        below = f'"{share}' in arguments or f"<{share}" in arguments
        is_fstat = name == "newfstatat" and '>, ""' in arguments  # On an open file: no path lookup.
        if separator and name.isidentifier() and below and not is_fstat:
            found.append(name)
    return found
