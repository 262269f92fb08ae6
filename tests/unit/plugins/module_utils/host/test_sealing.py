# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealed trees, as an owner who is not root: nothing changes in them, and killed at any step they are never half sealed
without a sign of it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files, removal, sealing
from ansible_collections.uvnas.cluster.tests.support import acls, unprivileged


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of an owner who is not root, with a tree, and beside it what a file of it is linked from."""
    (tmp_path / "tree" / "lib" / "deep").mkdir(parents=True)
    for name in ("tree/witness", "tree/lib/own", "tree/lib/deep/one", "cache"):
        (tmp_path / name).write_text("as it was")
    (tmp_path / "tree" / "lib" / "linked").hardlink_to(tmp_path / "cache")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "cache")
    (tmp_path / "elsewhere").mkdir(mode=0o777)
    return unprivileged.give(tmp_path)


def seal(place: Path) -> None:
    sealing.seal(str(place / "tree"), str(place / "tree" / "witness"))


def is_sealed(place: Path) -> bool:
    return sealing.is_sealed((place / "tree" / "witness").stat())


def modes(place: Path) -> dict[str, str]:
    paths = [place / "tree", *(place / "tree").rglob("*")]
    return {str(path.relative_to(place)): oct(path.stat().st_mode & 0o7777) for path in paths if not path.is_symlink()}


def test_bytecode_that_root_wrote_is_in_nobodys_way(place: Path) -> None:
    """Modes do not stop root. The owner cannot change what is root's, and nobody else can write there."""
    directory = place / "tree" / "lib" / "__pycache__"
    directory.mkdir(mode=0o755)
    (directory / "own.pyc").touch(mode=0o644)
    os.chown(directory, 0, 0)
    os.chown(directory / "own.pyc", 0, 0)
    unprivileged.done(lambda: seal(place))
    assert is_sealed(place)
    unprivileged.done(lambda: sealing.unseal(str(place / "tree"), str(place / "tree" / "witness")))
    assert not is_sealed(place)
    directory.chmod(0o777)
    with pytest.raises(UvnasError, match="belongs to uid 0"):
        unprivileged.done(lambda: seal(place))


CHANGES: dict[str, t.Callable[[Path], t.Any]] = {
    "add": lambda tree: (tree / "lib" / "new").touch(),
    "add at the top": lambda tree: (tree / "new").mkdir(),
    "replace": lambda tree: os.replace(tree.parent / "mine", tree / "lib" / "own"),
    "rename": lambda tree: os.rename(tree / "lib" / "own", tree / "lib" / "renamed"),
    "remove": lambda tree: os.unlink(tree / "lib" / "deep" / "one"),
    "remove the witness": lambda tree: os.unlink(tree / "witness"),
    "remove all": shutil.rmtree,
    "move away": lambda tree: os.rename(tree, tree.parent / "elsewhere" / "tree"),
    "edit": lambda tree: subprocess.run(["sed", "-i", "s/it/he/", tree / "lib" / "own"], check=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_not_even_its_owner_changes_it_by_accident(place: Path, change: str) -> None:
    (place / "mine").write_text("changed")
    unprivileged.give(place)
    unprivileged.done(lambda: seal(place))
    before = {path: path.lstat() for path in (place / "tree").rglob("*")}
    with pytest.raises((PermissionError, subprocess.CalledProcessError)):
        unprivileged.done(lambda: CHANGES[change](place / "tree"))
    assert {path: path.lstat() for path in (place / "tree").rglob("*")} == before


def test_what_modes_it_has(place: Path) -> None:
    for name, mode in (("lib", 0o2775), ("lib/deep", 0o750), ("lib/own", 0o666), ("witness", 0o644)):
        (place / "tree" / name).chmod(mode)
    unprivileged.done(lambda: seal(place))
    assert modes(place) == {
        "tree": "0o555",
        "tree/lib": "0o555",
        "tree/lib/deep": "0o550",
        "tree/lib/own": "0o644",
        "tree/lib/linked": "0o644",
        "tree/lib/deep/one": "0o644",
        "tree/witness": "0o444",
    }


def test_only_what_is_not_as_it_should_be_costs_a_change(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[str] = []
    real = os.chmod
    monkeypatch.setattr(os, "chmod", lambda path, mode: (changed.append(str(path)), real(path, mode)))
    seal(place)
    assert sorted(changed) == [str(place / name) for name in ("tree", "tree/lib", "tree/lib/deep", "tree/witness")]


@pytest.mark.parametrize("what", ["new", "opened", "unsealing"])
def test_killed_at_any_step_its_witness_tells(place: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, real = place / "tree", os.chmod

    def killed_at(count: int) -> t.Callable[..., None]:
        left = iter(range(count))

        def chmod(path: t.Any, mode: int) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            real(path, mode)

        return chmod

    for count in range(50):
        if what != "new":
            seal(place)
        if what == "opened":
            (tree / "lib" / "deep").chmod(0o775)
        elif what == "new":
            subprocess.check_call(["chmod", "-R", "u+w", tree])
        monkeypatch.setattr(os, "chmod", killed_at(count))
        try:
            if what == "unsealing":
                sealing.unseal(str(tree), str(tree / "witness"))
            else:
                seal(place)
            ended = True
        except KeyboardInterrupt:
            ended = False
        monkeypatch.setattr(os, "chmod", real)
        directories = [tree, tree / "lib", tree / "lib" / "deep"]
        # Before the first step nothing has begun; what was opened by hand was no step of ours.
        if is_sealed(place) and not (what == "opened" and count == 0):
            assert not [path for path in directories if path.stat().st_mode & 0o222]
        if ended:
            break
        seal(place)
        assert is_sealed(place)
        assert not [path for path in directories if path.stat().st_mode & 0o222]
    assert count > 2


def test_unsealed_it_can_be_written_to(place: Path) -> None:
    unprivileged.done(lambda: seal(place))
    unprivileged.done(lambda: sealing.unseal(str(place / "tree"), str(place / "tree" / "witness")))
    assert not is_sealed(place)
    unprivileged.done(lambda: CHANGES["remove"](place / "tree"))


def test_what_others_can_write_to_is_named_and_closed_for_good(place: Path) -> None:
    tree = place / "tree"
    acls.let_a_group_write(tree / "lib")
    (tree / "lib" / "made").mkdir()
    (tree / "lib" / "made" / "file").touch()
    (tree / "lib" / "deep" / "one").chmod(0o646)
    unprivileged.give(place)
    found = sealing.open_paths(str(tree))
    assert sorted(found) == ["lib", "lib/deep/one", "lib/made", "lib/made/file"]
    assert sealing.listed(found).endswith(" and 1 more")
    unprivileged.done(lambda: seal(place))
    assert sealing.open_paths(str(tree)) == acls.acls_in(tree) == []
    # Nor does anything come back when the owner may write there again.
    unprivileged.done(lambda: sealing.unseal(str(tree), str(tree / "witness")))
    unprivileged.done((tree / "lib" / "made" / "new").mkdir)
    assert sealing.open_paths(str(tree)) == []


def test_a_default_acl_alone_is_closed_too(place: Path) -> None:
    os.setxattr(place / "elsewhere", acls.DEFAULT, acls.LETS_A_GROUP_WRITE)
    (place / "elsewhere").chmod(0o2755)
    unprivileged.done(lambda: sealing.close(str(place / "elsewhere")))
    assert acls.acls_in(place) == []
    assert stat.S_IMODE((place / "elsewhere").stat().st_mode) == 0o2755


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two users")
def test_what_somebody_else_put_there_is_named(place: Path) -> None:
    strange = place / "tree" / "lib" / "strange"
    strange.touch()
    strange.chmod(0o666)
    with pytest.raises(UvnasError, match=f"{strange} belongs to uid 0, not to the owner of the tree it is in"):
        unprivileged.done(lambda: seal(place))
    assert not is_sealed(place)


# Removal, which is for host/removal


def test_its_owner_can_have_it_removed(place: Path) -> None:
    unprivileged.done(lambda: seal(place))
    unprivileged.done(lambda: removal.remove_tree(str(place / "tree")))
    assert sorted(path.name for path in place.iterdir()) == ["cache", "elsewhere"]
    assert (place / "cache").read_text() == "as it was"


def test_a_removal_that_was_killed_is_taken_up_by_a_sweep(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first, second, … thing that is removed."""
    (place / "tree").rename(place / "copy")
    for count in range(20):
        shutil.copytree(place / "copy", place / "tree", symlinks=True)
        unprivileged.give(place)

        def killed(count: int = count) -> bool:
            seal(place)
            left, real = iter(range(count)), os.unlink

            def unlink(name: t.Any, **more: t.Any) -> None:
                if next(left, None) is None:
                    raise KeyboardInterrupt
                real(name, **more)

            monkeypatch.setattr(os, "unlink", unlink)
            try:
                removal.remove_tree(str(place / "tree"))
            except KeyboardInterrupt:
                return True
            return False

        was_killed = unprivileged.done(killed)
        assert not (place / "tree").exists()
        unprivileged.done(lambda: removal.sweep(str(place)))
        assert sorted(path.name for path in place.iterdir()) == ["cache", "copy", "elsewhere"]
        if not was_killed:
            break
    assert count > 2


def test_directories_that_cannot_even_be_read_are_removed(place: Path) -> None:
    (place / "tree" / "lib" / "deep").chmod(0o100)
    (place / "tree" / "lib").chmod(0)
    unprivileged.done(lambda: removal.remove_tree(str(place / "tree")))
    assert not (place / "tree").exists()


@pytest.mark.parametrize("umask", [0, 0o077])
def test_directories_that_are_made_are_for_nobody_else_to_write(place: Path, umask: int) -> None:
    acls.let_a_group_write(place / "elsewhere")
    made = place / "elsewhere" / "lib" / "uv"

    def make() -> None:
        os.umask(umask)
        files.make_directory(str(made))

    unprivileged.done(make)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made, made.parent)] == [0o755, 0o755]
    assert acls.acls_in(made.parent) == []
