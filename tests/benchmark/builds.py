# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds with a warm cache by us, bare uv, and ansible.builtin.pip, all with the same locks and interpreter."""

from __future__ import annotations

import os
import statistics
import typing as t
from pathlib import Path

import disk
import scale
from arena import SERIES, Arena, BenchmarkError, remove, timed
from table import Table


def measure(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    environments = scale.overlapping(sizes.environments, SERIES)
    warm_up(arena, environments)
    cores = max(2, os.cpu_count() or 2)
    bare: list[float] = []
    one: list[tuple[float, float]] = []
    many: list[tuple[float, float]] = []
    # In turns, so that other load on the machine hits all alike.
    for _turn in range(sizes.repeats):
        bare.append(bare_loop(arena, environments))
        for runs, jobs in ((one, 1), (many, cores)):
            arena.forget_bytecode()
            runs.append(build(arena, environments, jobs=jobs))
    table.section(f"Build of {len(environments)} environments of {scale.PER_ENVIRONMENT} packages, warm cache")
    base = table.add("bare uv venv + uv pip sync, one by one", bare)
    rows(table, "ours, jobs=1", one, base, target="<= 0.35x", limit=0.35)
    rows(table, f"ours, jobs={cores}", many, base, target="<= 0.35x", limit=0.35)


def measure_big(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    """One large environment: for the first time, again, upgraded, and a second one that is identical."""
    environments = [scale.big(SERIES)]
    warm_up(arena, scale.upgraded(SERIES))
    warm_up(arena, environments)
    count = sum("==" in line for line in arena.lock("big").read_text().splitlines() if line[:1].isalnum())
    if count <= 100:
        raise BenchmarkError(f"the big environment has only {count} packages")
    bare: list[float] = []
    plain: list[float] = []
    ours: dict[str, list[tuple[float, float]]] = {"first": [], "again": [], "upgrade": [], "second": []}
    for _turn in range(sizes.repeats):
        bare.append(bare_loop(arena, environments))
        plain.append(bare_loop(arena, environments, compiled=False))
        arena.forget_bytecode()
        ours["first"].append(build(arena, environments, jobs=1))
        ours["again"].append(build(arena, environments, jobs=1))
        ours["second"].append(added(arena, scale.twice(SERIES)))
        first, second = (arena.size_of(name) for name in ("big", "twin"))
        arena.forget_bytecode()
        build(arena, environments, jobs=1)
        ours["upgrade"].append(added(arena, scale.upgraded(SERIES)))
    table.section(f"Build of one environment of {count} packages, warm cache")
    base = table.add("bare uv venv + uv pip sync --compile-bytecode", bare)
    without = table.add("bare uv venv + uv pip sync", plain, base=base, of="bare")
    rows(table, "ours, first build of anything", ours["first"], base, target="<= 1.05x", limit=1.05)
    for key, name in (("again", "rebuild"), ("upgrade", "upgrade of one package"), ("second", "identical second one")):
        rows(table, f"ours, {name}", ours[key], base, target="<= 0.1x", limit=0.1)
        modules = [module for module, _whole in ours[key]]
        ratio = statistics.median(modules) / without
        table.add(f"ours, {name}: module uv_env", modules, base=without, of="without", target="<= 3x", met=ratio <= 3)
    own, inodes = (second[key] / first[key] for key in ("own_bytes", "inodes"))
    table.add("ours, first: own bytes", first["own_bytes"] / 1_000_000, "MB")
    table.add("ours, identical second one: own bytes", second["own_bytes"] / 1_000_000, "MB",
              base=first["own_bytes"] / 1_000_000, of="first", target="<= 0.05x", met=own <= 0.05)  # fmt: skip
    table.add("ours, first: inodes", first["inodes"], "inodes")
    table.add("ours, identical second one: inodes", second["inodes"], "inodes",
              base=first["inodes"], of="first", target="<= 0.4x", met=inodes <= 0.4)  # fmt: skip


def measure_pip(arena: Arena, sizes: scale.Scale, table: Table) -> None:
    """Measure ansible.builtin.pip on a few environments, and scale its seconds to all of them."""
    environments = scale.overlapping(sizes.environments, SERIES)
    few = environments[: sizes.pip_environments]
    if not all(arena.lock(environment["name"]).exists() for environment in environments):
        warm_up(arena, environments)
    factor = len(environments) / len(few)
    base = bare_loop(arena, few) * factor
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


def build(arena: Arena, environments: list[dict[str, t.Any]], *, jobs: int) -> tuple[float, float]:
    """Rebuild all of them; return the seconds of the module uv_env and of the whole ansible-playbook."""
    arena.unpublish()
    run = arena.converge(environments, uvnas_jobs=jobs)
    published = sorted(path.name for path in (arena.share / "envs").iterdir())
    if published != sorted(environment["name"] for environment in environments):
        raise BenchmarkError(f"wrong environments are published: {published}")
    return run.module("uv_env"), run.seconds


def added(arena: Arena, environments: list[dict[str, t.Any]]) -> tuple[float, float]:
    """Converge to environments of which a part is there; return the same."""
    run = arena.converge(environments)
    if not run.changed:
        raise BenchmarkError("there was nothing to build")
    return run.module("uv_env"), run.seconds


def bare_loop(arena: Arena, environments: list[dict[str, t.Any]], *, compiled: bool = True) -> float:
    target = arena.directory / "bare"
    remove(target)
    target.mkdir()
    names = [item["name"] for item in environments]
    seconds = timed(lambda: [arena.bare_uv(name, target / name, compiled=compiled) for name in names])
    remove(target)
    return seconds


def rows(table: Table, name: str, runs: list[tuple[float, float]], base: float, *, target: str, limit: float) -> None:
    modules = [module for module, _whole in runs]
    ratio = statistics.median(modules) / base
    met = ratio < limit if target.startswith("< ") else ratio <= limit
    table.add(f"{name}: module uv_env", modules, base=base, of="bare", target=target, met=met)
    table.add(f"{name}: whole ansible-playbook", [whole for _module, whole in runs], base=base, of="bare")


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
