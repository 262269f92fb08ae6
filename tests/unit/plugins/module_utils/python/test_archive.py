# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of site-supplied interpreters: what is in them, before they are unpacked."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import Platform
from ansible_collections.uvnas.cluster.plugins.module_utils.python import archive as archives
from ansible_collections.uvnas.cluster.plugins.module_utils.python.version import Version
from ansible_collections.uvnas.cluster.tests.support.pythons import (
    LIBC,
    MACHINE,
    imitation,
    link,
    write_tar,
)

SHA = "0a" * 32
HERE = Platform(MACHINE, LIBC)
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}[MACHINE]


def inspect(path: Path, version: str = "3.12.4", platform: Platform = HERE) -> archives.Contents:
    with path.open("rb") as stream:
        return archives.inspect(stream, Version.parse(version), platform, "ours: it")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "python.tar.gz"


def test_the_name_of_an_archive_has_no_letter_that_uv_stumbles_over() -> None:
    name = archives.archive_name("cpython-3.13.1+freethreaded-linux-x86_64-gnu", SHA)
    assert name == "cpython-3.13.1-freethreaded-linux-x86_64-gnu-0a0a0a0a0.tar.gz"


@pytest.mark.parametrize("version", ["3.12.4", "3.13.1t"])
def test_an_archive_that_will_do(archive: Path, version: str) -> None:
    files = imitation(version)
    write_tar(archive, files, [link("python/bin/python", f"python{Version.parse(version).minor}")])
    contents = inspect(archive, version)
    assert (contents.files, contents.bytes) == (len(files) + 1, sum(map(len, files.values())))


def test_other_layouts_that_uv_takes(archive: Path) -> None:
    renamed = {name.replace("python/", "cpython-3.12.4/", 1): content for name, content in imitation().items()}
    write_tar(archive, renamed)
    assert inspect(archive)
    full = {name.replace("python/", "python/install/", 1): content for name, content in imitation().items()}
    write_tar(archive, {**full, "python/PYTHON.json": b"{}"})
    assert inspect(archive)
    real = imitation()
    real["python/bin/python3.12-real"] = real.pop("python/bin/python3.12")
    write_tar(archive, real, [link("python/bin/python3.12", "python3.12-real")])
    assert inspect(archive)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (link("python/lib/x", "/etc/passwd"), "absolute symlink: python/lib/x -> /etc/passwd"),
        (link("python/lib/x", "../../../etc"), "has a member that leads out of it: python/lib/x"),
        (link("python/x", "../../etc/passwd", tarfile.LNKTYPE), "has a member that leads out of it: python/x"),
        (link("python/x", "/etc/passwd", tarfile.LNKTYPE), "has a member that leads out of it: python/x"),
        (tarfile.TarInfo("python/../../x"), "has a member that leads out of it"),
        (tarfile.TarInfo("../x"), "has a member that leads out of it: ../x"),
        (tarfile.TarInfo("/etc/cron.d/x"), "has a member that leads out of it: /etc/cron.d/x"),
        (link("python/dev", "", tarfile.CHRTYPE), "a device or another special file: python/dev"),
        (link("python/fifo", "", tarfile.FIFOTYPE), "a device or another special file: python/fifo"),
    ],
)
def test_an_archive_that_would_reach_out(archive: Path, more: tarfile.TarInfo, said: str) -> None:
    write_tar(archive, imitation(), [more])
    with pytest.raises(UvnasError) as error:
        inspect(archive)
    assert said in str(error.value)


@pytest.mark.parametrize("missing", sorted(imitation())[:1] + sorted(imitation())[2:])
def test_an_archive_that_is_no_interpreter(archive: Path, missing: str) -> None:
    write_tar(archive, {name: content for name, content in imitation().items() if name != missing})
    with pytest.raises(UvnasError, match="ours: it is not laid out as an interpreter 3.12") as error:
        inspect(archive)
    assert "bin/python3.12 and lib/python3.12" in error.value.hint


def test_two_directories_at_the_top(archive: Path) -> None:
    write_tar(archive, {**imitation(), "other/file": b""})
    with pytest.raises(UvnasError, match="is not laid out as an interpreter"):
        inspect(archive)


def test_links_in_a_circle(archive: Path) -> None:
    files = imitation()
    del files["python/bin/python3.12"]
    write_tar(archive, files, [link("python/bin/python3.12", "python3"), link("python/bin/python3", "python3.12")])
    with pytest.raises(UvnasError, match="circular link"):
        inspect(archive)


@pytest.mark.parametrize(
    ("machine", "libc"),
    [(OTHER, LIBC), (MACHINE, "musl")],
)
def test_an_archive_for_another_machine(archive: Path, machine: str, libc: str) -> None:
    write_tar(archive, imitation(machine=machine, libc=libc))
    with pytest.raises(UvnasError, match=f"ours: it is for {machine}-{libc}; this builder is {MACHINE}-{LIBC}"):
        inspect(archive)


def test_an_archive_of_another_version(archive: Path) -> None:
    write_tar(archive, imitation("3.12.7"))
    with pytest.raises(UvnasError, match="ours: it is Python 3.12.7, but declared as 3.12.4"):
        inspect(archive)


def test_an_archive_without_headers_says_its_version_later(archive: Path) -> None:
    files = {name: content for name, content in imitation("3.12.7").items() if "include" not in name}
    write_tar(archive, files)
    assert inspect(archive)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\0damaged"])
def test_what_is_no_archive(archive: Path, content: bytes) -> None:
    archive.write_bytes(content)
    with pytest.raises(UvnasError, match="cannot read ours: it"):
        inspect(archive)


def test_a_truncated_archive(archive: Path) -> None:
    write_tar(archive, {**imitation(), "python/big": bytes(range(256)) * 400})
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(UvnasError, match="cannot read ours: it"):
        inspect(archive)


def test_another_format(archive: Path) -> None:
    write_tar(archive, imitation(), mode="w:xz")
    with pytest.raises(UvnasError, match="cannot read ours: it") as error:
        inspect(archive)
    assert ".tar.gz" in error.value.hint
