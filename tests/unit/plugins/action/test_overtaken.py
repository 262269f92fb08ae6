# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else is at work with another declaration, or with the same locks on the controller: who does what then."""

from __future__ import annotations

import hashlib
import os
import random
import time
import typing as t
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.uvnas.cluster.plugins.action import uv_env, uv_lock, uv_python
from ansible_collections.uvnas.cluster.plugins.plugin_utils.controller_action import ControllerAction
from ansible_collections.uvnas.cluster.tests.support.processes import other_process

HASH = "--hash=sha256:" + "0" * 64
ENVS = [{"name": name, "python": "3.12", "requirements": ["six"]} for name in ("train", "same", "broken")]
NEEDS: dict[str, t.Any] = {"converged": False, "needs": ["train"]}
LOCKED = {"changed": True, "locks": {"train": {"digest": "1"}}, "diff": [{"prepared": "lock train"}]}
ERROR = {"msg": "environment broken: it cannot be built", "hint": ""}


def fact(name: str, action: str) -> dict[str, t.Any]:
    return {"name": name, "action": action}


def overtaken(*others: dict[str, t.Any], errors: t.Sequence[dict[str, t.Any]] = ()) -> dict[str, t.Any]:
    environments = [fact("train", "failed"), *others]
    said = {"failed": True, "msg": "environment train: somebody else is …", "errors": list(errors)}
    return {"changed": bool(others), "environments": environments, "overtaken": ["train"], **said}


class Host:
    """A host that gives answers one after the other, and remembers what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[tuple[str, dict[str, t.Any]]] = []

    def run(
        self, action: type[ControllerAction], args: dict[str, t.Any], *answers: t.Any, **more: t.Any
    ) -> dict[str, t.Any]:
        task = MagicMock(args=args, async_val=0, check_mode=False, diff=False)
        loader = DataLoader()
        loader.set_basedir(str(self.path))
        plugin = action(task, MagicMock(), MagicMock(), loader, MagicMock(), MagicMock())
        left = list(answers)

        def execute_module(name: str, told: dict[str, t.Any], **_rest: t.Any) -> dict[str, t.Any]:
            self.told.append((name.rpartition(".")[2], told))
            answer = left.pop(0)
            return dict(answer() if callable(answer) else answer)

        plugin._execute_module = execute_module
        plugin.bring = lambda _path, name: f"/there/{name}"
        return plugin.run(None, {})

    @property
    def modules(self) -> list[str]:
        return [name for name, _told in self.told]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 0.0)
    return Host(tmp_path)


def args(**more: t.Any) -> dict[str, t.Any]:
    return {"share": "/mnt/nas-a/uv", "share_name": "nas_a", "environments": ENVS, "lock": True, "purge": True, **more}


def test_what_was_overtaken_is_locked_and_built_again_and_nothing_else_is(host: Host) -> None:
    first = overtaken(fact("same", "build"), fact("gone", "remove"))
    built = {"changed": True, "environments": [fact("train", "build")], "diff": [{"prepared": "train"}]}
    result = host.run(uv_env.ActionModule, args(), NEEDS, LOCKED, first, NEEDS, LOCKED, built)
    assert not result.get("failed"), result
    assert (result["changed"], "overtaken" in result) == (True, False)
    assert result["environments"] == [fact("train", "build"), fact("same", "build"), fact("gone", "remove")]
    assert host.modules == ["uv_env_compare", "uv_lock", "uv_env"] * 2
    # A purge of all that is not asked for this time would remove the rest.
    assert [told.get("purge") for _name, told in host.told] == [True, None, True, False, None, False]
    assert [env["name"] for env in host.told[-1][1]["environments"]] == ["train"]


def test_what_failed_for_another_reason_has_failed(host: Host) -> None:
    first = overtaken(fact("broken", "failed"), errors=[ERROR])
    kept = {"changed": False, "converged": True, "environments": [fact("train", "keep")]}
    result = host.run(uv_env.ActionModule, args(), NEEDS, LOCKED, first, kept)
    assert result["failed"]
    assert result["msg"].splitlines() == ["1 of 3 environments failed; the others are done", ERROR["msg"]]
    assert result["environments"] == [fact("train", "keep"), fact("broken", "failed")]


def test_what_goes_wrong_the_second_time_is_told(host: Host) -> None:
    busy = {"failed": True, "msg": "another process is working on /mnt/nas-a/uv"}
    result = host.run(uv_env.ActionModule, args(), NEEDS, LOCKED, overtaken(), busy)
    assert result["failed"]
    assert busy["msg"] in result["msg"]


def test_it_does_not_go_on_for_ever_and_says_who_is_in_the_way(host: Host) -> None:
    answers = [NEEDS, LOCKED, overtaken()] * 12
    result = host.run(uv_env.ActionModule, args(), *answers)
    assert result["failed"]
    assert result["msg"].splitlines()[1].startswith("environment train: somebody else is converging a different")
    assert len(host.told) == len(answers)


def test_a_lock_that_was_kept_while_this_waited_is_taken(host: Host) -> None:
    """Two builders of one environment: the second takes what the first has resolved."""
    locks = host.path / "locks"
    locks.mkdir()
    theirs = f"six==1.16.0 {HASH}\n"

    def needs() -> dict[str, t.Any]:
        (locks / "train.txt").write_text(theirs)
        return {"needs": ["train"]}

    more = {"environments": ENVS[:1], "lock_dir": str(locks)}
    lock = {key: value for key, value in args(**more).items() if key not in ("lock", "purge")}
    host.run(uv_lock.ActionModule, lock, needs, {"changed": False, "locks": {}})
    assert host.told[0][1]["inputs"]["train"]["kept"] is None
    assert host.told[1][1]["inputs"]["train"]["kept"]["text"] == theirs


HOLD = """
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex
with mutex.hold(sys.argv[1], timeout=0, purpose="resolving"):
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_only_one_resolves_for_a_directory_of_locks(host: Host) -> None:
    """Others wait, no longer than they may, and then say for what."""
    locks = host.path / "locks"
    locks.mkdir()
    directory = host.path / "home" / ".cache" / "uvnas"
    directory.mkdir(parents=True)
    name = hashlib.sha256(os.path.realpath(locks).encode()).hexdigest()[:16]
    more = {"environments": ENVS[:1], "lock_dir": str(locks), "busy_timeout": 0}
    lock = {key: value for key, value in args(**more).items() if key not in ("lock", "purge")}
    with other_process(HOLD, directory / f"locks-{name}.mutex"):
        result = host.run(uv_lock.ActionModule, lock, {"needs": ["train"]})
        assert result["failed"]
        assert f"another process is working on {locks}" in result["msg"]
        # Who needs no texts needs nobody's leave.
        assert not host.run(uv_lock.ActionModule, lock, {"changed": False, "locks": {}}).get("failed")
    host.run(uv_lock.ActionModule, lock, {"needs": ["train"]}, {"changed": False, "locks": {}})
    assert host.modules == ["uv_lock"] * 4


def test_what_turns_out_to_be_needed_later_is_sent_with_the_rest(host: Host) -> None:
    lock = {key: value for key, value in args().items() if key not in ("lock", "purge")}
    done = {"changed": False, "locks": {}}
    host.run(uv_lock.ActionModule, lock, {"needs": ["train"]}, {"needs": ["same"]}, done)
    sent = [{name for name, known in told["inputs"].items() if known["sources"]} for _name, told in host.told]
    assert sent == [set(), {"train"}, {"train", "same", "broken"}]
    again = host.run(uv_lock.ActionModule, lock, *[{"needs": ["train"]}] * 3)
    assert "the host returned something invalid as needs" in again["msg"]


def test_archives_that_are_wanted_later_are_brought_too(host: Host) -> None:
    """The plan may be another one when the share's mutex is held."""
    sites = []
    for name, version in (("one", "3.12.4"), ("two", "3.13.1")):
        (host.path / name).write_bytes(name.encode())
        sites.append({"name": name, "version": version, "archive": str(host.path / name)})
    given = {"share": "/mnt/nas-a/uv", "share_name": "nas_a", "site_pythons": sites}
    wanted = [{"archives_wanted": ["one"]}, {"archives_wanted": ["two"]}]
    assert host.run(uv_python.ActionModule, given, *wanted, {"changed": True}) == {"changed": True}
    brought = [[site["archive"].startswith("/there/") for site in told["site_pythons"]] for _name, told in host.told]
    assert brought == [[False, False], [True, False], [True, True]]
    again = host.run(uv_python.ActionModule, given, *[{"archives_wanted": ["one"]}] * 2)
    assert "the host returned something invalid as archives_wanted" in again["msg"]


# One failure of each kind, as the modules tell of it.
UNLOCKED = {"msg": "environment train: its requirements cannot be resolved", "hint": "", "cmd": ["uv"], "rc": 1}
UNLOCKED = {**UNLOCKED, "stdout": "", "stderr": "error: no solution\n  cause: six is too old\n"}
# What Ansible makes of a module's failure, and shows in the place of the message.
SHOWN = {"exception": "only what this module has said", "failed": True}


def test_what_cannot_be_locked_and_what_cannot_be_built_are_both_told(host: Host) -> None:
    locked = {**LOCKED, **SHOWN, "msg": "1 of 3", "errors": [UNLOCKED], "locks": {"broken": {"digest": "1"}}}
    environments = [fact("train", "failed"), fact("same", "keep"), fact("broken", "failed")]
    built = {**SHOWN, "changed": False, "environments": environments, "msg": "1 of 3", "errors": [ERROR]}
    result = host.run(uv_env.ActionModule, args(), NEEDS, locked, built)
    assert result["msg"].splitlines() == [
        "2 of 3 environments failed; the others are done",
        UNLOCKED["msg"],
        "  error: no solution",
        "    cause: six is too old",
        ERROR["msg"],
    ]
    assert (result["failed"], result.keys() & {"exception", "errors", "stopped"}) == (True, set())


def test_what_stops_all_builds_does_not_hide_what_cannot_be_locked(host: Host) -> None:
    locked = {**LOCKED, **SHOWN, "msg": "1 of 3", "errors": [UNLOCKED]}
    stopped = {**SHOWN, "msg": "share nas_a: no answer within 30 s", "hint": "Is the NAS up?"}
    result = host.run(uv_env.ActionModule, args(), NEEDS, locked, stopped)
    lines = result["msg"].splitlines()
    assert (lines[0], lines[-1]) == (UNLOCKED["msg"], stopped["msg"])
    assert "the others are done" not in result["msg"]
    assert (result["failed"], "exception" in result) == (True, False)


@pytest.mark.parametrize("failures", [(), ("train",), ("broken",), ("train", "broken")])
def test_what_was_overtaken_before_other_failures(host: Host, failures: tuple[str, ...]) -> None:
    """The first try fails for another environment, or the second one, or both."""
    first = {**overtaken(fact("broken", "failed"), errors=[ERROR] if "broken" in failures else []), **SHOWN}
    second: dict[str, t.Any] = {"changed": True, "environments": [fact("train", "build")]}
    again = {"msg": "environment train: smoke test failed", "hint": "", "cmd": [], "rc": 1, "stdout": "", "stderr": "x"}
    if "train" in failures:
        second = {**SHOWN, "msg": "x", "changed": False, "environments": [fact("train", "failed")], "errors": [again]}
    result = host.run(uv_env.ActionModule, args(), NEEDS, LOCKED, first, NEEDS, LOCKED, second)
    assert bool(result.get("failed")) == bool(failures)
    lines = str(result.get("msg", "")).splitlines()
    assert ([again["msg"] in lines, ERROR["msg"] in lines]) == ["train" in failures, "broken" in failures]
    assert "exception" not in result
    assert "somebody else" not in str(result)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_package_that_no_lock_has_is_an_error_unless_others_may_have_it(host: Host, elsewhere: bool) -> None:
    asked = {"numpyy": {"environments": [], "fixed": [], "others": [], "unknown": [], "like": ["numpy"]}}
    kept = {"changed": False, "converged": True, "environments": [], "upgrade_packages": asked}
    more = {"upgrade_packages": ["numpyy"], "upgrade_elsewhere": elsewhere}
    result = host.run(uv_env.ActionModule, args(**more), kept)
    assert bool(result.get("failed")) != elsewhere
    assert result["upgrade_packages"] == asked
    if not elsewhere:
        assert result["msg"] == "numpyy cannot be upgraded: no lock has it. Did you mean numpy?"
    lock = {key: value for key, value in args(**more).items() if key not in ("lock", "purge")}
    result = host.run(uv_lock.ActionModule, lock, {"changed": False, "locks": {}, "upgrade_packages": asked})
    assert bool(result.get("failed")) != elsewhere


def test_a_project_that_is_named_for_an_upgrade_says_that_it_is_not_upgraded_here(host: Host) -> None:
    (host.path / "vendor.txt").write_text(f"six==1.16.0 {HASH}\n")
    envs = [{"name": "vendor", "python": "3.12", "lock": "vendor.txt"}]
    kept = {"changed": False, "converged": True, "environments": []}
    result = host.run(uv_env.ActionModule, args(environments=envs, upgrade=["vendor"]), kept)
    assert result["warnings"] == ["vendor: not upgraded from here; change its uv.lock, or its lock file, and run again"]
    assert "warnings" not in host.run(uv_env.ActionModule, args(environments=envs, upgrade=["all"]), kept)
