# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of glibc, and which one an environment is for. What a share may declare is in test_share."""

from __future__ import annotations

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import platform as glibc


def test_versions_are_compared_as_numbers() -> None:
    assert glibc.is_older("2.9", "2.17")
    assert not glibc.is_older("2.31", "2.31")


def test_an_environment_is_for_the_oldest_of_its_shares() -> None:
    specs = [
        EnvironmentSpec("everywhere"),
        EnvironmentSpec("a", shares=("a",)),
        EnvironmentSpec("b", shares=("b", "a")),
        EnvironmentSpec("both", shares=("b", "c")),
    ]
    found = glibc.for_glibc(specs, {"b": "2.31", "c": "2.28"})
    assert [spec.glibc for spec in found] == ["2.28", None, "2.31", "2.28"]
    assert glibc.for_glibc(specs, {}) == specs
    with pytest.raises(SpecError, match=r"share b: 2\.31 is no version of glibc"):
        glibc.for_glibc(specs, {"b": 2.31})
