# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""UVNAS_SOAK_CUTS power cuts at random moments of a converge from nothing, on ext4 and on xfs. Needs root."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.power_cuts import ENVS, Moment, powered
from ansible_collections.uvnas.cluster.tests.support.soaking import chance, number

CUTS = number("UVNAS_SOAK_CUTS", 20)
# What appears on a share during a converge.
EVENTS = (
    "share.json",
    "lib/uv/*/uv",
    "bin/uv",
    "python-archives/*.tar.gz",
    "python/.temp/*",
    "python/cpython-*/bin",
    "locks/pythons.json",
    "cache/.uvnas-*.json",
    "cache/archive-v*/*",
    "locks/one.txt",
    "generations/*/*/lib/*/*/*.dist-info/RECORD",
    "generations/*/*/lib/*/*/__pycache__/*.pyc",
    "generations/*/*/.uvnas-files.json",
    "generations/*/*/.uvnas.json",
    "envs/*",
    "envs/two",
)
# Longest delay after such an event, in seconds.
SOON = 0.2


@pytest.fixture(scope="module")
def seconds(public: Path) -> float:
    """How long an undisturbed converge takes."""
    with powered(public, "ext4") as it:
        begin = time.monotonic()
        run = it.site.run(ENVS)
        assert run.rc == 0, run.output
        return time.monotonic() - begin


def some_moment(random_numbers: random.Random, seconds: float) -> tuple[str, Moment]:
    """A moment and its name: soon after an event, or some time after the start."""
    if random_numbers.random() < 0.4:
        delay = random_numbers.uniform(0, seconds)
        return f"after {delay:.2f} s", _after(lambda _share: True, delay)
    event, delay = random_numbers.choice(EVENTS), random_numbers.uniform(0, SOON)
    return f"{delay:.3f} s after {event}", _after(lambda share: any(share.glob(event)), delay)


def _after(event: Moment, delay: float) -> Moment:
    since: list[float] = []

    def moment(share: Path) -> bool:
        if not since and event(share):
            since.append(time.monotonic())
        return bool(since) and time.monotonic() >= since[0] + delay

    return moment


@pytest.mark.parametrize("turn", range(CUTS))
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_what_is_in_force_after_a_power_cut_is_whole(public: Path, seconds: float, kind: str, turn: int) -> None:
    name, moment = some_moment(chance(f"power cut {kind} {turn}"), seconds)
    with powered(public, kind) as it:
        cut = it.cut(moment)
        print(f"{kind} {turn}: power cut {name}; the run ended with {cut.rc}")
        it.check()
