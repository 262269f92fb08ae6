# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may write where, by owners, modes, ACLs, groups and symlinks, on real directories."""

from __future__ import annotations

import grp
import os
import pwd
import struct
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import acl, trust

ME = os.geteuid()
OTHER = 54321
as_root = pytest.mark.skipif(ME != 0, reason="gives things to others")
# Tags of linux/posix_acl_xattr.h.
USER, GROUP_OBJ, GROUP, MASK = 0x02, 0x04, 0x08, 0x10
NOBODY_SPECIAL = 0xFFFFFFFF


def an_acl(*named: tuple[int, int, int], mask: int = 7, group: int = 5) -> bytes:
    """u::rwx, g::``group``, m::``mask``, o::r-x, and ``named``: tag, number, permissions."""
    entries = [(0x01, 7, NOBODY_SPECIAL), (GROUP_OBJ, group, NOBODY_SPECIAL)]
    entries += [(tag, bits, number) for tag, number, bits in named]
    entries += [(MASK, mask, NOBODY_SPECIAL), (0x20, 5, NOBODY_SPECIAL)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in sorted(entries))


@pytest.fixture
def way(tmp_path: Path) -> Path:
    """A directory two below tmp_path."""
    path = tmp_path / "above" / "root"
    path.mkdir(parents=True)
    for directory in (path.parent, path):
        directory.chmod(0o755)
    return path


def said(path: Path, uid: int = ME, **more: t.Any) -> str:
    """What is wrong with the way to ``path``; nothing where nothing is."""
    if trust.is_safe(str(path), uid, **more):
        trust.check_way(str(path), uid, **more)
        return ""
    if not os.path.lexists(path) and not raised(path, uid, **more):
        return ""
    error = raised(path, uid, **more)
    assert error is not None
    assert str(error).startswith(f"{path} is not safe from others: ")
    assert error.hint
    return f"{str(error).partition(': ')[2]} # {error.hint}"


def raised(path: Path, uid: int, **more: t.Any) -> UvnasError | None:
    try:
        trust.check_way(str(path), uid, **more)
    except UvnasError as error:
        return error
    return None


# Modes


@pytest.mark.parametrize("which", ["above", "root"])
@pytest.mark.parametrize(("mode", "writes"), [(0o755, False), (0o700, False), (0o757, True), (0o777, True)])
def test_modes(way: Path, which: str, mode: int, writes: bool) -> None:
    directory = way if which == "root" else way.parent
    directory.chmod(mode)
    found = said(way)
    assert found.startswith(f"everybody may write to {directory} # ") is writes
    if writes:
        command = found.rpartition(": ")[2].split()
        assert os.spawnvp(os.P_WAIT, command[0], command) == 0
    assert said(way) == ""


def test_a_way_that_is_not_there_yet_is_looked_at_as_far_as_it_is(way: Path) -> None:
    assert said(way / "not" / "yet") == ""
    way.chmod(0o777)
    assert f"everybody may write to {way} " in said(way / "not" / "yet")
    (way / "file").touch()
    way.chmod(0o755)
    assert said(way / "file" / "below") == ""


def test_from_the_top_on(way: Path) -> None:
    way.parent.chmod(0o777)
    assert said(way, top=str(way)) == ""
    assert f"everybody may write to {way.parent} " in said(way, top=str(way.parent))
    assert said(way, top=str(way / "absent")) == ""


# Sticky directories


@as_root
def test_sticky_directories(way: Path) -> None:
    """In /tmp one can make anything, and take away nothing of others."""
    way.parent.chmod(0o1777)
    assert said(way) == ""
    assert said(way.parent / "absent") == ""
    os.chown(way, OTHER, OTHER)
    assert said(way).startswith(f"{way} belongs to {OTHER}, but should belong to root # ")
    assert said(way, OTHER) == ""
    os.chown(way, 0, 0)
    os.chown(way.parent, OTHER, OTHER)
    assert said(way).startswith(f"{way.parent} belongs to {OTHER}, but should belong to root # ")


def test_what_is_sticky_itself_is_open_to_others(way: Path) -> None:
    way.chmod(0o1777)
    assert f"everybody may write to {way} " in said(way)


# Owners


@as_root
@pytest.mark.parametrize("which", ["above", "root"])
def test_owners(way: Path, which: str) -> None:
    directory = way if which == "root" else way.parent
    os.chown(directory, OTHER, 0)
    found = said(way)
    assert found.startswith(f"{directory} belongs to {OTHER}, but should belong to root # ")
    assert ("chown -hR" in found) is (which == "root")
    assert said(way, OTHER) == ""
    assert f"should belong to {OTHER + 1} or root # " in said(way, OTHER + 1)
    with pytest.raises(UvnasError, match=f"^{directory} belongs to {OTHER}, but should belong to root$"):
        trust.check_owner(str(directory), 0)
    trust.check_owner(str(directory), OTHER)


# Groups


def test_the_group_of_one_user_is_no_other(way: Path) -> None:
    user = pwd.getpwuid(ME)
    if grp.getgrgid(user.pw_gid).gr_name != user.pw_name:
        pytest.skip("this user has no group of its own")
    os.chown(way.parent, -1, user.pw_gid)
    way.parent.chmod(0o2775)
    assert said(way) == ""


@as_root
@pytest.mark.parametrize("gid", [OTHER, grp.getgrnam("users").gr_gid])
def test_other_groups_are_others(way: Path, gid: int) -> None:
    """Also those that nobody seems to be in: whose primary group one is cannot be known."""
    os.chown(way.parent, 0, gid)
    way.parent.chmod(0o775)
    name = "users" if gid != OTHER else str(OTHER)
    assert said(way).startswith(f"the group {name} may write to {way.parent} # ")
    assert said(way).endswith(f"chmod go-w {way.parent}")


@as_root
@pytest.mark.parametrize("how", ["member", "primary group", "another name"])
def test_a_group_of_one_user_that_has_another_one_is_others(
    way: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    user = pwd.struct_passwd(("ada", "x", OTHER, OTHER, "", "/", "/bin/sh"))
    name, members = ("adas" if how == "another name" else "ada"), (["ada", "bob"] if how == "member" else ["ada"])
    group = grp.struct_group((name, "x", OTHER, members))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: user)
    monkeypatch.setattr(grp, "getgrgid", lambda _gid: group)
    has_it = ["ada", "bob"] if how == "primary group" else ["ada"]
    monkeypatch.setattr(trust, "_local_users_of", lambda _gid: has_it)
    os.chown(way, OTHER, OTHER)
    way.chmod(0o775)
    assert f"the group {name} may write to {way} " in said(way, OTHER)


@as_root
def test_who_has_a_primary_group(way: Path) -> None:
    for entry in pwd.getpwall():
        assert entry.pw_name in set(trust._local_users_of(entry.pw_gid))
    assert list(trust._local_users_of(OTHER)) == []


# ACLs


@as_root
@pytest.mark.parametrize(
    ("entries", "mask", "who"),
    [
        ([(USER, OTHER, 7)], 7, f"the user {OTHER}, by an ACL,"),
        ([(GROUP, OTHER, 7)], 7, f"the group {OTHER}"),
        ([(USER, OTHER, 5), (GROUP, OTHER, 7)], 7, f"the group {OTHER}"),
        ([(USER, OTHER, 7), (GROUP, OTHER, 7)], 5, ""),
        ([(USER, OTHER, 5), (GROUP, OTHER, 5)], 7, ""),
        ([(USER, 0, 7)], 7, ""),
    ],
)
def test_acls(way: Path, entries: list[tuple[int, int, int]], mask: int, who: str) -> None:
    for directory in (way, way.parent):
        os.setxattr(directory, acl.ACCESS_ACL, an_acl(*entries, mask=mask))
        found = said(way)
        assert found.startswith(f"{who} may write to {directory} # ") is bool(who)
        if who:
            command = found.rpartition(": ")[2].split()
            assert os.spawnvp(os.P_WAIT, command[0], command) == 0
        assert said(way) == ""


@as_root
def test_the_owning_group_of_an_acl(way: Path) -> None:
    """The bits for the group in the mode are the mask then, and not what the group may."""
    os.chown(way, 0, OTHER)
    os.setxattr(way, acl.ACCESS_ACL, an_acl((USER, 0, 7), group=5))
    assert way.stat().st_mode & 0o020
    assert said(way) == ""
    os.setxattr(way, acl.ACCESS_ACL, an_acl((USER, 0, 7), group=7))
    assert f"the group {OTHER} may write to {way} " in said(way)


@as_root
def test_an_acl_may_name_who_is_trusted(way: Path) -> None:
    os.setxattr(way, acl.ACCESS_ACL, an_acl((USER, OTHER, 7)))
    assert said(way, OTHER) == ""


# Symlinks


def test_where_a_symlink_lies_and_where_it_leads_both_count(way: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    for target in (tmp_path / "there", Path("../there")):
        link = way.parent / "link"
        link.symlink_to(target)
        assert said(link) == ""
        (tmp_path / "there").chmod(0o777)
        assert f"everybody may write to {tmp_path}/there " in said(link / "below")
        (tmp_path / "there").chmod(0o755)
        way.parent.chmod(0o777)
        assert f"everybody may write to {way.parent} " in said(link)
        way.parent.chmod(0o755)
        link.unlink()


@as_root
def test_a_symlink_of_somebody_else_in_a_sticky_directory(way: Path) -> None:
    way.parent.chmod(0o1777)
    link = way.parent / "link"
    link.symlink_to(way)
    assert said(link) == ""
    os.lchown(link, OTHER, OTHER)
    assert said(link).startswith(f"{link} belongs to {OTHER}, ")


def test_what_is_left_and_come_back_to_below_the_top_counts(way: Path, tmp_path: Path) -> None:
    """By a symlink out of a mount, into a directory of somebody, and back."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "back").symlink_to(way)
    (way.parent / "out").symlink_to(outside)
    assert said(way.parent / "out" / "back", top=str(way.parent)) == ""
    outside.chmod(0o777)
    assert f"everybody may write to {outside} " in said(way.parent / "out" / "back", top=str(way.parent))


def test_symlinks_in_a_circle_are_an_error(way: Path) -> None:
    (way / "a").symlink_to("b")
    (way / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        trust.check_way(str(way / "a" / "uv"), ME)
    assert not trust.is_safe(str(way / "a"), ME)
