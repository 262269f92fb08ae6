# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found where a share is to be. Other users and filesystems: tests/integration/test_uv_share.py."""

from __future__ import annotations

import dataclasses
import errno
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import acl
from ansible_collections.uvnas.cluster.plugins.module_utils.host.files import temporary_name
from ansible_collections.uvnas.cluster.plugins.module_utils.share.plan import Directory, Wanted, plan_directories
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.module_utils.share.state import (
    IDENTITY_MODE,
    check_empty,
    is_leftover,
    observe,
)
from ansible_collections.uvnas.cluster.tests.support.shares import SHARE_ID, make_share

SHARE = Share.parse({"name": "a", "root": "/srv"})


def test_a_killed_first_run_and_a_fresh_filesystem_leave_an_empty_directory() -> None:
    leftovers = [
        ".share.json.uvnas-0000000000001267.tmp",
        ".uvnas.mutex",
        ".uvnas-probe-0123456789abcdef",
        ".uvnas-probe.mutex",
    ]
    check_empty(SHARE, [*leftovers, "lost+found", ".snapshot", ".nfs000123"])
    with pytest.raises(UvnasError, match=r"/srv is neither a share nor empty \(it has a, b, c, …\)"):
        check_empty(SHARE, ["d", "c", "b", "a", *leftovers])
    with pytest.raises(UvnasError, match=r"it has \.hidden\)"):
        check_empty(SHARE, [".hidden"])
    assert "restore share.json" in str(hint_of("x"))


def hint_of(name: str) -> str:
    with pytest.raises(UvnasError) as caught:
        check_empty(SHARE, [name])
    return caught.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "lost+found",
        ".snapshot",
        ".snapshots",
        ".zfs",
        ".nfs000000000123abcd",
        ".uvnas.mutex",
        ".share.json.uvnas-0000000000001267.tmp",
        ".uvnas-probe.mutex",
        ".uvnas-probe-0123456789abcdef",
    ],
)
def test_what_is_no_content(name: str) -> None:
    assert is_leftover(name)


def test_an_identity_that_was_being_written_is_no_content() -> None:
    assert is_leftover(os.path.basename(temporary_name(SHARE.layout.identity)))


@pytest.mark.parametrize(
    "name",
    [
        "bin",
        "share.json",
        ".hidden",
        "snapshot",
        ".other.uvnas-0000000000000001.tmp",
        "x.uvnas.mutex",
        "nfs1",
        ".share.json",
        "",
    ],
)
def test_what_is_content(name: str) -> None:
    assert not is_leftover(name)


# On a filesystem


def wanted(root: Path) -> Wanted:
    uid, gid = os.geteuid(), os.getegid()
    return Wanted(Share.parse({"name": "nas_a", "root": str(root)}), "me", uid, "us", gid, (gid,))


def tree(directory: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in [directory, *directory.rglob("*")]}


def test_where_nothing_is_yet(tmp_path: Path) -> None:
    seen = observe(wanted(tmp_path / "uv"))
    assert set(seen.directories.values()) == {None}
    assert (seen.identity, seen.identity_is_off, seen.split) == (None, False, [])
    assert (seen.ground, seen.writable) == (str(tmp_path), True)
    assert seen.space.free_bytes > 0
    assert seen.filesystem
    assert list(tmp_path.iterdir()) == []


def test_an_empty_directory(tmp_path: Path) -> None:
    seen = observe(wanted(tmp_path))
    found = seen.directories.pop(str(tmp_path))
    assert found == Directory(os.geteuid(), tmp_path.stat().st_gid, 0o700, acl.NONE if seen.acl else None)
    assert set(seen.directories.values()) == {None}
    assert (seen.identity, seen.ground) == (None, str(tmp_path))


def test_a_share_is_seen_as_it_is(tmp_path: Path) -> None:
    root = make_share(tmp_path / "uv")
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else IDENTITY_MODE)
    (root / "cache").chmod(0o700)
    (root / "bytecode").chmod(0o700)
    (root / "user-cache").chmod(0o2775)
    before = tree(tmp_path)
    seen = observe(wanted(root))
    assert tree(tmp_path) == before
    assert seen.identity is not None
    assert (seen.identity.id, seen.identity_is_off) == (SHARE_ID, False)
    assert seen.directories[str(root / "user-cache")] == Directory(os.geteuid(), os.getegid(), 0o2775, acl.NONE)
    if seen.acl:
        os.setxattr(root / "user-cache", acl.DEFAULT_ACL, acl.default_acl(0o2775))
        seen = observe(wanted(root))
    one_cache = dataclasses.replace(wanted(root), user_cache="group")
    assert plan_directories(one_cache, seen.directories, has_acl=seen.acl) == []
    (root / "share.json").chmod(0o666)
    assert observe(wanted(root)).identity_is_off


@pytest.mark.parametrize("check", ["root", "part"])
def test_symlinks_are_no_directories_of_a_share(tmp_path: Path, check: str) -> None:
    root = make_share(tmp_path / "uv")
    if check == "root":
        (tmp_path / "link").symlink_to("uv")
        root = tmp_path / "link"
    else:
        (root / "envs").rmdir()
        (root / "envs").symlink_to(tmp_path)
    with pytest.raises(UvnasError, match="is a symlink; a share is made of directories"):
        observe(wanted(root))


def test_a_share_inside_another(tmp_path: Path) -> None:
    make_share(tmp_path / "outer", "nas_b")
    with pytest.raises(UvnasError, match=rf"is inside the share nas_b \({tmp_path}/outer\)"):
        observe(wanted(tmp_path / "outer" / "uv"))
    # A file of that name that somebody else made does not matter.
    (tmp_path / "outer" / "share.json").write_text("[]")
    assert observe(wanted(tmp_path / "outer" / "uv")).identity is None


def test_the_directory_above_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(UvnasError, match=f"{tmp_path}/nas, the parent directory of share nas_a, does not exist"):
        observe(wanted(tmp_path / "nas" / "uv"))


@pytest.mark.parametrize(("number", "read_only"), [(errno.EROFS, True), (errno.EACCES, False), (None, False)])
def test_an_export_that_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None, read_only: bool
) -> None:
    """The mount is not, and to ask for permission does not tell. Only who opens a file for writing hears why not."""
    root = make_share(tmp_path / "uv")
    identity = wanted(root).layout.identity
    really = os.open

    def answer(path: str, flags: int, *more: t.Any, **others: t.Any) -> int:
        if number is not None and path == identity and flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(number, os.strerror(number), path)
        return really(path, flags, *more, **others)

    before = os.stat(identity).st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", answer)
        patched.setattr(os, "access", lambda _path, _mode: False)
        seen = observe(wanted(root))
    assert (seen.exported_read_only, seen.writable, seen.space.read_only) == (read_only, False, False)
    assert os.stat(identity).st_mtime_ns == before
