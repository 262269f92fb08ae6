# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv and pip call platforms, and that they do."""

from __future__ import annotations

import subprocess
import typing as t

import pytest
import uv
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import platform as platforms_of_hosts
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import Platform
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import target

DEV = Platform("x86_64", "gnu", "2.36")
NODE = Platform("x86_64", "gnu", "2.31")


@pytest.mark.parametrize(
    ("name", "archive", "platforms"),
    [
        (
            "x86_64-gnu",
            "uv-x86_64-unknown-linux-gnu.tar.gz",
            ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64"],
        ),
        (
            "aarch64-gnu",
            "uv-aarch64-unknown-linux-gnu.tar.gz",
            ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64"],
        ),
        ("x86_64-musl", "uv-x86_64-unknown-linux-musl.tar.gz", ["musllinux_1_1_x86_64", "musllinux_1_2_x86_64"]),
        ("aarch64-musl", "uv-aarch64-unknown-linux-musl.tar.gz", ["musllinux_1_1_aarch64", "musllinux_1_2_aarch64"]),
    ],
)
def test_names_for_a_platform(name: str, archive: str, platforms: list[str]) -> None:
    platform = Platform.parse(name)
    assert platform.name == name
    assert target.release_archive(platform) == archive
    assert target.wheel_platforms(platform) == platforms


@pytest.mark.parametrize("name", ["riscv64-gnu", "x86_64-uclibc", "-", ""])
def test_unknown_platforms(name: str) -> None:
    with pytest.raises(UvnasError, match="knows no uv release for") as raised:
        target.release_archive(Platform.parse(name))
    assert "uvnas_uv_source: archive" in raised.value.hint
    with pytest.raises(UvnasError, match="knows no uv release for"):
        target.wheel_platforms(Platform.parse(name))


def test_there_are_releases_for_this_host() -> None:
    here = platforms_of_hosts.here()
    assert target.release_archive(here) == target.release_archive(Platform.parse(here.name))
    assert target.wheel_platforms(here)


# What is declared.


@pytest.mark.parametrize(
    ("floor", "builder", "wanted"),
    [
        ("2.17", DEV, "x86_64-manylinux_2_17"),
        ("2.30", DEV, "x86_64-manylinux_2_28"),
        ("2.31", DEV, "x86_64-manylinux_2_31"),
        ("2.36", DEV, "x86_64-manylinux_2_36"),
        ("2.41", Platform("aarch64", "gnu", "2.43"), "aarch64-manylinux_2_40"),
    ],
)
def test_what_uv_is_told(floor: str, builder: Platform, wanted: str) -> None:
    assert target.python_platform("it", floor, builder) == wanted


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        (NODE, 'environment it: declared for glibc 2.35, but this builder itself has 2.31\n.* "2.31" or older'),
        (Platform("x86_64", "musl", "1.2.3"), "this builder is x86_64 with musl"),
        (Platform("ppc64le", "gnu", "2.40"), "this builder is ppc64le with gnu"),
    ],
)
def test_a_builder_that_cannot_build_for_it(builder: Platform, said: str) -> None:
    with pytest.raises(UvnasError) as caught:
        target.python_platform("it", "2.35", builder)
    caught.match(said.partition("\n")[0])
    assert not said.partition("\n")[2] or said.partition("\n")[2].replace(".* ", "") in caught.value.hint


def test_every_platform_is_one_of_uv() -> None:
    """The real uv says what it knows, in its error for one that it does not know."""
    cmd = [uv.find_uv_bin(), "pip", "compile", "--help"]
    known = subprocess.check_output(cmd, text=True)
    for minor in range(17, 50):
        name = target.python_platform("it", f"2.{minor}", Platform("x86_64", "gnu", "2.99"))
        assert name in known
        assert name.replace("x86_64", "aarch64") in known


class NoRunner:
    """Where no process is to be started."""

    def run(self, cmd: t.Sequence[str], **_more: t.Any) -> Completed:
        raise AssertionError(f"{cmd} was run")


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "here", lambda _runner: DEV)
    assert target.platform_arguments("it", "2.31", NoRunner()) == ["--python-platform", "x86_64-manylinux_2_31"]
    with pytest.raises(UvnasError, match="this builder itself has 2.36"):
        target.platform_arguments("it", "2.40", NoRunner())


def test_without_a_floor_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "here", None)
    assert target.platform_arguments("it", None, NoRunner()) == []
