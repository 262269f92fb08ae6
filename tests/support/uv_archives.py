# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives laid out like uv's, with a program that does just enough."""

from __future__ import annotations

import hashlib
import io
import tarfile
import typing as t
import zipfile
from pathlib import Path


def program(version: str, before: str = "") -> bytes:
    """A uv that only knows its version. ``before`` is shell code that runs first."""
    return f"#!/bin/sh\n{before}\necho 'uv {version} (some-machine)'\n".encode()


def write_wheel(path: Path, version: str, uv: bytes | None = None) -> str:
    """Write a wheel like uv's; return its checksum."""
    files = {
        "uv/__init__.py": b"",
        f"uv-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: uv\nVersion: {version}\n".encode(),
        f"uv-{version}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\n",
        f"uv-{version}.dist-info/RECORD": b"",
        f"uv-{version}.data/scripts/uv": program(version) if uv is None else uv,
        f"uv-{version}.data/scripts/uvx": program(version),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return sha256(path)


def write_release(path: Path, version: str, uv: bytes | None = None) -> str:
    """Write an archive like those of uv's releases; return its checksum."""
    top = path.name.partition(".")[0]
    return write_tar(path, {f"{top}/uv": program(version) if uv is None else uv, f"{top}/uvx": program(version)})


def write_tar(path: Path, files: t.Mapping[str, bytes], more: t.Sequence[tarfile.TarInfo] = ()) -> str:
    """Write a tar archive of ``files`` and of members without content; return its checksum."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    return sha256(path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
