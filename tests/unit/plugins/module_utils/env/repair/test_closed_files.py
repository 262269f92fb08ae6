# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that even their owner may not read, together with other damage: what tells about that may be among them."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.uvnas.cluster.tests.support import unprivileged
from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import SITE, WholeShare, not_done, wrong

GENERATION, CACHE = "generations/train/*", "cache/archive-v0/of-alpha"
PLACES = [
    *(f"{GENERATION}/{name}" for name in (".uvnas.json", ".uvnas-files.json", ".uvnas-spare", "bin/alpha")),
    f"{GENERATION}/{SITE}/alpha-1.0.dist-info/RECORD",
    f"{CACHE}/alpha-1.0.dist-info/RECORD",
    f"{CACHE}/alpha/core.py",
]
# What a check says that cannot know yet.
UNSURE = {
    "only the index, or an archive, may have it: a check does not ask",
    "what tells can be read once it has its mode, which a check does not set",
}


@pytest.mark.parametrize(("closed", "other"), list(itertools.permutations(PLACES, 2)))
@pytest.mark.parametrize("kind", ["empty", "gone", "link"])
def test_all_is_mended_and_a_check_says_no_worse(made: WholeShare, closed: str, other: str, kind: str) -> None:
    (first,), (second,) = (list(made.root.glob(place)) for place in (closed, other))
    mode, above = (path.stat().st_mode & 0o777 for path in (second, second.parent))
    first.chmod(0)
    whole_share.remove(second)
    if kind == "empty":
        whole_share.add(second)
        second.chmod(mode)
    elif kind == "link":
        whole_share.opened(second).symlink_to("/nowhere")
        second.parent.chmod(above)
    unprivileged.give(made.root)
    checked = unprivileged.done(lambda: made.repair(check_mode=True))
    assert wrong(checked) == wrong(unprivileged.done(made.verify))
    assert set(not_done(checked).values()) <= UNSURE
    assert not_done(unprivileged.done(made.repair)) == {}
    # RECORDs in uv's cache are put together again, with their lines in another order.
    found = unprivileged.done(made.owned_differences)
    assert [line for line in found if not (line.startswith(CACHE) and "/RECORD: " in line)] == []
    assert wrong(unprivileged.done(made.verify)) == set()


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o4755, 0o000])
def test_modes_of_kept_archives(made: WholeShare, mode: int) -> None:
    """Nobody runs them."""
    path = made.root / "python-archives" / whole_share.ARCHIVE
    path.chmod(mode)
    unprivileged.give(made.root)
    assert (path.name, "mode") in wrong(unprivileged.done(made.verify))
    assert not_done(unprivileged.done(made.repair)) == {}
    assert unprivileged.done(made.owned_differences) == []


CLOSED = [f"{CACHE}/alpha-1.0.dist-info", f"{CACHE}/alpha", "python-archives", "bytecode/*-*/??"]


@pytest.mark.parametrize("place", CLOSED)
def test_closed_directories_outside_of_generations(made: WholeShare, place: str) -> None:
    """A repair may need what is in them."""
    path = sorted(made.root.glob(place))[0]
    path.chmod(0)
    whole_share.write(made.generation() / "pyvenv.cfg", b"")
    unprivileged.give(made.root)
    checked = unprivileged.done(lambda: made.repair(check_mode=True))
    assert wrong(checked) == wrong(unprivileged.done(made.verify))
    assert set(not_done(checked).values()) <= UNSURE
    assert not_done(unprivileged.done(made.repair)) == {}
    assert unprivileged.done(made.owned_differences) == []
