# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private caches: nobody else reads or writes them."""

from __future__ import annotations

import pytest

ROOT_OF = {"nas_a": "/mnt/nas-a/uv", "nas_b": "/mnt/nas-b/uv"}


@pytest.mark.parametrize("share", ROOT_OF)
@pytest.mark.parametrize("user", ["alice", "bob"])
def test_people_install_from_their_own_cache(machines, share, user):
    root = ROOT_OF[share]
    env = f"{root.removesuffix('/uv')}/people/{user}/private"
    machines.root("dev1", f"rm -rf {env}")
    assert machines.user("dev1", user, f"uvnas_use {share}; echo $UV_CACHE_DIR") == f"{root}/user-cache/{user}"
    done = machines.as_user(
        "dev1",
        user,
        f"uvnas_use {share}; uv venv -q --python {machines.series} {env} && uv pip install --python {env} idna && "
        f"{env}/bin/python -c 'import idna'",
    )
    assert done.rc == 0, done.stderr
    module = f"{env}/lib/python{machines.series}/site-packages/idna/core.py"
    assert machines.root("dev1", f"stat -c %U {module}").strip() == user
    assert machines.root("dev1", f"find {root}/user-cache/{user} -path '*/idna/core.py'") != ""
    if share == "nas_b":
        assert int(machines.root("dev1", f"stat -c %h {module}")) > 1
    else:
        assert "shared" in machines.root("dev1", f"filefrag -v {module}")


@pytest.mark.parametrize("share", ROOT_OF)
def test_nobody_else_gets_in(machines, share):
    for user, other in (("alice", "bob"), ("bob", "alice")):
        cache = f"{ROOT_OF[share]}/user-cache/{other}"
        assert machines.root("dev1", f"stat -c '%a %U' {cache}").strip() == f"700 {other}"
        for attempt in (
            f"ls {cache}",
            f"touch {cache}/mine",
            f"rmdir {cache}",
            f"mv {cache} {cache}.old",
            f"chmod a+rx {cache}",
        ):
            assert machines.as_user("dev1", user, attempt).rc != 0


def test_a_user_who_is_not_listed_gets_no_cache(machines):
    done = machines.as_user("dev1", "uvadmin", "cd /; echo ${UV_CACHE_DIR-none} $UVNAS_ROOT")
    assert done.stdout.strip() == "none /mnt/nas-a/uv"
    # The owner could make one; others may not.
    denied = machines.as_user("dev1", "bob", "mkdir /mnt/nas-a/uv/user-cache/carol")
    assert denied.rc != 0
