# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_binary, from its arguments to its result, on real files."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.modules import uv_binary
from ansible_collections.uvnas.cluster.tests.support.uv_archives import program, write_wheel

COLLECTIONS = str(Path(uv_binary.__file__).parents[5])
# Runs the module in a process of its own, which can be killed.
DRIVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.modules import uv_binary
with patch_module_args(json.loads(sys.argv[1])):
    uv_binary.main()
"""


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A share, as uv_share leaves it; as root, one that belongs to somebody else."""
    root = tmp_path / "share"
    for name in ("bin", "lib/uv"):
        (root / name).mkdir(parents=True)
    (root / "share.json").write_text('{"layout": 1, "name": "a", "id": "b2f0"}')
    if os.geteuid() == 0:
        somebody = pwd.getpwnam("nobody")
        for path in [root, *root.rglob("*")]:
            os.chown(path, somebody.pw_uid, somebody.pw_gid)
        for path in [*tmp_path.parents][:3]:  # Made by pytest for this user alone.
            path.chmod(path.stat().st_mode | 0o011)
        tmp_path.chmod(0o711)
    return root


def owner() -> str:
    return "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def wheel(tmp_path: Path, version: str, uv: bytes | None = None) -> dict[str, str]:
    """An archive as the action plugin brings it: readable for the user it connects as."""
    path = tmp_path / f"uv-{version}.whl"
    digest = write_wheel(path, version, uv)
    path.chmod(0o600)
    return {"archive": str(path), "sha256": digest}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(check_mode: bool = False, **args: t.Any) -> dict[str, t.Any]:
        with patch_module_args({**args, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as ended:
            uv_binary.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        result.pop("invocation", None)
        return result

    return run


def start(**args: t.Any) -> subprocess.Popen[str]:
    cmd = [sys.executable, "-c", DRIVER, json.dumps(args)]
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS}
    return subprocess.Popen(cmd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, t.Any]:
    out, err = process.communicate()
    assert out, err
    result: dict[str, t.Any] = json.loads(out)
    return result


def test_a_share_from_nothing_then_nothing(run, share: Path, tmp_path: Path) -> None:
    args = {"share": str(share), "share_name": "a", "owner": owner(), "version": "0.8.2"}
    predicted = run(**args, check_mode=True)
    needed = run(**args)
    assert re.fullmatch(r"[a-z0-9_]+-(gnu|musl)", needed.pop("archive_needed_for"))
    assert not any((share / "bin").iterdir())
    done = run(**args, **wheel(tmp_path, "0.8.2"))
    assert predicted == needed == done
    assert done == {
        "changed": True,
        "version": "0.8.2",
        "previous_version": None,
        "executable": str(share / "bin" / "uv"),
        "actions": ["install uv 0.8.2", "link uv to 0.8.2", "link uvx to 0.8.2"],
        "diff": {"prepared": f"{share}/bin: uv (none) -> 0.8.2\n"},
    }
    assert {path.owner() for path in share.rglob("*")} == {owner()}
    again = run(**args)
    assert (again["changed"], again["previous_version"], again["actions"]) == (False, "0.8.2", [])


def test_a_local_directory(run, tmp_path: Path) -> None:
    args = {"bin_dir": str(tmp_path / "bin"), "lib_dir": str(tmp_path / "versions"), "version": "0.8.2"}
    assert run(**args, **wheel(tmp_path, "0.8.2"))["executable"] == str(tmp_path / "bin" / "uv")
    assert os.readlink(tmp_path / "bin" / "uv") == "../versions/0.8.2/uv"


def test_no_change_is_no_write_no_mutex_no_process(run, share: Path, tmp_path: Path) -> None:
    args = {"share": str(share), "share_name": "a", "version": "0.8.2", "owner": owner()}
    touched = tmp_path / "touched"
    run(**args, **wheel(tmp_path, "0.8.2", program("0.8.2", f"[ ! -e {touched} ] || exit 1")))
    touched.touch()
    (share / ".uvnas.mutex").unlink()
    before = {path: path.lstat() for path in share.rglob("*")}
    assert run(**args)["changed"] is False
    after = {path: path.lstat() for path in share.rglob("*")}
    assert {path: (stat.st_ino, stat.st_ctime_ns) for path, stat in before.items()} == {
        path: (stat.st_ino, stat.st_ctime_ns) for path, stat in after.items()
    }


def test_damage_is_mended_when_asked_to(run, share: Path, tmp_path: Path) -> None:
    args = {"share": str(share), "share_name": "a", "version": "0.8.2", "owner": owner()}
    archive = wheel(tmp_path, "0.8.2")
    run(**args, **archive)
    uvx = share / "lib" / "uv" / "0.8.2" / "uvx"
    whole = uvx.read_bytes()
    assert run(**args, verify=True)["changed"] is False
    uvx.write_bytes(whole.replace(b"0.8.2", b"0.8.3"))
    assert run(**args)["changed"] is False
    predicted = run(**args, verify=True, check_mode=True)
    assert uvx.read_bytes() != whole
    needed = run(**args, verify=True)
    assert needed.pop("archive_needed_for")
    done = run(**args, verify=True, **archive)
    assert predicted == needed == done
    assert done["actions"] == ["reinstall uv 0.8.2: uvx is damaged"]
    assert uvx.read_bytes() == whole
    assert run(**args, verify=True)["changed"] is False


def test_a_directory_that_is_no_share(run, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    for root in (tmp_path / "share", tmp_path / "nothing"):
        failed = run(share=str(root), share_name="a", version="0.8.2", **wheel(tmp_path, "0.8.2"))
        assert failed["msg"].startswith(f"{root} is not a share\n")
        # It may be about to become one.
        assert run(share=str(root), share_name="a", version="0.8.2", check_mode=True)["changed"] is True
    assert not any((tmp_path / "share").iterdir())


@pytest.mark.parametrize("check_mode", [False, True])
def test_another_share(run, share: Path, tmp_path: Path, check_mode: bool) -> None:
    args = {"share": str(share), "share_name": "b", "version": "0.8.2", "owner": owner(), "check_mode": check_mode}
    assert run(**args, **wheel(tmp_path, "0.8.2"))["msg"].startswith(f"{share} is the share a, not b\n")
    assert not any((share / "bin").iterdir())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"version": "0.13"}, "one of the following is required: share, bin_dir"),
        (
            {"version": "0.13", "share": "/s", "share_name": "a", "bin_dir": "/b"},
            "parameters are mutually exclusive: share|bin_dir",
        ),
        (
            {"version": "0.13.9", "share": "/s", "share_name": "a", "lib_dir": "/b"},
            "parameters are mutually exclusive: share|lib_dir",
        ),
        ({"share": "/s", "share_name": "a"}, "missing required arguments: version"),
        ({"share": "/s", "share_name": "a", "version": "0.13"}, "'0.13' is not an exact version of uv"),
        ({"share": "/s", "share_name": "a", "version": "../x"}, "'../x' is not an exact version of uv"),
        ({"share": "s", "share_name": "a", "version": "0.13.9"}, "share a: root 's' is not an absolute path"),
        ({"share": "/", "share_name": "a", "version": "0.13.9"}, "share a: root cannot be /"),
        ({"share": "/s", "share_name": "a b", "version": "0.13.9"}, "'a b' cannot be the name of a share"),
        ({"bin_dir": "bin", "version": "0.13.9"}, "bin is not an absolute path"),
        ({"bin_dir": "/b", "lib_dir": "lib", "version": "0.13.9"}, "lib is not an absolute path"),
        (
            {"share": "/s", "share_name": "a", "version": "0.13.9", "owner": "no-such-user"},
            "this host has no user no-such-user",
        ),
        (
            {"share": "/s", "share_name": "a", "version": "0.13.9", "soruce": "index"},
            "Unsupported parameters for .*: soruce",
        ),
    ],
)
def test_options_that_cannot_be_meant(run, args: dict[str, str], message: str) -> None:
    assert re.search(message.replace("|", r"\|"), run(**args)["msg"])


def test_a_wrong_checksum_after_the_transfer(run, share: Path, tmp_path: Path) -> None:
    archive = {**wheel(tmp_path, "0.8.2"), "sha256": "0" * 64}
    failed = run(share=str(share), share_name="a", owner=owner(), version="0.8.2", **archive)
    assert "the checksum of the archive of uv is wrong" in failed["msg"]
    assert not any((share / "bin").iterdir())
    assert not any((share / "lib" / "uv").iterdir())


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_directory_that_may_not_be_written_to(run, share: Path, check_mode: bool) -> None:
    (share / "bin").chmod(0o555)
    failed = run(share=str(share), share_name="a", owner=owner(), version="0.8.2", check_mode=check_mode)
    assert failed["msg"].startswith(f"share a: Permission denied: {share}/bin\n")


@pytest.mark.parametrize(
    ("operation", "times"),
    [
        ("mkdir", 2),
        ("fchmod", 2),
        ("chmod|fchmodat", 1),
        ("fsync", 5),
        ("rename", 4),
        ("symlink", 2),
        ("unlink|rmdir", 1),
        ("ftruncate|pwrite", 1),
    ],
)
def test_killed_at_any_step(run, share: Path, tmp_path: Path, operation: str, times: int) -> None:
    """SIGKILL at the first, second, … of all operations of a kind: what people run works, and the next run heals."""
    args = {"share": str(share), "share_name": "a", "owner": owner(), "version": "0.8.2", **wheel(tmp_path, "0.8.2")}
    old = {**args, "version": "0.8.1", **wheel(tmp_path, "0.8.1")}
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS, "PYTHONDONTWRITEBYTECODE": "1"}
    killed = 0
    while True:
        assert "failed" not in run(**old)
        subprocess.run(["rm", "-rf", share / "lib" / "uv" / "0.8.2"], check=True)
        cmd = ["strace", "-f", "-o", tmp_path / "trace", "-e", f"trace=/^({operation})"]
        cmd += ["-e", f"inject=/^({operation}):signal=KILL:when={killed + 1}"]
        cmd += [sys.executable, "-c", DRIVER, json.dumps(args)]
        subprocess.run(cmd, env=environment, check=False, capture_output=True)
        if "SIGKILL" not in (tmp_path / "trace").read_text():
            break
        killed += 1
        for program_name in ("uv", "uvx"):
            said = subprocess.check_output([share / "bin" / program_name], text=True)
            assert said.split()[1] in {"0.8.1", "0.8.2"}
        assert "failed" not in run(**args)
        assert sorted(os.listdir(share / "bin")) == ["uv", "uvx"]
        assert sorted(os.listdir(share / "lib" / "uv")) == ["0.8.1", "0.8.2"]
        for program_name in ("uv", "uvx"):
            assert os.readlink(share / "bin" / program_name) == f"../lib/uv/0.8.2/{program_name}"
            assert subprocess.check_output([share / "bin" / program_name], text=True).startswith("uv 0.8.2 ")
    assert killed >= times


def slow_wheel(tmp_path: Path) -> tuple[dict[str, str], Path, Path]:
    """A wheel whose uv, asked for its version, says so in a file and waits for another one."""
    asked, answer = tmp_path / "asked" / "pid", tmp_path / "asked" / "answer"
    asked.parent.mkdir()
    asked.parent.chmod(0o777)
    os.mkfifo(answer)
    answer.chmod(0o666)
    return (
        wheel(
            tmp_path, "0.8.2", program("0.8.2", f"echo $$ >{asked}.new; mv {asked}.new {asked}; read line <{answer}")
        ),
        asked,
        answer,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> str:
    while not path.exists():
        assert process.poll() is None, process.communicate()
    return path.read_text()


def test_a_killed_module_takes_its_uv_along(share: Path, tmp_path: Path) -> None:
    archive, asked, _answer = slow_wheel(tmp_path)
    process = start(share=str(share), share_name="a", owner=owner(), version="0.8.2", **archive)
    pid = wait_for(asked, process).strip()
    process.kill()
    process.communicate()
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # It is gone.
        while "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
            pass
    assert not (share / "bin" / "uv").is_symlink()
    assert not (share / "lib" / "uv" / "0.8.2").exists()


def test_two_at_once(share: Path, tmp_path: Path) -> None:
    archive, asked, answer = slow_wheel(tmp_path)
    args = {"share": str(share), "share_name": "a", "owner": owner(), "version": "0.8.2"}
    first = start(**args, **archive)
    wait_for(asked, first)
    impatient = result_of(start(**args, **archive, busy_timeout=0))
    assert re.search(
        r"another process is working on \S+: host \S+, pid \d+, since \S+ \(install uv 0.8.2\)", impatient["msg"]
    )
    second = start(**args, **archive)
    answer.write_text("go on\n")
    assert result_of(first)["changed"] is True
    # It had found something to do, and has found it done when it was its turn.
    waited = result_of(second)
    assert (waited.get("failed"), waited["previous_version"] in {None, "0.8.2"}) == (None, True)
    assert os.readlink(share / "bin" / "uv") == "../lib/uv/0.8.2/uv"
