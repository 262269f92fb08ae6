# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are changed to look for their libraries elsewhere: the real Python of the tests, and it runs."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import elf
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.release import Target
from ansible_collections.uvnas.cluster.tests.support.pythons import HERE, PREFIX, tiny_program

PYTHON = os.readlink("/proc/self/exe")
PT_LOAD, PT_NOTE = 1, 4


def parse(path: str | Path) -> elf.Elf:
    return elf.parse(Path(path).read_bytes(), str(path))


def run(program: Path) -> str:
    """Have a copy of the Python of the tests do something that needs its libraries."""
    code = "import ctypes, hashlib, sys; print(sys.version)"
    environment = {"PYTHONHOME": PREFIX, "LD_LIBRARY_PATH": f"{PREFIX}/lib"}
    return subprocess.check_output([program, "-I", "-c", code], env=environment, text=True, stderr=subprocess.STDOUT)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def segments(data: bytes) -> list[tuple[int, ...]]:
    start, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    return [struct.unpack_from("<IIQQQQQQ", data, start + 56 * index) for index in range(count)]


def test_this_python() -> None:
    found = parse(PYTHON)
    assert (found.machine, found.libc) == (HERE.machine, HERE.libc)
    assert any(name.startswith(("libc.", "libm.", "libpython", "ld-")) for name in found.needed)


def test_a_program_for_another_machine() -> None:
    found = elf.parse(tiny_program(Target("aarch64", "musl")), "it")
    assert (found.machine, found.libc, found.needed) == ("aarch64", "musl", ())


def test_it_looks_where_it_is_told_and_runs(tmp_path: Path) -> None:
    program = parse(PYTHON)
    changed = write(tmp_path / "python", elf.searching(program, ["$ORIGIN/../lib", "/opt/other"], "it"))
    found = parse(changed)
    assert found.search == ("$ORIGIN/../lib", "/opt/other")
    assert (found.machine, found.libc, found.needed) == (program.machine, program.libc, program.needed)
    assert run(changed).startswith(sys.version.split()[0])


def test_once_is_enough() -> None:
    """There is one note to give way. What was packed once finds its libraries, and is packed again as it is."""
    once = elf.parse(elf.searching(parse(PYTHON), ["/one"], "it"), "it")
    with pytest.raises(UvnasError, match="cannot be made to find its libraries"):
        elf.searching(once, ["$ORIGIN/two"], "it")


def test_segments_stay_in_order_and_can_be_mapped(tmp_path: Path) -> None:
    """Loaders want these segments by address, each as far into a page as it is in the file."""
    data = elf.searching(parse(PYTHON), ["$ORIGIN"], "it")
    loads = [segment for segment in segments(data) if segment[0] == PT_LOAD]
    addresses = [segment[3] for segment in loads]
    assert addresses == sorted(addresses)
    assert all((address - offset) % alignment == 0 for _t, _f, offset, address, _p, _s, _m, alignment in loads)
    assert loads[-1][2] + loads[-1][5] == len(data)


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
    write(program, elf.searching(parse(program), ["$ORIGIN/../lib"], "it"))
    assert subprocess.run([program], check=False).returncode == 42
    # Not even LD_LIBRARY_PATH puts another one in its place.
    (tmp_path / "other").mkdir()
    (tmp_path / "own.c").write_text("int own(void) { return 1; }\n")
    subprocess.check_call(["cc", "-shared", "-fPIC", "-o", tmp_path / "other" / "libown.so", tmp_path / "own.c"])
    environment = {"LD_LIBRARY_PATH": str(tmp_path / "other")}
    assert subprocess.run([program], check=False, env=environment).returncode == 42


def test_a_program_without_a_note_is_refused() -> None:
    data = bytearray(parse(PYTHON).data)
    start = struct.unpack_from("<Q", data, 32)[0]
    for index, segment in enumerate(segments(bytes(data))):
        if segment[0] == PT_NOTE:
            struct.pack_into("<I", data, start + 56 * index, 0)
    with pytest.raises(UvnasError, match="it cannot be made to find its libraries on a share"):
        elf.searching(elf.parse(bytes(data), "it"), ["$ORIGIN"], "it")


@pytest.mark.parametrize(
    "data",
    [b"", b"#!/bin/sh\n", b"\x7fELF\2\1\1", b"\x7fELF\1\1\1" + bytes(200), tiny_program()[:80]],
    ids=["nothing", "script", "head", "32 bit", "truncated"],
)
def test_what_is_no_program(data: bytes) -> None:
    with pytest.raises(UvnasError, match="it is no program or library of this kind of machine, or is damaged"):
        elf.parse(data, "it")


def said_of(data: bytes) -> str:
    """What is said against a file; nothing where it can be read."""
    try:
        elf.versions(data, "it")
    except UvnasError as error:
        return str(error)
    return ""


def test_damaged_tables_of_versions_come_to_an_end() -> None:
    """Packages ship broken libraries as test data: whatever is in them, they are read, or refused, and soon."""
    data = bytearray(Path(PYTHON).read_bytes())
    dynamic = next(segment for segment in segments(bytes(data)) if segment[0] == 2)
    refused = 0
    for entry in range(dynamic[2], dynamic[2] + dynamic[5], 16):
        # A value that cannot be; or a tag that nobody asks for in place of this one.
        for offset, value in ((8, 0), (8, 1), (8, 1 << 62), (8, (1 << 64) - 1), (0, 0x6FFFFFF0)):
            damaged = data[:]
            struct.pack_into("<Q", damaged, entry + offset, value)
            said = said_of(bytes(damaged))
            assert not said or "is damaged" in said
            refused += bool(said)
    assert refused > 3
