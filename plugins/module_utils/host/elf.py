# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs and shared libraries (ELF, 64 bit, little-endian): what they need, and where they look for it.

An interpreter that was built for ``/opt/python/3.11.9`` often looks for its own library in that very directory. On a
share it has to look beside itself, whatever the member has in /opt. Changing that is what ``patchelf`` does too; few
hosts have it, and what is needed of it is little: one string, added in a new segment at the end of the file.
"""

from __future__ import annotations

import dataclasses
import mmap
import struct
import typing as t

from ..errors import UvnasError

_MAGIC = b"\x7fELF\x02\x01"  # 64 bit, little-endian
_MACHINES = {62: "x86_64", 183: "aarch64"}
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_ENTRY = struct.Struct("<qQ")
_VERNEED = struct.Struct("<HHIII")
_VERNAUX = struct.Struct("<IHHII")

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_NOTE = 1, 2, 3, 4
_PF_R = 4
_SHT_STRTAB = 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 10, 15, 29
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_VER_FLG_WEAK = 2
# The largest page of the machines above: a segment aligned to it can be mapped on all of them.
_PAGE = 0x10000

# What a file is read from: of one that is mapped, only the pages that are looked at.
Data = t.Union[bytes, mmap.mmap]


@dataclasses.dataclass(frozen=True)
class _Segment:
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
    """One file, taken apart as far as needed here."""

    data: bytes
    machine: str
    # "gnu", "musl"; None for a library, or a program without a loader.
    libc: t.Optional[str]
    # Names of libraries, as the loader looks for them.
    needed: tuple[str, ...] = ()
    # Directories where it looks first: DT_RUNPATH, or the older DT_RPATH.
    search: tuple[str, ...] = ()


def is_elf(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is such a program or library."""
    return head.startswith(_MAGIC)


def parse(data: bytes, what: str) -> Elf:
    """The program or library ``data``, which was read from ``what``."""
    try:
        return _parse(data)
    except (struct.error, IndexError, ValueError) as error:
        raise UvnasError(f"{what} is no program or library of this kind of machine, or is damaged: {error}") from error


def versions(data: Data, what: str) -> tuple[str, frozenset[str]]:
    """The machine that ``data``, read from ``what``, is for, and the versions of symbols, such as ``GLIBC_2.34``, that
    libraries have to have, or else the loader refuses it."""
    try:
        if not is_elf(data[: len(_MAGIC)]):
            raise ValueError("no 64 bit little-endian ELF file")
        machine = _HEADER.unpack_from(data)[2]
        return _MACHINES.get(machine, f"machine {machine}"), frozenset(_versions(data))
    except (struct.error, KeyError, IndexError, OverflowError, ValueError) as error:
        raise UvnasError(f"{what} is no program or library of this kind of machine, or is damaged: {error}") from error


def _versions(data: Data) -> t.Iterator[str]:
    segments = _segments(data)
    entries = _dynamic(data, segments)
    values = dict(entries)
    if _DT_VERNEED not in values:
        return
    strings = _strings(data, segments, entries)
    at = _offset(segments, values[_DT_VERNEED])
    for _library in range(values.get(_DT_VERNEEDNUM, 0)):
        _version, count, _file, first, following = _VERNEED.unpack_from(data, at)
        here = at + first
        for _symbol_version in range(count):
            _hash, flags, _other, name, more = _VERNAUX.unpack_from(data, here)
            if not flags & _VER_FLG_WEAK:  # One that the loader only warns of.
                yield _string(strings, name)
            if not more:  # The last one, whatever the count says.
                break
            here += more
        if not following:
            break
        at += following


def _parse(data: bytes) -> Elf:
    if not is_elf(data):
        raise ValueError("no 64 bit little-endian ELF file")
    machine = _HEADER.unpack_from(data)[2]
    segments = _segments(data)
    libc = None
    for segment in segments:
        if segment.type == _PT_INTERP:
            libc = "musl" if b"musl" in data[segment.offset : segment.offset + segment.file_size] else "gnu"
    entries = _dynamic(data, segments)
    strings = _strings(data, segments, entries)
    found = [value for tag in (_DT_RUNPATH, _DT_RPATH) for kind, value in entries if kind == tag]
    return Elf(
        data=data,
        machine=_MACHINES.get(machine, f"machine {machine}"),
        libc=libc,
        needed=tuple(_string(strings, value) for tag, value in entries if tag == _DT_NEEDED),
        search=tuple(part for part in _string(strings, found[0]).split(":") if part) if found else (),
    )


def searching(elf: Elf, directories: t.Sequence[str], what: str) -> bytes:
    """The file, changed to look for its libraries in ``directories`` before anywhere else.

    DT_RPATH, not DT_RUNPATH: it comes before LD_LIBRARY_PATH, with which the modules of a cluster could slip the
    library of another Python under this one.
    """
    data = bytearray(elf.data)
    segments = _segments(elf.data)
    entries = _dynamic(elf.data, segments)
    old = _strings(elf.data, segments, entries)
    # The last note gives way to the new segment: notes are for debuggers, and loadable segments must be in order.
    last_load = max(index for index, segment in enumerate(segments) if segment.type == _PT_LOAD)
    notes = [index for index, segment in enumerate(segments) if segment.type == _PT_NOTE and index > last_load]
    slots = _search_slots(entries)
    if not notes or not slots:
        raise UvnasError(
            f"{what} cannot be made to find its libraries on a share",
            hint="It was linked without the usual room for that. Use an interpreter built without --enable-shared.",
        )
    end = max(segment.address + segment.memory_size for segment in segments if segment.type == _PT_LOAD)
    offset, address = _aligned(len(data)), _aligned(end)
    strings = old + b":".join(directory.encode() for directory in directories) + b"\0"
    replaced = _Segment(_PT_LOAD, _PF_R, offset, address, address, len(strings), len(strings), _PAGE)
    header = _HEADER.unpack_from(data)
    _SEGMENT.pack_into(data, header[5] + notes[-1] * _SEGMENT.size, *dataclasses.astuple(replaced))
    dynamic = next(segment for segment in segments if segment.type == _PT_DYNAMIC)
    new_values = {_DT_STRTAB: address, _DT_STRSZ: len(strings)}
    for index, (tag, value) in enumerate(entries):
        entry = (_DT_RPATH, len(old)) if index in slots else (tag, new_values.get(tag, value))
        _ENTRY.pack_into(data, dynamic.offset + index * _ENTRY.size, *entry)
    _move_section(data, header, dict(entries)[_DT_STRTAB], offset, address, len(strings))
    return bytes(data.ljust(offset, b"\0")) + strings


def _segments(data: Data) -> list[_Segment]:
    header = _HEADER.unpack_from(data)
    start, size, count = header[5], header[9], header[10]
    if count and size != _SEGMENT.size:
        raise ValueError("unusual program headers")
    found = []
    for index in range(count):
        kind, flags, offset, address, physical, file_size, memory_size, alignment = _SEGMENT.unpack_from(
            data, start + index * size
        )
        found.append(_Segment(kind, flags, offset, address, physical, file_size, memory_size, alignment))
    return found


def _dynamic(data: Data, segments: t.Sequence[_Segment]) -> list[tuple[int, int]]:
    """The entries of the dynamic section, up to the end of the room it has."""
    for segment in segments:
        if segment.type == _PT_DYNAMIC:
            room = data[segment.offset : segment.offset + segment.file_size]
            return list[tuple[int, int]](_ENTRY.iter_unpack(room))
    return []


def _strings(data: Data, segments: t.Sequence[_Segment], entries: t.Sequence[tuple[int, int]]) -> bytes:
    """The table of strings that the dynamic section refers to."""
    values = dict(entries)
    if _DT_STRTAB not in values:
        return b""
    start = _offset(segments, values[_DT_STRTAB])
    return data[start : start + values[_DT_STRSZ]]


def _offset(segments: t.Sequence[_Segment], address: int) -> int:
    """Where in the file is what will be at ``address``."""
    for segment in segments:
        if segment.type == _PT_LOAD and segment.address <= address < segment.address + segment.file_size:
            return segment.offset + address - segment.address
    raise ValueError(f"what is to be at {address:#x} is in no segment")


def _string(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()


def _search_slots(entries: t.Sequence[tuple[int, int]]) -> list[int]:
    """Which entries are to name the directories: those that do, or else the first of the spare ones at the end."""
    slots = [index for index, (tag, _value) in enumerate(entries) if tag in (_DT_RPATH, _DT_RUNPATH)]
    if slots:
        return slots
    spare = [index for index, (tag, _value) in enumerate(entries) if tag == _DT_NULL]
    # The last one must stay: it ends the list.
    return spare[:1] if len(spare) > 1 else []


def _aligned(number: int) -> int:
    return -(-number // _PAGE) * _PAGE


def _move_section(
    data: bytearray, header: tuple[t.Any, ...], old_address: int, offset: int, address: int, size: int
) -> None:
    """Tell the section headers as well, which only debuggers and such tools read."""
    start, entry_size, count = header[6], header[11], header[12]
    if not start or entry_size != _SECTION.size or start + count * entry_size > len(data):
        return
    for index in range(count):
        at = start + index * entry_size
        fields = list(_SECTION.unpack_from(data, at))
        if fields[1] == _SHT_STRTAB and fields[3] == old_address:
            fields[3:6] = [address, offset, size]
            _SECTION.pack_into(data, at, *fields)
