# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which locks stay, which are copied, which are resolved; and the module's work around that."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as locks
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.converge import Locking
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.plan import (
    COPY,
    KEEP,
    RESOLVE,
    EarlierShare,
    Input,
    Kept,
    Upgrade,
    current,
    decide,
    plan,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files as fs
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv

SPEC = "5" * 64
OTHER_SPEC = "6" * 64
NO_UPGRADE = Upgrade()
ENV = EnvironmentSpec("analysis", python="3.12", requirements=("iniconfig",))
SOURCES = Sources(requirements=(("requirements.in", "iniconfig\n"),))
KEY = "cpython-3.12.4-linux-x86_64-gnu"


def entry(name: str, version: str) -> str:
    return f"{name}=={version} \\\n    --hash=sha256:{version.replace('.', '') * 8}\n"


def lock(version: str = "2.0", spec: str = SPEC, name: str = "analysis") -> str:
    packages = locks.parse(entry("iniconfig", version), what="it").packages
    return locks.render(packages, environment=name, spec_digest=spec, python="3.12")


def kept(text: str, spec: str | None = SPEC, *, with_text: bool = True) -> Kept:
    return Kept(locks.text_digest(text), spec, text if with_text else None)


class FakeUv:
    """Answers like ``uv pip compile``: one pin, or uv's refusal of what cannot be resolved."""

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        env: t.Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: str | None = None,
    ) -> Completed:
        assert cwd is not None
        if "impossible" in Path(cwd, "requirements.in").read_text(encoding="utf-8"):
            return Completed(1, "", "  x No solution found when resolving dependencies\n")
        Path(cwd, "lock.txt").write_text(entry("iniconfig", "2.1"), encoding="utf-8")
        return Completed(0, "", "")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path))
    os.makedirs(found.locks)
    os.makedirs(found.bin_dir)
    Path(found.uv).touch()
    interpreter = {"version": "3.12.4", "digest": "1" * 64}
    fs.write_json(found.pythons_record, {"format": 1, "requests": {"3.12": KEY}, "interpreters": {KEY: interpreter}})
    return found


def locking(layout: Layout, inputs: t.Mapping[str, Input], upgrade: Upgrade = NO_UPGRADE) -> Locking:
    specs = [dataclasses.replace(ENV, name=name) for name in inputs]
    return Locking(layout, Uv(layout, FakeUv()), specs, inputs, upgrade, 2, 5.0)


def put(layout: Layout, text: str, name: str = "analysis") -> None:
    Path(layout.lock(name)).write_text(text, encoding="utf-8")


def on_share(layout: Layout, name: str = "analysis") -> str | None:
    content = fs.read_bytes(layout.lock(name))
    return None if content is None else content.decode()


@pytest.mark.parametrize(
    ("given", "here", "action"),
    [
        (Input(SPEC), None, RESOLVE),
        (Input(SPEC), lock(), KEEP),
        (Input(SPEC), lock(spec=OTHER_SPEC), RESOLVE),
        (Input(SPEC), entry("iniconfig", "2.0"), RESOLVE),
        (Input(SPEC, kept=kept(lock())), None, COPY),
        (Input(SPEC, kept=kept(lock())), lock(), KEEP),
        (Input(SPEC, kept=kept(lock())), lock("2.1"), COPY),
        (Input(SPEC, kept=kept(lock(), with_text=False)), lock(), KEEP),
        (Input(SPEC, kept=kept(lock(), OTHER_SPEC)), lock(), RESOLVE),
        (Input(SPEC, kept=kept(lock(), None)), lock(), RESOLVE),
    ],
)
def test_what_is_decided(given: Input, here: str | None, action: str) -> None:
    assert decide(given, here) == action


@pytest.mark.parametrize(
    ("given", "here", "upgrades", "action"),
    [
        (Input(SPEC), None, False, COPY),
        (Input(SPEC), lock("2.1"), False, KEEP),
        (Input(SPEC), lock("2.0"), False, COPY),
        (Input(SPEC), lock("2.0"), True, COPY),
        (Input(SPEC), lock("2.1"), True, KEEP),
        # What is kept on the controller wins, unless the earlier share has just been upgraded.
        (Input(SPEC, kept=kept(lock("2.0"))), lock("2.0"), False, KEEP),
        (Input(SPEC, kept=kept(lock("2.0"))), lock("2.0"), True, COPY),
    ],
)
def test_a_lock_of_an_earlier_share_is_taken(given: Input, here: str | None, upgrades: bool, action: str) -> None:
    assert decide(given, here, lock("2.1"), upgrades=upgrades) == action


@pytest.mark.parametrize(
    ("upgrade", "expected"),
    [
        (Upgrade(), (False, ())),
        (Upgrade(frozenset({"all"})), (True, ())),
        (Upgrade(frozenset({"analysis"})), (True, ())),
        (Upgrade(frozenset({"other"})), (False, ())),
        (Upgrade(packages=frozenset({"INIconfig"})), (False, ("iniconfig",))),
        (Upgrade(packages=frozenset({"numpy"})), (False, ())),
        (Upgrade(frozenset({"analysis"}), frozenset({"iniconfig"})), (False, ("iniconfig",))),
        (Upgrade(frozenset({"other"}), frozenset({"iniconfig"})), (False, ())),
        (Upgrade(frozenset({"all"}), frozenset({"numpy"})), (False, ())),
    ],
)
def test_what_an_upgrade_means_for_one_environment(upgrade: Upgrade, expected: tuple[bool, tuple[str, ...]]) -> None:
    assert upgrade.of(ENV, lock()) == expected


@pytest.mark.parametrize("here", [None, "", "numpy>=2\n"])
def test_packages_of_no_lock_are_not_upgraded(here: str | None) -> None:
    assert Upgrade(packages=frozenset({"iniconfig"})).of(ENV, here) == (False, ())


@pytest.mark.parametrize("source", [{"project": "analysis"}, {"lock": "analysis.txt"}])
def test_what_is_resolved_elsewhere_is_not_upgraded(source: dict[str, str]) -> None:
    spec = EnvironmentSpec("analysis", python="3.12", **source)  # type: ignore[arg-type]
    assert Upgrade(frozenset({"all"})).of(spec, lock()) == (False, ())


def test_an_upgrade_is_a_resolution(layout: Layout) -> None:
    put(layout, lock())
    (step,) = plan(layout, [ENV], {"analysis": Input(SPEC)}, Upgrade(frozenset({"all"})))
    assert (step.action, step.upgrade, step.upgrade_packages, step.lacks) == (RESOLVE, True, (), True)


def test_the_lock_on_the_controller_is_the_one_so_far(layout: Layout) -> None:
    put(layout, lock("1.0"))
    inputs = {"analysis": Input(OTHER_SPEC, SOURCES, kept(lock("2.0")))}
    (step,) = plan(layout, [ENV], inputs, Upgrade())
    assert (step.action, step.prior) == (RESOLVE, lock("2.0"))


@pytest.mark.parametrize(
    "lacking", [Input(SPEC), Input(SPEC, kept=kept(lock(), with_text=False)), Input(OTHER_SPEC, kept=kept(lock()))]
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_lacking_is_asked_for_before_anything_is_done(lacking: Input, check_mode: bool, layout: Layout) -> None:
    inputs = {"analysis": lacking, "ready": Input(SPEC, SOURCES)}
    result = locking(layout, inputs).run(check_mode=check_mode)
    assert result == {"changed": False, "needs": ["analysis"], "locks": {}}
    assert os.listdir(layout.locks) == ["pythons.json"]


def test_nothing_to_do_takes_no_lock_and_needs_no_text(layout: Layout) -> None:
    put(layout, lock())
    result = locking(layout, {"analysis": Input(SPEC)}).run(check_mode=False)
    assert (result["changed"], result["diff"]) == (False, [])
    assert set(result["locks"]["analysis"]) == {"action", "changed", "digest", "packages_changed"}
    assert not os.path.exists(layout.mutex)


def test_the_controller_gets_the_text_it_wants(layout: Layout) -> None:
    put(layout, lock())
    result = locking(layout, {"analysis": Input(SPEC, want_text=True)}).run(check_mode=False)
    assert (result["changed"], result["locks"]["analysis"]["text"]) == (False, lock())


def test_copying(layout: Layout) -> None:
    put(layout, lock("2.0"))
    result = locking(layout, {"analysis": Input(SPEC, SOURCES, kept(lock("2.1")))}).run(check_mode=False)
    assert on_share(layout) == lock("2.1")
    assert (result["changed"], result["locks"]["analysis"]["packages_changed"]) == (True, ["iniconfig 2.0 -> 2.1"])
    assert result["diff"] == [{"prepared": "lock analysis:\n  iniconfig 2.0 -> 2.1\n"}]


@pytest.fixture
def earlier(tmp_path_factory: pytest.TempPathFactory) -> EarlierShare:
    """A share that has a newer lock than one that is resolved now would be."""
    other = Layout(str(tmp_path_factory.mktemp("earlier")))
    os.makedirs(other.locks)
    put(other, lock("2.2"))
    return EarlierShare("nas_a", other)


@pytest.mark.parametrize("upgrade", [NO_UPGRADE, Upgrade(frozenset({"all"}))])
def test_an_environment_on_two_shares_has_one_lock(layout: Layout, earlier: EarlierShare, upgrade: Upgrade) -> None:
    inputs = {"analysis": Input(SPEC, SOURCES)}
    second = dataclasses.replace(locking(layout, inputs, upgrade), earlier_shares=(earlier,))
    result = second.run(check_mode=False)
    assert (on_share(layout), result["locks"]["analysis"]["action"]) == (lock("2.2"), COPY)
    assert not second.run(check_mode=False)["changed"]


def test_a_check_of_an_upgrade_does_not_take_an_earlier_share_for_upgraded(
    layout: Layout, earlier: EarlierShare
) -> None:
    put(layout, lock("2.2"))
    upgrading = locking(layout, {"analysis": Input(SPEC, SOURCES)}, Upgrade(frozenset({"all"})))
    (fact,) = dataclasses.replace(upgrading, earlier_shares=(earlier,)).run(check_mode=True)["locks"].values()
    assert (fact["action"], fact["packages_changed"]) == (RESOLVE, ["iniconfig 2.2 -> 2.1"])


@pytest.mark.parametrize("shares", [("nas_b",), None])
def test_an_earlier_share_counts_if_the_environment_is_declared_for_it(
    layout: Layout, earlier: EarlierShare, shares: tuple[str, ...] | None
) -> None:
    spec = dataclasses.replace(ENV, shares=shares)
    (step,) = plan(layout, [spec], {"analysis": Input(SPEC, SOURCES)}, NO_UPGRADE, (earlier,))
    assert step.action == (RESOLVE if shares else COPY)


def test_an_earlier_share_whose_lock_is_of_another_declaration_does_not_count(
    layout: Layout, earlier: EarlierShare
) -> None:
    put(layout, lock("2.0", OTHER_SPEC))
    (step,) = plan(layout, [ENV], {"analysis": Input(OTHER_SPEC, SOURCES)}, NO_UPGRADE, (earlier,))
    assert step.action == KEEP


def test_a_check_of_an_upgrade_foretells_the_others_as_well(layout: Layout, earlier: EarlierShare) -> None:
    put(earlier.layout, lock("2.0", name="other"), "other")
    inputs = {"analysis": Input(SPEC, SOURCES), "other": Input(SPEC, SOURCES)}
    upgrading = locking(layout, inputs, Upgrade(frozenset({"analysis"})))
    foretold = dataclasses.replace(upgrading, earlier_shares=(earlier,)).run(check_mode=True)["locks"]
    assert {name: fact["action"] for name, fact in foretold.items()} == {"analysis": RESOLVE, "other": COPY}


def test_a_check_of_an_upgrade_begins_with_what_the_earlier_share_has(layout: Layout, earlier: EarlierShare) -> None:
    put(layout, lock("1.0"))
    inputs = {"analysis": Input(SPEC, SOURCES)}
    (step,) = plan(layout, [ENV], inputs, Upgrade(frozenset({"all"})), (earlier,), check_mode=True)
    assert (step.action, step.prior) == (RESOLVE, lock("2.2"))


@pytest.mark.parametrize("damage", [("==2.2", ">=2.2"), ("sha256:", "md5-"), ("iniconfig==2.2", "")])
def test_a_damaged_lock_of_an_earlier_share_is_not_taken(
    layout: Layout, earlier: EarlierShare, damage: tuple[str, str]
) -> None:
    put(earlier.layout, lock("2.2").replace(*damage))
    put(layout, lock("2.0"))
    second = dataclasses.replace(locking(layout, {"analysis": Input(SPEC, SOURCES)}), earlier_shares=(earlier,))
    assert not second.run(check_mode=False)["changed"]
    assert on_share(layout) == lock("2.0")


def test_an_earlier_share_that_cannot_be_read_is_no_reason_to_fail(layout: Layout, earlier: EarlierShare) -> None:
    path = Path(earlier.layout.lock("analysis"))
    path.unlink()
    path.mkdir()  # Any error will do.
    (step,) = plan(layout, [ENV], {"analysis": Input(SPEC, SOURCES)}, NO_UPGRADE, (earlier,))
    assert step.action == RESOLVE


@pytest.mark.parametrize(("mode", "count"), [(0o755, 1), (0o775, 0), (0o757, 0)])
def test_a_share_that_others_may_write_to_does_not_count(tmp_path: Path, mode: int, count: int) -> None:
    tmp_path.chmod(mode)
    params = [{"name": "nas_a", "root": str(tmp_path)}, {"name": "nas_b", "root": str(tmp_path / "none")}]
    assert len(EarlierShare.from_params(params)) == count


def test_locks_that_are_all_up_to_date_are_known_without_work(layout: Layout, earlier: EarlierShare) -> None:
    inputs = {"analysis": Input(SPEC)}
    assert current(layout, [ENV], inputs) is None
    put(layout, lock("2.0"))
    assert current(layout, [ENV], inputs) == {"analysis": locks.parse(lock("2.0"), what="it").digest}
    assert current(layout, [ENV], inputs, (earlier,)) is None
    assert current(layout, [ENV], {"analysis": Input(SPEC, want_text=True)}) is None
    put(layout, lock("2.0").replace("==2.0", ">=2.0"))
    assert current(layout, [ENV], inputs) is None


def test_resolving_then_nothing_to_do(layout: Layout) -> None:
    inputs = {"analysis": Input(SPEC, SOURCES)}
    first = locking(layout, inputs).run(check_mode=False)
    assert on_share(layout) == lock("2.1")
    assert (first["locks"]["analysis"]["action"], first["locks"]["analysis"]["versions"]) == (
        RESOLVE,
        {"iniconfig": "2.1"},
    )
    assert not locking(layout, inputs).run(check_mode=False)["changed"]


def test_an_upgrade_to_what_is_there_changes_nothing(layout: Layout) -> None:
    put(layout, lock("2.1"))
    inputs = {"analysis": Input(SPEC, SOURCES)}
    assert not locking(layout, inputs, Upgrade(frozenset({"all"}))).run(check_mode=False)["changed"]


def test_check_mode_predicts_and_writes_nothing(layout: Layout) -> None:
    inputs = {"analysis": Input(SPEC, SOURCES)}
    predicted = locking(layout, inputs).run(check_mode=True)
    assert on_share(layout) is None
    assert not os.path.exists(layout.mutex)
    assert predicted == locking(layout, inputs).run(check_mode=False)


def test_check_mode_before_there_is_a_uv(layout: Layout) -> None:
    os.unlink(layout.uv)
    result = locking(layout, {"analysis": Input(SPEC, SOURCES)}).run(check_mode=True)
    fact = {"action": RESOLVE, "changed": True, "digest": None, "packages_changed": ["not known yet"]}
    assert (result["changed"], result["locks"]) == (True, {"analysis": fact})


def test_one_that_fails_does_not_stop_the_others(layout: Layout) -> None:
    bad = Input(SPEC, Sources(requirements=(("requirements.in", "impossible==1\n"),)))
    put(layout, lock("1.0", OTHER_SPEC, "bad"), "bad")
    result = locking(layout, {"bad": bad, "analysis": Input(SPEC, SOURCES)}).run(check_mode=False)
    assert (result["failed"], list(result["locks"]), on_share(layout)) == (True, ["analysis"], lock("2.1"))
    assert result["msg"].startswith("1 of 2 environments failed to lock; the others are done\nenvironment bad:")
    assert "No solution found" in result["errors"][0]["stderr"]
    assert on_share(layout, "bad") == lock("1.0", OTHER_SPEC, "bad")


def test_a_python_that_is_not_on_the_share(layout: Layout) -> None:
    os.unlink(layout.pythons_record)
    result = locking(layout, {"analysis": Input(SPEC, SOURCES)}).run(check_mode=False)
    assert "Python 3.12 is not on this share" in result["msg"]
    assert on_share(layout) is None


def test_a_lock_that_was_damaged_is_resolved_anew(layout: Layout) -> None:
    put(layout, "iniconfig>=2\n")
    result = locking(layout, {"analysis": Input(SPEC, SOURCES)}).run(check_mode=False)
    assert (result["changed"], on_share(layout)) == (True, lock("2.1"))


def test_a_damaged_lock_that_still_says_what_it_is_does_not_stop_the_others(layout: Layout) -> None:
    put(layout, lock().replace("==2.0", ">=2.0"))
    result = locking(layout, {"analysis": Input(SPEC), "other": Input(SPEC, SOURCES)}).run(check_mode=False)
    assert "environment analysis: its lock is not a lock" in result["msg"]
    assert f"Was {layout.lock('analysis')} edited? Put it right, or remove it" in result["msg"]
    assert list(result["locks"]) == ["other"]
    os.unlink(layout.lock("analysis"))
    assert locking(layout, {"analysis": Input(SPEC, SOURCES)}).run(check_mode=False)["changed"]


def test_a_lock_that_goes_while_another_is_made_is_not_resolved_from_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(layout, lock())

    @contextlib.contextmanager
    def somebody_else_was_here(*_args: t.Any, **_more: t.Any) -> t.Iterator[None]:
        os.unlink(layout.lock("analysis"))
        yield

    monkeypatch.setattr(fs, "share_lock", somebody_else_was_here)
    result = locking(layout, {"analysis": Input(SPEC), "other": Input(SPEC, SOURCES)}).run(check_mode=False)
    assert "environment analysis: its lock changed while this was running" in result["msg"]
    assert (on_share(layout), on_share(layout, "other")) == (None, lock("2.1", name="other"))


def test_an_input_comes_through_as_plain_data() -> None:
    given = Input(SPEC, SOURCES, kept(lock()), want_text=True)
    assert Input.from_dict(dataclasses.asdict(given)) == given
    assert Input.from_dict({"spec_digest": SPEC, "sources": None, "kept": None}) == Input(SPEC)
