# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for a place, and what is there afterwards."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import platform
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed, Runner, SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.install import Archive, Installation, Place, plan
from ansible_collections.uvnas.cluster.tests.support import acls
from ansible_collections.uvnas.cluster.tests.support.shares import make_share
from ansible_collections.uvnas.cluster.tests.support.uv_archives import program, write_wheel


class NoRunner:
    """Where no process is to be started."""

    def run(self, cmd: t.Sequence[str], **_more: t.Any) -> Completed:
        raise AssertionError(f"{cmd} was run")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.local(str(tmp_path / "bin"))


def converge(
    place: Place,
    version: str,
    archive: Archive | None = None,
    *,
    runner: Runner | None = None,
    check_mode: bool = False,
    verify: bool = False,
) -> dict[str, t.Any]:
    installation = Installation(place, version, archive, runner or NoRunner(), check_mode, verify)
    return installation.converge(purpose=f"install uv {version}", busy_timeout=5)


def install(place: Place, version: str, uv: bytes | None = None, **how: t.Any) -> dict[str, t.Any]:
    wheel = Path(os.path.dirname(place.bin_dir), "uv.whl")
    sha256 = write_wheel(wheel, version, uv)
    with open(wheel, "rb") as stream:
        return converge(place, version, Archive(stream, sha256), runner=SystemRunner(), **how)


def tree(place: Place) -> list[str]:
    """Everything there, as relative paths."""
    top = os.path.dirname(place.bin_dir)
    found = [os.path.join(path, name) for path, names, files in os.walk(top) for name in names + files]
    return sorted(os.path.relpath(path, top) for path in found if not path.endswith(".whl"))


def test_places() -> None:
    share = Share("a", Layout("/mnt/a/uv"))
    assert Place.on_share(share) == Place("/mnt/a/uv/bin", "/mnt/a/uv/lib/uv", "/mnt/a/uv/.uvnas.mutex", share)
    local = Place("/usr/local/bin", "/usr/local/lib/uv", "/usr/local/lib/uv/.uvnas.mutex")
    assert Place.local("/usr/local/bin") == local
    assert Place.local("/usr/local/bin/").lib_dir == local.lib_dir
    assert Place.local("/usr/local/bin", "/opt/uv").lib_dir == "/opt/uv"


def test_from_nothing_then_nothing(place: Place) -> None:
    wanted = plan(place, "0.8.2")
    assert (wanted.install, wanted.links, wanted.previous_version) == (True, ("uv", "uvx"), None)
    result = install(place, "0.8.2")
    assert result == {**wanted.result(place), "diff": {"prepared": f"{place.bin_dir}: uv (none) -> 0.8.2\n"}}
    release = ["lib/uv/0.8.2", "lib/uv/0.8.2/.uvnas-files.json", "lib/uv/0.8.2/uv", "lib/uv/0.8.2/uvx"]
    assert tree(place) == ["bin", "bin/uv", "bin/uvx", "lib", "lib/uv", "lib/uv/.uvnas.mutex", *release]
    assert os.readlink(place.link("uv")) == "../lib/uv/0.8.2/uv"
    again = converge(place, "0.8.2")
    assert (again["changed"], again["actions"], again["diff"]) == (False, [], {})


def test_0_8_2_is_not_0_8_22(place: Place) -> None:
    install(place, "0.8.22")
    wanted = plan(place, "0.8.2")
    assert (wanted.install, wanted.links, wanted.previous_version) == (True, ("uv", "uvx"), "0.8.22")
    with pytest.raises(UvnasError, match=r"the archive has uv 0\.8\.22, not 0\.8\.2$"):
        install(place, "0.8.2", program("0.8.22"))
    assert plan(place, "0.8.22").changed is False
    assert not os.path.exists(place.program("0.8.2", "uv"))


def test_back_to_a_kept_version_needs_no_archive(place: Place) -> None:
    install(place, "0.8.2")
    before = os.stat(place.program("0.8.2", "uv"))
    result = install(place, "0.8.22")
    assert result["diff"] == {"prepared": f"{place.bin_dir}: uv 0.8.2 -> 0.8.22\n"}
    back = converge(place, "0.8.2")
    assert (back["changed"], back["actions"]) == (True, ["link uv to 0.8.2", "link uvx to 0.8.2"])
    assert back["diff"] == {"prepared": f"{place.bin_dir}: uv 0.8.22 -> 0.8.2\n"}
    assert os.stat(place.link("uv")) == before
    assert os.path.exists(place.program("0.8.22", "uv"))


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_archive_is_asked_for(place: Place, check_mode: bool) -> None:
    result = converge(place, "0.8.2", check_mode=check_mode)
    assert result["changed"] is True
    assert result.get("archive_needed_for") == (None if check_mode else platform.here().name)
    assert tree(place) == []


@pytest.mark.parametrize("damage", ["remove uvx", "remove uv", "remove all", "chmod", "truncate"])
def test_what_is_broken_is_repaired(place: Place, damage: str) -> None:
    install(place, "0.8.2")
    uv, uvx = (Path(place.program("0.8.2", name)) for name in ("uv", "uvx"))
    if damage.startswith("remove"):
        for path in {"remove uv": [uv], "remove uvx": [uvx], "remove all": [uv, uvx]}[damage]:
            path.unlink()
    elif damage == "chmod":
        uv.chmod(0o700)
    else:
        uv.write_bytes(b"")
    before = tree(place)
    wanted = plan(place, "0.8.2")
    assert (wanted.install, wanted.links) == (True, ())
    result = install(place, "0.8.2")
    assert result["diff"] == {"prepared": f"{place.bin_dir}: uv 0.8.2 (repaired)\n"}
    assert plan(place, "0.8.2").changed is False
    assert subprocess.check_output([place.link("uv")]).startswith(b"uv 0.8.2 ")
    assert set(before) <= set(tree(place))


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "flip":
        path.write_bytes(bytes([content[0] ^ 1, *content[1:]]))
    elif how == "truncate":
        path.write_bytes(content[:-1])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "grow":
        path.write_bytes(content + b"\0")
    elif how == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    else:
        path.chmod(0o700)


@pytest.mark.parametrize("how", ["flip", "truncate", "empty", "grow", "link", "mode"])
@pytest.mark.parametrize("programs", [["uv"], ["uvx"], ["uv", "uvx"]])
def test_programs_that_are_not_what_was_installed(place: Place, programs: list[str], how: str) -> None:
    install(place, "0.8.2")
    whole = {name: Path(place.program("0.8.2", name)).read_bytes() for name in ("uv", "uvx")}
    for name in programs:
        damage(Path(place.program("0.8.2", name)), how)
    is_seen_anyway = how in {"empty", "link", "mode"}
    assert plan(place, "0.8.2").install is is_seen_anyway
    before = tree(place)
    foretold = converge(place, "0.8.2", check_mode=True, verify=True)
    asked = converge(place, "0.8.2", verify=True)
    assert asked.pop("archive_needed_for") == platform.here().name
    assert tree(place) == before
    done = install(place, "0.8.2", verify=True)
    assert foretold == asked == done
    assert done["actions"] == [
        f"reinstall uv 0.8.2: {' and '.join(programs)} {'are' if programs[1:] else 'is'} damaged"
    ]
    assert done["diff"] == {"prepared": f"{place.bin_dir}: uv 0.8.2 (repaired)\n"}
    assert done["warnings"] == []
    for name, content in whole.items():
        assert Path(place.program("0.8.2", name)).read_bytes() == content
    assert converge(place, "0.8.2", verify=True)["changed"] is False


def test_what_is_as_it_was_installed_needs_no_archive(place: Place) -> None:
    install(place, "0.8.2")
    before = {path: os.lstat(os.path.join(os.path.dirname(place.bin_dir), path)) for path in tree(place)}
    for check_mode in (False, True):
        result = converge(place, "0.8.2", check_mode=check_mode, verify=True)
        assert (result["changed"], result["actions"], result["warnings"]) == (False, [], [])
        assert "archive_needed_for" not in result
    after = {path: os.lstat(os.path.join(os.path.dirname(place.bin_dir), path)) for path in tree(place)}
    assert {path: found.st_ctime_ns for path, found in before.items()} == {
        path: found.st_ctime_ns for path, found in after.items()
    }


@pytest.mark.parametrize("how", ["missing", "empty", "no list", "another list", "a space", "directory"])
def test_what_is_not_on_record_is_installed_again(place: Place, how: str) -> None:
    install(place, "0.8.2")
    path = Path(place.contents("0.8.2"))
    text = path.read_text()
    path.unlink()
    if how == "directory":
        path.mkdir()
    elif how != "missing":
        path.write_text(
            {"empty": "", "no list": "{}", "another list": text.replace("uvx", "other"), "a space": f" {text}"}[how]
        )
    damage(Path(place.program("0.8.2", "uvx")), "flip")
    told = ["reinstall uv 0.8.2: what its programs should be is not on record"]
    assert converge(place, "0.8.2", check_mode=True, verify=True)["actions"] == told
    assert converge(place, "0.8.2")["changed"] is False
    if how == "directory":
        path.rmdir()  # Nobody knows what it is.
    assert install(place, "0.8.2", verify=True)["actions"] == told
    assert converge(place, "0.8.2", verify=True)["changed"] is False


def test_what_is_missing_is_installed_and_on_record(place: Place) -> None:
    assert converge(place, "0.8.2", check_mode=True, verify=True)["actions"][0] == "install uv 0.8.2"
    assert install(place, "0.8.2", verify=True)["warnings"] == []
    for name in (".uvnas-files.json", "uvx"):
        Path(place.program("0.8.2", name)).unlink()
    assert install(place, "0.8.2", verify=True)["actions"] == ["install uv 0.8.2"]
    assert converge(place, "0.8.2", verify=True)["warnings"] == []
    Path(place.program("0.8.2", "uvx")).unlink()
    assert install(place, "0.8.2", verify=True)["actions"] == ["install uv 0.8.2"]
    assert converge(place, "0.8.2", verify=True)["changed"] is False


def test_a_list_that_others_can_write_to_vouches_for_nothing(place: Place) -> None:
    install(place, "0.8.2")
    Path(place.contents("0.8.2")).chmod(0o666)
    result = install(place, "0.8.2", verify=True)
    assert result["actions"] == ["install uv 0.8.2"]
    assert f"others than its owner can write to {place.contents('0.8.2')}." in result["warnings"][0]
    assert converge(place, "0.8.2", verify=True)["changed"] is False


def test_no_version_has_programs_without_a_list(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it is killed."""
    rename, names = os.rename, []

    def see(source: str, target: str) -> None:
        rename(source, target)
        if os.path.dirname(target).endswith("/0.8.2"):
            names.append(sorted(os.listdir(os.path.dirname(target))))

    monkeypatch.setattr(os, "rename", see)
    install(place, "0.8.2")
    assert names == [[".uvnas-files.json"], [".uvnas-files.json", "uv"], [".uvnas-files.json", "uv", "uvx"]]


@pytest.mark.parametrize("opened", ["uv", "uvx", ""])
def test_what_others_can_write_to_is_reinstalled(place: Place, opened: str) -> None:
    """By a default ACL from above, for example. What they put there does not stay."""
    install(place, "0.8.2")
    path = Path(place.program("0.8.2", opened))
    acls.let_a_group_write(path) if path.is_dir() else path.chmod(0o775)
    Path(place.program("0.8.2", "uvx")).write_bytes(b"#!/bin/sh\necho poison\n")
    foretold, done = converge(place, "0.8.2", check_mode=True), install(place, "0.8.2")
    for result in (foretold, done):
        assert result["actions"] == ["install uv 0.8.2"]
        (warning,) = result["warnings"]
        assert warning.startswith(f"uv 0.8.2: others than its owner can write to {path}. It is reinstalled; ")
    assert b"poison" not in Path(place.program("0.8.2", "uvx")).read_bytes()
    assert acls.acls_in(Path(place.lib_dir)) == []
    assert plan(place, "0.8.2").changed is False


def test_dangling_and_absolute_links_of_ours_are_replaced(place: Place) -> None:
    install(place, "0.8.2")
    os.unlink(place.link("uv"))
    os.symlink(place.program("0.8.2", "uv"), place.link("uv"))
    os.unlink(place.link("uvx"))
    os.symlink("../lib/uv/0.1.0/uvx", place.link("uvx"))
    result = converge(place, "0.8.2")
    assert result["actions"] == ["link uv to 0.8.2", "link uvx to 0.8.2"]
    assert os.readlink(place.link("uv")) == "../lib/uv/0.8.2/uv"
    assert os.readlink(place.link("uvx")) == "../lib/uv/0.8.2/uvx"


@pytest.mark.parametrize("name", ["uv", "uvx"])
@pytest.mark.parametrize(
    "what", ["file", "directory", "/opt/uv/uv", "../lib/uv/uv", "../lib/uv/0.8.2/x/uv", "../lib/uv/0.8.2/other"]
)
def test_what_is_not_ours_is_left_alone(place: Place, name: str, what: str) -> None:
    os.mkdir(place.bin_dir)
    if what == "file":
        Path(place.link(name)).write_text("mine")
    elif what == "directory":
        os.mkdir(place.link(name))
    else:
        os.symlink(what, place.link(name))
    before = tree(place)
    with pytest.raises(UvnasError) as raised:
        install(place, "0.8.2")
    assert str(raised.value).startswith(f"{place.link(name)} is ")
    assert "move it away" in raised.value.hint
    assert tree(place) == before


def test_bin_may_be_a_symlink(place: Place, tmp_path: Path) -> None:
    (tmp_path / "local" / "deep" / "bin").mkdir(parents=True)
    os.symlink("local/deep/bin", place.bin_dir)
    install(place, "0.8.2")
    assert os.readlink(place.link("uv")) == "../../../lib/uv/0.8.2/uv"
    assert subprocess.check_output([place.link("uv")]).startswith(b"uv 0.8.2 ")
    assert plan(place, "0.8.2").changed is False


def test_others_may_use_it_whatever_the_umask(place: Place) -> None:
    umask = os.umask(0o077)
    try:
        install(place, "0.8.2")
    finally:
        os.umask(umask)
    for path in [
        place.bin_dir,
        place.lib_dir,
        os.path.dirname(place.program("0.8.2", "uv")),
        place.program("0.8.2", "uv"),
    ]:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o755


def test_a_wrong_checksum_changes_nothing(place: Place, tmp_path: Path) -> None:
    write_wheel(tmp_path / "uv.whl", "0.8.2")
    with (
        open(tmp_path / "uv.whl", "rb") as stream,
        pytest.raises(UvnasError, match="the checksum of the archive of uv is wrong"),
    ):
        converge(place, "0.8.2", Archive(stream, "0" * 64))
    assert tree(place) == []


@pytest.mark.parametrize(
    ("uv", "message", "hint"),
    [
        (b"\x7fELF of another machine", "does not run on this machine: Exec format error", "another kind of machine"),
        (
            b"#!/lib/no-such-loader.so.1\n",
            "does not run on this machine: No such file or directory",
            "another C library",
        ),
        (program("", "echo libc.so.6 is too old >&2; exit 1"), "does not run on this machine$", ""),
        (program("", "kill -SEGV $$"), "does not run on this machine$", ""),
        (b"#!/bin/sh\n", "the archive has uv of unknown version, not 0.8.2", "uvnas_uv_version"),
        (program("0.8.22"), "the archive has uv 0.8.22, not 0.8.2", "uvnas_uv_version"),
        (program("0.8.2-alpha.1"), "the archive has uv 0.8.2-alpha.1, not 0.8.2", "uvnas_uv_version"),
    ],
)
def test_a_uv_that_does_not_run_here_is_not_installed(place: Place, uv: bytes, message: str, hint: str) -> None:
    install(place, "0.8.1")
    before = tree(place)
    with pytest.raises(UvnasError, match=message) as raised:
        install(place, "0.8.2", uv)
    assert hint in raised.value.hint
    assert tree(place) == before
    assert plan(place, "0.8.1").changed is False


def test_leftovers_of_killed_processes_are_removed(place: Place) -> None:
    install(place, "0.8.1")
    leftover = Path(place.lib_dir, ".0.8.2.uvnas-0000000000000001.tmp")
    leftover.mkdir()
    (leftover / "uv").write_bytes(b"half")
    os.symlink("../lib/uv/0.8.2/uv", os.path.join(place.bin_dir, ".uv.uvnas-0000000000000001.tmp"))
    # What others have there, who may well have hidden files.
    for name in (".mine.tmp", ".uv.mine.tmp", ".uv.uvnas-0000000000000002.tmp"):
        Path(place.bin_dir, name).write_text("not a link of ours")
    for name in (".somebody.tmp", ".x.uvnas-0000000000000001.tmp"):
        Path(place.lib_dir, name).mkdir()
    Path(place.lib_dir, ".0.8.2.uvnas-0000000000000003.tmp").symlink_to("/")
    install(place, "0.8.2")
    assert not leftover.exists()
    assert sorted(os.listdir(place.bin_dir)) == [
        ".mine.tmp",
        ".uv.mine.tmp",
        ".uv.uvnas-0000000000000002.tmp",
        "uv",
        "uvx",
    ]
    assert {".somebody.tmp", ".x.uvnas-0000000000000001.tmp", ".0.8.2.uvnas-0000000000000003.tmp"} < set(
        os.listdir(place.lib_dir)
    )


def test_a_running_uv_keeps_running(place: Place) -> None:
    """Both when the links are switched, and when the very file that it runs from is repaired."""
    install(place, "0.8.1", program("0.8.1", '[ "$1" = --version ] || read line'))
    with subprocess.Popen([place.link("uv"), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        install(place, "0.8.2")
        os.unlink(place.program("0.8.1", "uvx"))
        install(place, "0.8.1")
        out, _err = running.communicate(b"go on\n")
    assert (running.returncode, out) == (0, b"uv 0.8.1 (some-machine)\n")


@pytest.mark.parametrize("path", ["bin", "", "./bin", "~/bin"])
def test_places_are_absolute(path: str) -> None:
    with pytest.raises(SpecError, match="is not an absolute path"):
        Place.local(path)
    with pytest.raises(SpecError, match="is not an absolute path"):
        Place.local("/usr/local/bin", path or "lib")


# On a share


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share.parse({"name": "nas_a", "root": str(make_share(tmp_path / "share"))})


def test_on_a_share(share: Share) -> None:
    place = Place.on_share(share)
    predicted = converge(place, "0.8.2", check_mode=True)
    assert install(place, "0.8.2") == predicted
    assert os.readlink(share.layout.uv) == "../lib/uv/0.8.2/uv"
    assert os.path.exists(share.layout.mutex)
    assert not os.path.exists(f"{share.layout.uv_versions}/.uvnas.mutex")


def test_another_share_is_left_alone(share: Share) -> None:
    other = Share.parse({"name": "nas_b", "root": share.root})
    before = tree(Place.on_share(share))
    for check_mode in (False, True):
        with pytest.raises(UvnasError, match="is the share nas_a, not nas_b"):
            converge(Place.on_share(other), "0.8.2", check_mode=check_mode)
    assert tree(Place.on_share(share)) == before


@pytest.mark.parametrize("missing", ["share.json", "share"])
def test_what_is_no_share_may_become_one(share: Share, missing: str) -> None:
    """In a check it may be about to; else nothing is written there."""
    Path(share.layout.identity).unlink()
    if missing == "share":
        os.rename(share.root, f"{share.root}-elsewhere")
    place = Place.on_share(share)
    assert converge(place, "0.8.2", check_mode=True)["changed"] is True
    with pytest.raises(UvnasError, match=f"^{re.escape(share.root)} is not a share$"):
        converge(place, "0.8.2")
    assert os.path.exists(share.root) is (missing == "share.json")
    assert not os.path.exists(share.layout.mutex)


def test_a_share_that_has_it_is_still_identified(share: Share) -> None:
    place = Place.on_share(share)
    install(place, "0.8.2")
    assert converge(place, "0.8.2")["changed"] is False
    Path(share.layout.identity).unlink()
    with pytest.raises(UvnasError, match="is not a share"):
        converge(place, "0.8.2")


def test_what_killed_runs_left_on_the_share_goes_too(share: Share) -> None:
    left = Path(share.layout.generations, "train", "unfinished")
    left.mkdir(parents=True)
    Path(share.layout.envs, ".train.uvnas-0000000000000001.tmp").symlink_to("nowhere")
    converge(Place.on_share(share), "0.8.2", check_mode=True)
    assert left.exists()
    install(Place.on_share(share), "0.8.2")
    assert not left.exists()
    assert os.listdir(share.layout.envs) == []
