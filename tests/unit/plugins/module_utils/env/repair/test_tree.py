# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What should be where: what is believed, and what is not."""

from __future__ import annotations

import base64
import hashlib

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair import tree as trees
from ansible_collections.uvnas.cluster.tests.unit.whole_share import WholeShare, unpacked, wrong

OUTSIDE = (
    "", ".", "..", "../x", "/etc/x", "a/../../x", "a/../x", "./x", "a/./x", "a//x", "a/", "a/..", "a\0", "a/\0b/./c",
)  # fmt: skip


@pytest.mark.parametrize("place", OUTSIDE)
def test_places_outside(place: str) -> None:
    assert not trees.is_inside(place)


@pytest.mark.parametrize("place", ["x", "a/x", "a./x", "a..", "..a", "a/...", ".a/.b", "größe", "a\nb", "\udcff"])
def test_places_inside(place: str) -> None:
    assert trees.is_inside(place)


@pytest.mark.parametrize("place", ["../../../victim", "x/../../../../victim", "../of-beta/beta.py"])
def test_a_record_that_leads_out_of_its_wheel(made: WholeShare, place: str) -> None:
    """Whoever made the wheel wrote it, and lists what it has itself under a path of the owner."""
    victim = made.root / "victim"
    victim.write_text("mine")
    payload = b"answer = 42\n"
    digest = base64.urlsafe_b64encode(hashlib.sha256(payload).digest()).decode().rstrip("=")
    record = unpacked(made.root, "alpha") / "alpha-1.0.dist-info" / "RECORD"
    record.write_text(f"{record.read_text()}{place},sha256={digest},{len(payload)}\n")
    assert wrong(made.verify()) == set()
    assert not made.repair(remove=True)["changed"]
    assert victim.read_text() == "mine"
    assert (unpacked(made.root, "beta") / "beta.py").read_text() == "beta = 1\n"
