# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files on a host: where they are, and what a run changes."""

from __future__ import annotations

import concurrent.futures
import os
import stat
import threading
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.profile import csh, fish, sh
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.files import contents, converge, paths, plan
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.spec import Profile
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share

PROFILE = Profile((Share("nas_a", Layout("/mnt/nas-a/uv")), Share("nas_b", Layout("/mnt/nas-b/uv"))))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return paths(str(tmp_path / "profile.d"), str(tmp_path / "conf.d"))


# Places


def test_each_shell_has_its_file() -> None:
    files = paths("/etc/profile.d/", "/etc/fish//conf.d")
    assert contents(PROFILE, files) == {
        "/etc/profile.d/uvnas.sh": sh.render(PROFILE),
        "/etc/profile.d/uvnas.csh": csh.render(PROFILE, "/etc/profile.d/uvnas.csh"),
        "/etc/fish/conf.d/uvnas.fish": fish.render(PROFILE),
    }
    assert contents(None, files) == dict.fromkeys(files.values())


def test_no_file_for_fish_without_a_directory() -> None:
    assert sorted(paths("/etc/profile.d", "")) == ["csh", "sh"]


@pytest.mark.parametrize(("directory", "fish"), [("", "/x"), ("profile.d", "/x"), ("/x", "conf.d"), ("/x\n", "/x")])
def test_places_that_are_refused(directory: str, fish: str) -> None:
    with pytest.raises(SpecError, match="cannot hold profile files"):
        paths(directory, fish)


@pytest.mark.parametrize("where", ["/mnt/nas-b/uv", "/mnt/nas-b/uv/fish"])
def test_shells_must_not_read_their_files_on_a_share(where: str) -> None:
    with pytest.raises(SpecError, match="on the share nas_b"):
        contents(PROFILE, paths("/etc/profile.d", where))


# Files


def test_everything_from_nothing_and_then_nothing(files: dict[str, str]) -> None:
    wanted = contents(PROFILE, files)
    assert [change.path for change in converge(wanted)] == list(files.values())
    for path, content in wanted.items():
        assert Path(path).read_text(encoding="utf-8") == content
        about = Path(path).stat()
        assert (stat.S_IMODE(about.st_mode), about.st_uid) == (0o644, os.geteuid())
    assert converge(wanted) == []
    assert sorted(os.listdir(os.path.dirname(files["sh"]))) == ["uvnas.csh", "uvnas.sh"]


def test_files_are_for_everybody_whatever_the_umask_is(files: dict[str, str]) -> None:
    before = os.umask(0o077)
    try:
        converge(contents(PROFILE, files))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(os.path.dirname(files["sh"])).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(files["sh"]).st_mode) == 0o644


def test_a_plan_changes_nothing(files: dict[str, str]) -> None:
    wanted = contents(PROFILE, files)
    assert plan(wanted) == converge(wanted, check=True)
    assert [change.path for change in plan(wanted)] == list(files.values())
    assert not os.path.exists(os.path.dirname(files["sh"]))


def test_only_what_differs_is_written(files: dict[str, str]) -> None:
    wanted = contents(PROFILE, files)
    converge(wanted)
    inodes = {path: os.stat(path).st_ino for path in wanted}
    Path(files["csh"]).write_text("something else\n", encoding="utf-8")
    assert [change.path for change in converge(wanted)] == [files["csh"]]
    assert [path for path in wanted if os.stat(path).st_ino == inodes[path]] == [files["sh"], files["fish"]]


def test_hosts_may_have_one_directory_in_common(tmp_path: Path) -> None:
    """For example containers of one machine, at the same moment."""
    hosts = [paths(str(tmp_path / "etc" / "profile.d" / f"node{number}"), "") for number in range(16)]
    start = threading.Barrier(len(hosts))

    def run(files: dict[str, str]) -> int:
        start.wait()
        return len(converge(contents(PROFILE, files)))

    with concurrent.futures.ThreadPoolExecutor(len(hosts)) as pool:
        assert list(pool.map(run, hosts)) == [2] * len(hosts)


def test_a_mode_that_lets_others_write_is_a_difference(files: dict[str, str]) -> None:
    wanted = contents(PROFILE, files)
    converge(wanted)
    os.chmod(files["sh"], 0o666)
    (change,) = converge(wanted)
    assert change.diff()["before"].startswith(f"# owner {os.geteuid()}, mode 0666\n")
    assert change.diff()["after"].startswith(f"# owner {os.geteuid()}, mode 0644\n")
    assert stat.S_IMODE(os.stat(files["sh"]).st_mode) == 0o644


def test_a_symlink_is_replaced_and_its_target_left(files: dict[str, str], tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine\n", encoding="utf-8")
    os.makedirs(os.path.dirname(files["sh"]))
    os.symlink(elsewhere, files["sh"])
    converge(contents(PROFILE, files))
    assert not os.path.islink(files["sh"])
    assert elsewhere.read_text(encoding="utf-8") == "mine\n"


def test_a_file_that_is_no_text_is_replaced(files: dict[str, str]) -> None:
    wanted = contents(PROFILE, files)
    converge(wanted)
    Path(files["sh"]).write_bytes(b"\xff\xfe\0")
    (change,) = converge(wanted)
    assert "\\xff" in change.diff()["before"]
    assert converge(wanted) == []


def test_absent_removes_the_files_and_nothing_else(files: dict[str, str]) -> None:
    converge(contents(PROFILE, files))
    other = Path(files["sh"]).parent / "other.sh"
    other.write_text(":\n", encoding="utf-8")
    gone = contents(None, files)
    changes = converge(gone)
    assert [change.diff()["after"] for change in changes] == ["", "", ""]
    assert os.listdir(other.parent) == ["other.sh"]
    assert converge(gone) == []


def test_a_directory_in_the_place_of_a_file(files: dict[str, str]) -> None:
    os.makedirs(files["sh"])
    with pytest.raises(UvnasError, match="is not a file"):
        plan(contents(PROFILE, files))


@pytest.mark.parametrize("where", ["profile.d", "."])
def test_a_file_in_the_place_of_a_directory(where: str, tmp_path: Path) -> None:
    in_the_way = tmp_path / "way"
    in_the_way.write_text("", encoding="utf-8")
    files = paths(str(in_the_way / where), "")
    with pytest.raises(UvnasError, match="not a directory"):
        plan(contents(PROFILE, files))
