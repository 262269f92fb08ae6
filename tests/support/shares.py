# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares for tests, written file by file as the collection leaves them, without its code."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

NAME = "nas_a"
SHARE_ID = "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a"
KEY = "cpython-3.12.4-linux-x86_64-gnu"
DIRECTORIES = (
    "bin", "lib/uv", "cache", "bytecode", "user-cache", "python", "python-archives", "locks", "envs", "generations",
)  # fmt: skip


def make_share(root: Path, name: str = NAME, share_id: str = SHARE_ID) -> Path:
    """A share as uv_share leaves it, except for owners and modes."""
    for directory in DIRECTORIES:
        (root / directory).mkdir(parents=True)
    write_json(root / "share.json", {"layout": 1, "name": name, "id": share_id})
    return root


def add_interpreter(
    root: Path, *, key: str = KEY, version: str = "3.12.4", digest: str = "1" * 64, **more: t.Any
) -> None:
    """Record an interpreter as the one of its series. It does not exist."""
    series = version.rpartition(".")[0]
    interpreters = {key: {"version": version, "digest": digest, "source": "download", "compiled": True, **more}}
    write_json(root / "locks" / "pythons.json", {"format": 1, "requests": {series: key}, "interpreters": interpreters})


def add_lock(root: Path, env: str, text: str) -> None:
    (root / "locks" / f"{env}.txt").write_text(text, encoding="utf-8")


def manifest(env: str, generation_id: str, **more: t.Any) -> dict[str, t.Any]:
    """A full manifest."""
    return {
        "format": 2,
        "environment": env,
        "id": generation_id,
        "share": NAME,
        "builder": "dev1",
        "created": "2026-01-31T12:00:00+00:00",
        "seconds": 1.5,
        "uv": "0.13.9",
        "python": {"key": KEY, "version": "3.12.4", "digest": "1" * 64},
        "lock": {"digest": "2" * 64, "spec": "3" * 64, "text": "4" * 64},
        "content": {"files": "5" * 64, "packages": "6" * 64},
        "options": {"compile_bytecode": True, "no_binary": [], "system_site_packages": False},
        "source": {"requirements": ["iniconfig"]},
        "imports": [],
        "packages": {"iniconfig": "2.1"},
        "platform": {"arch": "x86_64", "libc": "gnu", "glibc": "2.17", "interpreter": "2.17", "packages": {}},
        "size": {"files": 1, "bytes": 10, "own_bytes": 1, "inodes": 1},
        **more,
    }


def add_generation(root: Path, env: str, generation_id: str, **more: t.Any) -> Path:
    """A complete generation; ``more`` is for its manifest. It counts as sealed, though its directories are not."""
    path = root / "generations" / env / generation_id
    content = manifest(env, generation_id, **more)
    series = content["python"]["version"].rpartition(".")[0]
    packages = path / "lib" / f"python{series}" / "site-packages"
    packages.mkdir(parents=True)
    for name, version in content["packages"].items():
        (packages / f"{name.replace('-', '_')}-{version}.dist-info").mkdir()
    packages.chmod(0o555)
    write_json(path / ".uvnas.json", content)
    (path / ".uvnas.json").chmod(0o444)
    return path


def publish(root: Path, env: str, generation_id: str, **more: t.Any) -> None:
    """Put a generation in force, and on record; ``more`` is for the record."""
    link = root / "envs" / env
    link.unlink(missing_ok=True)
    os.symlink(f"../generations/{env}/{generation_id}", link)
    write_json(root / "locks" / f"{env}.state.json", standing(env, generation_id, **more))


def standing(env: str, generation_id: str, **more: t.Any) -> dict[str, t.Any]:
    """A full record of what is in force."""
    known = manifest(env, generation_id)
    since = "2026-01-31T12:01:00+00:00"
    made_of = {"lock": known["lock"]["digest"], "python": known["python"], "options": known["options"]}
    generations = {generation_id: {"published": since, **made_of, "retired": None}}
    return {
        "format": 1,
        "in_force": generation_id,
        "since": since,
        "hold": None,
        "generations": generations,
        **more,
    }


def write_json(path: Path, data: t.Mapping[str, t.Any]) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")
