# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify a share, all of it or some at a time, and repair it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ...bytecode.store import Bytecode
from ...bytecode.store import Interpreter as Compiler
from ...errors import LostMutexError, UvnasError
from ...host import durable, files, in_use, mutex
from ...host.progress import SILENT, Progress
from ...host.workers import Result
from ...python.record import load_record
from ...python.sources import Downloads
from ...python.version import Version
from ...share import journal as journals
from ...share import standing
from ...share.convergence import ShareConvergence
from ...share.journal import NOBODY, Author, Journal
from ...share.layout import Layout
from ...share.place import check_place
from ...share.spec import Share
from ...uv import unsynced
from ...uv.command import Uv
from . import tree as trees
from .content import Sources
from .doors import remove_kept
from .look import RECORDS, Look, all_trees, look
from .mend import Mending, Outcome
from .read import Entry, walk
from .tree import GENERATION, Damage, Tree

FORMAT = 1
# Damages of one tree that a result has.
_SHOWN = 100
# A pass may make others possible: what could not be read, or had no room, or no source.
_PASSES = 3

_UNMENDED = Outcome(why="it cannot be mended here")


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much a verification reads."""

    # 0: as fast as it goes, and everything.
    bytes_per_second: int = 0
    # With a limit, a run ends after so long, and the next one goes on. At least one tree is read.
    seconds: float = 3600.0


def verify(
    share: Share,
    *,
    jobs: int = 0,
    budget: Budget = Budget(),
    remember: bool = True,
    progress: Progress = SILENT,
    busy_timeout: float = 600.0,
) -> Result:
    """Read what is on a share, and say what is wrong with it. Raises UvnasError, OSError.

    ``remember``: put on record what was read, so that a run with a budget can go on there.
    """
    check_place(share)
    told = progress.of(share.name)
    told("reading")
    began = time.monotonic()
    with told.failing():
        found = all_trees(share.layout)
        chosen = _choose(share.layout, found, budget) if budget.bytes_per_second else found
        seen = look(chosen, among=found, jobs=jobs, bytes_per_second=budget.bytes_per_second)
        seen = _without_what_changed(share.layout, seen, jobs)
    warnings = []
    if budget.bytes_per_second and remember:
        waiting = progress.waiting()
        try:
            with mutex.hold(share.layout.mutex, timeout=busy_timeout, purpose="verifying", waiting=waiting):
                _remember(share.layout, chosen, found)
        except (UvnasError, OSError) as error:  # What was found is said all the same.
            warnings.append(f"share {share.name}: the next run reads the same again: {trees.why(error)}")
    told.ends("read")
    names = {tree.name for tree in chosen}
    return {
        "changed": False,
        "trees": [_as_data(tree, damages, None) for tree, damages in zip(seen.trees, seen.damages)],
        "read": {**_read(seen), "seconds": round(time.monotonic() - began, 2)},
        "remaining": [tree.name for tree in found if tree.name not in names],
        **({"warnings": warnings} if warnings else {}),
    }


def _read(seen: Look) -> Result:
    count, size = seen.size
    return {"files": count, "bytes": size}


def _without_what_changed(layout: Layout, seen: Look, jobs: int) -> Look:
    """Look again at what seemed wrong: somebody may be at work, as nothing holds the mutex while this reads."""
    wrong = {seen.trees[number].name for number, damages in enumerate(seen.damages) if damages}
    if not wrong:
        return seen
    now = all_trees(layout)
    again = {tree.name: tree for tree in now if tree.name in wrong}
    second = look(list(again.values()), among=now, jobs=jobs)
    found = dict(zip(again, map(set, second.damages)))
    # What is in both looks is wrong; a tree that is gone, or has come meanwhile, is not.
    seen.damages = [
        [damage for damage in damages if damage in found.get(tree.name, ())]
        for tree, damages in zip(seen.trees, seen.damages)
    ]
    return seen


def _choose(layout: Layout, found: list[Tree], budget: Budget) -> list[Tree]:
    """The trees that were read the longest ago, as many as the budget allows. Linked files count once."""
    known = _remembered(layout)
    order = sorted(found, key=lambda tree: (known.get(tree.name, ""), tree.name))
    room = budget.bytes_per_second * budget.seconds
    # Records are small, and always read.
    chosen = [tree for tree in order if tree.name == RECORDS]
    counted: set[tuple[int, int]] = set()
    for tree in order:
        if tree.name == RECORDS:
            continue
        new = {entry.inode: entry.size for entry in _entries(tree) if entry.inode not in counted}
        room -= sum(new.values())
        if room < 0 and counted:
            break
        counted.update(new)
        chosen.append(tree)
    return chosen


def _entries(tree: Tree) -> t.Iterable[Entry]:
    return walk([tree.path], 1, lambda: None)[0].values()


def _remembered(layout: Layout) -> dict[str, str]:
    """When trees were read; nothing where that is not known."""
    with contextlib.suppress(UvnasError, OSError):
        data = files.read_json(layout.verified) or {}
        read = data.get("read")
        if data.get("format") == FORMAT and isinstance(read, dict):
            return {name: when for name, when in read.items() if isinstance(when, str)}
    return {}


def _remember(layout: Layout, chosen: t.Iterable[Tree], found: t.Iterable[Tree]) -> None:
    names = {tree.name for tree in found}
    known = {name: when for name, when in _remembered(layout).items() if name in names}
    known.update(dict.fromkeys((tree.name for tree in chosen), standing.now()))
    files.write_json(layout.verified, {"format": FORMAT, "read": known})


def _as_data(
    tree: Tree, damages: t.Sequence[Damage], outcomes: t.Optional[t.Mapping[tuple[str, str], Outcome]]
) -> Result:
    """A tree as plain data; ``outcomes`` by place and what was wrong, if something was to be done about it."""

    def told(damage: Damage) -> Result:
        outcome = None if outcomes is None else outcomes.get((damage.place, damage.what), _UNMENDED)
        return {
            "path": damage.place,
            "what": damage.what,
            "says": damage.says,
            **({} if outcome is None else {"done": outcome.done, "why": outcome.why}),
        }

    # What was not mended comes first: all of it is shown if only some is.
    told_all = sorted(map(told, damages), key=lambda each: (bool(each.get("done")), each["path"]))
    return {
        "kind": tree.kind,
        "name": tree.name,
        "state": tree.state,
        "files": len(tree.files) + len(tree.bytecode),
        "count": len(damages),
        "damages": told_all[:_SHOWN],
        "notes": tree.notes,
    }


@dataclasses.dataclass(frozen=True)
class Repaired:
    """What was wrong, and what has become of it."""

    seen: Look
    outcomes: list[dict[tuple[str, str], Outcome]]


@dataclasses.dataclass(frozen=True)
class Repair(ShareConvergence[Look, Repaired]):
    """A share, to be mended."""

    share: Share
    uv: Uv
    python: Downloads
    # Other shares on this host.
    others: tuple[Layout, ...] = ()
    author: Author = NOBODY
    # Whether to remove what nobody has declared.
    remove: bool = False
    jobs: int = 0
    check_mode: bool = False
    progress: Progress = SILENT

    def plan(self) -> Look:
        """What is wrong. Read once: with the mutex held, where anything is to be done."""
        told = self.progress.of(self.share.name)
        told("reading")
        with told.failing():
            return look(all_trees(self.layout), jobs=self.jobs)

    def converge(self, *, purpose: str, busy_timeout: float) -> Result:
        """See Convergence. Unlike others, this plans once, with the mutex held, as it reads everything for that.

        And it sweeps only at its end: what looks unfinished may be complete, and damaged.
        """
        self.check_place()
        if self.check_mode:
            return self.report(self.plan(), None)
        with mutex.hold(self.mutex, timeout=busy_timeout, purpose=purpose, waiting=self.progress.waiting()):
            self.check_place()
            plan = self.plan()
            result = self.report(plan, self.do(plan) if self.changes(plan) else None)
            with contextlib.suppress(LostMutexError):  # What was repaired is said all the same.
                mutex.check(self.mutex)
                remove_kept(plan)
                left = in_use.as_data(self.sweep())
                result = {**result, "left": left} if left else result
            return result

    def changes(self, plan: Look) -> bool:
        return any(plan.damages)

    def obstacle(self, plan: Look) -> t.Optional[Result]:
        return None

    def do(self, plan: Look) -> Repaired:
        told = self.progress.of(self.share.name)
        told("repairing")
        outcomes: dict[str, dict[tuple[str, str], Outcome]] = {}
        first = {tree.name: _by_place(damages) for tree, damages in zip(plan.trees, plan.damages)}
        now = plan
        with told.failing(), contextlib.closing(self._disks()) as disks:
            for _pass in range(_PASSES):
                mending = self._mending(now)
                try:
                    mending.mend()
                finally:
                    disks.sync()
                done = _by_tree(mending)
                for name, found in done.items():
                    outcomes.setdefault(name, {}).update(found)
                if not any(outcome.done for found in done.values() for outcome in found.values()):
                    break
                wrong = {tree.name for tree, damages in zip(now.trees, now.damages) if damages}
                # All of it: what is right there is where the rest comes from.
                now = self._look_again(now, wrong)
                still = {tree.name: damages for tree, damages in zip(now.trees, now.damages)}
                for name in wrong:  # Unpacked wheels may be gone: see unsynced.py.
                    _compare(first.setdefault(name, {}), still.get(name, ()), outcomes.setdefault(name, {}))
                if not any(now.damages):
                    break
        plan.damages = [list(first[tree.name].values()) if tree.name in first else [] for tree in plan.trees]
        self._tell(plan, outcomes)
        told.ends("repaired")
        return Repaired(plan, [outcomes.get(tree.name, {}) for tree in plan.trees])

    def _disks(self) -> durable.Disks:
        layout = self.layout
        return durable.Disks(
            layout.generations, layout.cache, layout.python, layout.bytecode, layout.uv_versions, layout.root
        )

    def _look_again(self, before: Look, wrong: t.Container[str]) -> Look:
        """Look again at the trees that something was wrong with, and take what is known of the others."""
        now = all_trees(self.layout)
        fresh = [tree for tree in now if tree.name in wrong]
        second = look(fresh, among=now, jobs=self.jobs)
        rest = [number for number, tree in enumerate(before.trees) if tree.name not in wrong]
        return Look(
            [*second.trees, *(before.trees[number] for number in rest)],
            [*second.entries, *(before.entries[number] for number in rest)],
            {**before.facts, **second.facts},
            [*second.damages, *([] for _number in rest)],
        )

    def _mending(self, seen: Look) -> Mending:
        sources = Sources(self.layout, self.others, self.uv, self.python, seen)
        return Mending(self.layout, seen, sources, self._compile, self.remove, self.check_mode)

    def _compile(self, tree: Tree, names: t.Sequence[str]) -> None:
        """Give sources of a tree their bytecode. Raises UvnasError, OSError."""
        known = load_record(self.layout).interpreters[tree.name] if tree.manifest is None else tree.manifest.python
        program = self.layout.interpreter_bin(known.key, Version.of_key(known.key).minor)
        compiler = Compiler(program, known.digest)
        with unsynced.writing(self.layout):
            Bytecode.by(self.uv, compiler, earlier=self.others).add(tree.at(tree.library), names)

    def _tell(self, plan: Look, outcomes: t.Mapping[str, t.Mapping[tuple[str, str], Outcome]]) -> None:
        """Put in the journal what was mended."""
        journal = Journal(self.layout, self.author)
        for tree in plan.trees:
            count = sum(bool(outcome.done) for outcome in outcomes.get(tree.name, {}).values())
            if not count:
                continue
            name, _slash, generation = tree.name.partition("/") if tree.kind == GENERATION else (tree.name, "", "")
            mutex.check(self.mutex)
            why = f"{count} path{'s' * (count != 1)}"
            journal.tell(journals.REPAIR, name, generation=generation or None, why=why)

    def report(self, plan: Look, done: t.Optional[Repaired]) -> Result:
        outcomes: list[dict[tuple[str, str], Outcome]] = [{} for _tree in plan.trees]
        if done is not None:
            outcomes = done.outcomes
        elif self.check_mode and self.changes(plan):
            mending = self._mending(plan)
            mending.mend()
            found = _by_tree(mending)
            outcomes = [found.get(tree.name, {}) for tree in plan.trees]
        return {
            "changed": any(outcome.done for each in outcomes for outcome in each.values()),
            "trees": [_as_data(*each) for each in zip(plan.trees, plan.damages, outcomes)],
            "read": {**_read(plan), "seconds": round(plan.seconds, 2)},
        }


def _by_place(damages: t.Iterable[Damage]) -> dict[tuple[str, str], Damage]:
    return {(damage.place, damage.what): damage for damage in damages}


def _compare(
    first: dict[tuple[str, str], Damage], damages: t.Iterable[Damage], outcomes: dict[tuple[str, str], Outcome]
) -> None:
    """Add to the ``first`` damages of a tree those of a second look, and to the ``outcomes`` what that tells."""
    still = _by_place(damages)
    for each in first:
        is_done = bool(outcomes.get(each, Outcome()).done)
        if each not in still and not is_done:
            outcomes[each] = Outcome("mended with the rest")
        elif each in still and is_done:
            outcomes[each] = Outcome(why="still damaged")
    first.update({each: damage for each, damage in still.items() if each not in first})


def _by_tree(mending: Mending) -> dict[str, dict[tuple[str, str], Outcome]]:
    found: dict[str, dict[tuple[str, str], Outcome]] = {}
    for ((number, place), what), outcome in mending.outcomes.items():
        found.setdefault(mending.seen.trees[number].name, {})[place, what] = outcome
    return found
