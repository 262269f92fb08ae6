# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the packages to upgrade some lock has, and what is reported if none does."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.filter.not_upgraded import FilterModule
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import upgrades
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import LockText
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.plan import KEEP, Input, Step, Upgrade
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.plugin_utils.upgrades import not_upgraded

HASH = "--hash=sha256:" + "0" * 64


def step(env: str, *packages: str, **fields: t.Any) -> Step:
    """An environment whose lock on the share has these packages; or none, without any."""
    declared = fields if fields else {"requirements": ("x",)}
    spec = EnvironmentSpec(env, python="3.12", **declared)
    text = LockText("".join(f"{package}==1.0 {HASH}\n" for package in packages)) if packages else None
    return Step(spec, Input("5" * 64), text, KEEP)


STEPS = (
    step("train", "numpy", "scikit-learn"),
    step("legacy", "numpy", "six"),
    step("project-x", "torch", "six", project="projects/x"),
    step("vendor", "cupy", lock="files/vendor.txt"),
)


def said(*packages: str, steps: t.Sequence[Step] = STEPS, environments: t.Sequence[str] = ()) -> list[str]:
    upgrade = Upgrade(frozenset(environments), frozenset(packages))
    return not_upgraded([upgrades.found(upgrade, steps)])


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("numpyy", "numpyy cannot be upgraded: no lock has it. Did you mean numpy?"),
        ("numpy==2.3", "numpy==2.3 cannot be upgraded: no lock has it. Did you mean numpy?"),
        ("zope", "zope cannot be upgraded: no lock has it."),
        (
            "torch",
            (
                "torch cannot be upgraded: only environments with a project or a ready-made lock have it (project-x). "
                "Change its uv.lock, or the file, and run again."
            ),
        ),
    ],
)
def test_what_no_lock_has(package: str, line: str) -> None:
    assert said(package) == [line]


@pytest.mark.parametrize("package", ["numpy", "Scikit_Learn", "scikit.learn", "six"])
def test_what_some_lock_has(package: str) -> None:
    assert said(package) == []


def test_only_the_environments_that_are_named_count() -> None:
    assert said("six", environments=["train"]) == [
        "six cannot be upgraded: only the locks of legacy, project-x have it, and uvnas_upgrade names none of them."
    ]
    assert said("six", environments=["all"]) == []
    assert said("numpyy", "six", environments=["legacy"]) == [said("numpyy")[0]]


def test_what_will_be_in_a_lock_counts_and_what_is_not_known_may_have_it() -> None:
    upgrade = Upgrade(frozenset(), frozenset({"numpyy"}))
    new = [*STEPS, step("new")]
    assert not_upgraded([upgrades.found(upgrade, new)]) == []
    assert not_upgraded([upgrades.found(upgrade, new, {"new": {"six"}})]) == said("numpyy")
    assert not_upgraded([upgrades.found(upgrade, new, {"new": {"numpyy"}})]) == []


def test_nobody_pays_for_it_without_a_package() -> None:
    assert upgrades.found(Upgrade(frozenset({"all"})), STEPS) == {}


def test_all_shares_count() -> None:
    upgrade = Upgrade(frozenset(), frozenset({"numpy", "sixx"}))
    one, other = (upgrades.found(upgrade, [each]) for each in (STEPS[1], STEPS[3]))
    work = [{"builds": [{"name": "nas_a"}]}, {"builds": [{"name": "nas_b"}]}, {"builds": []}]
    declared = {"work": work, "hosts": {"dev1": 0, "dev2": 1, "node1": 2}}

    def ask(**answers: t.Any) -> list[str]:
        hostvars = {
            host: {
                "__uvnas_declared": declared,
                **({"__uvnas_envs_done": {"results": [answers[host]]}} if host in answers else {}),
            }
            for host in declared["hosts"]
        }
        found: list[str] = FilterModule().filters()["not_upgraded"](hostvars, ["dev1", "dev2", "node1"])
        return found

    first = {"__uvnas_share": {"name": "nas_a"}, "upgrade_packages": other}
    second = {"__uvnas_share": {"name": "nas_b"}, "upgrade_packages": one}
    assert ask(dev1=first, dev2=second) == ["sixx cannot be upgraded: no lock has it. Did you mean six?"]
    # One that failed before it could say, or is down.
    assert ask(dev1=first, dev2={"__uvnas_share": {"name": "nas_b"}, "failed": True}) == []
    assert ask(dev1=first) == []


@pytest.mark.parametrize("nonsense", [None, 1, "numpy", [], {"numpy": None}, {"numpy": {"environments": 1}}])
def test_hosts_may_answer_nonsense(nonsense: t.Any) -> None:
    assert not_upgraded([nonsense]) == []
