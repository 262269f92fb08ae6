# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolving with the real uv, from a directory of small wheels."""

from __future__ import annotations

import os
import platform
import re
import sys
import typing as t
from pathlib import Path

import pytest
import uv as uv_package
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as locks
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.resolve import (
    Request,
    for_platform,
    resolve,
    without_marker,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import Condition, EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index, Uv
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel

DIGEST = "5" * 64
PYTHON = ".".join(platform.python_version_tuple()[:2])


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """alpha 1.0, 2.0 and 3.0, each needing beta; beta 1.0 and 2.0; gamma; pip."""
    directory = tmp_path / "links"
    for version in ("1.0", "2.0", "3.0"):
        write_small_wheel(directory, "alpha", version, ["beta", "gamma ; sys_platform == 'win32'"])
    for version in ("1.0", "2.0"):
        write_small_wheel(directory, "beta", version)
    write_small_wheel(directory, "gamma", "1.0")
    write_small_wheel(directory, "pip", "25.0")
    return directory


@pytest.fixture
def uv(tmp_path: Path, links: Path) -> Uv:
    layout = Layout(str(tmp_path / "share"))
    os.makedirs(layout.bin_dir)
    os.symlink(uv_package.find_uv_bin(), layout.uv)
    return Uv(layout, SystemRunner(), Index(find_links=(str(links),), offline=True))


def request(
    sources: Sources, *, upgrade: bool = False, upgrade_packages: tuple[str, ...] = (), **fields: t.Any
) -> Request:
    if not sources.project and sources.lock is None:
        fields.setdefault("requirements", ("alpha",))
    return Request(EnvironmentSpec("analysis", python=PYTHON, **fields), DIGEST, sources, upgrade, upgrade_packages)


def wants(*lines: str, **more: t.Any) -> Sources:
    return Sources(requirements=(("requirements.in", "".join(f"{line}\n" for line in lines)),), **more)


def versions(text: str) -> dict[str, str]:
    return locks.parse(text, what="it").versions


def resolved(uv: Uv, what: Request, prior: str | None = None) -> dict[str, str]:
    text, warnings = resolve(uv, what, sys.executable, prior)
    assert warnings == []
    return versions(text)


def test_the_newest_of_all_that_is_wanted_and_needed(uv: Uv) -> None:
    text, warnings = resolve(uv, request(wants("alpha")), sys.executable, None)
    assert warnings == []
    assert versions(text) == {"alpha": "3.0", "beta": "2.0"}
    header = {"format": 1, "environment": "analysis", "python": PYTHON, "spec": DIGEST, "packages": 2}
    assert locks.read_header(text) == header
    assert all(package.hashes for package in locks.parse(text, what="it").packages)
    assert str(uv.layout.root) not in text
    assert "# via alpha" in text


def test_resolving_again_gives_the_same_text(uv: Uv) -> None:
    first, _warnings = resolve(uv, request(wants("alpha")), sys.executable, None)
    assert resolve(uv, request(wants("alpha")), sys.executable, first)[0] == first


def test_versions_so_far_are_kept(uv: Uv) -> None:
    prior, _warnings = resolve(uv, request(wants("alpha==1.0", "beta==1.0")), sys.executable, None)
    assert resolved(uv, request(wants("alpha")), prior) == {"alpha": "1.0", "beta": "1.0"}
    assert resolved(uv, request(wants("alpha>=2")), prior) == {"alpha": "3.0", "beta": "1.0"}


def test_for_an_older_glibc(uv: Uv, links: Path) -> None:
    """The newest version of one package is for newer Pythons only; of another, one of the two files of its version."""
    for name, version, tag in (
        ("delta", "1.0", "manylinux2014"),
        ("delta", "2.0", "manylinux_2_28"),
        ("epsilon", "1.0", "manylinux2014"),
        ("epsilon", "1.0", "manylinux_2_28"),
    ):
        write_small_wheel(links, name, version, tag=f"py3-none-{tag}_{platform.machine()}")
    prior, _warnings = resolve(uv, request(wants("delta", "epsilon")), sys.executable, None)
    assert versions(prior) == {"delta": "2.0", "epsilon": "1.0"}
    older, _warnings = resolve(uv, request(wants("delta", "epsilon"), glibc="2.17"), sys.executable, prior)
    assert versions(older) == {"delta": "1.0", "epsilon": "1.0"}
    assert locks.read_header(older)["glibc"] == "2.17"
    # uv hashes what it chose, where no index tells it the hashes of all files.
    assert hashes(older, "epsilon").isdisjoint(hashes(prior, "epsilon"))
    again, _warnings = resolve(uv, request(wants("delta", "epsilon"), glibc="2.17"), sys.executable, older)
    assert again == older


def hashes(text: str, name: str) -> set[str]:
    return {value for p in locks.parse(text, what="it").packages if p.name == name for value in p.hashes}


def test_hashes_so_far_are_kept_for_the_same_platform(uv: Uv) -> None:
    """A file that has suddenly changed is not trusted."""
    prior, _warnings = resolve(uv, request(wants("alpha")), sys.executable, None)
    changed = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "3" * 64, prior)
    assert resolve(uv, request(wants("alpha")), sys.executable, changed)[0] == changed


def test_upgrades(uv: Uv) -> None:
    prior, _warnings = resolve(uv, request(wants("alpha==1.0", "beta==1.0")), sys.executable, None)
    assert resolved(uv, request(wants("alpha"), upgrade=True), prior) == {"alpha": "3.0", "beta": "2.0"}
    one = request(wants("alpha"), upgrade_packages=("beta",))
    assert resolved(uv, one, prior) == {"alpha": "1.0", "beta": "2.0"}


def test_constraints_and_overrides(uv: Uv) -> None:
    sources = wants(
        "alpha", constraints=(("constraints.in", "alpha<3\n"),), overrides=(("overrides.in", "beta==1.0\n"),)
    )
    assert resolved(uv, request(sources)) == {"alpha": "2.0", "beta": "1.0"}


def test_files_of_the_same_name(uv: Uv) -> None:
    files = (("a/requirements.txt", "alpha\n"), ("b/requirements.txt", "gamma\n"))
    assert set(resolved(uv, request(Sources(requirements=files)))) == {"alpha", "beta", "gamma"}


def test_pip_is_a_package_like_any_other(uv: Uv) -> None:
    assert resolved(uv, request(wants("beta"), seed=True)) == {"beta": "2.0", "pip": "25.0"}


def test_nothing_is_a_lock_of_nothing(uv: Uv) -> None:
    assert resolved(uv, request(wants("# nothing yet"))) == {}


def test_what_cannot_be_resolved_is_explained(uv: Uv) -> None:
    with pytest.raises(CommandError, match="environment analysis: its requirements cannot be resolved") as caught:
        resolve(uv, request(wants("alpha==9.0")), sys.executable, None)
    assert "alpha==9.0" in caught.value.stderr


def test_markers_of_a_ready_lock_are_decided(uv: Uv) -> None:
    text = "".join(
        f"{line} \\\n    --hash=sha256:{'2' * 64}\n"
        for line in (
            "alpha==1.0",
            "beta==1.0 ; sys_platform == 'linux'",
            "gamma==1.0 ; sys_platform == 'win32'",
            "delta==1.0 ; python_version < '3.0'",
        )
    )
    found, _warnings = resolve(uv, request(Sources(lock=text), lock="analysis.txt"), sys.executable, None)
    assert versions(found) == {"alpha": "1.0", "beta": "1.0"}
    assert not any(package.marker for package in locks.parse(found, what="it").packages)


def test_a_ready_lock_that_is_not_one(uv: Uv) -> None:
    with pytest.raises(UvnasError, match="environment analysis: its lock is not a lock"):
        resolve(uv, request(Sources(lock="alpha>=1\n"), lock="analysis.txt"), sys.executable, None)


# What is made of the text of a lock

# uv pip compile --universal --generate-hashes --no-emit-index-url --no-strip-extras, less some hashes.
COMPILED = (Path(__file__).parent / "golden" / "lock_compiled.txt").read_text()


def parse(text: str) -> locks.Lock:
    return locks.parse(text, what="analysis.txt")


def by_name(text: str) -> dict[str, locks.Package]:
    return {package.name: package for package in parse(text).packages}


def test_packages_that_apply_lose_their_markers() -> None:
    colorama = by_name(COMPILED)["colorama"]
    kept = [without_marker(package) for package in parse(COMPILED).packages if package.name in ("colorama", "idna")]
    text = locks.render(kept, environment="analysis", spec_digest="abc", python="3.12")
    assert colorama.marker
    assert "win32" not in text
    assert parse(text).packages == tuple(kept)
    assert by_name(text)["colorama"].hashes == colorama.hashes
    assert by_name(text)["idna"] == by_name(COMPILED)["idna"]


HASH = f" --hash=sha256:{'2' * 64}\n"


def ready(uv: Uv, text: str, *conditions: Condition) -> dict[str, str]:
    return resolved(uv, request(Sources(lock=text, conditions=conditions), lock="analysis.txt"))


def test_of_several_versions_only_the_one_that_applies(uv: Uv) -> None:
    text = f"alpha==1.0 ; python_version < '3.9'{HASH}alpha==2.0 ; python_version >= '3.9'{HASH}"
    assert ready(uv, text) == {"alpha": "2.0"}
    with pytest.raises(UvnasError, match=r"two versions of alpha for its Python on this platform: 1.0 and 2.0"):
        ready(uv, text.replace("< '3.9'", "< '4'"))


def test_nothing_becomes_empty_in_silence(uv: Uv) -> None:
    assert ready(uv, "") == {}
    with pytest.raises(UvnasError, match="none of the 2 packages of its lock is meant for its Python on this platform"):
        ready(uv, f"alpha==1.0 ; sys_platform == 'win32'{HASH}beta==1.0 ; python_version < '3'{HASH}")
    with pytest.raises(UvnasError, match="\"'gpu' in extras\" depends on more than the interpreter"):
        ready(uv, f"alpha==1.0 ; 'gpu' in extras{HASH}")
    text, warnings = resolve(uv, request(wants("alpha ; sys_platform == 'win32'")), sys.executable, None)
    assert versions(text) == {}
    assert warnings == [
        "environment analysis: none of its requirements is meant for its Python on this platform: it is empty"
    ]


def test_what_an_interpreter_has_to_fulfil(uv: Uv) -> None:
    linux, old, windows = "sys_platform == 'linux'", "python_version < '3'", "sys_platform == 'win32'"
    text = f"alpha==1.0{HASH}"
    assert ready(uv, text, Condition("x", "", linux), Condition("y", windows, old)) == {"alpha": "1.0"}
    with pytest.raises(UvnasError, match="environment analysis: its Python does not fit: y; z$"):
        ready(uv, text, Condition("x", "", linux), Condition("y", linux, old), Condition("z", "", windows))


def test_a_lock_for_another_platform_has_other_hashes() -> None:
    packages = locks.parse(COMPILED, what="it").packages
    given = locks.render(packages, environment="analysis", spec_digest="5" * 64, python="3.12", glibc="2.31")
    assert for_platform(given, python="3.12", glibc="2.31") == given
    for other in (
        for_platform(given, python="3.13", glibc="2.31"),
        for_platform(given, python="3.12", glibc=None),
    ):
        assert "--hash" not in other
        assert "\\" not in other
        assert other.count("==") == given.count("==")
        assert [line for line in other.splitlines() if "#" in line] == [
            line for line in given.splitlines() if "#" in line
        ]
