# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site with one host and one share in a directory, and ansible-playbook runs on it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml
from ansible_collections.uvnas.cluster.tests.support import pythons

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# The results of a task, as the default callback prints them at -v.
RESULT = re.compile(r"^(?:ok|changed|failed|fatal): \[[^]]*\].*? => (?P<data>\{.*\})$", re.MULTILINE)
_numbers = itertools.count()


@dataclasses.dataclass(frozen=True)
class Run:
    """How an ansible-playbook ended."""

    rc: int
    output: str

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        return sum(int(number) for number in re.findall(r"\bchanged=(\d+)", self.output))

    @property
    def environments(self) -> dict[str, dict[str, t.Any]]:
        """What uv_env returned, by environment."""
        found: dict[str, dict[str, t.Any]] = {}
        for match in RESULT.finditer(self.output):
            data = json.loads(match["data"])
            if isinstance(data.get("environments"), list):
                found.update({item["name"]: item for item in data["environments"] if "action" in item})
        return found

    @property
    def diff(self) -> list[str]:
        """The lines of diff mode."""
        shown = r"environment \S+: \S+ -> |lock \S+:$|  \S+ (\(to build [^)]*\) )?\S+ (-> |\()"
        return [line for line in self.output.splitlines() if re.match(shown, line)]


@dataclasses.dataclass(frozen=True)
class Site:
    """A site below ``path``. Each run has an inventory of its own, so that several may run at once."""

    path: Path
    # The series of the share's interpreter, as environments name it.
    python: str
    variables: t.Mapping[str, t.Any]
    # The hosts of the inventory, with variables of their own.
    hosts: t.Mapping[str, t.Mapping[str, t.Any] | None] = dataclasses.field(default_factory=lambda: {"builder": None})
    # Variables of the ansible-playbook process.
    process: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def share(self) -> Path:
        return self.path / "nas" / "uv"

    @property
    def files(self) -> Path:
        """Where the inventory's relative file names lead."""
        return self.path / "files"

    @property
    def remote_tmp(self) -> Path:
        return self.path / "tmp"

    def start(
        self,
        envs: t.Sequence[t.Mapping[str, t.Any]],
        *options: str,
        play: str = "",
        playbook: Path = ROOT / "playbooks" / "site.yml",
        **variables: t.Any,
    ) -> subprocess.Popen[str]:
        """Start site.yml, another ``playbook``, or ``play``, a role, with these environments and the site's Python."""
        directory = self.path / f"run-{next(_numbers)}"
        directory.mkdir(parents=True)
        wanted = [env if env.get("state") == "absent" else {"python": self.python, **env} for env in envs]
        values = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "uvnas_shares": [
                {"name": "nas_a", "root": str(self.share), "builder": "builder", "owner": pythons.owner()}
            ],
            "uvnas_envs": wanted,
            "uvnas_files_dir": str(self.files),
            "uvnas_uv_download_dir": str(self.path / "downloads"),
            "uvnas_profile_dir": str(self.path / "profile.d"),
            "uvnas_profile_fish_dir": str(self.path / "fish"),
            "uvnas_python_compile_bytecode": False,
            # Where a host remembers what it has verified: not where this machine does.
            "__uvnas_state_dir": f"{self.path}/state/{{{{ inventory_hostname }}}}",
            **self.variables,
            **variables,
        }
        inventory = directory / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": dict(self.hosts), "vars": values}}, sort_keys=False))
        if play:
            playbook = directory / "play.yml"
            playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "roles": [play]}]))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_REMOTE_TMP": str(self.remote_tmp),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **self.process,
        }
        return subprocess.Popen(
            [BIN / "ansible-playbook", "-v", "-i", inventory, playbook, *options],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, envs: t.Sequence[t.Mapping[str, t.Any]], *options: str, **variables: t.Any) -> Run:
        """Run site.yml."""
        return finish(self.start(envs, *options, **variables))

    def envs(self, envs: t.Sequence[t.Mapping[str, t.Any]], *options: str, **variables: t.Any) -> Run:
        """Run the role envs alone."""
        return finish(self.start(envs, *options, play="uvnas.cluster.envs", **variables))

    def role(self, role: str, *options: str, envs: t.Sequence[t.Mapping[str, t.Any]] = (), **variables: t.Any) -> Run:
        """Run another role alone."""
        return finish(self.start(envs, *options, play=f"uvnas.cluster.{role}", **variables))

    def link(self, env: str) -> str | None:
        """What ``envs/<env>`` points to; None if it does not exist."""
        path = self.share / "envs" / env
        return os.readlink(path) if path.is_symlink() else None

    def manifest(self, env: str) -> dict[str, t.Any]:
        data: dict[str, t.Any] = json.loads((self.share / "envs" / env / ".uvnas.json").read_text())
        return data

    def packages(self, env: str) -> dict[str, str]:
        packages: dict[str, str] = self.manifest(env)["packages"]
        return packages

    def run_python(self, env: str, code: str) -> str:
        """What the Python of an environment prints."""
        program = self.share / "envs" / env / "bin" / "python"
        return subprocess.check_output([program, "-I", "-B", "-c", code], env={}, text=True).strip()

    def unsealed(self, env: str) -> list[Path]:
        """Generations of an environment that are not complete."""
        found = (self.share / "generations" / env).glob("*")
        return [path for path in found if not (path / ".uvnas.json").exists()]


def make_site(
    path: Path, variables: t.Mapping[str, t.Any] | None = None, hosts: t.Mapping[str, t.Any] | None = None
) -> Site:
    """A site in a new directory, without a share yet. Environments get the tests' Python.

    Its owner must be able to look into ``path``, so that cannot be a directory of pytest's.
    """
    path.mkdir()
    (path / "nas").mkdir()  # The NAS, which its admin makes.
    archive = path / "python" / "python.tar.gz"
    archive.parent.mkdir()
    # An archive, because the owner may be unable to read its installation.
    pythons.pack_ours(archive)
    supplied = {"name": "site", "version": pythons.VERSION, "archive": str(archive)}
    site = Site(
        path,
        pythons.VERSION.rpartition(".")[0],
        {"uvnas_site_pythons": [supplied], **(variables or {})},
        hosts or {"builder": None},
    )
    site.files.mkdir()
    return site


def finish(started: subprocess.Popen[str], limit: float | None = None) -> Run:
    """Wait for a run, at most ``limit`` seconds."""
    output, _nothing = started.communicate(timeout=limit)
    return Run(started.returncode, output)
