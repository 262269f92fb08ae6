# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole site with a secret in every place where one can be, with all that may fail; and none comes to light."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import sys
import typing as t
from importlib.metadata import version as version_of
from pathlib import Path

import pytest
import uv as uv_package
import yaml
from ansible_collections.uvnas.cluster.tests.support import leaks, pythons, uv_archives
from ansible_collections.uvnas.cluster.tests.support.leaks import Doorkeeper, Secret
from ansible_collections.uvnas.cluster.tests.support.sites import BIN, Run, Site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_sdist, write_small_wheel

SERIES = pythons.VERSION.rpartition(".")[0]
UV = version_of("uv")

DEFAULT = Secret("Sekr1tOfDefault")
EXTRA = Secret("Sekr1tOfExtra", token_only=True)
LINKS = Secret("Sekr1tOfLinks")
NETRC = Secret("Sekr1tOfNetrc")
VAULT = Secret("Sekr1tOfVault")
PROXY = Secret("Sekr1tOfProxy")
PYTHON = Secret("Sekr1tOfPython")
ARCHIVE = Secret("Sekr1tOfArchive", token_only=True)
MIRROR = Secret("Sekr1tOfMirror")
# One that no door opens for.
WRONG = Secret("Sekr1tOfNobody")
SECRETS = (DEFAULT, EXTRA, LINKS, NETRC, VAULT, PROXY, PYTHON, ARCHIVE, MIRROR, WRONG)

# What everybody may see, and what has to be found wherever is looked.
CANARY = "c4nary-of-tests"


@dataclasses.dataclass
class Evidence:
    """What came of the runs, and all that was to be seen of them."""

    site: Site
    doors: dict[str, Doorkeeper]
    runs: dict[str, Run] = dataclasses.field(default_factory=dict)
    watch: leaks.Watch = dataclasses.field(default_factory=leaks.Watch)

    def path(self, name: str) -> Path:
        return self.site.path / name

    @property
    def directories(self) -> list[Path]:
        """Where files are that were written by a run, or should not have been left."""
        names = ("nas", "locks", "downloads", "profile.d", "fish", "tmp", "local-tmp", "scratch", "home")
        return [self.path(name) for name in names]

    def search(self, where: str, forms: t.Collection[bytes]) -> list[str]:
        """The places where one of ``forms`` is."""
        texts: t.Iterable[bytes]
        if where == "files":
            return leaks.in_files(self.directories, forms)
        if where == "output":
            return [
                f"{name}: …{text}"
                for name, run in self.runs.items()
                for text in leaks.in_texts([run.output.encode()], forms)
            ]
        if where == "command lines":
            texts = self.watch.cmdlines
        elif where == "variables of processes":
            texts = self.watch.environs
        else:
            texts = [self.path(where).read_bytes()]
        return leaks.in_texts(texts, forms)


WHERE = ("output", "files", "command lines", "variables of processes", "ansible.log", "syslog", "build", "smoke")


def index(directory: Path, package: str) -> Path:
    """The directory of one package in an index that is to be written."""
    return directory / "simple" / package


def list_files(directory: Path) -> None:
    """Write the page of a package."""
    links = "".join(f'<a href="{path.name}">{path.name}</a>\n' for path in sorted(directory.iterdir()))
    (directory / "index.html").write_text(links)


def serve(root: Path, tell: Path) -> dict[str, Doorkeeper]:
    """The servers of a site."""
    spy = leaks.SPY.format(path=str(tell))
    write_small_sdist(index(root / "default", "uvnas-built"), "uvnas_built", "1.0", {}, spy)
    loud = f"{spy}\nraise SystemExit('It knows: ' + _spy().decode(errors='replace'))\n"
    write_small_sdist(index(root / "default", "uvnas-unbuildable"), "uvnas_unbuildable", "1.0", {}, loud)
    for name in ("extra", "netrc", "vault", "proxy"):
        write_small_wheel(index(root / name, f"uvnas-{name}"), f"uvnas_{name}", "1.0")
    write_small_wheel(root / "links", "uvnas_links", "1.0")
    for name in ("uv", "python", "mirror"):
        (root / name).mkdir()
    for page in [*root.glob("*/simple/*"), root / "links"]:
        list_files(page)
    keys = {
        "default": DEFAULT, "extra": EXTRA, "links": LINKS, "netrc": NETRC, "vault": VAULT, "proxy": PROXY,
        "python": PYTHON, "uv": ARCHIVE, "mirror": MIRROR,
    }  # fmt: skip
    return {name: Doorkeeper(root / name, secret, proxy=name == "proxy") for name, secret in keys.items()}


def encrypted(path: Path, variables: dict[str, t.Any]) -> tuple[str, ...]:
    """Write a file of variables for Ansible Vault; what ansible-playbook has to be told."""
    key = path.with_name("vault-key")
    key.write_text("of tests\n")
    path.write_text(yaml.safe_dump(variables))
    subprocess.run([BIN / "ansible-vault", "encrypt", "--vault-password-file", key, path], check=True)
    return ("--vault-password-file", str(key), "-e", f"@{path}")


ENVS = [
    {
        "name": CANARY,
        "requirements": [f"uvnas-{name}" for name in ("built", "extra", "links", "netrc", "vault", "proxy")],
        "imports": ["uvnas_built", "uvnas_proxy"],
    }
]


@pytest.fixture(scope="module")
def evidence(public: Path) -> t.Iterator[Evidence]:
    path = public / "secrets"
    path.mkdir()
    for name in ("build", "smoke"):  # They leave there what they see, as the owner.
        (path / name).touch()
        shutil.chown(path / name, pythons.owner())
    log = path / "sitecustomize"
    log.mkdir()
    (log / "sitecustomize.py").write_text(leaks.TELL_TALE_LOG.format(path=str(path / "syslog")))
    process = {
        "ANSIBLE_LOG_PATH": str(path / "ansible.log"),
        "ANSIBLE_LOCAL_TEMP": str(path / "local-tmp"),
        "HOME": str(path / "home"),
        "PYTHONPATH": str(log),
        "TMPDIR": str(path / "scratch"),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    for name in ("home", "scratch", "files", "nas", "locks", "tmp", "local-tmp", "servers"):
        (path / name).mkdir()
    doors = serve(path / "servers", path / "build")
    archive = path / "servers" / "python" / "ours.tar.gz"
    pythons.pack_ours(archive)
    shutil.rmtree(archive.parent / "python")
    wheel = path / "servers" / "uv" / f"uv-{UV}-py3-none-any.whl"
    uv_digest = uv_archives.write_wheel(wheel, UV, Path(uv_package.find_uv_bin()).read_bytes())
    (path / "netrc").write_text(f"machine localhost login {NETRC.user} password {NETRC.plain}\n")
    (path / "netrc").chmod(0o600)
    shutil.chown(path / "netrc", pythons.owner())
    (path / "scratch").chmod(0o1777)
    site = Site(
        path,
        SERIES,
        {
            "uvnas_lock_dir": str(path / "locks"),
            "uvnas_uv_version": UV,
            "uvnas_uv_source": "archive",
            "uvnas_uv_archive": {"url": doors["uv"].url(f"/{wheel.name}"), "sha256": uv_digest},
            "uvnas_site_pythons": [
                {
                    "name": "site",
                    "version": pythons.VERSION,
                    "archive": doors["python"].url(f"/{archive.name}"),
                    "sha256": pythons.sha256(archive),
                }
            ],
            "uvnas_python_mirror": doors["mirror"].url("/pythons"),
            "uvnas_index": {
                "default": doors["default"].url("/simple"),
                "extra": [
                    doors["extra"].url("/simple"),
                    f"http://localhost:{doors['netrc'].port}/simple",
                    f"corp=http://127.0.0.1:{doors['vault'].port}/simple",
                    "http://index.invalid/simple",
                ],
                "find_links": [doors["links"].url("/")],
            },
        },
        process=process,
    )
    variables = {
        "UV_INDEX_CORP_USERNAME": VAULT.user,
        "UV_INDEX_CORP_PASSWORD": VAULT.plain,
        "HTTP_PROXY": f"{PROXY.userinfo}@127.0.0.1:{doors['proxy'].port}",
        "NETRC": str(path / "netrc"),
        "UV_HTTP_RETRIES": 0,
    }
    vault = encrypted(path / "vault.yml", {"uvnas_uv_variables": variables})
    found = Evidence(site, doors)
    with contextlib.ExitStack() as stack:
        for door in doors.values():
            stack.callback(door.close)
        with found.watch:
            run_all(found, site, (*vault, "-vvv", "--diff"), variables)
        yield found


def run_all(found: Evidence, site: Site, options: tuple[str, ...], variables: dict[str, t.Any]) -> None:
    """Everything that works, and everything that fails."""
    runs, doors, given = found.runs, found.doors, site.variables
    checks = [f"env >{found.path('smoke')}; tr '\\0' '\\n' </proc/$PPID/environ >>{found.path('smoke')}; sleep 0.3"]
    envs = [{**ENVS[0], "checks": checks}]
    runs["check"] = site.run(envs, "--check", *options)
    runs["all"] = site.run(envs, *options)
    runs["again"] = site.run(envs, *options)

    runs["builds"] = site.envs(
        [
            *envs,
            {"name": "unsatisfiable", "requirements": ["uvnas-extra>1"]},
            {"name": "unbuildable", "requirements": ["uvnas-unbuildable"]},
            {"name": "smoke", "requirements": ["uvnas-extra"], "checks": ["env; cat /proc/$PPID/environ; exit 1"]},
        ],
        *options,
    )
    refusing = {**given["uvnas_index"], "default": doors["default"].url("/simple", WRONG)}
    lone = {"name": "lone", "requirements": ["uvnas-unseen"]}
    runs["refused"] = site.envs([lone], *options, uvnas_index=refusing)
    slash = {"default": f"http://alice:{DEFAULT.plain}@127.0.0.1/simple"}
    runs["slash"] = site.envs([lone], *options, uvnas_index=slash)
    gone = {"name": "gone", "version": pythons.other_versions()[1], "sha256": "0" * 64}
    gone["archive"] = doors["python"].url("/gone.tar.gz", WRONG)
    runs["python"] = site.role("python", *options, uvnas_site_pythons=[gone])
    mirrored = {"uvnas_site_pythons": [], "uvnas_pythons": [pythons.other_versions()[0]]}
    runs["mirror"] = site.role("python", *options, **mirrored)
    archive = {"url": doors["uv"].url("/gone.whl"), "sha256": "0" * 64}
    runs["uv"] = site.role("uv", *options, uvnas_uv_archive=archive, uvnas_uv_version="0.0.1")
    release = {"uvnas_uv_source": "release", "uvnas_uv_release_url": f"{doors['uv'].url('/release')}?sig={WRONG.plain}"}
    runs["release"] = site.role("uv", *options, **release, uvnas_uv_version="0.0.1")
    runs["verify"] = site.role("verify", *options, envs=[{**ENVS[0], "imports": ["no_such_module"]}])

    wrong: dict[str, t.Any] = {
        "text": {"uvnas_index": doors["default"].url("/simple")},
        "key": {"uvnas_index": {"defualt": doors["default"].url("/simple")}},
        "list": {"uvnas_index": {"extra": {"url": doors["extra"].url("/simple")}}},
        "offline": {"uvnas_index": {"offline": doors["default"].url("/simple")}},
        "archive": {"uvnas_uv_archive": {"url": doors["uv"].url("/x"), "sha265": WRONG.plain}},
        "python": {"uvnas_site_pythons": [{"name": "x", "version": "3.12.4", "archive": doors["python"].url("/x")}]},
        "requirement": {"uvnas_envs": [{**ENVS[0], "python": SERIES, "requirements": [f"a @ {doors['uv'].url()}"]}]},
        "comma": {"uvnas_index": {"find_links": [f"http://alice:x,{LINKS.core}@127.0.0.1/"]}},
        "profile": {"uvnas_profile_variables": {"HTTPS_PROXY": f"{PROXY.userinfo}@proxy:1"}},
    }  # fmt: skip
    for name, more in wrong.items():
        runs[f"wrong {name}"] = site.run(envs, *options, **more)
    secret = encrypted(found.path("other.yml"), {"uvnas_uv_variables": {**variables, "HF_TOKEN": WRONG.plain}})
    runs["wrong variable"] = site.run(envs, "-vvv", "--diff", *secret)


def test_what_was_to_work_did(evidence: Evidence) -> None:
    for name in ("check", "all", "again"):
        assert evidence.runs[name].rc == 0, evidence.runs[name].output
    assert evidence.runs["again"].changed == 0
    packages = {f"uvnas-{name}" for name in ("built", "extra", "links", "netrc", "vault", "proxy")}
    assert set(evidence.site.packages(CANARY)) == packages


@pytest.mark.parametrize("door", ["default", "extra", "links", "netrc", "vault", "proxy", "python", "uv", "mirror"])
def test_each_secret_opened_its_door(evidence: Evidence, door: str) -> None:
    assert evidence.doors[door].let_in


FAILURES = {
    "builds": [
        "environment unsatisfiable: its requirements cannot be resolved",
        "environment unbuildable: ",
        "It knows: ",
        "environment smoke: smoke test failed",
        "VIRTUAL_ENV=",
    ],
    "refused": ["401 Unauthorized"],
    "python": ["cannot download http://****@127.0.0.1", "401"],
    "mirror": ["cannot install cpython-", "404"],
    "uv": ["cannot download http://****@127.0.0.1", "404"],
    "release": ["cannot download http://****@127.0.0.1", "404"],
    "verify": ["no_such_module"],
    "wrong text": ["uvnas_index"],
    "wrong key": ["defualt"],
    "wrong list": ["uvnas_index"],
    "wrong offline": ["offline"],
    "wrong archive": ["sha265"],
    "wrong python": ["sha256"],
    "wrong requirement": ["contains credentials"],
    "slash": ["invalid port number"],
    "wrong comma": ["uvnas_index.find_links: an address contains a comma or white space"],
    "wrong profile": ["HTTPS_PROXY contains credentials"],
    "wrong variable": ["uvnas_uv_variables has secrets that cannot be hidden: HF_TOKEN"],
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_was_to_fail_did(evidence: Evidence, name: str) -> None:
    run = evidence.runs[name]
    assert run.rc != 0, run.output
    for said in FAILURES[name]:
        assert said in run.output


@pytest.mark.parametrize("where", WHERE)
def test_the_search_finds_what_is_there(evidence: Evidence, where: str) -> None:
    assert evidence.search(where, [CANARY.encode()])


def test_the_search_finds_each_form(tmp_path: Path) -> None:
    pair = subprocess.check_output(["base64", "-w0"], input=DEFAULT.pair.encode())
    for number, form in enumerate([DEFAULT.plain.encode(), DEFAULT.userinfo.encode(), pair]):
        (tmp_path / str(number)).write_bytes(b"\0" + form + b"\n")
    (tmp_path / "link").symlink_to(DEFAULT.core)
    assert len(leaks.in_files([tmp_path], DEFAULT.forms)) == 4
    assert len(leaks.in_texts([b"x" + DEFAULT.plain.encode(), b"y"], DEFAULT.forms)) == 1
    with leaks.Watch() as watch:
        code = "import time; time.sleep(1)"
        told = {"IT": EXTRA.plain}
        subprocess.run([sys.executable, "-c", code, DEFAULT.plain], env=told, check=True)
    assert leaks.in_texts(watch.cmdlines, DEFAULT.forms)
    assert leaks.in_texts(watch.environs, EXTRA.forms)


@pytest.mark.parametrize("where", WHERE)
def test_no_secret_comes_to_light(evidence: Evidence, where: str) -> None:
    assert not evidence.search(where, [form for secret in SECRETS for form in secret.forms])


def test_nothing_is_left_of_a_run(evidence: Evidence) -> None:
    """Neither on its host nor on the controller."""
    for name in ("tmp", "local-tmp", "scratch"):
        assert not [path for path in evidence.path(name).rglob("*") if path.is_file()]
