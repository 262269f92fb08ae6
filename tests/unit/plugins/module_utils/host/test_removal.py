# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be removed goes, whatever cannot: mounts, directories of somebody else, and what is still written to.

What a process has open on NFS is in tests/nfs/test_in_use.py: no other filesystem keeps it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files, removal
from ansible_collections.uvnas.cluster.plugins.module_utils.host.removal import FOREIGN, IN_USE, MOUNTED, REFUSED
from ansible_collections.uvnas.cluster.tests.support import unprivileged
from ansible_collections.uvnas.cluster.tests.support.processes import other_process

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two users, and mounts")


def test_remove_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").touch()
    (tree / "a" / "link").symlink_to(outside)
    removal.remove_tree(str(tree))
    removal.remove_tree(str(tree))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "outside"]


def test_a_tree_is_out_of_its_name_before_anything_in_it_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    # What still writes into it, by its name, while it is removed.
    writer = "print('ready', flush=True)\nos.chdir('/')\nos.read(0, 1)\nopen(sys.argv[1], 'w')"
    with other_process(writer, tree / "sub" / "late") as process:
        removal.remove_tree(str(tree))
        process.communicate("\n", timeout=60)
        assert process.returncode == 1
    assert os.listdir(tmp_path) == []


# What killed processes leave


@pytest.fixture
def littered(tmp_path: Path) -> Path:
    """A directory with what killed processes leave, and with what looks a little like it."""
    (tmp_path / ".file.uvnas-0000000000000001.tmp").touch()
    (tmp_path / ".link.uvnas-0000000000000001.tmp").symlink_to("kept")
    (tmp_path / ".tree.uvnas-0000000000000001.tmp" / "below").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    for name in ("kept/.below.uvnas-0000000000000001.tmp", "file.tmp", ".hidden", ".tmp-uv", "tmp", ".x.host-1.tmp"):
        (tmp_path / name).touch()
    return tmp_path


def test_what_killed_processes_left_is_swept(littered: Path) -> None:
    removal.sweep(str(littered))
    assert sorted(os.listdir(littered)) == [".hidden", ".tmp-uv", ".x.host-1.tmp", "file.tmp", "kept", "tmp"]
    assert os.listdir(littered / "kept") == [".below.uvnas-0000000000000001.tmp"]
    removal.sweep(str(littered / "absent"))


def test_leftovers_may_have_other_names(littered: Path) -> None:
    removal.sweep(str(littered), lambda name: name.startswith(".tmp-"))
    assert ".tmp-uv" not in os.listdir(littered)
    assert ".file.uvnas-0000000000000001.tmp" in os.listdir(littered)


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "kept" / "below").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "tree" / "below").mkdir(parents=True)
    for name in ("file", "link", "tree"):
        removal.remove(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["below", "kept"]
    with pytest.raises(FileNotFoundError):
        removal.remove(str(tmp_path / "file"))


# What stands in the way


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of an owner who is not root, with a tree in it."""
    for name in ("tree/lib/deep/file", "tree/lib/file", "tree/bin/file", "tree/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return unprivileged.give(tmp_path)


@contextlib.contextmanager
def mounted(what: Path, point: Path) -> t.Iterator[None]:
    """``what`` is to be seen at ``point``, too."""
    if subprocess.run(["mount", "--bind", what, point], check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        # Wherever that is by now.
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            points = [line.split(" ")[4] for line in mounts]
        (now,) = [each for each in points if each.startswith(f"{point.parents[-3]}/") and each.endswith(point.name)]
        subprocess.run(["umount", now], check=True)


def names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def hidden(place: Path) -> Path:
    (found,) = [path for path in place.iterdir() if files.is_temporary(path.name)]
    return found


def swept(place: Path) -> list[removal.Leftover]:
    return unprivileged.done(lambda: removal.sweep(str(place)))


def remove_tree(place: Path) -> None:
    unprivileged.done(lambda: removal.remove_tree(str(place / "tree")))


@needs_root
def test_bytecode_that_root_wrote_is_left_and_named(place: Path) -> None:
    cache = place / "tree" / "lib" / "__pycache__"
    cache.mkdir(mode=0o755)
    (cache / "file.pyc").touch()
    remove_tree(place)
    trash = hidden(place)
    left = {"lib", "lib/__pycache__", "lib/__pycache__/file.pyc"}
    assert names(trash) == left
    for _time in range(3):  # It keeps its name.
        (leftover,) = swept(place)
        assert leftover.path == str(trash)
        (obstacle,) = leftover.obstacles
        assert (obstacle.kind, obstacle.uid) == (FOREIGN, 0)
        assert obstacle.path == str(trash / "lib" / "__pycache__" / "file.pyc")
        assert hidden(place) == trash
        assert names(trash) == left
    os.chown(trash / "lib" / "__pycache__", unprivileged.UID, unprivileged.UID)
    assert swept(place) == []
    assert list(place.iterdir()) == []


@needs_root
@pytest.mark.parametrize("mode", [0o755, 0o700, 0])
def test_an_empty_directory_of_somebody_else_goes(place: Path, mode: int) -> None:
    (place / "tree" / "lib" / "empty").mkdir()
    (place / "tree" / "lib" / "empty").chmod(mode)
    remove_tree(place)
    assert list(place.iterdir()) == []


@needs_root
def test_a_directory_that_only_somebody_else_can_read_is_left(place: Path) -> None:
    (place / "tree" / "lib" / "secret" / "below").mkdir(parents=True)
    (place / "tree" / "lib" / "secret").chmod(0o700)
    remove_tree(place)
    (leftover,) = swept(place)
    (obstacle,) = leftover.obstacles
    assert (obstacle.kind, obstacle.uid) == (FOREIGN, 0)
    assert obstacle.path == str(hidden(place) / "lib" / "secret")
    assert names(hidden(place)) == {"lib", "lib/secret", "lib/secret/below"}


@needs_root
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_mounted_in_a_tree_is_left_alone(tmp_path: Path, kind: str) -> None:
    """Not even what is in it goes, which may be anybody's."""
    precious = tmp_path / "precious"
    (precious / "below").mkdir(parents=True)
    (precious / "file").write_text("mine")
    unprivileged.give(precious)
    place = tmp_path / "place"
    point = place / "tree" / "lib" / "point"
    (place / "tree" / "other").mkdir(parents=True)
    point.parent.mkdir()
    if kind == "directory":
        point.mkdir()
    else:
        point.touch()
    unprivileged.give(place)
    with mounted(precious if kind == "directory" else precious / "file", point):
        remove_tree(place)
        trash = hidden(place)
        for _time in range(2):
            (leftover,) = swept(place)
            assert [one.kind for one in leftover.obstacles] == [MOUNTED if kind == "directory" else IN_USE]
            assert [one.path for one in leftover.obstacles] == [str(trash / "lib" / "point")]
            assert hidden(place) == trash
        assert {path.name for path in trash.iterdir()} == {"lib"}
        assert names(precious) == {"below", "file"}
        assert (precious / "file").read_text() == "mine"
    assert swept(place) == []
    assert list(place.iterdir()) == []


@needs_root
def test_a_mount_point_keeps_its_name(place: Path) -> None:
    """Nothing takes it out of its place, so whoever wants it away has to know."""
    with mounted(place / "tree", place / "tree"), pytest.raises(OSError, match="tree") as caught:
        remove_tree(place)
    assert caught.value.errno == errno.EBUSY
    assert (place / "tree" / "lib" / "deep" / "file").exists()


WRITE = """
os.chdir(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    try:
        os.close(os.open(f"new-{number}", os.O_CREAT | os.O_WRONLY))
    except OSError:
        pass
    number += 1
"""


def test_what_is_still_written_to_ends_all_the_same(tmp_path: Path) -> None:
    """Whoever keeps filling a directory cannot keep a removal busy for ever."""
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    with other_process(WRITE, tmp_path / "tree" / "deep"):
        removal.remove_tree(str(tmp_path / "tree"))
        for leftover in removal.sweep(str(tmp_path)):
            assert {one.kind for one in leftover.obstacles} == {IN_USE}
    removal.sweep(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EROFS])
def test_trouble_is_no_obstacle(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal fails by it. A sweep, which nobody asked for, tells."""
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").touch()

    def fails(name: str, *, dir_fd: int | None = None) -> t.NoReturn:
        raise OSError(code, os.strerror(code), name)

    monkeypatch.setattr(os, "unlink", fails)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        removal.remove_tree(str(tmp_path / "tree"))
    path = str(hidden(tmp_path) / "deep" / "file")
    assert caught.value.filename == path
    (leftover,) = removal.sweep(str(tmp_path), what=lambda name: f"what {files.real_name(name)} was")
    assert leftover.what == "what tree was"
    (obstacle,) = leftover.obstacles
    assert (obstacle.kind, obstacle.path, obstacle.said) == (REFUSED, path, os.strerror(code))


def test_what_ends_on_its_own_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a ``.nfs…`` whose process ends while its directory is being emptied."""
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    for name in ("one", "other"):
        (tmp_path / "tree" / "deep" / name).touch()
    real = os.unlink

    def unlink(name: str, *, dir_fd: int | None = None) -> None:
        for each in ("one", "other"):
            with contextlib.suppress(FileNotFoundError):
                real(each, dir_fd=dir_fd)
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    removal.remove_tree(str(tmp_path / "tree"))
    assert list(tmp_path.iterdir()) == []
