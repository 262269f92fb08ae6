# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves a trace in a stamp, on real files."""

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host.stamps import Stamp, is_old, opened, stamp_of


def stamp(path: Path) -> Stamp:
    return stamp_of(path.stat())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("1")
    (tmp_path / "link").symlink_to("file")
    time.sleep(0.02)  # A tick of the kernel's clock.
    return tmp_path


CHANGES: dict[str, t.Callable[[Path], t.Any]] = {
    "a link replaced": lambda place: ((place / "new").symlink_to("2"), os.rename(place / "new", place / "link")),
    "a file replaced": lambda place: ((place / "new").write_text("2"), os.rename(place / "new", place / "file")),
    "a name removed": lambda place: (place / "file").unlink(),
    "a name added": lambda place: (place / "new").mkdir(),
    "closed and opened": lambda place: (place.chmod(0o500), place.chmod(0o700)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_a_directory_makes_another_stamp_whatever_its_times_say(place: Path, change: str) -> None:
    before, status = stamp(place), place.stat()
    assert stamp(place) == before
    CHANGES[change](place)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert stamp(place) != before


def test_a_change_of_a_file_makes_another_stamp_whatever_its_times_say(place: Path) -> None:
    file = place / "file"
    before, status = stamp(file), file.stat()
    file.read_text()
    assert stamp(file) == before
    with file.open("r+") as opened_file:
        opened_file.write("2")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert stamp(file) != before


def test_what_has_just_changed_is_not_old(place: Path) -> None:
    now = time.time()
    assert [is_old(place.stat(), now + seconds) for seconds in (-3600, 0, 1, 3, 3600)] == [False] * 3 + [True] * 2


def test_a_directory_is_opened_and_closed(place: Path) -> None:
    (place / "inside").mkdir()
    with opened(str(place)) as above, opened("inside", above) as here:
        assert os.fstat(here).st_ino == (place / "inside").stat().st_ino
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(here)
    with pytest.raises(NotADirectoryError), opened(str(place / "file")):
        pass
