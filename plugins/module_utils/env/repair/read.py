# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read trees: what is in them, and the digests of files, each inode once, in several processes."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import time
import typing as t

from ...bytecode.whole import mark_in
from ...errors import as_uvnas_error
from ...host import acl
from ...host.workers import Result, call_many
from ...share.contents import as_text

# What one process is given: bytes and files.
_BYTES, _FILES = 64 << 20, 1000
_BLOCK = 1 << 20
# Asked of a file instead of a digest: the mark of bytecode that is whole, empty otherwise.
MARK = "mark"
FAILED = "failed"

Inode = tuple[int, int]
# By algorithm, or MARK, or FAILED with the system's message.
Facts = t.Mapping[str, str]


class Entry(t.NamedTuple):
    """Something in a tree."""

    mode: int
    inode: Inode
    size: int
    links: int
    uid: int
    # Of a symlink.
    target: str = ""
    # Whether a directory has a default ACL.
    inherits: bool = False


class Question(t.NamedTuple):
    """A file to be read, and what is asked about it."""

    path: str
    size: int
    asked: tuple[str, ...]


def walk(paths: t.Sequence[str], jobs: int, meanwhile: t.Callable[[], None]) -> list[dict[str, Entry]]:
    """What is in each of the trees ``paths``, by place; of the tree itself as ``""``. Nothing if it is not there."""
    works = [functools.partial(_walk, path) for path in paths]
    return [
        {place: Entry(mode, (device, inode), size, links, uid, target, inherits)
         for place, mode, device, inode, size, links, uid, target, inherits in answer()["entries"]}
        for answer in call_many(works, jobs=jobs, meanwhile=meanwhile)
    ]  # fmt: skip


def _walk(path: str) -> Result:
    found: list[list[t.Any]] = []
    try:
        top = os.lstat(path)
    except FileNotFoundError:
        return {"entries": []}
    found.append(_entry("", path, top))
    pending = [path] if stat.S_ISDIR(top.st_mode) else []
    length = len(path) + 1
    while pending:
        here = pending.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    found.append(_entry(as_text(entry.path[length:]), entry.path, status))
                    # What is mounted there is not this tree's.
                    if stat.S_ISDIR(status.st_mode) and status.st_dev == top.st_dev:
                        pending.append(entry.path)
        except FileNotFoundError:  # Somebody removes it meanwhile.
            continue
        except PermissionError:  # Its mode says so.
            continue
    return {"entries": found}


def _entry(place: str, path: str, status: os.stat_result) -> list[t.Any]:
    target, inherits = "", False
    if stat.S_ISLNK(status.st_mode):
        try:
            target = as_text(os.readlink(path))
        except OSError:
            target = ""
    elif stat.S_ISDIR(status.st_mode):
        try:
            inherits = bool(acl.default_acl_of(path))
        except OSError:
            inherits = False
    return [
        place, status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_nlink, status.st_uid,
        target, inherits,
    ]  # fmt: skip


def facts(
    questions: t.Mapping[Inode, Question], jobs: int, *, bytes_per_second: int, meanwhile: t.Callable[[], None]
) -> dict[Inode, Facts]:
    """The answers to ``questions``, by inode. With ``bytes_per_second``, all processes together read no faster."""
    parts: list[list[tuple[Inode, Question]]] = [[]]
    size = 0
    for item in questions.items():
        if parts[-1] and (size + item[1].size > _BYTES or len(parts[-1]) >= _FILES):
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += item[1].size
    # Large ones first: whoever gets the last one is waited for.
    rate = bytes_per_second / jobs if bytes_per_second else 0.0
    works = [functools.partial(_read_all, [question for _inode, question in part], rate) for part in parts if part]
    inodes = [[inode for inode, _question in part] for part in parts if part]
    found: dict[Inode, Facts] = {}
    for part, answer in zip(inodes, call_many(works, jobs=jobs, meanwhile=meanwhile)):
        found.update(zip(part, answer()["facts"]))
    return found


def _read_all(questions: t.Sequence[Question], rate: float) -> Result:
    began, done = time.monotonic(), 0
    found = []
    for question in questions:
        found.append(_read(question))
        done += question.size
        if rate:
            time.sleep(max(0.0, began + done / rate - time.monotonic()))
    return {"facts": found}


def _read(question: Question) -> dict[str, str]:
    try:
        descriptor = os.open(question.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return {FAILED: str(as_uvnas_error(error))}
    try:
        # A byte more than there should be: a short read is all of it.
        return _answers(descriptor, question.asked, min(question.size + 1, _BLOCK))
    except OSError as error:
        return {FAILED: str(as_uvnas_error(error))}
    finally:
        os.close(descriptor)


def _answers(descriptor: int, asked: t.Sequence[str], size: int) -> dict[str, str]:
    digests = {name: hashlib.new(name) for name in asked if name != MARK}
    content = []
    while True:
        block = os.read(descriptor, size)
        for digest in digests.values():
            digest.update(block)
        if MARK in asked:
            content.append(block)
        if len(block) < size:
            break
    found = {name: digest.hexdigest() for name, digest in digests.items()}
    if MARK in asked:
        found[MARK] = (mark_in(b"".join(content)) or b"").hex()
    return found
