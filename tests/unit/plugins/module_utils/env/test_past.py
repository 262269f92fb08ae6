# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations from before are found by the beginning of their id, and what is needed to build one again is named."""

from __future__ import annotations

import dataclasses
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import past
from ansible_collections.uvnas.cluster.plugins.module_utils.env.plan import Ingredients
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.manifest import Python
from ansible_collections.uvnas.cluster.plugins.module_utils.share.standing import Past, Standing
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.shares import KEY

LOCK = "iniconfig==2.1 \\\n    --hash=sha256:" + "2" * 64 + "\n"
DIGEST = "abbdbd05a3325d86ec016d3cb4215e03da97ad95c7fc275d8e20e963044874b3"
SPEC = EnvironmentSpec("train", python="3.13", requirements=("six",), imports=("six",), checks=("true",), hold="3f0c")
OPTIONS = EnvironmentSpec("train", no_binary=("iniconfig",), glibc="2.28").build_options()
ID = Ingredients(DIGEST, KEY, "1" * 64, OPTIONS).generation_id
PAST = Past("2026-01-31T12:01:00+00:00", DIGEST, Python(KEY, "3.12.4", "1" * 64), OPTIONS, "2026-02-28T12:01:00+00:00")
KNOWN = Standing(generations={ID: PAST})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A share that has what it takes to build a generation again."""
    found = Layout(str(shares.make_share(tmp_path)))
    shares.add_interpreter(tmp_path)
    os.mkdir(found.lock_history)
    Path(found.kept_lock(DIGEST)).write_text(LOCK, encoding="utf-8")
    return found


def recorded(*ids: str) -> Standing:
    return Standing(generations={each: dataclasses.replace(PAST, published=PAST.published) for each in ids})


def test_one_is_found_by_its_beginning(layout: Layout) -> None:
    shares.add_generation(Path(layout.root), "train", "3f0c00000000")
    os.makedirs(layout.generation("train", "3f0d00000000"))  # Not complete.
    known = recorded("91be00000000", "3e0000000000")
    for beginning, found in (("3f", "3f0c00000000"), ("9", "91be00000000"), ("3e0000000000", "3e0000000000")):
        assert past.find(layout, "train", beginning, known) == found


def test_several_are_named(layout: Layout) -> None:
    shares.add_generation(Path(layout.root), "train", "3f0c00000000")
    with pytest.raises(UvnasError, match="several generations begin with '3f': 3f0c00000000, 3f0d00000000$") as raised:
        past.find(layout, "train", "3f", recorded("3f0d00000000", "91be00000000"))
    assert raised.value.hint == "Give more of its id."


@pytest.mark.parametrize("beginning", ["4", "3f0c000000000", "", "../..", "*", "Größe"])
def test_none_is_an_error_that_names_the_latest(layout: Layout, beginning: str) -> None:
    shares.add_generation(Path(layout.root), "train", "3f0c00000000")
    ids = [f"{number}00000000000" for number in range(8, 1, -1) if number != 4]
    times = {each: f"2026-01-31T12:0{number}:00+00:00" for number, each in enumerate(reversed(ids))}
    known = {each: dataclasses.replace(PAST, published=time) for each, time in times.items()}
    with pytest.raises(UvnasError, match="train has no generation") as raised:
        past.find(layout, "train", beginning, Standing(generations=known))
    latest = ", ".join(ids[:5])
    assert raised.value.hint == f"It has {latest}, and earlier ones. See uvnas.cluster.history."


def test_an_environment_without_any(layout: Layout) -> None:
    with pytest.raises(UvnasError, match="environment train has no generation '3f' on this share") as raised:
        past.find(layout, "train", "3f", Standing())
    assert raised.value.hint == "It has none. See uvnas.cluster.history."


def test_one_that_is_about_to_be_built_counts_too(layout: Layout) -> None:
    assert past.find(layout, "train", "3f", Standing(), to_be_built="3f0c00000000") == "3f0c00000000"
    with pytest.raises(UvnasError, match="several"):
        past.find(layout, "train", "3f", recorded("3f0d00000000"), to_be_built="3f0c00000000")


def test_credentials_are_not_said(layout: Layout) -> None:
    with pytest.raises(UvnasError, match="no generation") as raised:
        past.find(layout, "train", "https://alice:s3cret@x/", Standing())
    assert "s3cret" not in str(raised.value)


def test_what_it_takes_to_build_one_again(layout: Layout) -> None:
    found = past.again(layout, SPEC, ID, KNOWN)
    assert found.ingredients.generation_id == ID
    assert (found.lock.text, found.lock.lock.digest) == (LOCK, DIGEST)
    assert (found.interpreter.key, found.spec.python) == (KEY, "3.12.4")
    assert found.spec.build_options() == OPTIONS
    # No tests: what is declared by now is about another one.
    assert (found.spec.imports, found.spec.checks, found.spec.hold) == ((), (), None)
    past.check(layout, "train", ID, KNOWN)


def test_options_come_from_the_record_and_not_from_the_declaration(layout: Layout) -> None:
    spec = dataclasses.replace(SPEC, glibc="2.17", no_binary=("six",), system_site_packages=True)
    assert past.again(layout, spec, ID, KNOWN).spec.build_options() == OPTIONS


def change(**more: t.Any) -> t.Callable[[Layout], Standing]:
    return lambda _layout: Standing(generations={ID: dataclasses.replace(PAST, **more)})


def lock_gone(layout: Layout) -> Standing:
    os.unlink(layout.kept_lock(DIGEST))
    return KNOWN


def lock_changed(layout: Layout) -> Standing:
    Path(layout.kept_lock(DIGEST)).write_text(LOCK.replace("2.1", "2.2"), encoding="utf-8")
    return KNOWN


def lock_damaged(layout: Layout) -> Standing:
    Path(layout.kept_lock(DIGEST)).write_bytes(b"\xff\0")
    return KNOWN


def interpreter_gone(layout: Layout) -> Standing:
    shares.add_interpreter(Path(layout.root), key="cpython-3.12.5-linux-x86_64-gnu", version="3.12.5")
    return KNOWN


def interpreter_unfinished(layout: Layout) -> Standing:
    shares.add_interpreter(Path(layout.root), unfinished=True)
    return KNOWN


def another_interpreter(layout: Layout) -> Standing:
    shares.add_interpreter(Path(layout.root), digest="9" * 64)
    return KNOWN


MISSING: dict[str, tuple[t.Callable[[Layout], Standing], str]] = {
    "no record": (lambda _layout: Standing(), "what it was made of is not on record"),
    "its lock": (lock_gone, f"its lock is gone: .*/locks/history/{DIGEST}.txt"),
    "its lock as it was": (lock_changed, "somebody has changed its lock"),
    "a lock that is none": (lock_damaged, f"the lock .*/locks/history/{DIGEST}.txt"),
    "its interpreter": (interpreter_gone, f"its interpreter {KEY} is not on this share"),
    "all of its interpreter": (interpreter_unfinished, f"its interpreter {KEY} is not on this share"),
    "its interpreter as it was": (another_interpreter, f"its interpreter {KEY} is not on this share"),
    "its options": (change(options={}), "it was built by a release of uvnas.cluster that builds otherwise"),
    "an option that is known": (change(options={**OPTIONS, "x": 1}), "builds otherwise"),
}


@pytest.mark.parametrize(("damage", "said"), MISSING.values(), ids=MISSING)
def test_what_cannot_be_had_is_named(layout: Layout, damage: t.Callable[[Layout], Standing], said: str) -> None:
    known = damage(layout)
    with pytest.raises(UvnasError, match=said):
        past.check(layout, "train", ID, known)


def test_options_of_a_later_release(layout: Layout) -> None:
    """Its id fits, but this release does not know what they mean."""
    options = {**OPTIONS, "no_such_option": True}
    generation_id = Ingredients(DIGEST, KEY, "1" * 64, options).generation_id
    known = Standing(generations={generation_id: dataclasses.replace(PAST, options=options)})
    with pytest.raises(UvnasError, match=r"its options are damaged in .*train\.state\.json"):
        past.check(layout, "train", generation_id, known)


def test_packages_by_the_manifest_or_else_by_the_lock(layout: Layout) -> None:
    assert past.versions(layout, "train", ID) is None
    shares.write_json(Path(layout.standing("train")), KNOWN.as_dict())
    assert past.versions(layout, "train", ID) == {"iniconfig": "2.1"}
    shares.add_generation(Path(layout.root), "train", ID, packages={"iniconfig": "2.1", "pip": "25"})
    assert past.versions(layout, "train", ID) == {"iniconfig": "2.1", "pip": "25"}
    Path(layout.standing("train")).write_text("{}", encoding="utf-8")
    assert past.versions(layout, "train", "0" * 12) is None
