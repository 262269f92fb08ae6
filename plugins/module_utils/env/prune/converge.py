# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A prune on one share, in three steps: look what may go; put aside what nobody uses; remove it, or put it back.

Between the steps, the controller asks every member of the share who uses what. Nothing is removed that was not put
aside before, and each step looks again with the mutex held: what has come in force meanwhile, or is held, stays. A
prune that was killed leaves things aside, and the next one goes on with them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import os
import typing as t

from ...bytecode import store as bytecode
from ...errors import LostMutexError, UvnasError, naming
from ...host import files, mutex, removal
from ...host.mounts import space
from ...host.progress import SILENT, Progress
from ...host.workers import Result, call_many
from ...python import sources
from ...python.install import unlink_minor_links
from ...python.record import Record, load_record
from ...share import aside, standing, store
from ...share import journal as journals
from ...share.convergence import ShareConvergence
from ...share.journal import NOBODY, Author, Journal
from ...share.spec import Share
from ...uv import unsynced
from ...uv.command import Uv
from ..generation.size import freed
from . import state
from .plan import GENERATION, INTERPRETER, Item, Plan

# What a controller names: a kind and a name.
Named = tuple[str, str]


def look(share: Share, found: state.Declared, *, measure: bool) -> Result:
    """What may go. With ``measure``, also what would come free: that looks at all files of it. Raises UvnasError."""
    plan = found.plan()
    room = space(share.layout.root)
    paths = [aside.aside(path_of(share, item)) if item.aside else path_of(share, item) for item in plan.items]
    return {
        **_as_data(plan),
        "in_force": found.in_force(),
        "filesystem": {"free_bytes": room.free_bytes, "free_inodes": room.free_inodes},
        "freed": freed(paths) if measure else None,
    }


def _as_data(plan: Plan) -> Result:
    return {
        "changed": False,
        "candidates": [dataclasses.asdict(item) for item in plan.items],
        "kept": [dataclasses.asdict(kept) for kept in plan.kept],
    }


def path_of(share: Share, item: Item) -> str:
    """Where something is when it is not aside."""
    if item.kind == GENERATION:
        return share.layout.generation(*item.name.split("/"))
    return os.path.join(share.layout.python if item.kind == INTERPRETER else share.layout.uv_versions, item.name)


@dataclasses.dataclass(frozen=True)
class PuttingAside(ShareConvergence[t.Sequence[Item], t.Sequence[Item]]):
    """Those of ``items`` that may still go, to be put aside."""

    share: Share
    found: state.Declared
    items: t.Collection[Named]
    check_mode: bool = False

    def plan(self) -> t.Sequence[Item]:
        return [item for item in self.found.plan().items if (item.kind, item.name) in self.items]

    def changes(self, plan: t.Sequence[Item]) -> bool:
        return any(not item.aside for item in plan)

    def obstacle(self, plan: t.Sequence[Item]) -> t.Optional[Result]:
        return None

    def do(self, plan: t.Sequence[Item]) -> t.Sequence[Item]:
        done = []
        for item in plan:
            path = path_of(self.share, item)
            with naming(f"{item.kind} {item.name}: cannot put it aside", path):
                mutex.check(self.mutex)
                # One of a prune that was killed may be there, and something new in its place.
                if not item.aside and not os.path.lexists(aside.aside(path)) and aside.put(path):
                    done.append(item)
        return done

    def report(self, plan: t.Sequence[Item], done: t.Optional[t.Sequence[Item]]) -> Result:
        new = [item for item in plan if not item.aside] if done is None else done
        told = [*(item for item in plan if item.aside), *new]
        return {"changed": bool(new), "aside": [[item.kind, item.name] for item in told]}


@dataclasses.dataclass(frozen=True)
class Ending:
    """What a prune does at its end."""

    remove: t.Sequence[Item]
    back: t.Sequence[Item]


@dataclasses.dataclass(frozen=True)
class Ended:
    """What it did."""

    removed: t.Sequence[Item]
    back: t.Sequence[Item]
    # What came free: bytes and inodes, as the filesystem counts them.
    freed: t.Mapping[str, t.Optional[int]]
    swept: t.Sequence[str]
    warnings: t.Sequence[str]


@dataclasses.dataclass(frozen=True)
class Removal(ShareConvergence[Ending, Ended]):
    """Those of ``items`` that are aside, to be removed; all others that are aside, to be put back."""

    share: Share
    uv: Uv
    found: state.Declared
    items: t.Collection[Named]
    author: Author = NOBODY
    jobs: int = 4
    check_mode: bool = False
    progress: Progress = SILENT

    def plan(self) -> Ending:
        hidden = [item for item in self.found.plan().items if item.aside]
        going = [item for item in hidden if (item.kind, item.name) in self.items and not item.wanted]
        return Ending(going, [item for item in hidden if item not in going])

    def changes(self, plan: Ending) -> bool:
        return True  # What nothing needs in caches shows only by sweeping them.

    def obstacle(self, plan: Ending) -> t.Optional[Result]:
        return None

    def do(self, plan: Ending) -> Ended:
        back = []
        for item in plan.back:
            path = path_of(self.share, item)
            with naming(f"{item.kind} {item.name}: cannot put it back", path):
                mutex.check(self.mutex)
                if aside.put_back(path):
                    back.append(item)
        before = space(self.layout.root)
        cached = _entries(self.layout.cache)
        needed = self._needed()
        with _no_room():  # What is needed until now is unneeded since now, also if this is killed.
            self._note_unneeded()
        # Interpreters last: to take them out of the record takes some room.
        self._take([item for item in plan.remove if item.kind != INTERPRETER])
        self._forget_environments()
        interpreters = [item for item in plan.remove if item.kind == INTERPRETER]
        archives = self._forget([item.name for item in interpreters])
        self._take(interpreters)
        self._note_unneeded(needed)
        warnings = self._sweep()
        swept = [*archives, *sorted(cached - _entries(self.layout.cache))]
        after = space(self.layout.root)
        freed_inodes = None
        if before.free_inodes is not None and after.free_inodes is not None:
            freed_inodes = after.free_inodes - before.free_inodes
        room = {"bytes": after.free_bytes - before.free_bytes, "inodes": freed_inodes}
        return Ended(plan.remove, back, room, swept, warnings)

    def _take(self, items: t.Sequence[Item]) -> None:
        """Remove what is aside, several at once."""
        works = []
        for item in items:
            path = path_of(self.share, item)
            with naming(f"{item.kind} {item.name}: cannot remove it", path):
                mutex.check(self.mutex)
                trash = aside.release(path)
            works.append(functools.partial(self._remove, item.name, trash))
            if item.kind == GENERATION:
                env, _slash, generation_id = item.name.partition("/")
                journal = Journal(self.layout, self.author)
                journal.tell(journals.REMOVE, env, generation=generation_id, why="pruned")
        for answer in call_many(works, jobs=self.jobs, meanwhile=functools.partial(mutex.check, self.mutex)):
            answer()

    def _remove(self, name: str, trash: t.Optional[str]) -> Result:
        """Remove a leftover, in a process of its own. What is in use stays, and the sweep afterwards says so."""
        told = self.progress.of(name)
        told("removing")
        with told.failing(), contextlib.suppress(FileNotFoundError):
            if trash is not None:
                removal.remove(trash)
        told.ends("removed")
        return {}

    def _forget(self, keys: t.Sequence[str]) -> list[str]:
        """Take interpreters out of the record, which never names what is not there; remove archives without one."""
        record = before = load_record(self.layout)
        # Where another one has taken its place, that one stays.
        gone = {key for key in keys if not os.path.lexists(os.path.join(self.layout.python, key))}
        unlink_minor_links(self.layout, gone.__contains__)
        for key in gone:
            record = record.without(key)
        if record != before:
            # First: if this is killed after that, the record still has them.
            if any(known.archive for known in before.interpreters.values()):
                sources.publish(self.layout, record.interpreters.values())
            self._write(record)
        found = sources.leftover_archives(self.layout, record)
        for path in found:
            mutex.check(self.mutex)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return [os.path.basename(path) for path in found]

    def _forget_environments(self) -> None:
        """Of environments that were removed, and whose last generation is gone: the rest."""
        for env in store.known_environments(self.layout):
            if self._is_over(env):
                mutex.check(self.mutex)
                with contextlib.suppress(OSError):
                    removal.remove_tree(self.layout.logs_of(env))
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self.layout.standing(env))
                    os.rmdir(self.layout.generations_of(env))  # Last: by this it is found again, if this is killed.

    def _is_over(self, env: str) -> bool:
        with contextlib.suppress(UvnasError, OSError):
            # Hidden there is what is aside, or in use.
            return self.found.is_removed(env) and not os.listdir(self.layout.generations_of(env))
        return False

    def _needed(self) -> set[str]:
        """The interpreters that something needs."""
        needs = state.Needs(self.found)
        return {key for key in needs.record.interpreters if needs.of(key)}

    def _note_unneeded(self, until_now: t.AbstractSet[str] = frozenset()) -> None:
        """Since when nothing needs an interpreter, for prunes to come. ``until_now``: those that something needed."""
        record = before = load_record(self.layout)
        needed = self._needed()
        for key, known in before.interpreters.items():
            if key in needed and known.unneeded is not None:
                record = record.noting(key, None)
            elif key not in needed and (known.unneeded is None or key in until_now):
                record = record.noting(key, standing.now())
        if record != before:
            self._write(record)

    def _write(self, record: Record) -> None:
        mutex.check(self.mutex)
        files.write_json(self.layout.pythons_record, record.as_dict())

    def _sweep(self) -> list[str]:
        """Remove bytecode that nothing has, and what uv itself says its cache does not need. Returns warnings."""
        # Whatever is wrong there, what has been done is reported; the next prune tries again.
        with contextlib.suppress(LostMutexError, OSError):
            mutex.check(self.mutex)
            bytecode.sweep(self.layout)
        if not os.path.exists(self.layout.uv) or not os.path.isdir(self.layout.cache):
            return []
        mutex.check(self.mutex)
        with unsynced.writing(self.layout):
            try:
                self.uv.check("cache", "prune", message="uv cannot prune its cache", cwd="/")
            except UvnasError as error:
                return [error.explain()]
        return []

    def report(self, plan: Ending, done: t.Optional[Ended]) -> Result:
        removed = plan.remove if done is None else done.removed
        back = plan.back if done is None else done.back
        swept = [] if done is None else done.swept
        return {
            "changed": bool(removed or back or swept),
            "removed": [dataclasses.asdict(item) for item in removed],
            "back": [[item.kind, item.name] for item in back],
            "swept": len(swept),
            "freed": None if done is None else dict(done.freed),
            **({"warnings": list(done.warnings)} if done is not None and done.warnings else {}),
        }


@contextlib.contextmanager
def _no_room() -> t.Iterator[None]:
    """Go on where the filesystem is full: something is about to be removed."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _entries(cache: str) -> set[str]:
    """What a cache of uv has, two levels deep: unpacked wheels, and buckets."""
    found = set()
    for bucket in files.directories_in(cache):
        found.add(bucket)
        with contextlib.suppress(OSError):
            found.update(f"{bucket}/{name}" for name in os.listdir(os.path.join(cache, bucket)))
    return found
