# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that their owner may not read, until they have their mode again. Here as if the tests were not run by root."""

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair import look, read
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair import tree as trees
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair.tree import Tree
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import WholeShare, not_done, wrong

# Which files cannot be read at the moment.
Unreadable = list[t.Callable[[str], bool]]


class Offline:
    """uv without an index."""

    def run(self, _cmd: t.Sequence[str], **_more: t.Any) -> Completed:
        return Completed(2, "", "error: no route to the index")


@pytest.fixture(autouse=True)
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Unreadable:
    which: Unreadable = [lambda path: not os.stat(path).st_mode & 0o400]

    def facts(questions: t.Any, *how: t.Any, **more: t.Any) -> dict[t.Any, t.Any]:
        found = read.facts(questions, *how, **more)
        for inode, question in questions.items():
            if any(cannot(question.path) for cannot in which):
                found[inode] = {read.FAILED: "Permission denied"}
        return found

    def content(tree: Tree, place: str) -> bytes | None:
        path = tree.at(place)
        return None if os.path.exists(path) and which[0](path) else reads(tree, place)

    reads = trees.read
    monkeypatch.setattr(trees, "read", content)
    monkeypatch.setattr(look, "facts", facts)
    return which


def test_what_was_only_unreadable_is_given_its_mode_and_is_as_it_was(made: WholeShare) -> None:
    for path in (made.file("alpha/core.py"), made.pyc("alpha/core.py")):
        path.chmod(0)
    assert {what for _place, what in wrong(made.verify())} == {"unreadable", "mode"}
    result = made.repair()
    assert not_done(result) == {}
    assert {each["done"] for tree in result["trees"] for each in tree["damages"]} == {"given its mode"}
    assert made.differences() == []


def test_what_was_damaged_too_is_replaced(made: WholeShare) -> None:
    whole_share.write(made.pyc("alpha/core.py"), b"")
    made.pyc("alpha/core.py").chmod(0)
    whole_share.remove(made.file("alpha/core.py"))
    whole_share.add(made.file("alpha/core.py"), b"answer = 43\n")
    result = made.repair()
    assert not_done(result) == {}
    assert wrong(made.verify()) == set()
    assert made.differences() == []


def test_what_can_be_read_again_and_is_right_was_no_damage_after_all(made: WholeShare, unreadable: Unreadable) -> None:
    looks = []

    def once(path: str) -> bool:
        if path.endswith("beta.py"):
            looks.append(path)
        return len(looks) == 1 and path.endswith("beta.py")

    unreadable.append(once)
    whole_share.remove(made.file("alpha/core.py"))
    result = made.repair(uv=Offline())
    assert len(looks) > 1
    assert ("beta.py", "unreadable") in wrong(result)
    assert not_done(result) == {}
    assert made.differences() == []


def test_copies_are_taken_again_once_all_is_known(made: WholeShare) -> None:
    """What the package of an unreadable RECORD has is not known in the first pass."""
    for spare in made.root.glob("generations/*/*/.uvnas-spare"):
        whole_share.write(spare, b"")
    made.file("alpha-1.0.dist-info/RECORD").chmod(0)
    result = made.repair()
    assert not_done(result) == {}
    assert made.differences() == []


def test_copies_that_cannot_be_read_are_not_taken_again(made: WholeShare) -> None:
    """What has been damaged meanwhile is in them."""
    (made.generation() / ".uvnas-spare").chmod(0)
    whole_share.write(made.generation() / "bin" / "alpha", b"")
    whole_share.write(made.generation() / ".uvnas-files.json", b"")
    result = made.repair()
    assert not_done(result) == {}
    assert made.differences() == []
