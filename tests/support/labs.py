# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place to try modules in: real filesystems, and accounts that every Linux has. Needs root."""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Accounts that every Linux has. The owner is in no group but its own.
OWNER, ADA, GRACE = "daemon", "bin", "nobody"
GROUP = "users"
MIB = 1 << 20

# Runs the module in a process of its own, perhaps as another user, who may not read root's Python: so import first.
DRIVER = """
import importlib, json, os, pwd, sys
from ansible.module_utils.testing import patch_module_args
module, args, user, groups = json.loads(sys.argv[1])
module = importlib.import_module(f"ansible_collections.uvnas.cluster.plugins.modules.{module}")
if user:
    entry = pwd.getpwnam(user)
    os.setgroups(groups); os.setgid(entry.pw_gid); os.setuid(entry.pw_uid)
with patch_module_args(args):
    module.main()
"""


def call(*cmd: t.Any) -> str:
    done = subprocess.run([str(part) for part in cmd], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, cmd))} failed ({done.returncode}): {done.stderr.strip()}", pytrace=False)
    return done.stdout


@dataclasses.dataclass
class Lab:
    """A directory that everybody can reach, and filesystems mounted in it."""

    path: Path
    mounted: list[Path] = dataclasses.field(default_factory=list)

    def mount(self, name: str, *options: t.Any) -> Path:
        point = self.path / name
        point.mkdir(exist_ok=True)
        call("mount", *options, point)
        self.mounted.append(point)
        return point

    def remount(self, point: Path, options: str) -> None:
        call("mount", "-o", f"remount,{options}", point)

    def tmpfs(self, name: str = "nas", options: str = "size=200m") -> Path:
        return self.mount(name, "-t", "tmpfs", "-o", f"mode=0755,{options}", "tmpfs")

    def disk(self, kind: str, name: str = "nas") -> Path:
        """A filesystem in a file, in place of a NAS. Needs a loop device."""
        image = self.path / f"{name}.img"
        with image.open("wb") as file:
            file.truncate(400 * MIB)
        call(f"mkfs.{kind}", "-q", image)
        return self.mount(name, "-o", "loop", image)

    def unmount(self, point: Path) -> None:
        call("umount", point)
        self.mounted.remove(point)

    def close(self) -> None:
        for point in reversed(self.mounted):
            if subprocess.run(["umount", point], check=False).returncode:
                subprocess.run(["umount", "--lazy", point], check=True)
        shutil.rmtree(self.path)


@contextlib.contextmanager
def a_lab() -> t.Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.fail("These tests mount filesystems and work as several users: run them as root.", pytrace=False)
    # Not in tmp_path, which only root can enter.
    path = Path(tempfile.mkdtemp(prefix="uvnas-share-"))
    path.chmod(0o755)
    lab = Lab(path)
    try:
        yield lab
    finally:
        lab.close()


def start(root: Path, *, check: bool = False, user: str = "", groups: t.Sequence[str] = (), **args: t.Any) -> t.Any:
    """Start uv_share, or another ``module``, for ``root``; connected as root, or as ``user`` in ``groups``."""
    wrapper, module = args.pop("wrapper", ()), args.pop("module", "uv_share")
    given = {"share": str(root), "share_name": "nas_a", "owner": OWNER, **args}
    given = {key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None}
    gids = [grp.getgrnam(group).gr_gid for group in groups]
    arguments = json.dumps([module, {**given, "_ansible_check_mode": check}, user, gids])
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", DRIVER, arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: t.Any) -> dict[str, t.Any]:
    out, err = process.communicate()
    assert out, err
    result: dict[str, t.Any] = json.loads(out)
    return result


def run(root: Path, **args: t.Any) -> dict[str, t.Any]:
    return finish(start(root, **args))


def make(root: Path, **args: t.Any) -> dict[str, t.Any]:
    result = run(root, **args)
    assert not result.get("failed"), result["msg"]
    return result


def fail(root: Path, **args: t.Any) -> str:
    """The module's error. In check mode it must fail too, with the same message; neither may write anything."""
    before = tree(root)
    predicted, result = run(root, check=True, **args), run(root, **args)
    for one in (predicted, result):
        assert one.get("failed"), one
        assert one["hint"]
        assert one["hint"] in one["msg"]
    assert predicted["msg"] == result["msg"]
    assert tree(root) == before
    return str(result["msg"])


def tree(root: Path) -> dict[str, tuple[int, ...]]:
    """Modes, owners, sizes and ctimes of everything in the directory above ``root``."""
    found = {}
    for path in [root.parent, *root.parent.rglob("*")]:
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)
    return found


def own(path: Path, user: str, group: str | None = None) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, grp.getgrnam(group).gr_gid if group else entry.pw_gid)


def who(path: Path) -> tuple[str, str, int]:
    status = path.stat()
    return (
        pwd.getpwuid(status.st_uid).pw_name,
        grp.getgrgid(status.st_gid).gr_name,
        stat.S_IMODE(status.st_mode),
    )


def primary_group(user: str) -> str:
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


def as_user(user: str, script: str, *args: t.Any, groups: str = GROUP) -> subprocess.CompletedProcess[str]:
    """Run a shell script as a user with an ordinary umask."""
    entry = pwd.getpwnam(user)
    ids = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", f"--groups={grp.getgrnam(groups).gr_gid}"]
    cmd = ["setpriv", *ids, "sh", "-c", f"umask 022; set -e; {script}", "sh", *map(str, args)]
    return subprocess.run(cmd, capture_output=True, text=True, check=False)
