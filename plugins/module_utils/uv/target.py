# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv's names for platforms: in its releases and wheels, in its keys of interpreters, and in its options."""

from __future__ import annotations

import typing as t

from ..errors import UvnasError
from ..host.platform import GNU, OLDEST_GLIBC, Platform, glibc_version, here, is_older
from ..host.process import Runner

# The platforms to ask pip for, best first. So far uv's wheels are for the oldest one; later ones may not be.
_WHEEL_PLATFORMS = {
    "gnu": ("manylinux_2_17", "manylinux2014", "manylinux_2_28"),
    "musl": ("musllinux_1_1", "musllinux_1_2"),
}
# What uv 0.13's --python-platform accepts, such as x86_64-manylinux_2_31.
_GLIBCS = (OLDEST_GLIBC, "2.28", *(f"2.{minor}" for minor in range(31, 41)))


def release_archive(platform: Platform) -> str:
    """The name of a release's archive for ``platform``. Raises UvnasError if there is none."""
    _check(platform)
    return f"uv-{platform.arch}-unknown-linux-{platform.libc}.tar.gz"


def wheel_platforms(platform: Platform) -> list[str]:
    """The platforms of wheels that run there, best first, as pip calls them. Raises UvnasError if there are none."""
    _check(platform)
    return [f"{name}_{platform.arch}" for name in _WHEEL_PLATFORMS[platform.libc]]


def _check(platform: Platform) -> None:
    if not platform.is_known:
        raise UvnasError(
            f"this collection knows no uv release for {platform.name}",
            hint="Supply an archive of uv for this machine (uvnas_uv_source: archive).",
        )


def python_platform(env: str, floor: str, builder: Platform) -> str:
    """uv's name for hosts with glibc ``floor`` or newer: the nearest one that it knows, and not above ``floor``.

    Raises UvnasError if ``builder`` cannot build environment ``env`` for it.
    """
    if builder.libc != GNU or not builder.is_known:
        raise UvnasError(
            f"environment {env}: declared for glibc {floor}, but this builder is {builder.arch} with {builder.libc}",
            hint="Leave out glibc in uvnas_shares, or build the share on a host that has glibc.",
        )
    if is_older(builder.libc_version, floor):
        raise UvnasError(
            f"environment {env}: declared for glibc {floor}, but this builder itself has {builder.libc_version}",
            hint=f'The glibc of a share is the oldest one among its hosts: "{builder.libc_version}" or older.',
        )
    known = max((each for each in _GLIBCS if not is_older(floor, each)), key=glibc_version)
    return f"{builder.arch}-manylinux_{known.replace('.', '_')}"


def platform_arguments(env: str, floor: t.Optional[str], runner: Runner) -> list[str]:
    """The arguments that make uv choose wheels for glibc ``floor``; none without a floor. Raises UvnasError."""
    return ["--python-platform", python_platform(env, floor, here(runner))] if floor else []
