# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pylock.toml as a lock, from what uv writes; and what is refused."""

from __future__ import annotations

import tomllib
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import Package
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import parse as parse_lock
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.pylock import from_pylock
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError

# uv export --format pylock.toml --no-emit-project
PYLOCK = tomllib.loads((Path(__file__).parent / "golden" / "pylock.toml").read_text())


def read(data: dict[str, t.Any], python: str = "3.12", **wanted: t.Any) -> dict[str, Package]:
    text, conditions = from_pylock(data, what="pylock.toml", python=python, **wanted)
    assert not conditions
    return {package.name: package for package in parse_lock(text, what="pylock.toml").packages}


def test_pylock() -> None:
    found = read({**PYLOCK, "packages": [*PYLOCK["packages"], package("alpha", marker="platform_machine == 'x'")]})
    # What is known of the environment is decided: it is not for Windows.
    assert {name: (one.version, one.marker) for name, one in found.items()} == {
        "alpha": ("1.0", "platform_machine == 'x'"),
        "iniconfig": ("2.1.0", ""),
    }
    # Of the wheel and of the source: which is installed is the host's affair.
    assert found["iniconfig"].hashes == (
        "sha256:3abbd2e30b36733fee78f9c7f7308f2d0050e88f0087fd25c2645f63c773e1c7",
        "sha256:9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760",
    )
    # It has no addresses of an index, so a mirror serves as well.
    assert "https://" not in from_pylock(PYLOCK, what="pylock.toml", python="3.12")[0]


def package(name: str = "a", **more: t.Any) -> dict[str, t.Any]:
    wheels = [{"url": "https://b.example/x.whl", "hashes": {"sha256": "0" * 64}}]
    return {
        "name": name,
        **({"version": "1.0", "wheels": wheels} if more.keys() <= {"marker", "requires-python"} else {}),
        **more,
    }


def pylock(*packages: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    keys = {key.replace("_", "-"): value for key, value in more.items()}
    return {"lock-version": "1.0", "packages": list(packages), **keys}


def test_an_archive() -> None:
    archive = {"url": "https://b.example/a.tar.gz", "hashes": {"sha256": "0" * 64}}
    [found] = read(pylock(package(archive=archive))).values()
    assert (found.name, found.version) == ("a", "@ https://b.example/a.tar.gz")
    # Where in it the project is.
    [found] = read(pylock(package(archive={**archive, "subdirectory": "python/a"}))).values()
    assert found.version == "@ https://b.example/a.tar.gz#subdirectory=python/a"


def test_a_version_that_only_a_wheel_says() -> None:
    wheel = {"url": "https://b.example/a-2.5-py3-none-any.whl", "hashes": {"sha256": "0" * 64}}
    assert read(pylock(package(wheels=[wheel])))["a"].version == "2.5"


# As pip and uv read it, with a marker over extras and groups for each package.
CHOICE = pylock(
    package("always"),
    package("gpu", marker="'gpu' in extras"),
    package("cpu", marker="'gpu' not in extras and sys_platform == 'linux'"),
    package("test", marker="'test' in dependency_groups or 'dev' in dependency_groups"),
    package("main", marker="'.main' in dependency_groups"),
    extras=["gpu"],
    dependency_groups=["test", "dev"],
    default_groups=[".main"],
)


def test_extras_and_groups() -> None:
    assert set(read(CHOICE)) == {"always", "cpu", "main"}
    assert set(read(CHOICE, extras=["GPU"])) == {"always", "gpu", "main"}
    # Groups that are named stand for the default ones, which may be named, too.
    assert set(read(CHOICE, groups=["dev"])) == {"always", "cpu", "test"}
    assert set(read(CHOICE, groups=["dev", ".main"])) == {"always", "cpu", "test", "main"}


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"extras": ["tpu"]}, "pylock.toml has no extra tpu; it has gpu$"),
        ({"groups": ["doc", "dev", "ci"]}, "has no group doc or ci; it has .main, dev, test$"),
    ],
)
def test_unknown_extras_and_groups(wanted: t.Any, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        read(CHOICE, **wanted)
    with pytest.raises(SpecError, match="it has no (extra|group)s$"):
        read(pylock(package()), **wanted)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (pylock(package(marker="'x' in extras"), package("b", marker="os_name == 'nt'")),
         r"none of its 2 packages is meant for Python 3.12 on Linux with extras \(none\) and groups \(none\)"),
        (pylock(package(), requires_python=">=3.13"), "is for Python >=3.13 .*, but the environment's"),
        (pylock(package(), requires_python="3"), "is for Python '3' .*, which is not a list of versions"),
        (pylock(package(), environments=["sys_platform == 'win32'", "python_version < '3.10'"]),
         "is for other environments .* than Python 3.12 on Linux"),
        (pylock(package(**{"requires-python": "<3.12"})), "package a is for Python <3.12 "),
        (pylock(package(), package(marker="os_name == 'posix'")), "package a would be installed more than once"),
        (pylock(package(version="1", vcs={}, wheels=[])), "package a comes from version control, which has no hash"),
        (pylock(package(archive={"url": "x", "hashes": {}}, sdist={})), "package a has several sources: archive"),
        (pylock(package(marker="x in extras")), "package a: 'x in extras' is not an environment marker"),
        (pylock(package(marker=1)), "package a: its marker is not a string"),
        (pylock(package(), extras="x"), "extras is not a list of strings"),
        (pylock(package(), requires_python=3), "requires-python is not a string"),
    ],
)  # fmt: skip
def test_what_it_is_not_for(data: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(UvnasError, match=problem):
        read(data)


def test_what_only_the_builder_knows() -> None:
    """Which release of 3.12, and which machine."""
    data = pylock(
        package(**{"requires-python": ">=3.12.2"}),
        package("b", **{"marker": "platform_machine == 'x86_64'", "requires-python": "<3.12"}),
        package("c", **{"marker": "sys_platform == 'win32'", "requires-python": "<3.12"}),
        requires_python=">=3.12.4,<4",
        environments=["platform_machine == 'x86_64' and sys_platform == 'linux'", "sys_platform == 'win32'"],
    )
    _text, conditions = from_pylock(data, what="pylock.toml", python="3.12")
    assert [(each.when, each.must) for each in conditions] == [
        ("", "python_full_version >= '3.12.4'"),
        ("", "platform_machine == 'x86_64'"),
        ("", "python_full_version >= '3.12.2'"),
        ("platform_machine == 'x86_64'", "python_version < '0'"),
    ]
    assert len(from_pylock(data, what="pylock.toml", python="3.12.7")[1]) == 2
    with pytest.raises(SpecError, match="but the environment's python is '3.12.3'"):
        from_pylock(data, what="pylock.toml", python="3.12.3")


def test_a_lock_of_nothing() -> None:
    assert read(pylock()) == {}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "is not a pylock.toml of version 1"),
        ({"lock-version": "2.0"}, "is not a pylock.toml of version 1"),
        (pylock(package(version="1", directory={"path": "."})), "package a comes from a directory, which has no hash"),
        (pylock(package(version="1", vcs={"type": "git"})), "package a comes from version control, which has no hash"),
        (pylock(package(version="1")), "package a has no version or no hash"),
        (pylock(package(wheels=[{"hashes": {"sha256": "00"}}])), "package a has no version or no hash"),
        (pylock(package(archive={"path": "a.whl", "hashes": {"sha256": "00"}})), "package a is a local file"),
        (pylock(package(archive={"url": "file:///a.whl", "hashes": {"sha256": "00"}})), "package a is a local file"),
        (
            pylock(package(version="1", wheels=[{"url": "https://b.example/a.whl"}])),
            "package a has no version or no hash",
        ),
    ],
)
def test_pylock_refused(data: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(UvnasError, match=problem):
        read(data)


def test_a_project_in_it_is_left_out_by_who_exports_it() -> None:
    with pytest.raises(UvnasError) as caught:
        read(pylock(package(directory={"path": ".", "editable": True})))
    assert "uv export --format pylock.toml --no-emit-local" in caught.value.explain()
