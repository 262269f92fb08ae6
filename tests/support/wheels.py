# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small wheels for tests, and a directory of them in place of an index."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tarfile
import typing as t
import zipfile
from pathlib import Path


def write_small_wheel(
    directory: Path,
    name: str,
    version: str,
    requires: t.Sequence[str] = (),
    tag: str = "py3-none-any",
    more: t.Mapping[str, str] | None = None,
    *,
    hashes: bool = True,
) -> None:
    """Write a wheel of one empty module and the files in ``more``; without ``hashes`` its RECORD has none."""
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **(more or {}),
    }
    lines = [f"{path},{_record(text) if hashes else ','}\n" for path, text in files.items()]
    record = "".join(lines) + f"{info}/RECORD,,\n"
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(directory / f"{name}-{version}-{tag}.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)


# A build backend without requirements: packs the files of a directory, with the tag of a local build.
_BACKEND = """
import os, sysconfig, zipfile

NAME, VERSION = {name!r}, {version!r}

def build_wheel(directory, config_settings=None, metadata_directory=None):
    tag = "py3-none-" + sysconfig.get_platform().replace("-", "_")
    info = f"{{NAME}}-{{VERSION}}.dist-info"
    files = {{f"{{NAME}}/{{name}}": open(os.path.join(NAME, name), "rb").read() for name in os.listdir(NAME)}}
    files[f"{{info}}/METADATA"] = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n".encode()
    files[f"{{info}}/WHEEL"] = f"Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\nTag: {{tag}}\\n".encode()
    files[f"{{info}}/RECORD"] = "".join(f"{{name}},,\\n" for name in [*files, f"{{info}}/RECORD"]).encode()
    with zipfile.ZipFile(os.path.join(directory, f"{{NAME}}-{{VERSION}}-{{tag}}.whl"), "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return os.path.basename(wheel.filename)
"""


def write_small_sdist(directory: Path, name: str, version: str, files: t.Mapping[str, bytes], before: str = "") -> None:
    """Write a source distribution of these files. It builds without a compiler or an index.

    ``before`` is code that the build backend runs first.
    """
    backend = before + _BACKEND.format(name=name, version=version)
    project = f'[project]\nname = "{name}"\nversion = "{version}"\n'
    project += '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    texts = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "pyproject.toml": project}
    contents = {path: text.encode() for path, text in {**texts, "backend.py": backend}.items()}
    contents.update({f"{name}/{path}": content for path, content in {"__init__.py": b"", **files}.items()})
    _write_sdist(directory, name, version, contents)


# A build backend to install: it requires more, imports that, and writes its name and version into what it builds.
_INSTALLED_BACKEND = """
import os, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return {asks!r}

def build_wheel(directory, config_settings=None, metadata_directory=None):
    for name in {imports!r}:
        __import__(name)
    lines = open("PKG-INFO").read().splitlines()
    name, version = (line.partition(": ")[2] for line in lines[1:3])
    info = f"{{name}}-{{version}}.dist-info"
    files = {{f"{{name}}.py": "made_by = " + {by!r} + "\\n"}}
    files[f"{{info}}/METADATA"] = f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: {{version}}\\n"
    files[f"{{info}}/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[f"{{info}}/RECORD"] = "".join(f"{{each}},,\\n" for each in [*files, f"{{info}}/RECORD"])
    with zipfile.ZipFile(os.path.join(directory, f"{{name}}-{{version}}-py3-none-any.whl"), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return os.path.basename(wheel.filename)
"""


def write_backend(
    directory: Path, name: str, version: str, *, requires: t.Sequence[str] = (), asks: t.Sequence[str] = ()
) -> None:
    """Write the wheel of a build backend that ``requires`` packages, and ``asks`` for more when it builds."""
    by = f"'{name} {version}'"
    module = _INSTALLED_BACKEND.format(asks=list(asks), imports=[re.split("[=<>]", ask)[0] for ask in asks], by=by)
    write_small_wheel(directory, name, version, requires, more={f"{name}.py": module})


def write_sdist_for(directory: Path, name: str, version: str, backend: str, requires: t.Sequence[str]) -> None:
    """Write a source distribution for ``backend`` (see write_backend()) with the build requirements ``requires``."""
    requirements = ", ".join(f'"{requirement}"' for requirement in requires)
    project = f'[project]\nname = "{name}"\nversion = "{version}"\n'
    project += f'[build-system]\nrequires = [{requirements}]\nbuild-backend = "{backend}"\n'
    texts = {"PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n", "pyproject.toml": project}
    _write_sdist(directory, name, version, {path: text.encode() for path, text in texts.items()})


def _write_sdist(directory: Path, name: str, version: str, contents: t.Mapping[str, bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(directory / f"{name}-{version}.tar.gz", "w:gz") as sdist:
        for path, content in contents.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(content)
            sdist.addfile(member, io.BytesIO(content))


def write_index(directory: Path, links: Path) -> str:
    """Write a simple index of the packages in ``links``, with hashes; return its URL."""
    for path in sorted(links.iterdir()):
        page = directory / re.split(r"-[0-9]", path.name)[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with page.open("a", encoding="utf-8") as file:
            file.write(f'<a href="{path.as_uri()}#sha256={digest}">{path.name}</a>\n')
    return directory.as_uri()


def _record(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"sha256={digest.decode()},{len(text.encode())}"
