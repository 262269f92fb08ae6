# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations tried on this host before they are published: by their final path, with what is declared for them."""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
import typing as t

from ..errors import CommandError, UvnasError
from ..host.secrets import scrub
from ..host.workers import Result, call_many
from .spec import EnvironmentSpec
from .verify import JOBS, Verification

# Of the first line of a problem, and of the end of the rest, in characters: the controller hears it from many hosts.
_LINE, _REST = 1000, 4000


@dataclasses.dataclass(frozen=True)
class Trial:
    """A generation to be tried."""

    spec: EnvironmentSpec
    generation: str


def try_all(verification: Verification, trials: t.Sequence[Trial], timeout: float) -> list[Result]:
    """For each: its environment, its generation, and the problem, or None. Several at once.

    ``timeout`` is that of each check, in seconds.
    """
    starts = verification.starts
    works = [functools.partial(_tried, verification, trial, timeout, start=starts) for trial in trials]
    found = []
    for trial, answer in zip(trials, call_many(works, jobs=JOBS, user=verification.user if starts else None)):
        try:
            problem = answer()["problem"]
        except UvnasError as error:
            problem = f"environment {trial.spec.name}: {error.explain()}"
        about = {"name": trial.spec.name, "id": trial.generation}
        found.append({**about, "problem": None if problem is None else _short(problem)})
    return found


def _tried(verification: Verification, trial: Trial, timeout: float, *, start: bool) -> Result:
    if not start:
        return {"problem": "it cannot be started: nothing on a share runs as root, and the share belongs to root"}
    problem = verification.problem(trial.spec, generation=trial.generation)
    return {"problem": problem or _checked(verification, trial, timeout)}


def _checked(verification: Verification, trial: Trial, timeout: float) -> t.Optional[str]:
    """What the first check says that fails; None if none does."""
    path = verification.layout.generation(trial.spec.name, trial.generation)
    variables = {
        "PATH": f"{path}/bin:/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/"),
        "VIRTUAL_ENV": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
    }
    with tempfile.TemporaryDirectory(prefix="uvnas-") as scratch:
        for check in trial.spec.checks:
            what = f"environment {trial.spec.name}: check {scrub(repr(check))}"
            try:
                done = verification.runner.run(
                    ["/bin/sh", "-c", check], variables=variables, cwd=scratch, timeout=timeout
                )
            except CommandError as error:
                return f"{what}: {error.explain()}"
            if done.rc != 0:
                said = (done.stderr or done.stdout).strip()
                return f"{what} failed on this host" + (f":\n{said}" if said else f" with exit code {done.rc}")
    return None


def _short(text: str) -> str:
    """What went wrong, and the end of what was said: the end of a traceback says what happened."""
    first, newline, rest = text.partition("\n")
    return first[:_LINE] + newline + (f"…\n{rest[-_REST:]}" if len(rest) > _REST else rest)
