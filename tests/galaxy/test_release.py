# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make release`, in a scratch repository with the files of this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Releaser"), ("EMAIL", "releaser@localhost"))
}


class Checkout:
    """A repository, and what is done in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.directory,
            env={**os.environ, **AUTHOR},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout.strip()

    def release(self, version: str) -> subprocess.CompletedProcess[str]:
        return self.run("tests/tools/release.sh", version)

    def read(self, name: str) -> str:
        return (self.directory / name).read_text(encoding="utf-8")

    def add_fragment(self, name: str, text: str) -> None:
        (self.directory / "changelogs" / "fragments" / f"{name}.yml").write_text(f"---\nbugfixes:\n  - {text}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", text)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """This checkout as it is, as the first commit of a branch main."""
    listed = ("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    directory = tmp_path / "checkout"
    for name in {name for name in names.split("\0") if name and os.path.lexists(ROOT / name)}:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
    checkout = Checkout(directory)
    checkout.git("init", "--quiet", "--initial-branch", "main")
    checkout.git("add", "--all")
    checkout.git("commit", "--quiet", "--message", "Everything")
    return checkout


def test_a_release_is_a_commit_a_tag_and_a_tarball(checkout: Checkout) -> None:
    done = checkout.release("0.1.0")
    assert done.returncode == 0, done.stdout
    assert "git push origin main v0.1.0" in done.stdout
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.git("log", "-1", "--format=%s") == "Release 0.1.0"
    assert checkout.git("describe") == "v0.1.0"
    changelog = checkout.read("CHANGELOG.rst")
    assert "v0.1.0" in changelog
    assert "Nothing is released yet" not in changelog
    assert [path.name for path in (checkout.directory / "changelogs").glob("fragments/*.yml")] == []
    with tarfile.open(checkout.directory / "build" / "uvnas-cluster-0.1.0.tar.gz") as archive:
        manifest = archive.extractfile("MANIFEST.json")
        assert manifest is not None
        assert json.load(manifest)["collection_info"]["version"] == "0.1.0"
        assert "CHANGELOG.rst" in archive.getnames()

    assert "has nothing that is new" in checkout.release("0.2.0").stdout
    checkout.add_fragment("later", "A later change.")
    assert "the tag v0.1.0 is there already" in checkout.release("0.1.0").stdout
    assert "0.0.9 is older than v0.1.0" in checkout.release("0.0.9").stdout
    done = checkout.release("0.2.0")
    assert done.returncode == 0, done.stdout
    assert yaml.safe_load(checkout.read("galaxy.yml"))["version"] == "0.2.0"
    assert [*yaml.safe_load(checkout.read("changelogs/changelog.yaml"))["releases"]] == ["0.1.0", "0.2.0"]
    changelog = checkout.read("CHANGELOG.rst")
    assert changelog.index("v0.2.0") < changelog.index("A later change.") < changelog.index("v0.1.0")


def _dirty(checkout: Checkout) -> None:
    (checkout.directory / "new.txt").touch()


def _on_a_branch(checkout: Checkout) -> None:
    checkout.git("switch", "--quiet", "--create", "topic")


def _detached(checkout: Checkout) -> None:
    checkout.git("switch", "--quiet", "--detach")


def _bad_fragment(checkout: Checkout) -> None:
    checkout.add_fragment("bad", "Fine.\nbugs: [unknown section]")


def _nothing(checkout: Checkout) -> None:
    """All is well."""


@pytest.mark.parametrize(
    ("prepare", "version", "said"),
    [
        (_nothing, "", "say which version: make release VERSION=1.2.3"),
        (_nothing, "1.0", "1.0 is not MAJOR.MINOR.PATCH"),
        (_nothing, "v1.0.0", "v1.0.0 is not MAJOR.MINOR.PATCH"),
        (_nothing, "1.0.0; true", "is not MAJOR.MINOR.PATCH"),
        (_dirty, "1.0.0", "changes that are not committed"),
        (_on_a_branch, "1.0.0", "this is the branch topic, not main"),
        (_detached, "1.0.0", "no branch is checked out"),
        (_bad_fragment, "1.0.0", "bugs"),
    ],
)
def test_what_is_not_ready_is_not_released(
    prepare: t.Callable[[Checkout], None], version: str, said: str, checkout: Checkout
) -> None:
    prepare(checkout)
    before = checkout.git("rev-parse", "HEAD"), checkout.git("status", "--porcelain")
    done = checkout.release(version)
    assert done.returncode != 0
    assert said in done.stdout
    assert (checkout.git("rev-parse", "HEAD"), checkout.git("status", "--porcelain")) == before
    assert checkout.git("tag") == ""


def test_a_release_that_fails_on_the_way_leaves_no_trace(checkout: Checkout) -> None:
    hook = checkout.directory / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    before = checkout.git("rev-parse", "HEAD")
    assert checkout.release("1.0.0").returncode != 0
    assert checkout.git("rev-parse", "HEAD") == before
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.git("tag") == ""
