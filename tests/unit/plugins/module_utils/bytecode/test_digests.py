# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources are known again by inode, mtime and size, and read again if there is any doubt."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode import digests as remembering
from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode.digests import (
    Digests,
    Known,
    digest_of,
    package_of,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout

TIME = 1_700_000_000_123_456_789


@pytest.fixture
def digests(tmp_path: Path) -> Digests:
    layout = Layout(str(tmp_path / "uv"))
    os.makedirs(layout.bytecode)
    return Digests(layout)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(path: Path, content: bytes, mtime_ns: int = TIME) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def reads(path: Path, known: Known) -> tuple[bool, str]:
    """Whether a file was read for its digest, and the digest."""
    fresh: Known = {}
    digest = digest_of(str(path), known, fresh)
    return bool(fresh), digest


def remembered(digests: Digests, path: Path) -> Known:
    fresh: Known = {}
    digest_of(str(path), {}, fresh)
    digests.remember("pack", fresh)
    return digests.known("pack")


def test_what_was_read_is_known_under_every_name(digests: Digests, tmp_path: Path) -> None:
    path = write(tmp_path / "mod.py", b"X = 1")
    known = remembered(digests, path)
    os.link(path, tmp_path / "link.py")
    for each in (path, tmp_path / "link.py"):
        assert reads(each, known) == (False, sha256(b"X = 1"))
    # No read at all, which RPCs on NFS depend on.
    path.chmod(0)
    assert reads(path, known) == (False, sha256(b"X = 1"))


@pytest.mark.parametrize(
    ("content", "mtime_ns"), [(b"X = 2", TIME + 1), (b"X = 2", TIME - 1), (b"X = 12", TIME), (b"", TIME)]
)
def test_another_time_or_size_is_read(digests: Digests, tmp_path: Path, content: bytes, mtime_ns: int) -> None:
    path = write(tmp_path / "mod.py", b"X = 1")
    known = remembered(digests, path)
    write(path, content, mtime_ns)
    assert reads(path, known) == (True, sha256(content))


def test_another_file_of_the_same_time_and_size_is_read(digests: Digests, tmp_path: Path) -> None:
    """For example of another release: wheels of one moment have the times of one moment."""
    known = remembered(digests, write(tmp_path / "mod.py", b"X = 1"))
    assert reads(write(tmp_path / "other.py", b"X = 2"), known) == (True, sha256(b"X = 2"))


def test_a_time_that_somebody_may_have_set_tells_nothing(digests: Digests, tmp_path: Path) -> None:
    """As archives have them, to the second, so that two releases may have the same."""
    whole = TIME // 10**9 * 10**9
    path = write(tmp_path / "mod.py", b"X = 1", whole)
    fresh: Known = {}
    assert digest_of(str(path), {}, fresh) == sha256(b"X = 1")
    assert fresh == {}
    status = path.stat()
    wrong: Known = {str(status.st_ino): (whole, status.st_size, sha256(b"wrong"))}
    assert digest_of(str(path), wrong, fresh) == sha256(b"X = 1")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", "null", '{"1": 1}', '{"1": [1, 2]}', '{"1": [1, 2, 3, 4]}', "\0" * 100, "é", '{"1": null}'],
)
def test_damaged_memory_is_no_memory(digests: Digests, text: str) -> None:
    digests.remember("pack", {"1": (1, 2, "3")})
    (path,) = Path(digests.directory).iterdir()
    path.write_text(text, encoding="utf-8")
    assert digests.known("pack") == {}
    digests.remember("pack", {"1": (1, 2, "3")})
    assert digests.known("pack") == {"1": (1, 2, "3")}


def test_what_was_restored_from_a_backup_is_no_memory(digests: Digests, tmp_path: Path) -> None:
    """Sources of one moment and size may have each other's inodes then."""
    remembered(digests, write(tmp_path / "mod.py", b"X = 1"))
    (memory,) = Path(digests.directory).iterdir()
    os.utime(memory, ns=(TIME, TIME))
    assert digests.known("pack") == {}


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "../" * 21 + "x", None, 1, ["0" * 64]])
def test_a_damaged_digest_is_read_again(digests: Digests, tmp_path: Path, digest: t.Any) -> None:
    path = write(tmp_path / "mod.py", b"X = 1")
    remembered(digests, path)
    (memory,) = Path(digests.directory).iterdir()
    data = json.loads(memory.read_text())
    memory.write_text(json.dumps({inode: [*found[:2], digest] for inode, found in data.items()}))
    assert reads(path, digests.known("pack")) == (True, sha256(b"X = 1"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_what_cannot_be_remembered_is_no_error(digests: Digests, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(*_arguments: t.Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "rename", fail)
    digests.remember("pack", {"1": (1, 2, "3")})
    assert digests.known("pack") == {}
    assert [name for name in os.listdir(digests.layout.bytecode) if name.endswith(".tmp")] == []


def test_the_newest_are_remembered(digests: Digests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "_MOST", 3)
    for number in range(5):
        digests.remember("pack", {str(number): (1, 2, "3")})
    assert list(digests.known("pack")) == ["2", "3", "4"]


def test_packages_have_files_of_their_own(digests: Digests) -> None:
    names = ["six.py", "pack/first.py", "pack/deep/mod.py", "../odd/x.py", "é/x.py", "x" * 250 + "/y.py"]
    assert [package_of(name) for name in names] == ["", "pack", "pack", "..", "é", "x" * 250]
    for package in map(package_of, names):
        digests.remember(package, {"1": (1, 2, package)})
    assert [digests.known(package_of(name))["1"][2] for name in names] == [package_of(name) for name in names]
    assert all(path.parent == Path(digests.directory) for path in Path(digests.directory).rglob("*"))


def test_packages_that_no_generation_has_are_forgotten(digests: Digests) -> None:
    (Path(digests.layout.generations) / "env" / "1" / "lib" / "python3.13" / "site-packages" / "used").mkdir(
        parents=True
    )
    for package in ("", "used", "unused"):
        digests.remember(package, {"1": (1, 2, "3")})
    digests.sweep()
    assert [bool(digests.known(package)) for package in ("", "used", "unused")] == [True, True, False]


def test_with_no_generation_nothing_is_remembered(digests: Digests) -> None:
    digests.sweep()
    digests.remember("", {"1": (1, 2, "3")})
    digests.sweep()
    assert not os.path.exists(digests.directory)
