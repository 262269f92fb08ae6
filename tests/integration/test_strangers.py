# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody who is neither root nor the owner can do to a share by being there first. Needs root."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import struct
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.users import find_user
from ansible_collections.uvnas.cluster.plugins.module_utils.share.converge import wanted_from_params
from ansible_collections.uvnas.cluster.plugins.module_utils.share.directories import apply
from ansible_collections.uvnas.cluster.plugins.module_utils.share.plan import Change, Wanted, wanted_directories
from ansible_collections.uvnas.cluster.tests.support.labs import (
    ADA,
    GRACE,
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
    tree,
    who,
)
from ansible_collections.uvnas.cluster.tests.support.shares import KEY, add_interpreter
from ansible_collections.uvnas.cluster.tests.support.sites import Site
from ansible_collections.uvnas.cluster.tests.support.sites import finish as site_done

# u::rwx, g::r-x, g:users:rwx, m::rwx, o::r-x (linux/posix_acl_xattr.h).
_NOBODY_SPECIAL = 0xFFFFFFFF
_LETS_A_GROUP_WRITE = struct.pack(
    "<I" + "HHI" * 5,
    2,
    *(0x01, 7, _NOBODY_SPECIAL),
    *(0x04, 5, _NOBODY_SPECIAL),
    *(0x08, 7, grp.getgrnam(GROUP).gr_gid),
    *(0x10, 7, _NOBODY_SPECIAL),
    *(0x20, 5, _NOBODY_SPECIAL),
)


@pytest.fixture
def lab() -> t.Iterator[Lab]:
    with a_lab() as lab:
        yield lab


@pytest.fixture
def nas(lab: Lab) -> Path:
    """A directory, root's, that shares are made in."""
    nas = lab.path / "nas"
    nas.mkdir(mode=0o755)
    return nas


def open_by(directory: Path, how: str) -> str:
    """Let others write to a directory; who, in the words of a message."""
    if how == "mode":
        directory.chmod(0o777)
        return "everybody"
    if how == "group":
        os.chown(directory, -1, grp.getgrnam(GROUP).gr_gid)
        directory.chmod(0o2775)
    else:
        os.setxattr(directory, "system.posix_acl_access", _LETS_A_GROUP_WRITE)
    return f"the group {GROUP}"


def plant(root: Path) -> None:
    """A share of ada's, with a program in it that she would have the owner run."""
    script = """
    mkdir -p "$1/lib/uv/0.13.9" "$1/bin"
    echo '{"layout": 1, "name": "nas_a", "id": "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a"}' > "$1/share.json"
    printf '#!/bin/sh\\ntouch %s/run\\n' "$1" > "$1/lib/uv/0.13.9/uv"
    chmod 755 "$1/lib/uv/0.13.9/uv"
    """
    done = as_user(ADA, script, root)
    assert done.returncode == 0, done.stderr


# Above the root


@pytest.mark.parametrize("planted", [True, False])
@pytest.mark.parametrize("which", ["nas", "nas/sw"])
@pytest.mark.parametrize("how", ["mode", "group", "ACL"])
def test_above_a_share_nobody_else_may_write(lab: Lab, nas: Path, how: str, which: str, planted: bool) -> None:
    root = nas / "sw" / "uv"
    root.parent.mkdir()
    who_may = open_by(lab.path / which, how)
    if planted and which == "nas/sw":
        plant(root)
    said = fail(root)
    assert f"{root} is not safe from others: {who_may} may write to {lab.path}/{which}\n" in said
    # What it says to do helps.
    command = said.rpartition("or: ")[2].split()
    assert command == ["chmod", "go-w", f"{lab.path}/{which}"]
    call(*command)
    if planted and which == "nas/sw":
        assert f"{root} belongs to {ADA}, but should belong to {OWNER} or root" in fail(root)
        assert not (root / "run").exists()
    else:
        make(root)


def test_from_the_mount_on(lab: Lab) -> None:
    """Above the mount is what this host's admins have made; but what is mounted there counts."""
    (lab.path / "everybodys").mkdir()
    nas = lab.tmpfs("everybodys/nas")
    nas.parent.chmod(0o777)
    make(nas / "uv", mount=nas)
    assert f"everybody may write to {nas.parent}" in fail(nas / "uv")
    open_by(nas, "mode")
    assert f"everybody may write to {nas}\n" in fail(nas / "uv", mount=nas)
    own(nas, ADA)
    nas.chmod(0o755)
    assert f"{nas} belongs to {ADA}, but should belong to {OWNER} or root" in fail(nas / "uv", mount=nas)


def test_a_symlink_on_the_way(lab: Lab, nas: Path) -> None:
    """It is where it lies, and where it leads, that others must not write to."""
    (lab.path / "there").mkdir(mode=0o755)
    (nas / "sw").symlink_to(lab.path / "there")
    open_by(lab.path / "there", "group")
    assert f"the group {GROUP} may write to {lab.path}/there" in fail(nas / "sw" / "uv")
    (lab.path / "there").chmod(0o755)
    open_by(nas, "group")
    assert f"the group {GROUP} may write to {nas}" in fail(nas / "sw" / "uv")
    nas.chmod(0o755)
    make(nas / "sw" / "uv")


def test_in_a_sticky_directory(nas: Path) -> None:
    """As /tmp. What is made there by root or the owner nobody else can take away."""
    nas.chmod(0o1777)
    make(nas / "uv")
    assert not make(nas / "uv")["changed"]
    for how in ("directory", "share", "symlink"):
        root = nas / f"planted-{how}"
        if how == "share":
            plant(root)
        elif how == "directory":
            assert as_user(ADA, 'mkdir "$1"', root).returncode == 0
        else:
            assert as_user(ADA, 'ln -s "$2" "$1"', root, nas / "uv").returncode == 0
        assert f"{root} belongs to {ADA}, but should belong to {OWNER} or root" in fail(root)
        assert root.lstat().st_uid == pwd.getpwnam(ADA).pw_uid


def test_somebody_is_faster_in_a_sticky_directory(nas: Path) -> None:
    """Between the look and mkdir(): what is there then is looked at, and never given to anybody."""
    nas.chmod(0o1777)
    root, wanted = nas / "uv", wanted_for(nas / "uv")
    assert as_user(ADA, 'mkdir "$1"', root).returncode == 0
    with pytest.raises(UvnasError, match=f"^{root} belongs to {ADA}, but should belong to {OWNER} or root$"):
        apply(wanted, Change(str(root), None, wanted_directories(wanted)[str(root)]))
    assert who(root)[0] == ADA


def wanted_for(root: Path, **more: t.Any) -> Wanted:
    given = {
        "share": str(root),
        "share_name": "nas_a",
        "share_id": None,
        "mount": None,
        "group": None,
        "mode": None,
        "user_cache": "group",
        "user_cache_users": [],
        "min_free_bytes": 0,
        "min_free_inodes": 0,
        **more,
    }
    return wanted_from_params(given, find_user(OWNER))


# All that write


MODULES: dict[str, dict[str, t.Any]] = {
    "uv_share": {},
    "uv_binary": {"version": "0.13.9"},
    "uv_python": {},
    "uv_lock": {"environments": []},
    "uv_env_compare": {"environments": [], "inputs": {}},
    "uv_env": {"environments": []},
}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_looks_at_the_way_and_writes_nothing(lab: Lab, nas: Path, module: str) -> None:
    """Also where it has nothing to do."""
    nas.chmod(0o777)
    root, args = nas / "uv", {"module": module, **MODULES[module]}
    plant(root)
    assert f"everybody may write to {nas}" in fail(root, **args)
    nas.chmod(0o755)
    assert f"{root} belongs to {ADA}, but should belong to {OWNER} or root" in fail(root, **args)
    assert not list(root.rglob("run")) + list(root.glob(".uvnas*"))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_wants_the_mount_and_the_id(lab: Lab, module: str) -> None:
    nas = lab.tmpfs()
    args = {"module": module, **MODULES[module]}
    share_id = make(nas / "uv", mount=nas)["share_id"]
    root, other = nas / "uv", share_id[:-1] + ("0" if share_id[-1] != "0" else "1")
    assert f"its id is {share_id}, not {other} as declared" in fail(root, **args, mount=nas, share_id=other)
    if module not in ("uv_binary", "uv_share"):
        assert not make(root, **args, mount=nas, share_id=share_id)["changed"]
    assert f"nothing is mounted at {root}" in fail(root, **args, mount=root)


@pytest.mark.parametrize("role", ["uv", "python", "envs"])
def test_roles_tell_what_is_declared(nas: Path, tmp_path: Path, role: str) -> None:
    """Each alone, where no other one has looked."""
    make(nas / "uv", owner=None)
    site = Site(tmp_path, "3.12", {})
    share = {"name": "nas_a", "root": str(nas / "uv"), "builder": "builder"}
    for key, value, said in (
        ("id", "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a", "not 6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a as declared"),
        ("mount", str(nas), f"nothing is mounted at {nas}"),
    ):
        done = site_done(site.start([], play=f"uvnas.cluster.{role}", uvnas_shares=[{**share, key: value}]))
        assert done.rc == 2
        assert said in done.output


@pytest.mark.parametrize("module", MODULES)
def test_a_foreign_directory_gets_no_mutex(nas: Path, module: str) -> None:
    """Nor anything else: of another share, or of no share."""
    make(nas / "other", share_name="nas_b")
    (nas / "home").mkdir()
    (nas / "home" / "thesis.tex").touch()
    (nas / "other" / ".uvnas.mutex").unlink()
    (nas / "other" / ".uvnas-probe.mutex").unlink()
    args = {"module": module, **MODULES[module]}
    assert f"{nas}/other is the share nas_b, not nas_a" in fail(nas / "other", **args)
    result = run(nas / "home", **args)
    assert "is neither a share nor empty" in result["msg"] or f"{nas}/home is not a share" in result["msg"]
    assert sorted(os.listdir(nas / "home")) == ["thesis.tex"]
    assert not list(nas.rglob(".uvnas*"))


@pytest.mark.parametrize("mutex", [".uvnas.mutex", ".uvnas-probe.mutex"])
def test_what_changes_while_a_mutex_is_waited_for_is_seen(nas: Path, mutex: str) -> None:
    """As when another NAS gets mounted there."""
    root = nas / "uv"
    make(root)
    (root / "locks").rmdir()
    holder = """
import sys
from ansible_collections.uvnas.cluster.plugins.module_utils.host.mutex import hold
with hold(sys.argv[1], timeout=0, purpose="holding"):
    print("held", flush=True)
    sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    with subprocess.Popen(
        [sys.executable, "-c", holder, root / mutex], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        waiting = start(root)
        wait_for_opener(root / mutex, process.pid)
        identity = json.loads((root / "share.json").read_text())
        (root / "share.json").write_text(json.dumps({**identity, "name": "nas_b"}))
        before = tree(root)
        process.communicate()
        result = finish(waiting)
    assert f"{root} is the share nas_b, not nas_a" in result["msg"]
    after = tree(root)
    touched = {path for path in before if before[path] != after.get(path)} | set(after) - set(before)
    # The mutexes have had the names of their holders in them.
    assert {os.path.basename(path) for path in touched} <= {".uvnas.mutex", ".uvnas-probe.mutex", "uv", "nas"}
    assert not (root / "locks").exists()


def wait_for_opener(path: Path, but: int) -> None:
    """Wait until some other process has ``path`` open."""
    for _moment in range(1200):
        for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) == str(path) and int(descriptor.parts[2]) != but:
                    return
        time.sleep(0.05)
    pytest.fail(f"nobody has opened {path}")


# In the root


def test_a_root_that_others_may_write_to_is_not_taken_over(nas: Path) -> None:
    root = nas / "uv"
    root.mkdir()
    who_may = open_by(root, "group")
    assert f"{who_may} may write to {root}" in fail(root)
    root.chmod(0o755)
    assert make(root)["corrected"] == [str(root)]
    open_by(root, "ACL")
    assert f"{who_may} may write to {root}" in fail(root)


@pytest.mark.parametrize("name", ["bin", "lib", "lib/uv", "python", "generations", "user-cache", "locks"])
def test_what_somebody_else_made_in_a_share_is_not_taken_over(nas: Path, name: str) -> None:
    root = nas / "uv"
    make(root)
    own(root / name, ADA)
    said = fail(root)
    assert f"{root}/{name} belongs to {ADA}, but should belong to {OWNER} or root" in said
    command = said.rpartition("no longer theirs: ")[2].split()
    assert command == ["chown", "-hR", OWNER, f"{root}/{name}"]
    call(*command)
    make(root)  # It may have another group.
    assert not make(root)["changed"]


def test_a_share_json_of_somebody_else_above_stops_nobody(nas: Path) -> None:
    nas.chmod(0o1777)
    done = as_user(ADA, """echo '{"layout": 1, "name": "x", "id": "y"}' > "$1/share.json" """, nas)
    assert done.returncode == 0
    make(nas / "uv")
    own(nas / "share.json", OWNER)
    assert f"is inside the share x ({nas})" in fail(nas / "other")


# What is installed already


@pytest.mark.parametrize("what", ["lib/uv", "lib/uv/0.13.9", "lib/uv/0.13.9/uv", "bin/uv"])
def test_a_uv_of_somebody_else_is_not_run(nas: Path, what: str) -> None:
    root = nas / "uv"
    make(root)
    version = root / "lib" / "uv" / "0.13.9"
    version.mkdir(mode=0o755)
    for program in ("uv", "uvx"):
        (version / program).write_text("#!/bin/sh\n")
        (version / program).chmod(0o755)
        (root / "bin" / program).symlink_to(f"../lib/uv/0.13.9/{program}")
    args = {"module": "uv_binary", "version": "0.13.9"}
    assert not make(root, **args)["changed"]
    entry = pwd.getpwnam(ADA)
    os.lchown(root / what, entry.pw_uid, entry.pw_gid)
    assert f"{root}/{what} belongs to {ADA}, but should belong to {OWNER} or root" in fail(root, **args)
    os.lchown(root / what, 0, 0)
    assert not make(root, **args)["changed"]
    if what == "lib/uv":
        (root / what).chmod(0o757)
        # In a check, uv_share would have closed it before.
        assert f"everybody may write to {root}/{what}" in run(root, **args)["msg"]
        assert not run(root, check=True, **args).get("failed")
    elif what != "bin/uv":
        (root / what).chmod(0o757)
        assert "archive_needed_for" in make(root, **args)  # It is installed anew.


@pytest.mark.parametrize("what", ["", "bin/python3.12"])
def test_an_interpreter_of_somebody_else_is_not_used(nas: Path, what: str) -> None:
    root = nas / "uv"
    make(root)
    add_interpreter(root)
    program = root / "python" / KEY / "bin" / "python3.12"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    for part in (program, *program.parents[:2]):
        own(part, OWNER)
        part.chmod(0o555)
    args = {"module": "uv_python", "pythons": ["3.12"], "offline": True, "compile_bytecode": False}
    assert not make(root, **args)["changed"]
    path = root / "python" / KEY / what
    own(path, ADA)
    assert f"{path} belongs to {ADA}, but should belong to {OWNER} or root".replace("/ ", " ") in fail(root, **args)


@pytest.mark.parametrize("what", ["", "lib/uv", "bin"])
def test_uv_in_a_directory_that_others_may_write_to(lab: Lab, what: str) -> None:
    """Everybody on this host runs it, root too."""
    directory = lab.path / "local"
    for path in (directory / "bin", directory / "lib" / "uv" / "0.13.9"):
        path.mkdir(parents=True)
    args = {"module": "uv_binary", "share": None, "share_name": None, "owner": None, "bin_dir": directory / "bin"}
    (directory / what).chmod(0o1777 if what else 0o777)
    said = fail(directory / "uv", **args, version="0.13.9")
    assert f"everybody may write to {directory / what}" in said


@pytest.mark.parametrize("which", ["profile.d", "fish"])
def test_profile_files_where_others_may_write(lab: Lab, which: str) -> None:
    """All shells of all users would run what they put there."""
    args = {
        "module": "uv_profile",
        "share": None,
        "share_name": None,
        "owner": None,
        "shares": [{"name": "nas_a", "root": "/mnt/nas-a/uv"}],
        "directory": lab.path / "profile.d",
        "fish_directory": lab.path / "fish" / "conf.d",
    }
    (lab.path / which).mkdir()
    (lab.path / which).chmod(0o777)
    assert f"everybody may write to {lab.path / which}" in fail(lab.path / "x", **args)
    (lab.path / which).chmod(0o755)
    assert make(lab.path / "x", **args)["changed"]


# People's directories


def private(*people: str) -> dict[str, t.Any]:
    return {"user_cache": "private", "user_cache_users": list(people)}


def hidden(cache: Path, name: str) -> list[Path]:
    return sorted(cache.glob(f".{name}.*.aside"))


@pytest.mark.parametrize("how", ["somebody", "their own", "symlink", "file", "owner's, open"])
def test_what_was_made_for_a_person_by_somebody_is_moved_aside(lab: Lab, how: str) -> None:
    """From one cache for all, where anybody can make a directory with any name, to one for each."""
    nas = lab.disk("ext4")
    root, cache = nas / "uv", nas / "uv" / "user-cache"
    make(root, group=GROUP, user_cache="group")
    place = cache / ADA
    if how == "symlink":
        victim = lab.path / "victim"
        victim.mkdir()
        assert as_user(GRACE, 'ln -s "$2" "$1"', place, victim).returncode == 0
    elif how == "file":
        assert as_user(GRACE, 'echo poison > "$1"', place).returncode == 0
    else:
        maker = {"somebody": GRACE, "their own": ADA, "owner's, open": OWNER}[how]
        done = as_user(maker, 'mkdir "$1"', place)
        assert done.returncode == 0, done.stderr
        # The default ACL of the cache lets others of the group write to it, whoever made it.
        done = as_user(GRACE, 'echo poison > "$1/wheel"', place)
        assert done.returncode == 0, done.stderr
    predicted, result = make(root, check=True, group=GROUP, **private(ADA)), make(root, group=GROUP, **private(ADA))
    assert (predicted["diff"], predicted["created"]) == (result["diff"], result["created"])
    assert str(place) in result["created"]
    (warning,) = result["warnings"]
    assert f"somebody else made {place} or could write to it. It was moved aside, to .{ADA}.*.aside in" in str(warning)
    assert predicted["warnings"] == result["warnings"]
    (aside,) = hidden(cache, ADA)
    if how == "symlink":
        assert (os.readlink(aside), who(victim)[0], os.listdir(victim)) == (str(victim), "root", [])
    else:
        assert (aside if how == "file" else aside / "wheel").read_text() == "poison\n"
    assert who(place) == (ADA, primary_group(ADA), 0o700)
    assert os.listdir(place) == []
    assert not {name for name in os.listxattr(place) if "posix_acl" in name}
    assert "Permission denied" in as_user(GRACE, 'ls "$1"', place).stderr
    assert not make(root, group=GROUP, **private(ADA))["changed"]


def test_nobody_is_stopped_by_what_a_person_does_to_their_own(nas: Path) -> None:
    root = nas / "uv"
    cache = root / "user-cache"
    make(root, **private(ADA, GRACE))
    for mode in ("755", "777"):
        assert as_user(ADA, f'echo mine > "$1/wheel"; chmod {mode} "$1"', cache / ADA).returncode == 0
        assert not make(root, **private(ADA, GRACE))["changed"]
    assert hidden(cache, ADA) == []


def test_the_directory_of_somebody_who_left_is_not_the_next_ones(nas: Path) -> None:
    """Of the same name, and another number."""
    root = nas / "uv"
    make(root, **private(ADA))
    own(root / "user-cache" / ADA, GRACE)
    make(root, **private())
    assert who(root / "user-cache" / ADA)[0] == GRACE
    make(root, **private(ADA))
    assert who(root / "user-cache" / ADA)[0] == ADA
    assert who(hidden(root / "user-cache", ADA)[0])[0] == GRACE


def test_from_one_for_each_to_one_for_all_and_back(lab: Lab) -> None:
    nas = lab.disk("ext4")
    root, cache = nas / "uv", nas / "uv" / "user-cache"
    make(root, group=GROUP, **private(ADA))
    assert as_user(ADA, 'echo mine > "$1/wheel"', cache / ADA).returncode == 0
    make(root, group=GROUP, user_cache="group")
    assert who(cache / ADA) == (ADA, primary_group(ADA), 0o700)
    assert "Permission denied" in as_user(GRACE, 'ls "$1"', cache / ADA).stderr
    # While it is one for all, anybody can put something else in its place, but not make it ada's and closed.
    done = as_user(GRACE, 'mv "$1" "$1.gone"; mkdir "$1"; chmod 700 "$1"; echo poison > "$1/wheel"', cache / ADA)
    assert done.returncode == 0, done.stderr
    make(root, group=GROUP, **private(ADA))
    assert os.listdir(cache / ADA) == []
    assert (hidden(cache, ADA)[0] / "wheel").read_text() == "poison\n"
    assert (cache / f"{ADA}.gone" / "wheel").read_text() == "mine\n"


def test_somebody_is_faster_with_a_persons_directory(nas: Path) -> None:
    """Before the cache was closed, and after it was looked at."""
    root = nas / "uv"
    make(root, group=GROUP, user_cache="group")
    wanted = wanted_for(root, **private(ADA))
    place = str(root / "user-cache" / ADA)
    change = Change(place, None, wanted_directories(wanted)[place])
    assert as_user(GRACE, 'mkdir "$1"', place).returncode == 0
    with pytest.raises(UvnasError, match=f"^somebody else has just made {place}$"):
        apply(wanted, change)
    os.rmdir(place)
    assert as_user(ADA, 'mkdir "$1"', place).returncode == 0
    with pytest.raises(UvnasError, match=f"^somebody else has just made {place}$"):
        apply(wanted, change)
