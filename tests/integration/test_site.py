# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml and the role envs on one share: from nothing to environments, and what may go wrong on the way."""

from __future__ import annotations

import base64
import functools
import http.server
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION
from ansible_collections.uvnas.cluster.tests.support.sites import BIN, Run, Site, finish, make_site

SERIES = VERSION.rpartition(".")[0]
FIRST: dict[str, t.Any] = {"name": "first", "requirements": ["idna", "six"], "imports": ["idna", "six"]}


@pytest.fixture(scope="module")
def bare(public: Path) -> Site:
    """A site whose share is not there yet."""
    return make_site(public / "site")


@pytest.fixture(scope="module")
def predicted(bare: Site) -> Run:
    """What check mode says while there is nothing."""
    return bare.run([FIRST], "--check", "--diff")


@pytest.fixture(scope="module")
def converged(bare: Site, predicted: Run) -> Run:
    """The first run."""
    assert not bare.share.exists()
    return bare.run([FIRST])


@pytest.fixture(scope="module")
def site(bare: Site, converged: Run) -> Site:
    """A site with a share, uv, an interpreter, and one environment."""
    assert converged.rc == 0, converged.output
    return bare


def modes(directory: Path) -> t.Iterator[tuple[Path, int]]:
    for path in directory.rglob("*"):
        if not path.is_symlink():
            yield path, stat.S_IMODE(path.stat().st_mode)


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def modules(run: Run) -> list[str]:
    """The modules that were run on the builder, in order, as -vvv names them."""
    return re.findall(r"Using module file \S+/(\w+)\.py", run.output)


# From nothing.


@pytest.mark.compat
def test_check_mode_predicts_changes_where_there_is_nothing(predicted: Run) -> None:
    assert predicted.rc == 0, predicted.output
    assert predicted.changed > 0


@pytest.mark.compat
def test_manifest_tells_what_is_in_it(site: Site) -> None:
    manifest = site.manifest("first")
    assert manifest["environment"] == "first"
    assert site.link("first") == f"../generations/first/{manifest['id']}"
    assert manifest["share"] == "nas_a"
    assert manifest["python"]["version"] == VERSION
    assert set(manifest["packages"]) == {"idna", "six"}
    assert manifest["uv"] == (site.share / "bin" / "uv").resolve().parent.name
    assert manifest["source"]["requirements"] == ["idna", "six"]
    assert {"builder", "created", "seconds", "size", "lock", "options"} <= set(manifest)


@pytest.mark.compat
def test_second_run_changes_nothing(site: Site) -> None:
    before = site.link("first")
    assert succeeded(site.run([FIRST])).changed == 0
    assert site.link("first") == before


def test_environment_can_be_activated(site: Site) -> None:
    script = site.share / "envs" / "first" / "bin" / "activate"
    command = f'. "{script}" && python -c "import idna, sys; print(sys.prefix, sys.base_prefix)"'
    said = subprocess.check_output(["/bin/sh", "-c", command], env={"PATH": "/usr/bin:/bin"}, text=True).split()
    assert Path(said[0]).resolve() == (site.share / "envs" / "first").resolve()
    assert Path(said[1]).parent == site.share / "python"


def test_files_are_linked_from_the_cache_and_written_by_the_owner_only(site: Site) -> None:
    generation = (site.share / "envs" / "first").resolve()
    assert (generation / "lib" / f"python{SERIES}" / "site-packages" / "six.py").stat().st_nlink > 1
    assert not [path for path, mode in modes(generation) if mode & 0o022]
    assert not [path for path, mode in modes(generation) if not mode & 0o004]
    assert not (generation / ".lock").exists()


def test_nothing_to_do_needs_one_module_and_no_uv(site: Site) -> None:
    uv, aside = site.share / "bin" / "uv", site.share / "bin" / "uv.aside"
    uv.rename(aside)
    try:
        uv.write_text("#!/bin/sh\nexit 70\n")
        uv.chmod(0o755)
        done = succeeded(site.envs([FIRST], "-vvv"))
    finally:
        aside.replace(uv)
    assert done.changed == 0
    assert modules(done) == ["uv_env_compare"]


@pytest.mark.parametrize("kept", [False, True])
def test_a_build_and_an_upgrade_need_three_modules(kept: bool, site: Site, tmp_path: Path) -> None:
    """One that finds out what there is to do, one that locks, one that builds."""
    env = {"name": f"counted-{kept}".lower(), "requirements": ["six"]}
    more: dict[str, t.Any] = {"uvnas_lock_dir": str(tmp_path / "locks")} if kept else {}
    first = succeeded(site.envs([env], "-vvv", **more))
    assert modules(first) == ["uv_env_compare", "uv_lock", "uv_env"]
    upgrade = succeeded(site.envs([env], "-vvv", uvnas_upgrade=["all"], **more))
    assert modules(upgrade) == ["uv_env_compare", "uv_lock", "uv_env"]
    assert modules(succeeded(site.envs([env], "-vvv", **more))) == ["uv_env_compare"]


# What fails.


def test_what_fails_leaves_its_environment_and_does_not_keep_the_others(site: Site) -> None:
    names = ("smoke", "contradiction", "tampered")
    envs = [{"name": name, "requirements": ["six"]} for name in names]
    succeeded(site.envs(envs))
    before = {name: site.link(name) for name in names}
    assert all(before.values())
    good = (site.share / "locks" / "smoke.txt").read_text()
    (site.files / "tampered.txt").write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", good))

    failed = site.envs(
        [
            {"name": "smoke", "requirements": ["six", "idna"], "imports": ["six", "no_such_module"]},
            {"name": "contradiction", "requirements": ["idna==3.6", "idna==3.7"]},
            {"name": "tampered", "lock": "tampered.txt", "compile_bytecode": False},
            {"name": "fine", "requirements": ["idna"], "imports": ["idna"]},
        ]
    )
    assert failed.rc != 0
    assert {name: site.link(name) for name in names} == before
    assert site.run_python("fine", "import idna; print('works')") == "works"
    assert "environment smoke: smoke test failed" in failed.output
    assert "No module named 'no_such_module'" in failed.output
    assert "environment contradiction: " in failed.output
    assert "unsatisfiable" in failed.output
    assert "environment tampered: cannot install its lock" in failed.output
    assert "Hash mismatch" in failed.output
    assert not [path for name in names for path in site.unsealed(name)]


# Killed.


def module_processes(site: Site, module: str) -> list[int]:
    """The processes that run a module for this site."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path("/proc", entry, "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            ours = any(word.startswith(str(site.remote_tmp)) and word.endswith(f"{module}.py") for word in words)
            if ours and "python" in os.path.basename(words[0]):
                found.append(int(entry))
    return found


def working_on(site: Site, env: str) -> list[int]:
    """The processes, uv and checks among them, that know of a generation of an environment."""
    place = str(site.share / "generations" / env).encode() + b"/"
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                known = [Path("/proc", entry, name).read_bytes() for name in ("cmdline", "environ")]
            except OSError:
                continue
            if any(place in text for text in known):
                found.append(int(entry))
    return found


@pytest.mark.parametrize(
    ("name", "requirements", "checks", "there_before"),
    [
        ("killed_in_uv", ["numpy"], [], False),
        ("killed_in_upgrade", ["numpy"], [], True),
        ("killed_before_sealing", ["idna"], ["exec sleep 600"], True),
    ],
)
def test_killed_build_is_healed_by_the_next_run(
    site: Site, name: str, requirements: list[str], checks: list[str], there_before: bool
) -> None:
    if there_before:
        succeeded(site.envs([{"name": name, "requirements": ["six"]}]))
    before = site.link(name)
    old = set((site.share / "generations" / name).glob("*"))
    started = site.start([{"name": name, "requirements": requirements, "checks": checks}], play="uvnas.cluster.envs")

    def begun() -> bool:
        """Whether uv is at it; or where there is a check to wait in, has installed a package."""
        installed = f"lib/python{SERIES}/site-packages/idna/__init__.py"
        return any(not checks or (path / installed).exists() for path in site.unsealed(name))

    while started.poll() is None and not begun():
        time.sleep(0.002)
    for process in module_processes(site, "uv_env"):
        os.kill(process, signal.SIGKILL)
    killed = finish(started)
    assert killed.rc != 0, killed.output
    assert site.link(name) == before
    assert site.unsealed(name), killed.output
    deadline = time.monotonic() + 60
    while working_on(site, name) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not working_on(site, name)  # Nobody goes on writing without the module.
    if there_before:
        assert site.run_python(name, "import six; print('old')") == "old"

    healed = succeeded(site.envs([{"name": name, "requirements": requirements}]))
    assert healed.environments[name]["action"] == "build"
    assert not site.unsealed(name)
    assert site.link(name) not in (None, before)
    assert old <= set((site.share / "generations" / name).glob("*"))
    assert site.run_python(name, f"import {requirements[0]}; print('new')") == "new"


# Two at once.


def test_two_at_once_both_finish(site: Site) -> None:
    envs = [{"name": f"both_{part}", "requirements": [part], "imports": [part]} for part in ("idna", "six")]
    runs = [finish(started) for started in [site.start(envs, play="uvnas.cluster.envs") for _run in range(2)]]
    assert [run.rc for run in runs] == [0, 0], "\n".join(run.output for run in runs)
    for part in ("idna", "six"):
        assert set(site.packages(f"both_{part}")) == {part}
        assert not site.unsealed(f"both_{part}")
    assert succeeded(site.envs(envs)).changed == 0


# What the inventory says, and what it must not say.


def test_check_mode_says_what_the_run_then_does(site: Site) -> None:
    succeeded(site.envs([{"name": "grown", "requirements": ["six"]}]))
    before = site.link("grown")
    assert before is not None
    envs = [{"name": "grown", "requirements": ["six", "idna"]}, {"name": "added", "requirements": ["idna"]}]
    checked = succeeded(site.envs(envs, "--check", "--diff"))
    assert site.link("grown") == before
    assert site.link("added") is None
    done = succeeded(site.envs(envs, "--diff"))
    idna = site.packages("added")["idna"]
    assert f"environment added: absent -> {site.manifest('added')['id']}" in done.diff
    assert done.diff.count(f"  idna {idna} (new)") == 4  # Of two locks, and of two environments.
    assert checked.diff == done.diff
    for name in ("grown", "added"):
        for key in ("action", "id", "previous_id", "packages_changed"):
            assert checked.environments[name][key] == done.environments[name][key]
    assert site.link("grown") != before
    assert (site.share / "envs" / before).resolve().is_dir()
    assert (site.share / "envs" / before / ".uvnas.json").exists()


WRONG = {
    "names": (
        [
            {"name": "../x", "requirements": ["six"]},
            {"name": "has spaces", "requirements": ["six"]},
            {"name": "l" * 65, "requirements": ["six"]},
            {"name": "twice", "requirements": ["six"]},
            {"name": "twice", "requirements": ["idna"]},
            {"name": "sources", "requirements": ["six"], "lock": "some.txt"},
        ],
        [
            "environment ../x: the name may contain",
            "environment has spaces: the name may contain",
            "the name is longer than 64 characters",
            "environment twice: declared 2 times",
            "environment sources: requirements and lock exclude each other",
        ],
    ),
    "no name": ([{"name": "", "requirements": ["six"]}], ["environment number 1: name is missing"]),
    "unknown key": ([{"name": "fine", "requirements": ["six"], "requirement": ["six"]}], ["requirement"]),
    "missing file": ([{"name": "fine", "requirements_files": ["nowhere.in"]}], ["cannot read", "nowhere.in"]),
    "unknown share": ([{"name": "fine", "requirements": ["six"], "shares": ["nas_z"]}], ["unknown share nas_z"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_inventory_is_refused_before_anything_is_written(tmp_path: Path, wrong: str) -> None:
    envs, messages = WRONG[wrong]
    site = Site(tmp_path, SERIES, {})
    site.share.parent.mkdir()
    refused = site.run(envs)
    assert refused.rc != 0
    for message in messages:
        assert message in refused.output
    assert not site.share.exists()


# Where locks come from.


def test_locks_are_kept_on_the_controller_and_win(site: Site, tmp_path: Path) -> None:
    kept = tmp_path / "locks"
    old = {"name": "kept_old", "requirements": ["idna"], "constraints": ["idna<3.7"]}
    new = {"name": "kept_new", "requirements": ["idna"]}
    succeeded(site.envs([old, new], uvnas_lock_dir=str(kept)))
    texts = {name: (kept / f"{name}.txt").read_text() for name in ("kept_old", "kept_new")}
    for name, text in texts.items():
        assert (site.share / "locks" / f"{name}.txt").read_text() == text
    assert site.packages("kept_new") != site.packages("kept_old")

    header = texts["kept_new"].splitlines(keepends=True)[0]
    edited = header + "".join(texts["kept_old"].splitlines(keepends=True)[1:])
    (kept / "kept_new.txt").write_text(edited)
    succeeded(site.envs([old, new], uvnas_lock_dir=str(kept)))
    assert (kept / "kept_new.txt").read_text() == edited
    assert (site.share / "locks" / "kept_new.txt").read_text() == edited
    assert site.packages("kept_new") == site.packages("kept_old")
    assert succeeded(site.envs([old, new], uvnas_lock_dir=str(kept))).changed == 0


PROJECT = """
[project]
name = "sample"
version = "1"
requires-python = ">=3.9"
dependencies = ["six", "idna<3.7; python_version < '3.10'", "idna>=3.7; python_version >= '3.10'"]

[project.optional-dependencies]
web = ["iniconfig"]
other = ["sniffio"]

[dependency-groups]
dev = ["toml"]
test = ["packaging"]
"""


def test_requirements_files_projects_ready_locks_and_seed(site: Site) -> None:
    (site.files / "sub").mkdir()
    (site.files / "base.in").write_text("# Of everybody.\n-r sub/more.in\nsix\n")
    (site.files / "sub" / "more.in").write_text("idna  # from a nested file\n")
    (site.files / "limits.txt").write_text("idna<3.7\n")
    project = site.files / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    uv = BIN / "uv"
    ready = site.files / "pylock.toml"
    for cmd in (
        [uv, "lock", "--quiet", "--project", project, "--python", sys.executable],
        [uv, "pip", "compile", "--quiet", "--python-version", SERIES, "-o", ready, site.files / "sub" / "more.in"],
    ):
        subprocess.run(cmd, cwd=site.files, check=True)
    envs = [
        {"name": "from_files", "requirements_files": ["base.in"], "constraints_files": ["limits.txt"]},
        {"name": "from_project", "project": "project", "extras": ["web"], "groups": ["test"]},
        {"name": "from_pylock", "lock": "pylock.toml"},
        {"name": "with_pip", "requirements": ["six"], "seed": True},
    ]
    succeeded(site.envs(envs))
    assert set(site.packages("from_files")) == {"idna", "six"}
    assert site.packages("from_files")["idna"] == "3.6"
    assert set(site.packages("from_project")) == {"six", "idna", "iniconfig", "packaging"}
    assert set(site.packages("from_pylock")) == {"idna"}
    assert set(site.packages("with_pip")) == {"pip", "six"}
    lock = (site.share / "locks" / "with_pip.txt").read_text()
    assert re.search(r"^pip==[0-9.]+ \\\n +--hash=sha256:", lock, re.MULTILINE)
    # There it is pip itself that answers, and nothing of ours.
    real, ours = (site.share / "envs" / name / "bin" / "pip" for name in ("with_pip", "from_files"))
    assert "There is no pip" not in real.read_text()
    assert "There is no pip" in ours.read_text()
    assert site.run_python("with_pip", "import pip; print(pip.__version__)") == site.packages("with_pip")["pip"]
    # It gets its bytecode like any other package.
    stored = {path.stat().st_ino for path in (site.share / "bytecode").glob("*/*/*.pyc")}
    pip = site.share / "envs" / "with_pip" / "lib" / f"python{SERIES}" / "site-packages" / "pip"
    assert len(compiled := list(pip.rglob("*.pyc"))) == len(list(pip.rglob("*.py"))) > 300
    assert {path.stat().st_ino for path in compiled} <= stored
    assert succeeded(site.envs(envs)).changed == 0


# What goes, and what comes anew.


def test_absent_and_purged_environments_lose_their_names(site: Site) -> None:
    names = ("going", "undeclared", "staying")
    going, undeclared, staying = ({"name": name, "requirements": ["six"]} for name in names)
    succeeded(site.envs([going, undeclared, staying]))
    succeeded(site.envs([staying]))
    assert site.link("undeclared") is not None
    old = site.share / "generations" / "going" / os.path.basename(str(site.link("going")))
    removed = succeeded(site.envs([{"name": "going", "state": "absent"}, staying]))
    assert removed.environments["going"]["action"] == "remove"
    for gone in ("envs/going", "locks/going.txt"):
        assert not os.path.lexists(site.share / gone)
    # Who runs from it goes on.
    assert subprocess.check_output([old / "bin" / "python", "-c", "import six; print('works')"], text=True) == "works\n"
    again = succeeded(site.envs([{"name": "going", "state": "absent"}, staying]))
    assert (again.changed, again.environments["going"]["action"]) == (0, "keep")
    back = succeeded(site.envs([going, staying]))
    assert (back.environments["going"]["action"], os.path.basename(str(site.link("going")))) == ("publish", old.name)
    succeeded(site.envs([{"name": "going", "state": "absent"}, staying]))

    # Purging removes everything else that the tests of this module have on the share.
    keep = {name for name in os.listdir(site.share / "envs") if name != "undeclared"}
    others = [{"name": name, "requirements": ["six"]} for name in sorted(keep - {"staying", "first"})]
    purged = succeeded(site.envs([*others, staying, FIRST], "--check", uvnas_purge=True))
    assert purged.environments["undeclared"]["action"] == "remove"
    assert {name for name, fact in purged.environments.items() if fact["action"] == "remove"} == {"undeclared"}
    succeeded(site.envs([FIRST, staying], uvnas_purge=True))
    assert set(os.listdir(site.share / "envs")) == {"first", "staying"}
    assert {"first", "staying", "going", "undeclared"} <= set(os.listdir(site.share / "generations"))
    assert succeeded(site.envs([FIRST, staying], uvnas_purge=True)).changed == 0


class Private(http.server.SimpleHTTPRequestHandler):
    """An index that wants a user and a password."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != self.wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.end_headers()
            return
        super().do_GET()

    wanted = "Basic " + base64.b64encode(b"somebody:Pa55-of-tests").decode()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def private_index(tmp_path: Path) -> t.Iterator[str]:
    """The host and port of an index with one package, ``uvnas-sample``."""
    directory = tmp_path / "index"
    package = directory / "simple" / "uvnas-sample"
    package.mkdir(parents=True)
    wheel = package / "uvnas_sample-1.0-py3-none-any.whl"
    info = "uvnas_sample-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uvnas_sample.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: uvnas-sample\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"uvnas_sample.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    (package / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Private, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_smoke_tests_have_a_time_limit(site: Site) -> None:
    """They have the share's mutex. What they started ends, too."""
    hanging = {"name": "hanging", "requirements": ["six"], "checks": ["sleep 601 & wait"]}
    failed = site.envs([hanging], uvnas_smoke_timeout=1)
    assert failed.rc != 0
    assert (
        "environment hanging: smoke test failed: check 'sleep 601 & wait': /bin/sh timed out after 1 s" in failed.output
    )
    assert site.link("hanging") is None
    assert not site.unsealed("hanging")


def test_credentials_are_neither_shown_nor_left_on_the_share(site: Site, private_index: str) -> None:
    index = {"default": f"http://somebody:Pa55-of-tests@{private_index}/simple"}
    told = site.path / "told"
    told.touch()
    told.chmod(0o666)  # The owner writes to it.
    env = {"name": "private", "requirements": ["uvnas-sample"], "imports": ["uvnas_sample"], "checks": [f"env >{told}"]}
    good = succeeded(site.envs([env], "-vvv", uvnas_index=index))
    # Nor is it told to the smoke tests, which run what others have written.
    assert "VIRTUAL_ENV=" in told.read_text()
    assert "Pa55" not in told.read_text()
    bad = site.envs([{"name": "lacking", "requirements": ["no-such-package"]}], "-vvv", uvnas_index=index)
    assert bad.rc != 0
    for run in (good, bad):
        assert "Pa55" not in run.output
    holding = [path for path in site.share.rglob("*") if path.is_file() and b"Pa55" in path.read_bytes()]
    assert not holding


def test_single_package_is_upgraded_and_the_others_stay(site: Site) -> None:
    env: dict[str, t.Any] = {"name": "upgraded", "requirements": ["idna", "six"]}
    succeeded(site.envs([{**env, "constraints": ["idna<3.7", "six<1.16"]}]))
    assert site.packages("upgraded") == {"idna": "3.6", "six": "1.15.0"}
    # What satisfies the declaration stays, though there are newer ones.
    succeeded(site.envs([env]))
    assert site.packages("upgraded") == {"idna": "3.6", "six": "1.15.0"}
    changes = succeeded(site.envs([env], uvnas_upgrade_packages=["idna"])).environments["upgraded"]["packages_changed"]
    assert len(changes) == 1
    assert changes[0].startswith("idna 3.6 -> ")
    assert site.packages("upgraded")["six"] == "1.15.0"
    assert succeeded(site.envs([env])).changed == 0
