# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install projects of others by site.yml, and compare with uv export --frozen and uv pip sync.

    python tests/tools/projects.py SCRATCH PROJECT[:key=value…]…

SCRATCH is a directory that is not there yet. PROJECT is a directory with pyproject.toml and uv.lock, or that of a
member of a workspace; the keys of its environment follow, ``extras=a,b`` or ``package=c`` for instance. ``UVNAS_INDEX``
is the default index of the site, a mirror perhaps. The Python is the one that runs this.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import uv as uv_package
from ansible_collections.uvnas.cluster.tests.support.sites import make_site

UV = uv_package.find_uv_bin()
LISTS = ("extras", "groups")


class Project(t.NamedTuple):
    """A project, and what is wanted of it."""

    path: Path
    keys: dict[str, t.Any]

    @classmethod
    def of(cls, argument: str) -> Project:
        path, *keys = argument.split(":")
        pairs = (key.split("=", 1) for key in keys)
        return cls(Path(path).resolve(), {key: value.split(",") if key in LISTS else value for key, value in pairs})

    @property
    def name(self) -> str:
        words = [self.path.parent.name, self.path.name, *(str(value) for value in self.keys.values())]
        return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(words)).strip("-.")[-60:].lower()

    @property
    def environment(self) -> dict[str, t.Any]:
        return {"name": self.name, "project": str(self.path), **self.keys}

    def as_uv_has_it(self, scratch: Path) -> dict[str, str]:
        """The packages that uv itself installs."""
        options = ["--no-header", "--no-emit-local", "--no-default-groups", "--frozen", "--python", sys.executable]
        options += [part for key in LISTS for name in self.keys.get(key, []) for part in (f"--{key[:-1]}", name)]
        options += ["--package", self.keys["package"]] if "package" in self.keys else []
        scratch.mkdir()
        lock, venv = scratch / "requirements.txt", scratch / "venv"
        lock.write_text(self._uv("export", *options))
        self._uv("venv", "--python", sys.executable, str(venv))
        self._uv("pip", "sync", "--allow-empty-requirements", "--require-hashes", "--python", str(venv), str(lock))
        listed = self._uv("pip", "list", "--format", "json", "--python", str(venv))
        return {re.sub("[-_.]+", "-", each["name"]).lower(): each["version"] for each in json.loads(listed)}

    def _uv(self, *args: str) -> str:
        return subprocess.run(
            [UV, "--quiet", *args], cwd=self.path, check=True, stdout=subprocess.PIPE, text=True
        ).stdout


def main(scratch: Path, projects: t.Sequence[Project]) -> int:
    scratch.mkdir(mode=0o755)
    index = {"default": os.environ["UVNAS_INDEX"]} if "UVNAS_INDEX" in os.environ else {}
    site = make_site(scratch / "site", {"uvnas_index": index})
    envs = [project.environment for project in projects]
    first = site.run(envs)
    print(*_said(first.output), sep="\n", flush=True)
    if first.rc != 0:
        return 1
    again = site.run(envs)
    print(f"A second run: rc={again.rc}, changed={again.changed}")
    wrong = again.rc or again.changed
    for project in projects:
        packages, theirs = site.packages(project.name), project.as_uv_has_it(scratch / project.name)
        different = sorted({*packages.items()} ^ {*theirs.items()})
        wrong += len(different)
        print(f"{project.name}: {len(packages)} packages:", different or "the same as uv's", flush=True)
    return 1 if wrong else 0


def _said(output: str) -> list[str]:
    """What the playbook said of environments."""
    found = re.findall(r"\benvironment \S+: [^\n\"]*", output.replace("\\n", "\n"))
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), [Project.of(each) for each in sys.argv[2:]]))
