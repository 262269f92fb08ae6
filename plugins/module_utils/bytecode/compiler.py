# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile sources with an interpreter, in several processes. Whatever a source does to one costs its own bytecode only.

``.bad`` beside where bytecode would be means that this source does not compile, and need not be tried again.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import signal
import tempfile
import typing as t

from ..errors import CommandError, UvnasError
from ..host import files
from ..host.process import Runner, check
from ..host.workers import Result, call_many, portions

# Run with the generation's interpreter: compiles what it reads about on standard input, a JSON list in a line each, and
# answers with a word in a line each. What it writes gets its name in one step. A source that has changed since it was
# looked at is not compiled under the key of what it was. The end of the file tells that it is whole: see ``whole``.
_COMPILER = """
import gc, hashlib, importlib.util, json, marshal, os, signal, sys
gc.disable()
head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
for line in sys.stdin:
    signal.setitimer(signal.ITIMER_PROF, float(sys.argv[1]))
    path, name, digest, target, mark, scratch = map(os.fsencode, json.loads(line))
    with open(path, "rb") as file:
        source = file.read()
    if hashlib.sha256(source).hexdigest().encode() != digest:
        print("changed", flush=True)
        continue
    try:
        code = compile(source, os.fsdecode(name), "exec", dont_inherit=True, optimize=0)
        content = head + importlib.util.source_hash(source) + marshal.dumps(code) + bytes.fromhex(mark.decode())
        content += hashlib.sha256(content).digest()
    except (SyntaxError, ValueError, OverflowError, RecursionError):
        code = None
    except MemoryError as error:
        if not error.args:
            print("failed", flush=True)
            continue
        code = None  # The parser's, of a source that is too deep.
    try:
        if code is None:
            os.close(os.open(target[:-3] + b"bad", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        else:
            descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(descriptor, 0o644)
            os.rename(scratch, target)
    except OSError as error:
        print("error " + str(error.errno), flush=True)
        if os.path.lexists(scratch):
            os.unlink(scratch)
        sys.exit(0)
    print("bad" if code is None else "compiled", flush=True)
"""

# Of compilers. They are run without -E and -I, which would ignore the hash seed.
_VARIABLES = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
_TAG = re.compile(r"[a-z]+-[0-9]+[a-z]*")
# Sources that one process is given. Processes are cheap, and the last one is waited for.
_PORTION = 400
# Seconds of a processor for one source, as many as with uv, and on the clock for a whole portion: a NAS may hang.
_ONE, _ALL = 60.0, 600.0
# How sources end a compiler, every time: they take too long (see _ONE), or are too deep for it.
_ENDS = frozenset((-signal.SIGPROF, -signal.SIGSEGV, -signal.SIGABRT))


@dataclasses.dataclass(frozen=True)
class Order:
    """A source to compile."""

    path: str
    # What its code says that it is.
    name: str
    # Of what it contained when it was looked at.
    digest: str
    # Where its bytecode goes.
    target: str
    # In hexadecimal digits, see ``whole``.
    mark: str


@dataclasses.dataclass(frozen=True)
class Compiler:
    """An interpreter that compiles."""

    program: str
    runner: Runner
    # A directory on the filesystem of all targets, for what is not complete.
    scratch: str

    def cache_tag(self) -> str:
        """What its bytecode is called: ``cpython-312``. Asked, as versions differ on free-threaded ones.

        Raises UvnasError.
        """
        cmd = [self.program, "-S", "-s", "-B", "-c", "import sys; print(sys.implementation.cache_tag)"]
        done = self.runner.run(cmd, variables=_VARIABLES, cwd="/")
        tag = check(done, cmd, "cannot compile bytecode").stdout.strip()
        if not _TAG.fullmatch(tag):
            raise UvnasError(f"cannot compile bytecode: {self.program} has no cache tag, but {tag!r}")
        return tag

    def compile(self, orders: t.Sequence[Order], jobs: int) -> list[Order]:
        """Compile all in ``jobs`` processes at once; return those that have changed, and so were not compiled.

        Raises UvnasError.
        """
        size = max(1, min(_PORTION, -(-len(orders) // (4 * jobs))))
        with tempfile.TemporaryDirectory(prefix="uvnas-") as empty:
            works = [functools.partial(self._compile_portion, portion, empty) for portion in portions(orders, size)]
            return [Order(*each) for answer in call_many(works, jobs=jobs) for each in answer()["changed"]]

    def _compile_portion(self, portion: t.Sequence[Order], empty: str) -> Result:
        """Compile some. One that crashes the compiler, or keeps it busy for too long, is tried alone."""
        lines = [json.dumps([*dataclasses.astuple(order), self._scratch_file()]) for order in portion]
        options = ["-S", "-s", "-B", "-W", "ignore", "-c", _COMPILER, str(_ONE)]
        cmd = [self.program, *options]
        try:
            done = self.runner.run(
                cmd, variables=_VARIABLES, cwd=empty, timeout=_ALL, stdin="".join(f"{line}\n" for line in lines)
            )
            answers, ended = done.stdout.split(), done.rc
        except CommandError as error:
            if error.rc >= 0:  # It could not even be started.
                raise
            answers, ended = (error.stdout or "").split(), error.rc
        if "error" in answers:
            code = int(answers[answers.index("error") + 1])
            raise OSError(code, os.strerror(code), self.scratch)
        if ended > 0:
            raise CommandError("cannot compile bytecode", cmd=cmd[:1], rc=ended, stdout=done.stdout, stderr=done.stderr)
        changed = [dataclasses.astuple(order) for order, said in zip(portion, answers) if said == "changed"]
        rest = portion[len(answers) :]
        if len(portion) == 1 and rest and ended in _ENDS:
            _note_bad(rest[0].target)
        elif ended < 0 and len(portion) > 1:
            for part in (rest[:1], rest[1:]):
                if part:
                    changed += self._compile_portion(part, empty)["changed"]
        return {"changed": changed}

    def _scratch_file(self) -> str:
        return files.temporary_name(os.path.join(self.scratch, "pyc"))


def bad(target: str) -> str:
    """What is there instead of the bytecode ``target`` if its source does not compile."""
    return f"{target[:-3]}bad"


def _note_bad(target: str) -> None:
    os.close(os.open(bad(target), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
