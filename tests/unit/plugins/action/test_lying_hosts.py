# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose Python answers what it wants: the controller does not write, read or send what it was not to."""

from __future__ import annotations

import copy
import os
import typing as t
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.uvnas.cluster.plugins.action import uv_binary, uv_env, uv_hold, uv_lock, uv_python, uv_rollback
from ansible_collections.uvnas.cluster.plugins.plugin_utils import rollback
from ansible_collections.uvnas.cluster.plugins.plugin_utils.controller_action import ControllerAction

HASH = "--hash=sha256:" + "0" * 64
LOCK = f"six==1.17.0 {HASH}\n"
SHARE = {"share": "/mnt/nas-a/uv", "share_name": "nas_a"}
ENVS = [{"name": "train", "python": "3.12", "requirements": ["six"]}]
Answers = t.Sequence[dict[str, t.Any]]


class Site:
    """A controller with an empty directory for locks, and a host that gives ``answers`` one after the other."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(path / "home"))
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        self.path = path
        self.locks = path / "site" / "locks"
        self.told: list[tuple[str, dict[str, t.Any]]] = []

    def run(self, action: type[ControllerAction], args: dict[str, t.Any], answers: Answers) -> dict[str, t.Any]:
        task = MagicMock(args=args, async_val=0, check_mode=False, diff=False)
        loader = DataLoader()
        loader.set_basedir(str(self.path))
        plugin = action(task, MagicMock(), MagicMock(), loader, MagicMock(), MagicMock())
        left = copy.deepcopy(list(answers))

        def execute_module(name: str, told: dict[str, t.Any], **_rest: t.Any) -> dict[str, t.Any]:
            self.told.append((name.rpartition(".")[2], told))
            return left.pop(0)

        plugin._execute_module = execute_module
        return plugin.run(None, {})

    def written(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.path))
            for path in self.path.rglob("*")
            if path.is_file() and path.suffix != ".mutex"
        )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def lock_args(site: Site) -> dict[str, t.Any]:
    return {**SHARE, "environments": ENVS, "lock_dir": str(site.locks)}


def fact(text: t.Any) -> dict[str, t.Any]:
    return {"action": "resolve", "changed": True, "digest": "0" * 64, "text": text}


def test_an_honest_host_s_lock_is_kept(site: Site) -> None:
    result = site.run(
        uv_lock.ActionModule, lock_args(site), [{"needs": ["train"]}, {"changed": True, "locks": {"train": fact(LOCK)}}]
    )
    assert not result.get("failed"), result
    assert site.written() == ["site/locks/train.txt"]
    assert "text" not in result["locks"]["train"]


NONSENSE: dict[str, t.Any] = {
    "a path": {"../../home/.ssh/authorized_keys": fact(LOCK)},
    "an absolute path": {"/etc/cron.d/x": fact(LOCK)},
    "an environment that was not asked about": {"other": fact(LOCK)},
    "no lock": {"train": fact("-r /etc/shadow\n")},
    "an option that hides": {"train": fact(f"{LOCK}    --index-url https://evil.example/simple\n")},
    "a text that is none": {"train": fact({"not": "text"})},
    "a list": [fact(LOCK)],
    "facts that are none": {"train": "text"},
    "good and bad": {"train": fact(LOCK), "../x": fact(LOCK)},
}


@pytest.mark.parametrize("locks", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("through", ["uv_lock", "uv_env"])
def test_nothing_but_locks_that_were_asked_for_is_kept(site: Site, locks: t.Any, through: str) -> None:
    lie = {"changed": True, "locks": locks}
    if through == "uv_lock":
        result = site.run(uv_lock.ActionModule, lock_args(site), [{"needs": ["train"]}, lie])
    else:
        args = {**lock_args(site), "lock": True}
        result = site.run(uv_env.ActionModule, args, [{"converged": False, "needs": ["train"]}, lie])
    assert result["failed"]
    possible = ("something invalid as locks", "what the host says is the lock of train is not a lock")
    assert any(said in result["msg"] for said in possible)
    assert site.written() == []


@pytest.mark.parametrize("needs", [["other"], ["../x"], "train", [["train"]], [{}], {"train": 1}, 5])
def test_texts_are_sent_of_what_was_asked_about(site: Site, needs: t.Any) -> None:
    result = site.run(uv_lock.ActionModule, lock_args(site), [{"needs": needs}])
    assert result["failed"]
    assert "the host returned something invalid as needs" in result["msg"]
    compared = site.run(uv_env.ActionModule, {**lock_args(site), "lock": True}, [{"converged": False, "needs": needs}])
    assert compared["failed"]
    assert "the host returned something invalid as needs" in compared["msg"]
    assert [name for name, _told in site.told] == ["uv_lock", "uv_env_compare"]


@pytest.mark.parametrize("wanted", [["other"], ["/etc/shadow"], "site", [["site"]], 5])
def test_archives_are_brought_that_are_declared(site: Site, wanted: t.Any) -> None:
    archive = site.path / "python.tar.gz"
    archive.write_bytes(b"archive")
    args = {**SHARE, "site_pythons": [{"name": "site", "version": "3.12.4", "archive": str(archive)}]}
    result = site.run(uv_python.ActionModule, args, [{"archives_wanted": wanted}])
    assert result["failed"]
    assert "the host returned something invalid as archives_wanted" in result["msg"]
    assert len(site.told) == 1


@pytest.mark.parametrize("target", ["x86_64/../../evil-gnu", "x86_64-gnu/../x", "", "gnu", 5, ["x86_64-gnu"], {"a": 1}])
def test_a_platform_is_no_part_of_a_path(site: Site, target: t.Any) -> None:
    args = {
        **SHARE,
        "version": "0.13.1",
        "source": "release",
        "release_url": "http://127.0.0.1:9",
        "download_dir": str(site.path / "downloads"),
    }
    result = site.run(uv_binary.ActionModule, args, [{"archive_needed_for": target}])
    assert result["failed"]
    assert "the host returned something invalid as archive_needed_for" in result["msg"]
    assert not os.path.exists(site.path / "downloads")


# Rollbacks, which end on all shares or none


OLD, NEW = "91be02cc7a1f", "3f9a0c2b71de"
SHARES = {"dev1": ["nas_a"], "dev2": ["nas_b", "nas_c"]}


class Hostvars(dict[str, dict[str, t.Any]]):
    """What is known of hosts."""

    def raw_get(self, host: str) -> dict[str, t.Any]:
        return self[host]


def rolled_back(site: Site, stage: str, answers: dict[str, t.Any], environment: str = "train") -> dict[str, t.Any]:
    """The result of uv_rollback where the hosts of SHARES, by share, registered ``answers``."""
    shares = [{"name": name, "environments": ["train"]} for names in SHARES.values() for name in names]
    work = [{"shares": shares, "builds": [{"name": name} for name in names]} for names in SHARES.values()]
    declared = {"hosts": {"dev1": 0, "dev2": 1}, "work": work}
    hostvars = Hostvars({host: {"__uvnas_declared": declared} for host in SHARES}, member={})
    for host, names in SHARES.items():
        results = [{**answers[name], "__uvnas_share": {"name": name}} for name in names if name in answers]
        for kind in (rollback.SEEN, rollback.DONE):
            hostvars[host][kind] = {"results": results}
    task = MagicMock(args={"stage": stage, "environment": environment, "hosts": [*hostvars]}, async_val=0)
    plugin = uv_rollback.ActionModule(task, MagicMock(), MagicMock(), DataLoader(), MagicMock(), MagicMock())
    result: dict[str, t.Any] = plugin.run(None, {"hostvars": hostvars})
    return result


def held_at(generation: t.Any, **more: t.Any) -> dict[str, t.Any]:
    return {
        "id": generation, "previous_id": NEW, "was_held": None, "held": {"id": generation, "reason": "slow"},
        "packages_changed": ["six 2 -> 1"], **more,
    }  # fmt: skip


def test_honest_hosts_are_rolled_back_together(site: Site) -> None:
    answers = {name: held_at(OLD) for name in ("nas_a", "nas_b", "nas_c")}
    decision = rolled_back(site, "decide", answers)
    assert (decision["target"], decision["shares"]) == (OLD, ["nas_a", "nas_b", "nas_c"])
    done = rolled_back(site, "report", answers)
    assert done["msg"] == [f"{name}: train  {NEW} -> {OLD}  six 2 -> 1; held: slow" for name in answers]
    assert not done.get("failed")


def test_a_host_that_nobody_reaches_is_named(site: Site) -> None:
    answers = {"nas_a": held_at(OLD), "nas_b": {"unreachable": True, "msg": "no route"}}
    decision = rolled_back(site, "decide", answers)
    assert (decision["target"], decision["shares"]) == (OLD, ["nas_a"])
    done = rolled_back(site, "report", answers)
    assert done["failed"] is True
    assert done["msg"].splitlines() == [
        "nas_b: train  NOT DONE: no route. Run this again when it does.",
        "nas_c: train  NOT DONE: its builder does not answer. Run this again when it does.",
        f"nas_a: train  {NEW} -> {OLD}  six 2 -> 1; held: slow",
    ]


@pytest.mark.parametrize("stage", ["decide", "report"])
@pytest.mark.parametrize("environment", ["", "trian"])
def test_an_environment_that_no_share_has(site: Site, stage: str, environment: str) -> None:
    """Of a release, too, which decides nothing."""
    result = rolled_back(site, stage, {}, environment)
    assert result["failed"] is True
    assert ("did you mean train?" if environment else "name an environment") in result["msg"]
    assert result["msg"].endswith("Nothing was changed.")


LIES: list[t.Any] = [
    "3f",
    "",
    "--version",
    "../../envs",
    "{{ lookup('pipe', 'id') }}",
    "a\nb",
    None,
    5,
    [OLD],
    {"a": 1},
]


@pytest.mark.parametrize("lie", LIES)
def test_no_host_decides_for_the_others_with_what_is_no_generation(site: Site, lie: t.Any) -> None:
    honest = {name: held_at(OLD) for name in ("nas_a", "nas_b", "nas_c")}
    for liar in (held_at(lie), held_at(OLD, was_held={"id": lie}), held_at(lie, was_held={"id": lie})):
        decision = rolled_back(site, "decide", {**honest, "nas_a": liar})
        assert decision.get("failed") or decision["target"] == OLD
        assert rolled_back(site, "report", {**honest, "nas_a": liar})["msg"]
    everywhere = rolled_back(site, "decide", dict.fromkeys(honest, held_at(lie)))
    assert everywhere["failed"] is True
    assert everywhere["msg"].endswith("\nNothing was changed.")


@pytest.mark.parametrize("answer", [{"msg": 5, "failed": True}, {"failed": "x", "msg": "a\nnas_b: forged"}, {}])
def test_lines_are_not_forged(site: Site, answer: dict[str, t.Any]) -> None:
    honest = {name: held_at(OLD) for name in ("nas_b", "nas_c")}
    for stage in ("decide", "report"):
        said = rolled_back(site, stage, {**honest, "nas_a": answer})["msg"]
        lines = said if isinstance(said, list) else said.splitlines()
        assert sum(line.startswith("nas_b: ") for line in lines) == (stage == "report")


HOLD = {**SHARE, "environment": "train", "journal_user": "forged"}


@pytest.mark.parametrize("state", ["held", "released"])
def test_a_host_is_told_who_and_not_what_is_secret(site: Site, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Its system log has the options of modules."""
    monkeypatch.setenv("SUDO_USER", "alice")
    args = {**HOLD, "state": state, "reason": "see https://bob:s3cret@git.example/3\nnow", "progress": False}
    assert site.run(uv_hold.ActionModule, args, [{"changed": True}])["changed"]
    ((name, told),) = site.told
    assert (name, told["journal_user"], bool(told["journal_controller"])) == ("uv_hold", "alice", True)
    assert told["reason"] == "see https://****@git.example/3 now"
