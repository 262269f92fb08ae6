# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What environments need of hosts: from tags of wheels, and from real libraries that a compiler made."""

from __future__ import annotations

import dataclasses
import os
import struct
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import needs as platform_needs
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import elf
from ansible_collections.uvnas.cluster.plugins.module_utils.host import platform as glibc
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import Platform
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.manifest import Need, Needs
from ansible_collections.uvnas.cluster.tests.support.libraries import library
from ansible_collections.uvnas.cluster.tests.support.pythons import PREFIX, key

HERE = glibc.here(SystemRunner())
KEY = f"cpython-3.12.4-linux-{HERE.arch}-gnu"
DEV = Platform("x86_64", "gnu", "2.36")
NODE = Platform("x86_64", "gnu", "2.31")

# Real ones of numpy, bcrypt, PyYAML and cffi, and of what setuptools builds.
WHEELS = {
    "Tag: cp311-cp311-manylinux_2_27_x86_64\nTag: cp311-cp311-manylinux_2_28_x86_64": ("2.27", "manylinux_2_27_x86_64"),
    "Tag: cp39-abi3-manylinux_2_34_x86_64": ("2.34", "manylinux_2_34_x86_64"),
    "Tag: cp311-cp311-manylinux_2_17_x86_64\nTag: cp311-cp311-manylinux2014_x86_64": ("2.17", "manylinux2014_x86_64"),
    "Tag: cp311-cp311-manylinux_2_34_aarch64.manylinux_2_9_aarch64": ("2.9", "manylinux_2_9_aarch64"),
    "Tag: cp36-cp36m-manylinux1_x86_64": ("2.5", "manylinux1_x86_64"),
    "Tag: cp36-cp36m-manylinux2010_x86_64": ("2.12", "manylinux2010_x86_64"),
    "Tag: py2-none-any\nTag: py3-none-any": ("2.17", "any"),
    "Tag: cp311-cp311-linux_x86_64": None,
    "Tag: cp311-cp311-musllinux_1_2_x86_64": None,
    "": None,
}


@pytest.mark.parametrize("text", WHEELS)
def test_tags_of_a_wheel(text: str) -> None:
    wheel = f"Wheel-Version: 1.0\nGenerator: setuptools (78.1.0)\nRoot-Is-Purelib: false\n{text}\n\n"
    wanted = WHEELS[text]
    assert platform_needs.wheel_glibc(wheel) == (Need(*wanted) if wanted else None)


# What libraries say.


@pytest.mark.parametrize(
    ("versions", "wanted"),
    [
        (("GLIBC_2.2.5", "GLIBC_2.14"), (2, 14)),
        (("GLIBC_2.34", "GLIBC_2.4", "GLIBC_2.9"), (2, 34)),
        (("GLIBC_2.9", "GLIBCXX_3.4.29", "GLIBC_PRIVATE"), (2, 9)),
        (("GLIBC_2.14", "GLIBC_ABI_DT_RELR"), (2, 36)),
        (("OPENSSL_3.0.0",), None),
    ],
)
def test_versions_that_a_library_needs(
    versions: tuple[str, ...], wanted: tuple[int, int] | None, tmp_path: Path
) -> None:
    path = library(tmp_path / "it.so", *versions)
    machine, found = elf.versions(path.read_bytes(), "it")
    assert (machine, found) == (HERE.arch, frozenset(versions))
    assert platform_needs.file_glibc(str(path), HERE.arch) == wanted
    assert platform_needs.file_glibc(str(path), "s390x") is None


def test_what_a_real_program_needs_is_no_more_than_what_it_runs_on() -> None:
    needed = platform_needs.file_glibc(os.path.realpath("/bin/ls"), HERE.arch)
    assert needed is not None
    assert (2, 2) <= needed <= glibc.glibc_version(HERE.libc_version)


def test_readelf_agrees() -> None:
    """On the libraries that this Python has loaded."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if ".so" in line}
    assert paths
    for path in sorted(paths):
        said = subprocess.check_output(["readelf", "--version-info", "--wide", path], text=True)
        needs = said.partition("Version needs section")[2]
        wanted = {
            line.split("Name: ")[1].split()[0]
            for line in needs.splitlines()
            if "Name: " in line and "Flags: WEAK" not in line
        }
        assert elf.versions(Path(path).read_bytes(), path)[1] == wanted, path


def test_a_weak_need_does_not_count(tmp_path: Path) -> None:
    path = library(tmp_path / "it.so", "GLIBC_2.99")
    data = bytearray(path.read_bytes())
    hashed = struct.pack("<I", elf_hash("GLIBC_2.99"))
    at = data.index(hashed)
    struct.pack_into("<H", data, at + 4, 2)
    assert elf.versions(bytes(data), "it")[1] == frozenset()


def elf_hash(name: str) -> int:
    """The hash of a symbol's version, as the ELF specification has it."""
    value = 0
    for character in name.encode():
        value = (value << 4) + character
        value = (value ^ ((value & 0xF0000000) >> 24)) & 0x0FFFFFFF
    return value


def test_what_is_no_library(tmp_path: Path) -> None:
    whole = library(tmp_path / "whole.so", "GLIBC_2.34").read_bytes()
    for content in (b"", b"\x7fEL", b"#!/bin/sh\n" * 9, whole[:300], whole[: len(whole) // 2]):
        (tmp_path / "it.so").write_bytes(content)
        assert platform_needs.file_glibc(str(tmp_path / "it.so"), HERE.arch) is None
    assert platform_needs.file_glibc(str(tmp_path / "missing.so"), HERE.arch) is None


# What is installed.


def install(site_packages: Path, name: str, tag: str, *files: str) -> None:
    """What uv leaves of a wheel in an environment: its metadata."""
    info = site_packages / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: cp312-cp312-{tag}\n")
    (info / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in (*files, f"{info.name}/RECORD")))


def test_what_an_environment_needs(tmp_path: Path) -> None:
    site_packages = tmp_path / "env" / "lib" / "python3.12" / "site-packages"
    prefix = tmp_path / "python"
    interpreter = library(prefix / "bin" / "python3.12", "GLIBC_2.4")
    library(prefix / "lib" / "libpython3.12.so.1.0", "GLIBC_2.28")
    library(prefix / "lib" / "python3.12" / "lib-dynload" / "_ssl.so", "GLIBC_2.30")
    install(site_packages, "pure", "any", "pure/odd.so")
    library(site_packages / "pure" / "odd.so", "GLIBC_2.38")
    install(site_packages, "old", f"manylinux2014_{HERE.arch}")
    install(site_packages, "Zope.New", f"manylinux_2_34_{HERE.arch}")
    install(site_packages, "built", f"linux_{HERE.arch}", "built/__init__.py", "built/_it.so", "../../../bin/tool")
    library(site_packages / "built" / "_it.so", "GLIBC_2.33")
    library(tmp_path / "env" / "bin" / "tool", "GLIBC_2.35")
    install(site_packages, "small", f"linux_{HERE.arch}", "small.so", '"with, comma.so"')
    library(site_packages / "small.so", "GLIBC_2.14")
    (site_packages / "nothing-1.0.dist-info").mkdir()
    assert platform_needs.scan(str(site_packages), str(interpreter), KEY) == Needs(
        arch=HERE.arch,
        libc="gnu",
        glibc="2.35",
        interpreter="2.30",
        packages={
            "zope-new": Need("2.34", f"manylinux_2_34_{HERE.arch}"),
            "built": Need("2.35", f"linux_{HERE.arch}"),
        },
    )


def test_of_musl_there_is_no_version(tmp_path: Path) -> None:
    found = platform_needs.scan(str(tmp_path), "/nowhere", "cpython-3.12.4-linux-x86_64_v3-musl")
    assert found == Needs("x86_64", "musl")
    assert found.as_dict() == {"arch": "x86_64", "libc": "musl"}


def test_the_python_of_the_tests_runs_here() -> None:
    executable = os.path.join(PREFIX, "bin", f"python3.{sys.version_info.minor}")
    found = platform_needs.scan("/nowhere", executable, key())
    assert glibc.glibc_version(found.interpreter) <= glibc.glibc_version(HERE.libc_version)
    assert platform_needs.objection("it", found, key(), {}, HERE, "here") is None


# What is said.

VERSIONS = {"bcrypt": "5.0.0", "psutil": "7.2.2", "numpy": "2.3.1", "old": "1"}
NEEDS = Needs(
    arch="x86_64",
    libc="gnu",
    glibc="2.36",
    interpreter="2.17",
    packages={
        "bcrypt": Need("2.34", "manylinux_2_34_x86_64"),
        "numpy": Need("2.27", "manylinux_2_27_x86_64"),
        "psutil": Need("2.36", "linux_x86_64"),
    },
)


def but(**changed: t.Any) -> Needs:
    return dataclasses.replace(NEEDS, **changed)


def objection(needs: Needs, host: Platform) -> str | None:
    return platform_needs.objection("train", needs, "cpython-3.11.2-linux-x86_64-gnu", VERSIONS, host, "node-b1")


def test_a_host_that_is_too_old() -> None:
    assert objection(NEEDS, NODE) == (
        "environment train: cannot run here: psutil 7.2.2 (linux_x86_64) needs glibc 2.36, "
        "bcrypt 5.0.0 (manylinux_2_34_x86_64) needs glibc 2.34; this host (node-b1) has 2.31"
    )
    assert objection(but(interpreter="2.35", packages={}), NODE) == (
        "environment train: cannot run here: interpreter cpython-3.11.2-linux-x86_64-gnu needs glibc 2.35; "
        "this host (node-b1) has 2.31"
    )
    many = {f"p{number}": Need("2.40", "x") for number in range(9)}
    assert "p3  (x) needs glibc 2.40 and 5 more; this host" in str(objection(but(packages=many), NODE))


def test_nothing_is_said_against_other_hosts() -> None:
    assert objection(NEEDS, DEV) is None
    assert objection(Needs(), NODE) is None  # Built by a release that did not look.
    assert objection(NEEDS, Platform("x86_64", "musl", "1.2.3")) is None
    assert objection(Needs("x86_64", "musl"), NODE) is None
    assert objection(but(packages={}), Platform("x86_64", "gnu", "2.12")) is None


def test_another_machine() -> None:
    other = Platform("aarch64", "gnu", "2.36")
    said = "environment train: cannot run here: it is for x86_64, this host (node-b1) is aarch64"
    assert objection(NEEDS, other) == said
    assert "a share and a builder of their own" in platform_needs.advice(NEEDS, other, "nas_b", None)


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        (None, 'Declare glibc: "2.31" for share nas_b in uvnas_shares and run site.yml'),
        ("2.35", 'Share nas_b is declared for glibc 2.35 and newer. Declare glibc: "2.31" for share nas_b'),
        ("2.31", "Share nas_b is declared for glibc 2.31: run site.yml to lock and build it for that."),
        ("2.28", "Share nas_b is declared for glibc 2.28: run site.yml to lock and build it for that."),
    ],
)
def test_advice(floor: str | None, said: str) -> None:
    assert platform_needs.advice(NEEDS, NODE, "nas_b", floor).startswith(said)
    python_too = platform_needs.advice(but(interpreter="2.34"), NODE, "nas_b", floor)
    assert "An interpreter in uvnas_site_pythons" in python_too.splitlines()[0]
    assert python_too.splitlines()[1].startswith(said)


def test_a_build_that_needs_more_than_its_shares_have() -> None:
    key_of = "cpython-3.11.2-linux-x86_64-gnu"
    platform_needs.check_floor("train", NEEDS, key_of, VERSIONS, "2.36")
    with pytest.raises(UvnasError) as caught:
        platform_needs.check_floor("train", but(interpreter="2.35"), key_of, VERSIONS, "2.34")
    assert str(caught.value) == (
        f"environment train: interpreter {key_of} needs glibc 2.35, psutil 7.2.2 (linux_x86_64) needs glibc 2.36, "
        "but it is for hosts with 2.34"
    )
    assert "Constrain psutil to a version with a wheel" in caught.value.hint
