# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done about environments, found in real directories."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import converge as reconcile
from ansible_collections.uvnas.cluster.plugins.module_utils.env.converge import LockFact, Reconciliation
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as locks
from ansible_collections.uvnas.cluster.plugins.module_utils.env.plan import Ingredients
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files as fs
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv

KEY = "cpython-3.12.4-linux-x86_64-gnu"
LOCK = "iniconfig==2.1 \\\n    --hash=sha256:" + "2" * 64 + "\n"
PACKAGES = {"iniconfig": "2.1"}
DIGEST = locks.parse(LOCK, what="it").digest
ENV = EnvironmentSpec("analysis", python="3.12", requirements=("iniconfig",))
ID = Ingredients(DIGEST, KEY, "1" * 64, ENV.build_options()).generation_id
OLD = "0123456789ab"


COLLECTIONS = str(Path(reconcile.__file__).parents[6])
# Looks at environments that are as they should be.
CONVERGED = """
import json, sys
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.env.converge import LockFact, Reconciliation
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
given = json.loads(sys.argv[1])
layout = Layout(given["root"])
specs = [EnvironmentSpec(name, python="3.12", requirements=("iniconfig",)) for name in given["names"]]
facts = {name: LockFact(given["digest"]) for name in given["names"]}
result = Reconciliation(layout, Uv(layout, SystemRunner()), "nas_a", specs, facts).run(check_mode=False)
sys.exit(result["changed"] or "failed" in result)
"""


class FakeUv:
    """Makes environments that look like those of uv; those called bad cannot be installed."""

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        env: t.Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: str | None = None,
    ) -> Completed:
        if cmd[3] == "venv":
            path, interpreter = Path(cmd[-1]), cmd[cmd.index("--python") + 1]
            (path / "bin").mkdir(parents=True)
            (path / "bin" / "python").symlink_to(interpreter)
            (path / "pyvenv.cfg").write_text(f"home = {os.path.dirname(interpreter)}\n", encoding="utf-8")
            (path / "lib" / "python3.12" / "site-packages" / "iniconfig-2.1.dist-info").mkdir(parents=True)
        elif cmd[-1].endswith("/bad.txt"):
            return Completed(2, "", "error: there is no such wheel\n")
        return Completed(0, "", "")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path))
    for directory in (found.locks, found.envs, found.generations):
        os.makedirs(directory)
    interpreter = {"version": "3.12.4", "digest": "1" * 64}
    fs.write_json(found.pythons_record, {"format": 1, "requests": {"3.12": KEY}, "interpreters": {KEY: interpreter}})
    return found


def lock(layout: Layout, name: str = "analysis", text: str = LOCK) -> None:
    Path(layout.lock(name)).write_text(text, encoding="utf-8")


def built(layout: Layout, generation_id: str = ID, name: str = "analysis", version: str = "2.1") -> None:
    os.makedirs(layout.generation(name, generation_id))
    manifest = {"packages": {"iniconfig": version}, "size": {"own_bytes": 1, "inodes": 1}}
    Path(layout.manifest(name, generation_id)).write_text(json.dumps(manifest), encoding="utf-8")


def published(layout: Layout, generation_id: str = ID, name: str = "analysis") -> None:
    os.symlink(layout.env_link_target(name, generation_id), layout.env(name))


def converged(layout: Layout, name: str = "analysis") -> None:
    lock(layout, name)
    built(layout, name=name)
    published(layout, name=name)


def named(*names: str) -> list[EnvironmentSpec]:
    return [dataclasses.replace(ENV, name=name) for name in names]


def reconciliation(layout: Layout, specs: t.Sequence[EnvironmentSpec] = (ENV,), **more: t.Any) -> Reconciliation:
    return Reconciliation(layout, Uv(layout, FakeUv()), "nas_a", specs, **{"busy_timeout": 5.0, **more})


def actions(result: dict[str, t.Any]) -> dict[str, str]:
    return {fact["name"]: fact["action"] for fact in result["environments"]}


def tree(layout: Layout) -> list[str]:
    return sorted(str(path) for path in Path(layout.root).rglob("*"))


def test_what_is_there_is_kept(layout: Layout) -> None:
    converged(layout)
    before = tree(layout)
    result = reconciliation(layout).run(check_mode=False)
    assert (result["changed"], result["diff"], tree(layout)) == (False, [], before)
    assert result["environments"] == [
        {"name": "analysis", "action": "keep", "id": ID, "previous_id": ID, "packages_changed": []}
    ]


def test_what_is_built_but_not_published_is_published(layout: Layout) -> None:
    converged(layout)
    os.unlink(layout.env("analysis"))
    built(layout, OLD, version="2.0")
    published(layout, OLD)
    (fact,) = reconciliation(layout).run(check_mode=False)["environments"]
    assert (fact["action"], fact["id"], fact["previous_id"]) == ("publish", ID, OLD)
    assert fact["packages_changed"] == ["iniconfig 2.0 -> 2.1"]
    assert os.readlink(layout.env("analysis")) == f"../generations/analysis/{ID}"
    assert os.path.exists(layout.manifest("analysis", OLD))


def test_what_is_not_there_is_built(layout: Layout) -> None:
    lock(layout)
    result = reconciliation(layout).run(check_mode=False)
    (fact,) = result["environments"]
    assert (fact["action"], fact["packages"], fact["python"]["key"]) == ("build", PACKAGES, KEY)
    assert result["diff"] == [{"prepared": f"environment analysis: absent -> {ID}\n  iniconfig 2.1 (new)\n"}]
    assert os.path.exists(os.path.join(layout.env("analysis"), ".uvnas.json"))
    assert not reconciliation(layout).run(check_mode=False)["changed"]


@pytest.mark.parametrize(("given", "said"), [({}, ["4", "4", ""]), ({"UV_CONCURRENT_INSTALLS": "3"}, ["3", "3", "3"])])
def test_builds_at_the_same_time_share_the_processors(
    given: dict[str, str], said: list[str], layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TellingUv(FakeUv):
        def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
            if "sync" in cmd:
                path = tmp_path / f"{Path(cmd[-1]).stem}.workers"
                path.write_text(more["env"].get("UV_CONCURRENT_INSTALLS", ""), encoding="utf-8")
            return super().run(cmd, **more)

    monkeypatch.setattr(reconcile, "processors", lambda: 8)
    monkeypatch.delenv("UV_CONCURRENT_INSTALLS", raising=False)
    for name in "abc":
        lock(layout, name)
    building = reconciliation(layout, named("a", "b", "c"), jobs=2)
    dataclasses.replace(building, uv=Uv(layout, TellingUv(), extra_variables=given)).run(check_mode=False)
    assert [(tmp_path / f"{name}.workers").read_text(encoding="utf-8") for name in "abc"] == said


def test_what_was_not_finished_is_built_anew(layout: Layout) -> None:
    converged(layout)
    os.unlink(layout.manifest("analysis", ID))
    result = reconciliation(layout).run(check_mode=False)
    assert actions(result) == {"analysis": "build"}
    assert os.path.exists(layout.manifest("analysis", ID))


def test_check_mode_predicts_and_writes_nothing(layout: Layout) -> None:
    lock(layout)
    converged(layout, "kept")
    converged(layout, "gone")
    specs = named("analysis", "kept")
    before = tree(layout)
    predicted = reconciliation(layout, specs, purge=True).run(check_mode=True)
    assert tree(layout) == before
    done = reconciliation(layout, specs, purge=True).run(check_mode=False)
    assert actions(predicted) == actions(done) == {"analysis": "build", "kept": "keep", "gone": "remove"}
    assert predicted["diff"] == done["diff"]


def test_check_mode_where_a_lock_cannot_be_known_yet(layout: Layout) -> None:
    result = reconciliation(layout, locks={"analysis": LockFact(None)}).run(check_mode=True)
    assert (actions(result), result["changed"]) == ({"analysis": "build"}, True)
    assert result["diff"] == [{"prepared": "environment analysis: absent -> not known yet\n"}]


def test_check_mode_with_a_lock_that_is_not_written_yet(layout: Layout) -> None:
    facts = {"analysis": LockFact(DIGEST, PACKAGES)}
    (fact,) = reconciliation(layout, locks=facts).run(check_mode=True)["environments"]
    assert (fact["action"], fact["id"], fact["packages_changed"]) == ("build", ID, ["iniconfig 2.1 (new)"])


def test_what_could_not_be_locked_is_left_alone(layout: Layout) -> None:
    result = reconciliation(layout, named("analysis", "unlocked"), locks={}).run(check_mode=False)
    assert (result["changed"], actions(result), "failed" in result) == (
        False,
        {"analysis": "failed", "unlocked": "failed"},
        False,
    )


def test_absent_removes_all_of_it(layout: Layout) -> None:
    converged(layout)
    spec = dataclasses.replace(ENV, state="absent")
    assert actions(reconciliation(layout, [spec]).run(check_mode=False)) == {"analysis": "remove"}
    assert [os.listdir(directory) for directory in (layout.envs, layout.generations)] == [[], []]
    assert os.listdir(layout.locks) == ["pythons.json"]
    assert not reconciliation(layout, [spec]).run(check_mode=False)["changed"]


def test_purge_removes_what_is_not_declared_and_nothing_else(layout: Layout) -> None:
    converged(layout)
    converged(layout, "published")
    built(layout, name="unpublished")
    assert not reconciliation(layout).run(check_mode=False)["changed"]
    result = reconciliation(layout, purge=True).run(check_mode=False)
    assert actions(result) == {"analysis": "keep", "published": "remove", "unpublished": "remove"}
    assert os.listdir(layout.envs) == os.listdir(layout.generations) == ["analysis"]


def test_one_that_fails_does_not_stop_the_others_and_stays_as_it_was(layout: Layout) -> None:
    lock(layout)
    lock(layout, "bad")
    built(layout, OLD, "bad")
    published(layout, OLD, "bad")
    result = reconciliation(layout, named("bad", "analysis")).run(check_mode=False)
    assert actions(result) == {"bad": "failed", "analysis": "build"}
    assert result["msg"].startswith("1 of 2 environments failed to build; the others are done")
    assert "there is no such wheel" in result["msg"]
    assert os.readlink(layout.env("bad")) == f"../generations/bad/{OLD}"
    assert os.listdir(layout.generations_of("bad")) == [OLD]


def test_a_lock_that_is_missing_does_not_stop_the_others(layout: Layout) -> None:
    lock(layout)
    built(layout, OLD, "unlocked")
    published(layout, OLD, "unlocked")
    result = reconciliation(layout, named("unlocked", "analysis")).run(check_mode=False)
    assert actions(result) == {"analysis": "build", "unlocked": "failed"}
    assert result["environments"][1]["previous_id"] == OLD
    assert "environment unlocked has no lock on this share" in result["msg"]


@pytest.mark.parametrize("declared", [{}, {"state": "absent"}])
def test_a_foreign_link_is_an_error_of_its_environment_only(declared: dict[str, str], layout: Layout) -> None:
    lock(layout)
    lock(layout, "foreign")
    os.symlink("/opt/elsewhere", layout.env("foreign"))
    specs = [dataclasses.replace(ENV, name="foreign", **declared), ENV]  # type: ignore[arg-type]
    result = reconciliation(layout, specs).run(check_mode=False)
    # What is declared to be absent is no environment that could not be built.
    assert actions(result) == {"analysis": "build", **({} if declared else {"foreign": "failed"})}
    assert "its link points to /opt/elsewhere" in result["msg"]
    assert os.readlink(layout.env("foreign")) == "/opt/elsewhere"


def test_what_is_no_link_is_left_alone(layout: Layout) -> None:
    lock(layout)
    os.makedirs(layout.env("analysis"))
    result = reconciliation(layout).run(check_mode=False)
    assert "is not a symlink" in result["msg"]
    assert os.path.isdir(layout.env("analysis"))


@pytest.mark.parametrize("least", [{"min_free_bytes": 1 << 62}, {"min_free_inodes": 1 << 62}])
def test_without_room_nothing_is_built(least: dict[str, int], layout: Layout) -> None:
    if not os.statvfs(layout.root).f_files:  # A filesystem that does not count inodes has no lack of them.
        least = {"min_free_bytes": 1 << 62}
    lock(layout)
    result = reconciliation(layout, **least).run(check_mode=False)
    assert (actions(result), result["changed"]) == ({"analysis": "failed"}, False)
    assert "no room to build it" in result["msg"]
    assert not os.path.exists(layout.generations_of("analysis"))


def test_a_lock_that_changed_since_it_was_looked_at_is_not_built(layout: Layout) -> None:
    lock(layout, text=LOCK.replace("2.1", "2.2"))
    result = reconciliation(layout, locks={"analysis": LockFact(DIGEST, PACKAGES)}).run(check_mode=False)
    assert "its lock changed while this was running" in result["msg"]


def test_a_converged_environment_costs_two_file_operations(layout: Layout) -> None:
    """A link that is read, a manifest that is looked for; the kernel's own word for it."""
    names = [f"env-{number}" for number in range(20)]
    for name in names:
        converged(layout, name)
    trace = Path(layout.root, "trace")
    strace = ["strace", "-f", "-e", "trace=%file,getdents64", "-o", str(trace)]
    given = json.dumps({"root": layout.root, "digest": DIGEST, "names": names})
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS}
    subprocess.run([*strace, sys.executable, "-c", CONVERGED, given], env=environment, check=True)
    operations = [line for line in trace.read_text(encoding="utf-8").splitlines() if f'"{layout.root}/' in line]
    assert sum("/env-" in line for line in operations) == 2 * len(names)
    assert [line for line in operations if "/env-" not in line and "/pythons.json" not in line] == []


def test_a_generation_that_went_missing_is_seen(layout: Layout) -> None:
    converged(layout)
    shutil.rmtree(layout.generations_of("analysis"))
    assert actions(reconciliation(layout).run(check_mode=True)) == {"analysis": "build"}
