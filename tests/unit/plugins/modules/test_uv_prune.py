# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_prune, from its arguments to its result, on real files."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.share import journal as journals
from ansible_collections.uvnas.cluster.plugins.modules import uv_prune
from ansible_collections.uvnas.cluster.tests.unit import old_share
from ansible_collections.uvnas.cluster.tests.unit.old_share import HELD, IN_FORCE, LAST, MAY_GO, OLD, OldShare

SECRET = "s3cret"
ENVS = [{"name": "train", "python": "3.12", "requirements": ["iniconfig"]}]


@pytest.fixture
def share(tmp_path: Path) -> OldShare:
    """Its uv is a program that says what it was asked."""
    made = old_share.make(tmp_path / "uv")
    program = made.path("lib", "uv", "0.13.9", "uv")
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    return made


@pytest.fixture
def run(share: OldShare, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(stage: str, *, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        given = {
            "share": share.layout.root, "share_name": "nas_a", "environments": ENVS, "pythons": ["3.12"],
            "keep": {"generations": 1}, "stage": stage, **more,
        }  # fmt: skip
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit) as ended:
            uv_prune.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


def named(items: t.Iterable[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """As the controller sends them back."""
    return [{"kind": item["kind"], "name": item["name"]} for item in items]


def test_all_steps(run: Run, share: OldShare, tmp_path: Path) -> None:
    seen = run("look", measure=True)
    assert {(item["kind"], item["name"]) for item in seen["candidates"]} == MAY_GO
    assert (seen["changed"], seen["in_force"]) == (False, {"train": [IN_FORCE, HELD]})
    assert seen["freed"]["inodes"] > 0
    assert seen["filesystem"]["free_bytes"] > 0
    items = named(seen["candidates"])
    predicted = run("aside", items=items, check=True)
    done = run("aside", items=items)
    assert {tuple(pair) for pair in done["aside"]} == MAY_GO
    assert (predicted["changed"], predicted["aside"]) == (done["changed"], done["aside"])
    predicted = run("remove", items=items, check=True)
    who = {"journal_user": "alice", "journal_controller": "ctl1"}
    done = run("remove", items=items, **who)
    assert predicted["removed"] == done["removed"]
    assert {(item["kind"], item["name"]) for item in done["removed"]} == MAY_GO
    assert (done["changed"], done["back"]) == (True, [])
    assert (tmp_path / "asked").read_text() == "--color never cache prune\n"
    assert {(entry.action, entry.user, entry.controller) for entry in journals.read(share.layout)} == {
        ("remove", "alice", "ctl1")
    }
    assert run("look")["candidates"] == run("remove")["removed"] == []
    assert share.generation(LAST).exists()


def test_what_the_controller_does_not_name_comes_back(run: Run, share: OldShare) -> None:
    items = named(run("look")["candidates"])
    run("aside", items=items)
    assert not share.generation(OLD).exists()
    done = run("remove")
    assert {tuple(pair) for pair in done["back"]} == MAY_GO
    assert share.generation(OLD).exists()


def test_what_is_kept_and_what_is_removed(run: Run) -> None:
    many = {fact["why"] for fact in run("look", keep={"generations": 9, "days": 0})["kept"]}
    assert "among the last 9 that were retired" in many
    by_default = {fact["name"]: fact["why"] for fact in run("look", keep={})["kept"]}
    assert by_default[f"train/{OLD}"] == by_default[f"train/{LAST}"] == "among the last 2 that were retired"
    # An environment that is to go, and still has its name, has not gone yet.
    absent = [{"name": "train", "state": "absent"}]
    assert {item["name"] for item in run("look", environments=absent)["candidates"]} == {name for _kind, name in MAY_GO}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"share_name": "nas_b"}, "is the share nas_a, not nas_b"),
        ({"keep": {"days": -1}}, "uvnas_keep: days is -1; it must be a number from 0 on"),
        ({"keep": {"generations": "all"}}, "'generations' is of type"),
        ({"items": [{"kind": "share", "name": "x"}]}, "value of kind must be one of: generation, interpreter, uv"),
        ({"stage": "purge"}, "value of stage must be one of: look, aside, remove"),
        ({"environments": [{"name": "../x"}]}, "the name may contain only letters"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_bad_input_changes_nothing(run: Run, share: OldShare, given: dict[str, t.Any], said: str, check: bool) -> None:
    before = share.seen()
    result = run(**{"stage": "remove", **given}, check=check)
    assert (result["failed"], said in result["msg"]) == (True, True), result["msg"][:300]
    assert share.seen() == before


def test_no_secret_is_told(run: Run, share: OldShare) -> None:
    program = share.path("lib", "uv", "0.13.9", "uv")
    program.write_text("#!/bin/sh\nenv >&2\nexit 2\n")
    items = named(run("look")["candidates"])
    run("aside", items=items)
    url = f"https://alice:{SECRET}@pypi.example.org/simple"
    done = run("remove", items=items, index={"default": url}, journal_user=url)
    assert "uv cannot prune its cache" in str(done["warnings"])
    assert len(done["removed"]) == len(MAY_GO)
    assert SECRET not in json.dumps({key: value for key, value in done.items() if key != "invocation"})
    assert SECRET not in Path(share.layout.journal).read_text()


def test_a_share_with_nothing_on_it(run: Run, share: OldShare, tmp_path: Path) -> None:
    empty = dataclasses.replace(share, layout=dataclasses.replace(share.layout, root=str(tmp_path / "empty")))
    old_share.shares.make_share(Path(empty.layout.root))
    for stage in ("look", "aside", "remove"):
        assert run(stage, share=empty.layout.root)["changed"] is False
