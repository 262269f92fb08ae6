# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page "For researchers" as it stands there: each command is typed by somebody without any rights.

All of it sees a /mnt and an /etc/profile.d of its own, in a mount namespace.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.tests.support import pythons, transcripts

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SERIES = pythons.VERSION.rpartition(".")[0]
# As everywhere on the page but for the Python, of which there is but one here.
PAGE = (ROOT / "docs" / "docsite" / "rst" / "researchers.rst").read_text(encoding="utf-8")
TYPED = re.sub(r"(--python|install) 3\.1[0-9]\b", rf"\1 {SERIES}", PAGE)
SHARE = "/mnt/nas-a/uv"
ACTIVATE = f"source {SHARE}/envs/train/bin/activate"
ALICE = 64333  # Nobody on any machine.
ENTER = """\
set -e
mount --make-rprivate /
mount --bind "$0/mnt" /mnt
mount --bind "$0/profile.d" /etc/profile.d
exec "$@"
"""
TRAIN = {"name": "train", "python": SERIES, "requirements": ["numpy>=2", "tqdm", "ipykernel"], "imports": ["numpy"]}
KERNEL = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="train")
try:
    client.execute_interactive("import sys; print(sys.prefix)")
finally:
    manager.shutdown_kernel(now=True)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A devserver with a NAS, its admin, and alice."""

    path: Path

    @property
    def home(self) -> Path:
        return self.path / "home"

    def run(self, *cmd: str | Path, **more: t.Any) -> subprocess.CompletedProcess[str]:
        """Run something there, with its outputs in one."""
        return subprocess.run(
            ["unshare", "--mount", "bash", "-c", ENTER, self.path, *cmd],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more,
        )  # fmt: skip

    def converge(self, **train: t.Any) -> None:
        """What the admin does."""
        values = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "uvnas_shares": [{"name": "nas_a", "root": SHARE, "builder": "dev1", "owner": pythons.owner()}],
            "uvnas_envs": [{**TRAIN, **train}],
            "uvnas_site_pythons": [
                {"name": "site", "version": pythons.VERSION, "archive": str(self.path / "python" / "python.tar.gz")}
            ],
            "uvnas_uv_download_dir": str(self.path / "downloads"),
            "uvnas_profile_fish_dir": str(self.path / "fish"),
            "__uvnas_state_dir": str(self.path / "state"),
            "uvnas_python_compile_bytecode": False,
        }
        inventory = self.path / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": {"dev1": None}, "vars": values}}), encoding="utf-8")
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_REMOTE_TMP": str(self.path / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        }
        playbook = ROOT / "playbooks" / "site.yml"
        done = self.run(BIN / "ansible-playbook", "-i", inventory, playbook, cwd=self.path, env=environment)
        assert done.returncode == 0, done.stdout

    def login(self, script: Path) -> subprocess.CompletedProcess[str]:
        """What alice's login shell does with a script."""
        kept = {name: value for name, value in os.environ.items() if re.search("(?i)cert|proxy|^lang|^lc_", name)}
        own = {"HOME": str(self.home), "USER": "alice", "LOGNAME": "alice", "PATH": "/usr/bin:/bin"}
        # Instead of a download.
        own["UV_PYTHON_DOWNLOADS_JSON_URL"] = (self.path / "python" / "downloads.json").as_uri()
        words = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups"]
        return self.run(*words, "bash", "-l", script, cwd=self.home, env={**kept, **own})

    def types(self, command: str) -> str:
        """What alice reads who types that."""
        script = self.path / "typed.sh"
        script.write_text(f"{command}\n", encoding="utf-8")
        return self.login(script).stdout


@pytest.fixture(scope="module")
def cluster(public: Path) -> Cluster:
    cluster = Cluster(public)
    for name in ("mnt", "mnt/nas-a", "profile.d", "python", "home", "mnt/nas-a/people", "mnt/nas-a/people/alice"):
        (public / name).mkdir()
        (public / name).chmod(0o755)
    for mine in (cluster.home, public / "mnt" / "nas-a" / "people" / "alice"):
        os.chown(mine, ALICE, ALICE)
    (cluster.home / ".gitconfig").write_text("[user]\nname = alice\nemail = alice@example.org\n", encoding="utf-8")
    archive = public / "python" / "python.tar.gz"
    pythons.pack_ours(archive, whole=True)
    # For people to install, of the same series.
    newer = f"{SERIES}.{9 if pythons.VERSION[-1] != '9' else 8}"
    if len(newer) == len(pythons.VERSION):
        digest = pythons.relabel(archive, public / "python" / "newer.tar.gz", newer)
        entry = pythons.download_entry(newer, (public / "python" / "newer.tar.gz").as_uri(), digest)
        (public / "python" / "downloads.json").write_text(json.dumps({pythons.key(newer): entry}))
    cluster.converge()
    return cluster


@pytest.mark.parametrize(
    "session", [pytest.param(one, id=f"line-{one[0].line}") for one in transcripts.sessions(TYPED)]
)
def test_what_the_page_shows(session: list[transcripts.Command], cluster: Cluster) -> None:
    assert transcripts.type_in(session, cluster.path / "session.sh", cluster.login) == []


def test_the_job_of_the_page(cluster: Cluster) -> None:
    ((_line, text),) = transcripts.blocks(TYPED, "bash")
    job, srun = cluster.path / "job.sh", cluster.path / "slurm" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\nexec "$@"\n', encoding="utf-8")
    srun.chmod(0o755)
    (cluster.path / "profile.d" / "slurm.sh").write_text(f"PATH={srun.parent}:$PATH\n", encoding="utf-8")
    job.write_text(text, encoding="utf-8")
    job.chmod(0o755)
    (cluster.home / "train.py").write_text("import sys; print(sys.prefix)\n", encoding="utf-8")
    said = cluster.types(str(job))
    assert re.fullmatch(rf"{SHARE}/generations/train/\w+\n", said)


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (f"{ACTIVATE}; uv pip uninstall tqdm", ["failed to remove file"]),
        (f"{ACTIVATE}; uv pip install six", ["Failed to create directory"]),
        ("uv python install 3.14; uv python install", ["Could not create temporary file", "/uv/python/.tmp"]),
        ("uv venv --python 3.10 ~/nothing", ["No interpreter found for Python"]),
        ("uvnas_use nas_z", ["uvnas_use: this host has no share called"]),
        (f"{ACTIVATE}; python -m pip install six", ["There is no pip in the environment train"]),
        (
            f"{ACTIVATE}; mkdir p && cd p && uv init -q --bare --python {SERIES} && uv sync",
            ["does not match the project environment path", "and will be ignored"],
        ),
    ],
)  # fmt: skip
def test_messages_are_those_of_the_page(command: str, parts: list[str], cluster: Cluster) -> None:
    said = cluster.types(command)
    for part in parts:
        assert part in PAGE
        assert part in said


def test_nothing_of_that_changed_the_share(cluster: Cluster) -> None:
    """But for the cache of alice."""
    mine = [
        path
        for path in (cluster.path / "mnt" / "nas-a" / "uv").rglob("*")
        if path.lstat().st_uid == ALICE
        and not path.is_relative_to(cluster.path / "mnt" / "nas-a" / "uv" / "user-cache")
    ]
    assert mine == []


def test_an_environment_on_top_costs_links(cluster: Cluster) -> None:
    """All files that are in it are those of the cache, but for what is written for it."""
    plus = cluster.path / "mnt" / "nas-a" / "people" / "alice" / "train-plus"
    alone = [path for path in plus.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1]
    packages = plus / "lib" / f"python{SERIES}" / "site-packages"
    assert (packages / "numpy" / "__init__.py").stat().st_nlink > 1
    # Bytecode of what was imported, scripts, and what uv writes about each package.
    about = (".pyc", "RECORD", "INSTALLER", "REQUESTED", "uv_cache.json")
    assert [path for path in alone if path.is_relative_to(packages) and not path.name.endswith(about)] in (
        [],
        [packages / "_virtualenv.py", packages / "_virtualenv.pth"],
        [packages / "_virtualenv.pth", packages / "_virtualenv.py"],
    )


def test_a_kernel_follows_an_upgrade_and_pins_what_it_starts_with(cluster: Cluster) -> None:
    """The one that the page has made. That is the last test, as it changes the environment."""
    (cluster.path / "kernel.py").write_text(KERNEL, encoding="utf-8")
    ask = f"{SHARE}/envs/train/bin/python {cluster.path / 'kernel.py'}; readlink -f {SHARE}/envs/train"
    first, is_first = cluster.types(ask).splitlines()[-2:]
    assert first == is_first
    cluster.converge(requirements=[*TRAIN["requirements"], "idna"])
    second, is_second = cluster.types(ask).splitlines()[-2:]
    assert second == is_second != first
