# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytecode: compiled once on each share, and hard-linked into every generation and interpreter that has the source.

Compiling is nearly all of a build, and most of an environment's sources are those of the environment before. So a share
keeps what was compiled, in ``bytecode/``, for its owner alone::

    bytecode/<cache tag>-<digest of the interpreter>/<2 digits>/<key>.pyc     key: digest of content and name
    bytecode/<cache tag>-<digest of the interpreter>/<2 digits>/<key>.bad     this source does not compile

The key is a digest of what the source contains, read here and by the compiler again, never of what a RECORD says:
somebody may have patched a file of a wheel and not its RECORD. The name is relative to site-packages, or to the
directory of the standard library, and is what the code has in ``co_filename``; Python replaces it by the real path on
import. Names and a fixed hash seed make the same source give the same bytes. What they end with is in ``whole``.

These files are *unchecked-hash* (PEP 552): Python does not compare them with the source, which never changes in a
generation or an interpreter, nor with its mtime, which differs where files are cloned or copied.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import functools
import itertools
import os
import re
import typing as t

from ..errors import UvnasError
from ..host import files, trust
from ..host.checksum import of_text
from ..host.process import Runner
from ..host.workers import Result, call_many, portions, processors
from ..share.layout import Layout
from ..uv.command import CONCURRENT_INSTALLS, Uv
from ..uv.unsynced import is_in_doubt
from .compiler import Compiler, Order, bad
from .digests import Digests, Known, digest_of, package_of
from .whole import mark_in, mark_of

_CACHE = "__pycache__"
# Who compiles holds it, so that builds that need the same do not compile it twice, and each has all processors.
_TURN = ".turn"
# Sources that one process is given to link.
_PORTION = 2000
# So few are linked sooner than a process starts.
_FEW = 100
# What the limit on uv's processes may be. About anything else, uv says that it is wrong.
_LIMIT = re.compile("[1-9][0-9]{0,4}")
# What makes this share fail, and not another one that was only read.
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


_Each = t.TypeVar("_Each")


def directory_name(cache_tag: str, interpreter_digest: str) -> str:
    """What the directory for an interpreter is called, in ``bytecode/``."""
    # The 1 keeps what is there apart from what earlier versions compiled, which does not tell whether it is whole.
    return f"{cache_tag}-{of_text(f'1 {interpreter_digest}')[:16]}"


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """What bytecode is for."""

    # The program.
    path: str
    digest: str


@dataclasses.dataclass(frozen=True)
class Source:
    """A source file; ``name`` is its path in site-packages, or in a standard library."""

    name: str
    digest: str

    @functools.cached_property
    def key(self) -> str:
        return of_text(f"{self.digest} {self.name}")


@dataclasses.dataclass(frozen=True)
class Done:
    """How many sources have bytecode that was there (or on another share), that was compiled for them, and none."""

    linked: int = 0
    compiled: int = 0
    failed: int = 0


@dataclasses.dataclass(frozen=True)
class Bytecode:
    """The bytecode of a share for one interpreter."""

    layout: Layout
    interpreter: Interpreter
    runner: Runner
    # How many processes may link at once. As many compile as there are processors, but no more than ``limit``.
    workers: t.Optional[int] = None
    limit: t.Optional[int] = None
    # Other shares, which may have compiled it already.
    others: tuple[Layout, ...] = ()

    @classmethod
    def by(
        cls, uv: Uv, interpreter: Interpreter, *, workers: t.Optional[int] = None, earlier: t.Iterable[Layout] = ()
    ) -> Bytecode:
        """That of the share of ``uv``, whose limit on processes holds. ``earlier``: other shares on this host."""
        limit = uv.variables().get(CONCURRENT_INSTALLS, "")
        # As with caches: nothing that strangers could have put there, or a power cut have damaged.
        others = [
            other for other in earlier if trust.is_safe(other.bytecode, os.geteuid()) and not is_in_doubt(other.cache)
        ]
        return cls(
            uv.layout, interpreter, uv.runner, workers, int(limit) if _LIMIT.fullmatch(limit) else None, tuple(others)
        )

    @functools.cached_property
    def directory(self) -> str:
        return self._directory_on(self.layout)

    def _directory_on(self, layout: Layout) -> str:
        return os.path.join(layout.bytecode, self._name)

    @property
    def _name(self) -> str:
        return directory_name(self.cache_tag, self.interpreter.digest)

    @functools.cached_property
    def cache_tag(self) -> str:
        """What its bytecode is called: ``cpython-312``."""
        return self._compiler.cache_tag()

    @property
    def _compiler(self) -> Compiler:
        return Compiler(self.interpreter.path, self.runner, self.layout.bytecode)

    def add(
        self,
        site_packages: str,
        names: t.Sequence[str],
        compiling: t.Callable[[int], None] = lambda _number: None,
        settle: t.Callable[[], None] = lambda: None,
    ) -> Done:
        """Give the sources ``names`` in ``site_packages`` their bytecode. Whatever bytecode they came with is replaced.

        ``compiling`` is told how many have to be compiled. ``settle`` is called before anything new is linked: where a
        power cut may not take away what is linked already, it syncs. A source that does not compile is no error.
        Raises UvnasError, OSError.
        """
        if not names:
            return Done()
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.layout.bytecode, 0o700)
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        missing = self._link(site_packages, sorted(names, key=lambda name: (package_of(name), name)))
        if not missing:
            return Done(len(names))
        with self._turn():
            todo = [source for source in missing if not self._is_known(source)]
            for part in {source.key[:2] for source in todo}:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(os.path.join(self.directory, part), 0o755)
            if self.others:
                answers = self._call(self._borrow_portion, todo)
                todo = [Source(*each) for answer in answers for each in answer["missing"]]
            if todo:
                compiling(len(todo))
                self._compile(site_packages, todo)
        settle()
        failed = self._link_known(site_packages, missing)
        compiled = len(set(todo) - set(failed))
        return Done(len(names) - compiled - len(failed), compiled, len(failed))

    def lacking(self, site_packages: str, names: t.Iterable[str]) -> list[str]:
        """Those of the sources ``names`` in ``site_packages`` that have no bytecode."""
        links = _Links(site_packages, self.cache_tag)
        return [name for name in names if not os.path.lexists(links.path(name))]

    def entry(self, source: Source) -> str:
        """Where the bytecode of a source is, if it has been compiled."""
        return self._entry_in(self.directory, source)

    @staticmethod
    def _entry_in(directory: str, source: Source) -> str:
        key = source.key
        return f"{directory}/{key[:2]}/{key}.pyc"

    def _is_known(self, source: Source) -> bool:
        """Whether it has been compiled, or cannot be."""
        entry = self.entry(source)
        return os.path.lexists(entry) or os.path.lexists(bad(entry))

    def _borrow_portion(self, sources: t.Sequence[Source]) -> Result:
        return {"missing": [(source.name, source.digest) for source in sources if not self._borrow(source)]}

    def _borrow(self, source: Source) -> bool:
        """Copy what another share has; False where none has it whole, or there is trouble with it there."""
        for other in self.others:
            path = self._entry_in(self._directory_on(other), source)
            try:
                content = files.read_bytes(path)
                if content is None or mark_in(content) != mark_of(self._name, source.key):
                    continue
                _write(content, self.entry(source), self.layout.bytecode)
            except UvnasError:  # It is no file.
                continue
            except OSError as error:
                if error.errno in _FULL:
                    raise
            else:
                return True
        return False

    def _compile(self, site_packages: str, todo: t.Sequence[Source]) -> None:
        orders = [
            Order(
                f"{site_packages}/{source.name}",
                source.name,
                source.digest,
                self.entry(source),
                mark_of(self._name, source.key).hex(),
            )
            for source in todo
        ]
        changed = self._compiler.compile(orders, min(self.limit or processors(), processors()))
        for package in {package_of(order.name) for order in changed}:
            # What was remembered of it may be wrong, and would be the next time.
            Digests(self.layout).forget(package)
        if changed:
            raise UvnasError(f"{changed[0].path} was changed while it was compiled", hint="Run again.")

    @contextlib.contextmanager
    def _turn(self) -> t.Iterator[None]:
        """One process at a time, until it ends this or dies. Only builds of the process with the mutex come here."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(os.path.join(self.layout.bytecode, _TURN), flags, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # Linking

    def _link(self, site_packages: str, names: t.Sequence[str]) -> list[Source]:
        """Link what there is; return the sources for which there is nothing."""
        digests = Digests(self.layout)
        missing: list[Source] = []
        fresh: dict[str, Known] = {}
        for answer in self._call(functools.partial(self._link_portion, site_packages, digests), names):
            missing += (Source(*each) for each in answer["missing"])
            for package, found in answer["fresh"].items():
                fresh.setdefault(package, {}).update(found)
        for package, found in fresh.items():
            digests.remember(package, found)
        return missing

    def _link_portion(self, site_packages: str, digests: Digests, names: t.Sequence[str]) -> Result:
        links = _Links(site_packages, self.cache_tag)
        missing = []
        fresh: dict[str, Known] = {}
        # On NFS, an RPC brings the status of all that is in a directory; asking for each costs one each.
        for directory in {name.rpartition("/")[0] for name in names}:
            with contextlib.suppress(OSError):
                os.listdir(os.path.join(site_packages, directory))
        for package, inside in itertools.groupby(names, package_of):
            known, new = digests.known(package), fresh.setdefault(package, {})
            for name in inside:
                try:
                    source = Source(name, digest_of(f"{site_packages}/{name}", known, new))
                except (FileNotFoundError, IsADirectoryError):
                    continue
                if not links.add(self.entry(source), name):
                    missing.append((source.name, source.digest))
        return {"missing": missing, "fresh": {package: found for package, found in fresh.items() if found}}

    def _link_known(self, site_packages: str, sources: t.Sequence[Source]) -> list[Source]:
        """The same for sources whose digests are known."""
        answers = self._call(functools.partial(self._link_known_portion, site_packages), sources)
        return [Source(*each) for answer in answers for each in answer["missing"]]

    def _link_known_portion(self, site_packages: str, sources: t.Sequence[Source]) -> Result:
        links = _Links(site_packages, self.cache_tag)
        left = [source for source in sources if not links.add(self.entry(source), source.name)]
        return {"missing": [(source.name, source.digest) for source in left]}

    def _call(self, work: t.Callable[[t.Sequence[_Each]], Result], each: t.Sequence[_Each]) -> list[Result]:
        """Do ``work`` for each, in as many processes as may link at once; a few here."""
        jobs = self.workers or processors()
        parts = portions(each, min(_PORTION, -(-len(each) // jobs) or 1))
        if len(each) <= _FEW:
            return [work(part) for part in parts]
        return [answer() for answer in call_many([functools.partial(work, part) for part in parts], jobs=jobs)]


def sweep(layout: Layout) -> None:
    """Remove what no generation or interpreter has a link to. Hold the share's mutex, and let nobody be at work.

    Where files cannot be linked, that is everything: it is compiled again when something is built.
    """
    for interpreter in files.directories_in(layout.bytecode):  # And the digests, which are in no directory there.
        above = os.path.join(layout.bytecode, interpreter)
        for part in files.directories_in(above):
            with os.scandir(os.path.join(above, part)) as entries:
                unused = [entry.path for entry in entries if entry.stat(follow_symlinks=False).st_nlink == 1]
            for path in unused:
                os.unlink(path)
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(above, part))
        with contextlib.suppress(OSError):
            os.rmdir(above)
    Digests(layout).sweep()


class _Links:
    """Gives entries other names, beside their sources in ``site_packages``."""

    def __init__(self, site_packages: str, cache_tag: str) -> None:
        self._site_packages = site_packages
        self._suffix = f".{cache_tag}.pyc"
        # Sources come in order, so most are in the directory of the one before.
        self._directory: t.Optional[str] = None

    def add(self, entry: str, name: str) -> bool:
        """Link ``entry``, or copy it where it cannot have another name.

        False if there is no such entry, or no room for that name: a directory has it, or it is too long.
        """
        path = self.path(name)
        directory = os.path.dirname(path)
        if directory != self._directory:
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o755)
            self._directory = directory
        return _link_one(entry, path)

    def path(self, name: str) -> str:
        """Where the bytecode of a source is."""
        head, slash, tail = name.rpartition("/")
        return f"{self._site_packages}/{head}{slash}{_CACHE}/{tail[:-3]}{self._suffix}"


def _link_one(entry: str, target: str) -> bool:
    """See _Links.add()."""
    try:
        try:
            os.link(entry, target)
        except FileExistsError:  # It came with the package, or is damaged, and may be in use. Or a killed run did it.
            if files.is_same(entry, target) and not os.path.islink(target):
                return True
            # Where a sweep finds it.
            beside = files.temporary_name(os.path.join(os.path.dirname(entry), "..", "..", "pyc"))
            os.link(entry, beside)
            try:
                os.rename(beside, target)
            finally:
                with contextlib.suppress(FileNotFoundError):  # Two names of one file, which a rename leaves alone.
                    os.unlink(beside)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        if error.errno not in files.NO_LINKS:
            raise
        _copy(entry, target, os.path.dirname(target))
        if error.errno == errno.EMLINK:  # From now on, links are to the copy.
            beside = files.temporary_name(entry)
            os.link(target, beside)
            os.rename(beside, entry)
    return True


def _copy(entry: str, target: str, directory: str) -> None:
    """See _write()."""
    with open(entry, "rb") as original:
        _write(original.read(), target, directory)


def _write(content: bytes, target: str, directory: str) -> None:
    """Write beside, in ``directory``, and rename: an interpreter may be in use. Not synced: who builds syncs it all."""
    scratch = files.temporary_name(os.path.join(directory, "pyc"))
    try:
        with open(scratch, "xb") as copy:
            copy.write(content)
            os.fchmod(copy.fileno(), 0o644)
        os.rename(scratch, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise
