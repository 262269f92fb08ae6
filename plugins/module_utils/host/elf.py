# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reader of programs and shared libraries (ELF, 64 bit, little-endian): which machine they are for, what they need,
and where they look for it."""

from __future__ import annotations

import dataclasses
import mmap
import struct
import typing as t

from ..errors import UvnasError

_MAGIC = b"\x7fELF\x02\x01"  # 64 bit, little-endian
_MACHINES = {62: "x86_64", 183: "aarch64"}
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
ENTRY = struct.Struct("<qQ")
_VERNEED = struct.Struct("<HHIII")
_VERNAUX = struct.Struct("<IHHII")

PT_LOAD, PT_DYNAMIC, _PT_INTERP, PT_NOTE = 1, 2, 3, 4
DT_NULL, _DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_RPATH, DT_RUNPATH = 0, 1, 5, 10, 15, 29
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_VER_FLG_WEAK = 2

# A file's content: bytes, or a map, of which only the pages looked at are read.
Data = t.Union[bytes, mmap.mmap]


class Segment(t.NamedTuple):
    """A program header: a part of a file, and where it is loaded in memory."""

    type: int
    flags: int
    offset: int
    address: int
    physical: int
    file_size: int
    memory_size: int
    alignment: int


@dataclasses.dataclass(frozen=True)
class Elf:
    """One file, parsed as far as needed here."""

    machine: str
    segments: tuple[Segment, ...]
    # Tags and values of the dynamic section, spare entries included.
    dynamic: tuple[tuple[int, int], ...] = ()
    # The string table that the dynamic section refers to.
    strings: bytes = b""
    # "gnu", "musl"; None for a library, or a program without a loader.
    libc: t.Optional[str] = None
    # Names of libraries, as the loader looks for them.
    needed: tuple[str, ...] = ()
    # Directories where it looks first: DT_RUNPATH, or the older DT_RPATH.
    search: tuple[str, ...] = ()
    # Symbol versions that its libraries must have, such as GLIBC_2.34, or the loader refuses it.
    versions: frozenset[str] = frozenset()


def is_elf(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is such a program or library."""
    return head.startswith(_MAGIC)


def parse(data: Data, what: str) -> Elf:
    """The program or library ``data``, which was read from ``what``. Raises UvnasError if it is neither."""
    try:
        return _parse(data)
    except (struct.error, KeyError, IndexError, OverflowError, ValueError) as error:
        raise UvnasError(f"{what} is damaged, or not a program or library for this kind of machine: {error}") from error


def versions(data: Data, what: str) -> tuple[str, frozenset[str]]:
    """The machine that ``data``, read from ``what``, is for, and the symbol versions that it needs."""
    found = parse(data, what)
    return found.machine, found.versions


def _parse(data: Data) -> Elf:
    if not is_elf(data[: len(_MAGIC)]):
        raise ValueError("not a 64 bit little-endian ELF file")
    header = HEADER.unpack_from(data)
    number, start, size, count = header[2], header[5], header[9], header[10]
    if count and size != SEGMENT.size:
        raise ValueError("unusual program headers")
    segments = tuple(Segment(*SEGMENT.unpack_from(data, start + index * size)) for index in range(count))
    content = {
        segment.type: data[segment.offset : segment.offset + segment.file_size]
        for segment in segments
        if segment.type in (PT_DYNAMIC, _PT_INTERP)
    }
    loader = content.get(_PT_INTERP)
    dynamic = tuple[tuple[int, int], ...](ENTRY.iter_unpack(content.get(PT_DYNAMIC, b"")))
    values = dict(dynamic)
    strings = b""
    if DT_STRTAB in values:
        at = _offset(segments, values[DT_STRTAB])
        strings = data[at : at + values[DT_STRSZ]]

    def string(offset: int) -> str:
        return strings[offset : strings.index(b"\0", offset)].decode(errors="surrogateescape")

    searched = values.get(DT_RUNPATH, values.get(DT_RPATH))
    return Elf(
        machine=_MACHINES.get(number, f"machine {number}"),
        segments=segments,
        dynamic=dynamic,
        strings=strings,
        libc=None if loader is None else "musl" if b"musl" in loader else "gnu",
        needed=tuple(string(value) for tag, value in dynamic if tag == _DT_NEEDED),
        search=() if searched is None else tuple(filter(None, string(searched).split(":"))),
        versions=frozenset(map(string, _version_names(data, segments, values))),
    )


def _version_names(data: Data, segments: t.Sequence[Segment], values: t.Mapping[int, int]) -> t.Iterator[int]:
    """Where in the string table the needed versions are named."""
    if _DT_VERNEED not in values:
        return
    at = _offset(segments, values[_DT_VERNEED])
    left = len(data) // _VERNAUX.size  # However they overlap, no more of them need reading than fit into the file.
    for _library in range(values.get(_DT_VERNEEDNUM, 0)):
        _version, count, _file, first, following = _VERNEED.unpack_from(data, at)
        here = at + first
        for _symbol_version in range(count):
            left -= 1
            if left < 0:
                raise ValueError("symbol versions overlap")
            _hash, flags, _other, name, more = _VERNAUX.unpack_from(data, here)
            if not flags & _VER_FLG_WEAK:  # The loader only warns about weak ones.
                yield name
            if not more:  # The last one, whatever the count says.
                break
            here += more
        if not following:
            break
        left -= 1
        at += following


def _offset(segments: t.Sequence[Segment], address: int) -> int:
    """The place in the file of what is loaded at ``address``."""
    for segment in segments:
        if segment.type == PT_LOAD and segment.address <= address < segment.address + segment.file_size:
            return segment.offset + address - segment.address
    raise ValueError(f"no segment has the address {address:#x}")
