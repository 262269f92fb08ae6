# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of uv that are exact, archives that are read, and what is in them."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import release
from ansible_collections.uvnas.cluster.tests.support.uv_archives import write_release, write_tar, write_wheel


@pytest.mark.parametrize("version", ["0.13.9", "0.8.2", "0.8.22", "1.0.0", "10.20.30"])
def test_exact_versions(version: str) -> None:
    release.check_version(version)


@pytest.mark.parametrize(
    "version",
    [
        "",
        "0.13",
        "0.13.x",
        "latest",
        ">=0.13",
        "0.13.9 ",
        "0.13.9\n",
        "v0.13.9",
        "0.13.9rc1",
        "00.1.2",
        "../..",
        "٠.١.٢",
    ],
)
def test_versions_that_are_not_exact(version: str) -> None:
    with pytest.raises(SpecError, match="is not an exact version of uv"):
        release.check_version(version)


@pytest.mark.parametrize(
    ("write", "name"), [(write_wheel, "uv.whl"), (write_release, "uv-x86_64-unknown-linux-gnu.tar.gz")]
)
def test_the_programs_are_taken_out_and_nothing_else(tmp_path: Path, write, name: str) -> None:
    write(tmp_path / name, "1.2.3")
    out = tmp_path / "out"
    out.mkdir()
    umask = os.umask(0o077)
    try:
        with open(tmp_path / name, "rb") as stream:
            stream.read()  # Wherever somebody left it.
            release.extract(stream, str(out))
    finally:
        os.umask(umask)
    assert sorted(path.name for path in out.iterdir()) == ["uv", "uvx"]
    for path in out.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
        assert b"uv 1.2.3" in path.read_bytes()


def test_names_in_an_archive_are_no_paths(tmp_path: Path) -> None:
    write_tar(tmp_path / "uv.tar.gz", {"../../uv": b"uv", "/etc/uvx": b"uvx"})
    out = tmp_path / "some" / "where"
    out.mkdir(parents=True)
    with open(tmp_path / "uv.tar.gz", "rb") as stream:
        release.extract(stream, str(out))
    assert (out / "uv").read_bytes() == b"uv"
    assert (out / "uvx").read_bytes() == b"uvx"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some", "uv.tar.gz"]


def test_links_in_an_archive_are_not_programs(tmp_path: Path) -> None:
    link = tarfile.TarInfo("top/uv")
    link.type = tarfile.SYMTYPE
    link.linkname = "/etc/passwd"
    write_tar(tmp_path / "uv.tar.gz", {"top/uvx": b"uvx"}, [link])
    with (
        open(tmp_path / "uv.tar.gz", "rb") as stream,
        pytest.raises(UvnasError, match="has 0 files called uv instead of one"),
    ):
        release.extract(stream, str(tmp_path))


@pytest.mark.parametrize(
    "files", [{}, {"a/uv": b"", "b/uv": b"", "a/uvx": b""}, {"a/uv": b""}, {"uv.exe": b"", "uvx.exe": b""}]
)
def test_archives_without_one_of_each_program(tmp_path: Path, files: dict[str, bytes]) -> None:
    write_tar(tmp_path / "uv.tar.gz", files)
    with zipfile.ZipFile(tmp_path / "uv.whl", "w") as wheel:
        wheel.writestr("uv/__init__.py", b"")
        for name, content in files.items():
            wheel.writestr(name, content)
    for number, name in enumerate(["uv.tar.gz", "uv.whl"]):
        out = tmp_path / str(number)
        out.mkdir()
        with (
            open(tmp_path / name, "rb") as stream,
            pytest.raises(UvnasError, match=r"the archive has \d files called uvx? instead of one"),
        ):
            release.extract(stream, str(out))


def test_damaged_archives(tmp_path: Path) -> None:
    write_wheel(tmp_path / "uv.whl", "1.2.3", os.urandom(100_000))
    write_release(tmp_path / "uv.tar.gz", "1.2.3", os.urandom(100_000))
    contents = {
        "empty": b"",
        "text": b"<html>Log in</html>",
        "short wheel": (tmp_path / "uv.whl").read_bytes()[:50_000],
        "short tar": (tmp_path / "uv.tar.gz").read_bytes()[:50_000],
        "edited wheel": (tmp_path / "uv.whl").read_bytes().replace(b"PK\x03\x04", b"PK\x03\x05"),
    }
    for what, content in contents.items():
        out = tmp_path / what.replace(" ", "-")
        out.mkdir()
        with pytest.raises(UvnasError, match="cannot read the archive of uv"):
            release.extract(io.BytesIO(content), str(out))


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("uv 0.13.9 (x86_64-unknown-linux-gnu)\n", "0.13.9"),
        ("uv 0.8.2\n", "0.8.2"),
        ("uv 0.8.22 (ade2bdbd2 2025-09-23)\n", "0.8.22"),
        ("", ""),
        ("uv", ""),
        ("uvx 0.8.2", ""),
    ],
)
def test_the_version_that_uv_reports(output: str, version: str) -> None:
    assert release.reported_version(output) == version
