# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interpreters for tests: the Python that runs them, installed anywhere, and small imitations of one."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import pwd
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import tarfile
import typing as t
from pathlib import Path

import uv
from ansible_collections.uvnas.cluster.tests.support import shares

# The Python that runs the tests: a complete installation.
PREFIX = sys.base_prefix
VERSION = platform.python_version()
# This machine, in uv's terms.
MACHINE = platform.machine()
LIBC = "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
MACHINES = {"x86_64": 62, "aarch64": 183}
_TESTS = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages", "test", "EXTERNALLY-MANAGED")
# Parts of the standard library and headers that tests do not need: two thirds of the files.
_UNUSED = shutil.ignore_patterns(
    "__pycache__", "site-packages", "dist-packages", "test", "tests", "config-*", "EXTERNALLY-MANAGED",
    "asyncio", "concurrent", "curses", "dbm", "distutils", "email", "ensurepip", "html", "http", "idlelib", "lib2to3",
    "multiprocessing", "pydoc_data", "tkinter", "tomllib", "turtledemo", "unittest", "venv", "wsgiref", "xml", "xmlrpc",
    "zoneinfo", "_test*.so", "_codecs*.so", "internal", "cpython",
)  # fmt: skip
# The whole program of a Python that is built with a shared library.
_MAIN = "int Py_BytesMain(int, char **); int main(int count, char **words) { return Py_BytesMain(count, words); }"
# uv accepts no other header than this one.
SYSCONFIGDATA = b"# system configuration generated and used by the sysconfig module\nbuild_time_vars = {}\n"
LOADERS = {"gnu": b"/lib64/ld-linux-x86-64.so.2", "musl": b"/lib/ld-musl-x86_64.so.1"}


def key(version: str = VERSION) -> str:
    """uv's key of an interpreter for this machine."""
    numbers = version.rstrip("t")
    return f"cpython-{numbers}{'+freethreaded' if version != numbers else ''}-linux-{MACHINE}-{LIBC}"


def pack_ours(path: Path, *, whole: bool = False) -> None:
    """Write a relocatable archive of the tests' Python, without what most tests do not need."""
    tree, minor = path.parent / "python", VERSION.rpartition(".")[0]
    for kind, place in (("stdlib", f"lib/python{minor}"), ("include", f"include/python{minor}")):
        source = sysconfig.get_path(kind, "posix_prefix")
        if os.path.isdir(source):  # Distributions package the headers separately.
            shutil.copytree(source, tree / place, ignore=_TESTS if whole else _UNUSED, ignore_dangling_symlinks=True)
    if sys.platlibdir != "lib":
        (tree / sys.platlibdir).symlink_to("lib")
    (tree / "bin").mkdir()
    program = tree / "bin" / f"python{minor}"
    with open("/proc/self/maps") as maps:
        library = next((line.split()[-1] for line in maps if "/libpython" in line), None)
    if library is None:
        shutil.copy("/proc/self/exe", program)
    else:
        # The original program finds the library only where it was installed.
        shutil.copy(library, tree / "lib")
        cc = ["cc", "-o", program, "-x", "c", "-", "-x", "none", library, "-Wl,-rpath,$ORIGIN/../lib"]
        subprocess.run(cc, input=_MAIN, check=True, text=True)
    for name in ("python", "python3"):
        (tree / "bin" / name).symlink_to(program.name)
    subprocess.check_call(["strip", "--strip-debug", program, *tree.glob("lib/*.so*"), *tree.rglob("lib-dynload/*.so")])
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(tree, "python")


def relabel(archive: Path, path: Path, version: str) -> str:
    """Write an archive of the same interpreter that claims to be ``version``; return its checksum.

    Only the patch number changes, and it must have as many digits.
    """
    old, new = VERSION.encode() + b"\0", version.encode() + b"\0"
    assert len(old) == len(new)
    with tarfile.open(archive) as source, tarfile.open(path, "w:gz", compresslevel=1) as target:
        for member in source:
            content = source.extractfile(member).read() if member.isreg() else b""  # type: ignore[union-attr]
            if member.name.startswith(("python/bin/", "python/lib/libpython")):
                content = content.replace(old, new)
            elif member.name.endswith("/patchlevel.h"):
                content = content.replace(VERSION.encode(), version.encode())
            target.addfile(member, io.BytesIO(content))
    return sha256(path)


def tiny_program(machine: str = MACHINE, libc: str = LIBC) -> bytes:
    """The head of a program for a machine, enough to tell one machine from another."""
    loader = LOADERS[libc] + b"\0"
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, MACHINES[machine], 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 3, 4, 120, 120, 120, len(loader), len(loader), 1)
    return header + segment + loader


def imitation(version: str = "3.12.4", machine: str = MACHINE, libc: str = LIBC) -> dict[str, bytes]:
    """The files of an archive that looks like an interpreter's but has no substance."""
    numbers = version.rstrip("t")
    minor = numbers.rpartition(".")[0] + version.removeprefix(numbers)
    return {
        f"python/bin/python{minor}": tiny_program(machine, libc),
        f"python/lib/python{minor}/os.py": b"",
        f"python/lib/python{minor}/_sysconfigdata__linux_x86_64-linux-gnu.py": SYSCONFIGDATA,
        f"python/include/python{minor}/patchlevel.h": f'#define PY_VERSION      "{numbers}"\n'.encode(),
    }


def write_tar(
    path: Path, files: t.Mapping[str, bytes], more: t.Sequence[tarfile.TarInfo] = (), mode: str = "w:gz"
) -> str:
    """Write a tar archive of ``files`` and of members without content; return its checksum."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    return sha256(path)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def other_versions() -> tuple[str, str]:
    """Two other patch versions of VERSION's series, ascending, that our archive can be relabelled to."""
    series, _dot, patch = VERSION.rpartition(".")
    digits = len(patch)
    same = [
        str(number) for number in range(10 ** (digits - 1) if digits > 1 else 0, 10**digits) if str(number) != patch
    ]
    return f"{series}.{same[0]}", f"{series}.{same[-1]}"


# A share


def owner() -> str:
    """The owner of a test's share: not root, who may do everything, but an account that every Linux has."""
    return "daemon" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def make_share(root: Path, name: str = "nas_a") -> Path:
    """A share, as uv_share and uv_binary leave it."""
    shares.make_share(root, name)
    shutil.copy(uv.find_uv_bin(), root / "bin" / "uv")
    if os.geteuid() == 0:
        for path in [root, *root.rglob("*")]:
            shutil.chown(path, owner())
        for path in [*root.parents][:4]:  # pytest makes them for this user only.
            path.chmod(path.stat().st_mode | 0o011)
    return root


def no_uv(share: Path) -> None:
    """Make the share's uv fail from now on."""
    (share / "bin" / "uv").unlink()
    (share / "bin" / "uv").write_text("#!/bin/sh\nexit 1\n")
    (share / "bin" / "uv").chmod(0o755)


def what_is_in(directory: Path) -> dict[str, tuple[int, int]]:
    """Every name below a directory, with what changes when somebody writes to it."""
    return {str(path): (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in directory.rglob("*")}


# A mirror


_RELEASES = "https://github.com/astral-sh/python-build-standalone/releases/download"


def make_mirror(directory: Path, archives: t.Mapping[str, Path]) -> Path:
    """A typical mirror: the files of releases, in directories by date."""
    for version, archive in archives.items():
        path = directory / "20260101" / f"cpython-{version}+20260101-install_only.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(archive, path)
    return directory


def offer(mirror: Path, *versions: str) -> None:
    """List these versions in the mirror's downloads.json for uv."""
    entries = {}
    for version in versions:
        name = f"cpython-{version}+20260101-install_only.tar.gz"
        url = f"{_RELEASES}/20260101/{name.replace('+', '%2B')}"
        entries[key(version)] = download_entry(version, url, sha256(mirror / "20260101" / name))
    (mirror / "downloads.json").write_text(json.dumps(entries))


def download_entry(version: str, url: str, digest: str | None) -> dict[str, t.Any]:
    """An entry of a downloads.json."""
    _major, minor, patch = map(int, version.split("."))
    return {
        "name": "cpython", "arch": {"family": MACHINE, "variant": None}, "os": "linux", "libc": LIBC,
        "major": 3, "minor": minor, "patch": patch, "prerelease": "", "url": url, "sha256": digest,
        "variant": None, "build": None,
    }  # fmt: skip


@contextlib.contextmanager
def serving(directory: Path) -> t.Iterator[str]:
    """The URL of a directory, served locally by another process."""
    cmd = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", directory]
    server = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"http://[0-9.:]+", server.stdout.readline())
        assert found
        yield found[0]
    finally:
        server.kill()
        server.communicate()
