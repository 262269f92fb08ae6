# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_env_compare, from its arguments to its result, on real files."""

from __future__ import annotations

import json
import os
import pwd
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import uv_env_compare
from ansible_collections.uvnas.cluster.tests.support import shares

TRAIN = EnvironmentSpec("train", python="3.12", requirements=("alpha",), compile_bytecode=False)
SPEC = "5" * 64
HEADER = json.dumps({"environment": "train", "format": 1, "python": "3.12", "spec": SPEC})
LOCK = f"# uvnas.cluster lock: {HEADER}\nalpha==2.1 --hash=sha256:{'2' * 64}\n"
# Of what is locked, and of what goes into the generation.
DIGEST = "d4ff71d6e89ccc386065ff3f0afc887edc8e4c5b2599f60f61b3808895634f05"
ID = "f428426ed773"
KEPT = {"name": "train", "action": "keep", "id": ID, "previous_id": ID, "packages_changed": []}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A share with the environment train."""
    shares.add_interpreter(shares.make_share(tmp_path))
    shares.add_lock(tmp_path, "train", LOCK)
    shares.add_generation(tmp_path, "train", ID)
    shares.publish(tmp_path, "train", ID)
    return Layout(str(tmp_path))


@pytest.fixture
def run(layout: Layout, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(*specs: EnvironmentSpec, digest: str = SPEC, **more: t.Any) -> dict[str, t.Any]:
        """Compare with ``specs``, or with TRAIN alone. The module changes nothing."""
        environments = [spec.as_dict() for spec in specs or (TRAIN,)]
        inputs = {spec["name"]: {"spec_digest": digest} for spec in environments}
        common = {"share": layout.root, "share_name": "nas_a", "owner": pwd.getpwuid(os.geteuid()).pw_name}
        given = {**common, "environments": environments, "inputs": inputs, **more}
        before = sorted(Path(layout.root).rglob("*"))
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            uv_env_compare.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert (ended.value.code, result.pop("changed")) == (0, False)
        assert sorted(Path(layout.root).rglob("*")) == before
        result.pop("invocation", None)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]
LOCKED = {"train": {"digest": DIGEST}}


def test_nothing_to_do(run: Run) -> None:
    assert run() == {"converged": True, "locks": LOCKED, "environments": [KEPT]}


def test_what_is_declared_absent_and_is_so(run: Run) -> None:
    gone = EnvironmentSpec("gone", state="absent")
    kept = {**KEPT, "name": "gone", "id": None, "previous_id": None}
    assert run(TRAIN, gone, inputs={"train": {"spec_digest": SPEC}})["environments"] == [KEPT, kept]


@pytest.mark.parametrize(
    ("digest", "more", "needs"),
    [
        ("6" * 64, {}, ["train"]),
        (SPEC, {"inputs": {"train": {"spec_digest": SPEC, "want_text": True}}}, []),
        (
            SPEC,
            {"inputs": {"train": {"spec_digest": SPEC, "kept": {"text_digest": "7" * 64, "spec_digest": SPEC}}}},
            ["train"],
        ),
        (SPEC, {"upgrade": ["all"]}, ["train"]),
        (SPEC, {"upgrade_packages": ["Alpha"]}, ["train"]),
    ],
)
def test_a_lock_that_is_to_be_made_or_fetched(digest: str, more: dict[str, t.Any], needs: list[str], run: Run) -> None:
    """What the builder has to be sent for it is known at once."""
    assert run(digest=digest, **more) == {"converged": False, "needs": needs}


def test_an_upgrade_of_what_is_not_there_is_nothing_to_do(run: Run) -> None:
    assert run(upgrade_packages=["beta"])["converged"]


def test_a_lock_that_was_damaged(run: Run, layout: Layout) -> None:
    Path(layout.lock("train")).write_text(LOCK.replace("==", ">="), encoding="utf-8")
    assert run() == {"converged": False, "needs": []}


@pytest.mark.parametrize(
    "spec",
    [
        EnvironmentSpec("train", python="3.12", requirements=("alpha",)),  # To be built anew.
        EnvironmentSpec("train", python="3.11", requirements=("alpha",)),  # An interpreter that is not there.
        EnvironmentSpec("train", python="3.12", requirements=("alpha",), compile_bytecode=False, glibc="2.28"),
    ],
)
def test_something_to_build_although_locks_are_up_to_date(spec: EnvironmentSpec, run: Run) -> None:
    assert run(spec) == {"converged": False, "locks": LOCKED}


@pytest.mark.parametrize("lost", ["link", "manifest"])
def test_something_that_went_missing(lost: str, run: Run, layout: Layout) -> None:
    os.unlink(layout.env("train") if lost == "link" else layout.manifest("train", ID))
    assert run() == {"converged": False, "locks": LOCKED}


def test_something_to_remove(run: Run, layout: Layout) -> None:
    assert not run(EnvironmentSpec("train", state="absent"))["converged"]
    os.makedirs(layout.generation("stranger", ID))
    # Of one that has been removed, only files are left.
    assert run(purge=True)["converged"]
    shares.add_lock(Path(layout.root), "stranger", "")
    assert run()["converged"]
    assert not run(purge=True)["converged"]


def test_a_foreign_link_is_left_to_whoever_tells_about_it(run: Run, layout: Layout) -> None:
    os.unlink(layout.env("train"))
    os.symlink("/elsewhere", layout.env("train"))
    assert not run()["converged"]
