# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that a share has exactly what was put there, to the last byte. Uses no code of the collection."""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import json
import marshal
import os
import re
import subprocess
import tarfile
import typing as t
from pathlib import Path

# What uv changes after it has unpacked an interpreter: paths.
_ADJUSTED = re.compile(r"_sysconfigdata_|\.pc$|-config$|^Makefile$|^EXTERNALLY-MANAGED$")
# Size of a bytecode file's header.
_HEAD = 16


def in_force(share: Path) -> list[str]:
    """The environments that people can use."""
    envs = share / "envs"
    return sorted(name for name in os.listdir(envs) if not name.startswith(".")) if envs.is_dir() else []


def faults_of(share: Path, archives: t.Mapping[str, Path], imports: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """What is wrong with the environments in force. Runs them, and reads every file of them.

    ``imports``: modules by environment; ``archives``: of interpreters, by version.
    """
    found: list[str] = []
    interpreters = set()
    for env in in_force(share):
        generation = (share / "envs" / env).resolve()
        found += [f"{env}: {fault}" for fault in (*_faults_in(generation), *_faults_of_run(generation, imports[env]))]
        interpreters.add((generation / "bin" / "python").resolve().parents[1])
    for interpreter in interpreters:
        archive = archives[interpreter.name.split("-")[1]]
        found += [f"interpreter: {fault}" for fault in _faults_of_interpreter(interpreter, archive)]
    return found


def _faults_of_run(generation: Path, modules: t.Sequence[str]) -> list[str]:
    code = f"import {', '.join(modules)}"
    cmd = [generation / "bin" / "python", "-I", "-B", "-c", code]
    try:
        done = subprocess.run(cmd, env={}, capture_output=True, text=True, check=False)
    except OSError as error:
        return [f"cannot run: {error}"]
    return [f"fails: {done.stderr[-500:]}"] if done.returncode else []


def _faults_in(generation: Path) -> t.Iterator[str]:
    """What differs from the digests in ``.uvnas-files.json`` and in the RECORDs that it covers."""
    try:
        manifest = json.loads((generation / ".uvnas.json").read_bytes())
        text = (generation / ".uvnas-files.json").read_bytes()
        lock = (generation / ".uvnas-lock.txt").read_bytes()
        recorded = json.loads(text)
    except (OSError, ValueError) as error:
        yield f"damaged: {error}"
        return
    if hashlib.sha256(text).hexdigest() != manifest["content"]["files"]:
        yield ".uvnas-files.json differs"
    if hashlib.sha256(lock).hexdigest() != manifest["lock"]["text"]:
        yield ".uvnas-lock.txt differs"
    if len(recorded["records"]) != len(manifest["packages"]):
        yield "packages differ"
    for place, file in recorded["files"].items():
        if _digest(generation / place).hex() != file["sha256"]:
            yield f"{place} differs"
    for place, target in recorded["links"].items():
        if not (generation / place).is_symlink() or os.readlink(generation / place) != target:
            yield f"{place} leads elsewhere"
    for place, record in recorded["records"].items():
        if _digest(generation / place).hex() != record["sha256"]:
            yield f"{place} differs"
            continue
        for name, expected in _hashed(generation / place):
            path = generation / place / ".." / ".." / name
            if base64.urlsafe_b64encode(_digest(Path(os.path.normpath(path)))).rstrip(b"=").decode() != expected:
                yield f"{name} differs"
    yield from _cut_short(generation)


def _hashed(record: Path) -> t.Iterator[tuple[str, str]]:
    with record.open(newline="") as file:
        for line in csv.reader(file):
            if line and line[1].startswith("sha256=") and not line[0].endswith(".pyc"):
                yield line[0], line[1].removeprefix("sha256=").rstrip("=")


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b"missing"


def _faults_of_interpreter(directory: Path, archive: Path) -> t.Iterator[str]:
    for place, digest in _members(archive).items():
        path = directory / place
        if _ADJUSTED.search(path.name):
            if not path.exists() or path.stat().st_size == 0:
                yield f"{place} is empty"
        elif _digest(path) != digest:
            yield f"{place} differs"
    yield from _cut_short(directory)


def _cut_short(tree: Path) -> t.Iterator[str]:
    """Bytecode that Python cannot read, and does not compare with its source."""
    for path in tree.rglob("*.pyc"):
        try:
            marshal.loads(path.read_bytes()[_HEAD:])
        except (EOFError, ValueError, TypeError):
            yield f"{path.relative_to(tree)} is cut short"


@functools.lru_cache(maxsize=2)
def _members(archive: Path) -> dict[str, bytes]:
    """The digests of the files in an interpreter's archive, by path."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None and member.size:
                found[member.name.partition("/")[2]] = hashlib.sha256(content.read()).digest()
    return found
