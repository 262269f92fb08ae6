# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installed Python → an archive that works wherever it is unpacked, for uv to install, with nothing of the host.

The interpreter itself tells where its parts are. Packed are its program, its standard library without tests and
bytecode, its header files, and the shared libraries in its prefix. Left out is what other software put there
(site-packages), and what belongs to the host (links that lead elsewhere, EXTERNALLY-MANAGED).

An interpreter built for ``/opt/python/3.11.9`` often looks for its own library in that very directory. On a share it
must look beside itself, whatever the member has in /opt. ``patchelf`` could change that, but few hosts have it, and
little of it is needed: one string, added in a new segment at the end of the file.

The same installation always gives the same archive, byte for byte.
"""

from __future__ import annotations

import ast
import dataclasses
import gzip
import hashlib
import io
import os
import posixpath
import pprint
import struct
import tarfile
import typing as t

from ..errors import UvnasError
from ..host import elf
from ..host.data import made_of, parse_json
from ..host.platform import Platform
from ..host.process import Runner, check
from .archive import Contents, wrong_version
from .spec import SitePython
from .version import Version

# The loader finds whatever is installed in one of these, on every member that has it.
_SYSTEM_PREFIXES = frozenset({"/", "/usr", "/usr/local"})
_LEFT_OUT_DIRECTORIES = frozenset({"__pycache__", "dist-packages", "idle_test", "site-packages", "test", "tests"})
_LEFT_OUT_ENDINGS = (".a", ".o", ".pyc", ".pyo", "EXTERNALLY-MANAGED")
# The prefix of python-build-standalone's interpreters, which uv replaces by the real one when it installs.
_PLACEHOLDER = "/install"
_PF_R = 4
# The largest page size of the supported machines: a segment aligned to it can be mapped on all of them.
_PAGE = 0x10000
# A section header: type, flags, address, offset, size.
_SECTION, _SECTION_SIZE, _SHT_STRTAB = struct.Struct("<IQQQQ"), 64, 3

_QUESTIONS = """
import json, os, sys, sysconfig
base = {"base": sys.base_prefix, "installed_base": sys.base_prefix,
        "platbase": sys.base_exec_prefix, "installed_platbase": sys.base_exec_prefix}
paths = sysconfig.get_paths("posix_prefix", base)
var = sysconfig.get_config_var
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": sys.version.split()[0].rstrip("+"),
    "freethreaded": bool(var("Py_GIL_DISABLED")),
    "prefix": os.path.realpath(sys.base_prefix),
    "exec_prefix": os.path.realpath(sys.base_exec_prefix),
    "executable": os.readlink("/proc/self/exe"),
    "stdlib": paths["stdlib"],
    "include": paths["include"],
    "lib_name": getattr(sys, "platlibdir", "lib"),
    "library": var("INSTSONAME") if var("Py_ENABLE_SHARED") else None,
    "library_dir": var("LIBDIR") or "",
    "multiarch": var("MULTIARCH") or "",
    "sysconfigdata": sysconfig._get_sysconfigdata_name() + ".py",
}))
"""


@dataclasses.dataclass(frozen=True)
class Installed:
    """An installed interpreter, as it describes itself."""

    implementation: str
    version: str
    freethreaded: bool
    prefix: str
    # Where its extension modules are.
    exec_prefix: str
    executable: str
    stdlib: str
    include: str
    # "lib" or "lib64"
    lib_name: str
    # The file name of its shared library; None if it has none.
    library: t.Optional[str]
    library_dir: str
    # Debian's name for the architecture, also in directory names; or empty.
    multiarch: str
    sysconfigdata: str

    @property
    def is_system(self) -> bool:
        return self.prefix in _SYSTEM_PREFIXES


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A member of the archive: a file on this host, a file with content of ours, or a link."""

    # The path of a file, or the content itself.
    source: t.Union[str, bytes] = b""
    mode: int = 0o644
    link: t.Optional[str] = None

    def read(self, size: int = -1) -> bytes:
        if isinstance(self.source, bytes):
            return self.source[: size if size >= 0 else None]
        with open(self.source, "rb") as file:
            return file.read(size)


@dataclasses.dataclass(frozen=True)
class Packed:
    """What was written: the sha256 of the archive, and that of its content, whatever the compressor."""

    sha256: str
    digest: str
    contents: Contents


def ask(site: SitePython, prefix: str, platform: Platform, runner: Runner) -> Installed:
    """The interpreter installed in ``prefix``. Raises UvnasError if it is not the declared one."""
    executable = os.path.join(prefix, "bin", f"python{site.version.minor}")
    if not os.path.exists(executable):
        raise UvnasError(
            f"{site.name}: there is no {executable} on this builder",
            hint="Are prefix and version right, and may the share's owner look there?",
        )
    variables = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    if os.path.realpath(prefix) not in _SYSTEM_PREFIXES:
        # As environment modules do for interpreters linked without a path to their library.
        variables["LD_LIBRARY_PATH"] = ":".join(os.path.join(prefix, name) for name in ("lib", "lib64"))
    cmd = [executable, "-I", "-S", "-B", "-c", _QUESTIONS]
    done = check(runner.run(cmd, variables=variables, cwd="/"), cmd[:1], f"{site.name}: {executable} does not run here")
    answer = f"{site.name}: the answer of {executable} about itself"
    installed = made_of(parse_json(done.stdout, answer), Installed)
    if installed is None:
        raise UvnasError(f"{answer} makes no sense", hint="Is it a wrapper that prints something of its own?")
    _check(site, prefix, installed, platform)
    return installed


def _check(site: SitePython, prefix: str, installed: Installed, platform: Platform) -> None:
    if installed.implementation != "cpython":
        raise UvnasError(f"{site.name}: {prefix} has {installed.implementation}; only CPython is supported on a share")
    found = installed.version + ("t" if installed.freethreaded else "")
    if found != str(site.version):
        raise wrong_version(f"{site.name}: {prefix}", site.version, found)
    if installed.prefix != os.path.realpath(prefix):
        raise UvnasError(
            f"{site.name}: the Python in {prefix} is part of the one in {installed.prefix}",
            hint="A virtual environment cannot be supplied; declare the prefix of the Python itself.",
        )
    if installed.exec_prefix != installed.prefix:
        raise UvnasError(
            f"{site.name}: the Python in {prefix} has its extension modules elsewhere, in {installed.exec_prefix}",
            hint="Such a Python cannot be packed. Supply one that is entirely in its prefix.",
        )
    if not platform.is_known:
        raise UvnasError(f"{site.name}: cannot pack a Python for {platform.name}, only for x86_64 and aarch64")


def pack(installed: Installed, stream: t.IO[bytes]) -> Packed:
    """Write the archive of an installed interpreter to ``stream``."""
    entries = _entries(installed)
    outer = _Hashing(stream)
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=t.cast(t.Any, outer), mtime=0) as compressed:
        inner = _Hashing(t.cast(t.IO[bytes], compressed))
        with tarfile.open(fileobj=t.cast(t.Any, inner), mode="w|", format=tarfile.GNU_FORMAT) as tar:
            size = sum(_add(tar, f"python/{name}", entries[name]) for name in sorted(entries))
    return Packed(outer.digest.hexdigest(), inner.digest.hexdigest(), Contents(size, len(entries)))


class _Hashing:
    """A stream that computes the sha256 of what is written to it."""

    def __init__(self, stream: t.IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()


def _add(tar: tarfile.TarFile, name: str, entry: _Entry) -> int:
    """Write one member; return its size. Owner and time are fixed, whoever packs, whenever."""
    member = tarfile.TarInfo(name)
    member.mode = entry.mode
    if entry.link is not None:
        member.type, member.linkname = tarfile.SYMTYPE, entry.link
        tar.addfile(member)
        return 0
    content = entry.read()
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return member.size


def _entries(installed: Installed) -> dict[str, _Entry]:
    """The members of the archive by name, below ``python/``."""
    minor = Version.parse(installed.version + ("t" if installed.freethreaded else "")).minor
    library, include = f"lib/python{minor}", f"include/python{minor}"
    entries = {
        **_tree(installed.stdlib, library, installed.prefix),
        **_tree(installed.include, include, installed.prefix),
    }
    # Debian keeps architecture-specific headers where only its own compiler looks.
    multiarch = posixpath.join(installed.multiarch, posixpath.basename(installed.include))
    if installed.multiarch:
        source = os.path.join(os.path.dirname(installed.include), multiarch)
        entries.update(_tree(source, f"{include}/{multiarch}", installed.prefix))
    # uv adjusts only the first file of this kind that it finds: make that the one in use.
    for name in [name for name in entries if name.startswith(f"{library}/_sysconfigdata_")]:
        del entries[name]
    data = os.path.join(installed.stdlib, installed.sysconfigdata)
    with open(data, encoding="utf-8", errors="surrogateescape") as file:
        text = _sysconfigdata(file.read(), installed, minor)
    entries[f"{library}/{installed.sysconfigdata}"] = _Entry(text.encode(errors="surrogateescape"))
    entries[f"bin/python{minor}"] = _Entry(installed.executable, 0o755)
    for name in {"python", "python3", f"python{minor.rstrip('t')}"} - {f"python{minor}"}:
        entries[f"bin/{name}"] = _Entry(link=f"python{minor}")
    if installed.lib_name != "lib":
        entries[installed.lib_name] = _Entry(link="lib")
    return _with_libraries(entries, installed)


def _tree(source: str, name: str, prefix: str) -> dict[str, _Entry]:
    """The files below the directory ``source`` that belong to an interpreter, under ``name/…`` in the archive."""
    found: dict[str, _Entry] = {}
    for directory, subdirectories, files in os.walk(source, onerror=_raise_unless_absent):
        subdirectories[:] = [sub for sub in subdirectories if sub not in _LEFT_OUT_DIRECTORIES]
        below = posixpath.join(name, os.path.relpath(directory, source)) if directory != source else name
        for file in files:
            path = os.path.join(directory, file)
            if file.endswith(_LEFT_OUT_ENDINGS) or file.startswith("libpython"):
                continue
            # A link that leads out of the prefix is the host's.
            if os.path.isfile(path) and not (os.path.islink(path) and not _is_below(prefix, os.path.realpath(path))):
                found[f"{below}/{file}"] = _Entry(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)
    return found


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_below(directory: str, path: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")


def _with_libraries(entries: dict[str, _Entry], installed: Installed) -> dict[str, _Entry]:
    """``entries`` with the shared libraries of the prefix that they need, all changed to find each other anywhere."""
    own = _find(installed.library, _library_directories(installed)) if installed.library else None
    if installed.library and own:
        entries[f"lib/{installed.library}"] = _Entry(own, 0o755)
        # The name that compilers look for.
        entries.setdefault(f"lib/{installed.library.partition('.so')[0]}.so", _Entry(link=installed.library))
    waiting = [
        name
        for name, entry in entries.items()
        if entry.link is None
        and (name.startswith("bin/") or ".so" in posixpath.basename(name))
        and elf.is_elf(entry.read(16))
    ]
    programs: dict[str, elf.Elf] = {}
    while waiting:
        name = waiting.pop()
        programs[name] = elf.parse(entries[name].read(), name)
        for library in programs[name].needed:
            found = _find(library, _own_directories(programs[name], name, installed))
            if found and f"lib/{library}" not in entries:
                entries[f"lib/{library}"] = _Entry(found, 0o755)
                waiting.append(f"lib/{library}")
    for name, program in programs.items():
        search = _search(name, program, programs, installed)
        if search is not None:
            content = searching(entries[name].read(), search, name)
            entries[name] = dataclasses.replace(entries[name], source=content)
    return entries


def _library_directories(installed: Installed) -> list[str]:
    """Where an interpreter's own shared library may be: not where it claims, if its prefix was moved or linked."""
    recorded = [installed.library_dir, os.path.join(installed.library_dir, installed.multiarch)]
    return [*recorded, os.path.join(installed.prefix, "lib"), os.path.join(installed.prefix, "lib64")]


def _own_directories(program: elf.Elf, name: str, installed: Installed) -> list[str]:
    """Where a program finds libraries inside the interpreter's own prefix."""
    if installed.is_system:
        return []
    places = [_expanded(directory, name, installed) for directory in program.search]
    places += [os.path.join(installed.prefix, lib) for lib in ("lib", "lib64")]
    return [place for place in places if _is_below(installed.prefix, place)]


def _expanded(directory: str, name: str, installed: Installed) -> str:
    """A directory that a program searches, as a path; a relative one starts where the program is now."""
    origin = os.path.join(installed.prefix, posixpath.dirname(name))
    for word in ("$ORIGIN", "${ORIGIN}"):
        directory = directory.replace(word, origin)
    return os.path.realpath(directory)


def _find(library: str, directories: t.Iterable[str]) -> t.Optional[str]:
    """The file called ``library`` in the first of ``directories`` that has it."""
    for directory in directories:
        path = os.path.join(directory, library)
        if os.path.isfile(path):
            return os.path.realpath(path)
    return None


def _search(name: str, program: elf.Elf, programs: t.Collection[str], installed: Installed) -> t.Optional[list[str]]:
    """Where a program should look for libraries from now on; None if nothing has to change."""
    outside = [
        directory
        for directory in program.search
        if installed.is_system or not _is_below(installed.prefix, _expanded(directory, name, installed) + "/")
    ]
    needs_own = any(f"lib/{library}" in programs for library in program.needed)
    wanted = ["$ORIGIN/" + posixpath.relpath("lib", posixpath.dirname(name)), *outside]
    if (not needs_own and len(outside) == len(program.search)) or wanted == list(program.search):
        return None
    return wanted


def searching(data: bytes, directories: t.Sequence[str], what: str) -> bytes:
    """The program or library ``data``, changed to look for its libraries in ``directories`` before anywhere else.

    DT_RPATH, not DT_RUNPATH: it precedes LD_LIBRARY_PATH, through which a cluster's environment modules could slip this
    Python the library of another one.
    """
    try:
        return _searching(data, directories, what)
    except (struct.error, OverflowError, ValueError, KeyError, IndexError) as error:
        raise UvnasError(f"{what} is damaged: {error}", hint="Nothing was installed.") from error


def _searching(data: bytes, directories: t.Sequence[str], what: str) -> bytes:
    program, header = elf.parse(data, what), elf.HEADER.unpack_from(data)
    kinds, tags = [segment.type for segment in program.segments], [tag for tag, _value in program.dynamic]
    # The new segment replaces the last note: notes are for debuggers, and loadable segments must be in order.
    notes = [index for index, kind in enumerate(kinds) if kind == elf.PT_NOTE and elf.PT_LOAD not in kinds[index:]]
    # Reuse the entry that names directories now, or else a spare one. The last one must stay: it ends the list.
    slots = [index for index, tag in enumerate(tags) if tag in (elf.DT_RPATH, elf.DT_RUNPATH)]
    slots = slots or [index for index, tag in enumerate(tags) if tag == elf.DT_NULL][:-1][:1]
    if not notes or not slots:
        raise UvnasError(
            f"{what} cannot be made to find its libraries on a share",
            hint="It was linked without the usual spare entries. Use an interpreter built without --enable-shared.",
        )
    offset = _aligned(len(data))
    address = _aligned(max(part.address + part.memory_size for part in program.segments if part.type == elf.PT_LOAD))
    # The loader looks up all names in one table, so the whole table moves there.
    strings = program.strings + ":".join(directories).encode(errors="surrogateescape") + b"\0"
    changed = bytearray(data.ljust(offset, b"\0") + strings)
    segment = elf.Segment(elf.PT_LOAD, _PF_R, offset, address, address, len(strings), len(strings), _PAGE)
    elf.SEGMENT.pack_into(changed, header[5] + notes[-1] * elf.SEGMENT.size, *segment)
    values = {elf.DT_STRTAB: address, elf.DT_STRSZ: len(strings)}
    at = program.segments[kinds.index(elf.PT_DYNAMIC)].offset
    for index, (tag, value) in enumerate(program.dynamic):
        entry = (elf.DT_RPATH, len(program.strings)) if index in slots else (tag, values.get(tag, value))
        elf.ENTRY.pack_into(changed, at + index * elf.ENTRY.size, *entry)
    # A linker finds the table by its section; without this, nothing could be linked to a changed libpython.
    old = dict(program.dynamic)[elf.DT_STRTAB]
    for at in range(header[6] + 4, header[6] + header[12] * _SECTION_SIZE, _SECTION_SIZE):
        kind, flags, place, *_rest = _SECTION.unpack_from(data, at)
        if (kind, place) == (_SHT_STRTAB, old):
            _SECTION.pack_into(changed, at, kind, flags, address, offset, len(strings))
    return bytes(changed)


def _aligned(number: int) -> int:
    return -(-number // _PAGE) * _PAGE


def _sysconfigdata(text: str, installed: Installed, minor: str) -> str:
    """The build-time variables, with a prefix that uv replaces by the one it installs to.

    Otherwise packages in an environment would be compiled against the Python that this one was packed from.
    """
    variables = _literal(text)
    if not isinstance(variables, dict) or not all(isinstance(name, str) for name in variables):
        raise UvnasError(
            f"{os.path.join(installed.stdlib, installed.sysconfigdata)} is damaged: it contains no variables",
            hint="Is this Python installed in full? Nothing was installed.",
        )
    configuration = posixpath.basename(str(variables.get("LIBPL", "config")))
    places = {
        "": "prefix exec_prefix",
        "/bin": "BINDIR",
        f"/bin/python{minor}": "EXENAME",
        "/include": "INCLUDEDIR CONFINCLUDEDIR",
        f"/include/python{minor}": "INCLUDEPY CONFINCLUDEPY",
        "/lib": "LIBDIR SCRIPTDIR",
        "/lib/pkgconfig": "LIBPC",
        f"/lib/python{minor}": "LIBDEST BINLIBDEST DESTLIB MACHDESTLIB",
        f"/lib/python{minor}/lib-dynload": "DESTSHARED",
        f"/lib/python{minor}/{configuration}": "LIBPL",
    }
    place_of = {name: _PLACEHOLDER + place for place, names in places.items() for name in names.split()}
    for name, value in variables.items():
        if name in place_of:
            variables[name] = place_of[name]
        elif isinstance(value, str) and not installed.is_system and name != "CONFIG_ARGS":
            variables[name] = _without_flags_for(value, installed.prefix)
    head = "# system configuration generated and used by the sysconfig module\n"
    return f"{head}build_time_vars = {pprint.pformat(variables)}\n"


def _literal(text: str) -> t.Any:
    """The value that ``text``, Python code, assigns first; None if it does not."""
    try:
        values = [node.value for node in ast.parse(text).body if isinstance(node, ast.Assign)]
        return ast.literal_eval(values[0])
    except (SyntaxError, ValueError, TypeError, IndexError, MemoryError, RecursionError):
        return None


def _without_flags_for(value: str, prefix: str) -> str:
    """A command line without options that point to the old prefix."""
    options = ("-L", "-I", "-Wl,-rpath")
    words = value.split()
    kept = [word for word in words if not (word.startswith(options) and prefix in word)]
    return value if len(kept) == len(words) else " ".join(kept)
