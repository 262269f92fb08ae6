# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed Pythons are packed, unpacked elsewhere, and run there: the one that runs the tests, and imitations."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import os
import posixpath
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import elf
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.python import pack as relocate
from ansible_collections.uvnas.cluster.plugins.module_utils.python.archive import inspect
from ansible_collections.uvnas.cluster.plugins.module_utils.python.version import Version
from ansible_collections.uvnas.cluster.tests.support.pythons import HERE, PREFIX, VERSION, site_python

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
LIBRARY = f"python/lib/python{MINOR}"
SELF_CHECK = """
import ctypes, json, ssl, sys, sysconfig, zlib
maps = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if ".so" in line}
print(json.dumps({"prefix": sys.prefix, "maps": sorted(maps), "library": sysconfig.get_path("stdlib")}))
"""


@pytest.fixture(scope="module")
def installed() -> relocate.Installed:
    return relocate.ask(site_python(), PREFIX, HERE, SystemRunner())


@pytest.fixture(scope="module")
def packed(installed: relocate.Installed) -> io.BytesIO:
    stream = io.BytesIO()
    relocate.pack(installed, stream)
    return stream


@pytest.fixture(scope="module")
def members(packed: io.BytesIO) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed.getvalue())) as tar:
        return {member.name: member for member in tar}


@pytest.fixture(scope="module")
def unpacked(packed: io.BytesIO, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("elsewhere")
    with tarfile.open(fileobj=io.BytesIO(packed.getvalue())) as tar:
        tar.extractall(directory, filter="data")
    return directory / "python"


def test_it_says_what_it_is(installed: relocate.Installed) -> None:
    assert (installed.implementation, installed.version, installed.freethreaded) == ("cpython", VERSION, False)
    assert installed.prefix == os.path.realpath(PREFIX)
    assert os.path.samefile(installed.executable, os.readlink("/proc/self/exe"))


def test_the_archive_is_one_that_uv_takes(packed: io.BytesIO) -> None:
    assert inspect(packed, Version.parse(VERSION), HERE, "it").files > 500


def test_the_same_installation_gives_the_same_archive(installed: relocate.Installed, packed: io.BytesIO) -> None:
    again = io.BytesIO()
    contents = relocate.pack(installed, again)
    assert again.getvalue() == packed.getvalue()
    assert contents.digest != contents.sha256
    with tarfile.open(fileobj=io.BytesIO(packed.getvalue())) as tar:
        found = list(tar)
    assert [member.name for member in found] == sorted(member.name for member in found)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in found} == {(0, 0, 0, "", "")}
    assert {member.mode for member in found} == {0o644, 0o755}


def test_what_is_packed(installed: relocate.Installed, members: dict[str, tarfile.TarInfo]) -> None:
    for name in ("os.py", "json/__init__.py", "ensurepip/__init__.py", "venv/__init__.py"):
        assert f"{LIBRARY}/{name}" in members
    # Distributions have the header files in a package of their own.
    has_headers = os.path.exists(os.path.join(installed.include, "Python.h"))
    assert (f"python/include/python{MINOR}/Python.h" in members) == has_headers
    assert members[f"python/bin/python{MINOR}"].mode == 0o755
    assert members["python/bin/python"].linkname == members["python/bin/python3"].linkname == f"python{MINOR}"


def test_what_is_left_out(members: dict[str, tarfile.TarInfo]) -> None:
    parts = {part for name in members for part in name.split("/")}
    assert not parts & {"site-packages", "dist-packages", "__pycache__", "EXTERNALLY-MANAGED", "test", "tests"}
    assert not [name for name in members if name.endswith((".pyc", ".a", ".o"))]
    assert not [m.name for m in members.values() if m.issym() and (m.linkname.startswith("/") or ".." in m.linkname)]
    assert {name.split("/")[1] for name in members} <= {"bin", "include", "lib", "lib64"}
    assert {posixpath.basename(name) for name in members if name.startswith("python/bin/")} == {
        "python", "python3", f"python{MINOR}"
    }  # fmt: skip


def test_it_runs_elsewhere_and_uses_nothing_of_where_it_was(unpacked: Path) -> None:
    program = unpacked / "bin" / f"python{MINOR}"
    found = json.loads(subprocess.check_output([program, "-I", "-B", "-c", SELF_CHECK], env={}, text=True))
    assert found["prefix"] == str(unpacked)
    assert found["library"] == str(unpacked / "lib" / f"python{MINOR}")
    outside = [path for path in found["maps"] if not os.path.realpath(path).startswith(os.path.realpath(unpacked))]
    assert not [path for path in outside if not path.startswith(("/lib", "/usr/lib"))]
    assert not [path for path in outside if "libpython" in path]


def test_packing_what_was_packed(unpacked: Path, packed: io.BytesIO) -> None:
    """From one share to the next: the interpreter finds its libraries anywhere already, and so it stays."""
    found = relocate.ask(site_python(), str(unpacked), HERE, SystemRunner())
    again = io.BytesIO()
    relocate.pack(found, again)
    again.seek(0)
    with tarfile.open(fileobj=io.BytesIO(packed.getvalue())) as before, tarfile.open(fileobj=again) as after:
        assert before.getnames() == after.getnames()
        program = f"python/bin/python{MINOR}"
        assert before.extractfile(program).read() == after.extractfile(program).read()  # type: ignore[union-attr]


def test_what_it_was_built_for_is_forgotten(unpacked: Path, installed: relocate.Installed) -> None:
    path = unpacked / "lib" / f"python{MINOR}" / installed.sysconfigdata
    tree = ast.parse(path.read_text(encoding="utf-8"))
    variables: dict[str, t.Any] = ast.literal_eval(tree.body[0].value)  # type: ignore[attr-defined]
    assert variables["prefix"] == variables["exec_prefix"] == "/install"
    assert variables["LIBDIR"] == "/install/lib"
    assert variables["INCLUDEPY"] == f"/install/include/python{MINOR}"
    for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED", "LIBS"):
        words = str(variables.get(name, "")).split()
        assert not [
            word for word in words if word.startswith(("-L", "-I", "-Wl,-rpath")) and installed.prefix + "/" in word
        ]
    assert len(list(path.parent.glob("_sysconfigdata_*.py"))) == 1


def test_a_virtual_environment_is_no_installation(tmp_path: Path) -> None:
    subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"])
    with pytest.raises(UvnasError, match=f"is a part of the one in {os.path.realpath(PREFIX)}") as error:
        relocate.ask(site_python(), str(tmp_path / "venv"), HERE, SystemRunner())
    assert "A virtual environment cannot be supplied" in error.value.hint


def test_another_version_than_declared() -> None:
    declared = f"{MINOR}.99"
    with pytest.raises(UvnasError, match=f"ours: {PREFIX} is Python {VERSION}, and declared as {declared}"):
        relocate.ask(site_python(version=declared), PREFIX, HERE, SystemRunner())


def test_no_python_there(tmp_path: Path) -> None:
    with pytest.raises(UvnasError, match=f"ours: there is no {tmp_path}/bin/python{MINOR} on this builder"):
        relocate.ask(site_python(), str(tmp_path), HERE, SystemRunner())


def test_a_python_that_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / f"python{MINOR}"
    program.write_text("#!/bin/sh\necho 'cannot open shared object file' >&2\nexit 127\n")
    program.chmod(0o755)
    with pytest.raises(CommandError, match="does not run here") as error:
        relocate.ask(site_python(), str(tmp_path), HERE, SystemRunner())
    assert "cannot open shared object file" in error.value.stderr


# An installation as other distributions and builds have it


@pytest.fixture
def other(tmp_path: Path, installed: relocate.Installed) -> relocate.Installed:
    """An installation in lib64, as on RHEL, with headers as on Debian: few files, but a real program."""
    prefix = tmp_path / "opt"
    for directory in (
        "bin",
        f"lib64/python{MINOR}/lib-dynload",
        f"lib64/python{MINOR}/site-packages",
        f"include/python{MINOR}",
    ):
        (prefix / directory).mkdir(parents=True)
    library = prefix / "lib64" / f"python{MINOR}"
    for name in ("os.py", "site-packages/numpy.py", "test.py", "EXTERNALLY-MANAGED"):
        (library / name).write_text("")
    (library / "run.py").write_text("")
    (library / "run.py").chmod(0o775)
    (library / "alias.py").symlink_to("os.py")
    (library / "sitecustomize.py").symlink_to("/etc/hostname")
    (library / "dangling.py").symlink_to("nowhere.py")
    (prefix / "shared.py").write_text("shared")
    (library / "linked.py").symlink_to(prefix / "shared.py")
    (library / "_sysconfigdata_other.py").write_text("build_time_vars = {}\n")
    variables = {"prefix": str(prefix), "LIBDIR": f"{prefix}/lib64", "LDFLAGS": f"-L{prefix}/lib64 -O2", "SIZEOF": 8}
    (library / "_sysconfigdata_x.py").write_text(f"build_time_vars = {variables!r}\n")
    (prefix / "include" / f"python{MINOR}" / "Python.h").write_text("")
    multiarch = prefix / "include" / "x86_64-linux-gnu" / f"python{MINOR}"
    multiarch.mkdir(parents=True)
    (multiarch / "pyconfig.h").write_text("")
    program = prefix / "bin" / f"python{MINOR}"
    program.write_bytes(Path(installed.executable).read_bytes())
    return dataclasses.replace(
        installed,
        prefix=str(prefix),
        executable=str(program),
        stdlib=str(library),
        platstdlib=str(library),
        include=str(prefix / "include" / f"python{MINOR}"),
        platinclude=str(prefix / "include" / f"python{MINOR}"),
        lib_name="lib64",
        library=None,
        library_dir=str(prefix / "lib64"),
        multiarch="x86_64-linux-gnu",
        sysconfigdata="_sysconfigdata_x.py",
    )


def contents(installed: relocate.Installed) -> dict[str, t.Any]:
    """Members of the archive: the target of a link, or the content of a file, by name."""
    stream = io.BytesIO()
    relocate.pack(installed, stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        return {m.name: m.linkname if m.issym() else tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]


def test_other_layouts_are_brought_to_one(other: relocate.Installed) -> None:
    found = contents(other)
    assert found["python/lib64"] == "lib"
    assert f"python/include/python{MINOR}/x86_64-linux-gnu/python{MINOR}/pyconfig.h" in found
    assert {name.removeprefix(f"{LIBRARY}/") for name in found if name.startswith(LIBRARY)} == {
        "os.py", "run.py", "alias.py", "linked.py", "test.py", "_sysconfigdata_x.py"
    }  # fmt: skip
    assert found[f"{LIBRARY}/alias.py"] == "os.py"
    assert found[f"{LIBRARY}/linked.py"] == b"shared"
    data = found[f"{LIBRARY}/_sysconfigdata_x.py"].decode()
    assert "'LDFLAGS': '-O2'" in data
    assert "'prefix': '/install'" in data
    assert "'SIZEOF': 8" in data


def test_libraries_of_the_prefix_come_along(other: relocate.Installed, tmp_path: Path) -> None:
    """As where OpenSSL was installed beside Python; and what such a library needs itself."""
    prefix = Path(other.prefix)
    module = prefix / "lib64" / f"python{MINOR}" / "lib-dynload" / "_own.so"
    sources = {"deep": "int deep(void) { return 1; }", "own": "int deep(void); int own(void) { return deep(); }"}
    sources["module"] = "int own(void); int module(void) { return own(); }"
    for name, text in sources.items():
        (tmp_path / f"{name}.c").write_text(text)
    cc = ["cc", "-shared", "-fPIC", f"-L{prefix}/lib64"]
    subprocess.check_call([*cc, "-o", prefix / "lib64" / "libdeep.so", tmp_path / "deep.c"])
    subprocess.check_call(
        [*cc, "-o", prefix / "lib64" / "libown.so.1", "-Wl,-soname,libown.so.1", tmp_path / "own.c", "-ldeep"]
    )
    rpath = f"-Wl,-rpath,{prefix}/lib64:/opt/elsewhere"
    subprocess.check_call([*cc, "-o", module, tmp_path / "module.c", "-l:libown.so.1", rpath])
    found = contents(other)
    assert {"python/lib/libdeep.so", "python/lib/libown.so.1"} <= set(found)
    assert elf.parse(found[f"{LIBRARY}/lib-dynload/_own.so"], "it").search == ("$ORIGIN/../..", "/opt/elsewhere")
    assert elf.parse(found["python/lib/libown.so.1"], "it").search == ("$ORIGIN/.",)
    assert elf.parse(found["python/lib/libdeep.so"], "it").search == ()


def test_a_free_threaded_one_is_called_so(other: relocate.Installed) -> None:
    names = contents(dataclasses.replace(other, freethreaded=True))
    assert f"python/lib/python{MINOR}t/os.py" in names
    assert names[f"python/bin/python{MINOR}"] == names["python/bin/python"] == f"python{MINOR}t"
