# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs of 500 random damages each, UVNAS_SOAK_KILLS of them killed and UVNAS_SOAK_CUTS cut off by a power cut, at
random moments: nothing is worse than it was, and the next repair ends it. On ext4 and on xfs. Needs root.
"""

from __future__ import annotations

import concurrent.futures
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import repairs
from ansible_collections.uvnas.cluster.tests.support.power_cuts import ENVS, Powered, powered
from ansible_collections.uvnas.cluster.tests.support.repairs import Damaged
from ansible_collections.uvnas.cluster.tests.support.sites import finish
from ansible_collections.uvnas.cluster.tests.support.soaking import chance, kill, number

KILLS, CUTS = number("UVNAS_SOAK_KILLS", 200), number("UVNAS_SOAK_CUTS", 20)
DAMAGES = 500


@pytest.fixture(scope="module", params=["ext4", "xfs"])
def it(request: pytest.FixtureRequest, public: Path) -> t.Iterator[Powered]:
    with powered(public, request.param) as it:
        run = it.site.run(ENVS)
        assert run.rc == 0, run.output
        yield it


@pytest.fixture(scope="module")
def seconds(it: Powered) -> float:
    """How long an undisturbed repair takes."""
    damaged = Damaged.by(it.site.share, chance("repair"), DAMAGES)
    begin = time.monotonic()
    repairs.repair(it.site.share)
    took = time.monotonic() - begin
    assert damaged.left() == []
    return took


def check(it: Powered, damaged: Damaged, lost: t.Container[str] = ()) -> None:
    """Check what there is after a repair that was cut off, and after the next one."""
    worse = damaged.worse()
    # In any case, for the sake of the next turn.
    result = repairs.repair(it.site.share)
    assert worse == []
    stays = [
        f"{tree['name']} {each['path']}: {each['says']}: {each.get('why')}"
        for tree in result["trees"]
        for each in tree["damages"]
        if not each.get("done")
    ]
    assert "\n".join(stays) == ""
    assert damaged.left(lost) == []
    assert it.faults() == []


@pytest.mark.parametrize("turn", range(KILLS))
def test_a_kill_makes_nothing_worse_and_the_next_repair_ends_it(it: Powered, seconds: float, turn: int) -> None:
    random_numbers = chance(f"repair kill {it.disk.kind} {turn}")
    damaged = Damaged.by(it.site.share, random_numbers, DAMAGES)
    delay = random_numbers.uniform(0, seconds)
    running = repairs.start(it.site.share)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(finish, running)
        concurrent.futures.wait([run], timeout=delay)
        how = kill(running.pid, random_numbers) if running.poll() is None else "none: it was done"
        ended = run.result()
    print(f"{it.disk.kind} {turn}: killed {how} after {delay:.2f} s, which ended with {ended.rc}", flush=True)
    check(it, damaged)


@pytest.mark.parametrize("turn", range(CUTS))
def test_a_power_cut_makes_nothing_worse_and_the_next_repair_ends_it(it: Powered, seconds: float, turn: int) -> None:
    random_numbers = chance(f"repair power cut {it.disk.kind} {turn}")
    damaged = Damaged.by(it.site.share, random_numbers, DAMAGES)
    due = time.monotonic() + random_numbers.uniform(0, seconds)
    ended = it.cut(lambda _share: time.monotonic() >= due, repairs.start(it.site.share))
    print(f"{it.disk.kind} {turn}: power cut; the repair ended with {ended.rc}", flush=True)
    # What is new there is dropped after a power cut, now or in an earlier turn, and comes back when it is needed.
    check(it, damaged, lost=("bytecode", "cache"))
