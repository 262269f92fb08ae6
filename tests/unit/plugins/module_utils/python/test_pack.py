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
import shutil
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import elf
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import Platform
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.python import pack
from ansible_collections.uvnas.cluster.plugins.module_utils.python.archive import inspect
from ansible_collections.uvnas.cluster.plugins.module_utils.python.spec import SitePython
from ansible_collections.uvnas.cluster.plugins.module_utils.python.version import Version
from ansible_collections.uvnas.cluster.tests.support.libraries import compile_library
from ansible_collections.uvnas.cluster.tests.support.pythons import LIBC, MACHINE, PREFIX, VERSION

HERE = Platform(MACHINE, LIBC)
PYTHON = Path(os.readlink("/proc/self/exe"))
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
LIBRARY = f"python/lib/python{MINOR}"
SELF_CHECK = """
import ctypes, json, ssl, sys, sysconfig, zlib
maps = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if ".so" in line}
print(json.dumps({"prefix": sys.prefix, "maps": sorted(maps), "library": sysconfig.get_path("stdlib")}))
"""


def ask(prefix: str | Path = PREFIX, version: str = VERSION) -> pack.Installed:
    """The Python in ``prefix``, asked as one that a site supplies."""
    site = SitePython("ours", Version.parse(version), prefix=str(prefix))
    return pack.ask(site, str(prefix), HERE, SystemRunner())


@pytest.fixture(scope="module")
def installed() -> pack.Installed:
    return ask()


@pytest.fixture(scope="module")
def packed(installed: pack.Installed) -> io.BytesIO:
    stream = io.BytesIO()
    pack.pack(installed, stream)
    return stream


@pytest.fixture(scope="module")
def members(packed: io.BytesIO) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed.getvalue())) as tar:
        return {member.name: member for member in tar}


@pytest.fixture(scope="module")
def unpacked(packed: io.BytesIO, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("elsewhere")
    with tarfile.open(fileobj=io.BytesIO(packed.getvalue())) as tar:
        # Python 3.11.2, which Debian has, knows no filters yet; 3.14 uses this one by default.
        tar.extractall(directory, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return directory / "python"


def test_it_says_what_it_is(installed: pack.Installed) -> None:
    assert (installed.implementation, installed.version, installed.freethreaded) == ("cpython", VERSION, False)
    assert installed.prefix == os.path.realpath(PREFIX)
    assert os.path.samefile(installed.executable, os.readlink("/proc/self/exe"))


def test_the_archive_is_one_that_uv_takes(packed: io.BytesIO) -> None:
    assert inspect(packed, Version.parse(VERSION), HERE, "it").files > 500


def test_the_same_installation_gives_the_same_archive(installed: pack.Installed, packed: io.BytesIO) -> None:
    again = io.BytesIO()
    contents = pack.pack(installed, again)
    assert again.getvalue() == packed.getvalue()
    assert contents.digest != contents.sha256
    with tarfile.open(fileobj=io.BytesIO(packed.getvalue())) as tar:
        found = list(tar)
    assert [member.name for member in found] == sorted(member.name for member in found)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in found} == {(0, 0, 0, "", "")}
    assert {member.mode for member in found} == {0o644, 0o755}


def test_what_is_packed(installed: pack.Installed, members: dict[str, tarfile.TarInfo]) -> None:
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
    found = ask(unpacked)
    again = io.BytesIO()
    pack.pack(found, again)
    again.seek(0)
    with tarfile.open(fileobj=io.BytesIO(packed.getvalue())) as before, tarfile.open(fileobj=again) as after:
        assert before.getnames() == after.getnames()
        program = f"python/bin/python{MINOR}"
        assert before.extractfile(program).read() == after.extractfile(program).read()  # type: ignore[union-attr]


def test_what_it_was_built_for_is_forgotten(unpacked: Path, installed: pack.Installed) -> None:
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
    with pytest.raises(UvnasError, match=f"is part of the one in {os.path.realpath(PREFIX)}") as error:
        ask(tmp_path / "venv")
    assert "A virtual environment cannot be supplied" in error.value.hint


def test_one_with_extension_modules_elsewhere(installed: pack.Installed, tmp_path: Path) -> None:
    """They would be lacking on every host but this one, where it finds them at the place that it was built for."""
    (tmp_path / "bin").mkdir()
    executable = tmp_path / "bin" / f"python{MINOR}"
    said = json.dumps({**dataclasses.asdict(installed), "prefix": str(tmp_path), "exec_prefix": "/opt/arch"})
    executable.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    executable.chmod(0o755)
    with pytest.raises(
        UvnasError, match=f"ours: the Python in {tmp_path} has its extension modules elsewhere, in /opt/"
    ):
        ask(tmp_path)


def test_another_version_than_declared() -> None:
    declared = f"{MINOR}.99"
    with pytest.raises(UvnasError, match=f"ours: {PREFIX} is Python {VERSION}, but declared as {declared}"):
        ask(version=declared)


def test_no_python_there(tmp_path: Path) -> None:
    with pytest.raises(UvnasError, match=f"ours: there is no {tmp_path}/bin/python{MINOR} on this builder"):
        ask(tmp_path)


def test_a_python_that_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / f"python{MINOR}"
    program.write_text("#!/bin/sh\necho 'cannot open shared object file' >&2\nexit 127\n")
    program.chmod(0o755)
    with pytest.raises(CommandError, match="does not run here") as error:
        ask(tmp_path)
    assert "cannot open shared object file" in error.value.stderr


# An installation as other distributions and builds have it


@pytest.fixture
def other(tmp_path: Path, installed: pack.Installed) -> pack.Installed:
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
        (library / name).write_text("import sys")
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
        include=str(prefix / "include" / f"python{MINOR}"),
        lib_name="lib64",
        library=None,
        library_dir=str(prefix / "lib64"),
        multiarch="x86_64-linux-gnu",
        sysconfigdata="_sysconfigdata_x.py",
    )


def contents(installed: pack.Installed) -> dict[str, t.Any]:
    """Members of the archive: the target of a link, or the content of a file, by name."""
    stream = io.BytesIO()
    pack.pack(installed, stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        return {m.name: m.linkname if m.issym() else tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]


def test_other_layouts_are_brought_to_one(other: pack.Installed) -> None:
    found = contents(other)
    assert found["python/lib64"] == "lib"
    assert f"python/include/python{MINOR}/x86_64-linux-gnu/python{MINOR}/pyconfig.h" in found
    assert {name.removeprefix(f"{LIBRARY}/") for name in found if name.startswith(LIBRARY)} == {
        "os.py", "run.py", "alias.py", "linked.py", "test.py", "_sysconfigdata_x.py"
    }  # fmt: skip
    assert found[f"{LIBRARY}/alias.py"] == b"import sys"
    assert found[f"{LIBRARY}/linked.py"] == b"shared"
    data = found[f"{LIBRARY}/_sysconfigdata_x.py"].decode()
    assert "'LDFLAGS': '-O2'" in data
    assert "'prefix': '/install'" in data
    assert "'SIZEOF': 8" in data


def test_libraries_of_the_prefix_come_along(other: pack.Installed, tmp_path: Path) -> None:
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


def test_a_free_threaded_one_is_called_so(other: pack.Installed) -> None:
    names = contents(dataclasses.replace(other, freethreaded=True))
    assert f"python/lib/python{MINOR}t/os.py" in names
    assert names[f"python/bin/python{MINOR}"] == names["python/bin/python"] == f"python{MINOR}t"


# Programs that are changed to look for their libraries elsewhere: the real Python of the tests, and it runs


def parse(path: Path) -> elf.Elf:
    return elf.parse(path.read_bytes(), str(path))


def run(program: Path) -> str:
    """Have a copy of the Python of the tests do something that needs its libraries."""
    code = "import ctypes, hashlib, sys; print(sys.version)"
    environment = {"PYTHONHOME": PREFIX, "LD_LIBRARY_PATH": f"{PREFIX}/lib"}
    return subprocess.check_output([program, "-I", "-c", code], env=environment, text=True, stderr=subprocess.STDOUT)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_it_looks_where_it_is_told_and_runs(tmp_path: Path) -> None:
    program = parse(PYTHON)
    changed = write(tmp_path / "python", pack.searching(PYTHON.read_bytes(), ["$ORIGIN/../lib", "/opt/other"], "it"))
    found = parse(changed)
    assert found.search == ("$ORIGIN/../lib", "/opt/other")
    assert (found.machine, found.libc, found.needed) == (program.machine, program.libc, program.needed)
    assert run(changed).startswith(sys.version.split()[0])


def test_once_is_enough() -> None:
    """There is one note to give way. What was packed once finds its libraries, and is packed again as it is."""
    once = pack.searching(PYTHON.read_bytes(), ["/one"], "it")
    with pytest.raises(UvnasError, match="cannot be made to find its libraries"):
        pack.searching(once, ["$ORIGIN/two"], "it")


def test_segments_stay_in_order_and_can_be_mapped(tmp_path: Path) -> None:
    """Loaders want these segments by address, each as far into a page as it is in the file."""
    data = pack.searching(PYTHON.read_bytes(), ["$ORIGIN"], "it")
    loads = [segment for segment in elf.parse(data, "it").segments if segment.type == elf.PT_LOAD]
    addresses = [segment.address for segment in loads]
    assert addresses == sorted(addresses)
    assert all((segment.address - segment.offset) % segment.alignment == 0 for segment in loads)
    assert loads[-1].offset + loads[-1].file_size == len(data)


def test_a_library_is_found_beside_the_program(tmp_path: Path) -> None:
    """A program that needs one, linked without saying where it is, as distributions link theirs."""
    if shutil.which("cc") is None:
        pytest.fail("this test needs a C compiler (Debian: gcc)")
    (tmp_path / "lib").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "own.c").write_text("int own(void) { return 42; }\n")
    (tmp_path / "main.c").write_text("int own(void); int main(void) { return own(); }\n")
    library, program = tmp_path / "lib" / "libown.so", tmp_path / "bin" / "main"
    subprocess.check_call(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "own.c"])
    subprocess.check_call(["cc", "-o", program, tmp_path / "main.c", f"-L{library.parent}", "-lown"])
    assert subprocess.run([program], check=False, stderr=subprocess.DEVNULL).returncode == 127
    assert parse(program).search == ()
    write(program, pack.searching(program.read_bytes(), ["$ORIGIN/../lib"], "it"))
    assert subprocess.run([program], check=False).returncode == 42
    # Not even LD_LIBRARY_PATH puts another one in its place.
    (tmp_path / "other").mkdir()
    (tmp_path / "own.c").write_text("int own(void) { return 1; }\n")
    subprocess.check_call(["cc", "-shared", "-fPIC", "-o", tmp_path / "other" / "libown.so", tmp_path / "own.c"])
    environment = {"LD_LIBRARY_PATH": str(tmp_path / "other")}
    assert subprocess.run([program], check=False, env=environment).returncode == 42


def test_a_library_that_was_changed_can_be_linked_with(tmp_path: Path) -> None:
    """Linkers look at other parts of a file than loaders do."""
    library = compile_library(tmp_path / "libown.so", "int own(void) { return 42; }\n", "-Wl,-rpath,/opt/python/lib")
    write(library, pack.searching(library.read_bytes(), ["$ORIGIN/."], "it"))
    compile_library(
        tmp_path / "libuser.so", "int own(void); int user(void) { return own(); }\n", library, "-Wl,-z,defs"
    )


def test_a_program_without_a_note_is_refused() -> None:
    data = bytearray(PYTHON.read_bytes())
    for index, segment in enumerate(elf.parse(bytes(data), "it").segments):
        if segment.type == elf.PT_NOTE:
            elf.SEGMENT.pack_into(data, elf.HEADER.size + index * elf.SEGMENT.size, *segment._replace(type=0))
    with pytest.raises(UvnasError, match="it cannot be made to find its libraries on a share"):
        pack.searching(bytes(data), ["$ORIGIN"], "it")
