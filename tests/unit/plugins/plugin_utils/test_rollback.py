# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rollback on several shares: all or none, as far as they answer; and what hosts that lie make of it."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import rollback
from ansible_collections.uvnas.cluster.plugins.plugin_utils.answers import Answer

A, B, C = "a" * 12, "b" * 12, "c" * 12
SILENT = [
    {"unreachable": True, "msg": "Failed to connect"},
    {"failed": True, "not_answering": True, "msg": "share nas_b: /mnt has not answered for 30 s on this host\nhint"},
]


def seen(target: t.Any = A, was_held: t.Any = None) -> dict[str, t.Any]:
    return {"id": target, "previous_id": C, "was_held": None if was_held is None else {"id": was_held}}


def decide(*found: Answer, env: str = "train") -> tuple[str, list[str], list[str]]:
    by_share = {f"nas_{letter}": answer for letter, answer in zip("abcd", found, strict=False)}
    decision = rollback.decide(by_share, ["train", "docs"], env)
    return decision.target, list(decision.shares), list(decision.problems)


def test_all_shares_can() -> None:
    assert decide(seen()) == (A, ["nas_a"], [])
    assert decide(seen(), seen(), seen()) == (A, ["nas_a", "nas_b", "nas_c"], [])


@pytest.mark.parametrize("silent", SILENT)
def test_a_share_that_does_not_answer_is_left_out(silent: Answer) -> None:
    assert decide(seen(), silent) == (A, ["nas_a"], [])
    assert decide(silent, silent) == ("", [], ["no share answers: nas_a, nas_b"])


def test_one_share_that_cannot_stops_all() -> None:
    failed = {"failed": True, "msg": "environment train has no generation 'x' on this share\nIt has none."}
    said = "share nas_b: environment train has no generation 'x' on this share. It has none."
    assert decide(seen(), failed, {"failed": True}) == ("", [], [said, "share nas_c: failed"])


def test_shares_that_differ_need_a_word() -> None:
    each = f"{A} on nas_a; {B} on nas_b. Name one: -e uvnas_generation="
    assert decide(seen(A), seen(B)) == ("", [], [f"the generation before is not the same on all shares: {each}"])


def test_one_that_did_not_come_to_all_shares_is_finished() -> None:
    """nas_a is held at B, and would go back to A; nas_b, which did not answer then, to B."""
    assert decide(seen(A, was_held=B), seen(B)) == (B, ["nas_a", "nas_b"], [])
    assert decide(seen(B, was_held=B), seen(B)) == (B, ["nas_a", "nas_b"], [])
    # All are held: further back.
    assert decide(seen(A, was_held=B), seen(A, was_held=B))[0] == A


def test_what_was_asked_for_is_not_what_is_held() -> None:
    """Somebody names a generation, while one share is held at another one."""
    assert decide(seen(A, was_held=B), seen(A)) == (A, ["nas_a", "nas_b"], [])


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("", "name an environment with -e uvnas_env= (declared: docs, train)"),
        ("trian", "uvnas_env is 'trian', which is declared for no share of these hosts: did you mean train?"),
        ("x", "uvnas_env is 'x', which is declared for no share of these hosts (declared: docs, train)"),
    ],
)
def test_an_environment_that_nobody_has(env: str, said: str) -> None:
    assert decide(env=env) == ("", [], [said])
    assert rollback.decide({}, [], "").problems == ["name an environment with -e uvnas_env= (declared: none)"]


NONSENSE: list[t.Any] = [
    None, 5, True, "", "x", "a", "3f", "--help", "../../x", "{{ lookup('pipe', 'id') }}", "a\nb", A + "0", A.upper(),
    [], [A], {}, {"a": 1}, "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("lie", NONSENSE)
def test_what_a_host_says_does_not_go_to_others_unless_it_is_a_generation(lie: t.Any) -> None:
    """Or else it could choose, with a part of an id, what others put in force."""
    for answers in ([seen(lie)], [seen(lie), seen(lie)], [seen(A, was_held=lie), seen(B)], [seen(lie), seen(A)]):
        target, _shares, problems = decide(*answers)
        assert target in ("", A, B), answers
        assert (target == "") is bool(problems)
        assert all(problem.isprintable() for problem in problems)


def test_nonsense_breaks_nothing() -> None:
    keys = (
        "failed",
        "unreachable",
        "not_answering",
        "msg",
        "id",
        "previous_id",
        "held",
        "was_held",
        "packages_changed",
    )
    for key, value in itertools.product(keys, NONSENSE):
        answer = {**seen(), "held": {"id": A, "reason": value}, key: value}
        decide(answer, seen())
        told = [line for lines in rollback.lines({"nas_a": answer}, "train") for line in lines]
        assert len(told) == 1
        assert all(line.isprintable() for line in told)


def done(**more: t.Any) -> dict[str, t.Any]:
    changed = ["six 1.16 -> 1.15", "mdurl 0.1 (removed)"]
    held = {"id": A, "reason": "too slow"}
    return {"id": A, "previous_id": B, "held": held, "was_held": None, "packages_changed": changed, **more}


@pytest.mark.parametrize(
    ("answer", "ok", "said"),
    [
        (done(), True, f"{B} -> {A}  six 1.16 -> 1.15, -1; held: too slow"),
        (done(held={"id": A, "reason": ""}), True, f"{B} -> {A}  six 1.16 -> 1.15, -1; held"),
        (done(previous_id=A), True, f"{A} stays in force; held: too slow"),
        (done(held=None, was_held={"id": A}), True, f"released {A}; site.yml publishes what is declared"),
        (done(held=None), True, "not held"),
        (SILENT[0], False, "NOT DONE: Failed to connect. Run this again when it does."),
        ({"unreachable": True}, False, "NOT DONE: its builder does not answer. Run this again when it does."),
        ({"failed": True, "msg": "it is full\nFree some."}, False, "NOT DONE: it is full. Free some."),
        ({"failed": True}, False, "NOT DONE: failed"),
    ],
)
def test_what_was_done(answer: Answer, ok: bool, said: str) -> None:
    line = f"nas_a: train  {said}"
    assert rollback.lines({"nas_a": answer}, "train") == (([line], []) if ok else ([], [line]))


def test_answers_by_share() -> None:
    results = [{"id": A, "__uvnas_share": {"name": "nas_a"}}, {"id": B, "__uvnas_share": {"name": "forged"}}]
    hostvars: dict[str, dict[str, t.Any]] = {"dev1": {rollback.SEEN: {"results": results}}, "dev2": {}}
    found = rollback.by_share(hostvars, rollback.SEEN, {"dev1": ["nas_a"], "dev2": ["nas_b"]})
    assert found == {"nas_a": results[0], "nas_b": {"unreachable": True}}


def test_the_shares_that_a_host_builds_for_an_environment() -> None:
    todo = {
        "shares": [
            {"name": "nas_a", "environments": ["train"]},
            {"name": "nas_b", "environments": ["docs"]},
            {"name": "nas_c", "environments": ["train"]},
        ],
        "builds": [{"name": "nas_a"}, {"name": "nas_b"}],
    }
    assert rollback.declaring(todo, "train") == [{"name": "nas_a"}]
    assert rollback.declaring(todo, "") == []
