# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modes in uv's cache where environments have copies: no RECORD has them, but generations do."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import WholeShare, add_wheel, unpacked, wrong


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WholeShare:
    """A share on which a file of a wheel may be run."""

    def add(root: Path, name: str) -> None:
        add_wheel(root, name)
        for path in unpacked(root, name).rglob("data.bin"):
            path.chmod(0o755)

    monkeypatch.setattr(whole_share, "add_wheel", add)
    return whole_share.make(tmp_path / "uv", copies=True)


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o777, 0o600])
def test_they_are_found_and_set_as_generations_have_them(copies: WholeShare, mode: int) -> None:
    cached = [unpacked(copies.root, "alpha") / "alpha" / name for name in ("data.bin", "core.py")]
    for path in cached:
        path.chmod(mode)
    assert wrong(copies.verify()) == {("alpha/data.bin", "mode"), ("alpha/core.py", "mode")}
    copies.repair()
    assert [path.stat().st_mode & 0o7777 for path in cached] == [0o755, 0o644]
    assert copies.differences() == []


def test_a_file_that_is_replaced_has_the_right_one(copies: WholeShare) -> None:
    path = unpacked(copies.root, "alpha") / "alpha" / "data.bin"
    path.unlink()
    copies.repair()
    assert copies.differences() == []
