# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put aside, comes back or goes, on real files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files
from ansible_collections.uvnas.cluster.plugins.module_utils.share import aside
from ansible_collections.uvnas.cluster.tests.support import unprivileged

NAME = "3f9a0c2b71de"
HIDDEN = f".{NAME}.uvnas-aside"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A sealed tree."""
    made = tmp_path / NAME
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "python").touch()
    for directory in (made / "bin", made):
        directory.chmod(0o555)
    return str(made)


def test_aside_and_back(path: str, tmp_path: Path) -> None:
    def there_and_back() -> list[object]:
        done: list[object] = []
        for step in (aside.put, aside.put, aside.put_back, aside.put_back):
            done += [step(path), os.listdir(tmp_path), aside.names_in(str(tmp_path))]
        return done

    unprivileged.give(tmp_path)
    away, back = ([HIDDEN], [NAME]), ([NAME], [])
    assert unprivileged.done(there_and_back) == [True, *away, False, *away, True, *back, False, *back]
    assert os.listdir(os.path.join(path, "bin")) == ["python"]


def test_what_is_released_is_a_leftover(path: str, tmp_path: Path) -> None:
    aside.put(path)
    trash = aside.release(path)
    assert trash is not None
    assert os.listdir(tmp_path) == [os.path.basename(trash)]
    assert files.is_temporary(os.path.basename(trash))
    assert files.real_name(os.path.basename(trash)) == NAME
    assert (aside.release(path), aside.put_back(path), aside.names_in(str(tmp_path))) == (None, False, [])


@pytest.mark.parametrize("new", ["directory", "file", "dangling link"])
def test_something_new_in_its_place_stays(path: str, tmp_path: Path, new: str) -> None:
    aside.put(path)
    make = {"directory": Path.mkdir, "file": Path.touch, "dangling link": lambda path: path.symlink_to("nowhere")}
    make[new](Path(path))
    before = Path(path).lstat()
    assert not aside.put_back(path)
    assert Path(path).lstat() == before
    assert sorted(os.listdir(tmp_path)) == [HIDDEN, NAME]
    assert aside.release(path) is not None
    assert Path(path).lstat() == before


def test_each_step_is_on_the_disk(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    aside.put(path)
    aside.put_back(path)
    aside.put(path)
    aside.release(path)
    assert synced == [str(tmp_path)] * 4


def test_only_what_is_aside_is_listed(tmp_path: Path) -> None:
    for name in (HIDDEN, NAME, ".uvnas-aside", f"{NAME}.uvnas-aside", f".{NAME}.uvnas-{'0' * 16}.tmp"):
        (tmp_path / name).mkdir()
    assert aside.names_in(str(tmp_path)) == [NAME]
    assert aside.names_in(str(tmp_path / "nowhere")) == []
    (tmp_path / "file").touch()
    assert aside.names_in(str(tmp_path / "file")) == []


def test_it_is_no_leftover_of_a_killed_run() -> None:
    assert not files.is_temporary(HIDDEN)
