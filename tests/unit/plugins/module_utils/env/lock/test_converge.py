# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converging locks: kept, copied, resolved by something that answers like uv, and reported."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.converge import Locking
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import LockText
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.plan import (
    COPY,
    RESOLVE,
    Input,
    Kept,
    Upgrade,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
from ansible_collections.uvnas.cluster.tests.support import shares

SPEC = "5" * 64
OTHER_SPEC = "6" * 64
NO_UPGRADE = Upgrade()
ENV = EnvironmentSpec("analysis", python="3.12", requirements=("iniconfig",))
SOURCES = Sources(requirements=(("requirements.in", "iniconfig\n"),))


def entry(name: str, version: str) -> str:
    return f"{name}=={version} \\\n    --hash=sha256:{version.replace('.', '') * 8}\n"


def lock(version: str = "2.0", spec: str = SPEC, name: str = "analysis") -> str:
    header = json.dumps({"environment": name, "format": 1, "packages": 1, "python": "3.12", "spec": spec})
    return f"# uvnas.cluster lock: {header}\n{entry('iniconfig', version)}"


def kept(text: str, spec: str | None = SPEC, *, with_text: bool = True) -> Kept:
    return Kept(LockText(text).digest, spec, LockText(text) if with_text else None)


class FakeUv:
    """Answers like ``uv pip compile``: one pin, or uv's refusal of what cannot be resolved. It has a wheel of that."""

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        variables: t.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        stdin: str | None = None,
    ) -> Completed:
        assert cwd is not None
        if "pylock.toml" in cmd:
            return Completed(0, '[[packages]]\nname = "iniconfig"\nwheels = []\n', "")
        if "impossible" in Path(cwd, "requirements.in").read_text(encoding="utf-8"):
            return Completed(1, "", "  x No solution found when resolving dependencies\n")
        Path(cwd, "lock.txt").write_text(entry("iniconfig", "2.1"), encoding="utf-8")
        return Completed(0, "", "")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    shares.add_interpreter(shares.make_share(tmp_path))
    found = Layout(str(tmp_path))
    Path(found.uv).touch()
    return found


def locking(layout: Layout, inputs: t.Mapping[str, Input], upgrade: Upgrade = NO_UPGRADE) -> Locking:
    specs = [dataclasses.replace(ENV, name=name) for name in inputs]
    share = Share.parse({"name": shares.NAME, "root": layout.root})
    return Locking(share, Uv(layout, FakeUv()), specs, inputs, upgrade, 2)


def converge(locking: Locking, *, check_mode: bool = False) -> dict[str, t.Any]:
    return dataclasses.replace(locking, check_mode=check_mode).converge(purpose="test", busy_timeout=5.0)


def put(layout: Layout, text: str, name: str = "analysis") -> None:
    Path(layout.lock(name)).write_text(text, encoding="utf-8")


def on_share(layout: Layout, name: str = "analysis") -> str | None:
    path = Path(layout.lock(name))
    return path.read_text(encoding="utf-8") if path.exists() else None


@pytest.mark.parametrize(
    "lacking", [Input(SPEC), Input(SPEC, kept=kept(lock(), with_text=False)), Input(OTHER_SPEC, kept=kept(lock()))]
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_lacking_is_asked_for_before_anything_is_done(lacking: Input, check_mode: bool, layout: Layout) -> None:
    inputs = {"analysis": lacking, "ready": Input(SPEC, SOURCES)}
    result = converge(locking(layout, inputs), check_mode=check_mode)
    assert result == {"changed": False, "needs": ["analysis"], "locks": {}}
    assert os.listdir(layout.locks) == ["pythons.json"]


def test_nothing_to_do_takes_no_lock_and_needs_no_text(layout: Layout) -> None:
    put(layout, lock())
    result = converge(locking(layout, {"analysis": Input(SPEC)}))
    assert (result["changed"], result["diff"]) == (False, [])
    assert set(result["locks"]["analysis"]) == {"action", "changed", "digest", "packages_changed"}
    assert not os.path.exists(layout.mutex)


def test_the_controller_gets_the_text_it_wants(layout: Layout) -> None:
    put(layout, lock())
    result = converge(locking(layout, {"analysis": Input(SPEC, want_text=True)}))
    assert (result["changed"], result["locks"]["analysis"]["text"]) == (False, lock())


def test_copying(layout: Layout) -> None:
    put(layout, lock("2.0"))
    result = converge(locking(layout, {"analysis": Input(SPEC, SOURCES, kept(lock("2.1")))}))
    assert on_share(layout) == lock("2.1")
    assert (result["changed"], result["locks"]["analysis"]["packages_changed"]) == (True, ["iniconfig 2.0 -> 2.1"])
    assert result["diff"] == [{"prepared": "lock analysis:\n  iniconfig 2.0 -> 2.1\n"}]


@pytest.fixture
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Share:
    """A share that has a newer lock than one resolved now would be."""
    other = Layout(str(tmp_path_factory.mktemp("earlier")))
    os.makedirs(other.locks)
    put(other, lock("2.2"))
    return Share("nas_a", other)


@pytest.mark.parametrize("upgrade", [NO_UPGRADE, Upgrade(frozenset({"all"}))])
def test_an_environment_on_two_shares_has_one_lock(layout: Layout, earlier: Share, upgrade: Upgrade) -> None:
    inputs = {"analysis": Input(SPEC, SOURCES)}
    second = dataclasses.replace(locking(layout, inputs, upgrade), earlier_shares=(earlier,))
    result = converge(second)
    assert (on_share(layout), result["locks"]["analysis"]["action"]) == (lock("2.2"), COPY)
    assert not converge(second)["changed"]


def test_a_check_of_an_upgrade_does_not_take_an_earlier_share_for_upgraded(layout: Layout, earlier: Share) -> None:
    put(layout, lock("2.2"))
    upgrading = locking(layout, {"analysis": Input(SPEC, SOURCES)}, Upgrade(frozenset({"all"})))
    (fact,) = converge(dataclasses.replace(upgrading, earlier_shares=(earlier,)), check_mode=True)["locks"].values()
    assert (fact["action"], fact["packages_changed"]) == (RESOLVE, ["iniconfig 2.2 -> 2.1"])


def test_a_check_of_an_upgrade_foretells_the_others_as_well(layout: Layout, earlier: Share) -> None:
    put(earlier.layout, lock("2.0", name="other"), "other")
    inputs = {"analysis": Input(SPEC, SOURCES), "other": Input(SPEC, SOURCES)}
    upgrading = locking(layout, inputs, Upgrade(frozenset({"analysis"})))
    foretold = converge(dataclasses.replace(upgrading, earlier_shares=(earlier,)), check_mode=True)["locks"]
    assert {name: fact["action"] for name, fact in foretold.items()} == {"analysis": RESOLVE, "other": COPY}


@pytest.mark.parametrize("damage", [("==2.2", ">=2.2"), ("sha256:", "md5-"), ("iniconfig==2.2", "")])
def test_a_damaged_lock_of_an_earlier_share_is_not_taken(
    layout: Layout, earlier: Share, damage: tuple[str, str]
) -> None:
    put(earlier.layout, lock("2.2").replace(*damage))
    put(layout, lock("2.0"))
    second = dataclasses.replace(locking(layout, {"analysis": Input(SPEC, SOURCES)}), earlier_shares=(earlier,))
    assert not converge(second)["changed"]
    assert on_share(layout) == lock("2.0")


def test_resolving_then_nothing_to_do(layout: Layout) -> None:
    inputs = {"analysis": Input(SPEC, SOURCES)}
    first = converge(locking(layout, inputs))
    assert on_share(layout) == lock("2.1")
    assert (first["locks"]["analysis"]["action"], first["locks"]["analysis"]["versions"]) == (
        RESOLVE,
        {"iniconfig": "2.1"},
    )
    assert not converge(locking(layout, inputs))["changed"]


def test_an_upgrade_to_what_is_there_changes_nothing(layout: Layout) -> None:
    put(layout, lock("2.1"))
    inputs = {"analysis": Input(SPEC, SOURCES)}
    assert not converge(locking(layout, inputs, Upgrade(frozenset({"all"}))))["changed"]


def test_check_mode_predicts_and_writes_nothing(layout: Layout) -> None:
    inputs = {"analysis": Input(SPEC, SOURCES)}
    predicted = converge(locking(layout, inputs), check_mode=True)
    assert on_share(layout) is None
    assert not os.path.exists(layout.mutex)
    assert predicted == converge(locking(layout, inputs))


@pytest.mark.parametrize("lacking", ["uv", "an interpreter that is whole"])
def test_check_mode_before_there_is_what_it_takes(layout: Layout, lacking: str) -> None:
    if lacking == "uv":
        os.unlink(layout.uv)
    else:
        shares.add_interpreter(Path(layout.root), unfinished=True)
    result = converge(locking(layout, {"analysis": Input(SPEC, SOURCES)}), check_mode=True)
    fact = {"action": RESOLVE, "changed": True, "digest": None, "packages_changed": ["not known yet"]}
    assert (result["changed"], result["locks"]) == (True, {"analysis": fact})


def test_one_that_fails_does_not_stop_the_others(layout: Layout) -> None:
    bad = Input(SPEC, Sources(requirements=(("requirements.in", "impossible==1\n"),)))
    put(layout, lock("1.0", OTHER_SPEC, "bad"), "bad")
    result = converge(locking(layout, {"bad": bad, "analysis": Input(SPEC, SOURCES)}))
    assert (result["failed"], list(result["locks"]), on_share(layout)) == (True, ["analysis"], lock("2.1"))
    assert result["msg"].startswith("1 of 2 environments failed; the others are done\nenvironment bad:")
    assert "No solution found" in result["errors"][0]["stderr"]
    assert on_share(layout, "bad") == lock("1.0", OTHER_SPEC, "bad")


def test_a_python_that_is_not_on_the_share(layout: Layout) -> None:
    os.unlink(layout.pythons_record)
    result = converge(locking(layout, {"analysis": Input(SPEC, SOURCES)}))
    assert "Python 3.12 is not on this share" in result["msg"]
    assert on_share(layout) is None


def test_a_lock_that_was_damaged_is_resolved_anew(layout: Layout) -> None:
    put(layout, "iniconfig>=2\n")
    result = converge(locking(layout, {"analysis": Input(SPEC, SOURCES)}))
    assert (result["changed"], on_share(layout)) == (True, lock("2.1"))


def test_a_damaged_lock_that_still_says_what_it_is_does_not_stop_the_others(layout: Layout) -> None:
    put(layout, lock().replace("==2.0", ">=2.0"))
    result = converge(locking(layout, {"analysis": Input(SPEC), "other": Input(SPEC, SOURCES)}))
    assert "environment analysis: its lock is not a lock" in result["msg"]
    assert f"Was {layout.lock('analysis')} edited? Fix it, or remove it" in result["msg"]
    assert list(result["locks"]) == ["other"]
    os.unlink(layout.lock("analysis"))
    assert converge(locking(layout, {"analysis": Input(SPEC, SOURCES)}))["changed"]


def test_a_lock_that_goes_while_another_is_made_is_not_resolved_from_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(layout, lock())

    @contextlib.contextmanager
    def somebody_else_was_here(*_args: t.Any, **_more: t.Any) -> t.Iterator[None]:
        os.unlink(layout.lock("analysis"))
        yield

    monkeypatch.setattr(mutex, "hold", somebody_else_was_here)
    result = converge(locking(layout, {"analysis": Input(SPEC), "other": Input(SPEC, SOURCES)}))
    assert result == {"changed": False, "needs": ["analysis"], "locks": {}}
    assert (on_share(layout), on_share(layout, "other")) == (None, None)
