# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mend what a look has found: file by file, each by one rename, so that whoever has the old one open keeps it.

What was one file with many names is one file with these names afterwards. Directories of sealed trees are opened for
that, and sealed again; whoever is killed in between leaves a tree that counts as unsealed, and the next run seals it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import functools
import os
import shutil
import stat
import typing as t

from ...errors import UvnasError
from ...host import acl, files, mutex, removal
from ...share.contents import is_bytecode
from ...share.layout import CONTENTS, SPARE, Layout
from ..generation import spare
from . import tree as trees
from .content import Content, Sources, digest_in, has_digest
from .doors import Doors
from .look import Look, Where, directories, wanted_mode
from .read import Entry
from .sharing import Group, Sharing
from .tree import (
    ACL,
    BYTECODE,
    CACHE,
    CONTENT,
    GENERATION,
    INTERPRETER,
    INVALID,
    KIND,
    LINK,
    MISSING,
    MODE,
    OWNER,
    RECORD,
    UNDECLARED,
    UNREADABLE,
    UV,
    Source,
    Tree,
)

# What nothing else can be mended with, either.
_FATAL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE))
_PERMITTED = {MODE: "given its mode", ACL: "freed of its ACL"}
_REPLACED = frozenset((CONTENT, MISSING, LINK, KIND, UNREADABLE, OWNER))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What has become of a damage: how it was mended, or why it was not."""

    done: str = ""
    why: str = ""


@dataclasses.dataclass
class Mending:
    """One pass over what a look has found. Hold the share's mutex."""

    layout: Layout
    seen: Look
    sources: Sources
    # Gives the sources, by their names in a tree's library, their bytecode.
    compile: t.Callable[[Tree, t.Sequence[str]], None]
    remove: bool = False
    check_mode: bool = False
    outcomes: dict[tuple[Where, str], Outcome] = dataclasses.field(default_factory=dict)

    def mend(self) -> None:
        """Mend what can be mended; ``outcomes`` has the rest, too. Raises OSError, and UvnasError without the mutex."""
        self._doors, self._sharing = Doors(self.seen), Sharing(self.seen)
        try:
            self._clear()
            self._permit()
            self._link()
            for group in self._groups():
                self._replace(group)
            self._replace_unpacked()
            self._mend_records()
            self._mend_spares()
            self._mend_bytecode()
            self._explain()
        finally:
            self._doors.close()

    # What every step needs

    def _all(self, *whats: str) -> t.Iterator[tuple[Where, str]]:
        for number, damages in enumerate(self.seen.damages):
            for damage in damages:
                # Of a tree itself, only who may do what to it can be set right, but bytecode is easily had again.
                is_lasting = self.seen.trees[number].kind != BYTECODE
                if damage.what in whats and (damage.place or damage.what in _PERMITTED or not is_lasting):
                    where = (number, damage.place)
                    if damage.what != UNREADABLE or not self.outcomes.get((where, UNREADABLE), Outcome()).done:
                        yield where, damage.what

    def _tree(self, where: Where) -> Tree:
        return self.seen.trees[where[0]]

    def _path(self, where: Where) -> str:
        return self._tree(where).at(where[1])

    def _entry(self, where: Where) -> t.Optional[Entry]:
        return self.seen.entries[where[0]].get(where[1])

    def _is_blocked(self, where: Where) -> bool:
        """Whether something is in the way that only goes if that is asked for: a directory, or a file above it."""
        number, place = where
        entries = self.seen.entries[number]
        found = [entries[above] for above in trees.above(place) if above in entries]
        if any(not stat.S_ISDIR(entry.mode) and not stat.S_ISLNK(entry.mode) for entry in found):
            return not self.remove
        return bool(place) and place in entries and stat.S_ISDIR(entries[place].mode) and not self.remove

    def _set(self, where: Where, what: str, *, done: str = "", why: str = "") -> None:
        self.outcomes[where, what] = Outcome(done, why)

    @contextlib.contextmanager
    def _doing(self, where: Where, what: str, done: str) -> t.Iterator[None]:
        """A block that mends something; what goes wrong with that alone is noted."""
        mutex.check(self.layout.mutex)
        try:
            yield
        except OSError as error:
            if error.errno in _FATAL:
                raise
            self._set(where, what, why=trees.why(error))
        else:
            self._set(where, what, done=done)

    # Steps

    def _clear(self) -> None:
        """Remove what nobody has declared, if that is asked for, and symlinks where a directory should be."""
        for where, what in list(self._all(UNDECLARED, KIND)):
            entry = self._entry(where)
            if entry is None:
                continue
            in_the_way = what == KIND and stat.S_ISLNK(entry.mode) and where[1] not in self._tree(where).files
            # What a repair leaves that was killed.
            is_ours = what == UNDECLARED and any(map(files.is_temporary, where[1].split("/")))
            if not (in_the_way or is_ours or self.remove):
                self._set(where, what, why="" if what == UNDECLARED else _BLOCKED)
            elif self.check_mode:
                self._set(where, what, done="removed")
            else:
                with self._doing(where, what, "removed"):
                    self._doors.open(where)
                    removal.remove_tree(self._path(where))
                    self._remove_empty(where)

    def _remove_empty(self, where: Where) -> None:
        """Remove the directories above that nobody has declared, as soon as they are empty."""
        number, place = where
        if number not in self._declared:
            self._declared[number] = directories(self._tree(where))
        above = (number, place.rpartition("/")[0])
        while above[1] not in self._declared[number]:
            self._doors.open(above)
            try:
                os.rmdir(self._path(above))
            except OSError:
                return
            above = (number, above[1].rpartition("/")[0])

    @functools.cached_property
    def _declared(self) -> dict[int, set[str]]:
        return {}

    def _permit(self) -> None:
        """Set modes, and remove ACLs."""
        for where, what in list(self._all(MODE, ACL)):
            if self.check_mode:
                self._set(where, what, done=_PERMITTED[what])
                continue
            with self._doing(where, what, _PERMITTED[what]):
                path, entry = self._path(where), self._entry(where)
                status = os.lstat(path)
                is_same = entry is not None and (status.st_dev, status.st_ino) == entry.inode
                if stat.S_ISLNK(status.st_mode) or not is_same:
                    raise FileNotFoundError(errno.ENOENT, "it has changed meanwhile", path)
                self._doors.seals(where)
                os.chmod(path, self._mode(where, status))
                self._doors.closed(path)
                acl.strip(path)
        for where, what in list(self._all(UNREADABLE)):
            if self.outcomes.get((where, MODE), Outcome()).done:  # The next pass reads it.
                self._set(where, what, done=_PERMITTED[MODE])

    def _mode(self, where: Where, status: os.stat_result) -> int:
        tree, mode = self._tree(where), stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            return 0o555 if tree.witness else 0o755
        wanted = self._wanted_mode(where)
        return (mode & ~0o022 | 0o644) & 0o777 if wanted is None else wanted

    def _wanted_mode(self, where: Where) -> t.Optional[int]:
        """The mode that a file should have; None if nothing says so. Of uv's cache, generations know."""
        tree, place = self._tree(where), where[1]
        expected, wanted = tree.files.get(place), wanted_mode(tree, place)
        return self._modes.get(expected.shared) if wanted is None and expected is not None else wanted

    @functools.cached_property
    def _modes(self) -> dict[str, t.Optional[int]]:
        """The modes of what generations share with each other, or could."""
        return {
            expected.shared: wanted_mode(tree, place)
            for tree in self.seen.trees
            if tree.kind == GENERATION and tree.executables is not None
            for place, expected in tree.files.items()
            if expected.shared
        }

    def _link(self) -> None:
        for where, what in list(self._all(MISSING, LINK, KIND)):
            target = self._tree(where).links.get(where[1])
            if target is None or self._is_blocked(where):
                continue
            if self.check_mode:
                self._set(where, what, done="linked again")
                continue
            with self._doing(where, what, "linked again"):
                self._doors.open(where)
                scratch = self._scratch(self._tree(where))
                os.symlink(os.fsdecode(target.encode("utf-8", "surrogateescape")), scratch)
                self._rename(scratch, where)

    def _groups(self) -> list[Group]:
        """The files to replace, those together that were, or should be, one."""
        return self._sharing.groups(
            where
            for where, what in self._all(*_REPLACED)
            if not (what == UNREADABLE and self.outcomes.get((where, what), Outcome()).done)
            and where[1] not in self._tree(where).links
            and not self._is_blocked(where)
            and not (is_bytecode(where[1]) and self._source(where) is not None)
        )

    def _source(self, where: Where) -> t.Optional[Source]:
        """What some bytecode should be of; None for anything else."""
        return self._tree(where).bytecode.get(where[1])

    def _candidates(self, group: Group) -> t.Iterator[Content]:
        but = {self._path(where) for where in group.places}
        for where in group.places:
            # Of somebody else, and otherwise right: a copy is the owner's.
            if self.seen.is_good(*where):
                yield Content("itself", self._path(where))
        (number, place), *_rest = group.places
        yield from self.sources.here(group.digest, but, lambda other: self._sharing.clones(number, other, place))
        for where in group.places:
            yield from self.sources.copy(self._tree(where), where[1], group.digest)
        yield from self.sources.elsewhere(group.digest)

    def _replace(self, group: Group) -> None:
        linked = self._sharing.to_link_to(group)
        if linked is not None:
            origin = "uv's cache" if self._tree(linked).kind == CACHE else "another environment"
            if self._put(group, Content(origin, self._path(linked)), link=True):
                return
        for content in self._candidates(group):
            if self._put(group, content):
                return
        self._say(group, why=_NOWHERE)

    def _replace_unpacked(self) -> None:
        """Ask archives and the index for what is nowhere else, one tree after the other."""
        missing: dict[int, dict[str, Group]] = {}
        for group in self._groups():
            if self._outcome(group).why == _NOWHERE:
                # Any of these trees can tell what its wheel is called.
                number, place = min(group.places, key=lambda where: self._tree(where).kind == CACHE)
                missing.setdefault(number, {})[place] = group
        for number, wanted in missing.items():
            if self.check_mode:
                for group in wanted.values():
                    self._say(group, why=_NOWHERE_YET)
                continue
            digests = {place: group.digest for place, group in wanted.items()}
            with self.sources.unpacked(self.seen.trees[number], digests) as (found, why):
                for group in wanted.values():
                    content = found.get(group.digest)
                    if content is None or not self._put(group, content):
                        self._say(group, why=why or "neither this host's shares nor the index have it as it was")

    def _outcome(self, group: Group) -> Outcome:
        return next(
            (self.outcomes[where, what] for where in group.places for what in self._whats(where)
             if (where, what) in self.outcomes and what in _REPLACED),
            Outcome(),
        )  # fmt: skip

    def _whats(self, where: Where) -> list[str]:
        return self._by_place.get(where, [])

    @functools.cached_property
    def _by_place(self) -> dict[Where, list[str]]:
        """What is wrong with each place."""
        found: dict[Where, list[str]] = {}
        for number, damages in enumerate(self.seen.damages):
            for damage in damages:
                found.setdefault((number, damage.place), []).append(damage.what)
        return found

    def _say(self, group: Group, *, done: str = "", why: str = "") -> None:
        for where in group.places:
            for what in self._whats(where):
                if what in _REPLACED:
                    self._set(where, what, done=done, why=why)

    def _put(self, group: Group, content: Content, *, link: bool = False) -> bool:
        """Give all places of a group this content, or one file that has it. False if it is not what it should be."""
        if self.check_mode:
            if not content.path or self._is_right(content.path, group.digest):
                self._say(group, done=f"repaired from {content.origin}")
                return True
            return False
        mutex.check(self.layout.mutex)
        first: t.Optional[str] = content.path if link else None
        for where in group.places:
            scratch = self._scratch(self._tree(where))
            try:
                is_linked = first is not None and _try_link(first, scratch)
                if not is_linked and not self._write(content, group.digest, scratch, self._mode_of(where, content)):
                    return False
            except FileNotFoundError:
                return False  # The other share, or somebody at work there.
            try:
                self._doors.open(where)
                self._rename(scratch, where)
            except OSError as error:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(scratch)
                if error.errno in _FATAL:
                    raise
                for what in self._whats(where):
                    self._set(where, what, why=trees.why(error))
                continue
            if not is_linked:  # There was nothing to link to, or it has as many names as it may have.
                first = self._path(where)
            for what in self._whats(where):
                if what in _REPLACED:
                    self._set(where, what, done=f"repaired from {content.origin}")
        return True

    def _mode_of(self, where: Where, content: Content) -> int:
        wanted = self._wanted_mode(where)
        if wanted is not None:
            return wanted
        for each in (self._path(where), content.path):
            with contextlib.suppress(OSError):
                status = os.lstat(each)
                if stat.S_ISREG(status.st_mode):
                    return (stat.S_IMODE(status.st_mode) | 0o644) & 0o755
        return 0o644

    def _is_right(self, path: str, digest: str) -> bool:
        algorithm, _colon, value = digest.partition(":")
        try:
            with _opened(path) as file:
                return digest_in(file, algorithm) == value
        except OSError:
            return False

    def _write(self, content: Content, digest: str, scratch: str, mode: int) -> bool:
        """Write content to a new file, on the disk; False, and no file, if it is not what it should be."""
        if content.path and not self._is_right(content.path, digest):
            return False  # Its disk is damaged, its mode, or it is no file any more: another one may be right.
        algorithm, _colon, value = digest.partition(":")
        descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w+b") as new:
                if content.data is not None:
                    new.write(content.data)
                else:
                    with _opened(content.path) as original:
                        _clone(original, new)
                new.flush()
                new.seek(0)
                if digest_in(new, algorithm) != value:
                    os.unlink(scratch)
                    return False
                os.fchmod(new.fileno(), mode)
                os.fsync(new.fileno())
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)
            raise
        return True

    def _scratch(self, tree: Tree) -> str:
        """A new name where a sweep finds it, on the filesystem of a tree."""
        beside = {
            GENERATION: self.layout.generations,
            INTERPRETER: self.layout.python,
            UV: self.layout.uv_versions,
            CACHE: self.layout.cache,
            BYTECODE: self.layout.bytecode,
            RECORD: self.layout.root,
        }[tree.kind]
        return files.temporary_name(os.path.join(beside, "repair"))

    def _rename(self, scratch: str, where: Where) -> None:
        mutex.check(self.layout.mutex)
        path = self._path(where)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(path).st_mode) and self.remove:
                removal.remove_tree(path)
        os.rename(scratch, path)
        with contextlib.suppress(FileNotFoundError):  # Two names of one file, which a rename leaves alone.
            os.unlink(scratch)

    def _mend_records(self) -> None:
        """RECORDs in uv's cache: of the same wheel elsewhere, or put together again."""
        for where, what in list(self._all(CONTENT, MISSING, "invalid")):
            tree = self._tree(where)
            # (Packages may have others inside, of what they bring along. These are files like any.)
            if tree.kind != CACHE or where[1] in tree.files or not where[1].endswith(".dist-info/RECORD"):
                continue
            if self._is_blocked(where) or self._is_readable_again(where, what):
                continue
            try:
                content = self.sources.record(tree, where[1])
            except PermissionError as error:
                self._set(where, what, why=_NOT_YET if self.check_mode else trees.why(error))
                continue
            if content is None and self._waits(where[0]):
                self._set(where, what, why=_NOT_YET)
            elif content is None:
                self._set(where, what, why=f"remove {tree.path}: uv fetches it again")
            elif self.check_mode:
                self._set(where, what, done="put together from what it lists")
            else:
                with self._doing(where, what, "put together from what it lists"):
                    self._doors.open(where)
                    scratch = self._scratch(tree)
                    files.write(scratch, content)
                    self._rename(scratch, where)

    def _is_readable_again(self, where: Where, what: str) -> bool:
        """Whether something could not be read, and it or what it is in has been given its mode.

        The next pass tells whether it is right.
        """
        number, place = where
        is_permitted = any(
            self.outcomes.get(((number, each), MODE), Outcome()).done for each in (place, *trees.above(place))
        )
        if is_permitted:
            self._set(where, what, done=_PERMITTED[MODE])
        return is_permitted

    def _mend_spares(self) -> None:
        """Copies of what only a generation has: taken again, once that is right."""
        for where, what in list(self._all(CONTENT, MISSING)):
            tree = self._tree(where)
            if tree.kind != GENERATION or where[1] != SPARE or self._is_blocked(where):
                continue
            if self._is_readable_again(where, what):
                continue
            if self.check_mode:
                self._set(where, what, done="copied again")
                continue
            with self._doing(where, what, "copied again"):
                found = dict(tree.copies)
                for place in filter(functools.partial(trees.is_alone, tree), tree.files):
                    content = spare.small(tree.at(place))
                    if content is not None and has_digest(content, tree.files[place].digest):
                        found[place] = content
                self._doors.open(where)
                scratch = self._scratch(tree)
                files.write(scratch, spare.pack(found))
                self._rename(scratch, where)

    def _mend_bytecode(self) -> None:
        self._mend_store()
        todo: dict[int, dict[str, list[tuple[Where, str]]]] = {}
        for where, what in list(self._all(*_REPLACED)):
            tree = self._tree(where)
            source = self._source(where) if is_bytecode(where[1]) else None
            if tree.kind == BYTECODE or source is None or self._is_blocked(where):
                continue
            why = self._is_of_damaged(where[0], source.place)
            if why:
                self._set(where, what, why=why)
            elif self.check_mode:
                self._set(where, what, done="compiled anew")
            else:
                todo.setdefault(where[0], {}).setdefault(tree.names(source.place), []).append((where, what))
        for number in sorted(todo, key=lambda each: self.seen.trees[each].kind != INTERPRETER):
            tree, names = self.seen.trees[number], todo[number]
            for name, found in list(names.items()):
                try:
                    for where, what in found:
                        self._doors.open(where)
                        # An interpreter may not even start with its own damaged bytecode. Without, it reads sources.
                        if tree.kind == INTERPRETER and what in (CONTENT, LINK):
                            removal.remove_tree(self._path(where))
                except OSError as error:
                    if error.errno in _FATAL:
                        raise
                    for where, what in names.pop(name):
                        self._set(where, what, why=trees.why(error))
            done, why = "compiled anew", ""
            try:
                self.compile(tree, sorted(names))
            except (UvnasError, OSError) as error:
                if isinstance(error, OSError) and error.errno in _FATAL:
                    raise
                done, why = "", trees.why(error)
            for found in names.values():
                for where, what in found:
                    self._set(where, what, done=done, why=why)

    def _is_of_damaged(self, number: int, place: str) -> str:
        """Why a source has no bytecode yet; empty if it is right by now."""
        where = (number, place)
        found = [self.outcomes.get((where, what), Outcome()) for what in self._whats(where)]
        if all(outcome.done for outcome in found):
            return ""
        return next((each.why for each in found if each.why == _NOWHERE_YET), "its source is damaged")

    def _mend_store(self) -> None:
        """The share's store of bytecode: what is damaged there is replaced by what a tree has, or goes."""
        stores = {tree.directory: number for number, tree in enumerate(self.seen.trees) if tree.kind == BYTECODE}
        bad = {
            where: what
            for where, what in self._all(CONTENT, KIND, UNREADABLE)
            if where[0] in stores.values() and where[1].endswith(".pyc") and not self._is_blocked(where)
        }
        wanted: dict[str, tuple[int, str]] = {}
        for where, _what in self._all(*_REPLACED):
            source = self._source(where) if is_bytecode(where[1]) and where[0] not in stores.values() else None
            if source is not None:
                directory, _slash, key = source.entry.rpartition("/")
                wanted[source.entry] = (stores.get(directory, -1), f"{key[:2]}/{key}.pyc")
        for (number, place), _what in bad.items():
            key = os.path.basename(place)[: -len(".pyc")]
            wanted[f"{self.seen.trees[number].directory}/{key}"] = (number, place)
        good = self._good_bytecode(wanted) if wanted else {}
        for entry, (number, place) in wanted.items():
            where = (number, place)
            if self.check_mode:
                if where in bad:
                    self._set(where, bad[where], done="removed, and compiled anew where it is needed")
                continue
            path = os.path.join(self.layout.bytecode, entry.rpartition("/")[0], place)
            if where not in bad and os.path.lexists(path):
                continue
            mutex.check(self.layout.mutex)
            try:
                if where in bad:
                    removal.remove_tree(path)
                    self._set(where, bad[where], done="removed, and compiled anew where it is needed")
                if entry in good and self._put_in_store(good[entry], path) and where in bad:
                    self._set(where, bad[where], done="linked to what an environment has")
            except OSError as error:
                if error.errno in _FATAL:
                    raise
                if where in bad:
                    self._set(where, bad[where], why=trees.why(error))

    def _put_in_store(self, good: str, path: str) -> bool:
        """Link good bytecode to a path in the store. False where that cannot be linked. Raises OSError."""
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        scratch = files.temporary_name(os.path.join(self.layout.bytecode, "repair"))
        if not _try_link(good, scratch):
            return False
        try:
            os.rename(scratch, path)
        finally:
            with contextlib.suppress(FileNotFoundError):  # Two names of one file, which a rename leaves alone.
                os.unlink(scratch)
        return True

    def _good_bytecode(self, wanted: t.Container[str]) -> dict[str, str]:
        """Paths of good bytecode in trees, by the entry of the store that it is."""
        found: dict[str, str] = {}
        for number, tree in enumerate(self.seen.trees):
            for place, source in tree.bytecode.items():
                entry = self.seen.entries[number].get(place)
                if source.entry not in wanted or source.entry in found or entry is None:
                    continue
                if self.seen.facts.get(entry.inode, {}).get("mark") == source.mark and stat.S_ISREG(entry.mode):
                    found[source.entry] = tree.at(place)
        return found

    def _waits(self, number: int) -> bool:
        """Whether a check cannot read yet what may tell more."""
        permitted = (self.outcomes.get(((number, damage.place), MODE)) for damage in self.seen.damages[number])
        return self.check_mode and any(outcome is not None and outcome.done for outcome in permitted)

    def _will_be_known(self, number: int) -> bool:
        """Whether a check has found the list of what should be in a tree."""
        whats = self._whats((number, CONTENTS))
        found = (self.outcomes.get(((number, CONTENTS), what), Outcome()) for what in whats)
        return self.check_mode and any(outcome.done for outcome in found)

    def _explain(self) -> None:
        """Say of what no step is for why it stays."""
        for number, damages in enumerate(self.seen.damages):
            kind = self.seen.trees[number].kind
            waits = self._waits(number)
            for damage in damages:
                why = _STAYS.get((kind, damage.what)) or _STAYS.get(("", damage.what))
                if waits and damage.what != OWNER:
                    why = _NOT_YET
                elif damage.what == INVALID and not damage.place and self._will_be_known(number):
                    why = _WITH_ITS_LIST
                is_about_what_is_there = damage.what in _REPLACED - {OWNER} or damage.what == INVALID
                if is_about_what_is_there and self._is_blocked((number, damage.place)):
                    why = _BLOCKED
                if why is not None:
                    self.outcomes.setdefault(((number, damage.place), damage.what), Outcome(why=why))


# What a repair cannot do, by kind of tree and what is wrong; an empty kind is any other.
_STAYS = {
    ("", OWNER): "only root can give it back: chown",
    (RECORD, INVALID): "nothing else has what it said",
    (RECORD, MISSING): "make it again as a directory: what was in it is repaired then, as far as it can be had",
    (RECORD, KIND): "move it away, and make it again as a directory: what was in it is repaired then",
    (INTERPRETER, MISSING): "site.yml installs it again",
    (INTERPRETER, KIND): "move it away, and run site.yml, which installs it again",
    (INTERPRETER, INVALID): "move it away, and run site.yml, which installs it again",
    (UV, CONTENT): "remove this version: site.yml installs the one that is declared",
    ("", INVALID): "build it anew, with a change to its declaration, or remove it",
}
_BLOCKED = "only uvnas_repair_remove: true removes what is there"
_NOWHERE = "nowhere"
_NOWHERE_YET = "only the index, or an archive, may have it: a check does not ask"
_WITH_ITS_LIST = "what should be in it is known once its list is repaired, which a check does not do"
_NOT_YET = "what tells can be read once it has its mode, which a check does not set"


def _try_link(source: str, path: str) -> bool:
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in files.NO_LINKS:
            raise
        return False
    return True


def _opened(path: str) -> t.IO[bytes]:
    """A regular file, to be read. Raises OSError for anything else: a pipe would keep us waiting, a device feed us."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return os.fdopen(descriptor, "rb")


def _clone(original: t.IO[bytes], new: t.IO[bytes]) -> None:
    """Copy a file, as a clone that takes no space where the filesystem can."""
    try:
        fcntl.ioctl(new.fileno(), files.FICLONE, original.fileno())
    except OSError:
        shutil.copyfileobj(original, new, 1 << 20)
