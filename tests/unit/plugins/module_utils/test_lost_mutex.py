# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has lost the mutex of a share changes nothing more there: what is in its place is somebody else's by now.

A real NFS, and a real lease, are in tests/nfs/test_lost_lease.py.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.converge import Environments
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import build, intact, publish
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation.build import Build
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.converge import Locking
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import LockText
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.plan import COPY, Input, Step, Upgrade
from ansible_collections.uvnas.cluster.plugins.module_utils.env.plan import Ingredients
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import LostMutexError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files, mutex, platform, workers
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed, SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.python.install import Installer
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import Interpreter
from ansible_collections.uvnas.cluster.plugins.module_utils.python.sources import SiteArchives
from ansible_collections.uvnas.cluster.plugins.module_utils.share import manifest as manifests
from ansible_collections.uvnas.cluster.plugins.module_utils.share import store
from ansible_collections.uvnas.cluster.plugins.module_utils.share.journal import Journal
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.manifest import Manifest
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.install import Installation, Place, Plan
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.mutexes import OTHER, lose
from ansible_collections.uvnas.cluster.tests.support.shares import KEY

ENV = EnvironmentSpec("analysis", python="3.12", requirements=("iniconfig",))
ONE, TWO, UNFINISHED = "0123456789ab", "123456789abc", "23456789abcd"
LOCK = "iniconfig==2.1 \\\n    --hash=sha256:" + "2" * 64 + "\n"


@contextlib.contextmanager
def lost(path: str) -> t.Iterator[None]:
    """Have had the mutex ``path``, and lost it."""
    with mutex.hold(path, timeout=0, purpose="test"):
        lose(path)
        yield


class FakeUv:
    """Makes environments and interpreters that look like those of uv. ``meanwhile`` is called with each command."""

    def __init__(self, meanwhile: t.Callable[[str], None] = lambda _command: None) -> None:
        self.meanwhile = meanwhile

    def run(self, cmd: t.Sequence[str], **_more: t.Any) -> Completed:
        what = next((word for word in ("venv", "sync", "install") if word in cmd), "other")
        if what == "venv":
            path, interpreter = Path(cmd[-1]), cmd[cmd.index("--python") + 1]
            (path / "bin").mkdir(parents=True)
            (path / "bin" / "python").symlink_to(interpreter)
            (path / "pyvenv.cfg").write_text(f"home = {os.path.dirname(interpreter)}\n", encoding="utf-8")
            info = path / "lib" / "python3.12" / "site-packages" / "iniconfig-2.1.dist-info"
            info.mkdir(parents=True)
            (info / "RECORD").write_text("iniconfig-2.1.dist-info/RECORD,,\n")
        if what == "install":
            program = Path(cmd[cmd.index("--install-dir") + 1]) / KEY / "bin" / "python3.12"
            program.parent.mkdir(parents=True)
            program.write_text("ours")
        self.meanwhile(what)
        return Completed(0, "", "")


def parsed(generation_id: str) -> Manifest:
    return manifests.parse(shares.manifest("analysis", generation_id), "the manifest")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A share with an environment, a retired generation of it, leftovers, a uv and an interpreter."""
    root = shares.make_share(tmp_path / "uv")
    shares.add_interpreter(root)
    shares.add_lock(root, "analysis", LOCK)
    for generation_id in (ONE, TWO):
        shares.add_generation(root, "analysis", generation_id)
    shares.publish(root, "analysis", ONE)
    made = Layout(str(root))
    os.mkdir(made.generation("analysis", UNFINISHED))
    os.mkdir(files.temporary_name(made.generation("analysis", ONE)))
    Path(files.temporary_name(made.lock("analysis"))).touch()
    program = Path(made.python, KEY, "bin", "python3.12")
    program.parent.mkdir(parents=True)
    program.write_text("theirs")
    for name in ("0.13.9", "0.13.8"):
        Path(made.uv_versions, name).mkdir()
    return made


def snapshot(layout: Layout) -> dict[str, tuple[t.Any, ...]]:
    """All of a share but its mutex, and logs: of two builds at once, either may have the last word there."""
    found: dict[str, tuple[t.Any, ...]] = {}
    for path in Path(layout.root).rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        if str(path) != layout.mutex and not path.is_relative_to(layout.logs):
            found[str(path)] = (status.st_ino, status.st_mode, status.st_mtime_ns, content)
    return found


def what() -> Build:
    lock = LockText(LOCK, what="it")
    ingredients = Ingredients(lock.lock.digest, KEY, "1" * 64, ENV.build_options())
    return Build(ENV, ingredients, lock, Interpreter(KEY, "3.12.4", "1" * 64), "nas_a")


def installer(layout: Layout) -> Installer:
    return Installer(layout, FakeUv(), compile_bytecode=True)


def archives(layout: Layout) -> SiteArchives:
    return SiteArchives.by(Uv(layout, FakeUv()), platform.here(), {}, room=1)


def write_lock(layout: Layout) -> None:
    locking = Locking(Share("nas_a", layout), Uv(layout, FakeUv()), [ENV], {}, Upgrade())
    new = LockText(LOCK.replace("2.1", "2.2"), "it")
    locking.do([Step(ENV, Input("3" * 64), LockText(LOCK, "it"), COPY, earlier=new)])


def link_uv(layout: Layout) -> None:
    place = Place.on_share(Share("nas_a", layout))
    Installation(place, "0.13.9", None, SystemRunner()).do(Plan("0.13.9", None, install=False, links=("uv", "uvx")))


ACTS: dict[str, t.Callable[[Layout], object]] = {
    "publish": lambda layout: publish.publish(Journal(layout), parsed(TWO)),
    "withdraw": lambda layout: publish.withdraw(layout, "analysis"),
    "remove an environment": lambda layout: publish.remove(Journal(layout), "analysis"),
    "seal": lambda layout: intact.seal(layout, "analysis", [ONE, TWO]),
    "sweep": store.sweep,
    "build": lambda layout: build.build(layout, Uv(layout, FakeUv()), what()),
    "write a lock": write_lock,
    "link uv": link_uv,
    "install an interpreter": lambda layout: installer(layout).install(
        KEY, Uv(layout, FakeUv()), str, message="", hint=""
    ),
    "compile an interpreter": lambda layout: installer(layout).compile(
        Interpreter(KEY, "3.12.4", "1" * 64), Uv(layout, FakeUv())
    ),
    "seal an interpreter": lambda layout: installer(layout).seal(KEY),
    "remove an interpreter": lambda layout: installer(layout).remove(KEY),
    "list interpreters": lambda layout: archives(layout).publish([]),
    "remove an archive": lambda layout: archives(layout).discard(
        Interpreter(KEY, "3.12.4", "1" * 64, archive="a.tar.gz")
    ),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("where", ["here", "in a child"])
def test_nothing_is_done(layout: Layout, act: str, where: str) -> None:
    before, work = snapshot(layout), functools.partial(doing, act, layout)
    with lost(layout.mutex), pytest.raises(UvnasError, match=f"lost the mutex of {layout.root}: it has been taken by"):
        work() if where == "here" else workers.call_as(None, work)
    assert snapshot(layout) == before
    assert json.loads(Path(layout.mutex).read_text()) == OTHER


def doing(act: str, layout: Layout) -> dict[str, t.Any]:
    ACTS[act](layout)
    return {}


@pytest.mark.parametrize("act", [name for name in ACTS if "interpreter" not in name or name.startswith("remove")])
def test_it_is_done_while_the_mutex_is_held(layout: Layout, act: str) -> None:
    """The test above could fail."""
    Path(layout.python_archives, "a.tar.gz").touch()
    before = snapshot(layout)
    with mutex.hold(layout.mutex, timeout=0, purpose="test"):
        ACTS[act](layout)
    assert snapshot(layout) != before


def taken_over(layout: Layout, place: str) -> dict[str, t.Any]:
    """Somebody else takes the mutex, sweeps, and has something in ``place`` when it is looked at next."""
    shutil.rmtree(place)
    os.mkdir(place)
    Path(place, "theirs").touch()
    lose(layout.mutex)
    return snapshot(layout)


@pytest.mark.parametrize("at", ["venv", "sync", "other"])
def test_what_another_host_builds_in_the_same_place_is_left_alone(layout: Layout, at: str) -> None:
    """Neither made complete nor cleaned up by the build that it has taken over from, wherever that was."""
    after: dict[str, t.Any] = {}
    path = layout.generation("analysis", what().id)

    def meanwhile(command: str) -> None:
        if command == at:
            after.update(taken_over(layout, path))
            if at == "venv":
                raise UvnasError("uv does not find its files any more")

    wanted = Build(**{**vars(what()), "spec": EnvironmentSpec(**{**vars(ENV), "checks": ("true",)})})
    with (
        mutex.hold(layout.mutex, timeout=0, purpose="test"),
        pytest.raises(LostMutexError, match="taken by host c2, pid 12"),
    ):
        build.build(layout, Uv(layout, FakeUv(meanwhile)), wanted)
    assert snapshot(layout) == after
    assert os.listdir(path) == ["theirs"]


def test_an_interpreter_that_another_host_installs_is_left_alone(layout: Layout) -> None:
    """It is not replaced by what was there before."""
    after: dict[str, t.Any] = {}

    def meanwhile(command: str) -> None:
        if command == "install":
            after.update(taken_over(layout, os.path.join(layout.python, KEY)))

    runner = FakeUv(meanwhile)
    with mutex.hold(layout.mutex, timeout=0, purpose="test"), pytest.raises(LostMutexError):
        Installer(layout, runner, compile_bytecode=True).install(KEY, Uv(layout, runner), str, message="", hint="")
    assert snapshot(layout) == after


def test_a_whole_run(layout: Layout) -> None:
    """It ends, by an error that says it."""
    after: dict[str, t.Any] = {}
    path = layout.generation("analysis", what().id)

    def meanwhile(command: str) -> None:
        if command == "sync":  # In a child, which does not live long enough to tell.
            after.update(taken_over(layout, path))

    environments = Environments(Share("nas_a", layout), Uv(layout, FakeUv(meanwhile)), [ENV])
    result = environments.converge(purpose="test", busy_timeout=0)
    assert result["failed"]
    assert result["msg"].startswith(f"lost the mutex of {layout.root}: it has been taken by host c2, pid 12")
    assert os.readlink(layout.env("analysis")) == f"../generations/analysis/{ONE}"
    assert os.listdir(path) == ["theirs"]


def test_a_build_is_ended_as_soon_as_it_is_seen(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at its end, which may be hours away."""
    monkeypatch.setattr(workers, "MEANWHILE", 0.01)

    def meanwhile(command: str) -> None:
        if command == "sync":
            lose(layout.mutex)
            SystemRunner().run(["sleep", "1000"])

    environments = Environments(Share("nas_a", layout), Uv(layout, FakeUv(meanwhile)), [ENV])
    with pytest.raises(LostMutexError):
        environments.converge(purpose="test", busy_timeout=0)
