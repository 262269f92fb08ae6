# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from what is wanted of a share, and from what was found."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import acl
from ansible_collections.uvnas.cluster.plugins.module_utils.host.mounts import Space
from ansible_collections.uvnas.cluster.plugins.module_utils.share.plan import (
    Change,
    Directory,
    Person,
    Survey,
    Wanted,
    check_cache,
    check_runs,
    check_space,
    needs_root,
    parents,
    plan_directories,
    wanted_directories,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.share.probe import Abilities
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share

OWNER, GROUP, PERSON = 1001, 2001, 1002


def share(root: str = "/mnt/nas-a/uv", mount: str | None = "/mnt/nas-a") -> Share:
    return Share.parse({"name": "nas_a", "root": root, "mount": mount})


WANTED = Wanted(share(), "uvadmin", OWNER, "research", GROUP, (OWNER, GROUP))
ONE_CACHE = dataclasses.replace(WANTED, user_cache="group")

# Directories

LAYOUT = [
    "bin",
    "lib",
    "lib/uv",
    "cache",
    "bytecode",
    "python",
    "python-archives",
    "locks",
    "envs",
    "generations",
    "user-cache",
]


def found_for(wanted: Wanted = WANTED, **instead: Directory | None) -> dict[str, Directory | None]:
    """All of a share in order, but for ``instead`` (by name in the root)."""
    found: dict[str, Directory | None] = dict(wanted_directories(wanted))
    plain = Directory(0, 0, 0o755)
    return {
        **dict.fromkeys(parents(wanted.share), plain),
        **found,
        **{f"{wanted.root}/{name}": value for name, value in instead.items()},
    }


def test_only_the_owner_writes_anywhere_but_to_the_user_cache() -> None:
    wanted = wanted_directories(WANTED)
    assert set(wanted) == {WANTED.root, *(f"{WANTED.root}/{name}" for name in LAYOUT)}
    writable = {path for path, directory in wanted.items() if directory.mode & 0o022}
    assert writable == {WANTED.layout.user_cache}
    assert wanted[WANTED.layout.user_cache] == Directory(OWNER, GROUP, 0o1777, acl.NONE)


@pytest.mark.parametrize(
    ("mode", "personal"), [(0o755, 0o1777), (0o2755, 0o1777), (0o750, 0o1770), (0o2750, 0o1770), (0o711, 0o1733)]
)
def test_whoever_gets_there_makes_a_cache_of_their_own(mode: int, personal: int) -> None:
    """Whose group is never the share's."""
    wanted = wanted_directories(dataclasses.replace(WANTED, mode=mode))
    assert wanted[WANTED.layout.user_cache].mode == personal


def test_one_cache_for_all_is_the_groups() -> None:
    wanted = wanted_directories(ONE_CACHE)
    assert wanted[WANTED.layout.user_cache] == Directory(OWNER, GROUP, 0o2775, acl.GROUP)


def test_one_cache_for_all_needs_default_acls() -> None:
    check_cache(ONE_CACHE, default_acls=True)
    check_cache(WANTED, default_acls=False)
    with pytest.raises(
        UvnasError, match="uvnas_user_cache: group cannot work .*, which has no POSIX default"
    ) as caught:
        check_cache(ONE_CACHE, default_acls=False)
    assert "uvnas_user_cache: personal" in str(caught.value.hint)


def test_a_share_for_a_group_only_shuts_its_user_cache_too() -> None:
    wanted = wanted_directories(dataclasses.replace(ONE_CACHE, mode=0o750))
    assert {directory.mode for directory in wanted.values()} == {0o700, 0o750, 0o2770}
    assert wanted[WANTED.layout.cache].mode == 0o700


def test_private_caches() -> None:
    private = dataclasses.replace(WANTED, user_cache="private", people=(Person("ada", PERSON, 3),))
    wanted = wanted_directories(private)
    assert wanted[WANTED.layout.user_cache] == Directory(OWNER, GROUP, 0o755, acl.NONE)
    assert wanted[f"{WANTED.layout.user_cache}/ada"] == Directory(PERSON, 3, 0o700, acl.NONE)


def test_nothing_to_do() -> None:
    assert plan_directories(WANTED, found_for()) == []


def test_everything_to_make_parents_first() -> None:
    deep = dataclasses.replace(WANTED, share=share("/mnt/nas-a/sw/deep/uv"))
    nothing: dict[str, Directory | None] = dict.fromkeys([*parents(deep.share), *wanted_directories(deep)])
    changes = plan_directories(deep, nothing)
    assert [change.path for change in changes[:3]] == ["/mnt/nas-a/sw", "/mnt/nas-a/sw/deep", "/mnt/nas-a/sw/deep/uv"]
    assert all(change.before is None for change in changes)
    paths = [change.path for change in changes]
    assert paths.index(f"{deep.root}/lib") < paths.index(f"{deep.root}/lib/uv")
    assert [Change.from_dict(dataclasses.asdict(change)) for change in changes] == changes


def test_parents_are_only_made_below_a_mount() -> None:
    assert parents(share(mount=None)) == []
    assert parents(share("/mnt/nas-a")) == []
    assert parents(share("/a/b", "/")) == ["/a"]
    assert parents(share("/mnt/nas-a/sw/uv")) == ["/mnt/nas-a/sw"]


def test_what_is_off_is_corrected() -> None:
    off = Directory(OWNER, GROUP, 0o777, acl.NONE)
    changes = plan_directories(WANTED, found_for(WANTED, cache=off))
    assert changes == [Change(WANTED.layout.cache, off, Directory(OWNER, GROUP, 0o700, acl.NONE))]


@pytest.mark.parametrize("kind", [acl.GROUP, acl.OTHER])
def test_default_acls_are_for_people_s_caches_alone(kind: str) -> None:
    """What is made where one is inherits it, whatever the umask, and somebody else could write it."""
    for name in {".", *LAYOUT} - {"user-cache"}:
        path = os.path.normpath(os.path.join(WANTED.root, name))
        after = wanted_directories(WANTED)[path]
        found = {**found_for(), path: dataclasses.replace(after, default_acl=kind)}
        assert plan_directories(WANTED, found) == [Change(path, found[path], after)]


def test_without_acls_none_are_wanted() -> None:
    plain = Directory(OWNER, GROUP, 0o2775)
    wanted = ONE_CACHE
    found = {
        path: directory and dataclasses.replace(directory, default_acl=None)
        for path, directory in found_for(wanted).items()
    }
    assert plan_directories(wanted, found, has_acl=False) == []
    without = dataclasses.replace(plain, default_acl=acl.NONE)
    (change,) = plan_directories(wanted, found_for(wanted, **{"user-cache": without}))
    assert change.after.default_acl == acl.GROUP


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
    assert needs_root(WANTED, Change("/x", before, after)) == reason


def test_room() -> None:
    wanted = dataclasses.replace(WANTED, min_free_bytes=1000, min_free_inodes=10)
    enough = Space(free_bytes=1000, free_inodes=10, read_only=False, noexec=False)
    check_space(wanted, enough)
    check_space(wanted, dataclasses.replace(enough, free_inodes=None))
    for change, said in (
        ({"free_bytes": 999}, "has 999 bytes free, but needs 1000"),
        ({"free_inodes": 9}, "has 9 inodes free, but needs 10"),
        ({"read_only": True}, "is mounted read-only"),
    ):
        with pytest.raises(UvnasError, match=said) as caught:
            check_space(wanted, dataclasses.replace(enough, **change))
        assert caught.value.hint
    with pytest.raises(UvnasError, match="exports the filesystem of .* read-only to this host"):
        check_space(wanted, enough, exported_read_only=True)
    check_runs(wanted, enough)
    with pytest.raises(UvnasError, match="is mounted noexec"):
        check_runs(wanted, dataclasses.replace(enough, noexec=True))


# Across processes


@pytest.mark.parametrize("abilities", [None, Abilities(True, False, True, True, True, True, False)])
def test_a_survey_there_and_back(abilities: Abilities | None) -> None:
    """As root has it from the owner: by way of JSON."""
    change = Change("/mnt/nas-a/uv/bin", None, Directory(OWNER, GROUP, 0o755))
    correction = Change("/mnt/nas-a/uv/cache", Directory(0, 0, 0o777, False), Directory(OWNER, GROUP, 0o700))
    survey = Survey(
        planned=(change, correction),
        identity="created",
        id=None,
        ground="/mnt/nas-a/uv",
        writable=True,
        filesystem="nfs4",
        split=("/mnt/nas-a/uv/cache",),
        acl=True,
        space=Space(1000, None, False, False),
        done=(change,),
        denied=(correction,),
        probed=True,
        abilities=abilities,
    )
    assert Survey.from_dict(json.loads(json.dumps(dataclasses.asdict(survey)))) == survey


def test_a_wanted_share_is_where_the_share_is() -> None:
    share = Share.parse({"name": "a", "root": "/mnt/a/uv", "mount": "/mnt/a"})
    wanted = Wanted(share, "ada", 1, "users", 100, (1, 100), people=(Person("ada", 1, 1),))
    assert (wanted.name, wanted.root, wanted.layout) == (share.name, share.root, share.layout)
    assert (wanted.mode, wanted.user_cache) == (0o755, "personal")
