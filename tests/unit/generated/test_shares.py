# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares with one damaged file: modules say which, write nothing, and do what they can for all other environments."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import typing as t
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import look, verify
from ansible_collections.uvnas.cluster.plugins.module_utils.env.compare import compare
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError, as_uvnas_error
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import Work
from ansible_collections.uvnas.cluster.plugins.module_utils.python.converge import from_params
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import Record, load_record
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import (
    uv_binary,
    uv_env,
    uv_env_info,
    uv_history,
    uv_hold,
    uv_lock,
)
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.generated import (
    JSON,
    NO_FILES,
    damaged,
    damaged_bytes,
    damaged_text,
    put,
    tree,
)
from hypothesis import example, given
from hypothesis import strategies as st

SPEC = "5" * 64
HEADER = json.dumps({"environment": "train", "format": 1, "python": "3.12", "spec": SPEC})
LOCK = f"# uvnas.cluster lock: {HEADER}\nalpha==2.1 \\\n    --hash=sha256:{'2' * 64}\n"
# Of what is locked, and of what goes into the generation.
DIGEST = "d4ff71d6e89ccc386065ff3f0afc887edc8e4c5b2599f60f61b3808895634f05"
ID = "f45966c2a277"
ENVS = ("fine", "train")
RECORD = {
    "format": 1,
    "requests": {"3.12": shares.KEY},
    "interpreters": {
        shares.KEY: {"version": "3.12.4", "digest": "1" * 64, "source": "download", "compiled": True},
        "cpython-3.11.9-linux-x86_64-gnu": {
            "version": "3.11.9",
            "digest": "4" * 64,
            "source": "site",
            "compiled": False,
            "name": "debian",
            "archive": "cpython-3.11.9-linux-x86_64-gnu-444444444.tar.gz",
            "archive_sha256": "4" * 64,
        },
    },
}
# What damages a file, and does not stop anybody from working with the rest.
OF_TRAIN = {"manifest": f"generations/train/{ID}/.uvnas.json", "lock": "locks/train.txt"}
OF_ALL = {"share": "share.json", "record": "locks/pythons.json"}


@dataclasses.dataclass(frozen=True)
class Damage:
    """Something else in the place of a file of a share."""

    name: str
    content: bytes | str

    def do(self, root: Path) -> Path:
        path = root / self.name
        if isinstance(self.content, str):
            put(path, self.content)
        else:
            path.write_bytes(self.content)
        return path


def _json(valid: t.Mapping[str, t.Any]) -> st.SearchStrategy[bytes]:
    text = json.dumps(valid)
    return st.one_of(
        damaged(valid).map(lambda value: json.dumps(value).encode()),
        damaged_text(text).map(lambda found: found.encode(errors="surrogatepass")),
        damaged_bytes(text.encode()),
        JSON.map(lambda value: json.dumps(value).encode()),
    )


def _damage(name: str, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[Damage]:
    return st.builds(Damage, st.just(name), st.one_of(content, content, content, st.sampled_from(NO_FILES)))


MANIFESTS = _damage(OF_TRAIN["manifest"], _json(shares.manifest("train", ID, packages={"alpha": "2.1"})))
LOCKS = _damage(OF_TRAIN["lock"], damaged_text(LOCK).map(lambda text: text.encode(errors="surrogatepass")))
IDENTITIES = _damage(OF_ALL["share"], _json({"layout": 1, "name": "nas_a", "id": shares.SHARE_ID}))
RECORDS = _damage(OF_ALL["record"], _json(RECORD))
DAMAGES = st.one_of(MANIFESTS, LOCKS, IDENTITIES, RECORDS)
# What may be damaged in such a way that there is something else to do.
SINCE = "2026-11-27T14:02:31.000001+00:00"
HOLD = {"id": ID, "since": SINCE, "by": "alice on ctl1", "reason": "too slow", "declared": False}
STANDINGS = _damage("locks/train.state.json", _json(shares.standing("train", ID, hold=HOLD)))
TOLD = {"time": SINCE, "action": "publish", "environment": "train", "generation": ID, "packages_changed": ["a 1 -> 2"]}
JOURNALS = _damage("journal.jsonl", _json(TOLD))


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A share that is converged, with a uv that fails."""
    root = shares.make_share(tmp_path_factory.mktemp("share") / "uv")
    shares.write_json(root / "locks" / "pythons.json", RECORD)
    for env in ENVS:
        shares.add_lock(root, env, LOCK)
        shares.add_generation(root, env, ID, packages={"alpha": "2.1"})
        shares.publish(root, env, ID)
    shares.write_json(root / "journal.jsonl", TOLD)
    (root / "bin" / "uv").write_text("#!/bin/sh\nexit 1\n")
    (root / "bin" / "uv").chmod(0o755)
    return root


@contextlib.contextmanager
def damaged_share(share: Path, damage: Damage) -> t.Iterator[Path]:
    """A copy of the share, at one and the same place, with a damage."""
    root = share.parent / "damaged"
    shutil.copytree(share, root, symlinks=True)
    try:
        damage.do(root)
        yield root
    finally:
        shutil.rmtree(root)


def environments() -> list[dict[str, t.Any]]:
    return [{"name": env, "python": "3.12", "requirements": ["alpha"]} for env in ENVS]


def params(root: Path, **more: t.Any) -> dict[str, t.Any]:
    return {
        "share": str(root),
        "share_name": "nas_a",
        "share_id": None,
        "mount": None,
        "glibc": {},
        "environments": environments(),
        "locks": None,
        "inputs": {env: {"spec_digest": SPEC} for env in ENVS},
        "index": None,
        "uv_variables": {},
        "purge": False,
        "jobs": 1,
        "link_mode": None,
        "min_free_bytes": 0,
        "min_free_inodes": 0,
        "earlier_shares": [],
        "smoke_timeout": 10.0,
        "busy_timeout": 0.0,
        "journal_user": "alice",
        "journal_controller": "ctl1",
        "upgrade": [],
        "upgrade_packages": [],
        "verify": False,
        "verify_again": True,
        "sizes": True,
        "details": True,
        **more,
    }


def result_of(work: t.Callable[[], dict[str, t.Any]]) -> dict[str, t.Any]:
    """The result of a module, as the adapter has it; what is no error of an admin is raised."""
    try:
        return work()
    except (UvnasError, OSError) as error:
        found = as_uvnas_error(error)
        return {"failed": True, "msg": found.explain()}


# What a module makes, whatever becomes of its work.
MADE = (".uvnas.mutex", "logs")
NOTED = (*MADE, "pythons.json")


def record_of(root: Path) -> Record | str:
    """What the record of interpreters says, or why it says nothing."""
    try:
        return load_record(Layout(str(root)))
    except (UvnasError, OSError) as error:
        return str(error)


@given(DAMAGES)
@example(Damage(OF_TRAIN["manifest"], json.dumps({**shares.manifest("train", ID), "created": None}).encode()))
@example(Damage(OF_TRAIN["manifest"], json.dumps({**shares.manifest("train", ID), "id": "../../../.."}).encode()))
@example(Damage(OF_TRAIN["manifest"], b"[" * 100000))
@example(Damage(OF_TRAIN["manifest"], "endless"))
@example(Damage(OF_TRAIN["manifest"], "directory"))
def test_info_tells_of_all_others(share: Path, damage: Damage) -> None:
    with damaged_share(share, damage) as root:
        before = tree(root)
        result = result_of(lambda: uv_env_info.work({**params(root), "glibc": None}))
        json.dumps(result)
        assert tree(root) == before
        if damage.name == OF_ALL["share"]:
            assert not result.get("failed") or damage.name in result["msg"] or "share" in result["msg"]
            return
        found = [fact["name"] for fact in result["environments"]]
        assert "fine" in found
        if "train" not in found:
            (problem,) = result["problems"]
            assert str(root / damage.name) in problem or "environment train" in problem


@given(MANIFESTS)
def test_verify_tells_of_all_others(share: Path, damage: Damage) -> None:
    """Their Python is none; that is said of each that is not damaged."""
    with damaged_share(share, damage) as root:
        # One process each is what others test, and as whom they run.
        as_root = mock.patch.object(look, "nobody", return_value=None)
        with as_root, mock.patch.object(verify, "call_many", _one_after_the_other):
            result = result_of(lambda: uv_env_info.work(params(root, verify=True, glibc=None)))
        assert any(problem.startswith("environment fine: ") for problem in result["problems"])
        assert any("train" in problem for problem in result["problems"])


def _one_after_the_other(works: t.Sequence[Work], **_how: t.Any) -> list[Work]:
    return list(works)


@given(DAMAGES)
def test_compare_writes_nothing(share: Path, damage: Damage) -> None:
    with damaged_share(share, damage) as root:
        before = tree(root)
        specs = [{**item, "requirements": tuple(item["requirements"])} for item in environments()]
        result = result_of(lambda: compare(params(root, environments=specs), check_mode=False))
        json.dumps(result)
        assert tree(root) == before
        if result.get("failed"):
            assert str(root) in result["msg"]


@given(DAMAGES, st.booleans(), st.booleans())
def test_a_converge_does_the_others_and_names_what_is_damaged(
    share: Path, damage: Damage, check: bool, told: bool
) -> None:
    with damaged_share(share, damage) as root:
        before = tree(root)
        locks = {env: {"digest": DIGEST} for env in ENVS} if told else None
        result = result_of(lambda: uv_env.work(params(root, locks=locks), check_mode=check))
        json.dumps(result)
        # Without any manifest, a generation is the rubbish of a build, and makes room for the next.
        if os.path.exists(root / damage.name):
            assert tree(root, without=MADE) == before
        if damage.name in OF_TRAIN.values():
            assert {fact["name"]: fact["action"] for fact in result["environments"]}["fine"] == "keep", result
        if result.get("failed"):
            assert any(name in result["msg"] for name in (str(root), "environment train", "Python 3.12"))


@given(DAMAGES)
def test_removing_one_does_not_need_the_others(share: Path, damage: Damage) -> None:
    with damaged_share(share, damage) as root:
        items = [{"name": "fine", "state": "absent"}]
        result = result_of(lambda: uv_env.work(params(root, environments=items), check_mode=False))
        if result.get("failed"):
            assert str(root) in result["msg"]
        else:
            assert not os.path.lexists(root / "envs" / "fine")
        assert os.path.lexists(root / "envs" / "train")


@given(DAMAGES)
def test_locking_leaves_what_is_damaged(share: Path, damage: Damage) -> None:
    with damaged_share(share, damage) as root:
        before = tree(root)
        result = result_of(lambda: uv_lock.work(params(root), check_mode=False))
        json.dumps(result)
        assert tree(root, without=MADE) == before
        if result.get("failed"):
            assert any(name in result["msg"] for name in (str(root), "environment train", "Python 3.12"))
        elif "needs" not in result:
            assert "fine" in result["locks"]


@given(st.one_of(RECORDS, IDENTITIES, MANIFESTS), st.sampled_from(([], ["3.11.9"])), st.booleans())
def test_interpreters(share: Path, damage: Damage, remove: list[str], check: bool) -> None:
    """Nothing but what the record names is removed, and nothing where it is damaged."""
    with damaged_share(share, damage) as root:
        given_ = {
            "share": str(root), "share_name": "nas_a", "share_id": None, "mount": None, "earlier_shares": [],
            "uv_variables": {}, "pythons": ["3.12"],
            "site_pythons": [], "upgrade": [], "remove": remove, "offline": True, "compile_bytecode": False,
            "mirror": None, "downloads_json_url": None,
        }  # fmt: skip
        before, record = tree(root, without=NOTED), record_of(root)
        work = functools.partial(
            from_params(given_, {}, check_mode=check).converge, purpose="installing interpreters", busy_timeout=0
        )
        result = result_of(work)
        json.dumps(result)
        if result.get("failed"):
            # What failed to be installed anew is noted meanwhile as unfinished, and then as it was.
            assert (tree(root, without=NOTED), record_of(root)) == (before, record)
            assert str(root) in result["msg"] or "cpython-" in result["msg"] or "uv cannot" in result["msg"]


@given(IDENTITIES)
def test_installing_uv(share: Path, damage: Damage) -> None:
    with damaged_share(share, damage) as root:
        before = tree(root)
        work = functools.partial(
            uv_binary.work,
            {
                "version": "0.13.9",
                "verify": False,
                "share": str(root),
                "share_name": "nas_a",
                "share_id": None,
                "mount": None,
                "busy_timeout": 0.0,
            },
            None,
            check_mode=False,
        )
        result = result_of(work)
        json.dumps(result)
        assert result.get("failed")  # The share's uv is no link.
        assert str(root) in result["msg"]
        assert tree(root) == before


@given(st.one_of(STANDINGS, JOURNALS), st.booleans())
def test_a_converge_whatever_is_on_record(share: Path, damage: Damage, check: bool) -> None:
    with damaged_share(share, damage) as root:
        before, link = tree(root), os.readlink(root / "envs" / "train")
        result = result_of(lambda: uv_env.work(params(root), check_mode=check))
        json.dumps(result)
        assert {fact["name"]: fact["action"] for fact in result["environments"]}["fine"] == "keep", result
        # There is no other generation.
        assert os.readlink(root / "envs" / "train") == link
        if check or result.get("failed"):
            assert tree(root, without=MADE) == before


@given(st.one_of(DAMAGES, STANDINGS, JOURNALS))
def test_a_history_tells_of_all_others(share: Path, damage: Damage) -> None:
    with damaged_share(share, damage) as root:
        before = tree(root)
        given = {"environment": None, "from": None, "to": None}
        result = result_of(lambda: uv_history.work({**params(root), **given}))
        json.dumps(result)
        assert tree(root) == before
        if damage.name != OF_ALL["share"]:
            assert "fine" in [environment["name"] for environment in result["environments"]], result


@given(st.one_of(DAMAGES, STANDINGS, JOURNALS), st.booleans(), st.sampled_from(["held", "released"]))
def test_a_rollback_is_done_or_says_why(share: Path, damage: Damage, check: bool, state: str) -> None:
    with damaged_share(share, damage) as root:
        before, link = tree(root), os.readlink(root / "envs" / "train")
        given = {"environment": "train", "generation": ID[:4], "reason": "too slow", "state": state}
        result = result_of(lambda: uv_hold.work({**params(root), **given}, check_mode=check))
        json.dumps(result)
        assert os.readlink(root / "envs" / "train") == link
        if check or result.get("failed"):
            assert tree(root, without=MADE) == before
        if result.get("failed"):
            assert any(name in result["msg"] for name in (str(root), "environment train"))
