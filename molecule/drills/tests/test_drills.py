# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults: each is reported in one clear line, changes nothing, keeps no other host from finishing, and does no lasting
harm.

Before and after the tests, the machines are as `site` leaves them; in between there is one more environment.
"""

from __future__ import annotations

import re
import shutil
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
HOSTS = {"dev1", "node-a1", "node-a2", "node-b1"}
PYTHON = "{{ machines_python }}"
INVENTORY = yaml.safe_load((ROOT / "molecule" / "inventory" / "group_vars" / "all.yml").read_text())
THIRD = ("-i", str(ROOT / "molecule" / "drills" / "inventory" / "third-share.yml"))
# Without packages, the first generation of an environment takes no time.
DRILL: dict[str, t.Any] = {"name": "drill", "python": PYTHON, "requirements": []}
EVERYWHERE = {"nas_a: tools", "nas_a: train", "nas_b: only-b", "nas_b: tools", "nas_b: train"}
DEAD = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def run(site, state):
    """Runs site.yml with the inventory's environments and ``more``. ``drill`` is always published."""

    def run(*options, drill=None, more=(), site=site, **variables):
        # By default, not on a third share.
        envs = [{"shares": ["nas_a", "nas_b"], **env} for env in [*INVENTORY["uvnas_envs"], drill or DRILL, *more]]
        return site(*options, uvnas_envs=envs, **variables)

    first = run()
    assert first.rc == 0, first.output
    yield run
    gone = [{"name": name, "state": "absent"} for name in ("fresh", "bare")]
    last = run(drill={"name": "drill", "state": "absent"}, more=gone)
    for name in ("drill", "fresh", "bare", "room"):
        (state / "locks" / f"{name}.txt").unlink(missing_ok=True)
    assert last.rc == 0, last.output


@pytest.fixture
def kept(machines, state):
    """Checks that nothing changed: shares, what hosts read at login, and locks on the controller."""

    def look():
        not_these = "\\( -name cache -o -name user-cache -o -name '.uvnas*' \\) -prune"
        shares = (
            f"cd /srv/nas && find nas_[ab]/uv -maxdepth 3 {not_these} "
            "-o -type f -printf '%p %i %m %u %s %T@\\n' -o -printf '%p %i %m %u %l\\n' | sort"
        )
        profile = "stat -c '%n %i %Y' /etc/profile.d/uvnas.* /etc/fish/conf.d/uvnas.fish /usr/local/bin/uv 2>&1 || true"
        found = {host: machines.root(host, profile) for host in HOSTS}
        locks = {path.name: path.stat().st_mtime_ns for path in (state / "locks").glob("*.txt")}
        return {"shares": machines.root("dev1", shares).splitlines(), **found, "locks": locks}

    before = look()

    def check():
        assert look() == before

    return check


@pytest.fixture
def nas(machines):
    """Does to a NAS mount what no admin should do. In the end, everything is mounted as in fstab."""
    touched = set()

    def change(host, name, *commands):
        touched.add((host, name))
        for command in commands:
            machines.root(host, command.format(mount=f"/mnt/{name}"))

    yield change
    for host, name in touched:
        machines.root(host, f"while mountpoint -q /mnt/{name}; do umount -l /mnt/{name}; done; mount /mnt/{name}")


def healthy(run, **variables):
    """Run, which must succeed and change nothing."""
    done = run(**variables)
    assert done.rc == 0, done.output
    assert sum(done.recap("changed").values()) == 0, done.output
    assert done.finished == HOSTS
    return done


# A NAS that is missing, another one, or mounted with the wrong options


MOUNTS = {
    "unmounted": (
        ("umount {mount}",),
        "nothing is mounted at /mnt/nas-a, the mount of share nas_a",
    ),
    "another": (
        ("umount {mount}", "mount --bind /srv/nas/nas_b {mount}"),
        "/mnt/nas-a/uv is the share nas_b, not nas_a",
    ),
    # With something to build; without, see test_read_only_with_nothing_to_do().
    "read-only": (
        ("mount -o remount,bind,ro {mount}",),
        "share nas_a: Read-only file system: /mnt/nas-a/uv/.uvnas.mutex",
    ),
    "noexec": (
        ("mount -o remount,bind,noexec {mount}",),
        "the filesystem of /mnt/nas-a/uv is mounted noexec here",
    ),
}


@pytest.mark.parametrize("fault", MOUNTS)
def test_mount_on_the_builder(run, machines, kept, nas, fault):
    commands, message = MOUNTS[fault]
    nas("dev1", "nas-a", *commands)
    # There is something to build, too. Without the fault it would be built.
    done = run(drill={**DRILL, "requirements": ["idna"], "shares": ["nas_a"]})
    assert done.rc == 2, done.output
    assert done.errors == {"dev1": [message]}
    assert done.finished == HOSTS - {"dev1"}
    assert "share nas_a: not verified, as its builder dev1 failed" in done.output
    if fault == "read-only":  # Found out only at the first write: by then the other share was done.
        assert set(done.summary) >= {name for name in EVERYWHERE if name.startswith("nas_b")}
    if fault == "unmounted":
        assert machines.root("dev1", "ls -A /mnt/nas-a") == ""
    kept()


def test_read_only_with_nothing_to_do(run, kept, nas):
    nas("dev1", "nas-a", "mount -o remount,bind,ro {mount}")
    done = healthy(run)
    assert "the filesystem is read-only on this host, its builder" in " ".join(done.output.split())
    kept()


def test_mount_on_a_node(run, kept, nas):
    nas("node-a2", "nas-a", "umount {mount}")
    done = run()
    assert done.rc == 2, done.output
    assert done.errors == {"node-a2": ["nothing is mounted at /mnt/nas-a, the mount of share nas_a"]}
    assert done.finished == HOSTS - {"node-a2"}
    assert set(done.summary) >= EVERYWHERE
    kept()


def test_mounts_on_two_nodes(run, machines, kept, nas):
    nas("node-b1", "nas-b", "mount -o remount,bind,noexec {mount}")
    device = machines.root("dev1", "findmnt --noheadings --output SOURCE /mnt/nas-b").strip()
    nas("node-a1", "nas-a", "umount {mount}", f"mount {device} {{mount}}")
    done = run()
    assert done.rc == 2, done.output
    assert set(done.errors) == {"node-a1", "node-b1"}
    assert done.errors["node-a1"] == ["/mnt/nas-a/uv is the share nas_b, not nas_a"]
    assert done.errors["node-b1"] == ["the filesystem of /mnt/nas-b/uv is mounted noexec on this host"]
    assert done.finished == {"dev1", "node-a2"}
    assert set(done.summary) >= EVERYWHERE
    kept()


def test_after_that_all_is_well(run):
    healthy(run)


def test_an_environment_that_fails_hides_nothing(run, machines):
    """Whether it fails on its builder, or on the only host that sees its share."""
    worse = {**DRILL, "requirements": ["idna"], "checks": ["echo no luck >&2; exit 3"]}
    package = "/mnt/nas-b/uv/envs/only-b/lib/python3*/site-packages/rich"
    # The whole directory: bytecode is not compared with its source.
    broken = "mkdir /run/broken && echo 'raise ImportError' >/run/broken/__init__.py"
    machines.root("node-b1", f"{broken} && mount --bind /run/broken {package}")
    try:
        # Nothing on the share tells of that: it has run there before.
        done = run(drill=worse, uvnas_verify="always")
    finally:
        machines.root("node-b1", f"umount {package}; rm -r /run/broken")
    assert done.rc == 2, done.output
    assert done.errors == {
        "dev1": [
            "1 of 3 environments failed; the others are done",
            "1 of 4 environments failed; the others are done",
        ],
        "node-b1": ["environment only-b: importing rich failed on this host:"],
    }
    assert "environment drill: smoke test failed: check 'echo no luck >&2; exit 3'\n  no luck\n" in done.text
    assert done.finished == {"node-a1", "node-a2"}
    assert set(done.summary) >= EVERYWHERE
    for share in ("nas_a", "nas_b"):
        assert (done.summary[f"{share}: drill"], done.summary[f"{share}: tools"]) == ("FAILED", "unchanged")
    healed = run()
    assert (healed.rc, healed.finished) == (0, HOSTS), healed.output


# A NAS that is full, or that squashes root


@pytest.fixture
def third(machines, state, kept):
    """The variables of a site with a third share, which only its builder mounts. Nothing else changes."""
    share = {"name": "nas_c", "root": "/mnt/nas-c/uv", "mount": "/mnt/nas-c", "builder": "dev1", "owner": "uvadmin"}
    machines.root("dev1", "mkdir -p /mnt/nas-c")
    yield {"uvnas_shares": [*INVENTORY["uvnas_shares"], share], "uvnas_min_free_bytes": 0, "uvnas_min_free_inodes": 0}
    machines.root("dev1", "while mountpoint -q /mnt/nas-c; do umount -l /mnt/nas-c; done; rmdir /mnt/nas-c")
    (state / "locks" / "room.txt").unlink()
    kept()


def test_full_in_mid_build(run, machines, third):
    """First out of bytes, then out of inodes."""

    def build(*requirements):
        room = {**DRILL, "name": "room", "requirements": list(requirements), "shares": ["nas_c"]}
        return run(*THIRD, more=[room], **third)

    def shown():
        return machines.root("dev1", "cd /mnt/nas-c/uv && ls -A generations/room && readlink envs/room").split()

    def used(what):
        return int(machines.root("dev1", f"df --output={what} -B1 /mnt/nas-c | tail -n 1"))

    machines.root("dev1", "mount -t tmpfs -o size=1g,mode=755 tmpfs /mnt/nas-c && chown uvadmin: /mnt/nas-c")
    first = build()
    assert first.rc == 0, first.output
    before = shown()
    assert len(before) == 2
    for limit in (f"size={used('used') + (8 << 20)}", f"size=1g,nr_inodes={used('iused') + 150}"):
        machines.root("dev1", f"mount -o remount,{limit} /mnt/nas-c")
        done = build("numpy")
        assert done.rc == 2, done.output
        assert done.errors == {"dev1": ["environment room: cannot install its lock"]}
        assert "No space left on device" in done.text
        assert "The share is full: " in done.text
        assert done.finished == HOSTS - {"dev1"}
        assert shown() == before
        machines.user("dev1", "alice", "/mnt/nas-c/uv/envs/room/bin/python -c 'import sys'")
    machines.root("dev1", "mount -o remount,size=1g,nr_inodes=0 /mnt/nas-c")
    healed = build("numpy")
    assert healed.rc == 0, healed.output
    assert shown()[-1] != before[-1]
    machines.user("dev1", "alice", "/mnt/nas-c/uv/envs/room/bin/python -c 'import numpy'")


def test_a_root_without_any_access(run, machines, third):
    """FUSE does not even let root look: stricter than an NFS export that squashes root. The owner does everything."""
    machines.root("dev1", "chmod 666 /dev/fuse && install -d -o uvadmin /srv/squashed && chown uvadmin: /mnt/nas-c")
    try:
        machines.root("dev1", "su uvadmin -s /bin/sh -c 'bindfs --no-allow-other /srv/squashed /mnt/nas-c'")
        assert machines["dev1"].run("ls /mnt/nas-c").rc != 0
        room = {**DRILL, "name": "room", "shares": ["nas_c"]}
        done = run(*THIRD, more=[room], **third)
        assert done.rc == 0, done.output
        assert done.finished == HOSTS
        assert machines.root("dev1", "stat -c %U /srv/squashed/uv/envs/room/pyvenv.cfg") == "uvadmin\n"
        again = run(*THIRD, more=[room], **third)
        assert (again.rc, sum(again.recap("changed").values())) == (0, 0), again.output
    finally:
        machines.root("dev1", "umount -l /mnt/nas-c; rm -rf /srv/squashed; chown root: /mnt/nas-c")


# Index, nodes, builders and admins


def test_index_that_does_not_answer(run, machines, kept):
    proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), DEAD)
    own = INVENTORY["uvnas_uv_variables"].removeprefix("{{").removesuffix("}}")
    fresh = {**DRILL, "name": "fresh", "requirements": ["sniffio"]}
    done = run(
        more=[fresh, {**DRILL, "name": "bare"}],
        uvnas_uv_variables=f"{{{{ {own} | combine({proxies}) }}}}",
        uvnas_profile_variables=INVENTORY["uvnas_uv_variables"],
    )
    assert done.rc == 2, done.output
    assert set(done.errors) == {"dev1"}
    # Members do not report the missing environment once more.
    assert done.finished == HOSTS - {"dev1"}
    assert "environment fresh: its requirements cannot be resolved" in done.text
    assert re.search(r"Failed to fetch: `?https?://[^ ]+/sniffio/", done.text), done.output
    for share in ("nas_a", "nas_b"):
        assert done.summary[f"{share}: bare"] == "built"
        assert done.summary[f"{share}: fresh"] == "FAILED"
        assert done.summary[f"{share}: train"] == "unchanged"


def test_node_that_is_down(run, power, kept):
    power.off("node-a2")
    try:
        done = run()
    finally:
        power.on("node-a2")
    assert done.rc == 4, done.output
    assert {host for host, number in done.recap("unreachable").items() if number} == {"node-a2"}
    (error,) = done.errors["node-a2"]
    assert "ssh: connect to host " in error
    assert done.finished == HOSTS - {"node-a2"}
    assert set(done.summary) >= EVERYWHERE
    kept()


def test_builder_that_is_killed_in_mid_build(run, site, machines):
    def generation():
        return machines.root("dev1", "readlink /mnt/nas-a/uv/envs/drill").strip().rpartition("/")[2]

    def sleeping():
        return machines["dev1"].run("pgrep -fx 'sleep 4217'").stdout.split()

    before = generation()
    later = {**DRILL, "requirements": ["idna"]}
    # On the other share, it would sleep again.
    started = run(site=site.start, drill={**later, "checks": ["exec sleep 4217"], "shares": ["nas_a"]})
    try:
        machines.wait_until("the check runs", lambda: sleeping() or started.poll() is not None, seconds=120)
        (process,) = sleeping()
        # The module and all of its processes, including the shell that Ansible started.
        machines.root(
            "dev1",
            f"pid={process}; while parent=$(ps -o ppid= -p $pid | tr -d ' '); ! grep -q sshd /proc/$parent/comm; do "
            "echo $pid; pid=$parent; done | xargs kill -9",
        )
    finally:
        if sleeping():
            machines.root("dev1", f"kill {' '.join(sleeping())}")
        done = site.finish(started)
    assert done.rc == 2, done.output
    assert list(done.errors) == ["dev1"], done.output
    assert done.finished == HOSTS - {"dev1"}
    assert sleeping() == []
    assert generation() == before
    left = machines.root("dev1", "ls -A /mnt/nas-a/uv/generations/drill").split()
    assert len(left) == 2

    healed = run(drill=later)
    assert healed.rc == 0, healed.output
    assert generation() in left
    machines.user("node-a1", "alice", "/mnt/nas-a/uv/envs/drill/bin/python -c 'import idna'")
    healthy(run, drill=later)


@pytest.fixture
def second(site, tmp_path, state):
    """Another admin on another machine: with a separate checkout, locks, and Ansible directories."""
    checkout = tmp_path / "checkout"
    for name in ("ansible.cfg", "galaxy.yml", "meta", "molecule/inventory", "playbooks", "plugins", "roles"):
        source, target = ROOT / name, checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    collection = checkout / ".collections" / "ansible_collections" / "uvnas" / "cluster"
    collection.parent.mkdir(parents=True)
    collection.symlink_to(checkout)
    shutil.copytree(state / "locks", checkout / "locks")
    return type(site)(
        checkout,
        ANSIBLE_HOME=str(tmp_path / "home"),
        ANSIBLE_LOCAL_TEMP=str(tmp_path / "tmp"),
        # Short, because it becomes the path of a socket.
        ANSIBLE_SSH_CONTROL_PATH="/tmp/second-%%C",
    )


def test_two_admins_at_once(run, site, second, machines):
    """Both add a package. The second one waits, and finds it done."""
    wanted = {**DRILL, "requirements": ["idna", "certifi"]}
    generations = "ls -A /mnt/nas-a/uv/generations/drill /mnt/nas-b/uv/generations/drill | wc -l"
    before = int(machines.root("dev1", generations))
    started = [
        run(site=site.start, drill=wanted),
        run(site=second.start, drill=wanted, uvnas_lock_dir=str(second.checkout / "locks")),
    ]
    for done in [site.finish(one) for one in started]:
        assert done.rc == 0, done.output
        assert done.finished == HOSTS
    assert int(machines.root("dev1", generations)) == before + 2
    for name in ("nas-a", "nas-b"):
        machines.user("dev1", "alice", f"/mnt/{name}/uv/envs/drill/bin/python -c 'import certifi, idna'")
    healthy(run, drill=wanted)
    healthy(run, site=second, drill=wanted, uvnas_lock_dir=str(second.checkout / "locks"))
