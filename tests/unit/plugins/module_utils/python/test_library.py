# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sources of a standard library get bytecode. How they get it: see uv_python."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.python.library import sources


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name in ("os.py", "json/__init__.py", "lib2to3/tests/data/bom.py", "site-packages/pip/__init__.py"):
        path = tmp_path / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "lib"


def test_all_of_them_with_the_packages_that_came_with_it(library: Path) -> None:
    for name in ("LICENSE.txt", "os.pyc", "_ssl.so", "__pycache__/odd.py"):
        (library / name).parent.mkdir(exist_ok=True)
        (library / name).touch()
    (library / "link.py").symlink_to("os.py")
    (library / "directory.py").mkdir()
    (library / "link").symlink_to("json")
    found = sorted(sources(str(library)))
    assert found == ["json/__init__.py", "lib2to3/tests/data/bom.py", "os.py", "site-packages/pip/__init__.py"]


def test_an_archive_may_have_a_link_where_bytecode_goes(library: Path, tmp_path: Path) -> None:
    """Nothing is written to where it leads."""
    (tmp_path / "elsewhere").mkdir()
    (library / "json" / "__pycache__").symlink_to("../../elsewhere")
    (library / "__pycache__").touch()
    assert sorted(sources(str(library))) == ["lib2to3/tests/data/bom.py", "site-packages/pip/__init__.py"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two users")
def test_what_somebody_else_wrote_is_left_to_them(library: Path) -> None:
    (library / "json" / "__pycache__").mkdir()
    (library / "site-packages" / "__pycache__").mkdir()
    os.chown(library / "json" / "__pycache__", 12345, 12345)
    assert "json/__init__.py" not in sources(str(library))
    assert "os.py" in sources(str(library))
