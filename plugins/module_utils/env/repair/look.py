# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what is on a share with what should be there, to the last byte. Reads only."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import stat
import time
import typing as t

from ...bytecode.whole import mark_of
from ...errors import UvnasError
from ...host import files, removal
from ...host.checksum import of_text
from ...host.workers import processors
from ...python.record import Record, load_record
from ...share import standing, store
from ...share.contents import is_bytecode
from ...share.layout import SPARE, Layout
from ..generation import spare
from ..generation.record import bytecode_of
from . import tree as trees
from .read import FAILED, MARK, Entry, Facts, Inode, Question, facts, walk
from .tree import (
    ACL,
    BYTECODE,
    CACHE,
    CONTENT,
    GENERATION,
    INVALID,
    KIND,
    LINK,
    MISSING,
    MODE,
    OWNER,
    RECORD,
    UNDECLARED,
    UNREADABLE,
    Damage,
    Expected,
    Source,
    Tree,
)

_NOBODY_WRITES = 0o022
# What no file has; who runs one with a set-id bit becomes its owner.
_NEVER = 0o7000 | _NOBODY_WRITES
_READ = 0o444
# A directory in the store of bytecode.
_PART = re.compile("[0-9a-f]{2}")
# The share's own files, in one tree.
RECORDS = "records"
# A tree, by its number in a look, and a place in it.
Where = tuple[int, str]


@dataclasses.dataclass
class Look:
    """Some trees, and what is in them."""

    trees: list[Tree]
    # Of each tree.
    entries: list[dict[str, Entry]]
    facts: dict[Inode, Facts]
    damages: list[list[Damage]] = dataclasses.field(default_factory=list)
    # What an NFS client keeps of replaced files, which is in no other list.
    kept: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    # How long reading them took.
    seconds: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """How many files and bytes were read."""
        sizes: dict[Inode, int] = {}
        for found in self.entries:
            for entry in found.values():
                if entry.inode in self.facts:
                    sizes[entry.inode] = entry.size
        return len(sizes), sum(sizes.values())

    def is_good(self, tree: int, place: str) -> bool:
        """Whether a file that should be there is, with the right content, whatever its mode."""
        expected = self.trees[tree].expected(place)
        entry = self.entries[tree].get(place)
        return expected is not None and entry is not None and has(self.facts, entry, expected.digest)


def has(known: t.Mapping[Inode, Facts], entry: Entry, digest: str) -> bool:
    """Whether a regular file has been read, and has this digest."""
    algorithm, _colon, value = digest.partition(":")
    return stat.S_ISREG(entry.mode) and known.get(entry.inode, {}).get(algorithm) == value


def all_trees(layout: Layout) -> list[Tree]:
    """Everything on a share that is vouched for. Raises OSError."""
    record = Record()
    with contextlib.suppress(UvnasError, OSError):  # It is among the records, which say so.
        record = load_record(layout)
    found = [_of_records(layout), trees.kept_archives(layout, record.interpreters.values())]
    found += [trees.interpreter(layout, known) for _key, known in sorted(record.interpreters.items())]
    found += [trees.uv(layout, version) for version in files.directories_in(layout.uv_versions)]
    for env in store.known_environments(layout):
        in_force: t.Optional[str] = None
        known: t.Collection[str] = ()
        with contextlib.suppress(UvnasError, OSError):
            in_force = store.published(layout, env)
        with contextlib.suppress(UvnasError, OSError):
            known = standing.read(layout, env).generations
        for generation_id in store.generations(layout, env):
            state = "in force" if generation_id == in_force else "retired"
            is_known = generation_id in known or generation_id == in_force
            tree = trees.generation(layout, env, generation_id, state, is_known)
            if tree is not None:
                found.append(tree)
    found += trees.archives(layout)
    tags = {tree.directory for tree in found if tree.directory}
    for name in files.names_in(layout.bytecode):
        if name in tags:  # Anything else is an earlier version's, or nothing needs it.
            found.append(Tree(BYTECODE, f"bytecode/{name}", os.path.join(layout.bytecode, name), directory=name))
    return found


def _of_records(layout: Layout) -> Tree:
    """The share's own files, as one tree of which nothing but what is wrong is known."""
    tree = Tree(RECORD, RECORDS, layout.root)
    for place, reads in trees.records(layout):
        try:
            reads()
        except (UvnasError, OSError) as error:
            tree.note(place, INVALID, trees.why(error))
    return tree


def look(
    found: list[Tree],
    *,
    among: t.Optional[t.Sequence[Tree]] = None,
    jobs: int = 0,
    bytes_per_second: int = 0,
    meanwhile: t.Callable[[], None] = lambda: None,
) -> Look:
    """Read these trees, and compare. Raises OSError where the filesystem has trouble.

    ``among``: all trees of the share, if these are some of them. What wheels have, generations know.
    """
    began = time.monotonic()
    jobs = jobs or processors()
    each = iter(walk([tree.path for tree in found if tree.name != RECORDS], jobs, meanwhile))
    seen = Look(found, [{} if tree.name == RECORDS else next(each) for tree in found], {})
    seen.kept = list(_kept(seen))
    for number, place in seen.kept:
        del seen.entries[number][place]
    _adopt(seen)
    seen.facts = facts(_questions(seen), jobs, bytes_per_second=bytes_per_second, meanwhile=meanwhile)
    _add_bytecode(seen)
    seen.damages = [[*tree.damages, *_judge(seen, number)] for number, tree in enumerate(found)]
    _judge_archives(seen, found if among is None else among)
    seen.seconds = time.monotonic() - began
    return seen


def _adopt(seen: Look) -> None:
    """What a RECORD has no hash of, the list of a generation has. It is the same in uv's cache if it is one file."""
    known: dict[Inode, str] = {}
    for tree, entries in zip(seen.trees, seen.entries):
        for place in tree.unhashed if tree.kind == GENERATION else ():
            expected, entry = tree.files.get(place), entries.get(place)
            if expected is not None and entry is not None and stat.S_ISREG(entry.mode):
                known[entry.inode] = expected.digest
    for tree, entries in zip(seen.trees, seen.entries):
        for place in tree.unhashed if tree.kind == CACHE else ():
            entry = entries.get(place)
            if entry is not None and entry.inode in known:
                tree.files[place] = Expected(known[entry.inode], "the same file in an environment")


def _kept(seen: Look) -> t.Iterator[tuple[int, str]]:
    for number, tree in enumerate(seen.trees):
        for place, entry in seen.entries[number].items():
            if removal.is_kept(place.rpartition("/")[2]) and stat.S_ISREG(entry.mode) and place not in tree.files:
                yield number, place


def _questions(seen: Look) -> dict[Inode, Question]:
    """What has to be read, each file once."""
    found: dict[Inode, Question] = {}
    for tree, entries in zip(seen.trees, seen.entries):
        for place, entry in entries.items():
            if not stat.S_ISREG(entry.mode):
                continue
            asked = _asked(tree, place)
            known = found.get(entry.inode)
            if known is not None:
                asked = (*known.asked, *(each for each in asked if each not in known.asked))
            if asked:
                found[entry.inode] = Question(tree.at(place), entry.size, asked)
    return found


def _asked(tree: Tree, place: str) -> tuple[str, ...]:
    if tree.kind == BYTECODE:
        return (MARK,) if place.endswith(".pyc") else ()
    if is_bytecode(place):
        shipped = tree.shipped.get(place)
        return (MARK,) if shipped is None else (MARK, shipped.digest.partition(":")[0])
    expected = tree.files.get(place)
    if expected is None:
        return ()
    algorithm = expected.digest.partition(":")[0]
    # What a source's bytecode is called goes by this one.
    return (algorithm, "sha256") if place.endswith(".py") and algorithm != "sha256" else (algorithm,)


# Judging


def _judge(seen: Look, number: int) -> list[Damage]:
    """What is wrong in one tree."""
    tree, entries = seen.trees[number], seen.entries[number]
    if tree.name == RECORDS or (tree.kind == RECORD and not tree.files):
        return []
    if tree.kind == BYTECODE:
        return list(_judge_store(seen, tree, entries))
    top = entries.get("")
    if top is None:
        return [Damage("", MISSING, "it is not there")]
    if not stat.S_ISDIR(top.mode):
        return [Damage("", KIND, "it is not a directory")]
    found: list[Damage] = []
    above = directories(tree)
    for place, expected in tree.files.items():
        found += _judge_file(seen, tree, place, entries.get(place), expected.digest, f"differs from {expected.by}")
    for place, target in tree.links.items():
        found += _judge_link(place, entries.get(place), target)
    found += _judge_bytecode(seen, tree, entries)
    found += _judge_copies(seen, number)
    known = {damage.place for damage in tree.damages}
    for place, entry in entries.items():
        found += _judge_place(tree, place, entry, above, known)
    closed = _closed(entries)
    return [
        damage
        for damage in found
        if (damage.place not in known or damage.what in (MODE, OWNER, ACL))
        and not (damage.what == MISSING and not closed.isdisjoint(("", *trees.above(damage.place))))
    ]


def _closed(entries: t.Mapping[str, Entry]) -> set[str]:
    """The directories that could not be looked into. What is in them shows once their modes are right."""
    if os.geteuid() == 0:
        return set()
    return {place for place, entry in entries.items() if stat.S_ISDIR(entry.mode) and entry.mode & 0o500 != 0o500}


def directories(tree: Tree) -> set[str]:
    """The directories that should be in a tree, as far as there is something in them."""
    found = {""}
    for places in (tree.files, tree.links, tree.bytecode, tree.shipped):
        for place in places:
            above = place.rpartition("/")[0]
            while above not in found:
                found.add(above)
                above = above.rpartition("/")[0]
    return found


def _judge_file(
    seen: Look, tree: Tree, place: str, entry: t.Optional[Entry], digest: str, differs: str
) -> t.Iterator[Damage]:
    if entry is None:
        yield Damage(place, MISSING, "missing")
        return
    if stat.S_ISLNK(entry.mode):
        yield Damage(place, LINK, f"is a symlink to {entry.target}")
        return
    if not stat.S_ISREG(entry.mode):
        yield Damage(place, KIND, "is not a file")
        return
    failed = seen.facts.get(entry.inode, {}).get(FAILED)
    if failed is not None:
        yield Damage(place, UNREADABLE, failed)
    elif not has(seen.facts, entry, digest):
        yield Damage(place, CONTENT, differs if entry.size else f"is empty: {differs}")
    yield from _judge_mode(tree, place, entry)


def _judge_mode(tree: Tree, place: str, entry: Entry) -> t.Iterator[Damage]:
    """What is wrong with who may do what to a file."""
    if entry.uid != os.geteuid():
        yield Damage(place, OWNER, f"belongs to uid {entry.uid}")
    mode = stat.S_IMODE(entry.mode)
    wanted = wanted_mode(tree, place)
    if tree.kind == RECORD:  # Only its owner has to read it.
        mode |= _READ & 0o077
    if tree.witness == place and mode & 0o200:
        yield Damage(place, MODE, f"its mode is {mode:04o}, so the tree is not sealed")
        return
    if mode & _NEVER or mode & _READ != _READ or (wanted is not None and mode & ~0o200 != wanted & ~0o200):
        shown = wanted if wanted is not None else mode & ~_NEVER | _READ
        yield Damage(place, MODE, f"its mode is {mode:04o}, not {shown | mode & 0o200:04o}")


def wanted_mode(tree: Tree, place: str) -> t.Optional[int]:
    """The mode that a file should have, as everybody may read it; None where that is not recorded."""
    if is_bytecode(place) or tree.kind == RECORD:
        return 0o644
    if place in (tree.witness, SPARE) and tree.kind == GENERATION:
        return 0o644
    if tree.executables is None:
        return None
    return 0o755 if place in tree.executables else 0o644


def _judge_copies(seen: Look, number: int) -> t.Iterator[Damage]:
    """Whether a generation lacks copies of what only it has: they were taken while that was damaged."""
    tree, entries = seen.trees[number], seen.entries[number]
    if tree.kind != GENERATION or SPARE not in entries:
        return
    for place in sorted(filter(functools.partial(trees.is_alone, tree), tree.files)):
        is_small = place in entries and entries[place].size <= spare.LARGEST
        if is_small and place not in tree.copies and seen.is_good(number, place):
            yield Damage(SPARE, CONTENT, f"it has no copy of {place}")
            return


def _judge_link(place: str, entry: t.Optional[Entry], target: str) -> t.Iterator[Damage]:
    if entry is None:
        yield Damage(place, MISSING, "missing")
    elif not stat.S_ISLNK(entry.mode):
        yield Damage(place, LINK if stat.S_ISREG(entry.mode) else KIND, f"is no symlink to {target}")
    elif entry.target != target:
        yield Damage(place, LINK, f"points to {entry.target}, not to {target}")


def _add_bytecode(seen: Look) -> None:
    """Where a RECORD has another hash than SHA-256, what a source is called in the store goes by its content."""
    for tree, entries in zip(seen.trees, seen.entries):
        inside = f"{tree.library}/"
        for place, expected in tree.files.items():
            if expected.digest.startswith("sha256:") or not (place.endswith(".py") and place.startswith(inside)):
                continue
            entry = entries.get(place)
            if entry is None or place in tree.uncompiled or not has(seen.facts, entry, expected.digest):
                continue
            key = of_text(f"{seen.facts[entry.inode]['sha256']} {tree.names(place)}")
            tree.bytecode[bytecode_of(place, tree.tag)] = Source(place, f"{tree.directory}/{key}")


def _judge_bytecode(seen: Look, tree: Tree, entries: t.Mapping[str, Entry]) -> t.Iterator[Damage]:
    unknown = 0
    for place, entry in entries.items():
        if not is_bytecode(place):
            continue
        source, shipped = tree.bytecode.get(place), tree.shipped.get(place)
        if not stat.S_ISREG(entry.mode):
            if source is not None or shipped is not None:
                yield Damage(place, LINK if stat.S_ISLNK(entry.mode) else KIND, "is not a file")
            continue
        facts_of = seen.facts.get(entry.inode, {})
        mark = facts_of.get(MARK)
        if FAILED in facts_of:
            yield Damage(place, UNREADABLE, facts_of[FAILED])
        elif (source is not None and mark == source.mark) or (
            shipped is not None and has(seen.facts, entry, shipped.digest)
        ):
            pass
        elif source is None and shipped is None:
            continue  # Undeclared, if that can be told.
        elif tree.all_bytecode or mark or tree.kind == CACHE:
            yield Damage(place, CONTENT, "does not fit its source" if mark else "is damaged bytecode")
        else:
            unknown += 1
            continue
        yield from _judge_mode(tree, place, entry)
    for place in tree.bytecode if tree.all_bytecode else ():
        if place not in entries:
            yield Damage(place, MISSING, "missing")
    for place in tree.shipped:
        if place not in entries and place not in tree.bytecode:
            yield Damage(place, MISSING, "missing")
    if unknown:
        tree.notes.append(f"{unknown} files of bytecode are not on record: an earlier version compiled them")


def _judge_place(
    tree: Tree, place: str, entry: Entry, above: t.AbstractSet[str], known: t.AbstractSet[str]
) -> t.Iterator[Damage]:
    """What is wrong with directories, and with what nobody has declared."""
    if stat.S_ISDIR(entry.mode):
        yield from _judge_directory(tree, place, entry, place in above)
        return
    if place in above:
        target = f" to {entry.target}" if entry.target else ""
        yield Damage(place, KIND, f"is a symlink{target}, not a directory" if target else "is not a directory")
    elif place in tree.files or place in tree.links or place in tree.unhashed:
        pass
    elif place in known:
        if not entry.mode & stat.S_IRUSR:
            yield from _judge_mode(tree, place, entry)
    elif place == SPARE and tree.kind == GENERATION:
        yield from _judge_mode(tree, place, entry)
    elif is_bytecode(place) and _may_have_bytecode(tree, place):
        pass
    elif tree.exact:
        target = f", to {entry.target}" if entry.target else ""
        yield Damage(place, UNDECLARED, f"nobody has declared it{target}")


def _may_have_bytecode(tree: Tree, place: str) -> bool:
    """Whether bytecode is judged as such: it is known, or its source's RECORD has another hash than SHA-256."""
    if place in tree.bytecode or place in tree.shipped or not tree.all_bytecode:
        return True
    head, _slash, name = place.rpartition("/")
    source = f"{os.path.dirname(head)}/{name[: -len(f'.{tree.tag}.pyc')]}.py".lstrip("/")
    expected = tree.files.get(source)
    is_ours = source not in tree.uncompiled and bytecode_of(source, tree.tag) == place
    return is_ours and expected is not None and not expected.digest.startswith("sha256:")


def _judge_directory(tree: Tree, place: str, entry: Entry, is_declared: bool) -> t.Iterator[Damage]:
    """What is wrong with who may do what to a directory, that is not of any use included: things may be in it."""
    if entry.uid != os.geteuid():
        yield Damage(place, OWNER, f"belongs to uid {entry.uid}")
    mode = stat.S_IMODE(entry.mode)
    is_usual = not mode & _NOBODY_WRITES and mode & 0o555 == 0o555
    if not is_usual or (tree.witness and is_declared and mode != 0o555):
        yield Damage(place, MODE, f"its mode is {mode:04o}, not {'0555' if tree.witness else '0755'}")
    if entry.inherits:
        yield Damage(place, ACL, "it has a default ACL")


def _judge_store(seen: Look, tree: Tree, entries: t.Mapping[str, Entry]) -> t.Iterator[Damage]:
    """What is wrong with compiled bytecode: each file says which entry of the store it is."""
    for place, entry in entries.items():
        if not place or _PART.fullmatch(place):
            if not stat.S_ISDIR(entry.mode):
                yield Damage(place, KIND, "is not a directory")
            elif entry.mode & _NOBODY_WRITES or entry.mode & 0o700 != 0o700:
                yield Damage(place, MODE, f"its mode is {stat.S_IMODE(entry.mode):04o}, not 0755")
        if not place.endswith(".pyc"):
            continue
        key = os.path.basename(place)[: -len(".pyc")]
        facts_of = seen.facts.get(entry.inode, {})
        if not stat.S_ISREG(entry.mode):
            yield Damage(place, KIND, "is not a file")
            continue
        if FAILED in facts_of:
            yield Damage(place, UNREADABLE, facts_of[FAILED])
        elif facts_of.get(MARK) != mark_of(tree.directory, key).hex():
            yield Damage(place, CONTENT, "is damaged bytecode")
            continue
        yield from _judge_mode(tree, place, entry)


def _judge_archives(seen: Look, among: t.Iterable[Tree]) -> None:
    """In uv's cache: tell files that are damaged from RECORDs that are, and from what no RECORD has a hash of."""
    good, declared, infos = _of_wheels(among)
    for number, tree in enumerate(seen.trees):
        if tree.kind != CACHE:
            continue
        entries = seen.entries[number]
        # (Packages may have others inside, of what they bring along.)
        info = next((place for place in entries if place.endswith(".dist-info") and "/" not in place), "")
        wrong = [
            damage.place
            for damage in seen.damages[number]
            if damage.what == CONTENT and _is_right(seen, entries.get(damage.place), good.get(f"{info}/{damage.place}"))
        ]
        extra = []
        if info in infos:
            unlisted = [
                place
                for place, entry in entries.items()
                if not stat.S_ISDIR(entry.mode) and place not in tree.files and place not in tree.unhashed
                and place not in tree.shipped
            ]  # fmt: skip
            # What its RECORD should have listed.
            wrong += [place for place in unlisted if f"{info}/{place}" in good]
            extra = [
                Damage(place, UNDECLARED, "no RECORD lists it, and no environment has it")
                for place in unlisted
                if f"{info}/{place}" not in good and place not in declared
            ]
        record = f"{info}/RECORD"
        if wrong:
            rest = [damage for damage in seen.damages[number] if damage.what in (MODE, OWNER, ACL)]
            said = [damage for damage in tree.damages if damage.place == record]
            said = said or [Damage(record, CONTENT, f"differs from what it lists: {min(wrong)}")]
            seen.damages[number] = [*said, *rest]
        elif info and record not in entries and record not in {damage.place for damage in seen.damages[number]}:
            seen.damages[number].append(Damage(record, MISSING, "missing"))
        else:
            seen.damages[number] += extra


def _is_right(seen: Look, entry: t.Optional[Entry], digest: t.Optional[str]) -> bool:
    return entry is not None and digest is not None and has(seen.facts, entry, digest)


def _of_wheels(found: t.Iterable[Tree]) -> tuple[dict[str, str], set[str], set[str]]:
    """What generations know about wheels: digests by ``<dist-info>/<path>``; other paths that they declare; and the
    metadata directories that there are."""
    good: dict[str, str] = {}
    declared: set[str] = set()
    infos: set[str] = set()
    for tree in found:
        if tree.kind != GENERATION:
            continue
        for _place, expected in tree.of_wheels():
            good[expected.shared] = expected.digest
            infos.add(expected.shared.partition("/")[0])
        inside = f"{tree.library}/"
        for place, expected in tree.files.items():
            if not expected.shared and place.startswith(inside):
                declared.add(place[len(inside) :])
    return good, declared, infos
