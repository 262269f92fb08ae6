# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found: every kind of damage, one at a time, and nothing else."""

from __future__ import annotations

from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import WholeShare, unpacked, wrong


def test_a_share_that_is_whole(made: WholeShare) -> None:
    result = made.verify()
    assert wrong(result) == set()
    assert [tree["notes"] for tree in result["trees"]] == [[]] * len(result["trees"])


def test_what_is_wrong_with_an_unpacked_wheel_alone(made: WholeShare) -> None:
    """Which only generations can tell, and in them is nothing wrong."""
    record = unpacked(made.root, "alpha") / "alpha-1.0.dist-info" / "RECORD"
    content = record.read_bytes()
    for text, place in ((b"sha256=", "alpha-1.0.dist-info/RECORD"), (b"", "alpha-1.0.dist-info/RECORD")):
        lines = [line for line in content.splitlines(keepends=True) if not line.startswith(b"alpha/core.py")]
        record.write_bytes(b"".join(lines) + (b"alpha/core.py," + text + b"AAAA,1\n" if text else b""))
        assert wrong(made.verify()) == {(place, "content")}
    record.write_bytes(content)
    (unpacked(made.root, "alpha") / "alpha" / "new.py").touch()
    assert wrong(made.verify()) == {("alpha/new.py", "undeclared")}
    whole_share.remove(unpacked(made.root, "alpha") / "alpha" / "new.py")
    assert wrong(made.verify()) == set()
    record.unlink()
    assert wrong(made.verify()) == {("alpha-1.0.dist-info/RECORD", "invalid")}


def test_one_that_was_killed_before_it_had_sealed_the_witness(made: WholeShare) -> None:
    for tree, witness in ((made.generation(), ".uvnas.json"), (made.interpreter, f"bin/python{whole_share.MINOR}")):
        mode = (tree / witness).stat().st_mode
        (tree / witness).chmod(mode | 0o200)
        assert wrong(made.verify()) == {(witness, "mode")}
        made.repair()
        assert (tree / witness).stat().st_mode == mode
    assert made.differences() == []
