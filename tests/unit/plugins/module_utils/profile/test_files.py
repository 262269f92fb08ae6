# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that shells read at start-up. What real shells make of them: tests/integration/test_profile.py."""

from __future__ import annotations

import os
import shlex
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.profile import files as profile

GOLDEN = Path(__file__).parent / "golden"

SHARES = ({"name": "nas_a", "root": "/mnt/nas-a/uv"}, {"name": "nas_b", "root": "/mnt/nas-b/uv"})
MIRROR = "https://mirror.example.org/simple"


def make(
    shares: t.Sequence[dict[str, str]] = SHARES, user_cache: str = "group", variables: dict[str, t.Any] | None = None
) -> profile.Profile:
    return profile.Profile.from_params(shares, user_cache, variables or {})


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return profile.paths(str(tmp_path / "profile.d"), str(tmp_path / "conf.d"))


def converge(wanted: t.Mapping[str, str | None]) -> list[profile.Change]:
    changes = profile.plan(wanted)
    profile.apply(changes)
    return changes


# The text


@pytest.mark.parametrize("shell", ["sh", "csh", "fish"])
def test_golden_text(shell: str) -> None:
    exports = make(variables={"UV_DEFAULT_INDEX": MIRROR, "UV_HTTP_TIMEOUT": 60})
    text = profile.contents(exports, profile.paths("/etc/profile.d", "/etc/fish/conf.d"))
    golden = (GOLDEN / f"profile_{shell}.txt").read_text(encoding="utf-8")
    assert next(content for path, content in text.items() if path.endswith(f".{shell}")) == golden


@pytest.mark.parametrize("shell", ["sh", "csh", "fish"])
def test_a_private_cache_changes_nothing_but_the_cache(shell: str) -> None:
    files = profile.paths("/etc/profile.d", "/etc/fish/conf.d")
    group, private = (
        (profile.contents(make(user_cache=kind), files)[files[shell]] or "").splitlines()
        for kind in ("group", "private")
    )
    differing = set(group) ^ set(private)
    assert differing
    assert all("USER" in line or "__uvnas_user" in line or "UV_CACHE_DIR" in line for line in differing)


def test_the_order_of_shares_counts_and_that_of_variables_does_not() -> None:
    assert profile.render_sh(make(SHARES)) != profile.render_sh(make(SHARES[::-1]))
    one = make(variables={"UV_A": "1", "UV_B": "2"})
    assert one == make(variables={"UV_B": "2", "UV_A": "1"})


def test_what_looks_like_a_part_of_the_template_is_text() -> None:
    text = profile.render_sh(make(variables={"UV_A": "@home@ @variables@"}))
    assert "export UV_A='@home@ @variables@';" in text


@pytest.mark.parametrize(
    "value", ["plain", "a b", "it's", "''", '$HOME `id` \\ " ! * ~ # ; & | < > ( )', "ü", "-n", "="]
)
def test_sh_words(value: str) -> None:
    text = profile.render_sh(make(variables={"UV_A": value}))
    line = next(line for line in text.splitlines() if "export UV_A=" in line)
    words = shlex.split(line.partition("export ")[2], comments=True)
    assert words[0].rstrip(";") == f"UV_A={value}".rstrip(";")


def test_csh_comments_have_nothing_that_an_interactive_csh_would_look_at() -> None:
    comments = [
        line for line in profile.render_csh(make(), "/x/uvnas.csh").splitlines() if line.lstrip().startswith("#")
    ]
    assert comments
    assert not [line for line in comments if set(line) & set("'\"`!$")]


# Variables


def test_values_become_text() -> None:
    values = {"UV_A": True, "UV_B": False, "UV_C": 3, "UV_D": 1.5, "UV_E": None, "UV_F": "", "PIP_INDEX_URL": MIRROR}
    assert dict(make(variables=values).variables) == {
        "PIP_INDEX_URL": MIRROR,
        "UV_A": "true",
        "UV_B": "false",
        "UV_C": "3",
        "UV_D": "1.5",
        "UV_PYTHON_DOWNLOADS": "manual",
    }


@pytest.mark.parametrize(("value", "wanted"), [("automatic", {"UV_PYTHON_DOWNLOADS": "automatic"}), (None, {})])
def test_downloads_are_manual_unless_said_otherwise(value: str | None, wanted: dict[str, str]) -> None:
    assert dict(make(variables={"UV_PYTHON_DOWNLOADS": value}).variables) == wanted


@pytest.mark.parametrize(
    "name", ["UV_DEFAULT_INDEX", "PIP_INDEX_URL", "HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "NETRC"]
)
def test_names_that_may_be_exported(name: str) -> None:
    assert (name, "x") in make(variables={name: "x"}).variables


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("UV_CACHE_DIR", "follows the share"),
        ("UV_INSTALL_DIR", "follows the share"),
        ("UV_PYTHON_INSTALL_DIR", "follows the share"),
        ("PATH", "no variable to export"),
        ("IFS", "no variable to export"),
        ("LD_PRELOAD", "no variable to export"),
        ("EUID", "no variable to export"),
        ("UVNAS_ROOT", "no variable to export"),
        ("UV_", "no variable to export"),
        ("uv_x", "no variable to export"),
        ("UV_X Y", "no variable to export"),
        ("UV_X=1; rm -rf /; UV_Y", "no variable to export"),
        ("UV_X\n", "no variable to export"),
        ("", "no variable to export"),
        ("UV_INDEX_INTERNAL_PASSWORD", "credential"),
        ("UV_INDEX_INTERNAL_USERNAME", "credential"),
        ("UV_PUBLISH_TOKEN", "credential"),
    ],
)
def test_names_that_are_refused(name: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        make(variables={name: "x"})
    assert caught.value.hint or "follows" in said


@pytest.mark.parametrize(
    "value",
    [
        "https://alice:geheim@mirror.example.org/simple",
        "https://geheim@mirror.example.org/simple",
        "https://open.example.org/simple https://alice:geheim@mirror.example.org/simple",
        "internal=https://alice:geheim@mirror.example.org/simple",
        "http://alice:geheim@proxy.example.org:3128",
    ],
)
def test_credentials_are_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(SpecError, match="credentials") as caught:
        make(variables={"UV_INDEX": value})
    assert "geheim" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("value", ["two\nlines", "tab\t", "nul\0", "\x1b[0m", "x" * 501, ["a"], {"a": 1}, "\udc80"])
def test_values_that_are_refused(value: t.Any) -> None:
    with pytest.raises(SpecError, match="UV_A"):
        make(variables={"UV_A": value})


# Shares and places


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([], "no share"),
        ([{"name": "../x", "root": "/a"}], "name of a share"),
        ([{"name": "a b", "root": "/a"}], "name of a share"),
        ([{"name": "", "root": "/a"}], "name of a share"),
        ([{"name": "a", "root": "relative"}], "absolute"),
        ([{"name": "a", "root": "/"}], "cannot be /"),
        ([{"name": "a", "root": "/a:b"}], "cannot be used"),
        ([{"name": "a", "root": "/a\nb"}], "cannot be used"),
        ([{"name": "a", "root": "/" + "x" * 600}], "cannot be in a shell file"),
        ([{"name": "a", "root": "/\udc80"}], "cannot be in a shell file"),
        ([{"name": "a", "root": "/a"}, {"name": "a", "root": "/b"}], "two shares"),
        ([{"name": "a", "root": "/a"}, {"name": "b", "root": "/a/"}], "same root"),
    ],
)
def test_shares_that_are_refused(shares: list[dict[str, str]], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make(shares)


def test_no_file_for_fish_without_a_directory() -> None:
    assert sorted(profile.paths("/etc/profile.d", "")) == ["csh", "sh"]


@pytest.mark.parametrize(("directory", "fish"), [("", "/x"), ("profile.d", "/x"), ("/x", "conf.d"), ("/x\n", "/x")])
def test_places_that_are_refused(directory: str, fish: str) -> None:
    with pytest.raises(SpecError, match="no directory for profile files"):
        profile.paths(directory, fish)


def test_shells_must_not_read_their_files_on_a_share() -> None:
    with pytest.raises(SpecError, match="on the share nas_b"):
        profile.contents(make(), profile.paths("/etc/profile.d", "/mnt/nas-b/uv/fish"))


# Files


def test_everything_from_nothing_and_then_nothing(files: dict[str, str]) -> None:
    wanted = profile.contents(make(), files)
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
        converge(profile.contents(make(), files))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(os.path.dirname(files["sh"])).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(files["sh"]).st_mode) == 0o644


def test_a_plan_changes_nothing(files: dict[str, str]) -> None:
    assert len(profile.plan(profile.contents(make(), files))) == 3
    assert not os.path.exists(os.path.dirname(files["sh"]))


def test_only_what_differs_is_written(files: dict[str, str]) -> None:
    wanted = profile.contents(make(), files)
    converge(wanted)
    inodes = {path: os.stat(path).st_ino for path in wanted}
    Path(files["csh"]).write_text("something else\n", encoding="utf-8")
    assert [change.path for change in converge(wanted)] == [files["csh"]]
    assert [path for path in wanted if os.stat(path).st_ino == inodes[path]] == [files["sh"], files["fish"]]


def test_a_mode_that_lets_others_write_is_a_difference(files: dict[str, str]) -> None:
    wanted = profile.contents(make(), files)
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
    converge(profile.contents(make(), files))
    assert not os.path.islink(files["sh"])
    assert elsewhere.read_text(encoding="utf-8") == "mine\n"


def test_a_file_that_is_no_text_is_replaced(files: dict[str, str]) -> None:
    wanted = profile.contents(make(), files)
    converge(wanted)
    Path(files["sh"]).write_bytes(b"\xff\xfe\0")
    (change,) = converge(wanted)
    assert "\\xff" in change.diff()["before"]
    assert converge(wanted) == []


def test_absent_removes_the_files_and_nothing_else(files: dict[str, str]) -> None:
    converge(profile.contents(make(), files))
    other = Path(files["sh"]).parent / "other.sh"
    other.write_text(":\n", encoding="utf-8")
    gone: dict[str, str | None] = dict.fromkeys(files.values())
    changes = converge(gone)
    assert [change.diff()["after"] for change in changes] == ["", "", ""]
    assert os.listdir(other.parent) == ["other.sh"]
    assert converge(gone) == []


def test_a_directory_in_the_place_of_a_file(files: dict[str, str]) -> None:
    os.makedirs(files["sh"])
    with pytest.raises(UvnasError, match="is not a file"):
        profile.plan(profile.contents(make(), files))


@pytest.mark.parametrize("where", ["profile.d", "."])
def test_a_file_in_the_place_of_a_directory(where: str, tmp_path: Path) -> None:
    in_the_way = tmp_path / "way"
    in_the_way.write_text("", encoding="utf-8")
    files = profile.paths(str(in_the_way / where), "")
    with pytest.raises(UvnasError, match="not a directory"):
        profile.plan(profile.contents(make(), files))
