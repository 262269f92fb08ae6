# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a prune does on a share, on real files, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.prune import converge
from ansible_collections.uvnas.cluster.plugins.module_utils.env.prune.plan import Keep
from ansible_collections.uvnas.cluster.plugins.module_utils.env.prune.state import Needs
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import LostMutexError, ShareBusyError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import load_record
from ansible_collections.uvnas.cluster.plugins.module_utils.share import journal as journals
from ansible_collections.uvnas.cluster.plugins.module_utils.share import standing
from ansible_collections.uvnas.cluster.plugins.module_utils.share.journal import Journal
from ansible_collections.uvnas.cluster.tests.support import shares, unprivileged
from ansible_collections.uvnas.cluster.tests.support.disks import disk
from ansible_collections.uvnas.cluster.tests.support.mutexes import lose
from ansible_collections.uvnas.cluster.tests.support.shares import KEY
from ansible_collections.uvnas.cluster.tests.unit import old_share
from ansible_collections.uvnas.cluster.tests.unit.old_share import (
    ARCHIVE,
    GONE,
    HELD,
    IN_FORCE,
    KEPT_ARCHIVE,
    LAST,
    MAY_GO,
    OLD,
    OLD_KEY,
    OLDEST,
    OldShare,
    PruningUv,
)


@pytest.fixture
def share(tmp_path: Path) -> OldShare:
    return old_share.make(tmp_path / "uv")


def check_the_rest(share: OldShare) -> None:
    """What is in force or held is there, and whatever is written down can be read."""
    assert os.readlink(share.layout.env("train")) == f"../generations/train/{IN_FORCE}"
    for generation_id in (IN_FORCE, HELD, LAST):
        assert (share.generation(generation_id) / ".uvnas.json").is_file()
    assert share.path("python", KEY, "bin", "python").is_file()
    assert (share.path("bin") / os.readlink(share.layout.uv)).is_file()
    assert KEY in load_record(share.layout).interpreters
    hold = standing.read(share.layout, "train").hold
    assert hold is not None
    assert hold.id == HELD
    standing.read(share.layout, "gone")
    if share.path("python-archives", "site.json").exists():
        json.loads(share.path("python-archives", "site.json").read_text())


def check_the_end(share: OldShare) -> None:
    """What nobody needs is gone, and nothing else."""
    check_the_rest(share)
    assert sorted(os.listdir(share.layout.generations_of("train"))) == [IN_FORCE, HELD, LAST]
    assert os.listdir(share.layout.generations) == ["train"]
    assert os.listdir(share.layout.python) == [KEY]
    assert os.listdir(share.layout.uv_versions) == ["0.13.9"]
    assert os.listdir(share.layout.logs) == []
    assert sorted(os.listdir(share.layout.locks)) == ["pythons.json", "train.state.json", "train.txt"]
    assert sorted(os.listdir(share.layout.python_archives)) == sorted([KEPT_ARCHIVE, "notes.txt", "site.json"])
    assert json.loads(share.path("python-archives", "site.json").read_text()) == {}
    assert list(load_record(share.layout).interpreters) == [KEY]
    assert sorted(os.listdir(share.path("bytecode", "312", "00"))) == ["0.pyc", "1.pyc", "2.pyc"]
    assert os.listdir(share.path("cache", "archive-v0")) == ["used"]
    assert share.may_go() == set()


def test_look_aside_remove(share: OldShare) -> None:
    before = share.seen()
    seen = share.look(measure=True)
    assert {(item["kind"], item["name"]) for item in seen["candidates"]} == MAY_GO
    kept = [fact["name"] for fact in seen["kept"] if fact["kind"] == "generation"]
    assert sorted(kept) == [f"train/{HELD}", f"train/{LAST}"]
    assert seen["in_force"] == {"train": [IN_FORCE, HELD]}
    assert (seen["changed"], share.seen()) == (False, before)
    assert seen["freed"]["inodes"] >= 15
    done = share.put_aside()
    assert (done["changed"], {tuple(pair) for pair in done["aside"]}) == (True, MAY_GO)
    assert all(item["aside"] for item in share.look()["candidates"])
    assert not share.generation(OLD).exists()
    check_the_rest(share)
    uv = PruningUv(share.layout)
    done = share.remove(uv=uv)
    assert {(item["kind"], item["name"]) for item in done["removed"]} == MAY_GO
    # Two archives, and what uv has removed.
    assert (done["changed"], done["back"], done["swept"], uv.held) == (True, [], 3, [True])
    assert set(done["freed"]) == {"bytes", "inodes"}
    check_the_end(share)
    entries = journals.read(share.layout)
    told = [(each.action, each.environment, each.generation, each.why, each.user) for each in entries]
    generations = sorted(name.split("/") for kind, name in MAY_GO if kind == "generation")
    assert sorted(told) == [("remove", env, each, "pruned", "alice") for env, each in generations]


def test_a_second_one_finds_nothing(share: OldShare) -> None:
    share.prune()
    before = share.there()
    assert share.put_aside()["changed"] is False
    assert share.remove()["changed"] is False
    assert share.there() == before


def test_check_mode_changes_nothing_and_foretells_it(share: OldShare) -> None:
    before = share.seen()
    predicted = share.put_aside(check_mode=True)
    assert share.seen() == before
    assert share.put_aside() == predicted
    before = share.seen()
    predicted = share.remove(check_mode=True)
    assert share.seen() == before
    assert (predicted["changed"], predicted["freed"]) == (True, None)
    done = share.remove()
    assert all(done[key] == predicted[key] for key in ("removed", "back"))


def test_nothing_is_removed_that_was_not_aside_or_not_named(share: OldShare) -> None:
    assert share.remove()["removed"] == []
    assert share.generation(OLD).is_dir()
    lies = {("generation", "train/../../locks"), ("generation", f"train/{IN_FORCE}"), ("uv", "0.13.9"), ("uv", "..")}
    assert share.put_aside(lies)["aside"] == []
    share.put_aside({("generation", f"train/{OLD}"), ("generation", f"train/{OLDEST}")})
    done = share.remove({("generation", f"train/{OLD}"), *lies})
    assert [item["name"] for item in done["removed"]] == [f"train/{OLD}"]
    assert done["back"] == [["generation", f"train/{OLDEST}"]]
    assert (share.generation(OLD).exists(), share.generation(OLDEST).exists()) == (False, True)
    check_the_rest(share)


def test_what_is_needed_meanwhile_comes_back(share: OldShare) -> None:
    share.put_aside()
    share.hold(OLD)
    again = dataclasses.replace(share, pythons=("3.12", "3.11"))
    wanted = {item["name"]: item["wanted"] for item in again.look()["candidates"] if item["wanted"]}
    assert set(wanted) == {f"train/{OLD}", OLD_KEY}
    assert "held at" in wanted[f"train/{OLD}"]
    assert wanted[OLD_KEY] == "3.11 is requested"
    # Whatever the controller says.
    done = again.remove(MAY_GO)
    assert sorted(done["back"]) == [["generation", f"train/{OLD}"], ["interpreter", OLD_KEY]]
    assert (share.generation(OLD) / ".uvnas.json").is_file()
    assert load_record(share.layout).interpreters[OLD_KEY].unneeded is None
    assert ARCHIVE in os.listdir(share.layout.python_archives)


@pytest.mark.parametrize("then", ["held", "in force"])
def test_something_new_in_its_place_stays_and_what_is_aside_goes(share: OldShare, then: str) -> None:
    """Somebody has built it again meanwhile, or installed it."""
    share.put_aside()
    root = Path(share.layout.root)
    shares.add_generation(root, "train", OLD)
    (share.path("python", OLD_KEY)).mkdir()
    share.path("lib", "uv", "0.13.8").mkdir()
    if then == "held":
        share.hold(OLD)
    else:
        known = json.loads(share.path("locks", "train.state.json").read_text())["generations"]
        shares.publish(root, "train", OLD, generations={**known, OLD: old_share.past(None)})
    again = dataclasses.replace(share, pythons=("3.12", "3.11"))
    places = {share.generation(OLD), share.path("python", OLD_KEY), share.path("lib", "uv", "0.13.8")}
    before = {path: path.stat().st_ino for path in places}
    # Who is asked names what uses either: it is left aside.
    assert again.remove(set())["back"]
    assert {path: path.stat().st_ino for path in places} == before
    assert share.aside(OLD).exists()
    removed = {item["name"] for item in again.remove()["removed"]}
    assert removed >= {f"train/{OLD}", OLD_KEY, "0.13.8"}
    assert {path: path.stat().st_ino for path in places} == before
    assert not share.aside(OLD).exists()
    assert OLD_KEY in load_record(share.layout).interpreters
    # And what is there is not put aside onto what is.
    assert not [name for name in os.listdir(share.layout.python) if "aside" in name]


def test_both_a_new_one_and_one_aside(share: OldShare) -> None:
    share.put_aside()
    shares.add_generation(Path(share.layout.root), "train", OLD)
    asides = [item["aside"] for item in share.look()["candidates"] if item["name"] == f"train/{OLD}"]
    assert sorted(asides) == [False, True]
    done = share.put_aside()
    assert (done["changed"], {tuple(pair) for pair in done["aside"]}) == (False, MAY_GO)
    assert share.generation(OLD).exists()
    assert share.aside(OLD).exists()
    share.remove()
    assert (share.generation(OLD).exists(), share.aside(OLD).exists()) == (True, False)
    share.prune()
    assert not share.generation(OLD).exists()


def test_what_is_in_force_comes_back_by_itself(share: OldShare) -> None:
    """Whoever put it aside had lost the mutex just then."""
    share.generation(IN_FORCE).rename(share.aside(IN_FORCE))
    assert share.may_go().isdisjoint({("generation", f"train/{IN_FORCE}")})
    share.remove({("generation", f"train/{IN_FORCE}")})
    check_the_rest(share)


@pytest.mark.parametrize("where", ["generations/train", "generations", "python", "lib/uv", "envs", "locks"])
def test_what_somebody_else_has_put_there_stays(share: OldShare, where: str) -> None:
    names = ("notes", ".notes", "notes.state.json")
    for name in names:
        share.path(where, name).write_text("mine")
    share.prune()
    for name in names:
        assert share.path(where, name).read_text() == "mine"
    check_the_rest(share)
    assert not share.generation(OLD).exists()


def test_a_file_that_is_aside_goes(share: OldShare) -> None:
    file = share.aside("notes")
    file.touch()
    assert share.look(measure=True)["freed"]["inodes"] > 0
    share.prune()
    assert not file.exists()
    check_the_rest(share)
    assert not share.generation(OLD).exists()
    # For all one knew, it might have needed an interpreter.
    assert share.path("python", OLD_KEY).exists()


def test_a_removed_environment_goes_with_its_last_generation(share: OldShare) -> None:
    second = "9" * 12
    shares.add_generation(Path(share.layout.root), "gone", second)
    share.put_aside()
    share.remove({("generation", f"gone/{GONE}")})
    # One came back, as somebody uses it.
    assert os.listdir(share.layout.generations_of("gone")) == [second]
    assert os.path.exists(share.layout.standing("gone"))
    assert os.path.exists(share.layout.build_log("gone"))
    share.prune()
    check_the_end(share)


def test_an_environment_whose_files_are_in_use_is_not_forgotten(share: OldShare) -> None:
    share.put_aside()
    left = share.path("generations", "gone", f".{GONE}.uvnas-{'0' * 16}.tmp")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(converge.removal, "remove", lambda _path: left.mkdir(exist_ok=True))
        patched.setattr(converge.ShareConvergence, "sweep", lambda _self: [])
        share.remove()
    assert os.path.exists(share.layout.standing("gone"))
    share.prune()
    check_the_end(share)


@pytest.mark.parametrize("state", ["declared", "declared again", "lock", "link", "hold", "in force on record"])
def test_what_is_not_removed_is_not_forgotten(share: OldShare, state: str) -> None:
    if state == "lock":
        shares.add_lock(Path(share.layout.root), "gone", "")
    elif state == "link":
        os.symlink(f"../generations/gone/{GONE}", share.layout.env("gone"))
    elif state in ("hold", "in force on record"):
        known = standing.read(share.layout, "gone")
        hold = standing.Hold(GONE, old_share.LONG_AGO)
        held = known.held(hold) if state == "hold" else dataclasses.replace(known, in_force=GONE)
        with mutex.hold(share.layout.mutex, timeout=0, purpose="test"):
            standing.write(share.layout, "gone", held)
    else:
        spec = dataclasses.replace(old_share.ENV, name="gone")
        share = dataclasses.replace(share, specs=(old_share.ENV, spec))
    if state == "declared":
        share.generation(GONE, "gone").chmod(0o755)
        shutil.rmtree(share.generation(GONE, "gone"))
    share.prune()
    assert os.path.exists(share.layout.generations_of("gone"))
    assert os.path.exists(share.layout.standing("gone"))
    assert state == "declared" or share.generation(GONE, "gone").exists()


def test_what_is_declared_absent_is_removed(share: OldShare) -> None:
    absent = dataclasses.replace(old_share.ENV, name="gone", state="absent")
    dataclasses.replace(share, specs=(old_share.ENV, absent)).prune()
    check_the_end(share)


def test_an_interpreter_is_noted_first_and_goes_days_later(share: OldShare) -> None:
    def noted() -> str | None:
        return load_record(share.layout).interpreters[OLD_KEY].unneeded

    user = "8" * 12
    python = {"key": OLD_KEY, "version": "3.11.9", "digest": "3" * 64}
    shares.add_generation(Path(share.layout.root), "gone", user, python=python)
    assert ("interpreter", OLD_KEY) not in share.may_go()
    share.put_aside()
    share.remove({("generation", f"gone/{GONE}")})  # Which leaves its user.
    assert noted() is None
    assert Needs(share.declared).of(OLD_KEY) == f"gone/{user} needs it"
    share.prune()  # The user goes, and from here on nothing needs it.
    since = noted()
    assert since is not None
    assert since > "2026"
    share.prune()
    assert noted() == since
    (why,) = [fact["why"] for fact in share.look()["kept"] if fact["name"] == OLD_KEY]
    assert why == "retired for 0 of 30 days"
    at_once = dataclasses.replace(share, keep=Keep(generations=1, days=0))
    assert ("interpreter", OLD_KEY) in at_once.may_go()


def test_one_that_was_needed_until_now_is_unneeded_since_now(share: OldShare) -> None:
    """It has been noted long ago, and needed again since, without a prune meanwhile."""
    python = {"key": OLD_KEY, "version": "3.11.9", "digest": "3" * 64}
    shares.add_generation(Path(share.layout.root), "gone", "8" * 12, python=python)
    share.prune()
    assert os.listdir(share.layout.generations) == ["train"]
    assert ("interpreter", OLD_KEY) not in share.may_go()
    since = load_record(share.layout).interpreters[OLD_KEY].unneeded
    assert since is not None
    assert since > old_share.LONG_AGO


def test_nothing_goes_while_somebody_else_is_at_work(share: OldShare) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()

    def work() -> None:
        with mutex.hold(share.layout.mutex, timeout=5.0, purpose="site.yml"):
            ready.set()
            done.wait(60)

    share.put_aside({("uv", "0.13.8")})
    before = share.seen()
    other = context.Process(target=work)
    other.start()
    ready.wait(60)
    try:
        for step in (share.put_aside, share.remove):
            with pytest.raises(ShareBusyError, match=r"site\.yml"):
                step(busy_timeout=0.0)
    finally:
        done.set()
        other.join()
    assert share.seen() == before


def test_its_owner_need_not_be_root(share: OldShare) -> None:
    """Nobody else can rename a sealed directory into another one."""
    unprivileged.give(Path(share.layout.root))
    unprivileged.done(share.prune)
    check_the_end(share)


def test_a_uv_that_fails_is_told_and_what_was_done_too(share: OldShare) -> None:
    share.put_aside()
    done = share.remove(uv=PruningUv(share.layout, rc=2))
    assert len(done["removed"]) == len(MAY_GO)
    assert "uv cannot prune its cache" in done["warnings"][0]
    assert "it is broken" in done["warnings"][0]


def test_without_a_uv_or_a_cache_the_rest_goes(share: OldShare) -> None:
    shutil.rmtree(share.layout.cache)
    share.put_aside()
    assert share.remove()["removed"]


# Killed, or overtaken, anywhere


class Counting:
    """Calls of whatever writes, all of them in this process; ``at`` is called with the number of each, before it."""

    CALLS: t.ClassVar[list[tuple[t.Any, str]]] = [
        (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "open"), (os, "symlink"), (Journal, "tell"),
    ]  # fmt: skip

    def __init__(self, patched: pytest.MonkeyPatch, at: t.Callable[[int], None]) -> None:
        self.number = 0
        patched.setattr(converge, "call_many", lambda works, **_more: works)
        for where, name in self.CALLS:
            patched.setattr(where, name, self._counted(getattr(where, name), at, is_open=name == "open"))

    def _counted(self, real: t.Callable[..., t.Any], at: t.Callable[[int], None], *, is_open: bool) -> t.Any:
        def counted(*given: t.Any, **more: t.Any) -> t.Any:
            if not is_open or (given[1] & os.O_CREAT and not str(given[0]).endswith(".mutex")):
                at(self.number)
                self.number += 1
            return real(*given, **more)

        return counted


def killed(work: t.Callable[[], object], number: int, *, first: t.Callable[[], None] = lambda: None) -> bool:
    """Do ``work`` in a process that is killed before its write number ``number``; whether it came so far.

    ``first``: what it does before that.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), pytest.MonkeyPatch.context() as patched:

            def at(now: int) -> None:
                if now == number:
                    first()
                    os._exit(9)

            Counting(patched, at)
            work()
            os._exit(0)
        os._exit(1)
    _pid, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    assert ended in (0, 9)
    return ended == 9


@pytest.mark.parametrize("step", ["aside", "remove", "put back"])
def test_whenever_it_is_killed_the_next_one_ends_it(tmp_path: Path, step: str) -> None:
    number = 0
    while True:
        share = old_share.make(tmp_path / str(number))
        if step != "aside":
            share.put_aside()
        work = {
            "aside": share.put_aside,
            "remove": share.remove,
            "put back": lambda share=share: share.remove(set()),
        }[step]
        if not killed(work, number):
            break
        check_the_rest(share)
        share.prune()
        check_the_end(share)
        shutil.rmtree(tmp_path / str(number))
        number += 1
    assert number >= {"aside": 5, "remove": 40, "put back": 5}[step]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a filesystem")
@pytest.mark.parametrize("step", ["aside", "remove"])
def test_after_a_power_cut_the_next_one_ends_it(tmp_path: Path, step: str) -> None:
    (tmp_path / "nas").mkdir()
    for number in {"aside": (1, 2, 4), "remove": (2, 9, 18, 30, 42)}[step]:
        with disk(tmp_path / "image", tmp_path / "nas", "ext4") as nas:
            share = old_share.make(tmp_path / "nas" / "uv")
            if step == "remove":
                share.put_aside()
            os.sync()
            assert killed(share.put_aside if step == "aside" else share.remove, number, first=nas.cut_power)
            nas.start_again()
            check_the_rest(share)
            share.prune()
            check_the_end(share)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a filesystem")
def test_on_a_full_filesystem_generations_go_first(tmp_path: Path) -> None:
    mount = tmp_path / "nas"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], check=True)
    try:
        share = old_share.make(mount / "uv")
        for generation_id in (OLD, OLDEST):
            (share.generation(generation_id) / "large").write_bytes(b"x" * 50_000)
        # Something to note first, for which there is no room.
        record = share.path("locks", "pythons.json")
        known = json.loads(record.read_text())
        known["interpreters"][KEY]["unneeded"] = old_share.LONG_AGO
        record.write_text(json.dumps(known))
        with contextlib.suppress(OSError), (mount / "filled").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        share.prune()
        assert load_record(share.layout).interpreters[KEY].unneeded is None
        check_the_end(share)
    finally:
        subprocess.run(["umount", mount], check=True)


@pytest.mark.parametrize("step", ["aside", "remove"])
def test_whenever_the_mutex_is_lost_nothing_more_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    number = 0
    real = mutex.check
    while True:
        share = old_share.make(tmp_path / str(number))
        if step == "remove":
            share.put_aside()
        checks, then = 0, {}

        def check(path: str, share: OldShare = share, number: int = number) -> None:
            nonlocal checks, then
            if checks == number:
                then = share.seen()
                lose(path)
            checks += 1
            real(path)

        items = share.may_go()
        with monkeypatch.context() as patched:
            patched.setattr(mutex, "check", check)
            patched.setattr(converge, "call_many", lambda works, **_more: works)
            with contextlib.suppress(LostMutexError):
                share.put_aside(items) if step == "aside" else share.remove(items)
        if checks <= number:
            break
        assert share.seen() == then, number
        check_the_rest(share)
        share.prune()
        check_the_end(share)
        number += 1
    assert number >= {"aside": 5, "remove": 12}[step]


@pytest.mark.parametrize("damaged", ["pythons.json", "train.state.json", "gone.state.json"])
def test_where_a_record_is_damaged_nothing_goes_of_what_it_tells(share: OldShare, damaged: str) -> None:
    share.path("locks", damaged).write_text("{")
    before = share.there()
    if damaged == "pythons.json":
        with pytest.raises(UvnasError, match="pythons.json"):
            share.look()
        assert share.there() == before
        return
    env = damaged.partition(".")[0]
    assert not [name for kind, name in share.may_go() if name.startswith(f"{env}/")]
    share.prune()
    assert sorted(path for path in before if f"generations/{env}" in path) == sorted(
        path for path in share.there() if f"generations/{env}" in path
    )
    assert share.path("locks", damaged).read_text() == "{"
