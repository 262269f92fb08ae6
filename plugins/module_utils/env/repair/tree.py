# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What should be where on a share: the trees that are vouched for, and each file, symlink and bytecode in them.

Of a generation, the manifest vouches for the list of its files, that for the RECORDs, and those for the rest. Each list
is believed only if its digest fits; where it does not, the copy in ``.uvnas-spare`` is read instead.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import csv
import dataclasses
import functools
import hashlib
import os
import re
import typing as t

from ...bytecode.store import directory_name
from ...bytecode.whole import mark_of
from ...errors import UvnasError, as_uvnas_error
from ...host import files
from ...host.checksum import of_text
from ...python import contents as interpreters
from ...python.record import DOWNLOAD, Interpreter, load_record
from ...python.version import Version
from ...share import contents, standing, store
from ...share import manifest as manifests
from ...share.contents import Contents, is_bytecode
from ...share.layout import CONTENTS, GENERATION_LOCK, MANIFEST, SPARE, Layout, site_packages
from ...share.manifest import Manifest
from ...uv.install import recorded
from ...uv.wheel import normalize, parse_record
from ..generation import spare
from ..generation.record import VOUCHES, by_place, bytecode_of, is_of_one_generation
from ..lock.file import Lock
from ..state import read_lock

GENERATION, INTERPRETER, UV, CACHE, BYTECODE, RECORD = (
    "generation", "interpreter", "uv", "cache", "bytecode", "record",
)  # fmt: skip
# What is wrong with something.
CONTENT, MISSING, UNDECLARED, MODE, OWNER, ACL, LINK, KIND, UNREADABLE, INVALID = (
    "content", "missing", "undeclared", "mode", "owner", "acl", "link", "kind", "unreadable", "invalid",
)  # fmt: skip

# Characters of what a command says that are shown.
_LAST = 300
_TAG = re.compile(r"\.(cpython-[0-9]+[a-z]*)\.pyc\Z")
_STORE = re.compile(r"(cpython-[0-9]+[a-z]*)-([0-9a-f]{16})")


class Expected(t.NamedTuple):
    """A file as it should be."""

    # ``sha256:<hex>``, or another algorithm.
    digest: str
    # Who says so, for people.
    by: str
    # What is one file, with links to it, where files are linked: ``<dist-info>/<path>``. Empty: nothing else is.
    shared: str = ""


class Source(t.NamedTuple):
    """What some bytecode should be of."""

    # The path of the source in its tree, and where the bytecode is in the store: ``<directory>/<key>``.
    place: str
    entry: str

    @property
    def mark(self) -> str:
        directory, _slash, key = self.entry.rpartition("/")
        return mark_of(directory, key).hex()


class Damage(t.NamedTuple):
    """Something in a tree that is not as it should be."""

    # Relative to the tree; empty: the tree itself.
    place: str
    what: str
    says: str


@dataclasses.dataclass
class Tree:
    """Something on a share, with all that should be in it."""

    kind: str
    name: str
    path: str
    state: str = ""
    # Of generations.
    manifest: t.Optional[Manifest] = None
    # Where its bytecode is in the store, and the directory that its sources' names are relative to.
    directory: str = ""
    library: str = ""
    # What bytecode is called there, and the sources that are known to have none.
    tag: str = ""
    uncompiled: frozenset[str] = frozenset()
    files: dict[str, Expected] = dataclasses.field(default_factory=dict)
    links: dict[str, str] = dataclasses.field(default_factory=dict)
    # Files that everybody may run; None: not recorded, so modes cannot be told.
    executables: t.Optional[frozenset[str]] = None
    bytecode: dict[str, Source] = dataclasses.field(default_factory=dict)
    # Files that a RECORD names without a hash.
    unhashed: set[str] = dataclasses.field(default_factory=set)
    # Bytecode that wheels brought.
    shipped: dict[str, Expected] = dataclasses.field(default_factory=dict)
    # Whether all of its bytecode is known. Otherwise what is not the store's may be anything.
    all_bytecode: bool = False
    # Whether nothing else should be in it, as far as is known.
    exact: bool = False
    # Whether nobody may write to its directories. If so, its witness speaks for it, see host/sealing.
    witness: str = ""
    # Content of files of this tree that is nowhere else.
    copies: dict[str, bytes] = dataclasses.field(default_factory=dict)
    # Found when this was put together.
    damages: list[Damage] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def at(self, place: str) -> str:
        """The path of something in it, which is named as in RECORDs and JSON."""
        return path_of(self.path, place)

    def note(self, place: str, what: str, says: str) -> None:
        self.damages.append(Damage(place, what, says))

    def expected(self, place: str) -> t.Optional[Expected]:
        """What a file, or bytecode that a wheel brought, should be."""
        return self.files.get(place) or self.shipped.get(place)

    def of_wheels(self) -> t.Iterator[tuple[str, Expected]]:
        """The files that are those of wheels, as they are."""
        for places in (self.files, self.shipped):
            for place, expected in places.items():
                if expected.shared:
                    yield place, expected

    def names(self, place: str) -> str:
        """The name of a source, as bytecode has it."""
        return place[len(self.library) + 1 :]


def path_of(root: str, place: str) -> str:
    """The path of ``place`` below ``root``."""
    if not place:
        return root
    return f"{root}/{place}" if place.isascii() else os.path.join(root, os.fsdecode(_bytes(place)))


def _bytes(place: str) -> bytes:
    return place.encode("utf-8", "surrogateescape")


def is_inside(place: str) -> bool:
    """Whether a place is in its tree. What RECORDs of unpacked wheels say, nothing vouches for."""
    if not ("./" in place or "//" in place or "\0" in place or place.startswith("/") or place.endswith((".", "/"))):
        return bool(place)  # Nearly all of them, of which there are many.
    return "\0" not in place and not {"", ".", ".."} & {*place.split("/")}


def above(place: str) -> t.Iterator[str]:
    """The directories that a place is in, but not the tree itself."""
    while "/" in place:
        place = place.rpartition("/")[0]
        yield place


def is_alone(tree: Tree, place: str) -> bool:
    """Whether nothing but the copies of a generation has a file of it, apart from its manifest."""
    expected = tree.files[place]
    by_itself = expected.by.endswith((MANIFEST, CONTENTS)) or is_of_one_generation(place)
    return by_itself and not expected.shared and place != MANIFEST


def package_of(tree: Tree, place: str) -> str:
    """The normalized name of the package that a file is of; empty if of none."""
    expected = tree.expected(place)
    info = "" if expected is None else expected.shared.partition("/")[0]
    return normalize(_name(info)) if info else ""


def _name(info: str) -> str:
    """The name of a package in that of its metadata directory."""
    return info[: -len(".dist-info")].rpartition("-")[0]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def of_record(digest: str) -> t.Optional[str]:
    """A hash as RECORDs write it, as it is written here; None if it does not vouch for a file."""
    if not VOUCHES.match(digest):
        return None
    kind, _equal, encoded = digest.partition("=")
    try:
        return f"{kind}:{base64.urlsafe_b64decode(encoded + '=' * (-len(encoded) % 4)).hex()}"
    except (binascii.Error, ValueError):
        return None


# Generations


def generation(layout: Layout, env: str, generation_id: str, state: str, known: bool = False) -> t.Optional[Tree]:
    """A generation; None if it was never complete, as far as anything tells. Raises OSError.

    ``known``: the environment's record has it, so it was complete.
    """
    path = layout.generation(env, generation_id)
    tree = Tree(GENERATION, f"{env}/{generation_id}", path, state, witness=MANIFEST)
    if is_closed(path):
        return tree
    if _is_being_built(tree):
        return None
    own = read(tree, SPARE)
    copies = None if own is None else spare.unpack(own)
    tree.copies = copies or {}
    manifest = _manifest(tree, layout, env, generation_id)
    if manifest is None:
        if known and not tree.damages:
            is_there = os.path.lexists(tree.at(MANIFEST))
            what, says = (UNREADABLE, "cannot be read") if is_there else (MISSING, "missing")
            tree.note(MANIFEST, what, f"{says}, and there is no copy. {manifests.anew(tree.at(MANIFEST))}")
        return tree if tree.damages else None
    tree.manifest = manifest
    has_copies = own is not None or manifests.is_whole(_text_of(tree, MANIFEST), MANIFEST) is not None
    if has_copies and (copies is None or copies.get(MANIFEST) != _text_of(tree, MANIFEST)):
        tree.note(SPARE, MISSING if own is None else CONTENT, "it has no valid copies")
    tree.files[GENERATION_LOCK] = Expected(f"sha256:{manifest.lock.text}", f"the digest in {MANIFEST}")
    tree.files[CONTENTS] = Expected(f"sha256:{manifest.content.files}", f"the digest in {MANIFEST}")
    listed = _contents(tree, manifest.content.files)
    if listed is None:
        tree.note("", INVALID, f"what should be in it is not known: {CONTENTS} is damaged, and so is its copy")
        return tree
    minor = Version.parse(manifest.python.version).minor
    tree.library = site_packages("", minor).lstrip("/")
    tree.exact = _read_records(tree, listed)
    _add_contents(tree, listed)
    tag = _cache_tag(layout, manifest.python.digest, manifest.python.key, path)
    tree.directory = directory_name(tag, manifest.python.digest)
    _add_bytecode(tree, listed, tag)
    return tree


def is_closed(path: str) -> bool:
    """Whether a directory is there, but may not be looked into. Its mode is damaged, and tells so."""
    return os.path.lexists(path) and not os.access(path, os.R_OK | os.X_OK, effective_ids=True)


def _is_being_built(tree: Tree) -> bool:
    """Whether a build is at work there, or was killed: until the manifest is written, only the owner can look in."""
    try:
        return not os.path.lexists(tree.at(MANIFEST)) and not os.lstat(tree.path).st_mode & 0o077
    except FileNotFoundError:
        return True


def _manifest(tree: Tree, layout: Layout, env: str, generation_id: str) -> t.Optional[Manifest]:
    """The manifest: the file, or the copy of it if that is damaged. ``tree.copies`` has the right one afterwards."""
    content = read(tree, MANIFEST)
    for found, is_copy in ((content, False), (tree.copies.get(MANIFEST), True)):
        if found is None:
            continue
        try:
            whole = manifests.is_whole(found, layout.manifest(env, generation_id))
            manifest = manifests.in_content(found, layout, env, generation_id)
        except UvnasError as error:
            if not is_copy and tree.copies.get(MANIFEST) is None:
                tree.note(MANIFEST, INVALID, f"{error}. {error.hint}")
            continue
        # Copies come with a digest: what has lost it is no earlier version's.
        if whole is False or (whole is None and not is_copy and MANIFEST in tree.copies):
            continue
        if whole is None:
            tree.notes.append(
                "an earlier version of uvnas.cluster built it: modes, and damage to its manifest, are not seen"
            )
        if is_copy:
            tree.note(MANIFEST, MISSING if content is None else CONTENT, "differs from its copy")
        tree.copies[MANIFEST] = found
        tree.files[MANIFEST] = Expected(digest_of(found), "its copy" if is_copy else "itself")
        return manifest
    if content is not None and not tree.damages:
        tree.note(MANIFEST, INVALID, f"it is damaged, and there is no copy. {manifests.anew(tree.at(MANIFEST))}")
    return None


def _text_of(tree: Tree, place: str) -> bytes:
    return tree.copies.get(place, b"{}")


def read(tree: Tree, place: str) -> t.Optional[bytes]:
    """What a file of a tree contains; None if it is no file, or cannot be read."""
    try:
        if os.path.islink(tree.at(place)):
            return None
        return files.read_bytes(tree.at(place))
    except (OSError, UvnasError):
        return None


def _either(tree: Tree, place: str, sha256: str) -> t.Optional[bytes]:
    """The content of a file with this digest, which it has itself, or its copy."""
    for content in (read(tree, place), tree.copies.get(place)):
        if content is not None and hashlib.sha256(content).hexdigest() == sha256:
            return content
    return None


def _contents(tree: Tree, sha256: str) -> t.Optional[Contents]:
    content = _either(tree, CONTENTS, sha256)
    return None if content is None else contents.parse(files.json_object(content, CONTENTS), CONTENTS)


def _add_contents(tree: Tree, listed: Contents) -> None:
    for place, file in listed.files.items():
        if not is_inside(place):
            continue
        expected = Expected(f"sha256:{file.sha256}", f"the digest in {CONTENTS}")
        (tree.shipped if is_bytecode(place) else tree.files)[place] = expected
    tree.links.update({place: target for place, target in listed.links.items() if is_inside(place)})
    if listed.executables is not None:
        tree.executables = frozenset(listed.executables)


def _read_records(tree: Tree, listed: Contents) -> bool:
    """Add what RECORDs vouch for. False if one of them cannot be had, so that there may be more."""
    complete = True
    for place, known in listed.records.items():
        tree.files[place] = Expected(f"sha256:{known.sha256}", f"the digest in {CONTENTS}")
        content = _either(tree, place, known.sha256)
        info = os.path.dirname(place)
        if content is None:
            complete = False
            tree.notes.append(f"what {os.path.basename(info)} has is not known until its RECORD is repaired")
            continue
        _add_record(tree, os.path.dirname(info), os.path.basename(info), content)
    return complete


def _add_record(tree: Tree, inside: str, info: str, content: bytes) -> None:
    """Add what a RECORD vouches for; ``inside`` is where the metadata directory ``info`` is. Raises csv.Error."""
    name = f"the RECORD of {_name(info)}"
    lines = parse_record(content)
    for place, hashed in (by_place(inside, lines) if inside else dict(lines)).items():
        if not is_inside(place):
            continue
        digest = of_record(hashed)
        if digest is None:
            tree.unhashed.add(place)
            continue
        is_own = bool(inside) and (is_of_one_generation(place) or not place.startswith(inside))
        shared = "" if is_own else f"{info}/{place[len(inside) + 1 :] if inside else place}"
        (tree.shipped if is_bytecode(place) else tree.files)[place] = Expected(digest, name, shared)


def _cache_tag(layout: Layout, digest: str, key: str, path: str) -> str:
    """What the bytecode of an interpreter is called: as in the store; else as in the tree; else as usual."""
    for name in files.directories_in(layout.bytecode):
        found = _STORE.fullmatch(name)
        if found and name == directory_name(found[1], digest):
            return found[1]
    tags = {match[1] for match in map(_TAG.search, _some_bytecode(path)) if match}
    version = Version.of_key(key)
    usual = f"cpython-{version.minor.replace('.', '')}"
    return usual if usual in tags or len(tags) != 1 else tags.pop()


def _some_bytecode(path: str) -> list[str]:
    """The names in one directory of bytecode."""
    for directory, names, _files in os.walk(path):
        if "__pycache__" in names:
            with contextlib.suppress(OSError):
                return os.listdir(os.path.join(directory, "__pycache__"))
    return []


def _add_bytecode(tree: Tree, listed: Contents, tag: str) -> None:
    """Add the bytecode of all sources but those that are known to have none."""
    tree.all_bytecode = listed.uncompiled is not None
    tree.tag, tree.uncompiled = tag, frozenset(listed.uncompiled or ())
    inside = f"{tree.library}/"
    for place, expected in tree.files.items():
        if not (place.endswith(".py") and place.startswith(inside)) or place in tree.uncompiled:
            continue
        algorithm, _colon, digest = expected.digest.partition(":")
        if algorithm == "sha256":
            key = of_text(f"{digest} {tree.names(place)}")
            tree.bytecode[bytecode_of(place, tag)] = Source(place, f"{tree.directory}/{key}")


# The rest


def interpreter(layout: Layout, known: Interpreter) -> Tree:
    """An interpreter on record. Raises OSError."""
    path = os.path.join(layout.python, known.key)
    minor = Version.of_key(known.key).minor
    tree = Tree(INTERPRETER, known.key, path, witness=f"bin/python{minor}", library=f"lib/python{minor}")
    if known.files is None:
        tree.notes.append("its files are not on record: an earlier version of uvnas.cluster installed it")
        return tree
    if is_closed(path):
        return tree
    digest, content, copy = known.files, read(tree, CONTENTS), read(tree, SPARE)
    with contextlib.suppress(UvnasError, OSError):
        interpreters.read(layout, known)
        # A run that was killed may have written the list, and not yet its digest.
        digest = hashlib.sha256(content or b"").hexdigest()
    tree.copies = {} if copy is None else {CONTENTS: copy}
    tree.files[CONTENTS] = Expected(f"sha256:{digest}", "the digest in pythons.json")
    tree.files[SPARE] = tree.files[CONTENTS]
    listed = _contents(tree, digest)
    if listed is None:
        if os.path.isdir(path):
            tree.note("", INVALID, f"what should be in it is not known: {CONTENTS} is damaged")
        return tree
    tree.exact = True
    _add_contents(tree, listed)
    tag = _cache_tag(layout, known.digest, known.key, path)
    tree.directory = directory_name(tag, known.digest)
    _add_bytecode(tree, listed, tag)
    return tree


def uv(layout: Layout, version: str) -> Tree:
    """A version of uv. Raises OSError."""
    tree = Tree(UV, version, os.path.join(layout.uv_versions, version))
    if is_closed(tree.path):
        return tree
    listed = None if os.path.islink(tree.at(CONTENTS)) else _recorded(tree.at(CONTENTS))
    if listed is None:
        tree.note(CONTENTS, CONTENT, "what its programs should be is not on record, or that is damaged")
        return tree
    _add_contents(tree, listed)
    tree.files[CONTENTS] = Expected(digest_of(listed.text.encode()), "itself")
    tree.exact = True
    return tree


def _recorded(path: str) -> t.Optional[Contents]:
    try:
        return recorded(path)
    except OSError:  # Its mode says so, or its disk.
        return None


def kept_archives(layout: Layout, installed: t.Iterable[Interpreter]) -> Tree:
    """The archives that interpreters were installed from, as far as they are kept."""
    tree = Tree(RECORD, "python-archives", layout.python_archives)
    found = [] if is_closed(tree.path) else files.names_in(tree.path)
    for known in installed:
        if known.archive and known.archive_sha256:
            tree.files[known.archive] = Expected(f"sha256:{known.archive_sha256}", "the digest in pythons.json")
        for name in found:  # uv's.
            if known.source == DOWNLOAD and name.startswith(f"{known.digest[:9]}-"):
                tree.files[name] = Expected(f"sha256:{known.digest}", "the digest in pythons.json")
    return tree


def archives(layout: Layout) -> t.Iterator[Tree]:
    """The unpacked wheels in uv's cache. Raises OSError."""
    for bucket in files.directories_in(layout.cache):
        if not bucket.startswith("archive-v"):
            continue
        directory = os.path.join(layout.cache, bucket)
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.isdir(path) and not os.path.islink(path) and not name.startswith("."):
                found = archive(layout, path)
                if found is not None:
                    yield found


def archive(layout: Layout, path: str) -> t.Optional[Tree]:
    """An unpacked wheel; None if it is something else that uv has cached."""
    tree = Tree(CACHE, os.path.relpath(path, layout.root), path)
    if is_closed(path):
        return tree
    try:
        infos = [name for name in os.listdir(path) if name.endswith(".dist-info")]
    except FileNotFoundError:  # uv removes it meanwhile.
        return None
    if len(infos) != 1:
        return None
    place = f"{infos[0]}/RECORD"
    content = read(tree, place)
    try:
        if content is None:
            raise UvnasError("it is missing")
        _add_record(tree, "", infos[0], content)
    except (UvnasError, csv.Error) as error:
        tree.note(place, INVALID, f"cannot be read: {error}")
    return tree


def records(layout: Layout) -> t.Iterator[tuple[str, t.Callable[[], t.Any]]]:
    """The share's own files, by their paths below its root, with what reads each; it raises UvnasError."""
    yield os.path.relpath(layout.pythons_record, layout.root), functools.partial(load_record, layout)
    for name in files.names_in(layout.locks):
        env = name.removesuffix(".state.json").removesuffix(".txt")
        if name.endswith(".state.json"):
            yield f"locks/{name}", functools.partial(standing.read, layout, env)
        elif name.endswith(".txt"):
            yield f"locks/{name}", functools.partial(_lock, layout, env)
    for env in files.names_in(layout.envs):
        yield f"envs/{env}", functools.partial(_link, layout, env)


def _lock(layout: Layout, env: str) -> Lock:
    """The lock of an environment. Raises UvnasError if it is none."""
    return read_lock(layout, env).lock


def _link(layout: Layout, env: str) -> None:
    """Raise UvnasError unless the link of an environment leads to a generation."""
    generation_id = store.published(layout, env)
    path = layout.generation(env, generation_id or "")
    if generation_id is None or not os.path.isdir(path) or os.path.islink(path):
        raise UvnasError(f"leads to {generation_id}, which is not there", hint="Run site.yml.")


def why(error: t.Union[UvnasError, OSError]) -> str:
    """An error in one line, with what a command said last, and what to do."""
    known = as_uvnas_error(error)
    said = last_words(str(getattr(known, "stderr", "")))
    return " ".join(f"{known}{': ' * bool(said)}{said}. {known.hint}".split())


def last_words(stderr: str) -> str:
    """What a command said last, in one line."""
    return " ".join(stderr.split())[-_LAST:]
