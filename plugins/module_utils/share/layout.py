# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything lies on a share (layout version 1). Nothing else in the collection joins these paths."""

from __future__ import annotations

import dataclasses
import os

LAYOUT_VERSION = 1
MANIFEST = ".uvnas.json"


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths of one share, all below ``root`` (an absolute path)."""

    root: str

    def _path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    @property
    def identity(self) -> str:
        """``share.json``: which share this is."""
        return self._path("share.json")

    @property
    def mutex(self) -> str:
        """What whoever writes to the share holds; its text says who."""
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
        """What each interpreter request was resolved to, and where each interpreter came from."""
        return self._path("locks", "pythons.json")

    @property
    def envs(self) -> str:
        return self._path("envs")

    @property
    def generations(self) -> str:
        return self._path("generations")

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

    def interpreter_bin(self, key: str, minor: str) -> str:
        """The executable of the interpreter with uv's ``key``; ``minor`` is ``3.12``. Never a minor link."""
        return self._path("python", key, "bin", f"python{minor}")

    @staticmethod
    def env_link_target(env: str, generation_id: str) -> str:
        """What ``envs/<env>`` points to: relative, so that it holds wherever the share is mounted."""
        return os.path.join("..", "generations", env, generation_id)
