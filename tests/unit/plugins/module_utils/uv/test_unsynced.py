# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of uv's cache when the power is cut while uv writes to it. For a real power cut see test_power_cuts."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uv
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import durable
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import unsynced
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(unsynced, "_CLOCK", 0)
    found = tmp_path / "cache"
    found.mkdir()
    return found


def add(cache: Path, name: str) -> None:
    """What uv leaves of a wheel; later than all that is there."""
    time.sleep(0.02)  # The kernel's times of files are a little late.
    archive = cache / "archive-v0" / f"id-of-{name}"
    archive.mkdir(parents=True)
    (archive / "it.py").write_text(name)
    wheels = cache / "wheels-v8" / "pypi" / name
    wheels.mkdir(parents=True)
    (wheels / "1.0-py3-none-any.http").touch()
    (wheels / "1.0-py3-none-any").symlink_to(f"../../../archive-v0/id-of-{name}")
    (cache / "simple-v28").mkdir(exist_ok=True)
    (cache / "simple-v28" / f"{name}.rkyv").touch()


def what_is_there(cache: Path) -> set[str]:
    found = {path.name for path in cache.glob("archive-v0/*")}
    return found | {path.name for path in (*cache.glob("wheels-v8/pypi/*/*"), *cache.glob("simple-v28/*"))}


WHEEL = {"1.0-py3-none-any", "1.0-py3-none-any.http"}


def leave(cache: Path, boot: str | None) -> None:
    """The marker of a run that did not come to its end."""
    time.sleep(0.02)
    (cache / unsynced.MARKER).write_text(json.dumps({"boot": boot}))


def test_the_marker_is_there_as_long_as_something_may_be_lost(cache: Path) -> None:
    with unsynced.writing(Layout(str(cache.parent))):
        marker = cache / unsynced.MARKER
        assert json.loads(marker.read_text()) == {"boot": durable.boot()}
        assert marker.stat().st_mode & 0o777 == 0o600
        assert not unsynced.is_in_doubt(str(cache))
    assert os.listdir(cache) == []


def test_a_build_that_fails_does_not_keep_what_it_downloaded_in_doubt(cache: Path) -> None:
    with pytest.raises(RuntimeError), unsynced.writing(Layout(str(cache.parent))):
        raise RuntimeError
    assert os.listdir(cache) == []


def test_what_could_not_be_synced_stays_marked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_disks: durable.Disks) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(durable.Disks, "sync", fail)
    with pytest.raises(OSError, match="error"), unsynced.writing(Layout(str(cache.parent))):
        pass
    assert os.listdir(cache) == [unsynced.MARKER]


def test_after_a_kill_nothing_is_lost(cache: Path) -> None:
    """And the marker stays as old as it is, until all since then has been synced."""
    leave(cache, durable.boot())
    before = (cache / unsynced.MARKER).stat().st_mtime_ns
    add(cache, "new")
    with unsynced.writing(Layout(str(cache.parent))):
        assert (cache / unsynced.MARKER).stat().st_mtime_ns == before
    assert what_is_there(cache) == {"id-of-new", "new.rkyv", *WHEEL}
    assert not (cache / unsynced.MARKER).exists()


@pytest.mark.parametrize("boot", ["another", None])
def test_after_a_power_cut_what_is_newer_than_the_marker_is_dropped(cache: Path, tmp_path: Path, boot: str) -> None:
    add(cache, "old")
    (cache / ".lock").touch()
    leave(cache, boot)
    add(cache, "new")
    assert unsynced.is_in_doubt(str(cache))
    for name in ("old", "new"):  # Into environments, one of which is complete.
        os.link(cache / "archive-v0" / f"id-of-{name}" / "it.py", tmp_path / name)
    (cache / ".lock").touch()
    with unsynced.writing(Layout(str(cache.parent))):
        assert json.loads((cache / unsynced.MARKER).read_text()) == {"boot": durable.boot()}
        assert what_is_there(cache) == {"id-of-old", "old.rkyv", *WHEEL}
    assert not list(cache.glob("wheels-v8/pypi/new/*"))
    assert (cache / ".lock").exists()
    assert [(tmp_path / name).read_text() for name in ("old", "new")] == ["old", "new"]


def test_a_marker_that_makes_no_sense_is_that_of_a_power_cut(cache: Path) -> None:
    (cache / unsynced.MARKER).touch()
    add(cache, "new")
    with unsynced.writing(Layout(str(cache.parent))):
        assert what_is_there(cache) == set()


def test_with_a_marker_of_the_future_nobody_knows_what_is_newer(cache: Path) -> None:
    """The clock has been set back."""
    leave(cache, "another")
    future = time.time() + 3600
    os.utime(cache / unsynced.MARKER, (future, future))
    add(cache, "new")
    with unsynced.writing(Layout(str(cache.parent))):
        assert what_is_there(cache) == set()


def test_a_cache_that_somebody_has_removed(cache: Path) -> None:
    """As ``uv cache clean`` does."""
    cache.rmdir()
    with (
        pytest.raises(UvnasError, match=f"{cache} does not exist") as caught,
        unsynced.writing(Layout(str(cache.parent))),
    ):
        raise AssertionError("there is nothing to write to")
    assert "role share" in caught.value.hint


def test_uv_gets_again_what_was_dropped(cache: Path, tmp_path: Path) -> None:
    """A real one, all of whose files are empty after the power cut."""
    write_small_wheel(tmp_path / "wheels", "alpha", "1.0", more={"alpha_data.py": "x = 1\n"})

    def install(name: str) -> subprocess.CompletedProcess[str]:
        environment = {"UV_CACHE_DIR": str(cache), "UV_NO_CONFIG": "1", "UV_FIND_LINKS": str(tmp_path / "wheels")}
        program, target = uv.find_uv_bin(), tmp_path / name
        subprocess.run([program, "venv", "-q", "-p", sys.executable, target], env=environment, check=True)
        options = ["--no-index", "--link-mode", "copy", "-p", target / "bin" / "python"]
        command = [program, "pip", "install", *options, "alpha"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    leave(cache, "another")
    time.sleep(0.02)
    assert install("before").returncode == 0
    for path in cache.rglob("*"):
        if path.is_file() and path.name != unsynced.MARKER:
            path.write_bytes(b"")
    assert install("damaged").returncode != 0
    with unsynced.writing(Layout(str(cache.parent))):
        done = install("after")
    assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "after").rglob("alpha_data.py")
    assert found.read_text() == "x = 1\n"
