# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What environments need of the hosts that they run on, above all the oldest glibc that will do.

Of a wheel, its platform tag says it: ``manylinux_2_34_x86_64`` is for glibc 2.34 and newer. pip and uv on a host go by
that. What was built on the builder is tagged ``linux_x86_64``, which promises nothing; there, and of interpreters, the
libraries themselves say which versions of glibc's symbols the loader has to find.
"""

from __future__ import annotations

import csv
import dataclasses
import glob
import mmap
import os
import re
import typing as t

from ...errors import UvnasError
from ...host import elf
from ...host.platform import OLDEST, Version, version
from ...host.process import Runner
from ...share.probe import Platform, platform
from ..lock.file import normalize

# Every host has this one (CentOS 7, of 2014). What needs no more is not listed.
COMMON = OLDEST

# What uv 0.13's --python-platform knows, x86_64-manylinux_2_31 for one, besides 2.17.
_UV_MACHINES = frozenset({"x86_64", "aarch64"})
_UV_GLIBCS = (COMMON, "2.28", *(f"2.{minor}" for minor in range(31, 41)))

_TAG = re.compile(r"manylinux_(\d+)_(\d+)_")
_OLD_TAGS = {"manylinux1_": (2, 5), "manylinux2010_": (2, 12), "manylinux2014_": (2, 17)}
_SYMBOL = re.compile(r"GLIBC_(\d+)\.(\d+)")
# Relative relocations, a way to write them that came with glibc 2.36. The version is there to have older ones refuse.
_RELR = "GLIBC_ABI_DT_RELR"
_SHOWN = 4
_LIBCS = {"gnu": "glibc", "musl": "musl"}

# For uv


def uv_platform(env: str, floor: str, builder: Platform) -> str:
    """What uv calls the platform of hosts with glibc ``floor`` and newer: the nearest that it knows, not above it.

    Raises UvnasError where ``builder`` cannot build environment ``env`` for it.
    """
    if builder.libc != "gnu" or builder.arch not in _UV_MACHINES:
        raise UvnasError(
            f"environment {env}: it is to be for glibc {floor}, but this builder is {builder.arch} with {builder.libc}",
            hint="Leave out glibc in uvnas_shares, or have the share built by a host that has glibc.",
        )
    if version(builder.libc_version) < version(floor):
        raise UvnasError(
            f"environment {env}: it is to be for glibc {floor}, but this builder itself has {builder.libc_version}",
            hint=f'The key glibc of a share is the oldest one among its hosts: write "{builder.libc_version}" or less.',
        )
    known = max((each for each in _UV_GLIBCS if version(each) <= version(floor)), key=version)
    return f"{builder.arch}-manylinux_{known.replace('.', '_')}"


def uv_arguments(env: str, floor: t.Optional[str], runner: Runner) -> list[str]:
    """What has uv choose wheels for glibc ``floor``; nothing where there is no floor. Raises UvnasError."""
    return ["--python-platform", uv_platform(env, floor, platform(runner))] if floor else []


# Found in what was built


@dataclasses.dataclass(frozen=True)
class Need:
    """Of one package: the oldest glibc that will do, and the platform tag of its wheel."""

    glibc: str
    tag: str


def scan(site_packages: str, interpreter: str, key: str) -> dict[str, t.Any]:
    """What an environment needs, for its manifest: its packages, and the executable ``interpreter`` with uv's ``key``.

    ``glibc`` is the oldest that will do for all, ``interpreter`` the same for the interpreter by itself; ``packages``
    has those that need more than COMMON. With another libc there are ``arch`` and ``libc`` only.
    """
    arch, _dash, libc = key.partition("-linux-")[2].rpartition("-")
    arch = re.sub(r"_v[234]\Z", "", arch)  # Of a build for newer processors of that kind.
    found: dict[str, t.Any] = {"arch": arch, "libc": libc}
    if libc != "gnu":
        return found
    own = _newest(_glibcs(_interpreter_files(interpreter), arch))
    packages = {}
    for info in sorted(glob.glob(os.path.join(glob.escape(site_packages), "*.dist-info"))):
        need = _package(info, arch)
        if need is not None and version(need.glibc) > version(COMMON):
            name = os.path.basename(info)[: -len(".dist-info")].rpartition("-")[0]
            packages[normalize(name)] = dataclasses.asdict(need)
    most = _newest([version(own), *(version(need["glibc"]) for need in packages.values())])
    return {**found, "glibc": most, "interpreter": own, "packages": packages}


def wheel_glibc(text: str) -> t.Optional[Need]:
    """What a wheel needs by the tags in ``text``, its file WHEEL. None where they do not say; ``any`` is COMMON.

    A wheel with several tags is for all of these hosts, so the lowest counts.
    """
    tags = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Tag:")]
    # A platform tag has no dash, and may be several with dots between them.
    platforms = [name for tag in tags for name in tag.rpartition("-")[2].split(".")]
    known = [(found, name) for name in platforms for found in [_tag_glibc(name)] if found is not None]
    if not known:
        return None
    lowest, name = min(known)
    return Need(f"{lowest[0]}.{lowest[1]}", name)


def _tag_glibc(name: str) -> t.Optional[Version]:
    if name == "any":
        return version(COMMON)
    match = _TAG.match(name)
    if match:
        return int(match[1]), int(match[2])
    return next((glibc for prefix, glibc in _OLD_TAGS.items() if name.startswith(prefix)), None)


def _package(info: str, arch: str) -> t.Optional[Need]:
    """What the package with the metadata directory ``info`` needs; None for nothing that can be told."""
    try:
        with open(os.path.join(info, "WHEEL"), encoding="utf-8", errors="replace") as file:
            tagged = wheel_glibc(file.read())
    except FileNotFoundError:
        tagged = None
    if tagged is not None:
        return tagged
    found = _glibcs(_libraries(info), arch)
    return Need(_newest(found), f"linux_{arch}") if found else None


def _libraries(info: str) -> t.Iterator[str]:
    """The files of an installed package that may be libraries or programs, by their names."""
    try:
        with open(os.path.join(info, "RECORD"), encoding="utf-8", errors="replace", newline="") as file:
            paths = [row[0] for row in csv.reader(file) if row]
    except FileNotFoundError:
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
    """The newest version of glibc's symbols that each of these files needs, as far as they are for ``arch``."""
    found = []
    for path in paths:
        needed = file_glibc(path, arch)
        if needed is not None:
            found.append(needed)
    return found


def file_glibc(path: str, arch: str) -> t.Optional[Version]:
    """The newest version of glibc's symbols that a file needs; None for what is no library or program for ``arch``."""
    try:
        with open(path, "rb") as file:
            if not elf.is_elf(file.read(16)):
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                machine, names = elf.versions(data, path)
    except FileNotFoundError:
        return None
    except UvnasError:
        return None  # Damaged on purpose, as what packages test with. What is really damaged fails the smoke test.
    if machine != arch:
        return None
    matches = [_SYMBOL.match(name) for name in names]
    numbers = [(int(match[1]), int(match[2])) for match in matches if match]
    return max([*numbers, *([(2, 36)] if _RELR in names else [])], default=None)


def _newest(versions: t.Iterable[Version]) -> str:
    """The newest of them, or COMMON where that is newer."""
    major, minor = max([*versions, version(COMMON)])
    return f"{major}.{minor}"


# Compared with hosts


def check_floor(env: str, needs: t.Mapping[str, t.Any], key: str, packages: t.Mapping[str, str], floor: str) -> None:
    """Raise UvnasError where an environment that was built for glibc ``floor`` needs a newer one.

    uv chose wheels for it; what it built itself is made for the builder. ``packages`` has versions by name.
    """
    too_new = _too_new(needs, key, packages, version(floor))
    if too_new:
        raise UvnasError(
            f"environment {env}: {_some(too_new)}, but it is for hosts with {floor}",
            hint="\n".join(filter(None, (_python_hint(needs, version(floor)), _build_hint(needs, version(floor))))),
        )


def objection(
    env: str, needs: t.Mapping[str, t.Any], key: str, packages: t.Mapping[str, str], host: Platform, host_name: str
) -> t.Optional[str]:
    """Why an environment with these ``needs`` cannot run on ``host``; None where nothing is known against it."""
    arch = needs.get("arch", host.arch)
    if arch != host.arch:
        return f"environment {env}: cannot run here: it is for {arch}, this host ({host_name}) is {host.arch}"
    if needs.get("libc") != "gnu" or host.libc != "gnu":
        return None
    too_new = _too_new(needs, key, packages, version(host.libc_version))
    if not too_new:
        return None
    return f"environment {env}: cannot run here: {_some(too_new)}; this host ({host_name}) has {host.libc_version}"


def advice(needs: t.Mapping[str, t.Any], host: Platform, share: str, floor: t.Optional[str]) -> str:
    """What to do about an objection on ``host``, which uses a share that is declared with ``floor``."""
    if needs.get("arch", host.arch) != host.arch:
        return "A share is for one kind of machine: give other machines a share, with a builder, of their own."
    here = version(host.libc_version)
    python = _python_hint(needs, here)
    if not _packages_above(needs, here):
        return python
    if floor and version(floor) <= here:
        packages = f"Share {share} is declared for glibc {floor}: run site.yml, which locks and builds it for that."
    else:
        packages = (
            f"Share {share} is declared for glibc {floor} and newer. "
            * bool(floor)
            + f'Declare glibc: "{_newest([here])}" for share {share} in uvnas_shares and run site.yml, which then '
            "locks and builds for that; or declare the environment for other shares only."
        )
    return "\n".join(filter(None, (python, packages)))


def other_libc(needs: t.Mapping[str, t.Any], host: Platform) -> str:
    """The reason that a failure on ``host`` may well have, where the environment is for another libc; else empty."""
    libc = needs.get("libc", host.libc)
    return "" if libc == host.libc else f"\nIt is for hosts with {_LIBCS[libc]}; this one has {_LIBCS[host.libc]}."


def _too_new(
    needs: t.Mapping[str, t.Any], key: str, packages: t.Mapping[str, str], limit: Version
) -> list[tuple[str, str]]:
    """What needs a newer glibc than ``limit``, and which; what needs most first."""
    found = [(f"interpreter {key}", needs["interpreter"])] if _python_above(needs, limit) else []
    above = sorted(_packages_above(needs, limit).items(), key=lambda item: version(item[1]["glibc"]), reverse=True)
    return found + [(f"{name} {packages.get(name, '')} ({need['tag']})", need["glibc"]) for name, need in above]


def _python_above(needs: t.Mapping[str, t.Any], limit: Version) -> bool:
    return version(needs.get("interpreter", COMMON)) > max(limit, version(COMMON))


def _packages_above(needs: t.Mapping[str, t.Any], limit: Version) -> dict[str, t.Mapping[str, str]]:
    return {name: need for name, need in needs.get("packages", {}).items() if version(need["glibc"]) > limit}


def _python_hint(needs: t.Mapping[str, t.Any], limit: Version) -> str:
    if not _python_above(needs, limit):
        return ""
    return (
        "An interpreter of uvnas_site_pythons runs on hosts as old as the one it was built on; those that uv downloads "
        f"need glibc {COMMON}."
    )


def _build_hint(needs: t.Mapping[str, t.Any], limit: Version) -> str:
    names = ", ".join(sorted(_packages_above(needs, limit)))
    if not names:
        return ""
    return (
        f"What is built from source is made for the builder. Constrain {names} to a version with a wheel for older "
        "hosts, provide such a wheel (uvnas_index.find_links), or have the share built by a host that is as old."
    )


def _some(too_new: t.Sequence[tuple[str, str]]) -> str:
    shown = [f"{what} needs glibc {glibc}" for what, glibc in too_new[:_SHOWN]]
    more = len(too_new) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
