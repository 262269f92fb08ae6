# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People's caches on real filesystems, with a real uv: one of the share's group, one outside of it, one who is hostile.

On NFS: tests/nfs/test_caches.py. What shells export: tests/integration/test_profile.py. Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import shutil
import stat
import struct
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.profile import sh
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.spec import Profile
from ansible_collections.uvnas.cluster.tests.support import acls
from ansible_collections.uvnas.cluster.tests.support.labs import (
    ADA,
    GROUP,
    OWNER,
    ROOT,
    Lab,
    a_lab,
    as_user,
    call,
    fail,
    finish,
    make,
    own,
    primary_group,
    run,
    start,
    who,
)
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel

# Accounts that every Linux has: somebody outside of the share's group, and somebody hostile, who is in it.
OUTSIDER, MALLORY = "games", "nobody"
# Numbers and names that no Linux has.
UNKNOWN_UID, UNKNOWN_NAME = 12345, "no-such-user"


@pytest.fixture
def lab() -> t.Iterator[Lab]:
    with a_lab() as lab:
        yield lab


@pytest.fixture
def cache(lab: Lab) -> Path:
    """The user-cache of a share."""
    make(lab.path / "uv", group=GROUP)
    return lab.path / "uv" / "user-cache"


def converge(cache: Path, **args: t.Any) -> dict[str, t.Any]:
    """Converge the share that the cache is of, after check mode has foretold all of it."""
    predicted, result = make(cache.parent, check=True, group=GROUP, **args), make(cache.parent, group=GROUP, **args)
    for part in ("changed", "created", "corrected", "moved_aside", "diff", "warnings"):
        assert predicted.get(part) == result.get(part), part
    return result


def aside(cache: Path, name: str) -> Path:
    """Where something is that was moved aside."""
    (found,) = cache.glob(f".{name}.*.aside")
    assert not os.path.lexists(cache / name)
    return found


# With uv


class People:
    """People of a host who log in, with a uv and one wheel on the share."""

    def __init__(self, lab: Lab, root: Path) -> None:
        self.lab = lab
        (lab.path / "profile.sh").write_text(
            sh.render(Profile.from_params([{"name": "nas_a", "root": str(root)}], "personal", {}))
        )
        shutil.copy(Path(sys.executable).parent / "uv", root / "bin" / "uv")
        write_small_wheel(lab.path / "wheels", "good", "1.0", more={"good.py": "WHOSE = 'ours'\n"})
        for directory in (lab.path / "wheels", lab.path / "homes", root.parent / "people"):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o1777)
        self.place = root.parent / "people"

    def command(self, user: str, script: str) -> list[str]:
        entry = pwd.getpwnam(user)
        groups = [str(entry.pw_gid)] if user == OUTSIDER else [str(grp.getgrnam(GROUP).gr_gid)]
        ids = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", f"--groups={','.join(groups)}"]
        variables = {
            "HOME": f"{self.lab.path}/homes/{user}",
            "USER": user,
            "PATH": "/usr/bin:/bin",
            "UV_NO_CONFIG": "1",
            "FROM": f"--no-index --find-links {self.lab.path}/wheels",
            "UV_PYTHON": "/usr/bin/python3",
            "PLACE": str(self.place),
        }
        environment = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
        return ["setpriv", *ids, *environment, "sh", "-ec", f"umask 022; . {self.lab.path}/profile.sh; {script}"]

    def log_in(self, user: str, script: str) -> str:
        """What ``script`` prints, in a login shell of somebody."""
        done = subprocess.run(self.command(user, script), cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self, user: str, place: str) -> str:
        """Install the package, and say whose it is."""
        uv = f'uv pip install -q $FROM --target "$PLACE/{place}" good'
        return self.log_in(
            user, f'{uv}; PYTHONPATH="$PLACE/{place}" python3 -c "import good; print(good.WHOSE)"'
        ).strip()


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_whoever_logs_in_has_a_cache_that_works(lab: Lab, kind: str) -> None:
    """Without a list, made on first use, whatever group they are in; and nobody gets at that of another."""
    nas = lab.disk(kind)
    cache = nas / "uv" / "user-cache"
    make(nas / "uv", mount=nas, group=GROUP, mode="2755")
    assert who(cache) == (OWNER, GROUP, 0o1777)
    people = People(lab, nas / "uv")
    for user in (ADA, OUTSIDER, MALLORY):
        assert people.install(user, f"of-{user}") == "ours"
        assert people.install(user, f"again-of-{user}") == "ours"
        people.log_in(user, 'uv venv -q "$PLACE/venv-of-$USER"; uv pip install -q $FROM -p "$PLACE/venv-of-$USER" good')
        # Not the share's group, and linked from there.
        assert who(cache / user) == (user, primary_group(user), 0o755)
        (unpacked,) = (cache / user).glob("archive-v*/*/good.py")
        assert kind == "xfs" or unpacked.stat().st_nlink == 4
    assert sorted(os.listdir(cache)) == sorted([ADA, OUTSIDER, MALLORY])
    for command in (f"touch {ADA}/x", f"rm -r {ADA}", f"rmdir {ADA}", f"mv {ADA} gone", f"mv -T {MALLORY} {ADA}"):
        done = subprocess.run(
            people.command(MALLORY, f"cd {cache}; {command}"), capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert "ermitted" in done.stderr or "denied" in done.stderr, done.stderr
    assert not make(nas / "uv", mount=nas, group=GROUP, mode="2755")["changed"]


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_trap_works_until_the_next_run(lab: Lab, kind: str) -> None:
    """What docs/docsite/rst/permissions.rst says remains, and what a run does about it."""
    nas = lab.disk(kind)
    cache = nas / "uv" / "user-cache"
    make(nas / "uv", mount=nas, group=GROUP)
    people = People(lab, nas / "uv")
    trap = f"""mkdir -m 777 {cache}/{ADA}; export UV_CACHE_DIR={cache}/{ADA}; umask 0
        uv pip install -q $FROM --target "$PLACE/trap" --link-mode copy good
        echo "WHOSE = 'mine'" | tee $UV_CACHE_DIR/archive-v*/*/good.py; chmod -R a+rwX $UV_CACHE_DIR"""
    people.log_in(MALLORY, trap)
    assert people.install(ADA, "before") == "mine"
    result = make(nas / "uv", mount=nas, group=GROUP)
    assert result["moved_aside"] == [f"{cache}/{ADA}"]
    assert people.install(ADA, "after") == "ours"
    assert who(cache / ADA)[0] == ADA
    assert who(next(cache.glob(f".{ADA}.*.aside")))[0] == MALLORY
    assert not make(nas / "uv", mount=nas, group=GROUP)["changed"]
    # Whoever made it can remove it, and so can root.
    people.log_in(MALLORY, f"find {cache}/.{ADA}.*.aside -user {MALLORY} -delete")


# What is moved aside, and what is not


TRAPS: dict[str, tuple[str, str, str]] = {
    # by whom, how, what is said of it
    "directory": (MALLORY, 'mkdir -m 700 "$1"', f"belongs to {MALLORY}"),
    "file": (MALLORY, 'echo poison > "$1"', f"not a directory, owned by {MALLORY}"),
    "fifo": (MALLORY, 'mkfifo "$1"', f"not a directory, owned by {MALLORY}"),
    "symlink": (MALLORY, 'ln -s /etc "$1"', f"a symlink, owned by {MALLORY}"),
    "dangling": (ADA, 'ln -s /no/such/place "$1"', f"a symlink, owned by {ADA}"),
    "open": (ADA, 'mkdir -m 777 "$1"', "everybody may write to it"),
    "sticky": (ADA, 'mkdir "$1"; chmod 1777 "$1"', "everybody may write to it"),
    "for a group": (ADA, f'mkdir -m 775 "$1"; chgrp {GROUP} "$1"', f"the group {GROUP} may write to it"),
    "of the owner": (OWNER, 'mkdir "$1"', f"belongs to {OWNER}"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_what_is_no_cache_of_the_person_is_moved_aside(cache: Path, trap: str) -> None:
    maker, script, said = TRAPS[trap]
    place = cache / ADA
    done = as_user(maker, script, place)
    assert done.returncode == 0, done.stderr
    before = place.lstat()
    result = converge(cache)
    assert result["changed"]
    assert result["moved_aside"] == [str(place)]
    (warning,) = result["warnings"]
    assert f"moved aside, to .NAME.*.aside there: {ADA} ({said})" in str(warning)
    assert f"user-cache/{ADA}: {said}\n" in result["diff"]["before"]
    after = aside(cache, ADA).lstat()
    assert (after.st_ino, after.st_mode, after.st_uid) == (before.st_ino, before.st_mode, before.st_uid)
    assert as_user(ADA, 'mkdir "$1"', place).returncode == 0
    assert not converge(cache)["changed"]


def test_an_acl_lets_somebody_in(cache: Path) -> None:
    number = pwd.getpwnam(MALLORY).pw_uid
    for name, bits in ((ADA, 7), (OUTSIDER, 5)):
        assert as_user(name, 'mkdir "$1"', cache / name).returncode == 0
        # u::rwx,u:MALLORY:…,g::r-x,m::rwx,o::r-x
        entries = ((0x01, 7, -1), (0x02, bits, number), (0x04, 5, -1), (0x10, 7, -1), (0x20, 5, -1))
        packed = b"".join(struct.pack("<HHI", tag, mode, who & 0xFFFFFFFF) for tag, mode, who in entries)
        os.setxattr(cache / name, acls.ACCESS, struct.pack("<I", 2) + packed)
    result = converge(cache)
    assert result["moved_aside"] == [f"{cache}/{ADA}"]
    assert f"{ADA} (the user {MALLORY}, by an ACL, may write to it)" in str(result["warnings"])


@pytest.mark.parametrize("mode", ["700", "755", "775", "2775", "555"])
def test_what_is_theirs_alone_stays(cache: Path, mode: str) -> None:
    """A group that is nobody else's is theirs alone; where each user has one, umask 002 is usual."""
    assert as_user(ADA, f'mkdir "$1"; chmod {mode} "$1"; touch "$2"', cache / ADA, cache / ".hidden").returncode == 0
    assert not converge(cache)["changed"]
    assert (cache / ADA).is_dir()


@pytest.mark.parametrize(
    ("uid", "name", "stays"),
    [
        (UNKNOWN_UID, UNKNOWN_NAME, True),  # of a member only; or nobody is known while LDAP is down
        (UNKNOWN_UID, ADA, False),
        (UNKNOWN_UID, str(UNKNOWN_UID), True),
        (pwd.getpwnam(MALLORY).pw_uid, UNKNOWN_NAME, False),
        (pwd.getpwnam(MALLORY).pw_uid, "wheels-v5", False),
        (0, UNKNOWN_NAME, False),
        (0, "root", True),
    ],
)
def test_whom_this_host_does_not_know(cache: Path, uid: int, name: str, stays: bool) -> None:
    (cache / name).mkdir()
    os.chown(cache / name, uid, 0)
    assert converge(cache)["changed"] != stays
    assert (cache / name).exists() == stays


@pytest.mark.parametrize(
    ("uid", "gid", "stays"),
    [
        (UNKNOWN_UID, UNKNOWN_UID, True),  # umask 002, and a group of their own that only members know
        (pwd.getpwnam(ADA).pw_uid, UNKNOWN_UID, True),
        (UNKNOWN_UID, grp.getgrnam(GROUP).gr_gid, False),
    ],
)
def test_a_group_that_this_host_does_not_know(cache: Path, uid: int, gid: int, stays: bool) -> None:
    place = cache / (UNKNOWN_NAME if uid == UNKNOWN_UID else ADA)
    place.mkdir()
    os.chown(place, uid, gid)
    place.chmod(0o775)
    assert converge(cache)["changed"] != stays
    assert place.exists() == stays


def test_names_that_others_choose_are_shown_without_harm(cache: Path) -> None:
    names = ["\x1b[2J", "two\nlines", "a b", "ü", "x" * 255, b"\xff".decode(errors="surrogateescape")]
    for name in names:
        (cache / name).mkdir()
        own(cache / name, MALLORY)
    result = converge(cache)
    shown = ["'\\x1b[2J'", "'two\\nlines'", "'a b'", "'\\xfc'", "x" * 255, "'\\udcff'"]
    assert sorted(result["moved_aside"]) == sorted(f"{cache}/{name}" for name in shown)
    (warning,) = result["warnings"]
    assert str(warning).isascii()
    assert str(warning).isprintable()
    assert {name[0] for name in os.listdir(cache)} == {"."}


def test_a_warning_does_not_name_thousands(cache: Path) -> None:
    for number in range(300):
        (cache / f"user{number:03}").mkdir()
        own(cache / f"user{number:03}", MALLORY)
    result = converge(cache)
    assert len(result["moved_aside"]) == 300
    (warning,) = result["warnings"]
    assert f"user019 (belongs to {MALLORY}) and 280 more." in str(warning)


def test_nor_is_a_result_as_large_as_somebody_likes(cache: Path) -> None:
    for number in range(1200):
        os.symlink("x", os.fsencode(cache) + b"/%04d" % number + b"\xff" * 251)
    result = converge(cache)
    assert len(result["moved_aside"]) == 1000
    assert result["diff"]["before"].endswith("user-cache/: and 200 more\n")
    assert "and 1180 more." in str(result["warnings"])
    assert {name[0] for name in os.listdir(cache)} == {"."}
    assert len(str(result)) < 5_000_000


def test_what_cannot_be_moved_is_told_and_stops_nobody(lab: Lab, cache: Path) -> None:
    lab.mount(f"uv/user-cache/{ADA}", "-t", "tmpfs", "tmpfs")
    os.chmod(cache / ADA, 0o755)
    assert as_user(MALLORY, 'mkdir "$1"', cache / OUTSIDER).returncode == 0
    result = make(cache.parent, group=GROUP)
    assert result["moved_aside"] == [f"{cache}/{OUTSIDER}"]
    (warning,) = [text for text in map(str, result["warnings"]) if "could not be" in text]
    assert f"{ADA} (belongs to root): Device or resource busy." in warning


@pytest.mark.parametrize("answers", [True, False], ids=["denied", "dead"])
@pytest.mark.parametrize("wanted", ["personal", "private"])
def test_who_mounts_something_that_nobody_may_look_at_stops_nobody(
    lab: Lab, cache: Path, wanted: str, answers: bool
) -> None:
    """With fusermount, on a directory of their own, on a builder where they log in."""
    args = kind("private", ADA) if wanted == "private" else {}
    assert as_user(ADA, 'mkdir "$1"', cache / ADA).returncode == 0
    make(cache.parent, group=GROUP, **args)
    with fuse(lab, f"uv/user-cache/{ADA}", answers=answers):
        assert not (before := converge(cache, **args))["changed"]
        said = f"{ADA} (cannot be looked at): Permission denied"
        assert (said in str(before.get("warnings"))) == (wanted == "personal")
        (cache.parent / "envs").rmdir()
        assert converge(cache, **args)["created"] == [f"{cache.parent}/envs"]
    # Where others could make it, it is to go first.
    if wanted == "personal":
        with fuse(lab, f"uv/user-cache/{ADA}", answers=answers):
            result = run(cache.parent, group=GROUP, **kind("private", ADA))
            assert result["failed"]
            assert f"{cache}/{ADA}" in result["msg"]


@contextlib.contextmanager
def fuse(lab: Lab, name: str, *, answers: bool) -> t.Iterator[None]:
    """Have a filesystem of the user ADA mounted, whose process has not answered, or is no more."""
    number = pwd.getpwnam(ADA).pw_uid
    descriptor = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={descriptor},rootmode=40000,user_id={number},group_id={number}".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"fuse", os.fsencode(lab.path / name), b"fuse", 6, options):  # MS_NOSUID | MS_NODEV
            raise OSError(ctypes.get_errno(), "mount")
        try:
            if not answers:
                os.close(descriptor)
            yield
        finally:
            call("umount", "--lazy", lab.path / name)
    finally:
        if answers:
            os.close(descriptor)


def test_who_makes_it_again_and_again_stops_nobody(cache: Path) -> None:
    again = """
import os, sys
while True:
    try: os.mkdir(sys.argv[1], 0o777)
    except FileExistsError: pass
"""
    entry = pwd.getpwnam(MALLORY)
    ids = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    with subprocess.Popen(["setpriv", *ids, "/usr/bin/python3", "-c", again, cache / ADA]) as mallory:
        try:
            while not (cache / ADA).exists():
                pass
            (cache.parent / "envs").rmdir()  # Something else to do, too.
            result = run(cache.parent, group=GROUP)
        finally:
            mallory.kill()
    assert not result.get("failed"), result["msg"]
    assert result["moved_aside"] == [f"{cache}/{ADA}"]
    assert result["created"] == [f"{cache.parent}/envs"]


def test_several_runs_at_once(cache: Path) -> None:
    for number in range(20):
        (cache / f"user{number}").mkdir()
        own(cache / f"user{number}", MALLORY)
    results = [finish(process) for process in [start(cache.parent, group=GROUP) for _number in range(4)]]
    assert not [result["msg"] for result in results if result.get("failed")]
    assert len([path for result in results for path in result["moved_aside"]]) == 20
    assert len(os.listdir(cache)) == 20


def test_an_ordinary_user_needs_no_root(lab: Lab) -> None:
    own(lab.path, ADA)
    cache = lab.path / "uv" / "user-cache"
    me = {"user": ADA, "groups": [GROUP], "owner": None, "group": GROUP}
    make(lab.path / "uv", **me)
    assert who(cache) == (ADA, GROUP, 0o1777)
    assert as_user(MALLORY, 'mkdir "$1"', cache / OUTSIDER).returncode == 0
    assert make(lab.path / "uv", **me)["moved_aside"] == [f"{cache}/{OUTSIDER}"]
    assert not make(lab.path / "uv", **me)["changed"]


def test_a_share_for_a_group_only(lab: Lab) -> None:
    cache = lab.path / "uv" / "user-cache"
    make(lab.path / "uv", group=GROUP, mode="0750")
    assert who(cache) == (OWNER, GROUP, 0o1770)
    assert as_user(ADA, 'mkdir "$1"', cache / ADA).returncode == 0
    done = as_user(OUTSIDER, 'mkdir "$1"', cache / OUTSIDER, groups=primary_group(OUTSIDER))
    assert "Permission denied" in done.stderr


def test_a_filesystem_that_is_read_only_keeps_its_traps(lab: Lab) -> None:
    nas = lab.tmpfs()
    make(nas / "uv", mount=nas)
    assert as_user(MALLORY, 'mkdir "$1"', nas / "uv" / "user-cache" / ADA).returncode == 0
    lab.remount(nas, "ro")
    assert not make(nas / "uv", mount=nas)["changed"]


# From one kind to another


def kind(name: str, *people: str) -> dict[str, t.Any]:
    return {"user_cache": name, "user_cache_users": list(people)}


def test_from_one_for_all_to_one_for_each_and_back(lab: Lab) -> None:
    nas = lab.disk("ext4")
    cache = nas / "uv" / "user-cache"
    make(nas / "uv", group=GROUP, **kind("group"))
    assert who(cache) == (OWNER, GROUP, 0o2775)
    uvs = 'cd "$1"; mkdir wheels-v5 archive-v0; touch CACHEDIR.TAG .lock .gitignore'
    assert as_user(ADA, uvs, cache).returncode == 0
    # It has the default ACL of the cache that it was made in, so others can have put something there.
    assert as_user(OUTSIDER, 'mkdir "$1"', cache / OUTSIDER).returncode == 0
    result = converge(cache)
    assert result["corrected"] == [str(cache)]
    assert sorted(result["moved_aside"]) == [
        f"{cache}/{name}" for name in sorted(["CACHEDIR.TAG", "archive-v0", OUTSIDER, "wheels-v5"])
    ]
    assert who(cache) == (OWNER, GROUP, 0o1777)
    assert not {name for name in os.listxattr(cache) if "posix_acl" in name}
    assert as_user(ADA, 'mkdir "$1"', cache / ADA).returncode == 0
    assert not [name for name in os.listxattr(cache / ADA) if "posix_acl" in name]
    assert not converge(cache)["changed"]
    # And back: what people have stays theirs.
    assert converge(cache, **kind("group"))["moved_aside"] == []
    assert who(cache) == (OWNER, GROUP, 0o2775)
    assert who(cache / ADA) == (ADA, primary_group(ADA), 0o755)


def test_from_one_for_each_to_those_made_by_root_and_back(cache: Path) -> None:
    for user, place in ((ADA, ADA), (MALLORY, OUTSIDER)):
        assert as_user(user, 'mkdir "$1"', cache / place).returncode == 0
    result = converge(cache, **kind("private", ADA, OUTSIDER))
    # The trap is seen here too, at once.
    assert result["created"] == [f"{cache}/{OUTSIDER}"]
    assert f"{cache}/{ADA}" in result["corrected"]
    assert who(cache) == (OWNER, GROUP, 0o755)
    assert who(cache / ADA) == (ADA, primary_group(ADA), 0o700)
    assert who(cache / OUTSIDER) == (OUTSIDER, primary_group(OUTSIDER), 0o700)
    assert as_user(MALLORY, 'mkdir "$1"', cache / MALLORY).returncode != 0
    assert not converge(cache, **kind("private", ADA, OUTSIDER))["changed"]
    back = converge(cache)
    assert (back["corrected"], back["moved_aside"]) == ([str(cache)], [])
    assert as_user(MALLORY, 'mkdir "$1"', cache / MALLORY).returncode == 0
    assert not converge(cache)["changed"]


@pytest.mark.parametrize("exists", [True, False])
def test_one_for_all_is_refused_where_it_cannot_work(lab: Lab, exists: bool) -> None:
    """On a filesystem without POSIX ACLs."""
    nas = lab.mount("nas", "-t", "ramfs", "-o", "mode=0755", "ramfs")
    args = {"mount": nas, "group": GROUP, "min_free_bytes": 0, "min_free_inodes": 0}
    if exists:
        make(nas / "uv", **args)
    said = fail(nas / "uv", **args, **kind("group"))
    assert f"uvnas_user_cache: group cannot work on the filesystem of {nas}/uv, which has no POSIX default ACLs" in said
    assert "Use uvnas_user_cache: personal" in said
    assert make(nas / "uv", **args)["probe"]["default_acl"] is False


def test_one_for_all_is_refused_where_default_acls_are_taken_and_do_nothing(lab: Lab) -> None:
    """As some network filesystems have it, which only the probe shows. The share is not made then."""
    (lab.path / "sitecustomize.py").write_text(
        "import os\nreal = os.setxattr\n"
        "os.setxattr = lambda path, name, *rest: None if 'posix_acl' in name else real(path, name, *rest)\n"
    )
    nas = lab.tmpfs()
    args = ["env", f"PYTHONPATH={lab.path}:{ROOT / '.collections'}"]
    result = run(nas / "uv", mount=nas, group=GROUP, wrapper=args, **kind("group"))
    assert "uvnas_user_cache: group cannot work" in result["msg"]
    assert os.listdir(nas) == []
    assert make(nas / "uv", mount=nas, group=GROUP, wrapper=args)["probe"]["default_acl"] is False


def test_one_for_all_works_on_the_others(lab: Lab) -> None:
    for filesystem in ("ext4", "xfs"):
        nas = lab.disk(filesystem, filesystem)
        result = make(nas / "uv", mount=nas, group=GROUP, **kind("group"))
        assert result["probe"]["default_acl"] is True
        assert not result.get("warnings")
    assert stat.S_IMODE((nas / "uv" / "user-cache").stat().st_mode) == 0o2775
    call("true")
