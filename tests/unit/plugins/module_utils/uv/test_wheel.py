# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What wheels leave in an environment, or in uv's cache: their metadata."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import wheel


@pytest.mark.parametrize("name", ["Zope.New", "zope-new", "zope_new", "ZOPE-_.new"])
def test_names_have_one_normal_form(name: str) -> None:
    assert wheel.normalize(name) == "zope-new"


def test_what_is_installed(tmp_path: Path) -> None:
    for name in (
        "Zope.New-2.0.dist-info",
        "alpha-1.0.post1.dist-info",
        "beta_more-1!1.0+cpu.dist-info",
        "alpha",
        "x.pth",
    ):
        (tmp_path / name).mkdir()
    assert wheel.installed_packages(os.listdir(tmp_path)) == {
        "alpha": "1.0.post1",
        "beta-more": "1!1.0+cpu",
        "zope-new": "2.0",
    }
    found = wheel.metadata_directories(str(tmp_path))
    assert list(found) == ["alpha", "beta-more", "zope-new"]
    assert found["zope-new"] == str(tmp_path / "Zope.New-2.0.dist-info")


def test_records(tmp_path: Path) -> None:
    (tmp_path / "RECORD").write_bytes(
        b'alpha.py,sha256=abc,12\r\n"with, comma.so",,\n\nalone\nodd-\xff.py,sha256=d,1\nit-1.0.dist-info/RECORD,,\n'
    )
    assert wheel.read_record(str(tmp_path)) == [
        ("alpha.py", "sha256=abc"),
        ("with, comma.so", ""),
        ("alone", ""),
        ("odd-\ufffd.py", "sha256=d"),
        ("it-1.0.dist-info/RECORD", ""),
    ]
    with pytest.raises(UvnasError, match="RECORD is missing"):
        wheel.read_record(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("Tag: py3-none-any", ["any"]),
        ("Tag: cp312-cp312-manylinux_2_17_x86_64\nTag: cp312-cp312-any", ["manylinux_2_17_x86_64", "any"]),
        (
            "Tag: cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",
            ["manylinux_2_17_x86_64", "manylinux2014_x86_64"],
        ),
        ("Wheel-Version: 1.0\nRoot-Is-Purelib: true\n", []),
        ("", []),
    ],
)
def test_platform_tags(text: str, tags: list[str]) -> None:
    assert wheel.platform_tags(text) == tags


def test_the_file_wheel(tmp_path: Path) -> None:
    assert wheel.read_wheel(str(tmp_path)) is None
    (tmp_path / "WHEEL").write_bytes(b"Generator: \xff\nTag: py3-none-any\n")
    assert wheel.read_wheel(str(tmp_path)) == "Generator: \ufffd\nTag: py3-none-any\n"


@pytest.mark.parametrize("name", ["foo", "", "-", "-1.0", "foo-"])
def test_a_metadata_directory_without_name_or_version_is_none(name: str) -> None:
    """Its version would be what comes after some dash in the path."""
    assert wheel.installed_packages([f"{name}.dist-info", "alpha-2.1.dist-info"]) == {"alpha": "2.1"}
