# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that answer anything: on the controller it is a failed result, and nothing but a lock is written."""

from __future__ import annotations

import copy
import random
import time
import typing as t
from pathlib import Path
from unittest import mock

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.uvnas.cluster.plugins.action import uv_binary, uv_env, uv_lock, uv_python
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import parse
from ansible_collections.uvnas.cluster.plugins.plugin_utils.controller_action import ControllerAction
from ansible_collections.uvnas.cluster.tests.support.generated import damaged, tree
from hypothesis import given
from hypothesis import strategies as st

LOCK = "six==1.17.0 --hash=sha256:" + "0" * 64 + "\n"
SHARE = {"share": "/mnt/nas-a/uv", "share_name": "nas_a"}
FACT = {"action": "resolve", "changed": True, "digest": "0" * 64, "text": LOCK, "versions": {"six": "1.17.0"}}
LOCKED: dict[str, t.Any] = {"changed": True, "locks": {"train": FACT}, "diff": [{"prepared": "x"}], "warnings": ["x"]}
NEEDS: dict[str, t.Any] = {"changed": False, "needs": ["train"], "locks": {}}
COMPARED: dict[str, t.Any] = {"changed": False, "converged": False, "needs": ["train"]}
BUILT: dict[str, t.Any] = {
    "changed": True,
    "environments": [{"name": "train", "action": "build", "id": "x", "previous_id": None, "packages_changed": []}],
    "diff": [{"prepared": "x"}],
}
OVERTAKEN: dict[str, t.Any] = {
    "changed": False,
    "failed": True,
    "msg": "environment train: somebody else",
    "overtaken": ["train"],
    "errors": [{"msg": "environment other: x", "hint": ""}],
    "environments": [{"name": "train", "action": "failed"}],
}


def _run(
    action: type[ControllerAction], path: Path, args: dict[str, t.Any], answers: t.Sequence[t.Any]
) -> dict[str, t.Any]:
    task = mock.MagicMock(args=args, async_val=0, check_mode=False, diff=False)
    loader = DataLoader()
    loader.set_basedir(str(path))
    plugin = action(task, mock.MagicMock(), mock.MagicMock(), loader, mock.MagicMock(), mock.MagicMock())
    left = copy.deepcopy(list(answers))
    # Ansible has seen to it that a result is a dictionary.
    plugin._execute_module = lambda *_args, **_more: left.pop(0) if left else {"changed": False}
    return plugin.run(None, {})


def _answers(*valid: dict[str, t.Any]) -> st.SearchStrategy[list[dict[str, t.Any]]]:
    """Answers one after the other, of which one is damaged."""

    def instead(index: int) -> st.SearchStrategy[list[dict[str, t.Any]]]:
        bad = damaged(valid[index]).filter(lambda answer: isinstance(answer, dict))
        return bad.map(lambda answer: [*valid[:index], answer, *valid[index + 1 :]])

    return st.sampled_from(range(len(valid))).flatmap(instead)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 0.0)


def _check(path: Path, before: dict[str, t.Any], result: t.Any) -> None:
    assert isinstance(result, dict)
    after = tree(path)
    for name, (_mode, content) in after.items():
        if before.get(name, (None, None))[1] != content:
            assert name in ("locks", "locks/train.txt")
            assert content is None or parse(content.decode(), what="it").packages is not None
    if result.get("failed"):
        assert isinstance(result.get("msg"), str) or "msg" not in result or result["msg"] is not None


@given(st.one_of(_answers(LOCKED), _answers(NEEDS, LOCKED), _answers(NEEDS, NEEDS, LOCKED)))
def test_locking(tmp_path_factory: pytest.TempPathFactory, answers: list[dict[str, t.Any]]) -> None:
    path = tmp_path_factory.mktemp("site")
    envs = [{"name": "train", "python": "3.12", "requirements": ["six"]}]
    args = {**SHARE, "environments": envs, "lock_dir": str(path / "locks")}
    _check(path, tree(path), _run(uv_lock.ActionModule, path, args, answers))


CONVERGES = st.one_of(
    _answers(COMPARED, LOCKED, BUILT),
    _answers({"changed": False, "converged": False, "locks": {"train": {"digest": "0"}}}, BUILT),
    _answers({"changed": False, "converged": True, "environments": BUILT["environments"]}),
    _answers(COMPARED, LOCKED, OVERTAKEN, COMPARED, LOCKED, BUILT),
)


@given(CONVERGES)
def test_converging(tmp_path_factory: pytest.TempPathFactory, answers: list[dict[str, t.Any]]) -> None:
    path = tmp_path_factory.mktemp("site")
    envs = [{"name": name, "python": "3.12", "requirements": ["six"]} for name in ("train", "other")]
    args = {**SHARE, "environments": envs, "lock_dir": str(path / "locks"), "lock": True}
    _check(path, tree(path), _run(uv_env.ActionModule, path, args, answers))


@given(_answers({"changed": False, "archives_wanted": ["site"]}, {"changed": True}))
def test_interpreters(tmp_path_factory: pytest.TempPathFactory, answers: list[dict[str, t.Any]]) -> None:
    path = tmp_path_factory.mktemp("site")
    (path / "python.tar.gz").write_bytes(b"archive")
    args = {**SHARE, "site_pythons": [{"name": "site", "version": "3.12.4", "archive": str(path / "python.tar.gz")}]}
    before = tree(path)
    with mock.patch.object(ControllerAction, "bring", return_value="/there"):
        _check(path, before, _run(uv_python.ActionModule, path, args, answers))


@given(_answers({"changed": False, "archive_needed_for": "x86_64-gnu"}, {"changed": True}))
def test_installing_uv(tmp_path_factory: pytest.TempPathFactory, answers: list[dict[str, t.Any]]) -> None:
    path = tmp_path_factory.mktemp("site")
    (path / "uv.tar.gz").write_bytes(b"archive")
    args = {**SHARE, "version": "0.13.9", "source": "archive", "archive": str(path / "uv.tar.gz")}
    before = tree(path)
    with mock.patch.object(ControllerAction, "bring", return_value="/there"):
        _check(path, before, _run(uv_binary.ActionModule, path, args, answers))
