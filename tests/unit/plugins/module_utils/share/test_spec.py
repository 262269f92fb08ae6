# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a share is declared to be, and what follows from it."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.probe import Space
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import (
    Change,
    Directory,
    Identity,
    Person,
    Share,
    acl_is_shared,
    check_empty,
    check_id,
    check_identity,
    check_mode,
    check_name,
    check_paths,
    check_shares,
    check_space,
    default_acl,
    needs_root,
    parents,
    parse_identity,
    plan_directories,
    wanted_directories,
)

OWNER, GROUP, PERSON = 1001, 2001, 1002
SHARE = Share(
    name="nas_a",
    root="/mnt/nas-a/uv",
    owner="uvadmin",
    uid=OWNER,
    group="research",
    gid=GROUP,
    owner_groups=(OWNER, GROUP),
    mount="/mnt/nas-a",
)
ID = "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a"


def declared(name: str = "a", root: str = "/mnt/a/uv", **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "root": root, "builder": "dev1", **more}


# Declarations


def test_shares_side_by_side_are_fine() -> None:
    check_shares([])
    check_shares(
        [
            declared(mount="/mnt/a", id=ID, mode="0750"),
            declared("b", "/mnt/a/uv2", mount="/mnt/a"),
            declared("c", "/mnt/a-uv", id=None, mode=None, glibc=None),
            declared("d", "/mnt/d", glibc="2.17"),
        ]
    )


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (declared("a", "/mnt/b/uv"), "two shares are called a"),
        (declared("b", "/mnt/a/uv"), "have the same root /mnt/a/uv"),
        (declared("b", "/mnt/a//uv/"), "have the same root /mnt/a/uv"),
        (declared("b", "/mnt/a/uv/b"), r"b \(/mnt/a/uv/b\) lies inside the share a \(/mnt/a/uv\)"),
        (declared("b", "/mnt/a"), r"a \(/mnt/a/uv\) lies inside the share b \(/mnt/a\)"),
        (declared("b", "/mnt/b/uv", id=ID.upper()), "a and b have the same id"),
        (declared("b", "mnt/b"), "share b: its root 'mnt/b' is not an absolute path"),
        (declared("b", "/mnt/b", mount="/mnt/c"), "root /mnt/b is not below its mount /mnt/c"),
        (declared("b", "/mnt/b", mode="0775"), "mode 0775 would let others"),
        (declared("b", "/mnt/b", glibc=2.31), "share b: 2.31 is no version of glibc"),
        (declared("b", "/mnt/b", glibc="31"), "share b: '31' is no version of glibc"),
        (declared("b", "/mnt/b", glibc="2.16"), "share b: nothing can be built for glibc 2.16, only for 2.17"),
        (declared("../b", "/mnt/b"), "cannot be the name of a share"),
        ({"root": "/mnt/b"}, "cannot be the name of a share"),
        ({"name": "b"}, "root None is not an absolute path"),
    ],
)
def test_shares_that_cannot_be_meant(second: dict[str, t.Any], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        check_shares([declared(id=ID), second])
    assert caught.value.hint


@pytest.mark.parametrize("name", ["a", "nas_a", "NAS-1", "_", "x" * 64])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a.b", "..", "../x", "a/b", "a\n", "ä", "x" * 65, None, 5])
def test_bad_names(name: t.Any) -> None:
    with pytest.raises(SpecError):
        check_name(name)


@pytest.mark.parametrize(
    ("root", "mount", "clean"),
    [
        ("/srv/uv", None, ("/srv/uv", None)),
        ("//srv//uv/", "//srv/", ("/srv/uv", "/srv")),
        ("/srv", "/srv", ("/srv", "/srv")),
        ("/srv/my nas", "/", ("/srv/my nas", "/")),
    ],
)
def test_paths(root: str, mount: str | None, clean: tuple[str, str | None]) -> None:
    assert check_paths("a", root, mount) == clean


@pytest.mark.parametrize(
    ("root", "mount"),
    [
        ("/", None),
        ("uv", None),
        ("", None),
        (None, None),
        ("~/uv", None),
        ("/srv/../etc", None),
        ("/srv/a:b", None),
        ("/srv/a\nb", None),
        ("/srv-a/uv", "/srv"),
        ("/srv/uv", "srv"),
        ("/srv/uv", ""),
    ],
)
def test_bad_paths(root: t.Any, mount: t.Any) -> None:
    with pytest.raises(SpecError):
        check_paths("a", root, mount)


@pytest.mark.parametrize(("mode", "number"), [(None, 0o755), ("0755", 0o755), ("750", 0o750), ("2750", 0o2750)])
def test_modes(mode: str | None, number: int) -> None:
    assert check_mode("a", mode) == number


@pytest.mark.parametrize("mode", ["0775", "0757", "0555", "1755", "4755", "rwx", "", "u=rwx", "493", 493])
def test_bad_modes(mode: t.Any) -> None:
    with pytest.raises(SpecError):
        check_mode("a", mode)


def test_ids_are_uuids() -> None:
    assert check_id("a", None) == check_id("a", "") == ""
    assert check_id("a", ID.upper()) == ID
    with pytest.raises(SpecError, match="'5' is not an id"):
        check_id("a", "5")


# Identity


def test_identity_there_and_back() -> None:
    identity = Identity("nas_a", ID)
    assert identity.as_dict() == {"layout": 1, "name": "nas_a", "id": ID}
    assert parse_identity(identity.as_dict(), "share.json") == identity
    assert parse_identity({**identity.as_dict(), "more": 1}, "share.json") == identity


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layout": 2}, "says layout 2, but this uvnas.cluster knows layout 1"),
        ({"layout": "1"}, "is not the identity of a share"),
        ({"layout": True}, "is not the identity of a share"),
        ({"layout": None}, "is not the identity of a share"),
        ({"name": ""}, "is not the identity of a share"),
        ({"id": 5}, "is not the identity of a share"),
    ],
)
def test_no_identity(change: dict[str, t.Any], said: str) -> None:
    with pytest.raises(UvnasError, match=said) as caught:
        parse_identity({"layout": 1, "name": "nas_a", "id": ID, **change}, "/srv/share.json")
    assert caught.value.hint


def test_the_share_has_to_be_the_declared_one() -> None:
    check_identity(Identity("nas_a", ID), "/srv", name="nas_a", share_id="")
    check_identity(Identity("nas_a", ID), "/srv", name="nas_a", share_id=ID)
    with pytest.raises(UvnasError, match="/srv is the share nas_b, not nas_a"):
        check_identity(Identity("nas_b", ID), "/srv", name="nas_a", share_id="")
    with pytest.raises(UvnasError, match=f"its id is {ID}, declared is other"):
        check_identity(Identity("nas_a", ID), "/srv", name="nas_a", share_id="other")


def test_a_killed_first_run_and_a_fresh_filesystem_leave_an_empty_directory() -> None:
    leftovers = [".share.json.dev1-4711.tmp", ".uvnas.mutex", ".uvnas-probe", ".uvnas-probe.mutex"]
    check_empty("/srv", [*leftovers, "lost+found", ".snapshot", ".nfs000123"], name="a")
    with pytest.raises(UvnasError, match=r"not empty \(it has a, b, c, …\)"):
        check_empty("/srv", ["d", "c", "b", "a", *leftovers], name="a")
    with pytest.raises(UvnasError, match=r"it has \.hidden\)"):
        check_empty("/srv", [".hidden"], name="a")


# Directories

LAYOUT = ["bin", "lib", "lib/uv", "cache", "python", "python-archives", "locks", "envs", "generations", "user-cache"]


def found_for(share: Share, **instead: Directory | None) -> dict[str, Directory | None]:
    """All of a share in order, but for ``instead`` (by name in the root)."""
    found: dict[str, Directory | None] = dict(wanted_directories(share))
    plain = Directory(0, 0, 0o755)
    return {
        **dict.fromkeys(parents(share), plain),
        **found,
        **{f"{share.root}/{name}": value for name, value in instead.items()},
    }


def test_only_the_owner_writes_anywhere_but_to_the_user_cache() -> None:
    wanted = wanted_directories(SHARE)
    assert set(wanted) == {SHARE.root, *(f"{SHARE.root}/{name}" for name in LAYOUT)}
    writable = {path for path, directory in wanted.items() if directory.mode & 0o022}
    assert writable == {SHARE.layout.user_cache}
    assert wanted[SHARE.layout.user_cache] == Directory(OWNER, GROUP, 0o2775, shared=True)


def test_a_share_for_a_group_only_shuts_its_user_cache_too() -> None:
    wanted = wanted_directories(dataclasses.replace(SHARE, mode=0o750))
    assert {directory.mode for directory in wanted.values()} == {0o700, 0o750, 0o2770}
    assert wanted[SHARE.layout.cache].mode == 0o700


def test_private_caches() -> None:
    private = dataclasses.replace(SHARE, user_cache="private", people=(Person("ada", PERSON, 3),))
    wanted = wanted_directories(private)
    assert wanted[SHARE.layout.user_cache] == Directory(OWNER, GROUP, 0o755, shared=False)
    assert wanted[f"{SHARE.layout.user_cache}/ada"] == Directory(PERSON, 3, 0o700)


def test_nothing_to_do() -> None:
    assert plan_directories(SHARE, found_for(SHARE)) == []


def test_everything_to_make_parents_first() -> None:
    deep = dataclasses.replace(SHARE, root="/mnt/nas-a/sw/deep/uv")
    nothing: dict[str, Directory | None] = dict.fromkeys([*parents(deep), *wanted_directories(deep)])
    changes = plan_directories(deep, nothing)
    assert [change.path for change in changes[:3]] == ["/mnt/nas-a/sw", "/mnt/nas-a/sw/deep", "/mnt/nas-a/sw/deep/uv"]
    assert all(change.before is None for change in changes)
    paths = [change.path for change in changes]
    assert paths.index(f"{deep.root}/lib") < paths.index(f"{deep.root}/lib/uv")
    assert [Change.from_dict(dataclasses.asdict(change)) for change in changes] == changes


def test_parents_are_only_made_below_a_mount() -> None:
    assert parents(dataclasses.replace(SHARE, mount=None)) == []
    assert parents(dataclasses.replace(SHARE, root="/mnt/nas-a")) == []
    assert parents(dataclasses.replace(SHARE, root="/a/b", mount="/")) == ["/a"]


def test_what_is_off_is_corrected() -> None:
    off = Directory(OWNER, GROUP, 0o777)
    changes = plan_directories(SHARE, found_for(SHARE, cache=off))
    assert changes == [Change(SHARE.layout.cache, off, Directory(OWNER, GROUP, 0o700))]


def test_without_acls_none_are_wanted() -> None:
    plain = Directory(OWNER, GROUP, 0o2775)
    assert plan_directories(SHARE, found_for(SHARE, **{"user-cache": plain}), acl=False) == []
    (change,) = plan_directories(SHARE, found_for(SHARE, **{"user-cache": dataclasses.replace(plain, shared=False)}))
    assert change.after.shared is True


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (None, Directory(OWNER, GROUP, 0o755), ""),
        (None, Directory(OWNER, OWNER, 0o755), ""),
        (None, Directory(PERSON, PERSON, 0o700), "only root can make a directory that belongs to somebody else"),
        (None, Directory(OWNER, 5, 0o755), "uvadmin is not in the group research"),
        (Directory(0, GROUP, 0o755), Directory(OWNER, GROUP, 0o755), "it belongs to uid 0, not to uvadmin"),
        (Directory(OWNER, 5, 0o755), Directory(OWNER, GROUP, 0o755), ""),
        (Directory(OWNER, GROUP, 0o755), Directory(OWNER, 5, 0o755), "uvadmin is not in the group research"),
        (Directory(OWNER, 5, 0o700), Directory(OWNER, 5, 0o755), ""),
        (Directory(OWNER, 5, 0o775), Directory(OWNER, 5, 0o2775), "uvadmin is not in the group research"),
    ],
)
def test_what_needs_root(before: Directory | None, after: Directory, reason: str) -> None:
    assert needs_root(SHARE, Change("/x", before, after)) == reason


def test_default_acls() -> None:
    # As setfacl -d -m u::rwx,g::rwx,o::rx writes it.
    acl = bytes.fromhex("02000000 01000700ffffffff 04000700ffffffff 20000500ffffffff".replace(" ", ""))
    assert default_acl(0o2775) == acl
    assert acl_is_shared(acl)
    assert acl_is_shared(default_acl(0o2770))
    assert not acl_is_shared(default_acl(0o755))
    assert not acl_is_shared(b"")
    # u::rwx,g::rwx,g:5:rwx,m::r-x,o::---: the mask takes the right to write away.
    masked = "02000000 01000700ffffffff 04000700ffffffff 0800070005000000 10000500ffffffff 20000000ffffffff"
    assert not acl_is_shared(bytes.fromhex(masked.replace(" ", "")))
    assert acl_is_shared(bytes.fromhex(masked.replace("10000500", "10000700").replace(" ", "")))


# Room


def test_room() -> None:
    wanted = dataclasses.replace(SHARE, min_free_bytes=1000, min_free_inodes=10)
    enough = Space(free_bytes=1000, free_inodes=10, read_only=False, noexec=False)
    check_space(wanted, enough)
    check_space(wanted, dataclasses.replace(enough, free_inodes=None))
    for change, said in (
        ({"free_bytes": 999}, "has 999 bytes free, 1000 are wanted"),
        ({"free_inodes": 9}, "has 9 inodes free, 10 are wanted"),
        ({"read_only": True}, "is mounted read-only"),
        ({"noexec": True}, "is mounted noexec"),
    ):
        with pytest.raises(UvnasError, match=said) as caught:
            check_space(wanted, dataclasses.replace(enough, **change))
        assert caught.value.hint
