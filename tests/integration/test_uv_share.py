# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_share and the role share on real filesystems, as several users, killed, several at once. Needs root."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.plugins.module_utils.share.directories import apply
from ansible_collections.uvnas.cluster.plugins.module_utils.share.plan import Change, Directory, Wanted
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.tests.support.labs import (
    ADA,
    GRACE,
    GROUP,
    MIB,
    OWNER,
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

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

ID = "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a"

# Runs the module again and again, each time in a new directory, killed at its first, second, … change to a file; and to
# the end after each kill. Prints a line for each: what was left, what the second run said. The last one is not killed.
KILLER = """
import json, mmap, os, signal, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.modules import uv_share
args = json.loads(sys.argv[1])
EVENTS = {"os." + name for name in "mkdir rename chmod chown link symlink remove rmdir setxattr removexattr".split()}

def changes(event, rest):
    return event in EVENTS or (event == "open" and isinstance(rest[2], int) and rest[2] & (os.O_CREAT | os.O_WRONLY))

def run(share, kill_at, output):
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        # A process that became the share's owner cannot kill its parent. So it tells, and waits for its end.
        os.close(tell)
        if os.read(told, 1):
            os.killpg(pid, 9)
        os.close(told)
        return os.waitpid(pid, 0)[1]
    os.setsid()
    count = mmap.mmap(-1, 8)  # shared with the children of this process
    def hook(event, rest):
        if changes(event, rest):
            done = int.from_bytes(count[:8], "little") + 1
            count[:8] = done.to_bytes(8, "little")
            if done == kill_at:
                os.write(tell, b"!")
                signal.pause()
    os.dup2(output, 1)
    with patch_module_args({**args, "share": share}):
        sys.addaudithook(hook)
        uv_share.main()

for number in range(1, 1000):
    share = f"{args['share']}-{number}"
    with open(os.devnull, "w") as null:
        status = run(share, number, null.fileno())
    left = os.listdir(share) if os.path.exists(share) else None
    with open(f"{args['share']}.out", "w+") as out:
        run(share, 0, out.fileno())
        out.seek(0)
        said = {"share": share, "status": status, "left": left, "result": json.load(out)}
        print(json.dumps(said), flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


@pytest.fixture
def lab() -> t.Iterator[Lab]:
    with a_lab() as lab:
        yield lab


# What filesystems can do


@pytest.mark.parametrize(
    ("kind", "link_mode", "reflink"),
    [("ext4", "hardlink", False), ("xfs", "clone", True), ("tmpfs", "hardlink", False)],
)
def test_filesystems(lab: Lab, kind: str, link_mode: str, reflink: bool) -> None:
    nas = lab.tmpfs() if kind == "tmpfs" else lab.disk(kind)
    root = nas / "uv"
    args = {"mount": nas, "group": GROUP}
    predicted = make(root, check=True, **args)
    assert not root.exists()
    result = make(root, **args)
    assert result["filesystem"] == predicted["filesystem"] == kind
    assert result["link_mode"] == link_mode
    assert result["probe"]["reflink"] == reflink
    assert result["probe"]["hard_link"]
    assert result["diff"] == predicted["diff"]
    assert result["created"] == predicted["created"]
    assert not result.get("warnings")
    assert who(root / "generations") == (OWNER, GROUP, 0o755)
    assert who(root / "user-cache") == (OWNER, GROUP, 0o1777)
    assert who(root / "share.json")[0] == OWNER
    assert not make(root, **args)["changed"]
    assert not make(root, check=True, **args)["changed"]


def test_a_whole_filesystem_as_share(lab: Lab) -> None:
    nas = lab.disk("ext4")
    assert (nas / "lost+found").exists()
    result = make(nas, mount=nas)
    assert str(nas) in result["corrected"]
    assert who(nas) == (OWNER, primary_group(OWNER), 0o755)
    assert not make(nas, mount=nas)["changed"]


def test_directories_above_the_root_are_made_below_a_mount(lab: Lab) -> None:
    nas = lab.tmpfs()
    result = make(nas / "sw" / "deep" / "uv", mount=nas)
    assert result["created"][:2] == [str(nas / "sw"), str(nas / "sw" / "deep")]
    assert who(nas / "sw")[0] == OWNER


def test_a_share_on_several_filesystems_copies_and_says_so(lab: Lab) -> None:
    nas = lab.tmpfs()
    make(nas / "uv", mount=nas)
    lab.tmpfs("nas/uv/generations")
    own(nas / "uv" / "generations", OWNER)
    result = make(nas / "uv", mount=nas)
    assert result["link_mode"] == "copy"
    (warning,) = result["warnings"]
    assert f"{nas}/uv/generations: on another filesystem" in str(warning)


def test_so_does_one_that_is_mounted_twice(lab: Lab) -> None:
    """One device, and yet no links from one mount to the other."""
    nas = lab.tmpfs()
    make(nas / "uv", mount=nas)
    (nas / "elsewhere").mkdir()
    own(nas / "elsewhere", OWNER)
    lab.mount("nas/uv/cache", "--bind", nas / "elsewhere")
    assert make(nas / "uv", mount=nas)["link_mode"] == "copy"


def test_a_bind_mount_is_a_mount_point(lab: Lab) -> None:
    (lab.path / "disk").mkdir()
    make(lab.mount("nas", "--bind", lab.path / "disk") / "uv", mount=lab.path / "nas")


def test_a_mount_behind_a_symlink(lab: Lab) -> None:
    nas = lab.tmpfs()
    (lab.path / "link").symlink_to(nas)
    make(lab.path / "link" / "uv", mount=lab.path / "link")
    assert (nas / "uv" / "share.json").exists()


# Nothing is written where it does not belong


def test_nothing_mounted(lab: Lab) -> None:
    nas = lab.tmpfs()
    make(nas / "uv", mount=nas)
    lab.unmount(nas)
    assert f"nothing is mounted at {nas}, the mount of share nas_a" in fail(nas / "uv", mount=nas)
    nas.rmdir()
    before = tree(nas)
    assert f"the mount {nas} of share nas_a does not exist" in run(nas / "uv", mount=nas)["msg"]
    assert tree(nas) == before


def test_a_symlink_that_leaves_the_mount(lab: Lab) -> None:
    nas = lab.tmpfs()
    (lab.path / "local").mkdir()
    (nas / "sw").symlink_to(lab.path / "local")
    assert "which is not below the mount" in fail(nas / "sw" / "uv", mount=nas)
    assert list((lab.path / "local").iterdir()) == []


def test_another_nas_is_mounted(lab: Lab) -> None:
    nas = lab.tmpfs()
    make(nas / "uv", share_name="nas_b")
    assert f"{nas}/uv is the share nas_b, not nas_a" in fail(nas / "uv", mount=nas)


def test_a_copy_of_the_share_is_mounted(lab: Lab) -> None:
    nas = lab.tmpfs()
    make(nas / "uv", mount=nas)
    assert "is another share called nas_a: its id is" in fail(nas / "uv", mount=nas, share_id=ID)


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    ("option", "said"), [("ro", "is mounted read-only here"), ("noexec", "is mounted noexec here")]
)
def test_mount_options(lab: Lab, option: str, said: str, exists: bool) -> None:
    nas = lab.tmpfs()
    if exists:
        make(nas / "uv", mount=nas)
        (nas / "uv" / "cache").rmdir()  # Something to do.
    lab.remount(nas, option)
    assert said in fail(nas / "uv", mount=nas)


def test_a_read_only_filesystem_with_nothing_to_do(lab: Lab) -> None:
    nas = lab.tmpfs()
    made = make(nas / "uv", mount=nas)
    before = tree(nas)
    lab.remount(nas, "ro")
    for check in (True, False):
        # There is no more room than there is.
        result = run(nas / "uv", mount=nas, min_free_bytes=1 << 50, check=check)
        assert (result["changed"], result["share_id"]) == (False, made["share_id"])
        assert result["link_mode"] is None
        (warning,) = result["warnings"]
        assert f"Share nas_a ({nas}/uv): the filesystem is read-only on this host, its builder." in str(warning)
    lab.remount(nas, "ro,noexec")
    assert "is mounted noexec here" in fail(nas / "uv", mount=nas)
    assert tree(nas) == before


def test_no_room(lab: Lab) -> None:
    nas = lab.tmpfs(options="size=20m,nr_inodes=500")
    assert "bytes free, but needs 104857600" in fail(nas / "uv", mount=nas)
    assert "inodes free, but needs 1000" in fail(nas / "uv", mount=nas, min_free_bytes=0)
    assert make(nas / "uv", mount=nas, min_free_bytes=10 * MIB, min_free_inodes=400)["probe"]["free_inodes"] < 500


def test_a_filesystem_that_does_not_count_inodes(lab: Lab) -> None:
    nas = lab.tmpfs(options="size=200m,nr_inodes=0")
    assert make(nas / "uv", mount=nas)["probe"]["free_inodes"] is None


def test_what_cannot_become_a_share_is_left_as_it_was(lab: Lab) -> None:
    """Too full for the probe, which nobody can know before."""
    nas = lab.tmpfs(options="size=20m,nr_inodes=6")
    result = run(nas / "uv", mount=nas, min_free_bytes=0, min_free_inodes=0)
    assert "No space left on device" in result["msg"]
    assert "no free bytes or inodes left" in result["hint"]
    assert list(nas.iterdir()) == []


def test_a_full_share_can_still_be_cleaned(lab: Lab) -> None:
    nas = lab.tmpfs(options="size=20m")
    make(nas / "uv", mount=nas, min_free_bytes=0)
    with contextlib.suppress(OSError), (nas / "full").open("wb", buffering=0) as file:
        while file.write(b"\0" * MIB):
            pass
    with contextlib.suppress(OSError), (nas / "fuller").open("wb", buffering=0) as file:
        while file.write(b"\0" * 100):
            pass
    assert "bytes free" in fail(nas / "uv", mount=nas)
    result = make(nas / "uv", mount=nas, min_free_bytes=0)
    assert not result["changed"]
    assert result["probe"]["free_bytes"] == 0
    assert result["probe"]["hard_link"] is None
    (nas / "uv" / "envs").rmdir()
    os.truncate(nas / "full", MIB)
    assert make(nas / "uv", mount=nas, min_free_bytes=0)["created"] == [str(nas / "uv" / "envs")]


# Owners


def test_what_is_off_is_corrected(lab: Lab) -> None:
    root = lab.path / "uv"
    share_id = make(root, group=GROUP)["share_id"]
    own(root, "root")
    root.chmod(0o700)
    own(root / "lib", "root")
    (root / "lib").chmod(0o700)
    (root / "lib" / "uv").rmdir()
    own(root / "share.json", "root")
    predicted, result = make(root, group=GROUP, check=True), make(root, group=GROUP)
    for part in ("changed", "created", "diff", "share_id"):
        assert predicted[part] == result[part]
    assert sorted(predicted["corrected"]) == sorted(result["corrected"])
    assert sorted(result["corrected"]) == [str(root / name) for name in ("", "lib", "share.json")]
    assert result["created"] == [str(root / "lib" / "uv")]
    assert "./: 0700 root:root\n" in result["diff"]["before"]
    assert f"./: 0755 {OWNER}:{GROUP}\n" in result["diff"]["after"]
    assert result["share_id"] == share_id
    assert who(root) == who(root / "lib") == who(root / "lib" / "uv") == (OWNER, GROUP, 0o755)
    assert not result.get("warnings")
    (root / "locks").chmod(0o777)
    (warning,) = make(root, group=GROUP)["warnings"]
    assert f"others than {OWNER} could write to locks" in str(warning)
    assert not make(root, group=GROUP)["changed"]


def test_a_directory_made_by_root_is_taken_over(lab: Lab) -> None:
    root = lab.path / "uv"
    root.mkdir(mode=0o700)
    predicted, result = make(root, check=True), make(root)
    assert predicted["diff"] == result["diff"]
    assert predicted["corrected"] == result["corrected"] == [str(root)]
    assert not result.get("warnings")


def test_a_directory_with_something_in_it_is_not_taken_over(lab: Lab) -> None:
    root = lab.path / "home"
    root.mkdir(mode=0o700)
    (root / "thesis.tex").touch()
    assert "is neither a share nor empty (it has thesis.tex)" in fail(root)


def test_what_is_above_the_share_is_not_opened(lab: Lab) -> None:
    (lab.path / "nas").mkdir(mode=0o700)
    assert f"{OWNER} may not look into {lab.path}/nas" in fail(lab.path / "nas" / "uv")


def test_symlinks_in_a_share_are_not_followed_by_root(lab: Lab) -> None:
    root = lab.path / "uv"
    make(root)
    (lab.path / "victim").mkdir()
    own(root / "lib", "root")
    (root / "lib" / "uv").rmdir()
    (root / "lib" / "uv").symlink_to(lab.path / "victim")
    assert "uv/lib/uv is a symlink" in fail(root)
    assert who(lab.path / "victim")[0] == "root"


def test_private_caches(lab: Lab) -> None:
    root = lab.path / "uv"
    args = {"user_cache": "private", "user_cache_users": [ADA, GRACE]}
    predicted, result = make(root, check=True, **args), make(root, **args)
    assert predicted["diff"] == result["diff"]
    assert sorted(predicted["created"]) == sorted(result["created"])
    assert who(root / "user-cache") == (OWNER, primary_group(OWNER), 0o755)
    assert who(root / "user-cache" / ADA) == (ADA, primary_group(ADA), 0o700)
    assert not make(root, **args)["changed"]
    make(root, user_cache="private", user_cache_users=[GRACE])
    assert (root / "user-cache" / ADA).exists()
    # From one for all to one for each, and back.
    assert make(root)["corrected"] == [str(root / "user-cache")]
    assert make(root, **args)["corrected"] == [str(root / "user-cache")]


def test_people_share_a_cache_whatever_their_umask(lab: Lab) -> None:
    root = lab.disk("ext4") / "uv"
    make(root, group=GROUP, user_cache="group")
    cache = root / "user-cache"
    ada = as_user(ADA, 'mkdir "$1/wheels"; echo 1 > "$1/wheels/one"', cache)
    assert ada.returncode == 0, ada.stderr
    grace = as_user(
        GRACE, 'ln "$1/wheels/one" "$1/wheels/link"; echo 2 >> "$1/wheels/one"; mkdir "$1/wheels/more"', cache
    )
    assert grace.returncode == 0, grace.stderr
    assert (cache / "wheels" / "link").read_text() == "1\n2\n"
    stranger = as_user(GRACE, 'echo 3 >> "$1/wheels/one"', cache, groups=primary_group(GRACE))
    assert "Permission denied" in stranger.stderr
    for path in (root, root / "cache", root / "generations"):
        assert "Permission denied" in as_user(ADA, 'echo > "$1/x"', path).stderr


def test_a_person_cannot_look_into_the_cache_of_another(lab: Lab) -> None:
    root = lab.path / "uv"
    make(root, user_cache="private", user_cache_users=[ADA, GRACE])
    assert as_user(ADA, 'echo > "$1/x"', root / "user-cache" / ADA).returncode == 0
    assert "Permission denied" in as_user(GRACE, 'ls "$1"', root / "user-cache" / ADA).stderr


def test_an_ordinary_user_needs_no_root(lab: Lab) -> None:
    own(lab.path, ADA)
    root = lab.path / "uv"
    me = {"user": ADA, "groups": [GROUP], "owner": None, "group": GROUP}
    predicted, result = make(root, check=True, **me), make(root, **me)
    assert predicted["diff"] == result["diff"]
    assert who(root / "cache") == (ADA, GROUP, 0o700)
    assert who(root / "user-cache") == (ADA, GROUP, 0o1777)
    assert not make(root, **me)["changed"]
    assert not make(root, **{**me, "owner": ADA})["changed"]
    # Its own modes it can set right, unreadable ones too.
    (root / "locks").chmod(0)
    root.chmod(0o500)
    assert sorted(make(root, **me)["corrected"]) == [str(root), str(root / "locks")]
    assert make(root, **me, user_cache="private", user_cache_users=[ADA])["changed"]
    assert who(root / "user-cache" / ADA) == (ADA, primary_group(ADA), 0o700)


def test_what_an_ordinary_user_may_not(lab: Lab) -> None:
    me = {"user": ADA, "owner": None}
    said = fail(lab.path / "uv", **me)
    assert f"{ADA} may not make {lab.path}/uv" in said
    assert f"install -d -o {ADA} -g {primary_group(ADA)} -m 0755 {lab.path}/uv" in said
    own(lab.path, ADA)
    assert f"{ADA} is not in the group {GROUP}" in fail(lab.path / "uv", **me, group=GROUP)
    said = fail(lab.path / "uv", **me, user_cache="private", user_cache_users=[ADA, GRACE])
    assert "only root can make a directory that belongs to somebody else" in said
    assert "but the share belongs to daemon" in fail(lab.path / "uv", user=ADA, owner=OWNER)
    make(lab.path / "uv", owner=ADA)
    own(lab.path / "uv" / "locks", "root")
    assert "it belongs to uid 0" in fail(lab.path / "uv", **me)


@pytest.mark.parametrize("exists", [True, False])
def test_a_root_that_may_nothing(lab: Lab, exists: bool) -> None:
    """As on an NFS export that squashes root: it is nobody special there."""
    squashed = "-dac_override,-dac_read_search,-chown,-fowner,-fsetid"
    args = {"wrapper": ["setpriv", f"--bounding-set={squashed}", f"--inh-caps={squashed}"]}
    nas = lab.path / "nas"
    nas.mkdir()
    own(nas, OWNER)
    nas.chmod(0o700)
    if exists:
        make(nas / "uv")
    # All as the owner, in a directory that root cannot even enter.
    result = make(nas / "uv", **args)
    assert result["changed"] == (not exists)
    assert who(nas / "uv" / "share.json")[0] == OWNER
    # What the owner may not, root cannot do either.
    said = run(nas / "uv", **args, user_cache="private", user_cache_users=[ADA])["msg"]
    assert f"neither {OWNER} nor root may make {nas}/uv/user-cache/{ADA}" in said
    assert f"install -d -o {ADA} -g {primary_group(ADA)} -m 0700 {nas}/uv/user-cache/{ADA}" in said
    assert not (nas / "uv" / "user-cache" / ADA).exists()
    own(nas, "root")
    nas.chmod(0o555)
    said = fail(nas / "other", **args)
    assert f"neither {OWNER} nor root may make {nas}/other" in said
    assert "Does this NFS export squash root?" in said


def test_not_writable_for_the_owner(lab: Lab) -> None:
    """Although its modes say so: as with an ACL."""
    root = lab.disk("ext4") / "uv"
    make(root)
    call("chattr", "+i", root)
    try:
        assert f"{OWNER}, the owner of share nas_a, may not write to {root}" in fail(root)
    finally:
        call("chattr", "-i", root)


@pytest.mark.parametrize("swapped", ["uv/lib", "uv"])
def test_root_is_not_led_away_by_a_symlink_put_there_in_the_meantime(lab: Lab, swapped: str) -> None:
    root = lab.path / "uv"
    make(root)
    victim = lab.path / "victim"
    (victim / "lib").mkdir(parents=True)
    wanted = Directory(pwd.getpwnam(ADA).pw_uid, 0, 0o777)
    changes = [Change(f"{root}/lib/new", None, wanted), Change(f"{root}/lib", wanted, wanted)]
    shutil.rmtree(lab.path / swapped)
    (lab.path / swapped).symlink_to(victim)
    before = tree(victim)
    share = Share.parse({"name": "a", "root": str(root)})
    for change in changes:
        with pytest.raises(OSError, match="Not a directory"):
            apply(Wanted(share, OWNER, 1, OWNER, 1, ()), change)
    assert tree(victim) == before


# Kills and races


@pytest.mark.parametrize(
    "args",
    [
        {},  # Inside the share the owner does everything; here root does a good part:
        {"group": GROUP, "user_cache": "private", "user_cache_users": [ADA]},
    ],
    ids=["owner", "root"],
)
def test_killed_at_any_change_the_next_run_completes_the_share(lab: Lab, args: dict[str, t.Any]) -> None:
    """And never takes what a killed run left for somebody else's directory."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    arguments = {"share_name": "nas_a", "owner": OWNER, "share": str(lab.path / "uv"), **args}
    done = subprocess.run(
        [sys.executable, "-c", KILLER, json.dumps(arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["status"] for one in runs] == [signal.SIGKILL] * (len(runs) - 1) + [0]
    assert len(runs) > 40
    whole = set(runs[-1]["left"])
    for one in runs:
        result = one["result"]
        assert not result.get("failed"), (one["left"], result)
        root = Path(one["share"])
        assert set(os.listdir(root)) == whole
        assert who(root / "lib" / "uv") == (OWNER, args.get("group", primary_group(OWNER)), 0o755)
        assert json.loads((root / "share.json").read_text())["id"] == result["share_id"]
    assert not runs[-1]["result"]["changed"]
    # Not even modes and owners are left to be corrected.
    assert not make(Path(runs[len(runs) // 2]["share"]), **args)["changed"]


@pytest.mark.parametrize("parent", ["root", OWNER])
def test_several_at_once(lab: Lab, parent: str) -> None:
    own(lab.path, parent)
    for number in range(4):
        root = lab.path / f"uv-{number}"
        results = [finish(process) for process in [start(root, group=GROUP) for _number in range(4)]]
        assert not [result["msg"] for result in results if result.get("failed")]
        assert len({result["share_id"] for result in results}) == 1
        assert sum(str(root / "share.json") in result["created"] for result in results) == 1
        assert not make(root, group=GROUP)["changed"]


def test_the_mutex_of_a_share_is_waited_for_only_if_there_is_something_to_do(lab: Lab) -> None:
    root = lab.path / "uv"
    make(root)
    holder = """
import sys, time
from ansible_collections.uvnas.cluster.plugins.module_utils.host.mutex import hold
with hold(sys.argv[1], timeout=0, purpose="building"):
    print("held", flush=True)
    sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    with subprocess.Popen(
        [sys.executable, "-c", holder, root / ".uvnas.mutex"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert not make(root, busy_timeout=0)["changed"]
        (root / "envs").rmdir()
        said = run(root, busy_timeout=0)["msg"]
        assert f"pid {process.pid}" in said
        assert "(building)" in said
        assert not (root / "envs").exists()
        process.communicate()
    assert make(root, busy_timeout=0)["changed"]


def test_what_a_killed_probe_left_is_removed(lab: Lab) -> None:
    root = lab.path / "uv"
    make(root)
    left = root / ".uvnas-probe-0123456789abcdef" / "one"
    left.mkdir(parents=True)
    own(left.parent, OWNER)
    own(left, OWNER)
    assert not make(root)["changed"]
    assert not left.parent.exists()


# The role


@dataclasses.dataclass
class Site:
    """An inventory with shares, and the role on it."""

    lab: Lab
    shares: list[dict[str, t.Any]]
    variables: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def converge(self, *options: str) -> subprocess.CompletedProcess[str]:
        path = self.lab.path / "site"
        path.mkdir(exist_ok=True)
        hosts = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        variables = {**hosts, "uvnas_shares": self.shares, **self.variables}
        (path / "inventory.yml").write_text(
            yaml.safe_dump({"all": {"hosts": {"dev1": None, "dev2": None}, "vars": variables}})
        )
        play = [{"hosts": "dev1", "gather_facts": False, "roles": ["uvnas.cluster.share"]}]
        (path / "play.yml").write_text(yaml.safe_dump(play))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_REMOTE_TMP": str(path / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        }
        return subprocess.run(
            [BIN / "ansible-playbook", "-i", "inventory.yml", "play.yml", *options],
            cwd=path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def site(lab: Lab) -> Site:
    nas_a, nas_b = lab.disk("ext4", "nas-a"), lab.tmpfs("nas-b")
    return Site(
        lab,
        [
            {
                "name": "nas_a",
                "root": f"{nas_a}/uv",
                "mount": str(nas_a),
                "builder": "dev1",
                "owner": OWNER,
                "group": GROUP,
            },
            {
                "name": "nas_b",
                "root": f"{nas_b}/uv",
                "mount": str(nas_b),
                "builder": "dev1",
                "owner": OWNER,
                "mode": "0750",
            },
            {"name": "nas_c", "root": "/no/such/nas", "builder": "dev2"},
        ],
    )


@pytest.mark.compat
def test_role(lab: Lab, site: Site) -> None:
    predicted = site.converge("--check", "--diff")
    assert "changed=1 " in predicted.stdout, predicted.stdout + predicted.stderr
    assert "+user-cache/: 1770 daemon:" in predicted.stdout
    assert not list((lab.path / "nas-b").iterdir())
    done = site.converge("--diff")
    assert "changed=1 " in done.stdout, done.stdout + done.stderr
    diffs = [[line for line in one.stdout.splitlines() if line.startswith(("+", "-"))] for one in (predicted, done)]
    assert diffs[0] == diffs[1]
    assert who(lab.path / "nas-a" / "uv" / "envs") == (OWNER, GROUP, 0o755)
    assert who(lab.path / "nas-b" / "uv" / "envs") == (OWNER, primary_group(OWNER), 0o750)
    again = site.converge("--diff")
    assert "changed=0 " in again.stdout
    assert "failed=0 " in again.stdout
    assert not [line for line in again.stdout.splitlines() if line.startswith(("+", "-"))]


def test_role_rejects_shares_that_cannot_be_meant(lab: Lab, site: Site) -> None:
    good = site.shares
    for bad, said in (
        ({**good[1], "name": "nas_a"}, "two shares are called nas_a"),
        ({**good[1], "root": f"{good[0]['root']}/b", "mount": good[0]["mount"]}, "is inside the share nas_a"),
        ({**good[1], "ownr": "me"}, "ownr"),
        ({**good[1], "root": None}, "root"),
    ):
        site.shares = [good[0], bad]
        done = site.converge()
        assert done.returncode
        assert said in done.stdout + done.stderr
    assert {path.name for nas in ("nas-a", "nas-b") for path in (lab.path / nas).iterdir()} == {"lost+found"}
