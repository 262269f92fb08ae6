# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found on a share that may go, and what keeps it there, on real files."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.prune.plan import Keep
from ansible_collections.uvnas.cluster.plugins.module_utils.env.prune.state import Needs
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import here
from ansible_collections.uvnas.cluster.plugins.module_utils.python.spec import SitePython
from ansible_collections.uvnas.cluster.plugins.module_utils.python.version import Version
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.unit import old_share
from ansible_collections.uvnas.cluster.tests.unit.old_share import (
    GONE,
    HELD,
    IN_FORCE,
    LAST,
    MAY_GO,
    OLD,
    OLD_KEY,
    OLDEST,
    OldShare,
)

NEW = "9" * 12


@pytest.fixture
def share(tmp_path: Path) -> OldShare:
    """Of which nothing is kept for its age."""
    return dataclasses.replace(old_share.make(tmp_path / "uv"), keep=Keep(generations=0, days=0))


def whys(share: OldShare) -> dict[str, str]:
    return {fact["name"]: fact["why"] for fact in share.look()["kept"]}


def why(share: OldShare, generation_id: str) -> str:
    """Why a generation of train stays; empty if it may go."""
    name = f"train/{generation_id}"
    found = whys(share).get(name, "")
    assert bool(found) != (("generation", name) in share.may_go())
    return found


def record(share: OldShare, **more: t.Any) -> None:
    path = share.path("locks", "train.state.json")
    shares.write_json(path, {**json.loads(path.read_text()), **more})


def test_all_that_is_old_and_not_held(share: OldShare) -> None:
    assert share.may_go() == {*MAY_GO, ("generation", f"train/{LAST}")}
    assert why(share, HELD).startswith(f"held at {HELD} since 2020-01-31 12:00 UTC")
    share.hold(None)
    assert why(share, HELD) == ""
    assert share.look()["in_force"] == {"train": [IN_FORCE]}


def test_any_may_be_held_where_the_record_cannot_be_read(share: OldShare) -> None:
    """So that other shares keep it, too."""
    share.path("locks", "train.state.json").write_text("{")
    assert share.look()["in_force"]["train"] == sorted(os.listdir(share.layout.generations_of("train")))


def test_what_is_not_on_record(share: OldShare) -> None:
    """From before there was one; and built since, and never published."""
    root = Path(share.layout.root)
    shares.add_generation(root, "train", NEW, created="2019-01-01T12:00:00+00:00")
    assert why(share, NEW) == ""
    (retired,) = [item["retired"] for item in share.look()["candidates"] if item["name"] == f"train/{NEW}"]
    assert retired == shares.standing("train", IN_FORCE)["since"]
    record(share, in_force=OLD)  # A run was killed between link and record.
    assert "not on record since when it is retired" in why(share, NEW)
    shutil.rmtree(share.generation(NEW))
    built = "2020-06-01T12:00:00+00:00"
    shares.add_generation(root, "train", NEW, created=built)
    (retired,) = [item["retired"] for item in share.look()["candidates"] if item["name"] == f"train/{NEW}"]
    assert (retired, why(share, NEW)) == (built, "")


def test_what_waits_to_be_published(share: OldShare) -> None:
    lock = share.path("locks", "train.txt")
    root = Path(share.layout.root)
    lock.write_text("# uvnas\n" + lock.read_text())
    digest = share.declared._lock_digest("train")
    shares.add_generation(
        root,
        "train",
        NEW,
        created="2020-06-01T12:00:00+00:00",
        lock={"digest": digest, "spec": "3" * 64, "text": "4" * 64},
    )
    assert why(share, NEW) == "it has been built, and waits to be published"
    shares.add_lock(root, "train", f"iniconfig==2.1 \\\n    --hash=sha256:{'7' * 64}\n")
    assert why(share, NEW) == ""


def test_a_record_that_is_behind(share: OldShare) -> None:
    """The link was switched; the generation before is still in force there."""
    record(share, generations={**json.loads(share.path("locks", "train.state.json").read_text())["generations"],
                               OLD: old_share.past(None)})  # fmt: skip
    assert why(share, OLD) == "its record says that it is in force; the next run of site.yml corrects that"


def test_what_is_not_complete_is_none(share: OldShare) -> None:
    share.generation(NEW).mkdir()
    assert ("generation", f"train/{NEW}") not in share.may_go()
    assert f"train/{NEW}" not in whys(share)


BROKEN: dict[str, t.Callable[[OldShare], object]] = {
    "record": lambda share: share.path("locks", "train.state.json").write_text("{}"),
    "link": lambda share: (os.unlink(share.layout.env("train")), os.symlink("/etc", share.layout.env("train"))),
    "file for a link": lambda share: (os.unlink(share.layout.env("train")), share.path("envs", "train").touch()),
    "directory for a record": lambda share: (
        share.path("locks", "train.state.json").unlink(),
        share.path("locks", "train.state.json").mkdir(),
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_where_something_cannot_be_read_all_of_it_stays(share: OldShare, broken: str) -> None:
    share.put_aside({("generation", f"train/{OLDEST}")})
    BROKEN[broken](share)
    found = share.look()
    assert {name for kind, name in share.may_go() if kind == "generation"} == {f"gone/{GONE}"}
    assert all(why(share, each) for each in (LAST, OLD))
    # What a killed prune has put aside comes back.
    (wanted,) = [item["wanted"] for item in found["candidates"] if item["aside"]]
    assert wanted
    assert "gone" not in found["in_force"]


def test_a_lock_that_is_no_file_is_no_removed_environment(share: OldShare) -> None:
    share.path("locks", "gone.txt").mkdir()
    shares.write_json(share.path("locks", "gone.state.json"), {**shares.standing("gone", GONE), "in_force": None})
    assert ("generation", f"gone/{GONE}") not in share.may_go()
    assert "not on record since when" in whys(share)[f"gone/{GONE}"]


def test_a_manifest_that_cannot_be_read_keeps_it_and_all_interpreters(share: OldShare) -> None:
    shares.add_generation(Path(share.layout.root), "train", NEW)
    manifest = share.generation(NEW) / ".uvnas.json"
    manifest.chmod(0o644)
    for content in ("{}", json.dumps(shares.manifest("train", OLD)), "not JSON"):
        manifest.write_text(content)
        assert why(share, NEW) == "its manifest cannot be read"
        assert ("interpreter", OLD_KEY) not in share.may_go()
        assert Needs(share.declared).of(OLD_KEY) == f"train/{NEW} may need it: its manifest cannot be read"
    # Wherever it is.
    share.generation(NEW).rename(share.aside(NEW))
    assert ("interpreter", OLD_KEY) not in share.may_go()


# Interpreters


def test_what_needs_an_interpreter(share: OldShare) -> None:
    assert ("interpreter", OLD_KEY) in share.may_go()
    for request in ("3.11", "3.11.9"):
        again = dataclasses.replace(share, pythons=("3.12", request))
        assert ("interpreter", OLD_KEY) not in again.may_go()
        assert Needs(again.declared).of(OLD_KEY) == f"{request} is requested"
    python = {"key": OLD_KEY, "version": "3.11.9", "digest": "3" * 64}
    shares.add_generation(Path(share.layout.root), "gone", NEW, python=python)
    assert ("interpreter", OLD_KEY) not in share.may_go()
    assert Needs(share.declared).of(OLD_KEY) == f"gone/{NEW} needs it"
    # It goes with the next prune at the earliest: who uses that one may get it back.
    share.put_aside({("generation", f"gone/{NEW}")})
    assert ("interpreter", OLD_KEY) not in share.may_go()
    assert Needs(share.declared).of(OLD_KEY) == f"gone/{NEW} needs it"


def test_one_that_the_site_supplies(share: OldShare) -> None:
    version = Version.parse("3.11.9")
    key = version.key(here().name)
    known = json.loads(share.path("locks", "pythons.json").read_text())
    known["interpreters"] = {key: known["interpreters"][OLD_KEY]}
    shares.write_json(share.path("locks", "pythons.json"), {**known, "requests": {}})
    share.path("python", key).mkdir(exist_ok=True)
    assert ("interpreter", key) in share.may_go()
    supplied = SitePython("ours", version, archive="ours.tar.gz", sha256="3" * 64)
    declared = dataclasses.replace(share.declared, sites=(supplied,))
    assert key not in [item.name for item in declared.plan().items]
    assert Needs(declared).of(key) == "ours is declared"


def test_an_interpreter_that_is_not_on_record_or_not_there(share: OldShare) -> None:
    share.path("python", "cpython-3.9.1-linux-x86_64-gnu").mkdir()
    shutil.rmtree(share.path("python", OLD_KEY))
    assert not [name for kind, name in share.may_go() if kind == "interpreter"]


def test_an_interpreter_whose_prune_was_killed_after_it_was_forgotten(share: OldShare) -> None:
    share.put_aside({("interpreter", OLD_KEY)})
    known = json.loads(share.path("locks", "pythons.json").read_text())
    del known["interpreters"][OLD_KEY], known["requests"]["3.11"]
    shares.write_json(share.path("locks", "pythons.json"), known)
    assert ("interpreter", OLD_KEY) in dataclasses.replace(share, pythons=("3.12", "3.11")).may_go()


# uv


def test_versions_of_uv(share: OldShare) -> None:
    def found() -> set[str]:
        return {name for kind, name in share.may_go() if kind == "uv"}

    (retired,) = [item["retired"] for item in share.look()["candidates"] if item["kind"] == "uv"]
    assert (found(), retired) == ({"0.13.8"}, "1970-01-01T00:00:00+00:00")
    assert dataclasses.replace(share, keep=Keep(days=30)).may_go() >= {("uv", "0.13.8")}
    # An hour ago another one was linked.
    os.unlink(share.layout.uv)
    os.symlink("../lib/uv/0.13.8/uv", share.layout.uv)
    assert found() == {"0.13.9"}
    recent = dataclasses.replace(share, keep=Keep(days=30))
    assert whys(recent)["0.13.9"] == "retired for 0 of 30 days"


@pytest.mark.parametrize("target", [None, "/usr/bin/uv", "../lib/uv/0.13.7/uv"])
def test_without_a_uv_that_is_linked_all_of_them_stay(share: OldShare, target: str | None) -> None:
    os.unlink(share.layout.uv)
    if target is not None:
        os.symlink(target, share.layout.uv)
    assert not [name for kind, name in share.may_go() if kind == "uv"]
