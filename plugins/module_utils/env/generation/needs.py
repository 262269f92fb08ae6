# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What environments require of their hosts, above all the oldest glibc that they run on.

Wheels have platform tags, which pip and uv go by: ``manylinux_2_34_x86_64`` is for glibc 2.34 and newer. What was built
on the builder is tagged ``linux_x86_64``, which promises nothing. For that, and for interpreters, the ELF files tell
which versions of glibc's symbols the loader has to find.
"""

from __future__ import annotations

import csv
import errno
import glob
import mmap
import os
import re
import stat
import typing as t

from ...errors import UvnasError
from ...host import elf
from ...host.platform import GNU, OLDEST_GLIBC, Platform, Version, glibc_of_tag, glibc_version
from ...python.version import platform_of_key
from ...share.manifest import Need, Needs
from ...uv import wheel

_SYMBOL = re.compile(r"GLIBC_([0-9]{1,4})\.([0-9]{1,4})(?![0-9])")
# Compact relative relocations, new in glibc 2.36. Linkers add this version so that older loaders refuse the file.
_RELR = "GLIBC_ABI_DT_RELR"
_SHOWN = 4
_LIBCS = {"gnu": "glibc", "musl": "musl"}

# Scanning what was built


def scan(site_packages: str, interpreter: str, key: str) -> Needs:
    """The needs of an environment: of its packages, and of the executable ``interpreter`` with uv's ``key``."""
    platform = platform_of_key(key)
    arch, libc = platform.arch, platform.libc
    if libc != GNU:
        return Needs(arch, libc)
    own = _newest(_glibcs(_interpreter_files(interpreter), arch))
    packages = {}
    for name, info in wheel.metadata_directories(site_packages).items():
        need = _package(info, arch)
        if need is not None and glibc_version(need.glibc) > glibc_version(OLDEST_GLIBC):
            packages[name] = need
    most = _newest([glibc_version(own), *(glibc_version(need.glibc) for need in packages.values())])
    return Needs(arch, libc, most, own, packages)


def wheel_glibc(text: str) -> t.Optional[Need]:
    """What the tags in ``text``, a wheel's WHEEL file, require; None if they do not say. ``any`` means the oldest.

    A wheel with several tags runs on hosts for any of them, so the lowest counts.
    """
    known = [(found, tag) for tag in wheel.platform_tags(text) for found in [glibc_of_tag(tag)] if found is not None]
    if not known:
        return None
    lowest, tag = min(known)
    return Need(f"{lowest[0]}.{lowest[1]}", tag)


def _package(info: str, arch: str) -> t.Optional[Need]:
    """What the package with the metadata directory ``info`` needs; None if unknown."""
    text = wheel.read_wheel(info)
    tagged = wheel_glibc(text) if text is not None else None
    if tagged is not None:
        return tagged
    found = _glibcs(_libraries(info), arch)
    return Need(_newest(found), f"linux_{arch}") if found else None


def _libraries(info: str) -> t.Iterator[str]:
    """The files of an installed package whose names may be those of libraries or programs."""
    try:
        paths = [path for path, _hash in wheel.read_record(info)]
    except (UvnasError, OSError, csv.Error):
        return
    for path in paths:
        name = os.path.basename(path)
        if (".so" in name or "." not in name) and not os.path.dirname(path).endswith(".dist-info"):
            yield os.path.join(os.path.dirname(info), path)


def _interpreter_files(executable: str) -> list[str]:
    """An interpreter, its own libraries, and its extension modules."""
    prefix = glob.escape(os.path.dirname(os.path.dirname(executable)))
    dynload = os.path.join(prefix, "lib", os.path.basename(executable), "lib-dynload", "*.so")
    return [executable, *glob.glob(os.path.join(prefix, "lib", "*.so*")), *glob.glob(dynload)]


def _glibcs(paths: t.Iterable[str], arch: str) -> list[Version]:
    """The newest glibc symbol version that each of these files needs, skipping those not for ``arch``."""
    found = []
    for path in paths:
        needed = file_glibc(path, arch)
        if needed is not None:
            found.append(needed)
    return found


def file_glibc(path: str, arch: str) -> t.Optional[Version]:
    """The newest glibc symbol version that a file needs; None if it is not a library or program for ``arch``."""
    try:
        # A RECORD may list anything, such as a pipe that nobody writes to.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or not elf.is_elf(file.read(16)):
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                machine, names = elf.versions(data, path)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ESTALE, errno.ENOMEM):
            raise
        return None
    except (UvnasError, ValueError):
        return None  # Probably test data, damaged on purpose. Real damage fails the smoke test.
    if machine != arch:
        return None
    matches = [_SYMBOL.match(name) for name in names]
    numbers = [(int(match[1]), int(match[2])) for match in matches if match]
    return max([*numbers, *([(2, 36)] if _RELR in names else [])], default=None)


def _newest(versions: t.Iterable[Version]) -> str:
    """The newest of ``versions`` and OLDEST_GLIBC."""
    major, minor = max([*versions, glibc_version(OLDEST_GLIBC)])
    return f"{major}.{minor}"


# Comparing with hosts


def check_floor(env: str, needs: Needs, key: str, packages: t.Mapping[str, str], floor: str) -> None:
    """Raise UvnasError if an environment that was built for glibc ``floor`` needs a newer one.

    uv chooses wheels for the floor, but what it builds itself is made for the builder. ``packages`` has versions by
    name.
    """
    too_new = _too_new(needs, key, packages, glibc_version(floor))
    if too_new:
        raise UvnasError(
            f"environment {env}: {_some(too_new)}, but it is for hosts with {floor}",
            hint="\n".join(
                filter(None, (_python_hint(needs, glibc_version(floor)), _build_hint(needs, glibc_version(floor))))
            ),
        )


def objection(
    env: str, needs: Needs, key: str, packages: t.Mapping[str, str], host: Platform, host_name: str
) -> t.Optional[str]:
    """Why an environment with these ``needs`` cannot run on ``host``; None if nothing is known against it."""
    if needs.arch and needs.arch != host.arch:
        return f"environment {env}: cannot run here: it is for {needs.arch}, this host ({host_name}) is {host.arch}"
    if needs.libc != GNU or host.libc != GNU:
        return None
    too_new = _too_new(needs, key, packages, glibc_version(host.libc_version))
    if not too_new:
        return None
    return f"environment {env}: cannot run here: {_some(too_new)}; this host ({host_name}) has {host.libc_version}"


def advice(needs: Needs, host: Platform, share: str, floor: t.Optional[str]) -> str:
    """What to do about an objection on ``host``, which uses a share that is declared with ``floor``."""
    if needs.arch and needs.arch != host.arch:
        return "A share serves one architecture. Give other machines a share and a builder of their own."
    here = glibc_version(host.libc_version)
    python = _python_hint(needs, here)
    if not _packages_above(needs, here):
        return python
    if floor and glibc_version(floor) <= here:
        packages = f"Share {share} is declared for glibc {floor}: run site.yml to lock and build it for that."
    else:
        packages = (
            f"Share {share} is declared for glibc {floor} and newer. "
            * bool(floor)
            + f'Declare glibc: "{_newest([here])}" for share {share} in uvnas_shares and run site.yml to lock and '
            "build for that; or declare the environment for other shares only."
        )
    return "\n".join(filter(None, (python, packages)))


def other_libc(needs: Needs, host: Platform) -> str:
    """The likely reason for a failure on ``host`` if the environment is for another libc; else empty."""
    if not needs.libc or needs.libc == host.libc:
        return ""
    return f"\nIt is for hosts with {_LIBCS[needs.libc]}; this one has {_LIBCS[host.libc]}."


def _too_new(needs: Needs, key: str, packages: t.Mapping[str, str], limit: Version) -> list[tuple[str, str]]:
    """What needs a glibc newer than ``limit``, and which one; packages with the highest need first."""
    found = [(f"interpreter {key}", needs.interpreter)] if _python_above(needs, limit) else []
    above = sorted(_packages_above(needs, limit).items(), key=lambda item: glibc_version(item[1].glibc), reverse=True)
    return found + [(f"{name} {packages.get(name, '')} ({need.tag})", need.glibc) for name, need in above]


def _python_above(needs: Needs, limit: Version) -> bool:
    return glibc_version(needs.interpreter or OLDEST_GLIBC) > max(limit, glibc_version(OLDEST_GLIBC))


def _packages_above(needs: Needs, limit: Version) -> dict[str, Need]:
    return {name: need for name, need in needs.packages.items() if glibc_version(need.glibc) > limit}


def _python_hint(needs: Needs, limit: Version) -> str:
    if not _python_above(needs, limit):
        return ""
    return (
        "An interpreter in uvnas_site_pythons runs on hosts as old as the one that built it; those that uv downloads "
        f"need glibc {OLDEST_GLIBC}."
    )


def _build_hint(needs: Needs, limit: Version) -> str:
    names = ", ".join(sorted(_packages_above(needs, limit)))
    if not names:
        return ""
    return (
        f"Packages built from source are made for the builder. Constrain {names} to a version with a wheel for older "
        "hosts, provide such a wheel (uvnas_index.find_links), or choose a builder that is as old."
    )


def _some(too_new: t.Sequence[tuple[str, str]]) -> str:
    shown = [f"{what} needs glibc {glibc}" for what, glibc in too_new[:_SHOWN]]
    more = len(too_new) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
