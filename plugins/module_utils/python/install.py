# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have uv put one interpreter on a share, see that it works there, and take one away.

Facts about uv 0.13 used here:

* It installs by renaming a directory that is complete, then adjusts files in it. So a directory that nothing is known
  of may be unfinished, and is made anew.
* It makes ``cpython-3.12-…`` links to the newest patch. A virtual environment made through one changes its Python when
  the link moves, under running processes too. So these links do not stay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import stat
import typing as t

from ..errors import UvnasError
from ..host import durable, files, mutex, removal, sealing, trust
from ..host.data import made_of, parse_json
from ..host.process import Runner, check
from ..share import store
from ..share.layout import Layout
from ..uv.command import Uv
from .version import Version

_MINOR_LINK = re.compile(r"cpython-3\.[0-9]+(\+[a-z]+)?-linux-[a-z0-9_]+-[a-z]+")
_SYSTEM_LIBRARIES = ("/lib", "/usr/lib")
_VARIABLES = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

# What an interpreter says of itself in its new place. The modules are those that people miss first.
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
    """Its answer."""

    version: str
    freethreaded: bool
    prefix: str
    missing: t.Sequence[str]
    mapped: t.Sequence[str]
    headers: bool


@dataclasses.dataclass(frozen=True)
class Installer:
    """uv at work in ``python/`` of a share. To be used with the share's mutex held."""

    layout: Layout
    runner: Runner
    compile_bytecode: bool

    def directory(self, key: str) -> str:
        return os.path.join(self.layout.python, key)

    def executable(self, key: str) -> str:
        return self.layout.interpreter_bin(key, Version.of_key(key).minor)

    def look(self, key: str) -> t.Optional[bool]:
        """Whether an interpreter is sealed; None where it is not there. By its executable, which is its witness.

        Raises UvnasError where somebody else made it.
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
        """What to say of an interpreter that others than the owner can write to, before that is changed."""
        paths = sealing.open_paths(self.directory(key))
        text = (
            f"{key}: others than the share's owner can write to {len(paths)} of its paths ({sealing.listed(paths)}). "
            "Sealing ends that; what they have changed stays changed. To have it installed anew, at a time when nobody "
            f"uses it, run this as the share's owner, and then site.yml: {sealing.removal(self.executable(key))}"
        )
        return [text] if paths else []

    def seal(self, key: str) -> None:
        """Seal an interpreter, and close what it came from: uv takes it from there again."""
        mutex.check(self.layout.mutex)
        with contextlib.suppress(FileNotFoundError), os.scandir(self.layout.python_archives) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    sealing.close(entry.path)
        sealing.seal(self.directory(key), self.executable(key))

    def install(self, key: str, uv: Uv, *, message: str, hint: str) -> list[str]:
        """Have the interpreter ``key``; warnings about it. What was in its place comes back if that fails.

        ``uv`` has been told where from. ``message`` and ``hint`` are for the error if it fails.
        """
        aside = files.temporary_name(self.directory(key))
        disks = self._disks()
        links = self._minor_links()
        mutex.check(self.layout.mutex)
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.directory(key), aside)
        try:
            self._run_uv(key, uv, message, hint)
            mutex.check(self.layout.mutex)
            self._restore_minor_links(links)
            warnings = self._check_itself(key)
            self.seal(key)
            disks.sync()
        except BaseException:
            mutex.check(self.layout.mutex)  # Or it may be somebody else's that would be removed.
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
            removal.remove(aside)  # What is in use of it stays aside.
        return warnings

    def compile(self, key: str, uv: Uv) -> None:
        """Compile the standard library of an interpreter that is there, which is not sealed meanwhile.

        Whoever is killed here leaves one that is not sealed, or not noted as compiled: both are made good.
        """
        links = self._minor_links()
        mutex.check(self.layout.mutex)
        with contextlib.closing(self._disks()) as disks:
            try:
                sealing.unseal(self.directory(key), self.executable(key))
                self._run_uv(key, uv, f"cannot compile the standard library of {key}", "")
            finally:
                mutex.check(self.layout.mutex)
                self._restore_minor_links(links)
                self.seal(key)
            disks.sync()

    def _disks(self) -> durable.Disks:
        """What uv writes to: interpreters, and the archives that it keeps. Synced before the record tells of them."""
        return durable.Disks(self.layout.python, self.layout.python_archives)

    def remove(self, key: str) -> None:
        """Remove an interpreter, and the links to it. What is in use of it stays out of sight, for a later sweep."""
        mutex.check(self.layout.mutex)
        self.unlink_minor_links(lambda linked: linked == key)
        removal.remove_tree(self.directory(key))

    def _run_uv(self, key: str, uv: Uv, message: str, hint: str) -> None:
        compile_bytecode = ["--compile-bytecode"] if self.compile_bytecode else []
        # uv would let everybody write it, whatever the umask. Who holds that lock would stop the builder.
        files.make_private(os.path.join(self.layout.python, ".lock"))
        with contextlib.suppress(FileNotFoundError):
            sealing.close(os.path.join(self.layout.python, ".temp"))  # Where it unpacks.
        uv.check(
            "python", "install", "--no-cache", "--no-bin", "--install-dir", self.layout.python,
            *compile_bytecode, key,
            message=message,
            hint=hint,
            variables={"UV_PYTHON_DOWNLOADS": "manual"},
            cwd="/",
        )  # fmt: skip

    def _minor_links(self) -> dict[str, str]:
        """The links that uv made, by path, and where they lead."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.layout.python) as entries:
            links = [entry.path for entry in entries if entry.is_symlink() and _MINOR_LINK.fullmatch(entry.name)]
            return {path: os.readlink(path) for path in links}
        return {}

    def unlink_minor_links(self, gone: t.Callable[[str], bool]) -> None:
        """Remove the links that uv made to interpreters whose keys are ``gone``."""
        for link, target in self._minor_links().items():
            if gone(os.path.basename(target.rstrip("/"))):
                mutex.check(self.layout.mutex)
                os.unlink(link)

    def _restore_minor_links(self, links: t.Mapping[str, str]) -> None:
        """Take back what uv did to these links: new ones go, old ones lead where they did."""
        for path, target in self._minor_links().items():
            if path not in links:
                os.unlink(path)
            elif target != links[path]:
                files.replace_symlink(links[path], path)

    def _check_itself(self, key: str) -> list[str]:
        """See that a new interpreter runs from where it is; warnings of what it lacks, or needs of other hosts."""
        directory, version = os.path.realpath(self.directory(key)), Version.of_key(key)
        cmd = [self.executable(key), "-I", "-B", "-c", _SELF_CHECK]
        done = self.runner.run(cmd, variables=_VARIABLES, cwd="/")
        check(done, cmd[:1], f"{key} does not run on this builder", hint="Nothing was installed.")
        said = f"what {key} says of itself"
        found = made_of(parse_json(done.stdout, said, hint="Nothing was installed."), _Itself)
        if found is None:
            raise UvnasError(f"{said} makes no sense", hint="Nothing was installed.")
        actual = found.version + ("t" if found.freethreaded else "")
        if actual != str(version):
            raise UvnasError(f"what was to be {key} is Python {actual}", hint="Nothing was installed.")
        outside = [path for path in found.mapped if not path.startswith((directory + "/", *_SYSTEM_LIBRARIES))]
        library = next((path for path in outside if os.path.basename(path).startswith("libpython")), None)
        if found.prefix != directory or library:
            raise UvnasError(
                f"{key} is not independent of {library or found.prefix}",
                hint="Its archive cannot be unpacked elsewhere. Supply the installed Python by its prefix instead.",
            )
        warnings = []
        if found.missing:
            warnings.append(f"{key} lacks the modules {', '.join(found.missing)} on this builder")
        if outside:
            warnings.append(f"{key} uses libraries that every host needs in the same place: {', '.join(outside)}")
        if not found.headers:
            warnings.append(f"{key} has no header files: packages cannot be compiled for it")
        return warnings
