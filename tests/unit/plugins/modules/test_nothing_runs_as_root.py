# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules connected as root: as whom they run what is on a share. Real users, by number; no host need know them."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.host.users import nobody
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION
from ansible_collections.uvnas.cluster.tests.support.uv_archives import write_wheel

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")

SERIES = VERSION.rpartition(".")[0]
# The share's owner and group, whom this machine does not know.
OWNER, GROUP = 54321, 54322
TRAIN = {"name": "train", "python": "3.12", "requirements": ["hostile"], "imports": ["hostile"]}
# What a package does as soon as it can: say who it is. It is imported when its Python starts, and again when asked for.
SPY = """
import os
with open({said!r}, "a") as said:
    said.write(f"{{os.getresuid()}} {{os.getresgid()}} {{os.getgroups()}}\\n")
"""


def identity(uid: int, gid: int) -> str:
    """What somebody with these numbers alone says."""
    return f"{(uid,) * 3} {(gid,) * 3} {[gid]}"


@pytest.fixture
def place(public: Path) -> t.Iterator[Path]:
    """A directory that everybody may look into, with another one in it, ``open``, that they may write to."""
    with tempfile.TemporaryDirectory(dir=public) as directory:
        os.chmod(directory, 0o755)
        (Path(directory) / "open").mkdir()
        (Path(directory) / "open").chmod(0o777)
        yield Path(directory)


@pytest.fixture
def said(place: Path) -> t.Callable[[], set[str]]:
    """Who has run what is on the share."""
    path = place / "open" / "said"

    def said() -> set[str]:
        return set(path.read_text().splitlines()) if path.exists() else set()

    return said


@pytest.fixture
def share(place: Path) -> Path:
    """A share whose uv says who runs it, and fails."""
    root = shares.make_share(place / "uv")
    shares.add_interpreter(root)
    uv = root / "bin" / "uv"
    uv.write_text(f'#!{os.path.realpath("/bin/sh")}\necho "$(id -u) $(id -g) $(id -G)" >>{place}/open/said\nexit 1\n')
    uv.chmod(0o755)
    return root


@pytest.fixture
def hostile(share: Path, place: Path, python: Path) -> Path:
    """A share with an environment that has a package in it that nobody should run as root."""
    generation = shares.add_generation(share, "train", "0123456789ab")
    packages = generation / "lib" / f"python{SERIES}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "hostile.py").write_text(SPY.format(said=f"{place}/open/said"))
    (packages / "hostile.pth").write_text("import hostile\n")
    (generation / "bin").mkdir()
    (generation / "bin" / "python").symlink_to(python)
    (generation / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    shares.publish(share, "train", generation.name)
    return share


def give(root: Path, uid: int = OWNER, gid: int = GROUP) -> None:
    for path in (root, *root.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(module: str, root: Path, **args: t.Any) -> dict[str, t.Any]:
        code = importlib.import_module(f"ansible_collections.uvnas.cluster.plugins.modules.{module}")
        given = {"share": str(root), "share_name": "nas_a", **args}
        warnings._global_warnings.clear()  # Those of an earlier run in this process.
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            code.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code), result
        said = result.get("warnings", [])  # Texts; since ansible-core 2.19, dictionaries with one in them.
        return {**result, "warnings": [text if isinstance(text, str) else text["event"]["msg"] for text in said]}

    return run


Run = t.Callable[..., dict[str, t.Any]]
Said = t.Callable[[], set[str]]


def verify(run: Run, root: Path) -> dict[str, t.Any]:
    return run("uv_env_info", root, verify=True, environments=[TRAIN], state_dir=str(root.parent / "state"))


# Verification


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o700])
def test_environments_start_as_the_owner_of_the_share(hostile: Path, run: Run, said: Said, mode: int) -> None:
    """All is seen as the owner, as root may be nobody to an NFS server."""
    give(hostile)
    hostile.chmod(mode)
    result = verify(run, hostile)
    assert (result["problems"], result["warnings"]) == ([], [])
    assert said() == {identity(OWNER, GROUP)}


def test_what_the_owner_may_not_read_is_not_seen_as_root(hostile: Path, run: Run) -> None:
    give(hostile)
    os.chown(hostile / "share.json", 0, 0)
    (hostile / "share.json").chmod(0o600)
    result = verify(run, hostile)
    assert result["msg"].startswith(f"share nas_a: Permission denied: {hostile}/share.json\n")
    assert f"This ran as uid {OWNER}." in result["msg"]


def test_a_group_of_root_is_nobodys(hostile: Path, run: Run, said: Said) -> None:
    """A directory that root made for the owner often still has it."""
    give(hostile, gid=0)
    assert verify(run, hostile)["problems"] == []
    assert said() == {identity(OWNER, nobody().gid)}


def test_environments_of_a_share_of_root_start_as_nobody(hostile: Path, run: Run, said: Said) -> None:
    result = verify(run, hostile)
    assert (result["problems"], result["warnings"]) == ([], [])
    assert said() == {identity(nobody().uid, nobody().gid)}


def test_a_share_of_root_that_nobody_may_read_is_looked_at_and_not_run(hostile: Path, run: Run, said: Said) -> None:
    hostile.chmod(0o750)
    environments = [TRAIN, {**TRAIN, "name": "missing"}]
    result = run(
        "uv_env_info", hostile, verify=True, environments=environments, state_dir=str(hostile.parent / "state")
    )
    assert said() == set()
    assert [fact["name"] for fact in result["environments"]] == ["train"]
    assert result["problems"] == ["environment missing is not published on share nas_a"]
    (warning,) = result["warnings"]
    assert warning.startswith("share nas_a: no environment was started. The share belongs to root")
    assert run("uv_env_info", hostile)["warnings"] == []


# As an NFS server has it that squashes root: what others may not do, root may not do either.
SQUASHED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
DRIVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.modules import uv_env_info
with patch_module_args(json.loads(sys.argv[1])):
    uv_env_info.main()
"""


@pytest.mark.parametrize("mode", [0o755, 0o750])
def test_a_root_that_is_squashed_verifies_a_share_for_a_group(
    hostile: Path, place: Path, said: Said, mode: int
) -> None:
    """Directories between the mount and the share have the share's owner and mode."""
    between = place / "between"
    between.mkdir()
    share = hostile.rename(between / "uv")
    give(between)
    for directory in (between, share):
        directory.chmod(mode)
    args = {"share": str(share), "share_name": "nas_a", "verify": True, "environments": [TRAIN]}
    args["state_dir"] = str(place / "state")
    done = subprocess.run(
        [*SQUASHED, sys.executable, "-c", DRIVER, json.dumps(args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)["problems"] == [], done.stderr
    assert said() == {identity(OWNER, GROUP)}


# Modules that write


WRITING: dict[str, dict[str, t.Any]] = {
    "uv_python": {"pythons": ["3.11"], "compile_bytecode": False},
    "uv_lock": {
        "environments": [TRAIN],
        "inputs": {"train": {"spec_digest": "5" * 64, "sources": {"requirements": [["requirements.in", "hostile\n"]]}}},
    },
    "uv_env": {"environments": [TRAIN]},
}


@pytest.mark.parametrize("module", WRITING)
def test_uv_runs_as_the_owner_of_the_share_where_none_is_declared(
    share: Path, run: Run, said: Said, module: str
) -> None:
    shares.add_lock(share, "train", f"hostile==1.0 \\\n    --hash=sha256:{'2' * 64}\n")
    give(share)
    result = run(module, share, **WRITING[module])
    assert result["failed"]
    assert said() == {f"{OWNER} {GROUP} {GROUP}"}
    assert {path.lstat().st_uid for path in (share, *share.rglob("*"))} == {OWNER}
    (warning,) = result["warnings"]
    assert "no owner is declared" in warning
    assert f"as its owner, uid {OWNER} ({OWNER})" in warning


@pytest.mark.parametrize("module", WRITING)
def test_that_uv_runs_as_root_is_said_where_a_share_is_roots(share: Path, run: Run, said: Said, module: str) -> None:
    shares.add_lock(share, "train", f"hostile==1.0 \\\n    --hash=sha256:{'2' * 64}\n")
    result = run(module, share, **WRITING[module])
    assert {line.split()[0] for line in said()} == {"0"}
    (warning,) = result["warnings"]
    assert "no owner is declared, so it is root's; uv runs as root" in warning
    # Whoever declares it has been asked.
    assert run(module, share, owner="root", **WRITING[module])["warnings"] == []


@pytest.mark.parametrize("module", WRITING)
def test_a_share_of_somebody_else_is_not_run_as_root_where_that_is_declared(
    share: Path, run: Run, said: Said, module: str
) -> None:
    give(share)
    failed = run(module, share, owner="root", **WRITING[module])
    assert failed["msg"].startswith(
        f"share nas_a ({share}) belongs to uid {OWNER} ({OWNER}), not to its declared owner, root"
    )
    assert said() == set()


def test_a_new_uv_is_tried_as_the_owner_of_the_share(share: Path, run: Run, said: Said, place: Path) -> None:
    program = f"#!/bin/sh\necho \"$(id -u) $(id -g) $(id -G)\" >>{place}/open/said\necho 'uv 0.8.2 (some-machine)'\n"
    wheel = place / "uv-0.8.2.whl"
    digest = write_wheel(wheel, "0.8.2", program.encode())
    wheel.chmod(0o600)
    (share / "bin" / "uv").unlink()
    give(share)
    result = run("uv_binary", share, version="0.8.2", archive=str(wheel), sha256=digest)
    assert result["changed"]
    assert said() == {f"{OWNER} {GROUP} {GROUP}"}
    assert len(result["warnings"]) == 1


# Laying out


def test_a_new_share_of_root_is_a_warning(place: Path, run: Run) -> None:
    result = run("uv_share", place / "new")
    assert result["changed"]
    assert [warning for warning in result["warnings"] if "no owner is declared, so it is root's" in warning]
    assert (place / "new").stat().st_uid == 0
    declared = run("uv_share", place / "new", owner="root")
    assert not [warning for warning in declared["warnings"] if "owner is declared" in warning]


def test_a_share_that_is_there_stays_with_its_owner(place: Path, run: Run) -> None:
    """Root does not take it, and then run what is in it."""
    run("uv_share", place / "new", owner="root")
    give(place / "new", gid=0)
    (place / "new" / "cache").chmod(0o755)
    result = run("uv_share", place / "new")
    assert result["corrected"] == [f"{place}/new/cache"]
    assert {path.lstat().st_uid for path in ((place / "new"), *(place / "new").rglob("*"))} == {OWNER}
    assert (place / "new").stat().st_gid == 0
    assert [warning for warning in result["warnings"] if f"as its owner, uid {OWNER}" in warning]
    assert not run("uv_share", place / "new")["changed"]


def test_a_directory_of_somebody_that_is_no_share_does_not_decide_whose_it_becomes(place: Path, run: Run) -> None:
    (place / "new").mkdir()
    os.chown(place / "new", OWNER, GROUP)
    result = run("uv_share", place / "new")
    assert f"{place}/new belongs to {OWNER}, but should belong to root" in result["msg"]
    assert list((place / "new").iterdir()) == []
