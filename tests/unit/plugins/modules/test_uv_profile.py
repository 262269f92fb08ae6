# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_profile, from its arguments to its result, on real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.users import find_user
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import call_as
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.converge import converge
from ansible_collections.uvnas.cluster.plugins.modules import uv_profile

COLLECTIONS = str(Path(uv_profile.__file__).parents[5])
# Runs the module in a process of its own, which can be killed.
DRIVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.converge import converge
from ansible_collections.uvnas.cluster.plugins.modules import uv_profile
with patch_module_args(json.loads(sys.argv[1])):
    uv_profile.main()
"""

SHARES = [{"name": "nas_a", "root": "/mnt/nas-a/uv"}, {"name": "nas_b", "root": "/mnt/nas-b/uv"}]


@pytest.fixture
def args(tmp_path: Path) -> dict[str, t.Any]:
    return {"shares": SHARES, "directory": str(tmp_path / "profile.d"), "fish_directory": str(tmp_path / "conf.d")}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(args: dict[str, t.Any], *, check: bool = False, verbosity: int = 2, **more: t.Any) -> dict[str, t.Any]:
        given = {**args, **more, "_ansible_check_mode": check, "_ansible_diff": True, "_ansible_verbosity": verbosity}
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            uv_profile.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


def tree(directory: Path) -> dict[str, str]:
    return {str(path): path.read_text(encoding="utf-8") for path in sorted(directory.rglob("*")) if path.is_file()}


def test_first_run_second_run_and_what_they_return(run: Run, args: dict[str, t.Any], tmp_path: Path) -> None:
    first = run(args)
    files = [f"{args['directory']}/uvnas.sh", f"{args['directory']}/uvnas.csh", f"{args['fish_directory']}/uvnas.fish"]
    assert (first["changed"], first["files"], first["home_share"]) == (True, files, "nas_a")
    assert sorted(files) == list(tree(tmp_path))
    second = run(args)
    assert (second["changed"], second["diff"], second["files"]) == (False, [], files)


@pytest.mark.parametrize("state", ["present", "absent"])
def test_check_mode_says_what_a_real_run_does(state: str, run: Run, args: dict[str, t.Any], tmp_path: Path) -> None:
    run(args, shares=SHARES[1:])
    before = tree(tmp_path)
    predicted = run(args, check=True, state=state)
    assert tree(tmp_path) == before
    done = run(args, state=state)
    assert predicted == done
    assert done["changed"]
    assert {change["after_header"]: change["after"] for change in done["diff"] if change["after"]} == tree(tmp_path)


def test_check_mode_makes_no_directory(run: Run, args: dict[str, t.Any], tmp_path: Path) -> None:
    assert run(args, check=True)["changed"]
    assert list(tmp_path.iterdir()) == []


def test_the_diff_is_about_what_changed(run: Run, args: dict[str, t.Any]) -> None:
    run(args, variables={"UV_HTTP_TIMEOUT": 60})
    diff = run(args, variables={"UV_HTTP_TIMEOUT": 90})["diff"]
    assert len(diff) == 3
    for change in diff:
        assert "60" in change["before"]
        assert change["before"].replace("60", "90") == change["after"]


def test_without_verbosity_the_diff_is_a_line(run: Run, args: dict[str, t.Any], tmp_path: Path) -> None:
    def said(**more: t.Any) -> str:
        return "".join(change["prepared"] for change in run(args, verbosity=1, **more)["diff"])

    every = "uvnas.sh, uvnas.csh, uvnas.fish: "
    assert said(check=True) == said(shares=SHARES[:1]).replace("nas_a", "nas_a nas_b") != ""
    assert said() == every + "changed, shares nas_a -> nas_a nas_b\n"
    assert said(shares=SHARES[::-1]) == every + "changed, shares nas_a nas_b -> nas_b nas_a\n"
    assert said(shares=SHARES[::-1]) == ""
    assert said() == every + "changed, shares nas_b nas_a -> nas_a nas_b\n"
    assert said(variables={"UV_HTTP_TIMEOUT": 60, "PIP_INDEX_URL": "https://a.example.org"}) == (
        every + "changed, PIP_INDEX_URL, UV_HTTP_TIMEOUT\n"
    )
    sh = tmp_path / "profile.d" / "uvnas.sh"
    sh.write_text("echo mine\x1b[2J\n")
    sh.chmod(0o600)
    assert said(check=True, fish_directory="", state="absent") == "uvnas.sh, uvnas.csh: removed\n"
    assert said(variables={"UV_HTTP_TIMEOUT": 60, "PIP_INDEX_URL": "https://a.example.org"}) == (
        f"uvnas.sh: replaced, shares nas_a nas_b; owner {os.geteuid()}, mode 0600 -> owner {os.geteuid()}, mode 0644\n"
    )


def test_absent(run: Run, args: dict[str, t.Any], tmp_path: Path) -> None:
    run(args)
    gone = run(args, state="absent", shares=[])
    assert (gone["changed"], gone["home_share"], tree(tmp_path)) == (True, None, {})
    assert not run(args, state="absent", shares=[])["changed"]


def test_without_fish(run: Run, args: dict[str, t.Any], tmp_path: Path) -> None:
    assert len(run(args, fish_directory="")["files"]) == 2
    assert not (tmp_path / "conf.d").exists()


def test_what_is_withheld_is_a_warning_and_no_change(run: Run, args: dict[str, t.Any]) -> None:
    run(args)
    again = run(args, withheld=["UV_INDEX", "UV_DEFAULT_INDEX"])
    assert not again["changed"]
    (warning,) = again["warnings"]
    assert "UV_INDEX, UV_DEFAULT_INDEX" in str(warning)


def test_credentials_are_an_error_that_does_not_repeat_them(run: Run, args: dict[str, t.Any], tmp_path: Path) -> None:
    failed = run(args, variables={"UV_INDEX": "https://a.example.org https://alice:geheim@b.example.org/simple"})
    assert failed["failed"]
    assert "credentials" in failed["msg"]
    assert "geheim" not in json.dumps(failed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shares": []}, "no shares are given"),
        ({"shares": [{"name": "a/b", "root": "/a"}]}, "name of a share"),
        ({"shares": [{"name": "a"}]}, "missing required arguments: root"),
        ({"shares": [{"name": "a", "root": "/a", "mount": "/a"}]}, "mount"),
        ({"directory": "profile.d"}, "cannot hold profile files"),
        ({"directory": "/mnt/nas-a/uv/profile.d"}, "on the share nas_a"),
        ({"variables": {"PATH": "/evil"}}, "cannot be exported"),
        ({"variables": {"UV_A": "1\nrm -rf /"}}, "line break"),
    ],
)
def test_errors(wrong: dict[str, t.Any], said: str, run: Run, args: dict[str, t.Any], tmp_path: Path) -> None:
    failed = run(args, **wrong)
    assert failed["failed"]
    assert said in failed["msg"]
    assert "Traceback" not in json.dumps(failed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("below", [".", "new", "new/er"])
def test_a_directory_that_cannot_be_written(below: str, check: bool, args: dict[str, t.Any], tmp_path: Path) -> None:
    for path in [*tmp_path.parents][:3]:  # Made by pytest for this user alone.
        path.chmod(path.stat().st_mode | 0o011)
    tmp_path.chmod(0o555)
    params = {
        **args,
        "directory": str(tmp_path / below),
        "fish_directory": "",
        "user_cache": "group",
        "variables": {},
        "user_cache_users": [],
    }
    user = find_user("nobody") if os.geteuid() == 0 else None
    with pytest.raises(UvnasError, match=f"may not write to {tmp_path}, ") as caught:
        call_as(user, lambda: converge({**params, "withheld": [], "state": "present"}, check=check, diff=False))
    assert "ansible_become" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "rename", "/^f?chmod"])
def test_killed_midway_the_old_file_is_whole_and_the_next_run_finishes(
    call: str, run: Run, args: dict[str, t.Any], tmp_path: Path
) -> None:
    run(args, shares=SHARES[1:])
    old = tree(tmp_path)
    wanted = run(args, check=True)["diff"]
    strace = [
        "strace",
        "-f",
        "-o",
        tmp_path / "trace",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=KILL:when=1",
    ]
    killed = subprocess.run(
        [*strace, sys.executable, "-c", DRIVER, json.dumps({**args, "fish_directory": ""})],
        env={**os.environ, "PYTHONPATH": COLLECTIONS, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / "trace").unlink()
    now = tree(tmp_path)
    (unfinished,) = set(now) - set(old)
    # Nothing that a shell would read: they read *.sh, *.csh and *.fish.
    assert Path(unfinished).name.startswith(".")
    assert unfinished.endswith(".tmp")
    assert {path: now[path] for path in old} == old
    assert run(args)["changed"]
    for change in wanted:
        assert Path(change["after_header"]).read_text(encoding="utf-8") == change["after"]
