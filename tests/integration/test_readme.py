# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories and commands of README and of the pages, as they stand there, with NASes and accounts of those names.

Each run of an inventory sees a file tree of its own below /mnt, /etc and /usr/local/bin, in a mount namespace. "Getting
started" is done by an ordinary user, from top to bottom.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.tests.support import documents, pythons, unprivileged

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SERIES = pythons.VERSION.rpartition(".")[0]
HOSTS = ("dev1", "node001")
STARTED = f"{documents.PAGES}/getting-started.rst"
FILES = {
    "files/legacy.in": "iniconfig\n",
    "files/legacy-constraints.txt": "iniconfig<3\n",
    "projects/x/pyproject.toml": f"""\
[project]
name = "x"
version = "1"
requires-python = ">={SERIES}"
dependencies = ["numpy"]
[project.optional-dependencies]
gpu = ["idna"]
[dependency-groups]
eval = ["iniconfig"]
""",
    "vendor/pyproject.toml": f"""\
[project]
name = "v"
version = "1"
requires-python = ">={SERIES}"
dependencies = ["idna"]
""",
}
# With a directory for /mnt, /etc and /usr/local/bin each. Disks of other tests are let go of: they are to be unmounted.
ENTER = """\
set -e
mount --make-rprivate /
awk '$(NF - 1) ~ "^/dev/loop" {print $5}' /proc/self/mountinfo | tac | xargs --no-run-if-empty umount --lazy
for name in mnt etc usr-local-bin; do mount --bind "$0/$name" "/${name//-//}"; done
for name in nas-a nas-b; do mount -t tmpfs -o size=1g "$name" "/mnt/$name"; done
exec "$@"
"""


@dataclasses.dataclass(frozen=True)
class Admin:
    """Somebody who has an inventory of the documentation, on a machine that is all of its hosts."""

    path: Path

    @property
    def inventory(self) -> Path:
        return self.path / "inventory"

    def runs(self, playbook: str, *, cwd: Path, settings: dict[str, str]) -> list[str]:
        """The outputs of two runs, one after the other."""
        # What this machine cannot have: hosts, sudo, downloads of interpreters.
        site = {"name": "site", "version": pythons.VERSION, "archive": str(self.path / "python" / "python.tar.gz")}
        given = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "uvnas_site_pythons": [site],
            # Here two hosts have one /etc, and are told different shares.
            "uvnas_profile_dir": "/etc/profile.d/{{ inventory_hostname }}",
            "uvnas_profile_fish_dir": "/etc/fish/conf.d/{{ inventory_hostname }}",
            "__uvnas_state_dir": f"{self.path}/state/{{{{ inventory_hostname }}}}",
        }
        (self.path / "given.yml").write_text(yaml.safe_dump(given), encoding="utf-8")
        inventory = os.path.relpath(self.inventory / "hosts.yml", cwd)
        command = [
            str(BIN / "ansible-playbook"), "-i", inventory, playbook, "-e", f"@{self.path / 'given.yml'}",
            "--limit", ",".join(HOSTS),
        ]  # fmt: skip
        line = " ".join(f"'{word}'" for word in command)
        look = "{ ls -A /mnt/nas-a/uv/envs /mnt/nas-b/uv/envs /usr/local/bin /etc/profile.d/* || :; }"
        twice = f'{line} && echo "== again" && {line} && {look}'
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", ENTER, self.path / "root", "bash", "-c", twice],
            cwd=cwd,
            env={**inherited, "ANSIBLE_NOCOLOR": "1", **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout.split("== again\n")


PAGES = {
    "checkout": (f"{documents.PAGES}/inventory.rst", ""),
    "installed": (f"{documents.PAGES}/inventory.rst", ""),
    "readme": (documents.README, ""),
    "started": (STARTED, "A devserver, a NAS and a cluster\n"),
}


@pytest.fixture
def admin(public: Path, request: pytest.FixtureRequest) -> Admin:
    path = public / request.node.callspec.id
    admin = Admin(path)
    documents.write_inventory(admin.inventory, *PAGES[request.node.callspec.id])
    for name, text in FILES.items():
        file = admin.inventory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for file in (admin.inventory / "group_vars").iterdir():
        # There is but one Python here.
        file.write_text(re.sub(r'"3\.1[0-9]"', f'"{SERIES}"', file.read_text(encoding="utf-8")), encoding="utf-8")
    for name in ("projects/x", "vendor"):
        uv(admin.inventory / name, "lock")
    uv(admin.inventory / "vendor", "export", "--format", "pylock.toml", "-o", "../files/pylock.vendor.toml")
    (path / "python").mkdir()
    pythons.pack_ours(path / "python" / "python.tar.gz", whole=True)
    root = path / "root"
    for name, source in (("etc", "/etc"), ("usr-local-bin", "/usr/local/bin")):
        shutil.copytree(source, root / name, symlinks=True)
    (root / "mnt").mkdir()
    for name in ("nas-a", "nas-b"):
        (root / "mnt" / name).mkdir()
    with (root / "etc" / "passwd").open("a") as file:
        file.write("uvadmin:x:64201:64202::/nonexistent:/bin/sh\n")
    with (root / "etc" / "group").open("a") as file:
        file.write("research:x:64202:\n")
    return admin


def uv(directory: Path, *words: str) -> None:
    subprocess.run([BIN / "uv", *words, "--quiet", "--python", sys.executable], cwd=directory, check=True)


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the collection is installed."""
    built, installed = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("collections")
    galaxy = [BIN / "ansible-galaxy", "collection"]
    subprocess.run([*galaxy, "build", "--output-path", built], cwd=ROOT, check=True)
    (archive,) = built.glob("*.tar.gz")
    subprocess.run([*galaxy, "install", "--offline", "--force", "-p", installed, archive], check=True)
    return installed


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
@pytest.mark.parametrize("how", ["checkout", "installed"])
def test_the_large_inventory(how: str, admin: Admin, collections: Path) -> None:
    if how == "checkout":
        first, again = admin.runs("playbooks/site.yml", cwd=ROOT, settings={})
    else:
        (admin.path / "empty.cfg").touch()  # As where there is no ansible.cfg.
        settings = {"ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_CONFIG": str(admin.path / "empty.cfg")}
        first, again = admin.runs("uvnas.cluster.site", cwd=admin.path, settings=settings)
    for host in HOSTS:
        assert re.search(rf"^{host} .*changed=[1-9].*failed=0", first, re.MULTILINE), first
        assert re.search(rf"^{host} .*changed=0 .*failed=0", again, re.MULTILINE), again
    listing = again[again.rindex("\n/etc/profile.d/") :]
    nas_a, nas_b = (listing.split(f"/mnt/{nas}/uv/envs:\n")[1].split("\n\n")[0].split() for nas in ("nas-a", "nas-b"))
    assert nas_a == ["project-x", "train", "vendor"]
    assert nas_b == ["legacy", "project-x", "train", "vendor"]
    assert "uvnas.sh" in listing
    assert "uvx" in listing
    assert sorted(path.name for path in (admin.inventory / "locks").iterdir()) == [
        "legacy.txt", "project-x.txt", "train.txt", "vendor.txt",
    ]  # fmt: skip
    assert "[WARNING]" not in again, again


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
@pytest.mark.parametrize("how", ["readme", "started"])
def test_the_inventories_to_begin_with(how: str, admin: Admin) -> None:
    first, again = admin.runs("playbooks/site.yml", cwd=ROOT, settings={})
    for host in HOSTS:
        assert re.search(rf"^{host} .*changed=[1-9].*failed=0", first, re.MULTILINE), (how, first)
        assert re.search(rf"^{host} .*changed=0 .*failed=0", again, re.MULTILINE), (how, again)
    assert "[WARNING]" not in again, again
    assert again.split("/mnt/nas-a/uv/envs:\n")[1].split()[0] == "train"
    assert [path.name for path in (admin.inventory / "locks").iterdir()] == ["train.txt"]


def as_printed(shown: str) -> re.Pattern[str]:
    """What a line of output may be, if the page has ``shown``: with anything for ``…``."""
    return re.compile(".*".join(re.escape(part) for part in shown.split("…")))


@pytest.mark.skipif(os.geteuid() != 0, reason="an account of its own needs root")
def test_getting_started_from_top_to_bottom(public: Path) -> None:
    """By somebody who has a home directory and a checkout, and no more. Each command has to succeed."""
    home, checkout = public / "home", public / "clone"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in files.rstrip("\0").split("\0"):
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name, follow_symlinks=False)
    home.mkdir()
    # What this machine cannot have: downloads of interpreters.
    pythons.pack_ours(public / "python.tar.gz", whole=True)
    site = {"name": "site", "version": pythons.VERSION, "archive": str(public / "python.tar.gz")}
    given = yaml.safe_dump({"uvnas_site_pythons": [site]})
    script = ["set -e -o pipefail"]
    shown: list[tuple[str, list[str]]] = []
    text = (ROOT / STARTED).read_text(encoding="utf-8")
    end = text.count("\n", 0, text.index(PAGES["started"][1]))
    for block in documents.blocks_of(STARTED, "yaml", "console"):
        if block.line >= end:
            continue
        if block.language == "yaml":
            file = f"inventory/{block.name}"
            content = re.sub(r'"3\.1[0-9]"', f'"{SERIES}"', block.text)
            script.append(f"cat >{file} <<'END'\n{content}END")
            script.append(f"mkdir -p inventory/host_vars; cat >inventory/host_vars/localhost.yml <<'END'\n{given}END")
            continue
        for command, printed in block.commands:
            script.append(f"echo '== {len(shown)}'\n{command}")
            shown.append((command, printed))
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("ANSIBLE_", "PYTHON", "XDG_", "VIRTUAL_ENV"))
    }
    who = {f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    # Ansible asks for the home directory of an account.
    number = str(unprivileged.UID)
    accounts = public / "passwd"
    known = Path("/etc/passwd").read_text(encoding="utf-8")
    accounts.write_text(f"{known}ada:x:{number}:{number}::{home}:/bin/bash\n", encoding="utf-8")
    unprivileged.give(home)
    unprivileged.give(checkout)
    enter = 'mount --make-rprivate / && mount --bind "$0" /etc/passwd && exec "$@"'
    become = ["setpriv", "--reuid", number, "--regid", number, "--clear-groups"]
    command = ["unshare", "--mount", "bash", "-c", enter, accounts, *become, "bash", "-c", "\n".join(script)]
    done = subprocess.run(
        command,
        cwd=checkout,
        env={**inherited, **who, "HOME": str(home), "USER": "ada", "LOGNAME": "ada", "ANSIBLE_NOCOLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    outputs = re.split(r"^== \d+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert done.returncode == 0, f"{shown[len(outputs) - 1][0]}\n{outputs[-1]}"
    for (command_, printed), output in zip(shown, outputs, strict=True):
        for line in printed:
            assert any(as_printed(line).fullmatch(text) for text in output.splitlines()), (command_, line, output)
    runs = [
        output
        for (command_, _printed), output in zip(shown, outputs, strict=True)
        if command_.startswith("ansible-playbook") and "--check" not in command_
    ]
    changed = [re.search(r"^localhost .*changed=(\d+)", output, re.MULTILINE) for output in runs]
    assert [int(found[1]) > 0 for found in changed if found] == [True, False, True, True]
    assert "WARNING" not in "".join(runs)
    assert {path.name for path in home.iterdir()} <= {".ansible", ".cache", ".local"}
