# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interpreter that is installed anew, and fails: what was there is there again. For the rest see uv_python."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import durable
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.python.install import Installer
from ansible_collections.uvnas.cluster.plugins.module_utils.share import store
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
from ansible_collections.uvnas.cluster.tests.support.shares import KEY, make_share


class Broken:
    """A uv that installs, and an interpreter that does not run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, cmd: t.Sequence[str], **_rest: t.Any) -> Completed:
        if "install" not in cmd:
            return Completed(1, "", "Illegal instruction\n")
        (self.directory / "bin").mkdir(parents=True)
        (self.directory / "bin" / "python3.12").write_text("new")
        return Completed(0, "", "")


@pytest.mark.parametrize("before", [True, False])
def test_one_that_does_not_run_takes_nobody_s_place(tmp_path: Path, before: bool) -> None:
    layout = Layout(str(make_share(tmp_path / "uv")))
    directory = Path(layout.python, KEY)
    if before:
        (directory / "bin").mkdir(parents=True)
        (directory / "bin" / "python3.12").write_text("old")
    runner = Broken(directory)
    with pytest.raises(CommandError, match=f"{KEY} does not run on this builder"):
        Installer(layout, runner, compile_bytecode=True).install(KEY, Uv(layout, runner), str, message="", hint="")
    store.sweep(layout)
    assert [path.name for path in Path(layout.python).iterdir() if path.name != ".lock"] == ([KEY] if before else [])
    if before:
        assert (directory / "bin" / "python3.12").read_text() == "old"


class Sound(Broken):
    """An interpreter that runs."""

    def run(self, cmd: t.Sequence[str], **rest: t.Any) -> Completed:
        said = {"version": "3.12.4", "freethreaded": False, "prefix": os.path.realpath(self.directory)}
        more: dict[str, t.Any] = {"missing": [], "mapped": [], "headers": True}
        done = super().run(cmd, **rest)
        return done if "install" in cmd else Completed(0, json.dumps({**said, **more}), "")


@pytest.mark.parametrize("fails", [True, False])
def test_it_is_on_the_disk_before_what_was_there_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    layout = Layout(str(make_share(tmp_path / "uv")))
    directory = Path(layout.python, KEY)
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "python3.12").write_text("old")
    seen = []

    def sync(_disks: durable.Disks) -> None:
        seen.extend(sorted(path.read_text() for path in Path(layout.python).glob("*/bin/python3.12")))
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(durable.Disks, "sync", sync)
    with pytest.raises(OSError, match="error") if fails else contextlib.nullcontext():
        Installer(layout, Sound(directory), False).install(KEY, Uv(layout, Sound(directory)), str, message="", hint="")
    assert seen == ["new", "old"]
    found = [path.read_text() for path in Path(layout.python).glob("*/bin/python3.12")]
    assert found == ["old" if fails else "new"]


class Full(Sound):
    """There is no room for bytecode."""

    def run(self, cmd: t.Sequence[str], **rest: t.Any) -> Completed:
        if any("marshal" in word for word in cmd):  # The compiler.
            return Completed(0, f"error {errno.ENOSPC}\n", "")
        if "cache_tag" in cmd[-1]:
            return Completed(0, "cpython-312\n", "")
        done = super().run(cmd, **rest)
        if "install" in cmd:
            (self.directory / "lib" / "python3.12").mkdir(parents=True)
            (self.directory / "lib" / "python3.12" / "os.py").touch()
        return done


def test_without_room_for_bytecode_what_was_there_comes_back(tmp_path: Path) -> None:
    layout = Layout(str(make_share(tmp_path / "uv")))
    directory = Path(layout.python, KEY)
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "python3.12").write_text("old")
    runner = Full(directory)
    with pytest.raises(UvnasError, match=f"{KEY}: .*No space left on device"):
        Installer(layout, runner, compile_bytecode=True).install(KEY, Uv(layout, runner), str, message="", hint="")
    assert [path.name for path in Path(layout.python).iterdir() if path.name != ".lock"] == [KEY]
    assert [path.name for path in directory.rglob("*")] == ["bin", "python3.12"]
    assert (directory / "bin" / "python3.12").read_text() == "old"
