# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as users get it: built, installed into an empty path, and used from there without the checkout."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# All that may be at the top of the installed collection.
CONTENT = {
    "CHANGELOG.rst",
    "COPYING",
    "FILES.json",
    "MANIFEST.json",
    "README.md",
    "SECURITY.md",
    "changelogs",
    "docs",
    "inventories",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}
PLAYBOOKS = ("site", "verify", "info")


@dataclasses.dataclass(frozen=True)
class Installed:
    """A directory with nothing in it but the installed collection."""

    directory: Path

    @property
    def collection(self) -> Path:
        return self.directory / "collections" / "ansible_collections" / "uvnas" / "cluster"

    def run(self, *command: str | Path) -> str:
        """The output of an Ansible command, run in the directory, that has to succeed."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
        settings = {
            "ANSIBLE_CONFIG": self.directory / "ansible.cfg",
            "ANSIBLE_COLLECTIONS_PATH": self.directory / "collections",
        }
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**inherited, **{key: str(path) for key, path in settings.items()}},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built from the checkout as it is, with whatever lies about in it."""
    made = tmp_path_factory.mktemp("built")
    subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", made], cwd=ROOT, check=True)
    (archive,) = made.glob("uvnas-cluster-*.tar.gz")
    place = Installed(tmp_path_factory.mktemp("installed"))
    (place.directory / "ansible.cfg").touch()  # Empty, so that none of this machine counts.
    place.run("ansible-galaxy", "collection", "install", "--offline", "-p", place.directory / "collections", archive)
    return place


def test_only_what_runs_and_its_documentation_is_installed(installed: Installed) -> None:
    assert {path.name for path in installed.collection.iterdir()} <= CONTENT
    assert not [path for path in installed.collection.rglob("*") if path.name.startswith(".") or path.is_symlink()]


def test_modules_and_roles_are_found_and_documented(installed: Installed) -> None:
    modules = {f"uvnas.cluster.{path.stem}" for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert set(json.loads(installed.run("ansible-doc", "--list", "--json", "uvnas.cluster"))) == modules
    roles = {f"uvnas.cluster.{path.name}" for path in (ROOT / "roles").iterdir()}
    assert set(json.loads(installed.run("ansible-doc", "--list", "--json", "-t", "role", "uvnas.cluster"))) == roles


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_playbooks_are_found_by_name(installed: Installed, name: str) -> None:
    installed.run("ansible-playbook", "--syntax-check", f"uvnas.cluster.{name}", "-i", "localhost,")


def test_site_runs_and_a_second_run_changes_nothing(installed: Installed) -> None:
    inventory = installed.directory / "inventories" / "quickstart"
    shutil.copytree(installed.collection / "inventories" / "quickstart", inventory)
    (installed.directory / ".demo" / "nas").mkdir(parents=True)  # What stands for the mounted filesystem.
    state = f"__uvnas_state_dir={installed.directory}/state"
    command = ("ansible-playbook", "uvnas.cluster.site", "-i", inventory, "-e", state)
    installed.run(*command)
    assert "changed=0" in installed.run(*command)
