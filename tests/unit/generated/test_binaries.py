# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives and programs: truncated, altered, made to lead elsewhere. Nothing of them is written then."""

from __future__ import annotations

import functools
import gzip
import io
import os
import sys
import tarfile
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import needs
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import elf
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import Platform
from ansible_collections.uvnas.cluster.plugins.module_utils.python import archive, pack
from ansible_collections.uvnas.cluster.plugins.module_utils.python.version import Version
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import release
from ansible_collections.uvnas.cluster.tests.support import pythons, uv_archives
from ansible_collections.uvnas.cluster.tests.support.generated import damaged_bytes, outcome
from hypothesis import given
from hypothesis import strategies as st

attempt = functools.partial(outcome, UvnasError)
MACHINE = Platform("x86_64", "gnu")


def _tar(files: t.Mapping[str, bytes], more: t.Sequence[tarfile.TarInfo] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    return buffer.getvalue()


LINKS = [
    pythons.link("python/bin/python3", "python3.12"),
    pythons.link("python/x", "python/bin/python3.12", tarfile.LNKTYPE),
]
PYTHON = _tar(pythons.imitation(machine="x86_64", libc="gnu"), LINKS)
RELEASE = _tar({"uv-x/uv": uv_archives.program("0.13.9"), "uv-x/uvx": uv_archives.program("0.13.9")})
# What counts in the head of each member: name, mode, size, checksum, kind, where a link leads.
FIELDS = [at + field for at in range(0, len(RELEASE), 512) for field in (0, 100, 124, 148, 156, 157, 257, 345)]


def _checksums(data: bytes) -> bytes:
    """A tar archive with the checksums of its heads put right, as somebody who means harm would."""
    found = bytearray(data)
    for at in range(0, len(found) - 511, 512):
        if found[at + 257 : at + 262] == b"ustar":
            total = sum(found[at : at + 512]) - sum(found[at + 148 : at + 156]) + 8 * 32
            found[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(found)


def _archives(tar: bytes) -> st.SearchStrategy[bytes]:
    inner = damaged_bytes(tar, FIELDS)
    return st.one_of(
        inner.map(gzip.compress), inner.map(_checksums).map(gzip.compress), damaged_bytes(gzip.compress(tar)), inner
    )


@given(_archives(PYTHON))
def test_archives_of_interpreters(data: bytes) -> None:
    found = attempt(
        lambda: archive.inspect(io.BytesIO(data), Version.parse("3.12.4"), MACHINE, "site: python.tar.gz"),
        "site: python.tar.gz",
        "in the archive",
    )
    assert found is None or found.files > 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("wheel") / "uv.whl"
    uv_archives.write_wheel(path, "0.13.9")
    return path.read_bytes()


def _extract(data: bytes, directory: Path) -> None:
    """Have the programs in ``directory``, and nothing beside it."""
    inner = directory / "inner"
    inner.mkdir()
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        attempt(lambda: release.extract(stream, str(inner)), "the archive")
    assert set(os.listdir(inner)) <= {"uv", "uvx"}
    assert all(os.path.isfile(inner / name) and not os.path.islink(inner / name) for name in os.listdir(inner))
    assert os.listdir(directory) == ["inner"]


@given(_archives(RELEASE))
def test_releases_of_uv(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    _extract(data, tmp_path_factory.mktemp("release"))


@given(st.data())
def test_wheels_of_uv(tmp_path_factory: pytest.TempPathFactory, wheel: bytes, data: st.DataObject) -> None:
    tail = range(wheel.index(b"PK\x01\x02"), len(wheel))
    _extract(data.draw(damaged_bytes(wheel, tail)), tmp_path_factory.mktemp("wheel"))


@functools.cache
def real() -> bytes:
    """A library of this Python, or the program itself."""
    path = next(iter(sorted(Path(sys.base_prefix, "lib").glob("python3*/lib-dynload/*.so"))), Path("/proc/self/exe"))
    return path.read_bytes()[: 1 << 16]


def _that_count(data: bytes) -> list[int]:
    """Where the heads of a program are, and what its dynamic section refers to."""
    header = elf.HEADER.unpack_from(data)
    places = [*range(16, 64)]
    for index in range(header[10]):
        at = header[5] + index * elf.SEGMENT.size
        places += range(at, at + elf.SEGMENT.size, 4)
        segment = elf.Segment(*elf.SEGMENT.unpack_from(data, at))
        if segment.type == elf.PT_DYNAMIC:
            places += range(segment.offset, segment.offset + segment.file_size, 8)
    return [place for place in places if place < len(data)]


def _programs() -> st.SearchStrategy[bytes]:
    tiny = pythons.tiny_program("x86_64", "gnu")
    return st.one_of(damaged_bytes(real(), _that_count(real())), damaged_bytes(tiny, _that_count(tiny)))


@given(_programs())
def test_programs(data: bytes) -> None:
    attempt(lambda: elf.parse(data, "lib/foo.so"), "lib/foo.so")
    attempt(lambda: pack.searching(data, ["$ORIGIN/../lib"], "lib/foo.so"), "lib/foo.so")


@given(_programs())
def test_programs_in_packages(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "foo.so"
    path.write_bytes(data)
    found = needs.file_glibc(str(path), "x86_64")
    assert found is None or len(found) == 2


def test_a_damaged_table_of_sections_is_an_error() -> None:
    """It was one of Python: struct.error."""
    data = bytearray(real())
    assert elf.is_elf(bytes(data))
    elf.HEADER.pack_into(
        data, 0, *(*elf.HEADER.unpack_from(data)[:6], len(data) - 8, *elf.HEADER.unpack_from(data)[7:])
    )
    with pytest.raises(UvnasError, match="lib/foo.so"):
        pack.searching(bytes(data), ["$ORIGIN"], "lib/foo.so")
