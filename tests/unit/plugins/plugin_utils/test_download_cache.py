# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is downloaded once, and what is downloaded again."""

from __future__ import annotations

import hashlib
import multiprocessing
import stat
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import ShareBusyError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex
from ansible_collections.uvnas.cluster.plugins.plugin_utils.cache_directory import default_directory
from ansible_collections.uvnas.cluster.plugins.plugin_utils.download_cache import (
    DownloadCache,
    LocalArchive,
)

CONTENT = b"an archive" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Shelf:
    """A source that counts its downloads, across processes too."""

    key = "uv-1.2.3-x86_64-gnu-shelf"

    def __init__(self, log: Path) -> None:
        self._log = log
        log.touch()

    def fetch(self, directory: str) -> str:
        with self._log.open("a") as log:
            log.write("fetched\n")
        path = Path(directory, "uv-1.2.3.whl")
        path.write_bytes(CONTENT)
        return str(path)

    @property
    def downloads(self) -> int:
        return len(self._log.read_text().splitlines())


class Nowhere:
    key = Shelf.key

    def fetch(self, directory: str) -> str:
        Path(directory, "uv-1.2.3.whl").write_bytes(b"half")
        raise UvnasError("cannot download")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "log")


@pytest.fixture
def cache(tmp_path: Path) -> DownloadCache:
    return DownloadCache(str(tmp_path / "new" / "cache"))


def obtain(cache: DownloadCache, source: Shelf | Nowhere) -> LocalArchive:
    return cache.obtain(source, busy_timeout=30)


def test_downloaded_once(cache: DownloadCache, shelf: Shelf) -> None:
    path = f"{cache.directory}/{DIGEST}-uv-1.2.3.whl"
    assert obtain(cache, shelf) == LocalArchive(path, "uv-1.2.3.whl", DIGEST, downloaded=True)
    assert obtain(cache, shelf) == LocalArchive(path, "uv-1.2.3.whl", DIGEST, downloaded=False)
    assert shelf.downloads == 1
    assert Path(path).read_bytes() == CONTENT
    assert stat.S_IMODE(Path(cache.directory).stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("pattern", "content"),
    [
        ("*.whl", b""),
        ("*.whl", CONTENT[:-1]),
        ("*.whl", CONTENT[:-1] + b"X"),
        ("*.whl", None),
        ("*.json", b""),
        ("*.json", b"[]"),
        ("*.json", b"{}"),
        ("*.json", b'{"name": 1, "sha256": null}'),
        ("*.json", None),
    ],
)
def test_what_is_broken_is_downloaded_anew(
    cache: DownloadCache, shelf: Shelf, pattern: str, content: bytes | None
) -> None:
    obtain(cache, shelf)
    (broken,) = Path(cache.directory).glob(pattern)
    if content is None:
        broken.unlink()
    else:
        broken.write_bytes(content)
    archive = obtain(cache, shelf)
    assert (archive.downloaded, shelf.downloads) == (True, 2)
    assert Path(archive.path).read_bytes() == CONTENT
    assert obtain(cache, shelf).downloaded is False


def test_a_directory_that_others_may_write_to_is_not_believed(cache: DownloadCache, shelf: Shelf) -> None:
    """They could put another uv there, and the record of it."""
    obtain(cache, shelf)
    for directory in (Path(cache.directory), Path(cache.directory).parent):
        mode = directory.stat().st_mode
        directory.chmod(0o777)
        with pytest.raises(UvnasError, match=f"everybody may write to {directory}$"):
            obtain(cache, shelf)
        directory.chmod(mode)
    assert not obtain(cache, shelf).downloaded


def test_a_failed_download_leaves_nothing(cache: DownloadCache, shelf: Shelf) -> None:
    with pytest.raises(UvnasError, match="cannot download"):
        obtain(cache, Nowhere())
    assert [path.name for path in Path(cache.directory).iterdir()] == [f"{Shelf.key}.mutex"]
    assert obtain(cache, shelf).downloaded is True


def test_what_a_killed_download_left_is_removed(cache: DownloadCache, shelf: Shelf) -> None:
    left = Path(cache.directory, f".{Shelf.key}.download")
    left.mkdir(parents=True)
    (left / "uv-0.0.1.whl").write_bytes(b"half")
    assert obtain(cache, shelf).downloaded is True
    assert not left.exists()


def test_many_processes_download_once(cache: DownloadCache, shelf: Shelf) -> None:
    workers = [multiprocessing.get_context("fork").Process(target=obtain, args=(cache, shelf)) for _number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert shelf.downloads == 1


def hold(path: str, taken, done) -> None:
    with mutex.hold(path, timeout=5, purpose="download"):
        taken.set()
        done.wait()


def test_waiting_ends(cache: DownloadCache, shelf: Shelf) -> None:
    Path(cache.directory).mkdir(parents=True)
    context = multiprocessing.get_context("fork")
    taken, done = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(f"{cache.directory}/{Shelf.key}.mutex", taken, done))
    holder.start()
    taken.wait()
    with pytest.raises(ShareBusyError, match=rf"pid {holder.pid}, .*\(download\)"):
        cache.obtain(shelf, busy_timeout=0)
    done.set()
    holder.join()
    assert obtain(cache, shelf).downloaded is True


def test_where_downloads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/alice")
    assert default_directory() == "/var/tmp/alice/uvnas"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_directory() == "/home/alice/.cache/uvnas"
