# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NAS that hangs: modules, playbooks and logins end all the same, and other hosts are done.

NASes are FUSE filesystems, so these tests are run as root.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.tests.integration import test_profile as profiles
from ansible_collections.uvnas.cluster.tests.support.hanging import (
    LIMIT,
    Nas,
    mute,
    state,
    stoppable,
    wait_until,
)
from ansible_collections.uvnas.cluster.tests.support.pythons import owner
from ansible_collections.uvnas.cluster.tests.support.shares import make_share
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, finish, make_site

# Seconds: how long a question to a NAS may take; in playbooks long enough for the NAS that answers, on a busy machine.
PATIENCE = 2
PLAYBOOK_PATIENCE = 10
# And how long a whole ansible-playbook may take: a limit, so that nothing waits for ever, and not a measure.
PLAYBOOK_LIMIT = 240.0
SILENT = "has not answered for {} s on this host; is the NAS or the network down?"
COLLECTIONS = str(Path(__file__).resolve().parents[2] / ".collections")
DRIVER = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
module = importlib.import_module("ansible_collections.uvnas.cluster.plugins.modules." + sys.argv[1])
with patch_module_args(json.loads(sys.argv[2])):
    module.main()
"""


@pytest.fixture(autouse=True)
def _bounded(request: pytest.FixtureRequest) -> t.Iterator[None]:
    """No test waits for ever: when it is time, all NASes are given up, and whoever waits for one goes on."""

    def end(_number: int, _frame: t.Any) -> None:
        for name in ("nas", "site", "seat"):
            if name in request.fixturenames:
                found = request.getfixturevalue(name)
                (found if isinstance(found, Nas) else found.nas).end()
        raise TimeoutError("the test waited for a NAS that hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(int(2 * PLAYBOOK_LIMIT))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# Modules


@pytest.fixture
def place() -> t.Iterator[Path]:
    """A directory that everybody may look into, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory(prefix="hung-") as directory:
        os.chmod(directory, 0o755)
        for name in ("source", "nas"):
            Path(directory, name).mkdir()
        yield Path(directory)


@pytest.fixture(params=["mute", "stoppable"])
def nas(request: pytest.FixtureRequest, place: Path) -> t.Iterator[Nas]:
    """A NAS that hangs. Those who wait can be killed (stoppable) or not (mute)."""
    if request.param == "mute":
        with mute(place / "nas") as found:
            yield found
    else:
        (place / "source" / "uv").mkdir()
        with stoppable(place / "source", place / "nas") as found:
            found.hang()
            yield found


ENVIRONMENT = {"name": "train", "python": "3.12", "requirements": ["six"]}
MODULES: dict[str, dict[str, t.Any]] = {
    "uv_share": {"share_name": "nas_a", "min_free_bytes": 0},
    "uv_binary": {"share_name": "nas_a", "version": "0.13.9"},
    "uv_python": {"share_name": "nas_a", "pythons": ["3.12"]},
    "uv_lock": {"share_name": "nas_a", "environments": [ENVIRONMENT]},
    "uv_env": {"share_name": "nas_a", "environments": [ENVIRONMENT]},
    "uv_env_compare": {"share_name": "nas_a", "environments": [ENVIRONMENT], "inputs": {"train": {"spec_digest": "0"}}},
    "uv_env_info": {"share_name": "nas_a"},
}


def start(module: str, args: dict[str, t.Any]) -> subprocess.Popen[str]:
    """A module, whose output goes to pipes, as it does through ssh."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, module, json.dumps(args)],
        env={**os.environ, "PYTHONPATH": COLLECTIONS},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes(word: str) -> list[Path]:
    """The processes with ``word`` in their command line, in /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word.encode() in (path / "cmdline").read_bytes() and path.name != str(os.getpid()):
                found.append(path)
    return found


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("module", MODULES)
def test_module_on_a_share_that_hangs(nas: Nas, module: str, check: bool) -> None:
    share = f"{nas.mount}/uv"
    args = {"share": share, "answer_timeout": PATIENCE, "_ansible_check_mode": check, **MODULES[module]}
    process = start(module, args)
    # Until both pipes are at their end: nobody may hold them.
    stdout, stderr = process.communicate(timeout=LIMIT)
    result = json.loads(stdout)
    assert (result["failed"], result["msg"].splitlines()[0]) == (
        True,
        f"share nas_a: {share} {SILENT.format(PATIENCE)}",
    )
    assert (process.returncode, stderr) == (1, "")


@pytest.mark.parametrize("module", ["uv_share", "uv_env"])
def test_module_as_root_for_an_owner_with_the_mount_declared(nas: Nas, module: str) -> None:
    args = {"share": f"{nas.mount}/uv", "owner": "nobody", "answer_timeout": PATIENCE, **MODULES[module]}
    if module == "uv_share":
        args["mount"] = str(nas.mount)
    stdout, _stderr = start(module, args).communicate(timeout=LIMIT)
    assert SILENT.format(PATIENCE) in json.loads(stdout)["msg"]


@pytest.mark.parametrize("module", ["uv_python", "uv_lock", "uv_env", "uv_env_compare"])
def test_module_that_takes_from_a_share_that_hangs(nas: Nas, place: Path, module: str) -> None:
    """Its own share answers."""
    earlier = {"name": "nas_z", "root": f"{nas.mount}/uv"}
    args = {"share": str(place / "own"), "answer_timeout": PATIENCE, "earlier_shares": [earlier], **MODULES[module]}
    make_share(place / "own")
    if module == "uv_lock":
        args["inputs"] = {"train": {"spec_digest": "0", "sources": None, "kept": None, "want_text": False}}
    stdout, stderr = start(module, args).communicate(timeout=LIMIT)
    result = json.loads(stdout)
    assert result["msg"].splitlines()[0] == f"share nas_z: {nas.mount}/uv {SILENT.format(PATIENCE)}", stderr


def test_module_leaves_what_cannot_be_killed_behind(place: Path) -> None:
    """The tests above are about processes that the kernel cannot end, too."""
    with mute(place / "nas") as nas:
        args = {"share": f"{nas.mount}/uv", "answer_timeout": PATIENCE, **MODULES["uv_env_info"]}
        start("uv_env_info", args).communicate(timeout=LIMIT)
        left = processes(f'"{nas.mount}/uv"')
        # The work, who asks, and the guard of the work, which waits for its end.
        states = sorted(state(path) for path in left)
        assert states[:2] == ["D", "D"]
        assert states[2] in "RS"
        nas.end()
        wait_until(lambda: {state(path) for path in left} <= {"", "Z"}, "to end them with the NAS")


# A build whose worker is where no SIGKILL gets through, while what it has started is somewhere else.
STUCK = """
import os, sys
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.host.watchdog import call_watched
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import Child
nas, seconds = sys.argv[1:3]
command = ["bash", "-c", "sleep $0 & setsid sleep $0 & wait", seconds]
def work():
    Child(lambda: {"rc": SystemRunner().run(command, timeout=1e6).rc})
    os.stat(nas + "/uv")
call_watched(work, shares={nas + "/uv": "nas_a"}, timeout=float(sys.argv[3]))
"""


@pytest.mark.parametrize("how", ["given up", "killed"])
def test_nothing_of_a_build_that_is_given_up_goes_on_while_the_nas_hangs(place: Path, how: str) -> None:
    """Nor of one whose module is killed. A child of uv in D is the kernel's, and does nothing more."""
    seconds = 700_000 + os.getpid()  # A number that is found again.
    patience = PATIENCE if how == "given up" else 1000
    with mute(place / "nas") as nas:
        module = subprocess.Popen(
            [sys.executable, "-c", STUCK, str(nas.mount), str(seconds), str(patience)],
            env={**os.environ, "PYTHONPATH": COLLECTIONS},
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: len(processes(f"sleep\0{seconds}\0")) == 2, "to begin")
        wait_until(lambda: "D" in map(state, processes(STUCK[:20])), "to hang")
        if how == "killed":
            module.kill()
        said = module.communicate(timeout=LIMIT)[1]
        assert ("has not answered" in said) is (how == "given up"), said
        ended = time.monotonic()
        wait_until(lambda: not processes(f"sleep\0{seconds}\0"), "to end the commands")
        print(f"nothing runs {time.monotonic() - ended:.3f} s later")
        assert "D" in map(state, processes(STUCK[:20]))
        nas.end()
        wait_until(lambda: not processes(STUCK[:20]), "to end all with the NAS")


# Work that is done, and has left something where no SIGKILL gets through, on a NAS that it has nothing to do with.
LEFT = """
import subprocess, sys, time
from ansible_collections.uvnas.cluster.plugins.module_utils.host.watchdog import call_watched
def work():
    subprocess.Popen(["stat", sys.argv[1] + "/uv"])
    time.sleep(0.5)
    return {"answer": 42}
print(call_watched(work, shares={sys.argv[2]: ""}, timeout=float(sys.argv[3])))
"""


def test_work_that_is_done_does_not_wait_for_what_it_left_on_another_nas(place: Path) -> None:
    with mute(place / "nas") as nas:
        module = subprocess.Popen(
            [sys.executable, "-c", LEFT, str(nas.mount), str(place), str(PATIENCE)],
            env={**os.environ, "PYTHONPATH": COLLECTIONS},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert module.communicate(timeout=LIMIT)[0] == "{'answer': 42}\n"
        assert "D" in map(state, processes(f"stat\0{nas.mount}/uv\0"))
        nas.end()
        wait_until(lambda: not processes(f"stat\0{nas.mount}/uv\0"), "to end it with the NAS")


def test_a_command_that_timed_out_on_another_nas_is_not_waited_for(place: Path) -> None:
    """Such as a smoke test that looks at somebody's home."""
    with mute(place / "nas") as nas:
        began = time.monotonic()
        releasing = threading.Timer(20, nas.end)
        releasing.start()
        with pytest.raises(CommandError, match="stat timed out after 1 s"):
            SystemRunner().run(["stat", str(nas.mount / "uv")], timeout=1)
        assert time.monotonic() - began < 15
        releasing.cancel()
        nas.end()
        wait_until(lambda: {state(path) for path in processes(f"stat\0{nas.mount}/uv\0")} <= {"", "Z"}, "to end it")


def test_uv_profile_and_a_local_uv_do_without_the_share(nas: Nas, tmp_path: Path) -> None:
    args = {
        "shares": [{"name": "nas_a", "root": f"{nas.mount}/uv"}],
        "directory": str(tmp_path / "profile.d"),
        "fish_directory": str(tmp_path / "profile.d"),
    }
    for changed in (True, False):
        stdout, _stderr = start("uv_profile", args).communicate(timeout=LIMIT)
        assert json.loads(stdout)["changed"] is changed
    local = {"bin_dir": str(tmp_path / "bin"), "version": "0.13.9", "_ansible_check_mode": True}
    stdout, _stderr = start("uv_binary", local).communicate(timeout=LIMIT)
    assert json.loads(stdout)["changed"]


# Logins


@dataclasses.dataclass(frozen=True)
class Seat:
    """Sessions on a host whose only NAS hangs."""

    seat: profiles.Seat
    nas: Nas


@pytest.fixture(scope="module")
def seat() -> t.Iterator[Seat]:
    # Not below pytest's own directory, which no other user may enter.
    directory = Path(tempfile.mkdtemp(prefix="hung-"))
    directory.chmod(0o755)
    for name in ("home", "out", "source", "mnt"):
        (directory / name).mkdir()
        (directory / name).chmod(0o777)
    made = profiles.Site(directory)
    for share in ("nas_a", "nas_b"):
        (directory / "source" / share / "uv" / "bin").mkdir(parents=True)
    try:
        with stoppable(directory / "source", directory / "mnt") as nas:
            nas.hang()
            done = made.play({"dev": {}})
            assert done.returncode == 0, done.stdout + done.stderr
            yield Seat(profiles.Seat(made), nas)
    finally:
        shutil.rmtree(directory)


# A shell that hangs is ended, and that is a failure (124).
BOUND = ("timeout", "--kill-after=1", str(int(LIMIT)))


LOGINS = {
    **{login: [*login.split(), "env -0"] for login in [*profiles.LOGINS, "zsh -lc", "zsh -ic", "fish -ic"]},
    # Debian has interactive shells that are no login shells read no file of ours.
    "bash -ic": ["bash", "-ic", ". /etc/profile; env -0"],
    # tcsh takes -l only alone; as a login shell it is known by its name, too.
    "tcsh": ["bash", "-c", "exec -a -tcsh tcsh -c 'env -0'"],
}


@pytest.mark.parametrize("login", LOGINS)
def test_login(login: str, seat: Seat) -> None:
    """Those of zsh and tcsh have the lines from the README of the role."""
    exports = str(seat.seat.site.profile("dev"))
    lines = Path(tempfile.mkdtemp(dir=seat.seat.site.directory / "out"))
    lines.chmod(0o755)
    (zsh,) = re.findall(r"^emulate sh .*$", profiles.README, re.MULTILINE)
    (lines / "zsh").write_text(f"{zsh}\n", encoding="utf-8")
    ((target, link),) = re.findall(r"^ln -s (\S+) /etc/csh/login.d/(\S+)$", profiles.README, re.MULTILINE)
    (lines / link).symlink_to(target)
    mounts = {"/etc/profile.d": exports, "/etc/fish/conf.d": exports, "/etc/csh/login.d": lines}
    mounts |= {"/etc/zsh/zprofile": lines / "zsh", "/etc/zsh/zshrc": lines / "zsh"}
    binds = " && ".join(f"mount --bind '{source}' {target}" for target, source in mounts.items())
    home = seat.seat.site.directory / "home"
    environment = ["env", "-i", f"HOME={home}", "USER=somebody", "LC_ALL=C.UTF-8", f"PATH={profiles.PATH}"]
    shell = [*BOUND, *profiles.AS_USER, *environment, *LOGINS[login]]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", f'{binds} && exec "$@"', "sh", *shell],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert profiles.parse(done.stdout)["UVNAS_ROOT"] == seat.seat.site.root("nas_a")


@profiles.every_shell
def test_session_that_changes_its_home_share(shell: profiles.Shell, seat: Seat) -> None:
    prefix = [*BOUND, *profiles.AS_USER]
    session = seat.seat.start(shell, "dev", "SOURCE", "uvnas_use nas_b", "DUMP", prefix=prefix)
    assert session.env["UVNAS_ROOT"] == seat.seat.site.root("nas_b")


def test_a_login_that_looks_at_the_nas_is_seen_to_hang(seat: Seat) -> None:
    """The tests above can fail."""
    looking = ["timeout", "--kill-after=1", "1", *profiles.AS_USER]
    session = seat.seat.start(profiles.POSIX[0], "dev", "SOURCE", 'test -e "$UVNAS_ROOT/envs" || true', prefix=looking)
    assert session.rc != 0


# Playbooks


SMALL = {"name": "small", "requirements": ["six"], "imports": ["six"]}


@dataclasses.dataclass(frozen=True)
class TwoNases:
    """A site with two NASes, of which one can hang, and two hosts."""

    site: Site
    nas: Nas

    @property
    def small(self) -> dict[str, t.Any]:
        return {**SMALL, "python": self.site.python}

    def shares(self, *, nas_a: str, nas_b: str) -> list[dict[str, str]]:
        """The shares, with their builders."""
        path = self.site.path
        nases = (("nas_a", {"mount": f"{path}/nas_a", "builder": nas_a}), ("nas_b", {"builder": nas_b}))
        return [{"name": name, "root": f"{path}/{name}/uv", "owner": owner(), **more} for name, more in nases]

    def start(self, hosts: dict[str, dict[str, t.Any]], *options: str, **more: t.Any) -> subprocess.Popen[str]:
        return dataclasses.replace(self.site, hosts=hosts).start([SMALL], *options, **more)

    def run(self, hosts: dict[str, dict[str, t.Any]], *options: str, **more: t.Any) -> Run:
        return finish(self.start(hosts, *options, **more), PLAYBOOK_LIMIT)


@contextlib.contextmanager
def hanging(nas: Nas) -> t.Iterator[None]:
    nas.hang()
    try:
        yield
    finally:
        nas.answer()


EACH = {"dev": {"uvnas_host_shares": ["nas_a"]}, "node": {"uvnas_host_shares": ["nas_b"]}}
DOWN = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


@pytest.fixture(scope="module")
def site(public: Path) -> t.Iterator[TwoNases]:
    """The site, with all there should be on both NASes."""
    path = public / "site"
    made = make_site(
        path,
        {
            "uvnas_answer_timeout": PLAYBOOK_PATIENCE,
            "uvnas_profile_dir": f"{path}/{{{{ inventory_hostname }}}}/profile.d",
            "uvnas_profile_fish_dir": f"{path}/{{{{ inventory_hostname }}}}/fish",
        },
    )
    for name in ("source", "nas_a", "nas_b"):
        (path / name).mkdir()
    with stoppable(path / "source", path / "nas_a") as nas:
        two = TwoNases(made, nas)
        # Long enough for a busy machine: here nothing hangs.
        done = two.run(EACH, uvnas_shares=two.shares(nas_a="dev", nas_b="node"), uvnas_answer_timeout=LIMIT)
        assert done.rc == 0, done.output
        yield two


def recap(run: Run, host: str) -> dict[str, int]:
    """The line of a host at the end."""
    (line,) = re.findall(rf"^{host} +: (.*)$", run.output, re.MULTILINE)
    return {word: int(number) for word, number in (pair.split("=") for pair in line.split())}


def finished(run: Run, host: str) -> bool:
    """Whether a host got to the end, and all went well there."""
    numbers = recap(run, host)
    return numbers["failed"] == numbers["unreachable"] == 0 and numbers["ok"] > 0


def summary(run: Run) -> list[str]:
    """The shares of the environments that the run told of at its end."""
    return re.findall(r"^ *\"(nas_\w): small +\w+ +(?:Python|new, )", run.output, re.MULTILINE)


def test_builder_whose_nas_hangs_is_reported_and_the_other_is_done(site: TwoNases) -> None:
    shutil.rmtree(site.site.path / "node" / "profile.d")
    with hanging(site.nas):
        run = site.run(EACH, uvnas_shares=site.shares(nas_a="dev", nas_b="node"))
    assert run.rc == 2, run.output
    assert f"share nas_a: {site.site.path}/nas_a/uv {SILENT.format(PLAYBOOK_PATIENCE)}" in run.output
    assert recap(run, "dev")["failed"] == 1
    assert finished(run, "node"), run.output
    assert (site.site.path / "node" / "profile.d" / "uvnas.sh").exists()
    assert summary(run) == ["nas_b"]


def test_the_only_builder_does_not_keep_members_from_being_done(site: TwoNases) -> None:
    shutil.rmtree(site.site.path / "node" / "profile.d")
    with hanging(site.nas):
        run = site.run(EACH, uvnas_shares=site.shares(nas_a="dev", nas_b="dev"))
    assert run.rc == 2, run.output
    assert recap(run, "dev")["failed"] == 1
    assert finished(run, "node"), run.output
    assert (site.site.path / "node" / "profile.d" / "uvnas.sh").exists()
    assert "share nas_b: not verified, as its builder dev failed" in run.output


def test_member_whose_nas_hangs_is_reported_and_the_others_are_done(site: TwoNases) -> None:
    """It is the first of all hosts, on which what is to be done only once is done."""
    hosts = {"first": {"uvnas_host_shares": ["nas_a", "nas_b"]}, "node": EACH["node"], "elsewhere": {}}
    with hanging(site.nas):
        run = site.run(hosts, "--limit", "first,node", uvnas_shares=site.shares(nas_a="elsewhere", nas_b="node"))
    assert run.rc == 2, run.output
    assert f"share nas_a: {site.site.path}/nas_a/uv {SILENT.format(PLAYBOOK_PATIENCE)}" in run.output
    assert (site.site.path / "first" / "profile.d" / "uvnas.sh").exists()
    assert recap(run, "first")["failed"] == 1
    assert finished(run, "node"), run.output
    assert summary(run) == ["nas_b"]


@pytest.mark.parametrize("builder", ["dev", "node"])
def test_host_that_is_down_is_reported_and_the_others_are_done(site: TwoNases, builder: str) -> None:
    """A member, the first of all hosts; or the only builder."""
    hosts = {"dev": {**EACH["dev"], **DOWN}, "node": EACH["node"], "last": EACH["node"]}
    run = site.run(hosts, uvnas_shares=site.shares(nas_a=builder, nas_b=builder))
    assert run.rc == 4, run.output
    assert recap(run, "dev")["unreachable"] == 1
    assert finished(run, "node"), run.output
    assert finished(run, "last"), run.output
    if builder == "node":
        assert summary(run) == ["nas_b"]
    else:
        assert "share nas_b: not verified, as its builder dev failed" in run.output


def test_build_that_fails_does_not_keep_members_from_being_done(site: TwoNases) -> None:
    env = {"name": "failing", "python": site.site.python, "requirements": ["six"], "checks": ["exit 3"]}
    run = site.run(
        EACH, uvnas_shares=site.shares(nas_a="dev", nas_b="dev"), uvnas_envs=[site.small, {**env, "shares": ["nas_a"]}]
    )
    assert run.rc == 2, run.output
    assert recap(run, "dev")["failed"] == 1
    assert finished(run, "node"), run.output
    assert summary(run) == ["nas_b"]


def test_nas_that_begins_to_hang_in_the_middle_of_a_build(site: TwoNases) -> None:
    """A check goes on for as long as it likes, until the NAS stops answering."""
    shares = site.shares(nas_a="dev", nas_b="dev")
    env = {"name": "long", "python": site.site.python, "requirements": ["six"], "shares": ["nas_a"]}
    seconds = 600 + os.getpid()  # A number that is found again.
    checks, sleep = [f"exec sleep {seconds}"], f"sleep\0{seconds}\0"
    link = site.site.path / "source" / "uv" / "envs" / "long"
    started = site.start(EACH, uvnas_shares=shares, uvnas_envs=[site.small, {**env, "checks": checks}])
    deadline = time.monotonic() + PLAYBOOK_LIMIT
    while not processes(sleep):
        assert started.poll() is None, started.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with hanging(site.nas):
        run = finish(started, PLAYBOOK_LIMIT)
        wait_until(lambda: not processes(sleep), "to end the check")
    assert run.rc == 2, run.output
    assert f"share nas_a: {site.site.path}/nas_a/uv {SILENT.format(PLAYBOOK_PATIENCE)}" in run.output
    assert recap(run, "dev")["failed"] == 1
    assert finished(run, "node"), run.output
    assert "share nas_b: not verified, as its builder dev failed" in run.output
    assert not link.is_symlink()

    healed = site.run(EACH, uvnas_shares=shares, uvnas_envs=[site.small, env])
    assert healed.rc == 0, healed.output
    assert link.is_symlink()
    assert set(summary(healed)) == {"nas_a", "nas_b"}
