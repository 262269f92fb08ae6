# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where right content is found, and what is not taken for it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import (
    SITE,
    InstallingUv,
    WholeShare,
    not_done,
    unpacked,
    wrong,
)


def origins(result: dict[str, object]) -> set[str]:
    trees: list[dict[str, list[dict[str, str]]]] = result["trees"]  # type: ignore[assignment]
    return {damage["done"] for tree in trees for damage in tree["damages"]}


@pytest.fixture
def broken(made: WholeShare) -> WholeShare:
    """A file is damaged under all its names."""
    whole_share.write(made.file("alpha/data.bin"), b"damage")
    return made


def test_the_index(broken: WholeShare) -> None:
    uv = InstallingUv(broken.root, index=True)
    assert origins(broken.repair(uv=uv)) == {"repaired from the index"}
    (call,) = (call for call in uv.calls if "sync" in call)
    assert "--require-hashes" in call
    assert broken.differences() == []


def test_another_share(broken: WholeShare, original: WholeShare) -> None:
    assert origins(broken.repair(original.root)) == {f"repaired from the share at {original.root}"}
    assert broken.differences() == []


def test_nothing_has_it(broken: WholeShare) -> None:
    why = not_done(broken.repair())
    assert why.keys() == {f"{SITE}/alpha/data.bin", "alpha/data.bin"}
    assert {each.partition(":")[0] for each in why.values()} == {"uv cannot fetch it from the index"}
    assert broken.file("alpha/data.bin").read_bytes() == b"damage"


@pytest.mark.parametrize("kind", ["pipe", "device", "secret", "closed", "other", "directory"])
def test_a_share_that_is_damaged_itself(broken: WholeShare, original: WholeShare, tmp_path: Path, kind: str) -> None:
    """What is in the way there keeps nobody waiting, and is not taken."""
    other = whole_share.copy_of(original, tmp_path / "other")
    for path in other.root.rglob("data.bin"):
        whole_share.remove(path)
        path.parent.chmod(0o755)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        elif kind in ("device", "secret"):
            path.symlink_to("/dev/zero" if kind == "device" else "/etc/shadow")
        else:
            path.write_bytes(b"something else")
            path.chmod(0 if kind == "closed" else 0o644)
    assert not_done(broken.repair(other.root)).keys() == {f"{SITE}/alpha/data.bin", "alpha/data.bin"}
    assert not list(broken.root.rglob(".*.tmp"))


OWN = (".uvnas.json", ".uvnas-files.json", ".uvnas-spare", f"{SITE}/alpha-1.0.dist-info/RECORD")


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(OWN, 2)))
def test_two_that_vouch_for_the_rest(made: WholeShare, one: str, other: str) -> None:
    """All is found. It is mended, unless the only copy is what is damaged; then nothing is worse."""
    for place in (one, other):
        whole_share.write(made.generation() / place, b"{}")
    found = wrong(made.verify())
    result = made.repair()
    if ".uvnas-spare" not in (one, other):
        assert {place for place, _what in found} == {one, other}
        assert not_done(result) == {}
        assert made.differences() == []
    else:
        assert found
        assert not_done(result)
        assert all((made.generation() / place).read_bytes() == b"{}" for place in (one, other) if "spare" not in place)
        assert made.file("alpha/core.py").read_text() == "answer = 42\n"


@pytest.mark.parametrize("is_pipe", [True, False])
def test_a_record_is_not_put_together_from_a_part_of_its_wheel(made: WholeShare, is_pipe: bool) -> None:
    """It would vouch for that, and whatever is installed from there would lack the rest."""
    path = unpacked(made.root, "alpha")
    (path / "alpha-1.0.dist-info" / "RECORD").unlink()
    (path / "alpha" / "core.py").unlink()
    if is_pipe:
        os.mkfifo(path / "alpha" / "core.py")
    why = not_done(made.repair(remove=True))
    assert why == not_done(made.repair(check_mode=True))
    assert why == {"alpha-1.0.dist-info/RECORD": f"remove {path}: uv fetches it again"}


@pytest.mark.parametrize("tree", ["generations/train/*", f"python/{whole_share.KEY}"])
def test_a_list_that_another_share_has(made: WholeShare, original: WholeShare, tree: str) -> None:
    """A check does not say that the tree is lost."""
    (path,) = made.root.glob(tree)
    for name in (".uvnas-files.json", ".uvnas-spare"):
        whole_share.write(path / name, b"")
    checked = not_done(made.repair(original.root, check_mode=True))
    assert set(checked.values()) == {
        "what should be in it is known once its list is repaired, which a check does not do"
    }
    assert not_done(made.repair(original.root)) == {}
    assert wrong(made.verify()) == set()
