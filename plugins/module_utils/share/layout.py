# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything is on a share (layout version 1). Nothing else in the collection joins these paths."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ..errors import SpecError

LAYOUT_VERSION = 1
MANIFEST = ".uvnas.json"
# Beside the manifest: what was installed, the digests of what is there, which interpreters and versions of uv have too,
# and copies of what is nowhere else.
GENERATION_LOCK = ".uvnas-lock.txt"
CONTENTS = ".uvnas-files.json"
SPARE = ".uvnas-spare"

# A colon would end the path in PATH, a line break in any file that names it.
_BAD_IN_PATH = re.compile(r"[\x00-\x1f\x7f:]")


def normalised(path: t.Any, what: str) -> str:
    """The absolute ``path`` without ``.``, double and trailing slashes. Does not resolve symlinks.

    Raises SpecError if a share cannot have it; ``what`` names the path in the message.
    """
    if not isinstance(path, str) or not path.startswith("/"):
        raise SpecError(f"{what} {path!r} is not an absolute path", hint="It must begin with '/'.")
    if ".." in path.split("/") or _BAD_IN_PATH.search(path):
        raise SpecError(
            f"{what} {path!r} cannot be used",
            hint="It goes into PATH and shell files, so it must not contain '..', ':' or control characters.",
        )
    return os.path.normpath("/" + path.lstrip("/"))


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or in it; both normalised."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def standard_library(interpreter: str, minor: str) -> str:
    """The directory of an interpreter that has its standard library; ``minor`` is ``3.12`` or ``3.13t``."""
    return os.path.join(interpreter, "lib", f"python{minor}")


def site_packages(generation: str, minor: str) -> str:
    """The directory of a generation that packages are installed into."""
    return os.path.join(standard_library(generation, minor), "site-packages")


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths of one share, all below ``root``. Everybody sees the path that was declared, normalised here."""

    root: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", normalised(self.root, "the root of a share"))
        if self.root == "/":
            raise SpecError("the root of a share cannot be /", hint="Give the share a directory of its own.")

    def _path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    @property
    def identity(self) -> str:
        """``share.json``: which share this is."""
        return self._path("share.json")

    @property
    def mutex(self) -> str:
        """Held by whoever writes to the share, and names them."""
        return self._path(".uvnas.mutex")

    @property
    def bin_dir(self) -> str:
        """``UV_INSTALL_DIR``."""
        return self._path("bin")

    @property
    def uv(self) -> str:
        return self._path("bin", "uv")

    @property
    def uv_versions(self) -> str:
        """uv releases side by side, one directory per version."""
        return self._path("lib", "uv")

    @property
    def cache(self) -> str:
        """``UV_CACHE_DIR`` of the builder; only the owner writes."""
        return self._path("cache")

    @property
    def bytecode(self) -> str:
        """What was compiled for generations, which have links to it; only the owner looks into it."""
        return self._path("bytecode")

    @property
    def user_cache(self) -> str:
        """``UV_CACHE_DIR`` of people."""
        return self._path("user-cache")

    @property
    def python(self) -> str:
        """``UV_PYTHON_INSTALL_DIR``."""
        return self._path("python")

    @property
    def python_archives(self) -> str:
        """``UV_PYTHON_CACHE_DIR``."""
        return self._path("python-archives")

    @property
    def locks(self) -> str:
        return self._path("locks")

    @property
    def pythons_record(self) -> str:
        """Records what each interpreter request was resolved to, and where each interpreter came from."""
        return self._path("locks", "pythons.json")

    @property
    def verified(self) -> str:
        """When each tree was read by a verification that reads only some."""
        return self._path("locks", "verified.json")

    def standing(self, env: str) -> str:
        """Which generation is in force, since when, whether it is held, and which were before: see share/standing."""
        return self._path("locks", f"{env}.state.json")

    @property
    def lock_history(self) -> str:
        """Locks that are or were in force, by their digests. Made when there is a first one."""
        return self._path("locks", "history")

    def kept_lock(self, digest: str) -> str:
        return self._path("locks", "history", f"{digest}.txt")

    @property
    def journal(self) -> str:
        """What was done on the share, a line each. It tells; nothing reads it to decide."""
        return self._path("journal.jsonl")

    @property
    def envs(self) -> str:
        return self._path("envs")

    @property
    def generations(self) -> str:
        return self._path("generations")

    @property
    def logs(self) -> str:
        """Made when there is a first one."""
        return self._path("logs")

    def logs_of(self, env: str) -> str:
        """What was said when an environment was locked and built, the last time."""
        return self._path("logs", env)

    def lock_log(self, env: str) -> str:
        return self._path("logs", env, "lock.log")

    def build_log(self, env: str) -> str:
        return self._path("logs", env, "build.log")

    def lock(self, env: str) -> str:
        return self._path("locks", f"{env}.txt")

    def env(self, env: str) -> str:
        """The symlink people activate through."""
        return self._path("envs", env)

    def generations_of(self, env: str) -> str:
        return self._path("generations", env)

    def generation(self, env: str, generation_id: str) -> str:
        return self._path("generations", env, generation_id)

    def manifest(self, env: str, generation_id: str) -> str:
        """Written last: a generation is complete if and only if this exists."""
        return self._path("generations", env, generation_id, MANIFEST)

    def generation_lock(self, env: str, generation_id: str) -> str:
        """The lock that a generation was built from, whatever its environment's lock is by now."""
        return self._path("generations", env, generation_id, GENERATION_LOCK)

    def contents(self, env: str, generation_id: str) -> str:
        """The digests of what is in a generation."""
        return self._path("generations", env, generation_id, CONTENTS)

    def spare(self, env: str, generation_id: str) -> str:
        """Copies of those files of a generation that are nowhere else."""
        return self._path("generations", env, generation_id, SPARE)

    def interpreter_bin(self, key: str, minor: str) -> str:
        """The executable of the interpreter with uv's ``key``; ``minor`` is ``3.12``. Never a minor link."""
        return self._path("python", key, "bin", f"python{minor}")

    def interpreter_spare(self, key: str) -> str:
        """A copy of that."""
        return self._path("python", key, SPARE)

    def interpreter_contents(self, key: str) -> str:
        """The digests of what is in an interpreter."""
        return self._path("python", key, CONTENTS)

    @staticmethod
    def env_link_target(env: str, generation_id: str) -> str:
        """What ``envs/<env>`` points to: relative, so that it holds wherever the share is mounted."""
        return os.path.join("..", "generations", env, generation_id)
