# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_hold, from its arguments to its result, on real files."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import uv_hold
from ansible_collections.uvnas.cluster.tests.support import shares

OLD, NEW = "91be02cc7a1f", "3f9a0c2b71de"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A share where NEW is in force, and OLD was before."""
    root = shares.make_share(tmp_path)
    before = "2026-01-30T12:01:00+00:00"
    for each, version in ((OLD, "2.0"), (NEW, "2.1")):
        shares.add_generation(root, "train", each, packages={"alpha": version})
    known = shares.standing("train", NEW)["generations"]
    known[OLD] = {**known[NEW], "published": before, "retired": known[NEW]["published"]}
    shares.publish(root, "train", NEW, generations=known)
    return Layout(str(root))


@pytest.fixture
def run(layout: Layout, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(*, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        given = {"share": layout.root, "share_name": "nas_a", "environment": "train", **more}
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit) as ended:
            uv_hold.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


def in_force(layout: Layout) -> str:
    return os.path.basename(os.readlink(layout.env("train")))


def files(layout: Layout) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in Path(layout.root).rglob("*"))


def test_back_and_released(run: Run, layout: Layout) -> None:
    who = {"journal_user": "alice", "journal_controller": "ctl1"}
    predicted = run(check=True, reason="too slow", **who)
    assert in_force(layout) == NEW
    done = run(reason="too slow", **who)
    assert in_force(layout) == OLD
    assert (done["changed"], done["id"], done["previous_id"], done["complete"]) == (True, OLD, NEW, True)
    assert (done["held"]["by"], done["held"]["reason"], done["was_held"]) == ("alice on ctl1", "too slow", None)
    assert done["packages_changed"] == predicted["packages_changed"] == ["alpha 2.1 -> 2.0"]
    assert (predicted["changed"], predicted["id"]) == (True, OLD)
    assert run(generation=OLD[:4])["changed"] is False
    assert run(check=True, state="released")["changed"] is True
    released = run(state="released")
    assert (released["changed"], released["held"], released["was_held"]["id"]) == (True, None, OLD)
    assert (run(state="released")["changed"], in_force(layout)) == (False, OLD)


def test_a_password_in_a_reason_or_a_generation_is_nowhere(run: Run, layout: Layout) -> None:
    url = "https://alice:s3cret@git.example/issues/3"
    done = run(reason=f"see {url}", journal_user=url)
    assert done["held"]["reason"] == "see https://****@git.example/issues/3"
    assert in_force(layout) == OLD
    for path in (layout.journal, layout.standing("train")):
        assert "s3cret" not in Path(path).read_text(encoding="utf-8")
    failed = run(generation=url)
    assert "has no generation" in failed["msg"]
    for result in (done, failed):
        assert "s3cret" not in json.dumps({key: value for key, value in result.items() if key != "invocation"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"environment": "../train"}, "the name may contain only letters"),
        ({"environment": "trian"}, "environment trian is not published on share nas_a\nIt has train."),
        ({"generation": "zz"}, f"has no generation 'zz' on this share\nIt has {NEW}, {OLD}."),
        ({"generation": OLD, "reason": "x" * 100_000}, "reason: 100000 characters are too many"),
        ({"share_name": "nas_b"}, "is the share nas_a, not nas_b"),
        ({"state": "kept"}, "value of state must be one of: held, released"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_bad_input_changes_nothing(run: Run, layout: Layout, given: dict[str, str], said: str, check: bool) -> None:
    before = files(layout)
    result = run(check=check, **given)
    assert (result["failed"], said in result["msg"]) == (True, True), result["msg"][:300]
    assert files(layout) == before


def test_a_foreign_link_is_left_alone(run: Run, layout: Layout) -> None:
    os.unlink(layout.env("train"))
    os.symlink("/etc", layout.env("train"))
    assert "which is not one of its generations" in run()["msg"]
    assert os.readlink(layout.env("train")) == "/etc"
