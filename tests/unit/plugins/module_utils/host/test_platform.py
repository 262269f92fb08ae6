# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines and C libraries by all their names, and versions of glibc."""

from __future__ import annotations

import os
import platform as python_platform
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import platform
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import Platform
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed, SystemRunner


def test_versions_are_compared_as_numbers() -> None:
    assert platform.is_older("2.9", "2.17")
    assert not platform.is_older("2.31", "2.31")
    assert platform.glibc_version("2.31") == platform.glibc_version("2.31.9000") == (2, 31)


def test_this_platform() -> None:
    found = platform.here(SystemRunner())
    assert found.arch == os.uname().machine
    libc, version = python_platform.libc_ver()
    assert (found.libc, found.libc_version) == ("gnu", version) if libc == "glibc" else found.libc == "musl"


def test_this_machine_has_a_name() -> None:
    here = platform.here()
    assert Platform.parse(here.name) == Platform(here.arch, here.libc)
    assert os.path.exists("/lib64/ld-linux-x86-64.so.2") <= (here.name == "x86_64-gnu")
    assert here.is_known


@pytest.mark.parametrize(
    ("machine", "arch"),
    [("x86_64", "x86_64"), ("amd64", "x86_64"), ("aarch64", "aarch64"), ("ARM64", "aarch64"), ("riscv64", "riscv64")],
)
def test_machines_by_the_kernels_names(machine: str, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uname = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result([*list(uname)[:4], machine]))
    assert platform.here().arch == arch


class Loader:
    """A musl loader, run without arguments."""

    def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
        assert (list(cmd), more) == (["/lib/ld-musl-x86_64.so.1"], {"variables": {}})
        return Completed(1, "", "musl libc (x86_64)\nVersion 1.2.5\nDynamic Program Loader\n")


@pytest.mark.parametrize("loaders", [["/lib/ld-musl-x86_64.so.1"], []])
@pytest.mark.parametrize("answer", ["", None, ValueError("unrecognized configuration name"), OSError(22, "Invalid")])
def test_a_host_without_glibc(
    answer: str | Exception | None, loaders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def confstr(name: str) -> str | None:
        assert name == "CS_GNU_LIBC_VERSION"
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(os, "confstr", confstr)
    monkeypatch.setattr(platform.glob, "glob", lambda _pattern: loaders)
    found = platform.here(Loader())
    assert (found.libc, found.libc_version) == ("musl", "1.2.5" if loaders else "")
    assert platform.here().libc_version == ""


@pytest.mark.parametrize("name", ["x86_64-gnu", "aarch64-gnu", "x86_64-musl", "aarch64-musl"])
def test_known_platforms(name: str) -> None:
    found = Platform.parse(name)
    assert found.name == name
    assert found.is_known


@pytest.mark.parametrize("name", ["riscv64-gnu", "x86_64-uclibc", "-", ""])
def test_unknown_platforms(name: str) -> None:
    assert not Platform.parse(name).is_known


# What shares declare


@pytest.mark.parametrize("glibc", ["2.17", "2.28", "2.31", "2.99"])
def test_versions_of_glibc(glibc: str) -> None:
    assert platform.check_glibc("b", glibc) == glibc


@pytest.mark.parametrize("glibc", [2.31, 2, None, "", "31", "2", "2.9", "2.031", "2.31.1", "3.17", "2.31\n", " 2.31"])
def test_what_is_no_version_of_glibc(glibc: t.Any) -> None:
    with pytest.raises(SpecError, match=r"share b: glibc must be .*(version|quote it)") as caught:
        platform.check_glibc("b", glibc)
    assert "ldd --version" in caught.value.hint


@pytest.mark.parametrize("glibc", ["2.10", "2.16"])
def test_what_nothing_can_be_built_for(glibc: str) -> None:
    with pytest.raises(SpecError, match=f"share b: glibc {glibc} is too old; 2.17 or newer is required"):
        platform.check_glibc("b", glibc)


# What wheels say


@pytest.mark.parametrize(
    ("tag", "glibc"),
    [
        ("any", (2, 17)),
        ("manylinux_2_28_x86_64", (2, 28)),
        ("manylinux_2_5_x86_64", (2, 5)),
        ("manylinux1_x86_64", (2, 5)),
        ("manylinux2010_x86_64", (2, 12)),
        ("manylinux2014_aarch64", (2, 17)),
        ("musllinux_1_2_x86_64", None),
        ("linux_x86_64", None),
        ("win_amd64", None),
        ("", None),
    ],
)
def test_glibc_of_a_tag(tag: str, glibc: tuple[int, int] | None) -> None:
    assert platform.glibc_of_tag(tag) == glibc
