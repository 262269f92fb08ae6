# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that fills up in the middle of a build, an index that does not answer: nothing is lost, and it is said why.

The share is a small tmpfs, so these tests are run as root.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.place import check_mounted
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.tests.support.sites import Site, finish, make_site

SMALL = {"name": "small", "requirements": ["six"], "imports": ["six"]}
LARGE = {"name": "small", "requirements": ["six", "numpy"], "imports": ["six", "numpy"]}


@pytest.fixture(scope="module")
def site(public: Path) -> t.Iterator[Site]:
    """A site with one environment, whose NAS is a filesystem of its own."""
    made = make_site(public / "site", {"uvnas_min_free_bytes": 0})
    nas = made.share.parent
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=0755", "tmpfs", nas], check=True)
    try:
        first = made.run([SMALL])
        assert first.rc == 0, first.output
        yield made
    finally:
        subprocess.run(["umount", nas], check=True)


def resize(nas: Path, free: int) -> None:
    """Have ``free`` bytes free on the filesystem at ``nas``."""
    state = os.statvfs(nas)
    used = (state.f_blocks - state.f_bfree) * state.f_frsize
    subprocess.run(["mount", "-o", f"remount,size={used + free}", nas], check=True)


def generations(site: Site) -> set[str]:
    return set(os.listdir(site.share / "generations" / "small"))


def works(site: Site) -> bool:
    python = site.share / "envs" / "small" / "bin" / "python"
    return subprocess.run([python, "-c", "import six"], check=False).returncode == 0


def test_full_disk_leaves_the_old_generation_in_force_and_the_next_run_heals(site: Site) -> None:
    before, link = generations(site), site.link("small")
    resize(site.share.parent, 8 << 20)
    failed = site.envs([LARGE])
    assert failed.rc != 0
    assert "environment small: cannot install its lock" in failed.output
    assert "No space left on device" in failed.output
    assert (generations(site), site.link("small")) == (before, link)
    assert works(site)
    resize(site.share.parent, 1 << 30)
    healed = site.envs([LARGE])
    assert healed.rc == 0, healed.output
    assert site.link("small") != link
    assert before < generations(site)


def test_an_environment_is_removed_from_a_disk_that_is_full(site: Site) -> None:
    """So that a prune can make room."""
    made = site.run([SMALL, {**SMALL, "name": "other"}])
    assert made.rc == 0, made.output
    resize(site.share.parent, 0)
    with contextlib.suppress(OSError), (site.share.parent / "much").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)
    removed = site.run([SMALL], uvnas_purge=True)
    (site.share.parent / "much").unlink()
    resize(site.share.parent, 1 << 30)
    assert removed.rc == 0, removed.output
    assert os.listdir(site.share / "envs") == ["small"]
    assert site.run([SMALL], uvnas_purge=True).changed == 0


def test_too_little_room_is_said_before_anything_is_built(site: Site) -> None:
    link = site.link("small")
    failed = site.envs([{**SMALL, "requirements": ["six", "idna"]}], uvnas_min_free_bytes=1 << 40)
    assert failed.rc != 0
    assert "no room to build it" in failed.output
    assert site.link("small") == link


def test_unreachable_index_is_named_and_nothing_changes(site: Site) -> None:
    before, link = generations(site), site.link("small")
    index = {"default": "http://127.0.0.1:9/simple"}
    failed = site.envs([{**SMALL, "requirements": ["six", "attrs"]}], uvnas_index=index)
    assert failed.rc != 0
    assert "its requirements cannot be resolved" in failed.output
    assert "http://127.0.0.1:9/simple" in failed.output
    assert (generations(site), site.link("small")) == (before, link)
    assert works(site)


def test_noexec_is_said_once_for_all_environments(site: Site) -> None:
    nas = site.share.parent
    subprocess.run(["mount", "-o", "remount,noexec", nas], check=True)
    try:
        seen = finish(site.start([SMALL, {**SMALL, "name": "another"}], play="uvnas.cluster.verify"))
    finally:
        subprocess.run(["mount", "-o", "remount,exec", nas], check=True)
    assert seen.rc != 0
    assert f"Module failed: the filesystem of {site.share} is mounted noexec on this host\n" in seen.output
    assert "cannot run" not in seen.output


def test_a_read_only_nas_with_nothing_to_do_and_with_something(site: Site) -> None:
    """All roles, in a run and in a check."""
    healed = site.run([SMALL])
    assert healed.rc == 0, healed.output
    nas = site.share.parent
    before = snapshot(nas)
    subprocess.run(["mount", "-o", "remount,ro", nas], check=True)
    try:
        for options in ((), ("--check",)):
            again = site.run([SMALL], *options)
            assert (again.rc, again.changed) == (0, 0), again.output
            assert "the filesystem is read-only on this host, its builder" in " ".join(again.output.split())
        changed = site.run([{**SMALL, "requirements": ["six", "idna"]}])
        assert changed.rc == 2, changed.output
        assert f"share nas_a: Read-only file system: {site.share}/.uvnas.mutex" in changed.output
        assert "mounted read-only here" in changed.output
    finally:
        subprocess.run(["mount", "-o", "remount,rw", nas], check=True)
    assert snapshot(nas) == before


def snapshot(top: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a directory, with its inode, mode and time."""
    found = {}
    for path in top.rglob("*"):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mode, status.st_mtime_ns)
    return found


def test_a_bind_mount_of_the_same_filesystem_is_a_mount(site: Site, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    (tmp_path / "source").mkdir()
    mount.mkdir()
    share = Share("nas_a", Layout(str(mount / "uv")), str(mount))
    with pytest.raises(UvnasError, match=f"nothing is mounted at {mount}"):
        check_mounted(share)
    subprocess.run(["mount", "--bind", tmp_path / "source", mount], check=True)
    try:
        check_mounted(share)
    finally:
        subprocess.run(["umount", mount], check=True)


def test_umask_of_the_admin_does_not_shut_people_out(site: Site) -> None:
    before = os.umask(0o077)
    try:
        done = site.envs([{"name": "masked", "requirements": ["six"]}])
    finally:
        os.umask(before)
    assert done.rc == 0, done.output
    generation = (site.share / "envs" / "masked").resolve()
    for path in (generation, generation.parent, generation / "lib", site.share / "locks" / "masked.txt"):
        assert path.stat().st_mode & 0o055 in (0o055, 0o044), path
