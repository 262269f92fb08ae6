# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A share that is built once, and a copy of it for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import WholeShare


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> WholeShare:
    return whole_share.make(tmp_path_factory.mktemp("original") / "uv")


@pytest.fixture
def made(original: WholeShare, tmp_path: Path) -> WholeShare:
    return whole_share.copy_of(original, tmp_path / "uv")
