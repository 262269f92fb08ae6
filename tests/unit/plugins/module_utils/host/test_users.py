# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and groups of this host, and whom work is to be done as."""

from __future__ import annotations

import grp
import os
import pwd

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import users


def test_users() -> None:
    root = users.find_user("root")
    assert (root.uid, root.gid, root.home) == (0, 0, "/root")
    assert 0 in root.groups
    with pytest.raises(UvnasError, match="this host has no user nobody-of-this-name"):
        users.find_user("nobody-of-this-name")


def test_this_user() -> None:
    me = users.this_user()
    assert (me.uid, me.gid) == (os.geteuid(), os.getegid())
    assert me.name == pwd.getpwuid(os.geteuid()).pw_name
    assert set(me.groups) == {os.getegid(), *os.getgroups()}


def test_numbers() -> None:
    assert users.by_number(54321, 54322) == users.User("54321", 54321, 54322, (54322,), "/")


def test_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pwd.getpwnam("nobody")
    assert users.nobody() == users.by_number(entry.pw_uid, entry.pw_gid)

    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    assert users.nobody() == users.by_number(65534, 65534)


def test_groups() -> None:
    assert users.find_group("root") == 0
    with pytest.raises(UvnasError, match="this host has no group none-of-this-name") as caught:
        users.find_group("none-of-this-name")
    assert "the same gid everywhere" in caught.value.hint


def test_numbers_without_a_name_are_shown_as_they_are() -> None:
    assert (users.user_name(0), users.group_name(0)) == ("root", grp.getgrgid(0).gr_name)
    assert (users.user_name(4_000_000_000), users.group_name(4_000_000_000)) == ("4000000000", "4000000000")


def test_whom_to_become(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = users.find_user("nobody")
    assert users.user_to_become(None) is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert users.user_to_become("nobody") == nobody
    assert users.user_to_become("root") is None
    with pytest.raises(UvnasError, match="this host has no user nobody-of-this-name"):
        users.user_to_become("nobody-of-this-name")
    monkeypatch.setattr(os, "geteuid", lambda: nobody.uid)
    assert users.user_to_become("nobody") is None
    with pytest.raises(UvnasError, match=rf"connected as uid {nobody.uid}, but the share belongs to root \(uid 0\)"):
        users.user_to_become("root")
