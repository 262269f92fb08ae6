# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which locks stay, which are copied, which are resolved."""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import LockText
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.plan import (
    COPY,
    KEEP,
    RESOLVE,
    Input,
    Kept,
    Upgrade,
    decide,
    digests,
    plan,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.tests.support import shares

SPEC = "5" * 64
OTHER_SPEC = "6" * 64
# Of what is in lock("2.0"), however it is written.
LOCKED = "b1a6020f4cdabf23e50d0fea622b12933d8cfe38f51b129e01043e35470943b0"
NO_UPGRADE = Upgrade()
ENV = EnvironmentSpec("analysis", python="3.12", requirements=("iniconfig",))
SOURCES = Sources(requirements=(("requirements.in", "iniconfig\n"),))


def entry(name: str, version: str) -> str:
    return f"{name}=={version} \\\n    --hash=sha256:{version.replace('.', '') * 8}\n"


def lock(version: str = "2.0", spec: str = SPEC, name: str = "analysis") -> str:
    header = json.dumps({"environment": name, "format": 1, "python": "3.12", "spec": spec})
    return f"# uvnas.cluster lock: {header}\n{entry('iniconfig', version)}"


def kept(text: str, spec: str | None = SPEC, *, with_text: bool = True) -> Kept:
    return Kept(LockText(text).digest, spec, LockText(text) if with_text else None)


def text(content: str | None) -> LockText | None:
    return None if content is None else LockText(content)


def put(layout: Layout, text: str, name: str = "analysis") -> None:
    shares.add_lock(Path(layout.root), name, text)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(shares.make_share(tmp_path)))


@pytest.fixture
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Share:
    """A share that has a newer lock than one resolved now would be."""
    other = Layout(str(tmp_path_factory.mktemp("earlier")))
    os.makedirs(other.locks)
    put(other, lock("2.2"))
    return Share("nas_a", other)


def current(layout: Layout, inputs: t.Mapping[str, Input], earlier: t.Sequence[Share] = ()) -> dict[str, str] | None:
    """The digests of locks that are all up to date."""
    return digests(plan(layout, [ENV], inputs, NO_UPGRADE, earlier))


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
    assert decide(given, text(here)) == action


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
    assert decide(given, text(here), text(lock("2.1")), upgrades=upgrades) == action


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
    assert upgrade.of(ENV, text(lock())) == expected


@pytest.mark.parametrize("here", [None, "", "numpy>=2\n"])
def test_packages_of_no_lock_are_not_upgraded(here: str | None) -> None:
    assert Upgrade(packages=frozenset({"iniconfig"})).of(ENV, text(here)) == (False, ())


@pytest.mark.parametrize("source", [{"project": "analysis"}, {"lock": "analysis.txt"}])
def test_what_is_resolved_elsewhere_is_not_upgraded(source: dict[str, str]) -> None:
    spec = EnvironmentSpec("analysis", python="3.12", **source)  # type: ignore[arg-type]
    assert Upgrade(frozenset({"all"})).of(spec, text(lock())) == (False, ())


def test_an_upgrade_is_a_resolution(layout: Layout) -> None:
    put(layout, lock())
    (step,) = plan(layout, [ENV], {"analysis": Input(SPEC)}, Upgrade(frozenset({"all"})))
    assert (step.action, step.upgrade, step.upgrade_packages, step.lacks) == (RESOLVE, True, (), True)


def test_the_lock_on_the_controller_is_the_one_so_far(layout: Layout) -> None:
    put(layout, lock("1.0"))
    inputs = {"analysis": Input(OTHER_SPEC, SOURCES, kept(lock("2.0")))}
    (step,) = plan(layout, [ENV], inputs, Upgrade())
    assert (step.action, step.prior and step.prior.text) == (RESOLVE, lock("2.0"))


@pytest.mark.parametrize("shares", [("nas_b",), None])
def test_an_earlier_share_counts_if_the_environment_is_declared_for_it(
    layout: Layout, earlier: Share, shares: tuple[str, ...] | None
) -> None:
    spec = dataclasses.replace(ENV, shares=shares)
    (step,) = plan(layout, [spec], {"analysis": Input(SPEC, SOURCES)}, NO_UPGRADE, (earlier,))
    assert step.action == (RESOLVE if shares else COPY)


def test_an_earlier_share_whose_lock_is_of_another_declaration_does_not_count(layout: Layout, earlier: Share) -> None:
    put(layout, lock("2.0", OTHER_SPEC))
    (step,) = plan(layout, [ENV], {"analysis": Input(OTHER_SPEC, SOURCES)}, NO_UPGRADE, (earlier,))
    assert step.action == KEEP


def test_a_check_of_an_upgrade_begins_with_what_the_earlier_share_has(layout: Layout, earlier: Share) -> None:
    put(layout, lock("1.0"))
    inputs = {"analysis": Input(SPEC, SOURCES)}
    (step,) = plan(layout, [ENV], inputs, Upgrade(frozenset({"all"})), (earlier,), check_mode=True)
    assert (step.action, step.prior and step.prior.text) == (RESOLVE, lock("2.2"))


def test_an_earlier_share_that_cannot_be_read_does_not_matter(layout: Layout, earlier: Share) -> None:
    path = Path(earlier.layout.lock("analysis"))
    path.unlink()
    path.mkdir()  # Any error will do.
    (step,) = plan(layout, [ENV], {"analysis": Input(SPEC, SOURCES)}, NO_UPGRADE, (earlier,))
    assert step.action == RESOLVE


def test_locks_that_are_all_up_to_date_are_known_without_work(layout: Layout, earlier: Share) -> None:
    inputs = {"analysis": Input(SPEC)}
    assert current(layout, inputs) is None
    put(layout, lock("2.0"))
    assert current(layout, inputs) == {"analysis": LOCKED}
    assert current(layout, inputs, (earlier,)) is None
    assert current(layout, {"analysis": Input(SPEC, want_text=True)}) is None
    put(layout, lock("2.0").replace("==2.0", ">=2.0"))
    assert current(layout, inputs) is None


def test_an_input_comes_through_as_plain_data() -> None:
    given = Input(SPEC, SOURCES, kept(lock()), want_text=True)
    through = Input.from_dict(given.as_dict(with_texts=True), "analysis")
    assert through.kept is not None
    assert through.kept.text is not None
    assert through.kept.text.text == lock()
    assert dataclasses.replace(through, kept=given.kept) == given
    assert Input.from_dict({"spec_digest": SPEC, "sources": None, "kept": None}, "analysis") == Input(SPEC)


def test_texts_are_sent_to_those_who_need_them() -> None:
    told = Input(SPEC, SOURCES, kept(lock())).as_dict(with_texts=False)
    digests = {"text_digest": LockText(lock()).digest, "spec_digest": SPEC, "text": None}
    assert told == {"spec_digest": SPEC, "sources": None, "kept": digests, "want_text": False}
