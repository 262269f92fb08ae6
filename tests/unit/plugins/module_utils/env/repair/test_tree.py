# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What should be where: what is believed, and what is not."""

from __future__ import annotations

import base64
import hashlib

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair import tree as trees
from ansible_collections.uvnas.cluster.tests.support import unprivileged
from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import SITE, WholeShare, not_done, unpacked, wrong

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


def test_a_manifest_that_lost_its_digest_is_not_an_earlier_versions(made: WholeShare) -> None:
    """Which would be believed, and copied over its copy."""
    manifest = made.generation() / ".uvnas.json"
    content = manifest.read_bytes()
    whole_share.write(manifest, content.replace(b'"sha256": ', b'"sha257": '))
    assert {(".uvnas.json", "content")} <= wrong(made.verify())
    made.repair()
    assert manifest.read_bytes() == content
    assert made.differences() == []


@pytest.mark.parametrize("mode", [0o555, 0o755])
def test_a_generation_without_manifest_and_copies(made: WholeShare, mode: int) -> None:
    """It was complete, as its environment's record has it."""
    path = made.generation()
    for name in (".uvnas.json", ".uvnas-spare"):
        whole_share.remove(path / name)
    path.chmod(mode)
    found = wrong(made.verify())
    assert (".uvnas.json", "missing") in found
    result = made.repair()
    assert not_done(result)[".uvnas.json"] == "it cannot be mended here"
    assert "To rebuild it" in str(result)


def test_a_build_is_no_damage(made: WholeShare) -> None:
    """At work, or killed: its copies are written, and not yet its manifest."""
    path = made.generation()
    whole_share.remove(path / ".uvnas.json")
    path.chmod(0o700)
    assert wrong(made.verify()) == set()
    made.repair()
    assert not (path / ".uvnas.json").exists()
    unfinished = path.with_name("f" * 12)
    unfinished.mkdir(0o755)
    assert wrong(made.verify()) == set()


TOPS = ["generations/train/*", f"python/{whole_share.KEY}", "lib/uv/0.13.9", "cache/archive-v0/of-alpha"]


@pytest.mark.parametrize("top", TOPS)
@pytest.mark.parametrize("mode", [0o000, 0o777, 0o700])
def test_modes_of_whole_trees(made: WholeShare, top: str, mode: int) -> None:
    """Also for an owner who may not look into them then."""
    (path,) = made.root.glob(top)
    path.chmod(mode)
    unprivileged.give(made.root)
    assert wrong(unprivileged.done(made.verify)) == {("", "mode")}
    assert not_done(unprivileged.done(made.repair)) == {}
    assert unprivileged.done(made.owned_differences) == []


@pytest.mark.parametrize("place", ["lib", "bin", *(f"{SITE}/{name}" for name in ("alpha", "alpha-1.0.dist-info"))])
def test_closed_directories(made: WholeShare, place: str) -> None:
    """What is in them is not missing, and not asked of the index."""
    (made.generation() / place).chmod(0)
    unprivileged.give(made.root)
    assert wrong(unprivileged.done(made.verify)) == {(place, "mode")}
    assert not_done(unprivileged.done(made.repair)) == {}
    assert unprivileged.done(made.owned_differences) == []


def test_files_that_nobody_may_read(made: WholeShare) -> None:
    path = made.generation()
    places = [".uvnas.json", ".uvnas-files.json", ".uvnas-spare", "pyvenv.cfg", f"{SITE}/alpha/core.py"]
    for each in (path / place for place in places):
        each.chmod(0)
    for each in (made.interpreter / ".uvnas-files.json", made.root / "lib/uv/0.13.9/.uvnas-files.json"):
        each.chmod(0)
    (made.root / "locks" / "pythons.json").chmod(0)
    unprivileged.give(made.root)
    found = unprivileged.done(made.verify)
    assert ("locks/pythons.json", "invalid") in wrong(found)
    assert {(place, "mode") for place in places[:3]} <= wrong(found)
    (made.root / "locks" / "pythons.json").chmod(0o644)
    assert not_done(unprivileged.done(made.repair)) == {}
    assert unprivileged.done(made.owned_differences) == []
