# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random damage to a share, and what a share is like to the last inode."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import stat
import typing as t
from collections import defaultdict
from pathlib import Path

# What is vouched for: uv's cache only as far as it is unpacked wheels.
TREES = ("generations/*/*", "python/*", "lib/uv/*", "cache/archive-v*/*", "bytecode/*-*", "python-archives")
BYTE, CUT, EMPTY, DELETE, ADD, MODE, LINK, EDIT = ("byte", "cut", "empty", "delete", "add", "mode", "link", "edit")
KINDS = (BYTE, CUT, EMPTY, DELETE, ADD, MODE, LINK, EDIT)
_SPARE = ".uvnas-spare"
# What installers, uv as it makes an environment, and we write in each.
_OWN = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "_virtualenv.py", "_virtualenv.pth", "zzz_uvnas_pin.pth"}
)
# uv has a list of the archives here, which is written anew with each interpreter.
_LEFT_OUT = frozenset({"site.json", ".lock"})


@dataclasses.dataclass(frozen=True)
class Damage:
    """What was done to a path."""

    kind: str
    path: Path


@dataclasses.dataclass(frozen=True)
class State:
    """What is at the paths of a share: kind, mode, content; and which of them are one file."""

    facts: t.Mapping[str, tuple[t.Any, ...]]
    files: t.Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, share: Path) -> State:
        facts: dict[str, tuple[t.Any, ...]] = {}
        inodes: dict[str, tuple[int, int]] = {}
        known: dict[tuple[int, int], str] = {}
        for path in paths(share):
            status = path.lstat()
            name = str(path.relative_to(share))
            facts[name] = fact(path, status, known)
            if stat.S_ISREG(status.st_mode):
                inodes[name] = (status.st_dev, status.st_ino)
        return cls(facts, inodes)

    def differences(self, after: State) -> list[str]:
        """What is different ``after``, the sharing of files included."""
        found = [
            f"{name}: {self.facts.get(name)} -> {after.facts.get(name)}"
            for name in sorted({*self.facts, *after.facts})
            if self.facts.get(name) != after.facts.get(name)
        ]
        before, now = self.together(), after.together()
        found += [
            f"{name}: one with {sorted(before[name] - now[name])} before, with {sorted(now[name] - before[name])} now"
            for name in sorted({*before} & {*now})
            if before[name] != now[name]
        ]
        return found

    def together(self) -> dict[str, frozenset[str]]:
        """For each file, all its names."""
        names: dict[tuple[int, int], set[str]] = defaultdict(set)
        for name, inode in self.files.items():
            names[inode].add(name)
        return {name: frozenset(names[inode]) for name, inode in self.files.items()}


def fact(path: Path, status: os.stat_result, known: dict[tuple[int, int], str]) -> tuple[t.Any, ...]:
    """Kind, mode, content and owner of what is at a path. ``known``: digests of files that have been read."""
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        inode = (status.st_dev, status.st_ino)
        if inode not in known:
            known[inode] = hashlib.sha256(path.read_bytes()).hexdigest()
        # The same source does not always give the same bytes; verification tells whether they are right.
        content = "bytecode" if path.suffix == ".pyc" else known[inode]
    return (stat.S_IFMT(status.st_mode), oct(stat.S_IMODE(status.st_mode)), content, status.st_uid)


def paths(share: Path) -> t.Iterator[Path]:
    """Everything that is vouched for."""
    for pattern in TREES:
        for tree in sorted(share.glob(pattern), key=_order):
            if tree.is_symlink() or tree.name.startswith("."):
                continue
            yield tree
            for above, directories, names in os.walk(tree):
                directories.sort()
                for name in (*directories, *sorted(names)):
                    if name not in _LEFT_OUT:
                        yield Path(above, name)


def _order(tree: Path) -> tuple[list[str], str]:
    """Where a tree comes. uv calls unpacked wheels as it likes, but the same seed should choose the same files."""
    return sorted(path.name for path in tree.glob("*.dist-info")), tree.name


def do_damage(
    share: Path, chance: random.Random, count: int, kinds: t.Sequence[str] = KINDS, but: t.Collection[str] = ()
) -> list[Damage]:
    """Damage ``count`` things at random, as root, or their owner in a hurry, but not in some directories of the share.

    No file is damaged twice, and none that a tree has a copy of together with that: nobody could repair that.
    """
    found = [
        path
        for path in paths(share)
        if (not path.is_dir() or path.is_symlink()) and path.relative_to(share).parts[0] not in but
    ]
    taken: set[tuple[int, int]] = set()
    # Which of both a tree has lost: whether it is the copies.
    lost: dict[Path, bool] = {}
    done: list[Damage] = []
    while len(done) < count:
        path, kind = chance.choice(found), chance.choice(kinds)
        if not os.path.lexists(path) or any(path == damage.path for damage in done):
            continue
        status = path.lstat()
        inode = (status.st_dev, status.st_ino)
        if inode in taken or not _is_possible(share, path, kind, status):
            continue
        tree = _has_copies(share, path)
        if tree and kind not in (ADD, MODE) and lost.setdefault(tree, path.name == _SPARE) != (path.name == _SPARE):
            continue
        taken.add(inode)
        mode = stat.S_IMODE(path.parent.stat().st_mode)
        path.parent.chmod(mode | 0o700)  # As whoever damages something there would.
        done.append(Damage(kind, _damage(path, kind, chance)))
        path.parent.chmod(mode)
    return done


def _is_possible(share: Path, path: Path, kind: str, status: os.stat_result) -> bool:
    inside = path.relative_to(share).parts
    if stat.S_ISLNK(status.st_mode):
        return kind in (LINK, DELETE)
    # In the store: whatever is missing is compiled again when somebody wants it; other files mean nothing.
    if inside[0] == "bytecode" and (kind in (ADD, DELETE, LINK, EDIT) or path.suffix != ".pyc"):
        return False
    if inside[0] in ("python-archives", "lib") and kind in (ADD,):
        return inside[0] == "lib"
    if path.name == "RECORD" and inside[0] == "cache":
        return False  # See test_damage: its lines come in another order afterwards.
    return status.st_size > 0 or kind in (DELETE, ADD, MODE, LINK, EDIT)


def _has_copies(share: Path, path: Path) -> Path | None:
    """The tree that has a copy of this file, or whose copies are in it; None if it is none of these."""
    inside = path.relative_to(share).parts
    tree, place = share.joinpath(*inside[:3]), inside[3:]
    if inside[0] == "generations" and (len(place) == 1 or place[0] == "bin" or path.name in _OWN):
        return tree
    if inside[0] == "python" and path.name in (".uvnas-files.json", _SPARE):
        return share.joinpath(*inside[:2])
    return None


def _damage(path: Path, kind: str, chance: random.Random) -> Path:
    if kind == DELETE:
        path.unlink()
    elif kind == LINK:
        path.unlink()
        path.symlink_to(chance.choice(["/etc/passwd", "/nowhere", "../elsewhere"]))
    elif kind == ADD:
        path = path.with_name(f"added-{chance.randrange(1 << 32)}.py")
        path.write_text("import os\n")
    elif kind == MODE:
        mode = stat.S_IMODE(path.stat().st_mode)
        # Only its owner has to read what an interpreter was installed from.
        wrong = (0o666, *(() if path.parent.name == "python-archives" else (0o600,)), 0o777, 0o000, 0o4755, 0o664)
        path.chmod(chance.choice([each for each in wrong if each != mode]))
    elif kind == EDIT:  # As editors do: a new file with the old name.
        content = path.read_bytes()
        beside = path.with_name(".swp")
        beside.write_bytes(content + b"# edited\n")
        beside.chmod(stat.S_IMODE(path.stat().st_mode))
        beside.rename(path)
    else:
        size, mode = path.stat().st_size, stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | 0o200)
        with path.open("r+b") as file:
            if kind == BYTE:
                file.seek(place := chance.randrange(size))
                (old,) = file.read(1)
                file.seek(place)
                file.write(bytes([old ^ 1 << chance.randrange(8)]))
            else:
                file.truncate(0 if kind == EMPTY else chance.randrange(size))
        path.chmod(mode)
    return path
