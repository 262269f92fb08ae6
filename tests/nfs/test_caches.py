# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People's caches on NFSv4, which has no default ACLs, with a real uv: of users in the share's group, outside of it,
and hostile, on two hosts. On local filesystems: tests/integration/test_caches.py."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.profile import sh
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.spec import Profile
from ansible_collections.uvnas.cluster.tests.support.nfs import (
    OTHER,
    OWNER,
    UIDS,
    Client,
    Counts,
    NfsSite,
    make_site,
    uv_wheel,
)


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory, clients: dict[str, Client]) -> NfsSite:
    """A share with uv, and a file for login shells."""
    site = make_site(tmp_path_factory.mktemp("caches"), clients)
    run = site.role("share")
    assert run.rc == 0, run.output
    with zipfile.ZipFile(uv_wheel()) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("scripts/uv"))
        (site.exported / "bin" / "uv").write_bytes(wheel.read(name))
    (site.exported / "bin" / "uv").chmod(0o755)
    profile = Profile.from_params([{"name": "nas_a", "root": str(site.share)}], "personal", {})
    (site.exported.parent / "profile.sh").write_text(sh.render(profile))
    (site.exported.parent / "people").mkdir()
    (site.exported.parent / "people").chmod(0o1777)
    return site


def log_in(site: NfsSite, client: Client, user: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` in a login shell of ``user``. Alice is in the share's group."""
    groups = f"--groups={UIDS[OWNER]}" if user == "alice" else "--clear-groups"
    place = site.share.parent
    command = [
        "setpriv",
        f"--reuid={UIDS[user]}",
        f"--regid={UIDS[user]}",
        groups,
        "env",
        f"USER={user}",
        "HOME=/nohome",
    ]
    variables = [f"PLACE={place}/people", "FROM=--no-index --find-links /state/wheels", "UV_NO_CONFIG=1"]
    return client.run(*command, *variables, "sh", "-ec", f"umask 022; . {place}/profile.sh; {script}", check=False)


def install(site: NfsSite, client: Client, user: str) -> str:
    """Install six, and tell where it came from."""
    target = f"$PLACE/{user}-{os.urandom(4).hex()}"
    uv = f"uv pip install -q $FROM --python /usr/bin/python3 --target {target} six"
    done = log_in(site, client, user, f"{uv}; cd {target}; tail -n 1 six.py")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def whose(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


@pytest.mark.nfs_short
def test_everybody_who_logs_in_has_a_working_cache(caches: NfsSite, clients: dict[str, Client]) -> None:
    cache = caches.exported / "user-cache"
    assert whose(cache) == (UIDS[OWNER], UIDS[OWNER], 0o1777)
    for user in ("alice", "bob"):
        for client in clients.values():
            assert "poison" not in install(caches, client, user)
        assert whose(cache / user) == (UIDS[user], UIDS[user], 0o755)
    for command in ("touch alice/x", "rm -r alice", "mv alice gone"):
        done = log_in(caches, clients["c2"], OTHER, f"cd {caches.share}/user-cache; {command}")
        assert done.returncode != 0, command
    again = caches.role("share")
    assert (again.rc, again.changed) == (0, 0), again.output


def test_a_trap_works_until_the_next_run(caches: NfsSite, clients: dict[str, Client]) -> None:
    """A hostile user on another host sets it; the share's owner stops them, although root is nobody on NFS."""
    cache = caches.exported / "user-cache"
    if (cache / "bob").exists():
        (cache / "bob").rename(cache / ".bob.before")
    trap = f"""mkdir -m 777 {caches.share}/user-cache/bob; export UV_CACHE_DIR={caches.share}/user-cache/bob; umask 0
        uv pip install -q $FROM --python /usr/bin/python3 --target $PLACE/trap --link-mode copy six
        echo "# poison" | tee -a $UV_CACHE_DIR/archive-v*/*/six.py; chmod -R a+rwX $UV_CACHE_DIR"""
    done = log_in(caches, clients["c2"], OTHER, trap)
    assert done.returncode == 0, done.stderr
    assert install(caches, clients["c1"], "bob") == "# poison"
    run = caches.role("share")
    assert (run.rc, run.changed) == (0, 1), run.output
    assert "bob (belongs to mallory)" in " ".join(run.output.split())
    assert install(caches, clients["c1"], "bob") != "# poison"
    assert whose(cache / "bob")[0] == UIDS["bob"]
    assert len(list(cache.glob(".bob.*.aside"))) == 1
    again = caches.role("share")
    assert (again.rc, again.changed) == (0, 0), again.output


@pytest.mark.nfs_short
def test_one_for_all_is_refused(tmp_path_factory: pytest.TempPathFactory, clients: dict[str, Client]) -> None:
    """Nothing is written."""
    site = make_site(tmp_path_factory.mktemp("group"), clients)
    site.variables["uvnas_user_cache"] = "group"
    run = site.role("share")
    assert run.rc != 0
    assert "uvnas_user_cache: group cannot work on the filesystem of" in " ".join(run.output.split())
    assert os.listdir(site.exported.parent) == []


def test_what_people_cost_a_run_with_nothing_to_do(caches: NfsSite, clients: dict[str, Client], counts: Counts) -> None:
    found = []
    for people in (0, 500):
        for number in range(people):
            path = caches.exported / "user-cache" / f"person{number:03}"
            path.mkdir()
            os.chown(path, 10000 + number, 10000 + number)
        for when in ("after mounting", "again"):
            if when == "after mounting":
                clients["c1"].mount()
            with counts.of(f"role share, {people} people more, {when}") as row:
                run = caches.role("share")
            assert (run.rc, run.changed) == (0, 0), run.output
            found.append(row["c1"])
    # Not one RPC per cache: the directory listing has everything.
    assert found[2] - found[0] < 50
    assert found[3] - found[1] < 50
