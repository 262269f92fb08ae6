# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the right content of a damaged file can be had, nearest first. What is found is believed by its digest only.

Other files on this share; copies in the tree itself; other shares of this host; and, for a whole tree at once, wheels
from the index and the archives of interpreters, both unpacked beside everything else.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import dataclasses
import functools
import hashlib
import io
import os
import stat
import typing as t

from ...errors import UvnasError
from ...host import files, platform, removal
from ...python.record import SITE, load_record
from ...python.sources import Downloads, SiteArchives
from ...python.version import Version
from ...share.contents import as_text
from ...share.layout import GENERATION_LOCK, Layout
from ...share.manifest import Manifest
from ...uv.command import Uv
from ...uv.target import platform_arguments
from ..generation import install
from ..lock.file import Lock, parse
from . import tree as trees
from .look import Look, all_trees
from .tree import GENERATION, INTERPRETER, Expected, Tree, digest_of

_NONE = Expected("", "")
# Files of an interpreter that name its place are smaller, in bytes.
_LARGEST_TEXT = 4 << 20


@dataclasses.dataclass(frozen=True)
class Content:
    """Content with the right digest: a file that has it, or the bytes themselves; and where it is from, for people."""

    origin: str
    path: str = ""
    data: t.Optional[bytes] = None


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where to look on and around a share."""

    layout: Layout
    others: tuple[Layout, ...]
    uv: Uv
    python: Downloads
    seen: Look

    def here(self, digest: str, but: t.Container[str], near: t.Callable[[int], int]) -> t.Iterator[Content]:
        """Files on this share that had this content when they were read, except those at certain paths.

        The trees that are the most ``near`` come first.
        """
        for number, place in sorted(self._here.get(digest, ()), key=lambda found: -near(found[0])):
            tree = self.seen.trees[number]
            path = tree.at(place)
            if path not in but:
                yield Content(_called(tree), path)

    @functools.cached_property
    def _here(self) -> dict[str, list[tuple[int, str]]]:
        """All good files, by digest."""
        found: dict[str, list[tuple[int, str]]] = {}
        for number, tree in enumerate(self.seen.trees):
            for place, expected in (*tree.files.items(), *tree.shipped.items()):
                if self.seen.is_good(number, place):
                    found.setdefault(expected.digest, []).append((number, place))
        return found

    def copy(self, tree: Tree, place: str, digest: str) -> t.Iterator[Content]:
        """What a tree itself has a copy of."""
        data = tree.copies.get(place)
        if data is not None and has_digest(data, digest):
            yield Content("its copy in the generation", data=data)

    def elsewhere(self, digest: str) -> t.Iterator[Content]:
        """Files of other shares that should have this content. Whoever takes one has to read it."""
        for other in self.others:
            for path in self._elsewhere(other).get(digest, ()):
                yield Content(f"the share at {other.root}", path)

    def _elsewhere(self, other: Layout) -> dict[str, list[str]]:
        if other.root not in self._known:
            found: dict[str, list[str]] = {}
            with contextlib.suppress(UvnasError, OSError, csv.Error):
                for tree in all_trees(other):
                    for place, expected in (*tree.files.items(), *tree.shipped.items()):
                        found.setdefault(expected.digest, []).append(tree.at(place))
            self._known[other.root] = found
        return self._known[other.root]

    @functools.cached_property
    def _known(self) -> dict[str, dict[str, list[str]]]:
        return {}

    def record(self, tree: Tree, place: str) -> t.Optional[bytes]:
        """The RECORD of an unpacked wheel, from what generations say about its files; None if they do not know all.

        Raises OSError, if a file cannot be read.
        """
        info = place.partition("/")[0]
        if os.path.islink(tree.at(info)):  # What is there, is elsewhere.
            return None
        lines = []
        for path in _files(tree.path):
            name = as_text(os.path.relpath(path, tree.path))
            if name == place or name.startswith(f"{place}/"):
                continue
            digest = self._shared.get(f"{info}/{name}") or (tree.expected(name) or _NONE).digest
            algorithm, _colon, value = digest.partition(":")
            with open(path, "rb") as file:
                if not digest or digest_in(file, algorithm) != value:
                    return None
            encoded = base64.urlsafe_b64encode(bytes.fromhex(value)).decode().rstrip("=")
            lines.append([name, f"{algorithm}={encoded}", str(os.path.getsize(path))])
        there = {line[0] for line in lines}
        if not any(wheel <= there for wheel in self._wheels.get(info, ())):
            return None  # Something is missing that it listed.
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([*sorted(lines), [place, "", ""]])
        return text.getvalue().encode("utf-8", "surrogateescape")

    @functools.cached_property
    def _shared(self) -> dict[str, str]:
        """What generations say of the files of wheels: digests by ``<dist-info>/<path>``."""
        return {
            expected.shared: expected.digest
            for tree in self.seen.trees
            if tree.kind == GENERATION
            for _place, expected in tree.of_wheels()
        }

    @functools.cached_property
    def _wheels(self) -> dict[str, set[frozenset[str]]]:
        """What generations have of wheels: by metadata directory, the paths of all files, each set once."""
        found: dict[str, set[frozenset[str]]] = {}
        for tree in self.seen.trees:
            wheels: dict[str, set[str]] = {}
            for _place, expected in tree.of_wheels() if tree.kind == GENERATION else ():
                info, _slash, name = expected.shared.partition("/")
                wheels.setdefault(info, set()).add(name)
            for info, names in wheels.items():
                found.setdefault(info, set()).add(frozenset(names))
        return found

    @contextlib.contextmanager
    def unpacked(self, tree: Tree, wanted: t.Mapping[str, str]) -> t.Iterator[tuple[dict[str, Content], str]]:
        """What can be had for a tree from its archives: content by digest, for as long as the block; why not more.

        ``wanted``: the digests, by place.
        """
        found: dict[str, Content] = {}
        why = ""
        with contextlib.ExitStack() as stack:
            try:
                if tree.kind == GENERATION and tree.manifest is not None:
                    target = self._install_wheels(stack, tree, tree.manifest, wanted)
                    found = _pick(target, wanted.values(), "the index")
                elif tree.kind == INTERPRETER:
                    target = self._install_interpreter(stack, tree)
                    found = _pick(target, wanted.values(), "its archive", called=tree.path)
            except UvnasError as error:
                why = trees.why(error)
            yield found, why

    @contextlib.contextmanager
    def _scratch(self, beside: str) -> t.Iterator[str]:
        """A directory that a sweep removes if this is killed."""
        path = files.temporary_name(os.path.join(beside, "repair"))
        os.mkdir(path, 0o700)
        try:
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                removal.remove(path)

    def _install_wheels(
        self, stack: contextlib.ExitStack, tree: Tree, manifest: Manifest, wanted: t.Iterable[str]
    ) -> str:
        """A directory with the wheels that have these, fetched into a cache of their own by the hashes of the lock."""
        text = trees.read(tree, GENERATION_LOCK)
        if text is None or digest_of(text) != tree.files[GENERATION_LOCK].digest:
            raise UvnasError("its lock is damaged, too")
        lock = parse(text.decode(), what="its lock")
        names = {trees.package_of(tree, place) for place in wanted}
        packages = tuple(package for package in lock.packages if package.name in names)
        scratch = stack.enter_context(self._scratch(self.layout.cache))
        target, cache, wheels = (os.path.join(scratch, name) for name in ("target", "cache", "lock.txt"))
        if not packages:
            return target
        program = self.layout.interpreter_bin(manifest.python.key, Version.of_key(manifest.python.key).minor)
        files.write(wheels, "".join(f"{package.text}\n" for package in packages))
        uv = dataclasses.replace(self.uv, cache_dir=cache)
        arguments = ["--python", program, "--target", target, "--require-hashes", "--link-mode", "copy"]
        arguments += platform_arguments(tree.name, manifest.options.get("glibc"), uv.runner)
        for package in manifest.options.get("no_binary", ()):
            arguments += ["--no-binary", package]
        some = Lock(packages, None, lock.builds)
        done = install.install(uv, some, wheels, arguments, ["--allow-empty-requirements"], {})
        if done.rc != 0:
            raise UvnasError(f"uv cannot fetch it from the index: {trees.last_words(done.stderr)}")
        return target

    def _install_interpreter(self, stack: contextlib.ExitStack, tree: Tree) -> str:
        """A directory with an interpreter, installed again from its archive."""
        known = load_record(self.layout).interpreters[tree.name]
        is_sites = known.source == SITE
        uv = SiteArchives.by(self.uv, platform.here(), {}, room=1).uv if is_sites else self.python.uv
        scratch = stack.enter_context(self._scratch(self.layout.python))
        uv.check(
            "python", "install", "--no-cache", "--no-bin", "--install-dir", scratch, tree.name,
            message="uv cannot install it again",
            variables={"UV_PYTHON_DOWNLOADS": "manual"},
            cwd="/",
        )  # fmt: skip
        return os.path.join(scratch, tree.name)


def _files(directory: str) -> t.Iterator[str]:
    """The paths of all regular files."""
    for above, _directories, names in os.walk(directory):
        for name in names:
            path = os.path.join(above, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                yield path


def _pick(directory: str, digests: t.Iterable[str], origin: str, *, called: str = "") -> dict[str, Content]:
    """Those files of a directory that are asked for, also if they name it, and should name what it is ``called``."""
    wanted = set(digests)
    algorithms = {digest.partition(":")[0] for digest in wanted}
    found: dict[str, Content] = {}
    for path in _files(directory):
        for algorithm in algorithms:
            with open(path, "rb") as file:
                digest = f"{algorithm}:{digest_in(file, algorithm)}"
            if digest in wanted:
                found[digest] = Content(origin, path)
        if not called or os.path.getsize(path) > _LARGEST_TEXT:
            continue
        with open(path, "rb") as file:
            data = file.read()
        if os.fsencode(directory) in data:
            data = data.replace(os.fsencode(directory), os.fsencode(called))
            found.update({digest: Content(origin, data=data) for digest in wanted if has_digest(data, digest)})
    return found


def digest_in(stream: t.IO[bytes], algorithm: str) -> str:
    """The digest of what is in a stream from here on."""
    digest = hashlib.new(algorithm)
    while True:
        block = stream.read(1 << 20)
        if not block:
            return digest.hexdigest()
        digest.update(block)


def has_digest(data: bytes, digest: str) -> bool:
    """Whether content has a digest, of whatever algorithm."""
    algorithm, _colon, value = digest.partition(":")
    return hashlib.new(algorithm, data).hexdigest() == value


def _called(tree: Tree) -> str:
    return f"{tree.kind} {tree.name}" if tree.kind in (GENERATION, INTERPRETER) else "uv's cache"
