# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much to measure, and with which environments."""

from __future__ import annotations

import dataclasses
import typing as t

# The overlapping environments are picked from these, five packages each.
POOL = ("numpy", "rich", "requests", "attrs", "pyyaml", "click", "jinja2", "pandas", "httpx", "packaging")
PER_ENVIRONMENT = 5
# Resolves to well over a hundred packages.
BIG = (
    "jupyterlab",
    "scikit-learn",
    "sphinx",
    "pandas",
    "matplotlib",
    "sqlalchemy",
    "httpx[http2]",
    "pytest",
    "black",
    "click>=8.2",
)


@dataclasses.dataclass(frozen=True)
class Scale:
    environments: int = 10
    repeats: int = 3
    # How many environments ansible.builtin.pip makes; its seconds are scaled to all of them.
    pip_environments: int = 2
    # Ascending. File operations per environment are the difference between the last two.
    noop: tuple[int, ...] = (1, 10, 100)
    noop_repeats: int = 5
    publishes: int = 20_000

    def describe(self) -> str:
        return f"{self.environments} overlapping environments, builds measured {self.repeats} x"


QUICK = Scale(environments=3, repeats=1, pip_environments=1, noop=(1, 5, 20), noop_repeats=2, publishes=2_000)


def chosen(quick: bool, environments: int | None, repeats: int | None, publishes: int | None) -> Scale:
    wanted = {"environments": environments, "repeats": repeats, "noop_repeats": repeats, "publishes": publishes}
    return dataclasses.replace(QUICK if quick else Scale(), **{key: n for key, n in wanted.items() if n is not None})


def overlapping(count: int, python: str, **options: t.Any) -> list[dict[str, t.Any]]:
    """Environments of five packages each; neighbours share most packages."""
    picked = ([POOL[(i * 3 + j) % len(POOL)] for j in range(PER_ENVIRONMENT)] for i in range(count))
    return [{**_environment(f"mix{i:02}", python, names), **options} for i, names in enumerate(picked)]


def big(python: str) -> dict[str, t.Any]:
    return _environment("big", python, BIG)


def upgraded(python: str) -> list[dict[str, t.Any]]:
    """The same with another version of one package."""
    return [_environment("big", python, [*BIG[:-1], "click<8.2"])]


def twice(python: str) -> list[dict[str, t.Any]]:
    """The same, and another of the same packages."""
    return [big(python), _environment("twin", python, BIG)]


def _environment(name: str, python: str, requirements: t.Sequence[str]) -> dict[str, t.Any]:
    # No imports to test, so that the work is the same as bare uv's.
    return {"name": name, "python": python, "requirements": list(requirements)}
