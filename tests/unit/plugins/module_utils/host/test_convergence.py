# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thing to converge that has one number, and notes all that is asked of it."""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import ShareBusyError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex
from ansible_collections.uvnas.cluster.plugins.module_utils.host.convergence import Convergence
from ansible_collections.uvnas.cluster.plugins.module_utils.host.removal import IN_USE, Leftover, Obstacle
from ansible_collections.uvnas.cluster.tests.support.processes import other_process

HOLD = f"""
from {mutex.__name__} import hold
with hold(sys.argv[1], timeout=0, purpose="holding"):
    print("ready", flush=True)
    sys.stdin.read()
"""


@dataclasses.dataclass
class Number(Convergence[tuple[int, int], int]):
    """A number that is to be ``wanted``. A plan is what it is, and what it is to be."""

    path: Path
    wanted: int
    found: int = 0
    check_mode: bool = False
    # What somebody else makes of it before it is our turn.
    meanwhile: int | None = None
    answer: dict[str, t.Any] | None = None
    error: UvnasError | None = None
    # After so many looks this is not the place for it.
    place: int = 9
    # What each sweep cannot remove.
    left: list[list[Leftover]] = dataclasses.field(default_factory=lambda: [[], []])
    calls: list[str] = dataclasses.field(default_factory=list)
    # Who held the mutex when it was done.
    by: str = ""

    @property
    def mutex(self) -> str:
        return str(self.path / ".mutex")

    def note(self, call: str) -> None:
        self.calls.append(f"{call}, with the mutex" if '"pid"' in self.holder() else call)

    def holder(self) -> str:
        """Who holds the mutex; nobody without a file."""
        return Path(self.mutex).read_text().strip() if Path(self.mutex).exists() else ""

    def check_place(self) -> None:
        self.note("place")
        self.place -= 1
        if self.place < 0:
            raise UvnasError("another NAS is mounted there")

    def sweep(self) -> list[Leftover]:
        self.note("sweep")
        if self.meanwhile is not None:
            self.found = self.meanwhile
        return self.left.pop(0)

    def plan(self) -> tuple[int, int]:
        self.note("plan")
        return self.found, self.wanted

    def changes(self, plan: tuple[int, int]) -> bool:
        return plan[0] != plan[1]

    def obstacle(self, plan: tuple[int, int]) -> dict[str, t.Any] | None:
        self.note(f"obstacle to {plan[0]} -> {plan[1]}")
        if self.error is not None:
            raise self.error
        return self.answer

    def do(self, plan: tuple[int, int]) -> int:
        self.note("do")
        self.by = self.holder()
        self.found = plan[1]
        return 1

    def report(self, plan: tuple[int, int], done: int | None) -> dict[str, t.Any]:
        return {"changed": self.changes(plan), "from": plan[0], "to": plan[1], "done": done}

    def run(self) -> dict[str, t.Any]:
        return self.converge(purpose="counting", busy_timeout=0)


def test_it_is_planned_anew_with_the_mutex_after_a_sweep(tmp_path: Path) -> None:
    number = Number(tmp_path, 2)
    assert number.run() == {"changed": True, "from": 0, "to": 2, "done": 1}
    assert number.calls == [
        "place",
        "plan",
        "obstacle to 0 -> 2",
        "place, with the mutex",
        "sweep, with the mutex",
        "plan, with the mutex",
        "do, with the mutex",
        "sweep, with the mutex",
    ]
    assert '"purpose": "counting"' in number.by
    assert number.holder() == ""


@pytest.mark.parametrize(("looks", "made"), [(0, []), (1, [".mutex"])])
def test_nothing_is_done_in_another_place(tmp_path: Path, looks: int, made: list[str]) -> None:
    """Nor is a mutex made there; and what is mounted may change while this waits for the mutex."""
    number = Number(tmp_path, 2, place=looks)
    with pytest.raises(UvnasError, match="another NAS is mounted there"):
        number.run()
    assert number.found == 0
    assert not any(call.startswith(("sweep", "do")) for call in number.calls)
    assert os.listdir(tmp_path) == made


def test_what_could_not_be_removed_is_told_once(tmp_path: Path) -> None:
    """Of the second sweep, which knows what this run could not remove, and what has become removable."""
    obstacle = Obstacle(IN_USE, str(tmp_path / "x"), "Device or resource busy", 1)
    first, second = (Leftover(str(tmp_path / name), (obstacle,), "a number") for name in ("1", "2"))
    result = Number(tmp_path, 2, left=[[first], [second]]).run()
    assert [each["path"] for each in result["left"]] == [second.path]
    assert json.loads(json.dumps(result["left"])) == [
        {**dataclasses.asdict(second), "obstacles": [dataclasses.asdict(obstacle)], "real": second.path}
    ]


def test_what_was_done_meanwhile_counts(tmp_path: Path) -> None:
    number = Number(tmp_path, 2, meanwhile=1)
    assert number.run() == {"changed": True, "from": 1, "to": 2, "done": 1}
    number = Number(tmp_path, 2, meanwhile=2)
    assert number.run() == {"changed": False, "from": 2, "to": 2, "done": 1}


def test_what_came_in_the_way_meanwhile_counts_too(tmp_path: Path) -> None:
    number = Number(tmp_path, 2, meanwhile=1)

    def obstacle(plan: tuple[int, int]) -> dict[str, t.Any] | None:
        return {"changed": False, "needed": "one"} if plan[0] == 1 else None

    number.obstacle = obstacle  # type: ignore[method-assign]
    assert number.run() == {"changed": False, "needed": "one"}
    assert number.found == 1
    assert "do, with the mutex" not in number.calls


def test_a_check_makes_the_same_plan_and_takes_no_mutex(tmp_path: Path) -> None:
    number = Number(tmp_path, 2, check_mode=True)
    assert number.run() == {"changed": True, "from": 0, "to": 2, "done": None}
    assert number.calls == ["place", "plan", "obstacle to 0 -> 2"]
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_do_takes_no_mutex(tmp_path: Path) -> None:
    number = Number(tmp_path, 2, found=2)
    assert number.run() == {"changed": False, "from": 2, "to": 2, "done": None}
    assert number.calls == ["place", "plan", "obstacle to 2 -> 2"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_obstacles_answer_ends_it(tmp_path: Path, check_mode: bool) -> None:
    number = Number(tmp_path, 2, check_mode=check_mode, answer={"changed": True, "needed": "something"})
    assert number.run() == {"changed": True, "needed": "something"}
    number = Number(tmp_path, 2, check_mode=check_mode, error=UvnasError("it cannot be"))
    with pytest.raises(UvnasError, match="it cannot be"):
        number.run()
    assert number.found == 0
    assert len(number.calls) == 3
    assert list(tmp_path.iterdir()) == []


def test_somebody_else_at_work_matters_only_to_those_who_have_something_to_do(tmp_path: Path) -> None:
    number, content, check = Number(tmp_path, 2), Number(tmp_path, 0), Number(tmp_path, 2, check_mode=True)
    with other_process(HOLD, number.mutex) as holder:
        with pytest.raises(ShareBusyError, match=rf"pid {holder.pid}, since \S+ \(holding\)"):
            number.run()
        assert number.found == 0
        assert check.run()["changed"]
        assert not content.run()["changed"]


def test_the_mutex_is_given_back_whatever_happens(tmp_path: Path) -> None:
    number = Number(tmp_path, 2)
    number.do = int  # type: ignore[assignment]  # It takes no plan.
    with pytest.raises(TypeError):
        number.run()
    with other_process(HOLD, number.mutex):
        pass
