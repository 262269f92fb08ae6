# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut in the middle of a converge: what is in force is whole, and the next run heals the rest.

The share is on a disk of its own, so these tests are run as root. More of them: make soak.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.power_cuts import Moment, powered


def published(share: Path) -> bool:
    """An environment has just been put in force."""
    return os.path.lexists(share / "envs" / "one") or os.path.lexists(share / "envs" / "two")


def caching(share: Path) -> bool:
    """uv has unpacked a wheel into its cache."""
    return any((share / "cache").glob("archive-v*/*"))


def interpreted(share: Path) -> bool:
    """The record of interpreters names one."""
    return (share / "locks" / "pythons.json").exists()


def linking_into_an_interpreter(share: Path) -> bool:
    """It is getting its bytecode, and is not complete."""
    return any((share / "python").glob("cpython-*/lib/python*/__pycache__/*.pyc"))


def compiling_for_a_generation(share: Path) -> bool:
    """It is about to get its bytecode, and none is complete."""
    return any((share / "generations").glob("*/*/lib/python*/site-packages/__pycache__"))


@pytest.mark.parametrize(
    "moment",
    [
        published,
        caching,
        linking_into_an_interpreter,
        compiling_for_a_generation,
        interpreted,
    ],
)
def test_what_is_in_force_after_a_power_cut_is_whole(public: Path, moment: Moment) -> None:
    with powered(public, "ext4") as it:
        it.cut(moment)
        it.check()
