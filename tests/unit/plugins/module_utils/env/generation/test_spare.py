# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import spare

COPIES = {"bin/activate": b"# fish", "lib/caf\udce9.py": b"\0\xff", ".uvnas.json": b"{}\n"}


def test_there_and_back() -> None:
    assert spare.unpack(spare.pack(COPIES)) == COPIES
    assert spare.unpack(spare.pack({})) == {}


def test_any_damage_is_found() -> None:
    content = spare.pack(COPIES)
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            assert spare.unpack(bytes(changed)) is None
    for size in range(len(content)):
        assert spare.unpack(content[:size]) is None


@pytest.mark.parametrize("what", ["large", "link", "missing"])
def test_what_it_does_not_copy(tmp_path: Path, what: str) -> None:
    made = tmp_path / "it"
    if what == "large":
        made.write_bytes(bytes((256 << 10) + 1))
    elif what == "link":
        made.symlink_to(__file__)
    assert spare.small(str(made)) is None
