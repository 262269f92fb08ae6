# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that go from one cache of the real uv to another, and are installed from there without an index."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import platform
import signal
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
import uv
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files, removal
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import call_as, call_many
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import unsynced
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.cache import _fits, borrow
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel

MINOR = ".".join(platform.python_version_tuple()[:2])
LOCK = {"alpha": "2.0", "beta-more": "1.0"}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002  # The name in the base class.
        pass


class Index:
    """A package index on loopback, until it is closed."""

    def __init__(self, directory: Path) -> None:
        for name, version in LOCK.items():
            normal = name.replace("-", "_")
            package = directory / "simple" / name
            write_small_wheel(package, normal, version)
            (wheel,) = package.glob("*.whl")
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            (package / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
        handler = functools.partial(Quiet, directory=str(directory))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/simple"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


Install = t.Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def index(tmp_path: Path) -> t.Iterator[Index]:
    found = Index(tmp_path / "index")
    yield found
    found.close()


@pytest.fixture
def install(index: Index, tmp_path: Path) -> Install:
    """Install the packages into a new environment, with the cache that is named."""

    def install(cache: Path, **settings: str) -> subprocess.CompletedProcess[str]:
        target = tmp_path / f"env-of-{cache.name}"
        environment = {"UV_CACHE_DIR": str(cache), "UV_DEFAULT_INDEX": index.url, "UV_NO_CONFIG": "1", **settings}
        pins = [f"{name}=={version}" for name, version in LOCK.items()]
        program = uv.find_uv_bin()
        subprocess.run([program, "venv", "-q", "-p", sys.executable, target], env=environment, check=True)
        command = [program, "pip", "install", "--no-deps", "-p", target / "bin" / "python", *pins]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return install


@pytest.fixture
def source(install: Install, tmp_path: Path) -> Path:
    """A cache that has the packages."""
    done = install(tmp_path / "source")
    assert done.returncode == 0, done.stderr
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    found = tmp_path / "target"
    found.mkdir()
    return found


def archived(cache: Path, name: str) -> Path:
    """The unpacked file of a package, in the cache."""
    (found,) = cache.glob(f"archive-v*/*/{name}")
    return found


def test_without_it_there_is_nothing_to_install(install: Install, source: Path, target: Path, index: Index) -> None:
    assert install(target, UV_OFFLINE="1").returncode != 0


def test_what_was_borrowed_is_installed_without_an_index(
    install: Install, source: Path, target: Path, index: Index
) -> None:
    assert borrow(str(source), str(target), LOCK, MINOR)
    index.close()
    done = install(target, UV_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert archived(target, "alpha.py").stat().st_nlink == 2  # Linked from this cache, not from the other one.
    before = sorted(target.rglob("*"))
    assert borrow(str(source), str(target), LOCK, MINOR)
    assert sorted(target.rglob("*")) == before


def test_what_is_not_there_is_said_to_be_missing(source: Path, target: Path) -> None:
    assert not borrow(str(source), str(target), {**LOCK, "gamma": "1.0"}, MINOR)
    assert not borrow(str(source), str(target), {"alpha": "2.1"}, MINOR)
    assert not borrow(str(source.parent / "none"), str(source.parent / "empty"), LOCK, MINOR)


def test_a_file_that_was_edited_is_not_taken(source: Path, target: Path) -> None:
    file = archived(source, "alpha.py")
    file.write_text("import this\n")
    assert not borrow(str(source), str(target), LOCK, MINOR)
    assert not list(target.glob("archive-v*/*/alpha.py"))
    assert scratch(target) == []
    assert archived(target, "beta_more.py").read_bytes() == archived(source, "beta_more.py").read_bytes()


@pytest.mark.parametrize("path", ["../../outside.py", "/tmp/outside.py"])
def test_a_record_that_leads_out_is_not_followed(source: Path, target: Path, path: str) -> None:
    record = archived(source, "alpha-2.0.dist-info/RECORD")
    record.write_text(record.read_text() + f"{path},,\n")
    assert not borrow(str(source), str(target), LOCK, MINOR)


def test_a_cache_that_others_may_write_is_not_trusted(source: Path, target: Path) -> None:
    source.chmod(0o777)
    assert not borrow(str(source), str(target), LOCK, MINOR)
    assert os.listdir(target) == []


def test_a_cache_that_lost_something_in_a_power_cut_is_not_believed(source: Path, target: Path) -> None:
    (source / unsynced.MARKER).write_text('{"boot": "another"}')
    assert not borrow(str(source), str(target), LOCK, MINOR)
    assert os.listdir(target) == []


def test_wheels_for_other_pythons_stay_where_they_are(source: Path, target: Path) -> None:
    (links,) = source.glob("wheels-v*/index/*/alpha")
    (link,) = (path for path in links.iterdir() if path.is_symlink())
    (links / "2.0-cp34-cp34-linux_x86_64").symlink_to(os.readlink(link))
    (links / "2.0-cp34-abi3-linux_x86_64").symlink_to(os.readlink(link))
    assert borrow(str(source), str(target), LOCK, MINOR)
    assert not borrow(str(source), str(target.parent / "none"), {"alpha": "9"}, MINOR)
    (there,) = target.glob("wheels-v*/index/*/alpha")
    assert {path.name for path in there.iterdir() if path.is_symlink()} == {link.name, "2.0-cp34-abi3-linux_x86_64"}


@pytest.mark.parametrize(
    ("tags", "minor", "fits"),
    [
        ("py3-none-any", "3.13", True),
        ("cp313-cp313-manylinux_2_28_x86_64", "3.13", True),
        ("cp313-cp313-manylinux_2_28_x86_64", "3.13t", False),
        ("cp313-cp313t-manylinux_2_28_x86_64", "3.13t", True),
        ("cp313-cp313t-manylinux_2_28_x86_64", "3.13", False),
        ("cp39-abi3-manylinux_2_28_x86_64", "3.13", True),
        ("cp39-abi3-manylinux_2_28_x86_64", "3.13t", False),
        ("cp312-cp312-manylinux_2_28_x86_64", "3.13", False),
    ],
)
def test_which_wheels_may_be_for_a_python(tags: str, minor: str, fits: bool) -> None:
    assert _fits(f"1.0-{tags}", "1.0", minor) == fits
    assert not _fits(f"1.0.1-{tags}", "1.0", minor)


@pytest.mark.parametrize(
    "line", [b"alpha.py,sha256=\xff,\n", b"nul\0.py,,\n", b"alpha-2.0.dist-info,,\n", b"alpha.py,shake_128=x,\n"]
)
def test_a_damaged_record_is_no_error(source: Path, target: Path, line: bytes) -> None:
    record = archived(source, "alpha-2.0.dist-info/RECORD")
    record.write_bytes(record.read_bytes() + line)
    assert not borrow(str(source), str(target), LOCK, MINOR)
    assert scratch(target) == []
    assert archived(target, "beta_more.py").exists()


def test_what_two_caches_have_together_is_enough(source: Path, target: Path) -> None:
    assert not borrow(str(source), str(target), {"alpha": "2.0", "gamma": "1.0"}, MINOR)
    assert borrow(str(source.parent / "none"), str(target), {"alpha": "2.0"}, MINOR)


def scratch(cache: Path) -> list[str]:
    """What is being copied into a cache, or was when its process was killed."""
    return [path.name for path in cache.rglob("*") if files.is_temporary(path.name)]


def test_what_is_being_copied_is_where_sweeps_look_for_it(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the cache's own top directory, of every file and every archive."""
    begun: list[str] = []
    temporary_name = files.temporary_name

    def note(path: str) -> str:
        begun.append(temporary_name(path))
        return begun[-1]

    monkeypatch.setattr(files, "temporary_name", note)
    assert borrow(str(source), str(target), LOCK, MINOR)
    assert {os.path.dirname(path) for path in begun} == {str(target)}
    assert len(begun) == len(set(begun)) > 2
    assert scratch(target) == []


def test_what_a_killed_process_was_copying_is_removed(source: Path, target: Path) -> None:
    with pytest.raises(UvnasError, match="SIGKILL"):
        call_as(None, lambda: killed_while_copying(source, target))
    assert scratch(target)
    (target / "archive-v0").mkdir(exist_ok=True)
    (target / "archive-v0" / "kept").mkdir()
    before = {path for path in target.rglob("*") if path.is_relative_to(target / "archive-v0")}
    removal.sweep(str(target))
    assert scratch(target) == []
    assert {path for path in target.rglob("*") if path.is_relative_to(target / "archive-v0")} == before
    # And is borrowed as if nothing had been.
    assert borrow(str(source), str(target), LOCK, MINOR)


def killed_while_copying(source: Path, target: Path) -> dict[str, t.Any]:
    """Copy until the first archive is about to get its name."""

    def rename(one: str, other: str) -> None:
        if "archive-v" in other:
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace(one, other)

    os.rename = rename
    borrow(str(source), str(target), LOCK, MINOR)
    return {}


def test_many_may_borrow_at_once(source: Path, target: Path) -> None:
    answers = call_many([lambda: {"all": borrow(str(source), str(target), LOCK, MINOR)}] * 4, jobs=4)
    assert [answer() for answer in answers] == [{"all": True}] * 4
    assert scratch(target) == []
    assert archived(target, "alpha.py").read_bytes() == archived(source, "alpha.py").read_bytes()
