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
from ansible_collections.uvnas.cluster.plugins.action import uv_binary, uv_env, uv_lock, uv_python
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
