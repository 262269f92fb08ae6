# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs and libraries are read: the real Python of the tests, small ones, and damaged ones."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import elf
from ansible_collections.uvnas.cluster.tests.support.pythons import LIBC, MACHINE, tiny_program

PYTHON = os.readlink("/proc/self/exe")
PT_DYNAMIC = 2


def segments(data: bytes) -> list[tuple[int, ...]]:
    start, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    return [struct.unpack_from("<IIQQQQQQ", data, start + 56 * index) for index in range(count)]


def test_this_python() -> None:
    found = elf.parse(Path(PYTHON).read_bytes(), PYTHON)
    assert (found.machine, found.libc) == (MACHINE, LIBC)
    assert any(name.startswith(("libc.", "libm.", "libpython", "ld-")) for name in found.needed)


def test_a_program_for_another_machine() -> None:
    found = elf.parse(tiny_program("aarch64", "musl"), "it")
    assert (found.machine, found.libc, found.needed) == ("aarch64", "musl", ())


@pytest.mark.parametrize(
    "data",
    [b"", b"#!/bin/sh\n", b"\x7fELF\2\1\1", b"\x7fELF\1\1\1" + bytes(200), tiny_program()[:80]],
    ids=["nothing", "script", "head", "32 bit", "truncated"],
)
def test_what_is_no_program(data: bytes) -> None:
    with pytest.raises(UvnasError, match="it is damaged, or not a program or library for this kind of machine"):
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
    dynamic = next(segment for segment in segments(bytes(data)) if segment[0] == PT_DYNAMIC)
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
