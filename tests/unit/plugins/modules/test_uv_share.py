# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_share, from its arguments to its result, on an ordinary directory as whoever runs the tests.

Other users, other filesystems, kills and races: tests/integration/test_uv_share.py.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import typing as t
import uuid
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.host import acl
from ansible_collections.uvnas.cluster.plugins.modules import uv_share
from ansible_collections.uvnas.cluster.tests.support import acls

LAYOUT = {"bin", "lib", "cache", "bytecode", "user-cache", "python", "python-archives", "locks", "envs", "generations"}
ID = "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(root: Path, check_mode: bool = False, **args: t.Any) -> dict[str, t.Any]:
        args = {"share": str(root), "share_name": "nas_a", **args}
        with patch_module_args({**args, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as ended:
            uv_share.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code), result
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


def tree(directory: Path) -> dict[str, tuple[int, int]]:
    """All there is, with modes and times of the last change."""
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in [directory, *directory.rglob("*")]}


def test_a_new_share(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "uv"
    result = run(root)
    assert result["changed"]
    assert not [warning for warning in result.get("warnings", []) if "had another owner" in str(warning)]
    identity = json.loads((root / "share.json").read_text())
    assert identity == {"layout": 1, "name": "nas_a", "id": result["share_id"]}
    assert uuid.UUID(identity["id"]).version == 4
    directories = {path for path in root.iterdir() if path.is_dir()}
    assert {path.name for path in directories} == LAYOUT
    assert (root / "lib" / "uv").is_dir()
    assert {path.name for path in root.iterdir() if path.name.startswith(".")} == {".uvnas.mutex", ".uvnas-probe.mutex"}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directories}
    assert modes == {**dict.fromkeys(LAYOUT, 0o755), "cache": 0o700, "bytecode": 0o700, "user-cache": 0o1777}
    assert set(result["created"]) == {
        str(path) for path in (root, root / "lib" / "uv", root / "share.json", *directories)
    }
    assert result["corrected"] == []
    assert len(result["diff"]["after"].splitlines()) == len(result["created"])
    assert result["diff"]["before"] == ""


def test_the_second_time_nothing_is_done(run: Run, tmp_path: Path) -> None:
    first = run(tmp_path / "uv")
    again = run(tmp_path / "uv")
    assert not again["changed"]
    assert (again["created"], again["corrected"]) == ([], [])
    assert again["diff"]["before"] == again["diff"]["after"] == ""
    for fact in ("share_id", "filesystem", "link_mode", "platform"):
        assert again[fact] == first[fact]


def test_check_mode_writes_nothing_and_predicts_all(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "uv"
    before = tree(tmp_path)
    predicted = run(root, check_mode=True)
    assert tree(tmp_path) == before
    done = run(root)
    for part in ("changed", "created", "corrected", "diff", "filesystem", "root", "share_name", "platform"):
        assert predicted[part] == done[part]
    assert predicted["share_id"] is None
    assert predicted["link_mode"] is None
    assert predicted["probe"]["hard_link"] is None
    assert predicted["probe"]["free_bytes"] > 0


def test_check_mode_of_a_share_that_is_there_writes_nothing(run: Run, tmp_path: Path) -> None:
    first = run(tmp_path / "uv")
    before = tree(tmp_path)
    again = run(tmp_path / "uv", check_mode=True)
    assert tree(tmp_path) == before
    assert not again["changed"]
    assert again["share_id"] == first["share_id"]


def test_what_is_off_is_set_right(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "uv"
    share_id = run(root, user_cache="group")["share_id"]
    (root / "cache").chmod(0o777)
    (root / "share.json").chmod(0o666)
    (root / "lib" / "uv").rmdir()
    os.removexattr(root / "user-cache", "system.posix_acl_default")
    predicted = run(root, check_mode=True, user_cache="group")
    result = run(root, user_cache="group")
    assert predicted["diff"] == result["diff"]
    assert result["created"] == [str(root / "lib" / "uv")]
    assert result["corrected"] == [str(root / "cache"), str(root / "user-cache"), str(root / "share.json")]
    assert result["diff"]["before"].startswith("cache/: 0777 ")
    assert "user-cache/: 2775" in result["diff"]["before"]
    assert "new files writable by the group" not in result["diff"]["before"]
    assert "new files writable by the group" in result["diff"]["after"]
    assert stat.S_IMODE((root / "cache").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "share.json").stat().st_mode) == 0o644
    assert not run(root, user_cache="group")["changed"]
    assert run(root)["share_id"] == share_id


def test_another_mode_and_policy(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "uv"
    run(root, mode="0750")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.iterdir()) if path.is_dir()}
    assert modes == {0o700, 0o750, 0o1770}
    for user_cache, mode in (("group", 0o2770), ("personal", 0o1770), ("group", 0o2770), ("private", 0o750)):
        result = run(root, mode="0750", user_cache=user_cache)
        assert result["corrected"] == [str(root / "user-cache")]
        assert stat.S_IMODE((root / "user-cache").stat().st_mode) == mode
    (root / "user-cache" / "new").mkdir()
    assert not os.listxattr(root / "user-cache" / "new")


def test_the_umask_does_not_matter(run: Run, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run(tmp_path / "uv")
    finally:
        os.umask(before)
    assert not run(tmp_path / "uv")["changed"]


def test_whoever_ignores_the_end_of_children_does_not_matter(run: Run, tmp_path: Path) -> None:
    """Some supervisors do, and it is inherited. Nobody would hear of the end of the work then."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.alarm(60)
    try:
        assert run(tmp_path / "uv")["changed"]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGCHLD, before)


def _writable_by_others(directory: Path) -> list[str]:
    found = []
    for path in [directory, *directory.rglob("*")]:
        inherited = path.is_dir() and acl.default_acl_of(str(path))
        if inherited or path.stat().st_mode & 0o022:
            found.append(str(path.relative_to(directory)))
    return found


@pytest.mark.parametrize("ground", ["parent", "root"])
def test_default_acls_from_above_end_at_the_root(run: Run, tmp_path: Path, ground: str) -> None:
    """With them the kernel ignores the umask, and all that is ever made in the share could be written by others."""
    root = tmp_path / "uv"
    inherits = tmp_path if ground == "parent" else root
    inherits.mkdir(exist_ok=True)
    os.setxattr(inherits, acl.DEFAULT_ACL, acls.LETS_A_GROUP_WRITE)
    run(root)
    assert _writable_by_others(root) == ["user-cache"]
    for part in ("bin", "python", "generations", "lib/uv"):
        (root / part / "made").mkdir()
        (root / part / "made" / "file").touch()
    assert _writable_by_others(root) == ["user-cache"]
    assert not run(root)["changed"]


def test_default_acls_of_a_share_that_is_there_are_taken_off(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "uv"
    run(root)
    for name in ("python", "generations"):
        os.setxattr(root / name, acl.DEFAULT_ACL, acls.LETS_A_GROUP_WRITE)
    foretold, done = run(root, check_mode=True), run(root)
    assert foretold["corrected"] == done["corrected"] == [str(root / name) for name in ("python", "generations")]
    assert "new files with a default ACL" in done["diff"]["before"]
    assert not [text for text in done.get("warnings", []) if "could write" in str(text)]
    assert _writable_by_others(root) == ["user-cache"]


def test_what_others_could_write_to_may_have_been_changed(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "uv"
    run(root)
    for name in ("cache", "python"):
        (root / name).chmod(0o775)
    foretold, done = run(root, check_mode=True), run(root)
    assert foretold["warnings"] == done["warnings"]
    assert "could write to python, cache, and may have changed what is there" in str(done["warnings"])
    (root / "user-cache").chmod(0o777)
    assert "user-cache" not in str(run(root)["warnings"])  # Ansible keeps those of before.


def test_an_id_can_be_declared(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "uv"
    assert run(root, check_mode=True, share_id=ID)["share_id"] == ID
    assert run(root, share_id=ID)["share_id"] == ID
    assert not run(root, share_id=ID.upper())["changed"]
    result = run(root, share_id=str(uuid.uuid4()))
    assert f"its id is {ID}" in result["msg"]


def test_an_empty_directory_becomes_the_share(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "uv"
    root.mkdir()
    result = run(root)
    assert str(root) not in result["created"]
    assert (root / "share.json").exists()


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"share_name": "a b"}, "'a b' cannot be the name of a share"),
        ({"share": "uv"}, "root 'uv' is not an absolute path"),
        ({"share": "/"}, "root cannot be /"),
        ({"mount": "/elsewhere"}, "is not below its mount /elsewhere"),
        ({"mode": "0777"}, "mode 0777 would let others"),
        ({"share_id": "x"}, "'x' is not an id"),
        ({"owner": "no-such-user"}, "this host has no user no-such-user"),
        ({"group": "no-such-group"}, "this host has no group no-such-group"),
        ({"user_cache": "private", "user_cache_users": ["no-such-user"]}, "this host has no user no-such-user"),
        ({"user_cache": "mine"}, "value of user_cache must be one of"),
        ({"min_free_bytes": 1 << 62}, "bytes free, but needs 4611686018427387904"),
        (
            {"declared_shares": [{"name": "a", "root": "/a"}, {"name": "b", "root": "/a/b"}]},
            "the share b (/a/b) is inside the share a (/a)",
        ),
    ],
)
def test_errors_come_before_the_first_write(
    run: Run, tmp_path: Path, args: dict[str, t.Any], said: str, check_mode: bool
) -> None:
    before = tree(tmp_path)
    result = run(tmp_path / "uv", check_mode=check_mode, **args)
    assert result["failed"]
    assert said in result["msg"]
    assert tree(tmp_path) == before


def contents(tmp_path: Path) -> dict[str, t.Callable[[Path], t.Any]]:
    """What may stand in the way, by what is said about it."""

    def inside_another(root: Path) -> None:
        (root.parent / "share.json").write_text(json.dumps({"layout": 1, "name": "nas_b", "id": ID}))

    return {
        "the parent is missing": lambda root: root.parent.rmdir(),
        "is neither a share nor empty (it has notes.txt)": lambda root: (root.mkdir(), (root / "notes.txt").touch()),
        "is neither a share nor empty (it has bin)": lambda root: (root / "bin").mkdir(parents=True),
        "is a symlink; a share is made of directories": lambda root: root.symlink_to(tmp_path),
        "is not a directory; a share is made of directories": lambda root: root.touch(),
        "is the share nas_b, not nas_a": lambda root: identity(root, name="nas_b"),
        "has layout 2, but this uvnas.cluster supports layout 1": lambda root: identity(root, layout=2),
        "is not the identity of a share": lambda root: identity(root, id=None),
        "is not valid JSON": lambda root: (root.mkdir(), (root / "share.json").write_text("{")),
        "does not hold a JSON object": lambda root: (root.mkdir(), (root / "share.json").write_text("[]")),
        "is inside the share nas_b": inside_another,
        "cache is a symlink; a share is made": lambda root: (identity(root), (root / "cache").symlink_to("/tmp")),
    }


def identity(root: Path, **change: t.Any) -> None:
    root.mkdir()
    (root / "share.json").write_text(json.dumps({"layout": 1, "name": "nas_a", "id": ID, **change}))


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("said", contents(Path()))
def test_what_is_there_and_is_not_this_share_is_left_alone(
    run: Run, tmp_path: Path, said: str, check_mode: bool
) -> None:
    root = tmp_path / "nas" / "uv"
    root.parent.mkdir()
    contents(tmp_path)[said](root)
    before = tree(tmp_path)
    result = run(root, check_mode=check_mode)
    assert result["failed"]
    assert (said if said != "the parent is missing" else "does not exist on this host") in result["msg"]
    assert result["hint"] in result["msg"]
    assert result["hint"]
    assert tree(tmp_path) == before


def test_nothing_mounted(run: Run, tmp_path: Path) -> None:
    before = tree(tmp_path)
    result = run(tmp_path / "uv", mount=str(tmp_path))
    assert f"nothing is mounted at {tmp_path}, the mount of share nas_a" in result["msg"]
    result = run(tmp_path / "nas" / "uv", mount=str(tmp_path / "nas"))
    assert f"the mount {tmp_path}/nas of share nas_a does not exist" in result["msg"]
    assert tree(tmp_path) == before


def test_documented_results_are_those_returned(run: Run, tmp_path: Path) -> None:
    result = run(tmp_path / "uv")
    assert "ahead" not in result
    result = run(tmp_path / "uv", ahead={"uv_binary": {"version": "0.13.9"}})
    documented = yaml.safe_load(uv_share.RETURN)
    assert set(result) - {"changed", "diff", "warnings", "invocation"} == set(documented)
    for name in ("probe", "platform"):
        assert set(result[name]) == set(documented[name]["contains"])


# A look ahead


def test_ahead_of_what_is_not_there_it_says_nothing(run: Run, tmp_path: Path) -> None:
    asked = {"uv_binary": {"version": "0.13.9"}, "uv_profile": {"directory": str(tmp_path / "profile.d")}}
    assert "ahead" not in run(tmp_path / "uv", ahead=asked)  # It has made the share.
    before = set(tree(tmp_path))
    assert run(tmp_path / "uv", ahead=asked)["ahead"] == {}
    assert run(tmp_path / "uv", check_mode=True, ahead=asked)["ahead"] == {}
    assert set(tree(tmp_path)) == before


def test_ahead_of_what_is_as_asked_it_says_so(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "uv")
    files = {"directory": str(tmp_path / "profile.d"), "fish_directory": "", "state": "absent"}
    found = run(tmp_path / "uv", ahead={"uv_profile": files})["ahead"]
    assert found == {
        "uv_profile": {
            "changed": False,
            "files": [f"{tmp_path}/profile.d/uvnas.sh", f"{tmp_path}/profile.d/uvnas.csh"],
            "home_share": None,
        }
    }


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"uv_binary": "0.13.9"}, "ahead: uv_binary is not a dictionary"),
        ({"uv_profile": {"state": "gone"}}, "ahead: uv_profile: value of state must be one of"),
    ],
)
def test_questions_that_are_none(asked: dict[str, t.Any], said: str, run: Run, tmp_path: Path) -> None:
    assert said in run(tmp_path / "uv", ahead=asked)["msg"]
    assert not (tmp_path / "uv").exists()
