# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role python and the module uv_python, by ansible-playbook, with a real uv and real interpreters."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.tests.support.pythons import (
    PREFIX,
    VERSION,
    key,
    make_mirror,
    make_share,
    no_uv,
    offer,
    other_versions,
    owner,
    pack_ours,
    relabel,
    serving,
    sha256,
    what_is_in,
)

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SERIES = VERSION.rpartition(".")[0]
LOWER, HIGHER = other_versions()
# The results of a task, as the default callback prints them at -v.
RESULT = re.compile(r"^(?:ok|changed|failed|fatal): \[(?:\S+?)\].* => (?P<data>\{.*\})$", re.MULTILINE)


@dataclasses.dataclass
class Run:
    """How an ansible-playbook ended."""

    rc: int
    output: str

    @property
    def results(self) -> list[dict[str, t.Any]]:
        """What uv_python returned, for one share after the other."""
        found = [json.loads(match["data"]) for match in RESULT.finditer(self.output)]
        others = ("validate_args_context", "results", "work")
        return [data for data in found if not any(key in data for key in others)]

    @property
    def result(self) -> dict[str, t.Any]:
        assert len(self.results) == 1, self.output
        return self.results[0]


@dataclasses.dataclass
class Site:
    """A directory for one test: a share, an inventory, and plays."""

    path: Path
    share: Path

    def role(self, *options: str, owner: str | None = owner(), **variables: t.Any) -> Run:
        """Run the role; the variables are those of an inventory."""
        share = {"name": "nas_a", "root": str(self.share), "builder": "builder", **({"owner": owner} if owner else {})}
        wanted = {"uvnas_shares": [share], "uvnas_python_compile_bytecode": False, **variables}
        inventory = self.path / "inventory" / "hosts.yml"
        inventory.parent.mkdir(exist_ok=True)
        common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory.write_text(
            yaml.safe_dump({"all": {"hosts": {"builder": None, "somebody-else": None}, "vars": {**common, **wanted}}})
        )
        playbook = self.path / "play.yml"
        playbook.write_text(
            yaml.safe_dump([{"hosts": "builder", "gather_facts": False, "roles": ["uvnas.cluster.python"]}])
        )
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_REMOTE_TMP": str(self.path / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "XDG_CACHE_HOME": str(self.path / "cache"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        cmd = [BIN / "ansible-playbook", "-v", "-i", inventory, playbook, *options]
        done = subprocess.run(cmd, cwd=self.path, env=environment, capture_output=True, text=True, check=False)
        return Run(done.returncode, done.stdout + done.stderr)

    @property
    def record(self) -> dict[str, t.Any]:
        data: dict[str, t.Any] = json.loads((self.share / "locks" / "pythons.json").read_text())
        return data

    def ask(self, version: str, code: str) -> str:
        """What the interpreter on the share says."""
        minor = version.rpartition(".")[0]
        program = self.share / "python" / key(version) / "bin" / f"python{minor}"
        return subprocess.check_output([program, "-I", "-B", "-c", code], env={}, text=True).strip()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, make_share(tmp_path / "share"))


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Archives of the Python of the tests, by the version that they call themselves."""
    directory = tmp_path_factory.mktemp("archives")
    found = {version: directory / f"cpython-{version}.tar.gz" for version in (VERSION, LOWER, HIGHER)}
    pack_ours(found[VERSION])
    for version in (LOWER, HIGHER):
        relabel(found[VERSION], found[version], version)
    return found


@pytest.fixture
def served(site: Site, archives: dict[str, Path]) -> Path:
    """A directory inside the inventory's, with an archive."""
    directory = site.path / "inventory" / "files"
    directory.mkdir(parents=True)
    shutil.copy(archives[VERSION], directory / "python.tar.gz")
    return directory


def installed_pythons() -> dict[str, str]:
    """Prefixes of Pythons on this machine by version: that of the tests, and that of the operating system."""
    found = {VERSION: PREFIX}
    if os.path.exists("/usr/bin/python3"):
        asked = "import platform, sys; print(platform.python_version(), sys.base_prefix)"
        version, prefix = subprocess.check_output(["/usr/bin/python3", "-I", "-c", asked], text=True).split()
        found.setdefault(version, prefix)
    return found


@pytest.mark.compat
def test_installed_pythons_from_nothing_then_nothing(site: Site) -> None:
    """Those of this machine, as root or whoever runs the tests, since nobody else may be able to read them."""
    if os.geteuid() == 0:
        subprocess.check_call(["chown", "-R", "root", site.share])
    # One of each series, the newest, which is what the series then means.
    by_series = {v.rpartition(".")[0]: v for v in sorted(installed_pythons(), key=lambda v: int(v.rpartition(".")[2]))}
    found = {version: prefix for version, prefix in installed_pythons().items() if version in by_series.values()}
    variables = {
        "uvnas_site_pythons": [
            {"name": f"site-{version}", "version": version, "prefix": prefix} for version, prefix in found.items()
        ],
        "uvnas_pythons": [version.rpartition(".")[0] for version in found],
        "uvnas_python_compile_bytecode": True,
        "owner": None,
    }
    before = what_is_in(site.share)
    predicted = site.role("--check", "--diff", **variables).result
    assert what_is_in(site.share) == before
    run = site.role("--diff", **variables)
    assert run.rc == 0, run.output
    assert run.result["actions"] == predicted["actions"]
    for version, prefix in found.items():
        series = version.rpartition(".")[0]
        assert f"{series} is {version}" in run.output.splitlines()
        python = run.result["pythons"][series]
        assert python["executable"] == f"{site.share}/python/{key(version)}/bin/python{series}"
        said = json.loads(
            site.ask(
                version,
                "import hashlib, json, sys, zlib; maps = open('/proc/self/maps').read();"
                "print(json.dumps([sys.version.split()[0], sys.base_prefix, sys.path, maps]))",
            )
        )
        home = f"{site.share}/python/{key(version)}"
        assert said[:2] == [version, home]
        assert [path for path in said[2] if not path.startswith(home)] == []
        assert prefix == "/usr" or f" {prefix}/" not in said[3]
    no_uv(site.share)
    before = what_is_in(site.share)
    again = site.role(**variables)
    assert (again.rc, again.result["changed"]) == (0, False)
    assert what_is_in(site.share) == before


def test_a_virtual_environment_of_uv_rests_on_the_exact_version(site: Site, served: Path) -> None:
    """Also when people make it with a request such as 3.13: there is no link that could move."""
    sites = [{"name": "ours", "version": VERSION, "archive": "files/python.tar.gz"}]
    assert site.role(uvnas_pythons=[SERIES], uvnas_site_pythons=sites).rc == 0
    environment = {
        "HOME": str(site.path), "PATH": "/usr/bin:/bin", "UV_PYTHON_INSTALL_DIR": str(site.share / "python"),
        "UV_CACHE_DIR": str(site.path / "uv-cache"), "UV_PYTHON_DOWNLOADS": "manual",
    }  # fmt: skip
    venv = site.path / "venv"
    subprocess.check_call(
        [site.share / "bin" / "uv", "venv", "--managed-python", "-p", SERIES, venv], env=environment, cwd=site.path
    )
    assert f"home = {site.share}/python/{key()}/bin\n" in (venv / "pyvenv.cfg").read_text()
    assert (
        subprocess.check_output([venv / "bin" / "python", "-c", "import sys; print(sys.prefix)"], text=True)
        == f"{venv}\n"
    )


def test_an_archive_on_the_controller(site: Site, served: Path) -> None:
    sites = [{"name": "ours", "version": VERSION, "archive": "files/python.tar.gz"}]
    before = what_is_in(site.share)
    predicted = site.role("--check", uvnas_site_pythons=sites).result
    assert what_is_in(site.share) == before
    done = site.role(uvnas_site_pythons=sites).result
    assert done["actions"] == predicted["actions"] == [f"install {key()} (ours)"]
    assert {path.owner() for path in site.share.rglob("*")} == {owner()}
    no_uv(site.share)
    assert not site.role(uvnas_site_pythons=sites).result["changed"]
    # The archive's content is what counts, and it is looked at.
    content = gzip.decompress((served / "python.tar.gz").read_bytes())
    (served / "python.tar.gz").write_bytes(gzip.compress(content, 9))
    changed = site.role("--check", uvnas_site_pythons=sites).result
    assert changed["actions"] == [f"install {key()} (ours): other content"]


def test_an_archive_from_a_url(site: Site, served: Path) -> None:
    """The controller downloads it, once; credentials stay there."""
    with serving(served) as address:
        url = address.replace("http://", "http://somebody:s3cret@") + "/python.tar.gz?token=hidden"
        sites = [{"name": "ours", "version": VERSION, "archive": url, "sha256": sha256(served / "python.tar.gz")}]
        run = site.role("-vvv", uvnas_site_pythons=sites)
    assert run.rc == 0, run.output
    assert site.ask(VERSION, "import platform; print(platform.python_version())") == VERSION
    assert "s3cret" not in run.output
    texts = [path.read_bytes() for path in site.share.rglob("*.json")]
    assert not [text for text in texts if b"s3cret" in text or b"hidden" in text]
    # Neither the server nor uv is there any more: what is on the share does, and the archive on the controller.
    other = make_share(site.path / "other")
    assert Site(site.path, other).role(uvnas_site_pythons=sites).rc == 0
    no_uv(site.share)
    assert not site.role(uvnas_site_pythons=sites).result["changed"]


@pytest.mark.parametrize("check", [(), ("--check",)])
@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"archive": "files/python.tar.gz", "sha256": "0" * 64}, "the checksum of ours: .*python.tar.gz is wrong"),
        ({"archive": "files/nothing.tar.gz"}, "files/nothing.tar.gz"),
        ({"archive": "https://127.0.0.1:9/x.tar.gz"}, "from a URL needs its sha256"),
        ({"archive": "http://127.0.0.1:9/x.tar.gz", "sha256": "0" * 64}, "cannot download http://127.0.0.1:9/x.tar.gz"),
        ({"archive": "files/python.tar.gz", "version": HIGHER}, f"python.tar.gz is Python {VERSION}, but declared as"),
        ({"prefix": PREFIX, "archive": "x.tar.gz"}, "exactly one of archive and prefix is required"),
        ({"prefix": "/nowhere"}, "there is no /nowhere/bin/python"),
        ({"prefix": "relative"}, "must be an absolute path"),
    ],
)
def test_what_cannot_be_installed(site: Site, served: Path, item: dict[str, str], said: str, check: tuple[str]) -> None:
    before = what_is_in(site.share)
    run = site.role(*check, uvnas_site_pythons=[{"name": "ours", "version": VERSION, **item}])
    assert run.rc == 2
    assert re.search(said, run.output), run.output
    assert "Traceback" not in run.output
    assert what_is_in(site.share) == before


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"uvnas_site_pythons": [{"name": "x", "version": "3.12.4", "perfix": "/usr"}]}, "perfix"),
        ({"uvnas_site_pythons": [{"name": "x", "prefix": "/usr"}]}, "version"),
        ({"uvnas_pythons": "3.12 or so"}, "'3.12 or so' is not a request for a Python"),
        ({"uvnas_pythons": ["3.99"]}, "Python 3.99 is not available"),
        ({"uvnas_pythons": ["3.12.999"]}, "Python 3.12.999 is not available"),
        ({"uvnas_upgrade_pythons": "3.12"}, "upgrade names '3.12', which is not among the requested Pythons"),
        ({"uvnas_python_remove": ["3.12"]}, "'3.12' cannot be removed"),
    ],
)
def test_variables_that_cannot_be_meant(site: Site, variables: dict[str, t.Any], said: str) -> None:
    before = what_is_in(site.share)
    run = site.role(**variables)
    assert run.rc == 2
    assert said in run.output
    assert what_is_in(site.share) == before


def test_what_environments_ask_for_on_two_shares(site: Site, archives: dict[str, Path]) -> None:
    """Nobody lists a Python twice; and what an environment on one share asks for is on that one only."""
    other = make_share(site.path / "other", "nas_b")
    mirror = make_mirror(site.path / "mirror", archives)
    offer(mirror, LOWER)
    common = {"builder": "builder", "owner": owner()}
    variables = {
        "uvnas_shares": [
            {"name": "nas_a", "root": str(site.share), **common},
            {"name": "nas_b", "root": str(other), **common},
            {"name": "nas_c", "root": "/nowhere", "builder": "somebody-else"},
        ],
        "uvnas_envs": [
            {"name": "a", "python": SERIES, "requirements": []},
            {"name": "b", "python": LOWER, "shares": ["nas_b"], "requirements": []},
            {"name": "c", "python": "3.99", "shares": ["nas_c"], "requirements": []},
            {"name": "gone", "python": "3.98", "state": "absent"},
            {"name": "gone-too", "state": "absent"},
        ],
        "uvnas_python_mirror": f"file://{mirror}",
        "uvnas_python_downloads_json_url": f"{mirror}/downloads.json",
    }
    run = site.role(**variables)
    assert run.rc == 0, run.output
    assert [list(result["pythons"]) for result in run.results] == [[SERIES], [SERIES, LOWER]]
    digests = {python["digest"] for result in run.results for python in result["pythons"].values()}
    assert digests == {sha256(archives[LOWER])}

    # An upgrade by one word on the command line, of what is not asked for on every share.
    offer(mirror, LOWER, HIGHER)
    assert [result["changed"] for result in site.role(**variables).results] == [False, False]
    upgrade = ("-e", f"uvnas_upgrade_pythons={SERIES},{LOWER}")
    predicted = site.role("--check", *upgrade, **variables)
    done = site.role(*upgrade, **variables)
    assert done.rc == 0, done.output
    wanted = [f"install {key(HIGHER)}", f"{SERIES} is {LOWER} -> {HIGHER}"]
    assert [result["actions"] for result in done.results] == [wanted, wanted]
    assert [result["actions"] for result in predicted.results] == [wanted, wanted]
    assert site.record["requests"] == {SERIES: key(HIGHER)}
    assert site.ask(LOWER, "print(1)") == "1"


def test_variables_of_the_process_are_seen_by_uv_and_secrets_by_nobody(site: Site) -> None:
    """A proxy that does not answer, with a password; and a number that must not be blotted out of the result."""
    variables = {
        "uvnas_pythons": ["3.12"],
        "uvnas_uv_variables": {
            "HTTPS_PROXY": "http://somebody:s3cret@127.0.0.1:9",
            "ALL_PROXY": "http://somebody:s3cret@127.0.0.1:9",
            "NO_PROXY": "",
            "UV_HTTP_RETRIES": 0,
        },
    }
    run = site.role("-vvv", **variables)
    assert run.rc == 2
    assert re.search(r"cannot install cpython-3\.12\.\d+-linux-\S+ from releases\.astral\.sh", run.output)
    assert "uvnas_python_mirror" in run.output
    assert "s3cret" not in run.output
    assert [path.name for path in (site.share / "python-archives").iterdir()] == []
