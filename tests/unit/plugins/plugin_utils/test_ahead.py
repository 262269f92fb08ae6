# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked ahead, and which answers count: all of a host's or none, to just what was asked, and nothing else."""

from __future__ import annotations

import copy
import datetime
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import ahead

VERSION = {"version": "0.13.9"}
PYTHON = {"pythons": ["3.12"], "earlier_shares": []}
ANSWER = {"changed": False, "version": "0.13.9", "previous_version": "0.13.9", "executable": "/x/uv", "actions": []}


def task_vars(answers: t.Mapping[str, t.Any], **questions: t.Any) -> dict[str, t.Any]:
    """What is known when a host that builds the shares in ``answers`` has answered."""
    asked = {name: {"uv_binary": VERSION, "uv_python": PYTHON} for name in answers}
    return {
        "inventory_hostname": "dev1",
        "__uvnas_declared": {"hosts": {"node1": 0, "dev1": 1}, "work": [{}, {"ahead": {**asked, **questions}}]},
        "__uvnas_shares_done": {
            "results": [{"__uvnas_share": {"name": name}, "ahead": answer} for name, answer in answers.items()]
        },
    }


@pytest.fixture
def known() -> dict[str, t.Any]:
    both = {"uv_binary": ANSWER, "uv_python": {"pythons": {}}}
    return task_vars({"nas_a": copy.deepcopy(both), "nas_b": copy.deepcopy(both)})


def test_what_was_asked_is_answered(known: dict[str, t.Any]) -> None:
    assert ahead.answer(known, "uv_binary", {**VERSION, "source": "index"}, "nas_b") == ANSWER


@pytest.mark.parametrize(
    ("module", "told"),
    [("uv_binary", {"version": "0.13.10"}), ("uv_python", {"pythons": ["3.12", "3.13"]}), ("uv_env", {})],
)
def test_who_is_told_something_else_runs(module: str, told: dict[str, t.Any], known: dict[str, t.Any]) -> None:
    assert ahead.answer(known, module, told, "nas_a") is None


def test_tuples_are_lists(known: dict[str, t.Any]) -> None:
    assert ahead.answer(known, "uv_python", {"pythons": ("3.12",)}, "nas_a") is not None


def test_a_value_of_any_type_is_compared(known: dict[str, t.Any]) -> None:
    """YAML has dates."""
    assert ahead.answer(known, "uv_binary", {"version": datetime.date(2026, 1, 1)}, "nas_a") is None


@pytest.mark.parametrize(
    "answers",
    [
        None,
        {},
        "all of it",
        [ANSWER],
        {"uv_binary": ANSWER},
        {"uv_binary": ANSWER, "uv_python": {"pythons": {}}, "uv_env": {"environments": []}},
    ],
)
def test_it_is_everything_on_every_share_or_nothing(answers: t.Any, known: dict[str, t.Any]) -> None:
    known["__uvnas_shares_done"]["results"][1]["ahead"] = answers
    assert ahead.answer(known, "uv_binary", VERSION, "nas_a") is None


def test_a_share_that_has_failed_answers_nothing(known: dict[str, t.Any]) -> None:
    del known["__uvnas_shares_done"]["results"][1]
    assert ahead.answer(known, "uv_binary", VERSION, "nas_a") is None


@pytest.mark.parametrize("name", ["__uvnas_declared", "__uvnas_shares_done", "inventory_hostname"])
def test_nothing_is_known_where_nothing_was_asked(name: str, known: dict[str, t.Any]) -> None:
    del known[name]
    assert ahead.answer(known, "uv_binary", VERSION, "nas_a") is None
    assert ahead.answer(None, "uv_binary", VERSION, "nas_a") is None


def test_other_declarations_that_ask_nothing_forget_the_answers(known: dict[str, t.Any]) -> None:
    """As of a role that somebody runs by itself afterwards, or of verify.yml."""
    known["__uvnas_declared"] = {"hosts": {"dev1": 0}, "work": [{"ahead": {}, "builds": [{"name": "nas_a"}]}]}
    assert ahead.answer(known, "uv_binary", VERSION, "nas_a") is None


def test_a_host_that_lies_says_no_more_than_its_modules(known: dict[str, t.Any]) -> None:
    lies = {
        "changed": True,
        "failed": True,
        "add_host": {"host_name": "evil"},
        "ansible_facts": {"ansible_connection": "local"},
        "_ansible_delegated_vars": {},
        "warnings": [{"not": "text"}, "seen"],
    }
    known["__uvnas_shares_done"]["results"][0]["ahead"]["uv_binary"] = {**ANSWER, **lies}
    assert ahead.answer(known, "uv_binary", VERSION, "nas_a") == {**ANSWER, "warnings": ["seen"]}


def test_answers_that_are_none_are_nothing(known: dict[str, t.Any]) -> None:
    known["__uvnas_shares_done"]["results"][0]["ahead"]["uv_binary"] = ["text"]
    assert ahead.answer(known, "uv_binary", VERSION, "nas_a") == {"changed": False}


# What is asked

VALUES: dict[str, t.Any] = {"uvnas_upgrade": [], "uvnas_upgrade_packages": [], "uvnas_upgrade_pythons": []}


@pytest.mark.parametrize(
    ("tags", "more", "worth"),
    [
        (["all"], {}, True),
        (["tagged"], {}, True),
        (["share", "envs"], {}, True),
        (["envs"], {}, False),
        ([], {}, False),
        (["all"], {"uvnas_upgrade": ["train"]}, False),
        (["all"], {"uvnas_upgrade_packages": ["numpy"]}, False),
        (["all"], {"uvnas_upgrade_pythons": ["3.12"]}, False),
    ],
)
def test_when_something_is_asked(tags: list[str], more: dict[str, t.Any], worth: bool) -> None:
    assert ahead.are_worth_asking({**VALUES, **more}, tags) is worth
