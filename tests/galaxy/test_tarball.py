# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others make of the tarball: Galaxy imports it, and ansible-builder puts it into execution environments."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Their own virtual environment: they pin what the development tools have in other versions.
BIN = Path(os.environ.get("UVNAS_GALAXY_BIN") or ROOT / ".venv-galaxy" / "bin")
# All that Galaxy does, whatever is configured on this machine. Not ansible-test in a container: see `make test-sanity`.
IMPORTER = {
    "check_changelog": "True",
    "offline_ansible_lint": "True",
    "run_ansible_doc": "True",
    "run_ansible_lint": "True",
    "run_ansible_test": "False",
    "run_flake8": "False",
}


def run(*command: str | Path, cwd: Path, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command with the tools of Galaxy first in ``PATH``, and nothing of this user's settings."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "GALAXY_", "PYTHON"))
    }
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, "PATH": path, "HOME": str(home), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tarball")
    done = run(BIN / "ansible-galaxy", "collection", "build", "--output-path", made, cwd=ROOT, home=made)
    assert done.returncode == 0, done.stdout
    (tarball,) = made.glob("uvnas-cluster-*.tar.gz")
    return tarball


@pytest.fixture(scope="module")
def collections(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the collection is installed."""
    collections = tmp_path_factory.mktemp("collections")
    place = collections / "ansible_collections" / "uvnas" / "cluster"
    place.mkdir(parents=True)
    with tarfile.open(tarball) as archive:
        # Python 3.11.2, which Debian has, knows no filters yet.
        archive.extractall(place, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return collections


def test_galaxy_imports_it_and_has_nothing_to_say(tarball: Path, tmp_path: Path) -> None:
    config = configparser.ConfigParser()
    config["galaxy-importer"] = IMPORTER
    with (tmp_path / "galaxy-importer.cfg").open("w") as file:
        config.write(file)
    settings = {"GALAXY_IMPORTER_CONFIG": str(tmp_path / "galaxy-importer.cfg")}
    done = run(BIN / "python", "-m", "galaxy_importer.main", tarball, cwd=tmp_path, home=tmp_path, **settings)
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith(("WARNING", "ERROR", "CRITICAL"))] == []
    result = json.loads((tmp_path / "importer_result.json").read_text(encoding="utf-8"))
    documented = {item["content_name"] for item in result["docs_blob"]["contents"] if item["content_type"] == "role"}
    assert documented == {path.name for path in (ROOT / "roles").iterdir()}


def test_ansible_builder_finds_what_a_controller_needs(collections: Path, tmp_path: Path) -> None:
    found = tmp_path / "requirements.txt", tmp_path / "bindep.txt"
    written = ("--write-pip", found[0], "--write-bindep", found[1])
    done = run(BIN / "ansible-builder", "introspect", *written, collections, cwd=tmp_path, home=tmp_path)
    assert done.returncode == 0, done.stdout
    python, system = (path.read_text(encoding="utf-8") for path in found)
    assert "pip  # from collection uvnas.cluster" in python
    assert "openssh-clients [platform:rpm]  # from collection uvnas.cluster" in system


def test_ansible_builder_accepts_it_in_an_execution_environment(tarball: Path, tmp_path: Path) -> None:
    shutil.copy(HERE / "execution-environment.yml", tmp_path)
    shutil.copy(tarball, tmp_path / "uvnas-cluster.tar.gz")
    done = run(BIN / "ansible-builder", "create", cwd=tmp_path, home=tmp_path)
    assert done.returncode == 0, done.stdout
    context = tmp_path / "context"
    assert (context / "Containerfile").is_file()
    wanted = yaml.safe_load((context / "_build" / "requirements.yml").read_text(encoding="utf-8"))
    assert wanted["collections"] == [{"name": "uvnas-cluster.tar.gz", "type": "file"}]
