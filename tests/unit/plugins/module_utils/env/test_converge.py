# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done about environments, found in real directories."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path
from unittest.mock import ANY

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import converge as converging
from ansible_collections.uvnas.cluster.plugins.module_utils.env.converge import Environments
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import build as building
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.env.state import LockFact
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.share import journal as journals
from ansible_collections.uvnas.cluster.plugins.module_utils.share import standing, store
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import unsynced
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
from ansible_collections.uvnas.cluster.tests.support import acls, shares, unprivileged
from ansible_collections.uvnas.cluster.tests.support.shares import KEY
from ansible_collections.uvnas.cluster.tests.unit.fake_uv import FakeUv

LOCK = "iniconfig==2.1 \\\n    --hash=sha256:" + "2" * 64 + "\n"
PACKAGES = {"iniconfig": "2.1"}
# Of what is locked, and of what goes into the generation: whatever changes them gives every environment another name.
DIGEST = "abbdbd05a3325d86ec016d3cb4215e03da97ad95c7fc275d8e20e963044874b3"
ID = "605394604926"
ENV = EnvironmentSpec("analysis", python="3.12", requirements=("iniconfig",))
OLD = "0123456789ab"


COLLECTIONS = str(Path(converging.__file__).parents[6])
# Looks at environments that are as they should be.
CONVERGED = """
import json, sys
from ansible_collections.uvnas.cluster.plugins.module_utils.env.converge import Environments
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.env.state import LockFact
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
given = json.loads(sys.argv[1])
share = Share.parse({"name": "nas_a", "root": given["root"]})
specs = [EnvironmentSpec(name, python="3.12", requirements=("iniconfig",)) for name in given["names"]]
facts = {name: LockFact(given["digest"]) for name in given["names"]}
environments = Environments(share, Uv(share.layout, SystemRunner()), specs, facts)
result = environments.converge(purpose="test", busy_timeout=5.0)
sys.exit(result["changed"] or "failed" in result)
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    shares.add_interpreter(shares.make_share(tmp_path))
    return Layout(str(tmp_path))


def lock(layout: Layout, name: str = "analysis", text: str = LOCK) -> None:
    shares.add_lock(Path(layout.root), name, text)


def built(layout: Layout, generation_id: str = ID, name: str = "analysis", version: str = "2.1") -> None:
    shares.add_generation(Path(layout.root), name, generation_id, packages={"iniconfig": version})


def published(layout: Layout, generation_id: str = ID, name: str = "analysis") -> None:
    shares.publish(Path(layout.root), name, generation_id)


def converged(layout: Layout, name: str = "analysis") -> None:
    lock(layout, name)
    built(layout, name=name)
    published(layout, name=name)


def named(*names: str) -> list[EnvironmentSpec]:
    return [dataclasses.replace(ENV, name=name) for name in names]


def environments(layout: Layout, specs: t.Sequence[EnvironmentSpec] = (ENV,), **more: t.Any) -> Environments:
    return Environments(Share("nas_a", layout), Uv(layout, FakeUv()), specs, **more)


def converge(
    layout: Layout, specs: t.Sequence[EnvironmentSpec] = (ENV,), *, check_mode: bool = False, **more: t.Any
) -> dict[str, t.Any]:
    return run(environments(layout, specs, **more), check_mode=check_mode)


def run(environments: Environments, *, check_mode: bool = False) -> dict[str, t.Any]:
    return dataclasses.replace(environments, check_mode=check_mode).converge(purpose="test", busy_timeout=5.0)


def actions(result: dict[str, t.Any]) -> dict[str, str]:
    return {fact["name"]: fact["action"] for fact in result["environments"]}


def tree(layout: Layout) -> list[str]:
    return sorted(str(path) for path in Path(layout.root).rglob("*"))


def test_what_is_there_is_kept(layout: Layout) -> None:
    converged(layout)
    before = tree(layout)
    result = converge(layout)
    assert (result["changed"], result["diff"], tree(layout)) == (False, [], before)
    assert result["environments"] == [
        {"name": "analysis", "action": "keep", "id": ID, "previous_id": ID, "packages_changed": []}
    ]


def test_what_is_built_but_not_published_is_published(layout: Layout) -> None:
    converged(layout)
    os.unlink(layout.env("analysis"))
    built(layout, OLD, version="2.0")
    published(layout, OLD)
    (fact,) = converge(layout)["environments"]
    assert (fact["action"], fact["id"], fact["previous_id"]) == ("publish", ID, OLD)
    assert fact["packages_changed"] == ["iniconfig 2.0 -> 2.1"]
    assert os.readlink(layout.env("analysis")) == f"../generations/analysis/{ID}"
    assert os.path.exists(layout.manifest("analysis", OLD))


def test_what_is_not_there_is_built(layout: Layout) -> None:
    lock(layout)
    result = converge(layout)
    (fact,) = result["environments"]
    assert (fact["action"], fact["packages"], fact["python"]["key"]) == ("build", PACKAGES, KEY)
    assert result["diff"] == [{"prepared": f"environment analysis: absent -> {ID}\n  iniconfig 2.1 (new)\n"}]
    assert os.path.exists(os.path.join(layout.env("analysis"), ".uvnas.json"))
    assert not converge(layout)["changed"]


@pytest.mark.parametrize(("given", "said"), [({}, ["4", "4", ""]), ({"UV_CONCURRENT_INSTALLS": "3"}, ["3", "3", "3"])])
def test_builds_at_the_same_time_share_the_processors(
    given: dict[str, str], said: list[str], layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TellingUv(FakeUv):
        def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
            if "sync" in cmd:
                path = tmp_path / f"{Path(cmd[-1]).parents[1].name}.workers"
                path.write_text(more["variables"].get("UV_CONCURRENT_INSTALLS", ""), encoding="utf-8")
            return super().run(cmd, **more)

    monkeypatch.setattr(converging, "processors", lambda: 8)
    monkeypatch.delenv("UV_CONCURRENT_INSTALLS", raising=False)
    for name in "abc":
        lock(layout, name)
    building = environments(layout, named("a", "b", "c"), jobs=2)
    run(dataclasses.replace(building, uv=Uv(layout, TellingUv(), extra_variables=given)))
    assert [(tmp_path / f"{name}.workers").read_text(encoding="utf-8") for name in "abc"] == said


def test_what_was_not_finished_is_built_anew(layout: Layout) -> None:
    converged(layout)
    os.unlink(layout.manifest("analysis", ID))
    result = converge(layout)
    assert actions(result) == {"analysis": "build"}
    assert os.path.exists(layout.manifest("analysis", ID))


def test_check_mode_predicts_and_writes_nothing(layout: Layout) -> None:
    lock(layout)
    converged(layout, "kept")
    converged(layout, "gone")
    specs = named("analysis", "kept")
    before = tree(layout)
    predicted = converge(layout, specs, purge=True, check_mode=True)
    assert tree(layout) == before
    done = converge(layout, specs, purge=True)
    assert actions(predicted) == actions(done) == {"analysis": "build", "kept": "keep", "gone": "remove"}
    assert predicted["diff"] == done["diff"]


def test_check_mode_before_an_interpreter_is_whole_again(layout: Layout) -> None:
    """The role python makes it so first, in a run. That it will be another one is not foretold."""
    converged(layout)
    shares.add_interpreter(Path(layout.root), unfinished=True)
    assert "is incomplete on this share" in converge(layout)["msg"]
    assert actions(converge(layout, check_mode=True)) == {"analysis": "keep"}


def test_check_mode_where_a_lock_cannot_be_known_yet(layout: Layout) -> None:
    result = converge(layout, locks={"analysis": LockFact(None)}, check_mode=True)
    assert (actions(result), result["changed"]) == ({"analysis": "build"}, True)
    assert result["diff"] == [{"prepared": "environment analysis: absent -> not known yet\n"}]
    assert result["environments"][0]["waits_for"] == "lock"


def test_check_mode_does_not_take_packages_that_are_not_known_yet_for_removed(layout: Layout) -> None:
    built(layout, OLD, version="2.0")
    published(layout, OLD)
    (fact,) = converge(layout, locks={"analysis": LockFact(None)}, check_mode=True)["environments"]
    assert (fact["previous_id"], fact["packages_changed"], fact["waits_for"]) == (OLD, [], "lock")


def test_check_mode_where_there_is_no_share_yet(tmp_path: Path) -> None:
    share = Share.parse({"name": "nas_a", "root": str(tmp_path / "uv")})
    environments = Environments(share, Uv(share.layout, FakeUv()), [ENV], {"analysis": LockFact(None)}, check_mode=True)
    assert environments.report(environments.plan(), None)["environments"][0]["waits_for"] == "share"


def test_check_mode_before_an_interpreter_is_there(layout: Layout) -> None:
    lock(layout)
    newer = dataclasses.replace(ENV, python="3.13")
    (fact,) = converge(layout, [newer], check_mode=True)["environments"]
    assert (fact["action"], fact["id"], fact["waits_for"]) == ("build", None, "interpreter")
    assert fact["packages_changed"] == ["iniconfig 2.1 (new)"]
    failed = converge(layout, [newer])
    assert "Python 3.13 is not on this share" in failed["msg"]


def test_check_mode_with_a_lock_that_is_not_written_yet(layout: Layout) -> None:
    facts = {"analysis": LockFact(DIGEST, PACKAGES)}
    (fact,) = converge(layout, locks=facts, check_mode=True)["environments"]
    assert (fact["action"], fact["id"], fact["packages_changed"]) == ("build", ID, ["iniconfig 2.1 (new)"])


def test_what_could_not_be_locked_is_left_alone(layout: Layout) -> None:
    result = converge(layout, named("analysis", "unlocked"), locks={})
    assert (result["changed"], actions(result), "failed" in result) == (
        False,
        {"analysis": "failed", "unlocked": "failed"},
        False,
    )


@pytest.mark.parametrize("purge", [True, False])
def test_what_is_removed_loses_its_name_and_keeps_its_files(layout: Layout, purge: bool) -> None:
    """They go with the next prune. No run does anything about them before that."""
    converged(layout)
    before = tree(layout)
    specs = [] if purge else [dataclasses.replace(ENV, state="absent")]
    assert actions(converge(layout, specs, purge=purge)) == {"analysis": "remove"}
    link, locked = layout.env("analysis"), layout.lock("analysis")
    assert [path for path in before if not os.path.lexists(path)] == sorted([link, locked])
    assert (kept(layout).in_force, kept(layout).generations[ID].retired) == (None, ANY)
    after = tree(layout)
    result = converge(layout, specs, purge=purge)
    told = {} if purge else {"analysis": "keep"}
    assert (result["changed"], actions(result), tree(layout)) == (False, told, after)


class Idle(FakeUv):
    """Neither builds nor tests anything."""

    def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
        raise UvnasError(f"{cmd} was run")


@pytest.mark.parametrize("purge", [True, False])
def test_what_is_declared_again_is_published_again_without_a_build(layout: Layout, purge: bool) -> None:
    lock(layout)
    converge(layout)
    old = standing.Hold(ID, standing.now(), "alice")
    standing.write(layout, "analysis", kept(layout).held(old))
    specs = [] if purge else [dataclasses.replace(ENV, state="absent")]
    converge(layout, specs, purge=purge)
    lock(layout)
    again = dataclasses.replace(environments(layout), uv=Uv(layout, Idle()))
    predicted, done = run(again, check_mode=True), run(again)
    assert (actions(predicted), predicted["diff"]) == (actions(done), done["diff"]) == ({"analysis": "publish"}, ANY)
    assert (in_force(layout), kept(layout).in_force, kept(layout).hold) == (ID, ID, None)
    assert told(layout)[-3:] == [("remove", None), ("retire", ID), ("publish", ID)]
    assert not run(again)["changed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two users")
def test_what_cannot_be_removed_keeps_nothing_else(layout: Layout) -> None:
    """Bytecode that root wrote. What is in use on NFS is in tests/nfs/test_in_use.py."""
    for name in ("analysis", "other"):
        converged(layout, name)
    generation = Path(layout.generation("analysis", ID))
    cache = generation / "lib" / "python3.12" / "site-packages" / "__pycache__"
    unprivileged.give(Path(layout.root))
    cache.mkdir()
    (cache / "iniconfig.pyc").touch()
    os.unlink(layout.manifest("analysis", ID))
    gone = dataclasses.replace(ENV, name="other", state="absent")

    def changed(*specs: EnvironmentSpec, check_mode: bool = False) -> dict[str, t.Any]:
        return unprivileged.done(lambda: converge(layout, specs, check_mode=check_mode))

    predicted, result = changed(ENV, check_mode=True), changed(ENV)
    assert "left" not in predicted
    assert actions(predicted) == actions(result) == {"analysis": "build"}
    assert predicted["diff"] == result["diff"]
    (left,) = result["left"]
    assert left["what"] == f"environment analysis, generation {ID}"
    assert left["path"].startswith(f"{generation.parent}/.{ID}.uvnas-")
    assert sorted(os.listdir(generation.parent)) == [os.path.basename(left["path"]), ID]
    (obstacle,) = left["obstacles"]
    assert (obstacle["kind"], obstacle["uid"]) == ("foreign", 0)
    again = changed(ENV)
    assert (again["changed"], "left" in again) == (False, False)
    assert changed(ENV, gone)["left"] == [left]
    shutil.rmtree(left["path"])
    lock(layout, "other")
    assert "left" not in changed(ENV, gone)
    assert os.listdir(generation.parent) == [ID]


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EROFS])
def test_trouble_in_a_removal_names_environment_and_path(
    layout: Layout, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("analysis", "other"):
        converged(layout, name)
    real = os.unlink

    def unlink(path: t.Any, **more: t.Any) -> None:
        if path == layout.env("analysis"):
            raise OSError(code, os.strerror(code), path)
        real(path, **more)

    monkeypatch.setattr(os, "unlink", unlink)
    result = converge(layout, [dataclasses.replace(spec, state="absent") for spec in named("analysis", "other")])
    assert actions(result) == {"analysis": "failed", "other": "remove"}
    said = f"environment analysis: cannot remove it: {layout.env('analysis')}: {os.strerror(code)}"
    assert [error["msg"] for error in result["errors"]] == [said]


def test_trouble_in_a_build_names_environment_and_path(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """write() itself does not know the path. There is one at least."""
    lock(layout)
    real = FakeUv.run

    def run(self: FakeUv, cmd: t.Sequence[str], **more: t.Any) -> Completed:
        if "sync" in cmd:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return real(self, cmd, **more)

    monkeypatch.setattr(FakeUv, "run", run)
    result = converge(layout)
    (error,) = result["errors"]
    assert error["msg"] == (
        f"environment analysis: cannot build it: {layout.generation('analysis', ID)}: {os.strerror(errno.EDQUOT)}"
    )
    assert "quota" in error["hint"]


def test_purge_removes_what_is_not_declared_and_nothing_else(layout: Layout) -> None:
    converged(layout)
    converged(layout, "published")
    built(layout, name="unpublished")
    lock(layout, "unpublished")
    built(layout, name="left")
    assert not converge(layout)["changed"]
    result = converge(layout, purge=True)
    assert actions(result) == {"analysis": "keep", "published": "remove", "unpublished": "remove"}
    assert os.listdir(layout.envs) == ["analysis"]


def test_one_that_fails_does_not_stop_the_others_and_stays_as_it_was(layout: Layout) -> None:
    lock(layout)
    lock(layout, "bad")
    built(layout, OLD, "bad")
    published(layout, OLD, "bad")
    result = converge(layout, named("bad", "analysis"))
    assert actions(result) == {"bad": "failed", "analysis": "build"}
    assert result["msg"].startswith("1 of 2 environments failed; the others are done")
    assert "there is no such wheel" in result["msg"]
    assert os.readlink(layout.env("bad")) == f"../generations/bad/{OLD}"
    assert os.listdir(layout.generations_of("bad")) == [OLD]


def test_a_lock_that_is_missing_does_not_stop_the_others(layout: Layout) -> None:
    lock(layout)
    built(layout, OLD, "unlocked")
    published(layout, OLD, "unlocked")
    result = converge(layout, named("unlocked", "analysis"))
    assert actions(result) == {"analysis": "build", "unlocked": "failed"}
    assert result["environments"][1]["previous_id"] == OLD
    assert "environment unlocked has no lock on this share" in result["msg"]


@pytest.mark.parametrize("declared", [{}, {"state": "absent"}])
def test_a_foreign_link_is_an_error_of_its_environment_only(declared: dict[str, str], layout: Layout) -> None:
    lock(layout)
    lock(layout, "foreign")
    os.symlink("/opt/elsewhere", layout.env("foreign"))
    specs = [dataclasses.replace(ENV, name="foreign", **declared), ENV]  # type: ignore[arg-type]
    result = converge(layout, specs)
    # What is declared to be absent is no environment that could not be built.
    assert actions(result) == {"analysis": "build", **({} if declared else {"foreign": "failed"})}
    assert "its link points to /opt/elsewhere" in result["msg"]
    assert os.readlink(layout.env("foreign")) == "/opt/elsewhere"


def test_what_is_no_link_is_left_alone(layout: Layout) -> None:
    lock(layout)
    os.makedirs(layout.env("analysis"))
    result = converge(layout)
    assert "is not a symlink" in result["msg"]
    assert os.path.isdir(layout.env("analysis"))


@pytest.mark.parametrize("least", [{"min_free_bytes": 1 << 62}, {"min_free_inodes": 1 << 62}])
def test_without_room_nothing_is_built(least: dict[str, int], layout: Layout) -> None:
    if not os.statvfs(layout.root).f_files:  # A filesystem that does not count inodes has no lack of them.
        least = {"min_free_bytes": 1 << 62}
    lock(layout)
    result = converge(layout, **least)
    assert (actions(result), result["changed"]) == ({"analysis": "failed"}, False)
    assert "no room to build it" in result["msg"]
    assert not os.path.exists(layout.generations_of("analysis"))


def test_a_lock_that_changed_since_it_was_looked_at_is_not_built(layout: Layout) -> None:
    lock(layout, text=LOCK.replace("2.1", "2.2"))
    result = converge(layout, locks={"analysis": LockFact(DIGEST, PACKAGES)})
    assert "somebody else is converging a different declaration of it on this share" in result["msg"]
    assert (result["overtaken"], result["errors"], actions(result)) == (["analysis"], [], {"analysis": "failed"})


def test_nor_is_what_is_there_already_published(layout: Layout) -> None:
    """It would be in force, and not be what the lock says."""
    converged(layout)
    os.unlink(layout.env("analysis"))
    lock(layout, text=LOCK.replace("2.1", "2.2"))
    result = converge(layout, locks={"analysis": LockFact(DIGEST, PACKAGES)})
    assert (result["overtaken"], result["changed"]) == (["analysis"], False)
    assert not os.path.lexists(layout.env("analysis"))
    os.unlink(layout.lock("analysis"))
    assert converge(layout, locks={"analysis": LockFact(DIGEST, PACKAGES)})["overtaken"] == ["analysis"]


def test_a_converged_environment_costs_four_paths(layout: Layout) -> None:
    """A link, a manifest and a record that are read, packages that are listed; the kernel's own word for it."""
    names = [f"env-{number}" for number in range(20)]
    for name in names:
        converged(layout, name)
    trace = Path(layout.root, "trace")
    strace = ["strace", "-f", "-e", "trace=%file,getdents64", "-o", str(trace)]
    given = json.dumps({"root": layout.root, "digest": DIGEST, "names": names})
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS}
    subprocess.run([*strace, sys.executable, "-c", CONVERGED, given], env=environment, check=True)
    operations = [line for line in trace.read_text(encoding="utf-8").splitlines() if f'"{layout.root}/' in line]
    assert sum("/env-" in line for line in operations) == 4 * len(names)
    others = [line for line in operations if "/env-" not in line]
    assert [line for line in others if "/pythons.json" not in line and "/share.json" not in line] == []
    assert sum("/share.json" in line for line in others) == 1


def test_a_generation_that_went_missing_is_seen(layout: Layout) -> None:
    converged(layout)
    shutil.rmtree(layout.generations_of("analysis"))
    assert actions(converge(layout, check_mode=True)) == {"analysis": "build"}


# Sealed, and as it was built


def generation_of(layout: Layout, name: str = "analysis") -> Path:
    return Path(layout.generation(name, ID))


def packages_of(layout: Layout, name: str = "analysis") -> Path:
    return generation_of(layout, name) / "lib" / "python3.12" / "site-packages"


def directories(*trees: str | Path) -> list[Path]:
    return [path for tree in map(Path, trees) for path in [tree, *tree.rglob("*")] if path.is_dir()]


def sealed(layout: Layout, *ids: str) -> bool:
    found = directories(*(layout.generation("analysis", generation_id) for generation_id in ids or [ID]))
    witnesses = [Path(layout.manifest("analysis", generation_id)) for generation_id in ids or [ID]]
    return not [path for path in [*found, *witnesses] if path.stat().st_mode & 0o222]


@pytest.mark.parametrize("opened", ["witness", "packages"])
def test_what_is_not_sealed_is_sealed_once(layout: Layout, opened: str) -> None:
    """As a run that was killed left it, or an earlier release. What is retired is, too."""
    converged(layout)
    built(layout, OLD, version="2.0")
    for generation_id in (ID, OLD):
        Path(layout.manifest("analysis", generation_id)).chmod(0o644 if opened == "witness" else 0o444)
    packages_of(layout).chmod(0o755)
    before = tree(layout)
    predicted, done = converge(layout, check_mode=True), converge(layout)
    assert actions(predicted) == actions(done) == {"analysis": "seal"}
    assert predicted["changed"]
    assert predicted["diff"] == done["diff"] == [{"prepared": f"environment analysis: {ID} sealed\n"}]
    assert predicted["warnings"] == done["warnings"] == []
    assert set(tree(layout)) - set(before) == {layout.mutex}
    assert sealed(layout, *([ID, OLD] if opened == "witness" else [ID]))
    again = converge(layout)
    assert (again["changed"], actions(again)) == (False, {"analysis": "keep"})


def test_what_others_could_write_to_is_said(layout: Layout) -> None:
    converged(layout)
    shares.add_generation(Path(layout.root), "analysis", OLD)
    for path in directories(layout.generations_of("analysis")):
        acls.let_a_group_write(path)
    for generation_id in (ID, OLD):
        Path(layout.manifest("analysis", generation_id)).chmod(0o664)
    predicted, done = converge(layout, check_mode=True), converge(layout)
    assert predicted["warnings"] == done["warnings"]
    assert [text.partition(" (")[0] for text in done["warnings"]] == [
        f"environment analysis: users other than the share's owner can write to 6 paths of its generation "
        f"{generation_id}"
        for generation_id in (OLD, ID)
    ]
    assert f"rm -f {layout.manifest('analysis', ID)}" in done["warnings"][1]
    assert sealed(layout, ID, OLD)
    assert acls.acls_in(Path(layout.generations_of("analysis"))) == []
    assert not Path(layout.generations_of("analysis")).stat().st_mode & 0o022


def test_what_is_published_is_sealed_before(layout: Layout) -> None:
    """Built, and killed between manifest and seal."""
    lock(layout)
    built(layout)
    Path(layout.manifest("analysis", ID)).chmod(0o644)
    generation_of(layout).chmod(0o755)
    assert actions(converge(layout)) == {"analysis": "publish"}
    assert sealed(layout)
    assert not converge(layout)["changed"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda packages: (packages / "six-1.17.0.dist-info").mkdir(), "six 1.17.0 (new)"),
        (lambda packages: shutil.rmtree(packages / "iniconfig-2.1.dist-info"), "iniconfig 2.1 (removed)"),
        (lambda p: (p / "iniconfig-2.1.dist-info").rename(p / "iniconfig-2.2.dist-info"), "iniconfig 2.1 -> 2.2"),
        (shutil.rmtree, "iniconfig 2.1 (removed)"),
    ],
)
def test_what_is_not_what_was_built_is_an_error_of_its_environment_with_a_hint_that_works(
    layout: Layout, change: t.Callable[[Path], t.Any], said: str
) -> None:
    converged(layout)
    lock(layout, "fine")
    shutil.rmtree(generation_of(layout))
    os.unlink(layout.env("analysis"))
    shutil.rmtree(layout.generations_of("analysis"))
    unprivileged.give(Path(layout.root))
    unprivileged.done(lambda: converge(layout))
    packages_of(layout).chmod(0o755)
    packages_of(layout).parent.chmod(0o755)
    change(packages_of(layout))
    specs = named("analysis", "fine")
    predicted = unprivileged.done(lambda: converge(layout, specs, check_mode=True))
    done = unprivileged.done(lambda: converge(layout, specs))
    assert predicted["msg"] == done["msg"]
    assert f"environment analysis: its generation {ID} is not what was built: {said}" in done["msg"]
    assert actions(done) == {"fine": "build", "analysis": "failed"}
    assert os.readlink(layout.env("analysis")) == f"../generations/analysis/{ID}"
    hint = done["msg"].partition("then site.yml: ")[2].splitlines()[0]
    unprivileged.done(lambda: subprocess.run(["/bin/sh", "-c", hint], check=True) and None)
    assert actions(unprivileged.done(lambda: converge(layout, specs))) == {"analysis": "build", "fine": "keep"}
    assert os.listdir(packages_of(layout))
    assert sealed(layout)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two users")
def test_a_generation_of_somebody_else_is_an_error_of_its_environment(layout: Layout) -> None:
    converged(layout)
    os.chown(layout.manifest("analysis", ID), 4711, 4711)
    lock(layout, "fine")
    done = converge(layout, named("analysis", "fine"))
    assert f"{layout.generation('analysis', ID)} belongs to 4711, but should belong to root" in done["msg"]
    assert actions(done) == {"fine": "build", "analysis": "failed"}
    os.chown(layout.manifest("analysis", ID), 0, 0)
    assert not converge(layout, named("analysis", "fine"))["changed"]


@pytest.mark.parametrize("fails", [False, True])
def test_an_environment_that_is_built_anew_in_its_place_is_absent_meanwhile(layout: Layout, fails: bool) -> None:
    """Its link would lead to nothing, or to half of it."""

    class Looking(FakeUv):
        def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
            assert not os.path.lexists(layout.env("analysis"))
            return Completed(1, "", "no room") if fails else super().run(cmd, **more)

    converged(layout)
    os.unlink(layout.manifest("analysis", ID))
    result = run(dataclasses.replace(environments(layout), uv=Uv(layout, Looking())))
    assert actions(result) == {"analysis": "failed" if fails else "build"}
    assert os.path.lexists(layout.env("analysis")) != fails


def test_a_damaged_manifest_is_an_error_of_its_environment(layout: Layout) -> None:
    converged(layout)
    converged(layout, "fine")
    Path(layout.manifest("analysis", ID)).chmod(0o644)
    Path(layout.manifest("analysis", ID)).write_text("{}")
    result = converge(layout, named("analysis", "fine"))
    assert actions(result) == {"analysis": "failed", "fine": "keep"}
    assert layout.manifest("analysis", ID) in result["msg"]


def test_its_owner_can_have_a_sealed_environment_removed(layout: Layout) -> None:
    lock(layout)
    unprivileged.give(Path(layout.root))
    assert actions(unprivileged.done(lambda: converge(layout))) == {"analysis": "build"}
    assert sealed(layout)
    gone = [dataclasses.replace(ENV, state="absent")]
    assert actions(unprivileged.done(lambda: converge(layout, gone))) == {"analysis": "remove"}
    assert os.listdir(layout.envs) == []
    assert sealed(layout)


# What is held


SINCE = "2026-11-27T14:02:31.000001+00:00"
HOLD: dict[str, t.Any] = {"id": OLD, "since": SINCE, "by": "alice on ctl1", "reason": "slow", "declared": False}
# The same packages in another file.
OTHER_LOCK = LOCK.replace("2" * 64, "4" * 64)


def held(layout: Layout, **more: t.Any) -> None:
    """OLD in force, and held. What is declared is neither locked nor built."""
    built(layout, OLD, version="2.0")
    shares.publish(Path(layout.root), "analysis", OLD, hold={**HOLD, **more})


def kept(layout: Layout, name: str = "analysis") -> standing.Standing:
    return standing.read(layout, name)


def in_force(layout: Layout, name: str = "analysis") -> str | None:
    return store.published(layout, name)


def told(layout: Layout) -> list[tuple[str, str | None]]:
    return [(entry.action, entry.generation) for entry in journals.read(layout)]


def test_what_is_declared_is_built_beside_what_is_held(layout: Layout) -> None:
    held(layout)
    lock(layout)
    predicted, done = converge(layout, check_mode=True), converge(layout)
    assert predicted["diff"] == done["diff"]
    assert done["diff"] == [{"prepared": f"environment analysis: {OLD} stays in force; {ID} beside it\n"}]
    (fact,) = done["environments"]
    assert (fact["action"], fact["id"], fact["previous_id"], fact["declared_id"]) == ("build", OLD, OLD, ID)
    assert (fact["held"], fact["packages"]) == (HOLD, {"iniconfig": "2.0"})
    assert os.path.exists(layout.manifest("analysis", ID))
    assert (in_force(layout), kept(layout).hold) == (OLD, standing.Hold(**HOLD))
    assert told(layout) == [("build", ID)]
    again = converge(layout)
    assert (again["changed"], actions(again)) == (False, {"analysis": "keep"})


def test_what_is_released_is_left_by_the_next_run(layout: Layout) -> None:
    converged(layout)
    held(layout)
    assert not converge(layout)["changed"]
    standing.write(layout, "analysis", kept(layout).held(None))
    assert actions(converge(layout)) == {"analysis": "publish"}
    assert (in_force(layout), kept(layout).in_force, kept(layout).before(ID)) == (ID, ID, OLD)
    assert told(layout) == [("publish", ID), ("retire", OLD)]


def test_a_declaration_holds_until_it_does_not(layout: Layout) -> None:
    converged(layout)
    built(layout, OLD, version="2.0")
    spec = dataclasses.replace(ENV, hold=OLD[:4])
    predicted = converge(layout, [spec], check_mode=True)
    done = converge(layout, [spec])
    assert predicted["diff"] == done["diff"]
    assert done["diff"] == [{"prepared": f"environment analysis: {ID} -> {OLD}\n  iniconfig 2.1 -> 2.0\n"}]
    hold = kept(layout).hold
    assert hold is not None
    assert (in_force(layout), hold.id, hold.declared, hold.by) == (OLD, OLD, True, "")
    assert not converge(layout, [spec])["changed"]
    assert kept(layout).hold == hold  # Since the first run.
    assert actions(converge(layout)) == {"analysis": "publish"}
    assert (in_force(layout), kept(layout).hold) == (ID, None)
    assert told(layout) == [
        ("hold", OLD), ("publish", OLD), ("retire", ID), ("release", OLD), ("publish", ID), ("retire", OLD)
    ]  # fmt: skip


def test_a_declaration_wins_over_a_rollback(layout: Layout) -> None:
    converged(layout)
    held(layout)
    converge(layout, [dataclasses.replace(ENV, hold=ID)])
    hold = kept(layout).hold
    assert hold is not None
    assert (in_force(layout), hold.id, hold.declared) == (ID, ID, True)


def test_a_declaration_goes_on_to_hold_what_it_held(layout: Layout) -> None:
    """Though by now the id of another one begins in the same way."""
    converged(layout)
    built(layout, OLD, version="2.0")
    spec = dataclasses.replace(ENV, hold=OLD[:4])
    converge(layout, [spec])
    built(layout, f"{OLD[:4]}ffffffff", version="2.2")
    assert (converge(layout, [spec])["changed"], in_force(layout)) == (False, OLD)
    other = converge(layout, [dataclasses.replace(ENV, hold=f"{OLD[:4]}f")])
    assert (other["changed"], in_force(layout)) == (True, f"{OLD[:4]}ffffffff")


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_declaration_may_hold_what_is_not_built_yet(layout: Layout, check_mode: bool) -> None:
    """On a new share there is nothing else."""
    lock(layout)
    spec = dataclasses.replace(ENV, hold=ID[:6])
    result = converge(layout, [spec], check_mode=check_mode)
    assert (actions(result), result["environments"][0]["id"]) == ({"analysis": "build"}, ID)
    assert in_force(layout) == (None if check_mode else ID)
    if not check_mode:
        assert not converge(layout, [spec])["changed"]


@pytest.mark.parametrize("beginning", ["ffff", "", "../other"])
def test_a_declaration_that_holds_what_nobody_knows(layout: Layout, beginning: str) -> None:
    converged(layout)
    before = tree(layout)
    result = converge(layout, [dataclasses.replace(ENV, hold=beginning)])
    assert f"environment analysis has no generation {beginning!r} on this share" in result["msg"]
    assert (in_force(layout), tree(layout)) == (ID, before)


def gone(layout: Layout, generation_id: str) -> None:
    path = layout.generation("analysis", generation_id)
    subprocess.run(["chmod", "-R", "u+w", path], check=True)
    shutil.rmtree(path)


def removed_while_held(layout: Layout) -> str:
    """A generation that is held and in force, and that somebody has removed. Its id."""
    lock(layout, text=OTHER_LOCK)
    old = str(converge(layout)["environments"][0]["id"])
    standing.write(layout, "analysis", kept(layout).held(standing.Hold(old, standing.now(), "alice")))
    lock(layout)
    converge(layout)
    assert (in_force(layout), os.path.exists(layout.manifest("analysis", ID))) == (old, True)
    gone(layout, old)
    return old


def test_what_is_held_and_gone_is_built_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    old = removed_while_held(layout)
    seen = Path(layout.root) / "seen"  # Builds have processes of their own.
    build = building.build

    def watched(layout: Layout, *given: t.Any) -> t.Any:
        marker = os.path.join(layout.cache, unsynced.MARKER)
        seen.write_text(f"{os.path.lexists(layout.env('analysis'))} {os.path.exists(marker)}", encoding="utf-8")
        return build(layout, *given)

    monkeypatch.setattr(building, "build", watched)
    predicted, done = converge(layout, check_mode=True), converge(layout)
    assert (actions(predicted), predicted["diff"]) == (actions(done), done["diff"]) == ({"analysis": "publish"}, ANY)
    # Absent rather than broken, and in doubt until it is on the disk.
    assert seen.read_text(encoding="utf-8") == "False True"
    assert (in_force(layout), os.path.exists(layout.manifest("analysis", old))) == (old, True)
    assert not converge(layout)["changed"]


def test_what_is_held_and_gone_and_cannot_be_built_again_is_named(layout: Layout) -> None:
    old = removed_while_held(layout)
    shutil.rmtree(layout.lock_history)
    before = tree(layout)
    result = converge(layout)
    assert f"its generation {old} is not on this share, and cannot be built again: its lock is gone" in result["msg"]
    assert (in_force(layout), tree(layout)) == (old, before)


def test_a_generation_in_force_that_somebody_has_removed_is_built_again(layout: Layout) -> None:
    lock(layout)
    converge(layout)
    gone(layout, ID)
    assert actions(converge(layout)) == {"analysis": "build"}
    assert (in_force(layout), converge(layout)["changed"]) == (ID, False)


def test_a_declared_build_that_fails_leaves_what_is_held(layout: Layout) -> None:
    shares.add_generation(Path(layout.root), "bad", OLD)
    shares.publish(Path(layout.root), "bad", OLD, hold=HOLD)
    lock(layout, "bad")
    result = converge(layout, named("bad"))
    assert "there is no such wheel" in result["msg"]
    assert (in_force(layout, "bad"), kept(layout, "bad").hold) == (OLD, standing.Hold(**HOLD))


@pytest.mark.parametrize("purge", [True, False])
def test_what_is_held_goes_with_its_environment_and_holds_no_later_one(layout: Layout, purge: bool) -> None:
    held(layout)
    absent = [] if purge else [dataclasses.replace(ENV, state="absent")]
    assert actions(converge(layout, absent, purge=purge)) == {"analysis": "remove"}
    assert (kept(layout).in_force, kept(layout).hold) == (None, None)
    assert not converge(layout, absent, purge=purge)["changed"]
    lock(layout)
    assert actions(converge(layout)) == {"analysis": "build"}
    assert (in_force(layout), kept(layout).hold) == (ID, None)


def test_a_record_alone_is_removed_too(layout: Layout) -> None:
    """Somebody has removed the rest."""
    shares.write_json(Path(layout.standing("analysis")), shares.standing("analysis", OLD, hold=HOLD))
    absent = [dataclasses.replace(ENV, state="absent")]
    assert actions(converge(layout, absent)) == {"analysis": "remove"}
    assert (kept(layout).in_force, kept(layout).hold) == (None, None)
    assert not converge(layout, absent)["changed"]


def test_without_a_record_one_is_made(layout: Layout) -> None:
    """Of a share that is older than records, or after a kill between link and record."""
    converged(layout)
    os.unlink(layout.standing("analysis"))
    predicted, done = converge(layout, check_mode=True), converge(layout)
    assert (actions(done), predicted["diff"]) == ({"analysis": "record"}, done["diff"])
    assert done["diff"] == [{"prepared": "environment analysis: what is in force, and since when, is put on record\n"}]
    assert (kept(layout).in_force, told(layout)) == (ID, [])
    assert not converge(layout)["changed"]


@pytest.mark.parametrize("content", ["{}", "", '{"format": 2}'])
def test_a_record_that_cannot_be_read_changes_nothing(layout: Layout, content: str) -> None:
    converged(layout)
    converged(layout, "other")
    held(layout)
    Path(layout.standing("analysis")).write_text(content, encoding="utf-8")
    before = tree(layout)
    result = converge(layout, named("analysis", "other"))
    assert (result["failed"], "analysis.state.json" in result["msg"]) == (True, True)
    assert (actions(result), tree(layout)) == ({"analysis": "failed", "other": "keep"}, before)
    assert Path(layout.standing("analysis")).read_text(encoding="utf-8") == content


def test_a_rollback_during_a_run_is_seen(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the run waits for the mutex."""
    converged(layout)
    held(layout)
    standing.write(layout, "analysis", kept(layout).held(None))
    hold = standing.Hold(OLD, standing.now(), "alice")
    take = mutex.hold

    @contextlib.contextmanager
    def waited(*given: t.Any, **more: t.Any) -> t.Iterator[None]:
        standing.write(layout, "analysis", kept(layout).held(hold))
        with take(*given, **more):
            yield

    monkeypatch.setattr(mutex, "hold", waited)
    result = converge(layout)
    assert (actions(result), in_force(layout), kept(layout).hold) == ({"analysis": "keep"}, OLD, hold)


def test_a_hold_does_not_wait_for_a_build_that_fails(layout: Layout) -> None:
    lock(layout, "bad")
    for generation_id, version in ((OLD, "1.9"), ("ba9876543210", "2.0")):
        built(layout, generation_id, name="bad", version=version)
    published(layout, "ba9876543210", name="bad")
    (spec,) = named("bad")
    result = converge(layout, [dataclasses.replace(spec, hold=OLD)])
    assert actions(result) == {"bad": "failed"}
    assert os.readlink(layout.env("bad")) == f"../generations/bad/{OLD}"


def test_what_has_to_be_tried_is_built_and_left_alone(layout: Layout) -> None:
    lock(layout)
    built(layout, OLD, version="1.9")
    published(layout, OLD)
    os.unlink(layout.standing("analysis"))
    spec = dataclasses.replace(ENV, try_on={"hosts": ["gpu1"], "at_least": 1})
    for action in ("build", "keep"):
        (fact,) = converge(layout, [spec])["environments"]
        assert (fact["action"], fact["id"], fact["declared_id"], fact["awaits"]) == (action, OLD, ID, True)
        assert os.readlink(layout.env("analysis")) == f"../generations/analysis/{OLD}"
    os.unlink(layout.standing("analysis"))
    assert actions(converge(layout, [spec])) == {"analysis": "record"}
    assert actions(converge(layout, [spec])) == {"analysis": "keep"}
    # One that is in force has been tried.
    published(layout, ID)
    assert actions(converge(layout, [spec])) == {"analysis": "keep"}


class Refusing(FakeUv):
    """No check succeeds."""

    def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
        return Completed(3, "", "no luck") if cmd[0] == "/bin/sh" else super().run(cmd, **more)


def test_what_was_built_to_be_tried_is_tested_where_it_need_not_be_tried_any_more(layout: Layout) -> None:
    """Nobody has tested it, or it has failed wherever it was tried."""
    lock(layout)
    built(layout, OLD, version="1.9")
    published(layout, OLD)
    spec = dataclasses.replace(ENV, checks=("exit 3",))
    uv = Uv(layout, Refusing())
    tried = dataclasses.replace(spec, try_on={"hosts": ["gpu1"]})
    assert actions(run(Environments(Share("nas_a", layout), uv, [tried]))) == {"analysis": "build"}
    result = run(Environments(Share("nas_a", layout), uv, [spec]))
    assert (actions(result), in_force(layout)) == ({"analysis": "failed"}, OLD)
    assert "environment analysis: smoke test failed: check 'exit 3'" in result["msg"]
    assert "no luck" in result["msg"]
    assert (actions(converge(layout, [spec])), in_force(layout)) == ({"analysis": "publish"}, ID)


def test_what_a_declaration_holds_before_it_was_tried_is_tested(layout: Layout) -> None:
    lock(layout)
    spec = dataclasses.replace(ENV, checks=("exit 3",), try_on={"hosts": ["gpu1"]}, hold=ID)
    result = run(Environments(Share("nas_a", layout), Uv(layout, Refusing()), [spec]))
    assert (actions(result), in_force(layout)) == ({"analysis": "failed"}, None)
    assert actions(converge(layout, [spec])) == {"analysis": "publish"}
    assert in_force(layout) == ID


@pytest.mark.parametrize("purge", [True, False])
def test_what_waits_goes_with_its_environment(layout: Layout, purge: bool) -> None:
    lock(layout)
    spec = dataclasses.replace(ENV, try_on={"hosts": ["gpu1"]})
    assert actions(converge(layout, [spec])) == {"analysis": "build"}
    specs = [] if purge else [dataclasses.replace(spec, state="absent")]
    assert actions(converge(layout, specs, purge=purge)) == {"analysis": "remove"}
    assert not os.path.exists(layout.lock("analysis"))
    assert not converge(layout, specs, purge=purge)["changed"]


def test_diff_mode_of_what_waits_names_what_is_built_and_what_stays(layout: Layout) -> None:
    lock(layout)
    spec = dataclasses.replace(ENV, try_on={"hosts": ["gpu1"]})
    said = f"environment analysis: {ID}, to be tried before it is published\n  iniconfig 2.1 (new)\n"
    for check_mode in (True, False):
        result = converge(layout, [spec], check_mode=check_mode)
        assert result["diff"] == [{"prepared": said}]
        assert "waits_for" not in result["environments"][0]
    gone(layout, ID)
    built(layout, OLD, version="1.9")
    published(layout, OLD)
    (shown,) = converge(layout, [spec])["diff"]
    assert shown["prepared"].startswith(
        f"environment analysis: {OLD} stays in force; {ID} beside it, to be tried before it is published\n"
    )


def test_diff_mode_of_what_waits_before_anybody_can_know_what_that_is(tmp_path: Path) -> None:
    spec = dataclasses.replace(ENV, try_on={"hosts": ["gpu1"]})
    facts = {"analysis": LockFact(None)}
    (shown,) = converge(Layout(str(tmp_path / "uv")), [spec], check_mode=True, locks=facts)["diff"]
    assert shown["prepared"] == "environment analysis: not known yet, to be tried before it is published\n"


def test_where_nothing_is_in_force_there_is_nothing_to_put_on_record(layout: Layout) -> None:
    """A run that built it anew in its place was killed."""
    converged(layout)
    os.unlink(layout.env("analysis"))
    spec = dataclasses.replace(ENV, try_on={"hosts": ["gpu1"]})
    result = converge(layout, [spec])
    assert (actions(result), result["environments"][0]["awaits"]) == ({"analysis": "keep"}, True)
