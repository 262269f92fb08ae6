# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What shares its files with what: which damaged places were, or should be, one file.

uv links or clones the files of a wheel from its cache. Links that are left tell which trees have the same ones, and so
do clones; a cache may have a wheel twice, if two builds unpacked it at once.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import stat
import typing as t

from ...host import extents
from .look import Look, Where
from .tree import CACHE, GENERATION


@dataclasses.dataclass
class Group:
    """Places that shall be one file again."""

    digest: str
    # What they are in their wheel, and in which family; empty if they are nothing else's.
    shared: str
    # A set in order: a file may have many names.
    places: dict[Where, None]


@dataclasses.dataclass(frozen=True)
class Sharing:
    """What the trees of a look share."""

    seen: Look

    def groups(self, damaged: t.Iterable[Where]) -> list[Group]:
        """Files to replace, those together that were, or should be, one."""
        by_inode: dict[t.Any, Group] = {}
        by_name: dict[t.Any, Group] = {}
        alone: list[Group] = []
        later: list[tuple[Where, str, str]] = []
        for where in damaged:
            number, place = where
            expected = self.seen.trees[number].expected(place)
            if expected is None:
                continue
            digest = expected.digest
            family = self._family(where)
            shared = "" if family is None else f"{family} {expected.shared}"
            entry = self.seen.entries[number].get(place)
            if entry is None or not stat.S_ISREG(entry.mode) or entry.links == 1:
                later.append((where, digest, shared))
                continue
            group = by_inode.setdefault((entry.inode, digest), Group(digest, shared, {}))
            group.places[where] = None
            if shared:
                by_name.setdefault((shared, digest), group)
        for where, digest, shared in later:
            found = by_name.get((shared, digest)) if shared else None
            if found is None:
                found = Group(digest, shared, {})
                alone.append(found)
                if shared:
                    by_name[shared, digest] = found
            found.places[where] = None
        return [*by_inode.values(), *alone]

    def to_link_to(self, group: Group) -> t.Optional[Where]:
        """A good file that these should be links to."""
        if not group.shared:
            return None
        for number, place in self._by_shared.get(group.shared, ()):
            expected = self.seen.trees[number].expected(place)
            is_same = expected is not None and expected.digest == group.digest
            if is_same and self.seen.is_good(number, place) and (number, place) not in group.places:
                return number, place
        return None

    @functools.cached_property
    def _by_shared(self) -> dict[str, list[Where]]:
        found: dict[str, list[Where]] = {}
        for number, tree in enumerate(self.seen.trees):
            for place, expected in tree.of_wheels():
                family = self._family((number, place))
                if family is not None:
                    found.setdefault(f"{family} {expected.shared}", []).append((number, place))
        return found

    def _family(self, where: Where) -> t.Optional[int]:
        """Which trees a file should be one with: the number of the family for its wheel; None if it has none."""
        expected = self.seen.trees[where[0]].expected(where[1])
        if expected is None or not expected.shared:
            return None
        info = expected.shared.partition("/")[0]
        return self._families.get(info, {}).get(where[0])

    @functools.cached_property
    def _families(self) -> dict[str, dict[int, int]]:
        """By wheel and tree: which trees have links to the same files of it. uv's cache may have a wheel twice."""
        sharing: dict[str, dict[t.Any, set[int]]] = {}
        having: dict[str, set[int]] = {}
        for number, tree in enumerate(self.seen.trees):
            for place, expected in tree.of_wheels():
                info = expected.shared.partition("/")[0]
                having.setdefault(info, set()).add(number)
                entry = self.seen.entries[number].get(place)
                if entry is not None and entry.links > 1:
                    sharing.setdefault(info, {}).setdefault(entry.inode, set()).add(number)
        found: dict[str, dict[int, int]] = {}
        for info, numbers in having.items():
            groups: list[set[int]] = []
            for together in {frozenset(each) for each in sharing.get(info, {}).values() if len(each) > 1}:
                touching = [group for group in groups if group & together]
                groups = [group for group in groups if not group & together]
                groups.append(set(together).union(*touching))
            if len(groups) == 1:
                # Of a small wheel, all that was linked may be what is damaged.
                groups[0].update(number for number in numbers if self._is_linked(number))
            elif not groups:
                groups.append({number for number in numbers if self._is_linked(number)})
            found[info] = {number: index for index, group in enumerate(groups) for number in group}
        return found

    def _is_linked(self, number: int) -> bool:
        """Whether the files of a generation are links to those of others; unpacked wheels are linked if any are.

        So is a generation that has lost all of them, which cannot tell.
        """
        if number not in self._linked:
            tree, entries = self.seen.trees[number], self.seen.entries[number]
            found = [entries[place] for place, _expected in tree.of_wheels() if place in entries]
            self._linked[number] = tree.kind == GENERATION and sum(entry.links > 1 for entry in found) * 2 > len(found)
            if tree.kind == CACHE or (tree.kind == GENERATION and not found):
                generations = [each for each, one in enumerate(self.seen.trees) if one.kind == GENERATION]
                self._linked[number] = any(map(self._is_linked, generations))
        return self._linked[number]

    @functools.cached_property
    def _linked(self) -> dict[int, bool]:
        return {}

    def clones(self, one: int, other: int, place: str) -> int:
        """How many files of two trees, of the wheel that ``place`` is of, are clones of each other.

        0 if the cache has that wheel but once. Otherwise a clone of the other one would leave what this one was cloned
        from alone.
        """
        expected = self.seen.trees[one].expected(place)
        info = "" if expected is None else expected.shared.partition("/")[0]
        if self._cached[info] < 2:
            return 0
        found = self._starts(one, info)
        return len(found & self._starts(other, info)) if found else 0

    @functools.cached_property
    def _cached(self) -> collections.Counter[str]:
        """How often the cache has each wheel."""
        return collections.Counter(
            info
            for tree in self.seen.trees
            if tree.kind == CACHE
            for info in {expected.shared.partition("/")[0] for _place, expected in tree.of_wheels()}
        )

    def _starts(self, number: int, info: str) -> frozenset[int]:
        """Where on the disk a tree's files of a wheel are that share their space."""
        if (number, info) not in self._known_starts:
            tree, entries = self.seen.trees[number], self.seen.entries[number]
            starts = (
                extents.shared_start(tree.at(place))
                for place, expected in tree.of_wheels()
                # uv clones where it can, and links elsewhere.
                if expected.shared.partition("/")[0] == info
                and self.seen.is_good(number, place)
                and entries[place].links == 1
            )
            self._known_starts[number, info] = frozenset(start for start in starts if start is not None)
        return self._known_starts[number, info]

    @functools.cached_property
    def _known_starts(self) -> dict[tuple[int, str], frozenset[int]]:
        return {}
