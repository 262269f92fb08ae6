# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules uv_verify and uv_repair, from their arguments to what they call, and to their results."""

from __future__ import annotations

import json
import types
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair.converge import Budget, Repair
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.modules import uv_repair, uv_verify
from ansible_collections.uvnas.cluster.tests.support import shares

SECRET = "s3cret"
DAMAGE = {"path": "bin/pip", "what": "missing", "says": "missing", "done": "", "why": "no other share has it"}
FOUND = {
    "trees": [
        {
            "kind": "generation", "name": f"train/{'a' * 12}", "state": "in force", "files": 7, "bytes": 70, "count": 1,
            "damages": [DAMAGE], "notes": [],
        }
    ],
    "read": {"files": 7, "bytes": 70, "seconds": 0.1},
}  # fmt: skip


class Called:
    """What was called, and what it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: t.Callable[[], dict[str, t.Any]] = lambda: {"changed": False, **FOUND, "remaining": ["cache"]}
        self.verified: list[tuple[Share, dict[str, t.Any]]] = []
        self.repaired: list[tuple[Repair, dict[str, t.Any]]] = []

        def verify(share: Share, **more: t.Any) -> dict[str, t.Any]:
            self.verified.append((share, more))
            return self.answer()

        def converge(repair: Repair, **more: t.Any) -> dict[str, t.Any]:
            self.repaired.append((repair, more))
            return self.answer()

        monkeypatch.setattr(uv_verify, "verify", verify)
        monkeypatch.setattr(Repair, "converge", converge)
        # The work is done here, where a test can see it, rather than in a process of its own.
        monkeypatch.setattr(uv_verify.adapter, "call_watched", lambda work, **_how: work())


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    return Called(monkeypatch)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    """A module on a share that is there."""
    root = str(shares.make_share(tmp_path / "uv"))

    def run(module: types.ModuleType, *, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        given = {"share": root, "share_name": "nas_a", **more}
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit) as ended:
            module.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


@pytest.mark.parametrize("module", [uv_verify, uv_repair])
@pytest.mark.parametrize("check", [True, False])
def test_damage_is_told_and_is_no_failure(called: Called, run: Run, module: types.ModuleType, check: bool) -> None:
    result = run(module, check=check)
    assert (result["changed"], result["trees"], result["read"]) == (False, FOUND["trees"], FOUND["read"])


@pytest.mark.parametrize("module", [uv_verify, uv_repair])
@pytest.mark.parametrize("check", [True, False])
def test_another_share(run: Run, module: types.ModuleType, check: bool) -> None:
    """With nothing of the work replaced."""
    assert "is the share nas_a, not nas_b" in run(module, share_name="nas_b", check=check)["msg"]


def test_verify_reads_everything_by_default_and_remembers(called: Called, run: Run) -> None:
    run(uv_verify)
    run(uv_verify, check=True, bytes_per_second=1000, seconds=60, jobs=3)
    (share, first), (_share, second) = called.verified
    assert share.name == "nas_a"
    assert (first["jobs"], first["budget"], first["remember"]) == (0, Budget(0, 3600.0), True)
    assert (second["jobs"], second["budget"], second["remember"]) == (3, Budget(1000, 60.0), False)


@pytest.mark.parametrize("given", [{"bytes_per_second": -1}, {"seconds": 0}, {"seconds": -5}, {"seconds": "inf"}])
def test_a_budget_that_makes_no_sense(called: Called, run: Run, given: dict[str, t.Any]) -> None:
    result = run(uv_verify, **given)
    assert "bytes_per_second must be a number of 0 or more, and seconds one of more than 0" in result["msg"]
    assert called.verified == []


def test_what_a_repair_is_given(called: Called, run: Run, tmp_path: Path) -> None:
    other = shares.make_share(tmp_path / "other", name="nas_b")
    others = [{"name": "nas_b", "root": str(other)}, {"name": "nas_c", "root": str(tmp_path / "uv")}]
    run(
        uv_repair, check=True, earlier_shares=others, mirror="https://mirror.example.org/", offline=True, jobs=2,
        remove_undeclared=True, journal_user="alice", journal_controller="ctl1", busy_timeout=7,
        uv_variables={"UV_HTTP_TIMEOUT": "5"}, index={"default": "https://pypi.example.org/simple"},
    )  # fmt: skip
    run(uv_repair)
    (repair, how), (by_default, _how) = called.repaired
    assert how == {"purpose": "repairing", "busy_timeout": 7.0}
    # Not this share itself under another name.
    assert [layout.root for layout in repair.others] == [str(other)]
    assert (repair.author.user, repair.author.controller) == ("alice", "ctl1")
    assert (repair.remove, repair.jobs, repair.check_mode) == (True, 2, True)
    assert (by_default.remove, by_default.jobs, by_default.check_mode) == (False, 0, False)
    assert repair.uv.index.default == "https://pypi.example.org/simple"
    told = repair.python.uv.extra_variables
    assert {key: told[key] for key in ("UV_HTTP_TIMEOUT", "UV_PYTHON_INSTALL_MIRROR", "UV_OFFLINE")} == {
        "UV_HTTP_TIMEOUT": "5",
        "UV_PYTHON_INSTALL_MIRROR": "https://mirror.example.org/",
        "UV_OFFLINE": "1",
    }


def test_no_secret_is_told(called: Called, run: Run) -> None:
    def fail() -> dict[str, t.Any]:
        raise UvnasError(f"cannot reach https://alice:{SECRET}@pypi.example.org/simple, nor {SECRET}")

    called.answer = fail
    url = f"https://alice:{SECRET}@pypi.example.org/simple"
    for given in ({"index": {"default": url}}, {"mirror": url}, {"downloads_json_url": url}):
        result = run(uv_repair, **given)
        assert "cannot reach" in result["msg"]
        assert SECRET not in json.dumps(result)
