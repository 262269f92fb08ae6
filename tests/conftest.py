# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories for tests in which other users than the one who runs them have to do with files."""

from __future__ import annotations

import tempfile
import typing as t
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def public() -> t.Iterator[Path]:
    """A directory for the tests of a file that everybody may look into, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory(prefix="uvnas-tests-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)
