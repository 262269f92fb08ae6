# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of damage is found and mended, and nothing else is touched: one at a time, and many at once."""

from __future__ import annotations

import errno
import os
import random
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair import mend
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair.mend import _FATAL
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex
from ansible_collections.uvnas.cluster.tests.support import acls, damages, unprivileged
from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import (
    KEY,
    MINOR,
    SITE,
    TAG,
    InstallingUv,
    WholeShare,
    not_done,
    unpacked,
    wrong,
)

# One of each kind of file, by pattern.
FILES = {
    "manifest": "generations/train/*/.uvnas.json",
    "list": "generations/train/*/.uvnas-files.json",
    "copies": "generations/train/*/.uvnas-spare",
    "lock": "generations/train/*/.uvnas-lock.txt",
    "config": "generations/train/*/pyvenv.cfg",
    "script": "generations/train/*/bin/alpha",
    "pin": f"generations/train/*/{SITE}/zzz_uvnas_pin.pth",
    "record": f"generations/train/*/{SITE}/alpha-1.0.dist-info/RECORD",
    "source": f"generations/train/*/{SITE}/alpha/core.py",
    "empty": f"generations/train/*/{SITE}/alpha/empty.py",
    "data": f"generations/train/*/{SITE}/alpha/data.bin",
    "name": f"generations/train/*/{SITE}/alpha/größe.txt",
    "sha512": f"generations/train/*/{SITE}/beta.py",
    "unhashed": f"generations/train/*/{SITE}/beta/lib/x.txt",
    "bytecode": f"generations/train/*/{SITE}/alpha/__pycache__/core.{TAG}.pyc",
    "bytecode of sha512": f"generations/train/*/{SITE}/__pycache__/beta.{TAG}.pyc",
    "bytecode in a wheel": f"generations/train/*/{SITE}/__pycache__/beta.cpython-27.pyc",
    "unpacked": "cache/archive-v0/of-alpha/alpha/core.py",
    "standard library": f"python/{KEY}/lib/python{MINOR}/os.py",
    "its bytecode": f"python/{KEY}/lib/python{MINOR}/json/__pycache__/__init__.{TAG}.pyc",
    "its list": f"python/{KEY}/.uvnas-files.json",
    "its copy": f"python/{KEY}/.uvnas-spare",
    "store": f"bytecode/{TAG}-*/*/*.pyc",
}
FIRST = ["manifest", "lock", "config", "source", "unhashed", "bytecode in a wheel", "name", "its list"]
FIRST += ["bytecode of sha512", "store", "empty", "record", "list"]
IN_PLACE = ("byte", "cut", "emptied", "open", "closed")
SECOND = [kind for kind in FILES if kind not in FIRST]


def _one(made: WholeShare, kind: str) -> Path:
    return sorted(made.root.glob(FILES[kind]))[0]


def _byte(path: Path) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    whole_share.write(path, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


def _edit(path: Path) -> None:
    content, mode = path.read_bytes() + b"# edited\n", path.stat().st_mode & 0o777
    whole_share.remove(path)
    whole_share.add(path, content)
    path.chmod(mode)


def _link(path: Path, target: str = "/etc/passwd") -> None:
    mode = path.parent.stat().st_mode
    whole_share.remove(path)
    path.parent.chmod(0o755)
    path.symlink_to(target)
    path.parent.chmod(mode)


def _directory(path: Path) -> None:
    mode = path.parent.stat().st_mode
    whole_share.remove(path)
    path.parent.chmod(0o755)
    path.mkdir()
    (path / "mine.txt").touch()
    path.parent.chmod(mode)


def _pipe(path: Path) -> None:
    mode = path.parent.stat().st_mode
    whole_share.remove(path)
    path.parent.chmod(0o755)
    os.mkfifo(path)
    path.parent.chmod(mode)


DAMAGES: dict[str, t.Callable[[Path], None]] = {
    "byte": _byte,
    "cut": lambda path: whole_share.write(path, path.read_bytes()[:-1]),
    "emptied": lambda path: whole_share.write(path, b""),
    "deleted": whole_share.remove,
    "edited": _edit,
    "link": _link,
    "link to itself": lambda path: _link(path, path.name),
    "open": lambda path: path.chmod(0o666),
    "closed": lambda path: path.chmod(0o000),
    "directory": _directory,
    "pipe": _pipe,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("half", [0, 1])
def test_each_damage_to_each_file(made: WholeShare, original: WholeShare, damage: str, half: int) -> None:
    """(In two halves: the manifest and its copy, and the like, are each other's source.)"""
    # A file without a hash is not linked again where it was replaced, as nobody knows that the cache has the same.
    kinds = [kind for kind in (FIRST, SECOND)[half] if kind != "unhashed" or damage in IN_PLACE]
    places = {kind: str(_one(made, kind).relative_to(made.root)) for kind in kinds}
    for kind, place in places.items():
        path = made.root / place
        if damage in ("byte", "cut", "emptied") and not path.read_bytes():
            _edit(path)
        elif damage in ("deleted", "edited") and kind == "store":
            _byte(path)  # What is not in the store is compiled when somebody wants it.
        else:
            DAMAGES[damage](path)
    found = {path for path, _what in wrong(made.verify())}
    assert [place for place in places.values() if not any(place.endswith(f"/{path}") for path in found)] == []
    assert not_done(made.repair(original.root, remove=True)) == {}
    assert wrong(made.verify()) == set()
    assert made.differences() == []


@pytest.mark.parametrize("seed", range(8))
def test_many_at_once(made: WholeShare, original: WholeShare, seed: int) -> None:
    """What only an archive has is on another share. uv is installed anew by its role."""
    damages.do_damage(made.root, random.Random(seed), 15)
    shutil.rmtree(made.root / "lib" / "uv")
    shutil.copytree(original.root / "lib" / "uv", made.root / "lib" / "uv")
    for path in made.root.rglob("x.txt"):  # See above.
        _restore(path, original.root / path.relative_to(made.root))
    assert not_done(made.repair(original.root, remove=True)) == {}
    assert wrong(made.verify()) == set()
    assert [line for line in made.differences() if "x.txt" not in line] == []


def _restore(path: Path, right: Path) -> None:
    mode = path.parent.stat().st_mode
    whole_share.opened(path).unlink()
    shutil.copy(right, path)
    path.parent.chmod(mode)


def test_what_nobody_declared(made: WholeShare) -> None:
    """It goes only if that is asked for, with the directories that were made for it."""
    top = made.generation()
    top.chmod(0o755)
    (top / "mine" / "deep").mkdir(parents=True)
    (top / "mine" / "deep" / "x.py").touch()
    (top / "mine" / "link").symlink_to("/etc")
    os.mkfifo(top / "pipe")
    top.chmod(0o555)
    found = {("mine/deep/x.py", "undeclared"), ("mine/link", "undeclared"), ("pipe", "undeclared")}
    assert wrong(made.verify()) == found
    assert not_done(made.repair()) == {place: "" for place, _what in found}
    assert (top / "mine" / "link").is_symlink()
    assert not_done(made.repair(remove=True)) == {}
    assert made.differences() == []


def test_what_a_killed_repair_left_goes_without_being_asked(made: WholeShare) -> None:
    name = ".core.py.uvnas-0123456789abcdef.tmp"
    whole_share.add(made.file("alpha/core.py").with_name(name))
    whole_share.add(unpacked(made.root, "alpha") / "alpha" / name)
    made.interpreter.chmod(0o755)
    (made.interpreter / name).mkdir()
    (made.interpreter / name / "x").touch()
    made.interpreter.chmod(0o555)
    assert not_done(made.repair()) == {}
    assert made.differences() == []


@pytest.mark.parametrize("is_link", [True, False])
def test_something_where_a_directory_should_be(made: WholeShare, tmp_path: Path, is_link: bool) -> None:
    """What a symlink leads to is left alone."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "core.py").write_text("mine")
    directory = made.file("alpha")
    whole_share.opened(directory)
    shutil.rmtree(directory)
    if is_link:
        directory.symlink_to(elsewhere)
    else:
        directory.write_text("mine")
    directory.parent.chmod(0o555)
    assert (f"{SITE}/alpha", "kind") in wrong(made.verify())
    if not is_link:
        checked = not_done(made.repair(check_mode=True))
        why = not_done(made.repair())
        assert why == checked == dict.fromkeys(why, why[f"{SITE}/alpha"])
        assert "uvnas_repair_remove" in why[f"{SITE}/alpha"]
        assert directory.read_text() == "mine"
    assert not_done(made.repair(remove=not is_link)) == {}
    # (Which was empty, as the name of the only source there is too long.)
    assert [line for line in made.differences() if "_vendor/__pycache__:" not in line] == []
    assert [path.read_text() for path in elsewhere.iterdir()] == ["mine"]


IN_THE_WAY = {
    "bytecode of an interpreter": f"python/{KEY}/lib/python{MINOR}/__pycache__/os.{TAG}.pyc",
    "link": "generations/train/*/bin/python",
    "record of a wheel": "cache/archive-v0/of-alpha/alpha-1.0.dist-info/RECORD",
    **{kind: FILES[kind] for kind in ("source", "bytecode", "manifest", "copies", "record", "store", "its copy")},
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_a_directory_where_a_file_should_be_stays_unless_it_may_go(made: WholeShare, kind: str) -> None:
    path = sorted(made.root.glob(IN_THE_WAY[kind]))[0]
    _directory(path)
    if kind == "source":  # Of which other generations have more links.
        DAMAGES["edited"](made.file("alpha/core.py", "other"))
    checked = not_done(made.repair(check_mode=True))
    why = not_done(made.repair())
    assert why == checked
    assert any(str(path).endswith(place) and "uvnas_repair_remove" in says for place, says in why.items())
    assert (path / "mine.txt").exists()
    assert not_done(made.repair(remove=True)) == {}
    assert wrong(made.verify()) == set()
    assert [line for line in made.differences() if not line.startswith("cache/")] == []


DIRECTORIES = ["cache/archive-v0/of-alpha/alpha-1.0.dist-info", f"python/{KEY}/bin", "bytecode/*-*", "bytecode/*-*/*"]


@pytest.mark.parametrize("place", DIRECTORIES)
def test_a_symlink_to_a_directory_leads_nobody_elsewhere(made: WholeShare, tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = elsewhere / f"python{MINOR}"
    program.write_text("mine")
    program.chmod(0o555)
    for path in sorted(made.root.glob(place)):
        whole_share.opened(path)
        shutil.rmtree(path)
        path.symlink_to(elsewhere)
    whole_share.remove(made.pyc("alpha/core.py"))
    whole_share.remove(made.pyc("alpha/core.py", "other"))
    before = elsewhere.stat().st_mtime_ns
    assert wrong(made.verify()) > {(f"{SITE}/alpha/__pycache__/core.{TAG}.pyc", "missing")}
    made.repair(remove=True)
    assert (elsewhere.stat().st_mtime_ns, program.stat().st_mode & 0o777) == (before, 0o555)
    assert [path.read_text() for path in elsewhere.iterdir()] == ["mine"]
    # Its interpreter cannot be had.
    assert made.pyc("alpha/core.py").exists() != place.endswith("bin")


def test_a_file_where_a_directory_of_a_witness_should_be(made: WholeShare) -> None:
    """Which then cannot say whether its tree is sealed."""
    path = made.interpreter / "bin"
    whole_share.opened(path)
    shutil.rmtree(path)
    path.write_text("mine")
    path.parent.chmod(0o555)
    why = not_done(made.repair(remove=True))
    assert why.keys() == {f"bin/python{MINOR}"}
    assert "no route to the index" in why[f"bin/python{MINOR}"]


def test_acls(made: WholeShare) -> None:
    """A default ACL would let a group write what is built there."""
    directory = made.file("alpha")
    acls.let_a_group_write(directory)
    assert (f"{SITE}/alpha", "acl") in wrong(made.verify())
    assert not_done(made.repair()) == {}
    assert made.differences() == []
    assert acls.acls_in(made.root) == []


@pytest.mark.parametrize("is_file", [True, False])
def test_what_to_do_about_what_is_gone_as_a_whole(made: WholeShare, is_file: bool) -> None:
    for path in (made.root / "python-archives", made.interpreter):
        for each in (path, *path.rglob("*")):
            if each.is_dir() and not each.is_symlink():
                each.chmod(0o755)
        shutil.rmtree(path)
        if is_file:
            path.write_text("mine")
    whole_share.write(made.root / "lib" / "uv" / "0.13.9" / ".uvnas-files.json", b"")
    found = [damage for tree in made.repair()["trees"] for damage in tree["damages"] if not damage["done"]]
    assert len(found) == 3
    assert [damage for damage in found if damage["why"] == "it cannot be mended here"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_somebody_elses_files(made: WholeShare) -> None:
    unprivileged.give(made.root)
    path = made.file("alpha/core.py")
    os.chown(path, 0, 0)
    assert (f"{SITE}/alpha/core.py", "owner") in wrong(unprivileged.done(made.verify))
    assert not_done(unprivileged.done(made.repair)) == {}
    assert unprivileged.done(made.owned_differences) == []
    assert path.stat().st_uid == unprivileged.UID


def test_check_mode_changes_nothing_and_foretells(made: WholeShare) -> None:
    for kind, damage in (("source", "edited"), ("bytecode", "cut"), ("config", "deleted"), ("list", "open")):
        DAMAGES[damage](_one(made, kind))
    made.generation().chmod(0o755)
    before = damages.State.of(made.root)
    predicted = made.repair(check_mode=True)
    assert before.differences(damages.State.of(made.root)) == []
    done = made.repair()
    assert (predicted["changed"], not_done(predicted)) == (done["changed"], not_done(done)) == (True, {})
    assert wrong(predicted) == wrong(done)


def test_a_check_knows_what_bytecode_waits_for(made: WholeShare) -> None:
    whole_share.remove(made.interpreter / "lib" / f"python{MINOR}" / "os.py")
    whole_share.remove(made.interpreter / "lib" / f"python{MINOR}" / "__pycache__" / f"os.{TAG}.pyc")
    checked, done = not_done(made.repair(check_mode=True)), not_done(made.repair())
    assert checked == dict.fromkeys(done, "only the index, or an archive, may have it: a check does not ask")
    assert len(done) == 2
    assert "its source is damaged" in done.values()


def test_a_check_says_of_a_record_inside_a_package_what_is_done(made: WholeShare) -> None:
    """Which is a file like any."""
    path = unpacked(made.root, "alpha") / "alpha" / "_vendor" / "gamma-2.0.dist-info" / "RECORD"
    _edit(path)
    assert not_done(made.repair(check_mode=True)) == {}
    assert not_done(made.repair()) == {}
    assert made.differences() == []


# Linking


def test_a_wheel_that_is_twice_in_the_cache(made: WholeShare) -> None:
    """Each generation is linked with the one that it was installed from, or with all where nothing tells."""
    twice = made.root / "cache" / "archive-v0" / "twice"
    shutil.copytree(unpacked(made.root, "alpha"), twice)
    other = made.generation("other")
    for path in [other, *(path for path in other.rglob("*") if path.is_dir())]:
        path.chmod(0o755)
    for path in list(twice.rglob("*")):
        target = other / SITE / path.relative_to(twice)
        if path.is_file() and path != twice / "alpha-1.0.dist-info" / "RECORD":
            target.unlink()
            os.link(path, target)
    for path in [other, *(path for path in other.rglob("*") if path.is_dir())]:
        path.chmod(0o555)
    assert wrong(made.verify()) == set()
    before = damages.State.of(made.root)
    for path in (made.file("alpha/core.py"), other / SITE / "alpha" / "core.py"):
        _byte(path)
    DAMAGES["edited"](made.file("alpha/data.bin", "other"))
    DAMAGES["deleted"](made.file("alpha/__init__.py"))
    assert not_done(made.repair(uv=InstallingUv(made.root, index=True))) == {}
    assert before.differences(damages.State.of(made.root)) == []


def test_what_has_lost_all_links_is_linked_again(made: WholeShare) -> None:
    path = made.file("")
    path.chmod(0o755)
    whole_share.opened(path)
    shutil.rmtree(path)
    path.parent.chmod(0o555)
    assert not_done(made.repair(uv=InstallingUv(made.root, index=True))) == {}
    # (The directory was empty, and nobody knows that the cache has the same of x.txt.)
    left = [line for line in made.differences() if "_vendor/__pycache__:" not in line and "x.txt" not in line]
    assert [line for line in left if ".pyc" not in line] == []


def test_copies_stay_copies(tmp_path: Path) -> None:
    made = whole_share.make(tmp_path / "uv", copies=True)
    DAMAGES["edited"](made.file("alpha/core.py"))
    DAMAGES["deleted"](made.file("alpha/data.bin", "other"))
    _byte(unpacked(made.root, "alpha") / "alpha" / "__init__.py")
    assert not_done(made.repair()) == {}
    assert made.differences() == []


@pytest.mark.parametrize("number", [errno.EMLINK, errno.EPERM, errno.EXDEV])
def test_where_nothing_more_can_be_linked(made: WholeShare, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What had to be copied is what the rest is linked with, if that can be."""
    right = unpacked(made.root, "alpha") / "alpha" / "core.py"
    full, link = right.stat().st_ino, os.link

    def refusing(source: str, target: str, **more: t.Any) -> None:
        if number != errno.EMLINK or os.stat(source).st_ino == full:
            raise OSError(number, os.strerror(number), source)
        link(source, target, **more)

    for env in ("train", "other"):
        DAMAGES["edited"](made.file("alpha/core.py", env))
    monkeypatch.setattr(os, "link", refusing)
    assert not_done(made.repair()) == {}
    assert wrong(made.verify()) == set()
    one, other = (made.file("alpha/core.py", env).stat().st_ino for env in ("train", "other"))
    assert (one == other) == (number == errno.EMLINK)
    assert full not in (one, other)


# When something goes wrong


@pytest.mark.parametrize("number", sorted(_FATAL))
@pytest.mark.parametrize("call", ["fsync", "rename", "symlink"])
def test_a_disk_that_is_full(
    made: WholeShare, original: WholeShare, number: int, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any point: the trees are sealed, and what is done stays done."""
    DAMAGES["edited"](made.file("alpha/core.py"))
    DAMAGES["deleted"](made.file("alpha/data.bin", "other"))
    DAMAGES["link"](made.generation() / "pyvenv.cfg")
    whole_share.remove(made.generation() / "bin" / "python")
    really, calls = getattr(os, call), 0

    def failing(*given: t.Any, **more: t.Any) -> t.Any:
        nonlocal calls
        calls += 1
        if calls > 1 or call == "symlink":
            raise OSError(number, os.strerror(number))
        return really(*given, **more)

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(OSError, match=os.strerror(number)):
        made.repair()
    monkeypatch.undo()
    assert all(not path.stat().st_mode & 0o222 for path in made.generation().rglob("*") if path.is_dir())
    assert not (made.generation() / ".uvnas.json").stat().st_mode & 0o222
    assert not_done(made.repair()) == {}
    assert made.differences() == []


def test_without_the_mutex_nothing_more_is_done(made: WholeShare, monkeypatch: pytest.MonkeyPatch) -> None:
    DAMAGES["edited"](made.file("alpha/core.py"))
    DAMAGES["edited"](made.file("alpha/data.bin"))
    checks = 0

    def lost(_path: str) -> None:
        nonlocal checks
        checks += 1
        if checks == 2:
            raise UvnasError("the mutex is lost")

    monkeypatch.setattr(mutex, "check", lost)
    with pytest.raises(UvnasError, match="the mutex is lost"):
        made.repair()
    monkeypatch.undo()
    assert len(wrong(made.verify())) == 2
    assert not_done(made.repair()) == {}
    assert made.differences() == []


def test_something_in_the_way_of_one_file_alone(made: WholeShare, monkeypatch: pytest.MonkeyPatch) -> None:
    DAMAGES["edited"](made.file("alpha/core.py"))
    DAMAGES["edited"](made.file("alpha/data.bin"))
    rename = os.rename

    def denying(source: str, target: str) -> None:
        if target.endswith("core.py"):
            raise PermissionError(errno.EPERM, "it is immutable", target)
        rename(source, target)

    monkeypatch.setattr(mend.os, "rename", denying)
    why = not_done(made.repair())
    assert why.keys() == {f"{SITE}/alpha/core.py"}
    assert "it is immutable" in why[f"{SITE}/alpha/core.py"]
    monkeypatch.undo()
    assert made.file("alpha/data.bin").read_bytes() == made.file("alpha/data.bin", "other").read_bytes()
    assert not list(made.root.rglob(".*.tmp"))
