# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install one interpreter on a share with uv, check that it works there, and give it bytecode; remove one.

Facts about uv 0.13 used here:

* It installs by renaming a complete directory, then adjusts files in it. So a directory that no record mentions may be
  unfinished, and is reinstalled.
* It makes ``cpython-3.12-…`` links to the newest patch release. A virtual environment made through one changes its
  Python when the link moves, under running processes too. So these links are removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import stat
import typing as t

from ..bytecode.store import Bytecode
from ..bytecode.store import Interpreter as Compiler
from ..errors import UvnasError
from ..host import durable, files, mutex, removal, sealing, trust
from ..host.data import made_of, parse_json
from ..host.process import Runner, check
from ..host.progress import SILENT, Teller
from ..share import store
from ..share.contents import as_text
from ..share.layout import Layout, standard_library
from ..uv.command import Uv
from . import contents
from .library import sources
from .record import Interpreter
from .version import Version

_MINOR_LINK = re.compile(r"cpython-3\.[0-9]+(\+[a-z]+)?-linux-[a-z0-9_]+-[a-z]+")
_SYSTEM_LIBRARIES = ("/lib", "/usr/lib")
_VARIABLES = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

# An interpreter reports on itself in its new place. The modules are those that people miss first.
_SELF_CHECK = """
import importlib, json, os, sys, sysconfig
missing = []
for name in ("bz2", "ctypes", "hashlib", "lzma", "sqlite3", "ssl", "zlib"):
    try:
        importlib.import_module(name)
    except ImportError:
        missing.append(name)
with open("/proc/self/maps") as maps:
    mapped = {os.path.realpath(line.split(None, 5)[5].strip()) for line in maps if ".so" in line}
print(json.dumps({
    "version": sys.version.split()[0].rstrip("+"),
    "freethreaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "prefix": os.path.realpath(sys.base_prefix),
    "missing": missing,
    "mapped": sorted(mapped),
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include", "posix_prefix"), "Python.h")),
}))
"""


@dataclasses.dataclass(frozen=True)
class _Itself:
    """The answer to _SELF_CHECK."""

    version: str
    freethreaded: bool
    prefix: str
    missing: t.Sequence[str]
    mapped: t.Sequence[str]
    headers: bool


@dataclasses.dataclass(frozen=True)
class Installed:
    """An interpreter that is in its place."""

    # The digest of the list of its files, for the record.
    files: str
    warnings: t.Sequence[str]


@dataclasses.dataclass(frozen=True)
class Installer:
    """Runs uv in ``python/`` of a share. Hold the share's mutex."""

    layout: Layout
    runner: Runner
    compile_bytecode: bool
    # Other shares on this host, which may have the bytecode already.
    earlier: tuple[Layout, ...] = ()

    def directory(self, key: str) -> str:
        return os.path.join(self.layout.python, key)

    def executable(self, key: str) -> str:
        return self.layout.interpreter_bin(key, Version.of_key(key).minor)

    def look(self, key: str) -> t.Optional[bool]:
        """Whether an interpreter is sealed, by its executable, which is its witness; None if it does not exist.

        Raises UvnasError if somebody else made it.
        """
        try:
            status = os.stat(self.executable(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        for path in (self.directory(key), self.executable(key)):
            trust.check_owner(path, os.geteuid())
        return sealing.is_sealed(status)

    def warn(self, key: str) -> list[str]:
        """The warning for an interpreter that others than the owner can write to, before it is sealed."""
        paths = sealing.open_paths(self.directory(key))
        text = (
            f"{key}: others than the share's owner can write to {len(paths)} of its paths ({sealing.listed(paths)}). "
            "Sealing ends that, but does not undo their changes. To reinstall it, at a time when nobody uses it, run "
            f"this as the share's owner, and then site.yml: {sealing.removal(self.executable(key))}"
        )
        return [text] if paths else []

    def seal(self, key: str) -> None:
        """Seal an interpreter, and close its kept archive to others: uv may install from it again."""
        mutex.check(self.layout.mutex)
        with contextlib.suppress(FileNotFoundError), os.scandir(self.layout.python_archives) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    sealing.close(entry.path)
        sealing.seal(self.directory(key), self.executable(key))

    def install(
        self,
        key: str,
        uv: Uv,
        digest: t.Callable[[], str],
        *,
        message: str,
        hint: str,
        told: t.Optional[Teller] = None,
    ) -> Installed:
        """Install the interpreter ``key``. If that fails, the previous content comes back.

        ``uv`` knows where from. Once it has installed, ``digest`` says what identifies the content. ``message`` and
        ``hint`` are for the error if uv fails. ``told`` gets to know how far it is.
        """
        aside = files.temporary_name(self.directory(key))
        disks = self._disks()
        links = _minor_links(self.layout)
        mutex.check(self.layout.mutex)
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.directory(key), aside)
        try:
            self._run_uv(key, uv, message, hint)
            mutex.check(self.layout.mutex)
            self._restore_minor_links(links)
            warnings = self._check_itself(key)
            uncompiled = None
            if self.compile_bytecode:
                uncompiled = self._compile(key, uv, digest(), told or SILENT.of(key))
            mutex.check(self.layout.mutex)
            listed = contents.take(self.layout, key, uncompiled)
            self.seal(key)
            disks.sync()
        except BaseException:
            mutex.check(self.layout.mutex)  # Otherwise this might remove somebody else's.
            removal.remove_tree(self.directory(key))
            with contextlib.suppress(FileNotFoundError):
                os.rename(aside, self.directory(key))
            self._restore_minor_links(links)
            store.sweep(self.layout)
            raise
        finally:
            disks.close()
        mutex.check(self.layout.mutex)
        with contextlib.suppress(FileNotFoundError):
            removal.remove(aside)  # What is in use stays aside.
        return Installed(listed, warnings)

    def compile(self, interpreter: Interpreter, uv: Uv, told: t.Optional[Teller] = None) -> Interpreter:
        """Give an installed interpreter, which is unsealed meanwhile, its bytecode; returns the entry for the record.

        It may be in use, and could not even compile if its own bytecode were damaged: that is on the disk before it is
        linked. A killed run leaves it unsealed, or not recorded as compiled: the next run repairs both.
        """
        key = interpreter.key
        mutex.check(self.layout.mutex)
        with contextlib.closing(self._disks()) as disks:
            disks.sync()  # What a killed run has compiled, and this one would link.
            try:
                sealing.unseal(self.directory(key), self.executable(key))
                uncompiled = self._compile(key, uv, interpreter.digest, told or SILENT.of(key), disks.sync)
                mutex.check(self.layout.mutex)
                listed = contents.note(self.layout, interpreter, uncompiled)
            finally:
                mutex.check(self.layout.mutex)
                self.seal(key)
            disks.sync()
        return dataclasses.replace(interpreter, compiled=True, files=listed)

    def _compile(
        self, key: str, uv: Uv, digest: str, told: Teller, settle: t.Callable[[], None] = lambda: None
    ) -> list[str]:
        """Link its standard library's bytecode from the store of the share, where it is compiled if need be.

        Returns the paths of the sources that have none, in the interpreter.
        """
        library = standard_library(self.directory(key), Version.of_key(key).minor)

        def compiling(number: int) -> None:
            told("compiling", f"{number} module{'s' * (number != 1)} of its standard library")

        try:
            bytecode = Bytecode.by(uv, Compiler(self.executable(key), digest), earlier=self.earlier)
            names = sources(library)
            bytecode.add(library, names, compiling, settle)
            inside = os.path.relpath(library, self.directory(key))
            return sorted(as_text(os.path.join(inside, name)) for name in bytecode.lacking(library, names))
        except UvnasError as error:
            raise UvnasError.from_dict({**error.as_dict(), "msg": f"{key}: {error}"}) from error

    def _disks(self) -> durable.Disks:
        """What is written to: interpreters, the archives that uv keeps, bytecode. Synced before a record names them."""
        return durable.Disks(self.layout.python, self.layout.python_archives, self.layout.bytecode)

    def remove(self, key: str) -> None:
        """Remove an interpreter, and the links to it. What is in use stays hidden, for a later sweep."""
        mutex.check(self.layout.mutex)
        unlink_minor_links(self.layout, lambda linked: linked == key)
        removal.remove_tree(self.directory(key))

    def _run_uv(self, key: str, uv: Uv, message: str, hint: str) -> None:
        # uv would make it world-writable, whatever the umask, and anybody holding that lock would block the builder.
        files.make_private(os.path.join(self.layout.python, ".lock"))
        with contextlib.suppress(FileNotFoundError):
            sealing.close(os.path.join(self.layout.python, ".temp"))  # Where it unpacks.
        uv.check(
            "python", "install", "--no-cache", "--no-bin", "--install-dir", self.layout.python, key,
            message=message,
            hint=hint,
            variables={"UV_PYTHON_DOWNLOADS": "manual"},
            cwd="/",
        )  # fmt: skip

    def _restore_minor_links(self, links: t.Mapping[str, str]) -> None:
        """Undo what uv did to these links: remove new ones, restore the targets of old ones."""
        for path, target in _minor_links(self.layout).items():
            if path not in links:
                os.unlink(path)
            elif target != links[path]:
                files.replace_symlink(links[path], path)

    def _check_itself(self, key: str) -> list[str]:
        """Check that a new interpreter runs in place; returns warnings about what it lacks, or needs from hosts."""
        directory, version = os.path.realpath(self.directory(key)), Version.of_key(key)
        cmd = [self.executable(key), "-I", "-B", "-c", _SELF_CHECK]
        done = self.runner.run(cmd, variables=_VARIABLES, cwd="/")
        check(done, cmd[:1], f"{key} does not run on this builder", hint="Nothing was installed.")
        answer = f"the answer of {key} about itself"
        found = made_of(parse_json(done.stdout, answer, hint="Nothing was installed."), _Itself)
        if found is None:
            raise UvnasError(f"{answer} makes no sense", hint="Nothing was installed.")
        actual = found.version + ("t" if found.freethreaded else "")
        if actual != str(version):
            raise UvnasError(f"what should be {key} is Python {actual}", hint="Nothing was installed.")
        outside = [path for path in found.mapped if not path.startswith((directory + "/", *_SYSTEM_LIBRARIES))]
        library = next((path for path in outside if os.path.basename(path).startswith("libpython")), None)
        if found.prefix != directory or library:
            raise UvnasError(
                f"{key} depends on {library or found.prefix}",
                hint="Its archive cannot be unpacked elsewhere. Supply the installed Python by its prefix instead.",
            )
        warnings = []
        if found.missing:
            warnings.append(f"{key} lacks the modules {', '.join(found.missing)} on this builder")
        if outside:
            warnings.append(f"{key} uses libraries that every host must have in the same place: {', '.join(outside)}")
        if not found.headers:
            warnings.append(f"{key} has no header files, so packages cannot be compiled for it")
        return warnings


def unlink_minor_links(layout: Layout, gone: t.Callable[[str], bool]) -> None:
    """Remove the links that uv made to interpreters whose keys are ``gone``. Hold the share's mutex."""
    for link, target in _minor_links(layout).items():
        if gone(os.path.basename(target.rstrip("/"))):
            mutex.check(layout.mutex)
            os.unlink(link)


def _minor_links(layout: Layout) -> dict[str, str]:
    """The links that uv made: target by path."""
    with contextlib.suppress(FileNotFoundError), os.scandir(layout.python) as entries:
        links = [entry.path for entry in entries if entry.is_symlink() and _MINOR_LINK.fullmatch(entry.name)]
        return {path: os.readlink(path) for path in links}
    return {}
