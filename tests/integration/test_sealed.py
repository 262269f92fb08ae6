# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml on a share whose owner is not root, and what that owner, and a group, then do to it by accident or not."""

from __future__ import annotations

import os
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import acls
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION, key, owner
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, make_site

SERIES = VERSION.rpartition(".")[0]
ENV: dict[str, t.Any] = {"name": "train", "requirements": ["six"], "imports": ["six"]}
OTHER: dict[str, t.Any] = {"name": "other", "requirements": ["idna"]}


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    site = make_site(public / "sealed", {"uvnas_python_compile_bytecode": True})
    succeeded(site.run([ENV, OTHER]))
    return site


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def as_owner(site: Site, command: str, *, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    """What the owner types with the environment activated."""
    home = site.path / "home"
    if not home.exists():
        home.mkdir()
        home.chmod(0o777)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTHON"))}
    environment = {
        **inherited,
        "PATH": f"{site.share}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "UV_CACHE_DIR": str(home / "cache"),
        "UV_PYTHON_INSTALL_DIR": str(site.share / "python"),
        "UV_PYTHON_DOWNLOADS": "manual",
    }
    who = {"user": owner(), "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        ["/bin/sh", "-c", f". {site.share}/envs/train/bin/activate && {command}"],
        cwd="/", env=environment, umask=umask, capture_output=True, text=True, check=False, **who,  # type: ignore[call-overload]
    )  # fmt: skip


def state_of(site: Site) -> dict[str, tuple[int, ...]]:
    """Of generations and interpreters, what changes when anything does."""
    found = {}
    for directory in ("generations", "python"):
        for path in (site.share / directory).rglob("*"):
            status = path.lstat()
            found[str(path)] = (status.st_ino, status.st_mode, status.st_mtime_ns, status.st_size)
    return found


def generation(site: Site, env: str = "train") -> Path:
    return (site.share / "envs" / env).resolve()


def writable(site: Site, mask: int) -> list[str]:
    """The directories of generations and interpreters that have any of these bits, and files if it is about others."""
    trees = [*(site.share / "generations").glob("*/*"), *(site.share / "python").glob("cpython-*")]
    assert len(trees) >= 3
    paths = [path for tree in trees for path in [tree, *tree.rglob("*")] if not path.is_symlink()]
    return [str(path) for path in paths if (path.is_dir() or not mask & 0o200) and path.stat().st_mode & mask]


def test_nobody_can_write_to_a_directory_of_what_was_built(site: Site) -> None:
    assert writable(site, 0o222) == writable(site, 0o022) == []
    assert {path.owner() for path in (site.share / "generations").rglob("*")} == {owner()}


MISHAPS = {
    "uv pip install idna": "[Pp]ermission denied",
    "uv pip install --reinstall six": "[Pp]ermission denied",
    "uv pip uninstall six": "[Pp]ermission denied",
    "uv pip sync /dev/null --allow-empty-requirements": "[Pp]ermission denied",
    "python -m compileall -q -f $VIRTUAL_ENV/lib": "PermissionError",
    f"uv pip install --break-system-packages --python {{share}}/python/{key()} idna": "[Pp]ermission denied",
    "rm -rf $VIRTUAL_ENV": "Permission denied",
    "mv $VIRTUAL_ENV/bin/python $VIRTUAL_ENV/bin/python.old": "Permission denied",
    "sed -i s/six/seven/ $VIRTUAL_ENV/lib/python*/site-packages/six.py": "Permission denied",
}


@pytest.mark.parametrize("command", MISHAPS)
def test_what_its_owner_does_by_accident_fails_and_changes_nothing(site: Site, command: str) -> None:
    before = state_of(site)
    done = as_owner(site, command.format(share=site.share))
    assert done.returncode != 0
    assert re.search(MISHAPS[command], done.stderr + done.stdout), done
    assert state_of(site) == before


def test_uv_venv_over_it_changes_nothing(site: Site) -> None:
    before = state_of(site)
    assert as_owner(site, "uv venv --clear $VIRTUAL_ENV").returncode != 0
    assert state_of(site) == before


@pytest.mark.parametrize("python", ["python", "{share}/envs/train/bin/python", "{share}/envs/other/bin/python"])
def test_python_starts_without_a_word_and_writes_nothing(site: Site, python: str) -> None:
    before = state_of(site)
    done = as_owner(site, f"{python.format(share=site.share)} -c 'import ctypes, json, sqlite3; print(1)'")
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert state_of(site) == before


def test_people_build_on_its_interpreters(site: Site) -> None:
    before = state_of(site)
    mine = site.path / "home" / "mine"
    for command in (
        f"uv venv --clear --python {SERIES} {mine}",
        f"VIRTUAL_ENV={mine} uv pip install six && {mine}/bin/python -c 'import six'",
        f"uv python find --no-project {VERSION} && uv python list --only-installed",
    ):
        done = as_owner(site, command)
        assert done.returncode == 0, done
    home = (mine / "pyvenv.cfg").read_text()
    assert f"{site.share}/python/" in home
    assert state_of(site) == before


# What is changed nevertheless


def unsealed_install(site: Site) -> None:
    """What it takes to install into a generation now."""
    done = as_owner(site, "chmod -R u+w $VIRTUAL_ENV && uv pip install idna && chmod -R u-w $VIRTUAL_ENV")
    assert done.returncode == 0, done


def test_an_installed_package_is_an_error_with_a_hint_that_works(site: Site) -> None:
    before = generation(site)
    unsealed_install(site)
    assert writable(site, 0o200) == []
    added = {"name": "added", "requirements": ["six"]}
    said = f"environment train: its generation {before.name} is not what was built: idna "
    for options in (["--check"], []):
        failed = site.run([ENV, OTHER, added], *options)
        assert failed.rc != 0
        assert said in failed.output
    assert site.run_python("added", "import six; print('works')") == "works"
    verified = site.start([ENV, OTHER, added], play="uvnas.cluster.verify").communicate()[0]
    assert said in verified
    hints = set(re.findall(r"and then site\.yml: (chmod .*?\.uvnas\.json)", failed.output))
    assert len(hints) == 1
    done = as_owner(site, hints.pop())
    assert done.returncode == 0, done
    healed = succeeded(site.run([ENV, OTHER, added]))
    assert healed.environments["train"]["action"] == "build"
    assert generation(site) == before
    assert set(site.packages("train")) == {"six"}
    assert writable(site, 0o222) == []
    succeeded(site.run([ENV, OTHER, {"name": "added", "state": "absent"}]))
    assert site.link("added") is None


def test_a_removed_environment_stays_sealed(site: Site) -> None:
    succeeded(site.envs([{"name": "gone", "requirements": ["six"]}]))
    assert succeeded(site.envs([{"name": "gone", "state": "absent"}])).environments["gone"]["action"] == "remove"
    assert "gone" in os.listdir(site.share / "generations")
    assert writable(site, 0o222) == []


def test_what_was_opened_is_sealed_again_as_check_mode_says(site: Site) -> None:
    """As an earlier release, or a run that was killed, may have left it; and a chmod -R."""
    subprocess.check_call(["chmod", "-R", "u+w", generation(site), site.share / "python" / key()])
    subprocess.check_call(["chmod", "-R", "g+w", generation(site, "other")])
    checked, done = site.run([ENV, OTHER], "--check", "--diff"), site.run([ENV, OTHER], "--diff")
    for run in (checked, done):
        assert succeeded(run).environments["train"]["action"] == run.environments["other"]["action"] == "seal"
        assert f"seal {key()}" in run.output
        assert f"environment train: {generation(site).name} sealed" in run.output
        assert re.search(r"environment other: users other than the share's owner can write to \d+ paths", run.output)
        assert "environment train: users other" not in run.output
    assert checked.changed == done.changed
    assert writable(site, 0o222) == []
    assert succeeded(site.run([ENV, OTHER])).changed == 0


def test_verify_tells_what_others_can_write_to(site: Site) -> None:
    path = generation(site) / "bin"
    path.chmod(0o575)
    said = site.start([ENV, OTHER], play="uvnas.cluster.verify", uvnas_verify="always").communicate()[0]
    path.chmod(0o555)
    assert f"users other than the owner of share nas_a can write to {path}, and may have changed" in said


# A default ACL above, or inside from before


def test_a_default_acl_lets_nobody_in(public: Path) -> None:
    site = make_site(public / "inherits")
    acls.let_a_group_write(site.share.parent)
    site.share.parent.chmod(0o755)  # Nobody else may make the share; what it inherits is another matter.
    succeeded(site.run([ENV, OTHER]))
    assert writable(site, 0o022) == []
    # The mode is the limit of the share's own directories, whatever ACL they have; what they hand on is not.
    inherited = {str(site.share / name) for name in ("", *os.listdir(site.share))} | {str(site.share / "lib" / "uv")}
    assert [path for path in acls.acls_in(site.share) if "/user-cache" not in path and path not in inherited] == []
    assert [path for path in inherited if "/user-cache" not in path and acls.DEFAULT in os.listxattr(path)] == []


def test_what_was_made_below_a_default_acl_is_repaired(public: Path) -> None:
    """As a release left it that knew nothing of ACLs, in all of the share."""
    site = make_site(public / "inherited")
    succeeded(site.run([ENV, OTHER]))
    for directory, _names, files in os.walk(site.share):
        if "/user-cache" not in directory:
            acls.let_a_group_write(Path(directory))
            for name in files:
                path = Path(directory, name)
                if not path.is_symlink() and path.name != ".uvnas.mutex":
                    os.setxattr(path, acls.ACCESS, acls.LETS_A_GROUP_WRITE)
    assert writable(site, 0o020)
    verified = site.start([ENV, OTHER], play="uvnas.cluster.verify").communicate()[0]
    assert "users other than the owner of share nas_a can write to" in verified
    # Who may write to the root could have put another share there: that is for somebody to look at.
    refused = site.run([ENV, OTHER])
    (command,) = set(re.findall(rf"chmod go-w {re.escape(str(site.share))}", refused.output))
    assert refused.rc != 0
    subprocess.run(command.split(), check=True)
    checked = succeeded(site.run([ENV, OTHER], "--check"))
    done = succeeded(site.run([ENV, OTHER]))
    for run in (checked, done):
        assert f"others than {owner()} could write to" in run.output
        assert "uv 0." in run.output
        for what in ("environment train", "environment other", key()):
            assert re.search(rf"{re.escape(what)}: .*others? than the share's owner can write to \d+", run.output), what
    assert checked.changed == done.changed
    assert writable(site, 0o222) == writable(site, 0o022) == []
    assert succeeded(site.run([ENV, OTHER])).changed == 0
    # What is made from now on inherits nothing.
    grown = {**ENV, "requirements": ["six", "idna"]}
    succeeded(site.run([grown, OTHER]))
    assert writable(site, 0o022) == []
