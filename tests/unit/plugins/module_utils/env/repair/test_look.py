# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found: every kind of damage, one at a time, and nothing else."""

from __future__ import annotations

from pathlib import Path

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


def test_directories_that_nobody_declared(made: WholeShare) -> None:
    """They are nobody's damage, unless others may put something there, or their owner cannot look into them."""
    top = made.generation()
    top.chmod(0o755)
    for mode in (0o755, 0o777, 0o700, 0o000):
        (top / f"mine-{mode:o}").mkdir()
        (top / f"mine-{mode:o}").chmod(mode)
    top.chmod(0o555)
    assert wrong(made.verify()) == {("mine-777", "mode"), ("mine-700", "mode"), ("mine-0", "mode")}
    made.repair()
    assert wrong(made.verify()) == set()


def test_a_directory_in_the_cache_of_what_no_record_has_a_hash_of(made: WholeShare) -> None:
    """Generations have, which nothing is wrong with."""
    path = unpacked(made.root, "beta") / "beta"
    for directory in (path, path / "lib"):
        directory.chmod(0o777)
    assert wrong(made.verify()) == {("beta", "mode"), ("beta/lib", "mode")} == wrong(made.repair(check_mode=True))
    made.repair()
    assert made.differences() == []


def test_a_generation_that_a_symlink_is_in_the_place_of(made: WholeShare, tmp_path: Path) -> None:
    path = made.generation()
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert wrong(made.verify()) == {("envs/train", "invalid")}
