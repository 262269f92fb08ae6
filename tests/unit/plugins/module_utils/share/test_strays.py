# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is moved aside in people's cache, in a process of anybody. Other users: tests/integration/test_caches.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host.users import user_name
from ansible_collections.uvnas.cluster.plugins.module_utils.share import strays
from ansible_collections.uvnas.cluster.plugins.module_utils.share.strays import Stray

ME = user_name(os.geteuid())


def test_where_nothing_is(tmp_path: Path) -> None:
    assert strays.find(str(tmp_path / "none")) == []
    assert strays.find(str(tmp_path)) == []
    (tmp_path / ".alice.0123456789abcdef.aside").mkdir(mode=0o777)
    (tmp_path / ME).mkdir(mode=0o700)
    assert strays.find(str(tmp_path)) == strays.move_aside(str(tmp_path)) == []


def test_a_directory_that_is_a_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError, match="Not a directory"):
        strays.move_aside(str(tmp_path / "link"))


def test_found_first_and_moved_then(tmp_path: Path) -> None:
    (tmp_path / "wheels-v5").mkdir()
    found = [Stray("wheels-v5", f"belongs to {ME}")]
    assert strays.find(str(tmp_path)) == found
    assert os.listdir(tmp_path) == ["wheels-v5"]
    assert strays.move_aside(str(tmp_path)) == found
    (name,) = os.listdir(tmp_path)
    assert name.startswith(".wheels-v5.")
    assert name.endswith(".aside")


def test_what_changes_meanwhile_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever it is of by now, the next run sees what it is."""
    (tmp_path / "wheels-v5").mkdir()

    def slow(_uid: int) -> str:
        (tmp_path / "wheels-v5").rmdir()
        (tmp_path / "wheels-v5").mkdir(mode=0o700)
        os.chmod(tmp_path / "wheels-v5", 0o711)
        return ME

    monkeypatch.setattr(strays, "known_name", slow)
    assert strays.move_aside(str(tmp_path)) == [Stray("wheels-v5", f"belongs to {ME}", "it has just changed")]
    assert os.listdir(tmp_path) == ["wheels-v5"]


def test_a_directory_service_is_not_asked_for_thousands_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | str] = []
    for number in range(100):
        (tmp_path / f"user{number}").mkdir(mode=0o700)
    monkeypatch.setattr(strays, "known_name", asked.append)
    monkeypatch.setattr(strays, "known_number", asked.append)
    assert len(strays.find(str(tmp_path))) == 92  # Of the first it cannot be told whether they are a user's names.
    assert len(asked) == 9


def test_somebody_with_several_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As sites have where a name is given with and without its domain."""
    numbers = {"ada": os.geteuid(), "ada@example.org": os.geteuid(), "grace": os.geteuid() + 1}
    for name in [*numbers, "nobody-knows"]:
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setattr(strays, "known_name", lambda _uid: "ada")
    monkeypatch.setattr(strays, "known_number", numbers.get)
    assert [stray.name for stray in strays.find(str(tmp_path))] == ["grace", "nobody-knows"]


def test_one_look_at_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is all that a run with nothing to do costs, and on NFS the listing brings it along."""
    monkeypatch.setattr(strays, "known_name", lambda _uid: None)
    monkeypatch.setattr(strays, "known_number", lambda _name: None)
    for number in range(5):
        (tmp_path / f"user{number}").mkdir(mode=0o755)
    looked: list[str] = []
    real = os.lstat

    def lstat(path: str, *, dir_fd: int) -> os.stat_result:
        looked.append(path)
        return real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "lstat", lstat)
    assert strays.find(str(tmp_path)) == []
    assert looked == [f"user{number}" for number in range(5)]
