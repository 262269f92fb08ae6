# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds with a warm cache by us, bare uv, and ansible.builtin.pip, all with the same locks and interpreter."""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import typing as t
from pathlib import Path

import disk
import scale
from arena import SERIES, Arena, BenchmarkError, Cost, Run, remove, timed
from table import Table

# What people start their work with.
IMPORTS = ("pandas", "sklearn", "matplotlib.pyplot", "sqlalchemy")
IMPORTED = 15


def measure(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    environments = scale.overlapping(sizes.environments, SERIES)
    warm_up(arena, environments)
    cores = max(2, os.cpu_count() or 2)
    bare: list[Cost] = []
    one: list[Run] = []
    many: list[Run] = []
    # In turns, so that other load on the machine hits all alike.
    for _turn in range(sizes.repeats):
        bare.append(bare_loop(arena, environments))
        for runs, jobs in ((one, 1), (many, cores)):
            arena.forget_bytecode()
            runs.append(build(arena, environments, jobs=jobs))
    table.section(f"Build of {len(environments)} environments of {scale.PER_ENVIRONMENT} packages, warm cache")
    base = bare_rows(table, "bare uv venv + uv pip sync --compile-bytecode, one by one", bare)
    rows(table, "ours, jobs=1", one, base, limit=0.35)
    rows(table, f"ours, jobs={cores}", many, base, limit=0.35)


def measure_big(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    """One large environment: first, again, upgraded, an identical second one, and the same on a second share."""
    environments = [scale.big(SERIES)]
    warm_up(arena, scale.upgraded(SERIES))
    warm_up(arena, environments)
    count = sum("==" in line for line in arena.lock("big").read_text().splitlines() if line[:1].isalnum())
    if count <= 100:
        raise BenchmarkError(f"the big environment has only {count} packages")
    bare: list[Cost] = []
    plain: list[Cost] = []
    ours: dict[str, list[Run]] = {"first": [], "again": [], "upgrade": [], "second": [], "share": []}
    for _turn in range(sizes.repeats):
        bare.append(bare_loop(arena, environments))
        plain.append(bare_loop(arena, environments, compiled=False))
        arena.forget_bytecode()
        ours["first"].append(build(arena, environments, jobs=1))
        first = arena.size_of("big")  # From now on, what was put aside has links to its files.
        ours["again"].append(build(arena, environments, jobs=1))
        ours["share"].append(added(arena, environments, **arena.empty_second_share()))
        ours["second"].append(added(arena, scale.twice(SERIES)))
        second = arena.size_of("twin")
        arena.forget_bytecode()
        build(arena, environments, jobs=1)
        ours["upgrade"].append(added(arena, scale.upgraded(SERIES)))
    table.section(f"Build of one environment of {count} packages, warm cache")
    base = bare_rows(table, "bare uv venv + uv pip sync --compile-bytecode", bare)
    without = bare_rows(table, "bare uv venv + uv pip sync", plain, base=base)
    rows(table, "ours, first build of anything", ours["first"], base, limit=1.05)
    names = {
        "again": "rebuild",
        "upgrade": "upgrade of one package",
        "second": "identical second one",
        "share": "the same on a second share, which has nothing yet",
    }
    for key, name in names.items():
        runs = ours[key]
        rows(table, f"ours, {name}", runs, base, limit=None if key == "share" else 0.1)
        ratio = statistics.median(run.module("uv_env").seconds for run in runs) / without.seconds
        target = {} if key == "share" else {"target": "<= 3x", "met": ratio <= 3}
        modules = [run.module("uv_env").seconds for run in runs]
        table.add(f"ours, {name}: module uv_env", modules, base=without.seconds, of="without", **target)
    own, inodes = (second[key] / first[key] for key in ("own_bytes", "inodes"))
    table.add("ours, first: own bytes", first["own_bytes"] / 1_000_000, "MB")
    table.add("ours, identical second one: own bytes", second["own_bytes"] / 1_000_000, "MB",
              base=first["own_bytes"] / 1_000_000, of="first", target="<= 0.05x", met=own <= 0.05)  # fmt: skip
    table.add("ours, first: inodes", first["inodes"], "inodes")
    table.add("ours, identical second one: inodes", second["inodes"], "inodes",
              base=first["inodes"], of="first", target="<= 0.4x", met=inodes <= 0.4)  # fmt: skip
    measure_imports(arena, table)


def measure_imports(arena: Arena, table: Table) -> None:
    """Imports from the environment big, whose bytecode is linked and not compared with its sources, and by hand."""
    target = arena.directory / "bare"
    arena.put_aside(target)
    arena.bare_uv("big", target)
    linked: list[float] = []
    own: list[float] = []
    command = f"import {', '.join(IMPORTS)}"
    for turn in range(IMPORTED + 1):
        for seconds, path in ((own, target), (linked, (arena.share / "envs" / "big").resolve())):
            python = [path / "bin" / "python", "-B", "-c", command]
            took = timed(functools.partial(subprocess.run, python, env={}, cwd=path, check=True))
            if turn:  # The first reads it from the disk.
                seconds.append(took * 1000)
    arena.put_aside(target)
    table.section(f"Import of {', '.join(IMPORTS)}, {IMPORTED} times")
    base = table.add("bytecode of its own, compared with the mtimes of sources", own, "ms")
    ratio = statistics.median(linked) / base
    table.add("linked bytecode", linked, "ms", base=base, of="own", target="<= 1.05x", met=ratio <= 1.05)


def measure_pip(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    """Measure ansible.builtin.pip on a few environments, and scale its seconds to all of them."""
    environments = scale.overlapping(sizes.environments, SERIES)
    few = environments[: sizes.pip_environments]
    if not all(arena.lock(environment["name"]).exists() for environment in environments):
        warm_up(arena, environments)
    factor = len(environments) / len(few)
    base = bare_loop(arena, few).seconds * factor
    table.section(f"ansible.builtin.pip for {len(environments)} environments, warm cache ({len(few)} made, scaled)")
    table.add("bare uv venv + uv pip sync, one by one", base)
    ping = statistics.median(arena.ping(few).seconds for _turn in range(2))
    # Unless virtualenv_command is "-m venv", the module passes the Python itself.
    commands: dict[str, dict[str, str]] = {
        "python -m venv": {"virtualenv_command": f"{arena.python} -m venv"},
        "uv venv --seed": {"virtualenv_command": f"{arena.uv} venv --seed", "virtualenv_python": str(arena.python)},
    }
    for name, how in commands.items():
        target = arena.directory / "pip-venvs"
        play = _pip_play(arena, few, target, how)
        arena.play(play, few)  # Fills pip's cache.
        remove(target)
        seconds = arena.play(play, few).task("pip") * factor
        table.add(f"ansible.builtin.pip, {name}: tasks", seconds, base=base, of="bare")
        again = arena.play(play, few).seconds
        table.add(f"ansible.builtin.pip, {name}: no-op, beyond ping", max(0.0, again - ping) * factor)
        size, inodes = disk.usage(target)
        table.add(f"ansible.builtin.pip, {name}: size", size * factor / 1_000_000, "MB")
        table.add(f"ansible.builtin.pip, {name}: inodes", inodes * factor, "inodes")
        remove(target)


def warm_up(arena: Arena, environments: list[dict[str, t.Any]]) -> None:
    """Lock, and fill the cache."""
    arena.converge(environments)


def build(arena: Arena, environments: list[dict[str, t.Any]], *, jobs: int) -> Run:
    """Rebuild all of them."""
    arena.unpublish()
    run = arena.converge(environments, uvnas_jobs=jobs)
    published = sorted(path.name for path in (arena.share / "envs").iterdir())
    if published != sorted(environment["name"] for environment in environments):
        raise BenchmarkError(f"wrong environments are published: {published}")
    return run


def added(arena: Arena, environments: list[dict[str, t.Any]], **variables: t.Any) -> Run:
    """Converge to environments of which a part is there."""
    run = arena.converge(environments, **variables)
    if not run.has_changed("uv_env"):
        raise BenchmarkError("there was nothing to build")
    return run


def bare_loop(arena: Arena, environments: list[dict[str, t.Any]], *, compiled: bool = True) -> Cost:
    target = arena.directory / "bare"
    arena.put_aside(target)
    target.mkdir()
    costs = [arena.bare_uv(item["name"], target / item["name"], compiled=compiled) for item in environments]
    arena.put_aside(target)
    return Cost(sum(cost.seconds for cost in costs), sum(cost.cpu_seconds for cost in costs))


def bare_rows(table: Table, name: str, costs: list[Cost], base: Cost | None = None) -> Cost:
    seconds = table.add(name, [cost.seconds for cost in costs], base=base and base.seconds, of="bare")
    cpu = [cost.cpu_seconds for cost in costs]
    return Cost(seconds, table.add(f"{name}: CPU", cpu, base=base and base.cpu_seconds, of="bare"))


def rows(table: Table, name: str, runs: list[Run], base: Cost, *, limit: float | None) -> None:
    modules = [run.module("uv_env") for run in runs]
    ratio = statistics.median(module.seconds for module in modules) / base.seconds
    target = {} if limit is None else {"target": f"<= {limit}x", "met": ratio <= limit}
    table.add(f"{name}: module uv_env", [cost.seconds for cost in modules], base=base.seconds, of="bare", **target)
    table.add(f"{name}: CPU of the module", [cost.cpu_seconds for cost in modules], base=base.cpu_seconds, of="bare")
    table.add(f"{name}: whole ansible-playbook", [run.seconds for run in runs], base=base.seconds, of="bare")


def _pip_play(
    arena: Arena, environments: list[dict[str, t.Any]], target: Path, how: dict[str, str]
) -> list[dict[str, t.Any]]:
    tasks = [
        {
            "name": f"Environment {environment['name']}",
            "ansible.builtin.pip": {
                "requirements": str(arena.lock(environment["name"])),
                "virtualenv": str(target / environment["name"]),
                **how,
            },
        }
        for environment in environments
    ]
    return [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
