# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role profile in real playbooks, and what real shells make of the files that it writes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Environment = dict[str, str]


# The hosts, and what the role wrote for them


@dataclasses.dataclass(frozen=True)
class Site:
    """A site whose hosts are directories, with a NAS that is not there."""

    directory: Path

    def root(self, share: str) -> str:
        return f"{self.directory}/mnt/{share}/uv"

    def profile(self, host: str) -> Path:
        return self.directory / "hosts" / host / "profile.d"

    def shares(self) -> list[dict[str, str]]:
        return [{"name": name, "root": self.root(name), "builder": "dev"} for name in ("nas_a", "nas_b")]

    def play(self, hosts: dict[str, dict[str, t.Any]], *args: str) -> subprocess.CompletedProcess[str]:
        """Run the role on ``hosts``, each with its variables."""
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "uvnas_shares": self.shares(),
            "uvnas_profile_dir": f"{self.directory}/hosts/{{{{ inventory_hostname }}}}/profile.d",
            "uvnas_profile_fish_dir": "{{ uvnas_profile_dir }}",
        }
        with tempfile.TemporaryDirectory(dir=self.directory) as scratch:
            inventory = Path(scratch, "inventory.json")
            inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}), encoding="utf-8")
            playbook = Path(scratch, "playbook.yml")
            playbook.write_text(
                json.dumps([{"hosts": "all", "gather_facts": False, "roles": ["uvnas.cluster.profile"]}]),
                encoding="utf-8",
            )
            return subprocess.run(
                [sys.executable, "-m", "ansible", "playbook", "-i", inventory, playbook, *args],
                cwd=ROOT,
                env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
                capture_output=True,
                text=True,
                check=False,
            )


# In every kind of quotes something in here ends them.
ODD = 'it\'s $HOME `id` "q" !x \\ * [a] ? ~ # ; & | < > ( ) { } % ^ ü'
# Who runs the shells: some of these ask the system, whatever USER says.
ME = pwd.getpwuid(os.geteuid() or 65534).pw_name
PEOPLE = [ME, "alice"]
LONG = "https://mirror.example.org/" + "(x)" * 150

HOSTS: dict[str, dict[str, t.Any]] = {
    # The devserver has both shares, each cluster one; "both" prefers the other one.
    "dev": {"uvnas_profile_variables": {"UV_HTTP_TIMEOUT": 60, "UV_INDEX": "https://dev.example.org/simple"}},
    "node_a": {"uvnas_host_shares": ["nas_a"]},
    "node_b": {"uvnas_host_shares": ["nas_b"], "uvnas_profile_variables": {"UV_HTTP_TIMEOUT": 90}},
    "both": {"uvnas_host_shares": ["nas_b", "nas_a"]},
    "personal": {"uvnas_host_shares": ["nas_b"]},
    "private": {"uvnas_user_cache": "private", "uvnas_user_cache_users": [*PEOPLE, "dom\\alice", "b@d", "it's"]},
    "private_of_others": {"uvnas_user_cache": "private", "uvnas_user_cache_users": ["alice", "*", f"{ME}x"]},
    "private_of_nobody": {"uvnas_user_cache": "private"},
    "group": {"uvnas_user_cache": "group", "uvnas_host_shares": ["nas_b"]},
    "group_of_some": {"uvnas_user_cache": "group", "uvnas_user_cache_users": PEOPLE},
    "group_of_others": {"uvnas_user_cache": "group", "uvnas_user_cache_users": ["alice"]},
    "odd": {"uvnas_profile_variables": {"UV_ODD": ODD, "UV_LONG": LONG}},
}


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    """All hosts converged. Not below pytest's own directory, which no other user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="exports-"))
    directory.chmod(0o755)
    for name in ("home", "out"):
        (directory / name).mkdir()
        (directory / name).chmod(0o777)
    made = Site(directory)
    # A share and a directory with names that nobody should choose.
    odd = {"uvnas_shares": [{"name": "nas_a", "root": f"{directory}/mnt/{ODD}/uv", "builder": "dev"}]}
    # (Ansible expands variables in paths.)
    odd_place = {"uvnas_profile_dir": f"{directory}/hosts/odd_place/{ODD.replace('$', '')}"}
    try:
        done = made.play({**HOSTS, "odd": {**HOSTS["odd"], **odd}, "odd_place": odd_place})
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        shutil.rmtree(directory)


# Shells


@dataclasses.dataclass(frozen=True)
class Shell:
    """A shell that reads no start-up file of its own, so that there is nothing but what the test does."""

    name: str
    argv: tuple[str, ...]
    kind: str = "sh"

    def __str__(self) -> str:
        return self.name

    @property
    def appends(self) -> bool:
        """Whether the share's bin is in PATH. csh and ksh93 would look at it at once, and have another way to uv."""
        return self.kind != "csh" and self.name != "ksh93"

    @property
    def source(self) -> str:
        """The command that reads the file named by the variable SCRIPT."""
        return {"sh": '. "$SCRIPT"', "csh": "source $SCRIPT:q", "fish": "source $SCRIPT"}[self.kind]


POSIX = [
    Shell("dash", ("dash",)),
    Shell("bash", ("bash", "--norc", "--noprofile")),
    Shell("bash-posix", ("bash", "--posix")),
    Shell("zsh", ("zsh", "-f")),
    Shell("busybox", ("busybox", "ash")),
    Shell("mksh", ("mksh",)),
    Shell("ksh93", ("ksh93",)),
]
CSH = [Shell("tcsh", ("tcsh", "-f"), "csh"), Shell("csh", ("bsd-csh", "-f"), "csh")]
FISH = [Shell("fish", ("fish",), "fish")]
SHELLS = POSIX + CSH + FISH

every_shell = pytest.mark.parametrize("shell", SHELLS, ids=str)
every_posix_shell = pytest.mark.parametrize("shell", POSIX, ids=str)
every_csh = pytest.mark.parametrize("shell", CSH, ids=str)

AS_USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
AS_ROOT = () if os.geteuid() == 0 else ("sudo", "-n")
PATH = "/usr/bin:/bin"


@dataclasses.dataclass(frozen=True)
class Session:
    """How a session went."""

    rc: int
    stdout: str
    stderr: str
    # The environment at each "DUMP".
    dumps: list[Environment]

    @property
    def env(self) -> Environment:
        """The environment at the only DUMP, after a session without a word."""
        assert (self.rc, self.stdout, self.stderr) == (0, "", "")
        (env,) = self.dumps
        return env


@dataclasses.dataclass(frozen=True)
class Seat:
    """Where sessions are started from."""

    site: Site

    def start(
        self,
        shell: Shell,
        host: str,
        *lines: str,
        env: Environment | None = None,
        prefix: t.Sequence[str] = AS_USER,
        flags: t.Sequence[str] = (),
        place: Path | None = None,
    ) -> Session:
        """Run ``lines`` in ``shell`` on ``host``; SOURCE reads the profile file, DUMP records the environment."""
        out = Path(tempfile.mkdtemp(dir=self.site.directory / "out"))
        out.chmod(0o777)
        dumps = [out / f"{number}.env" for number in range(lines.count("DUMP"))]
        replaced = iter(dumps)
        text = [
            f"env -0 > {next(replaced)}" if line == "DUMP" else shell.source if line == "SOURCE" else line
            for line in lines
        ]
        script = out / "script"
        script.write_text("\n".join(text) + "\n", encoding="utf-8")
        script_env = {
            "PATH": PATH,
            "HOME": f"{self.site.directory}/home",
            "USER": ME,
            "LC_ALL": "C.UTF-8",
            **(env or {}),
            "SCRIPT": str((place or self.site.profile(host)) / f"uvnas.{shell.kind}"),
        }
        done = subprocess.run(
            [*prefix, "env", "-i", *(f"{k}={v}" for k, v in script_env.items()), *shell.argv, *flags, script],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Session(done.returncode, done.stdout, done.stderr, [parse(dump.read_bytes()) for dump in dumps])

    def exports(self, share: str, **more: str) -> Environment:
        """What a session has that got nothing but a share's exports; ``more`` adds to them."""
        root = self.site.root(share)
        return {
            "UV_INSTALL_DIR": f"{root}/bin",
            "UV_CACHE_DIR": f"{root}/user-cache/{ME}",
            "UV_PYTHON_INSTALL_DIR": f"{root}/python",
            "UV_PYTHON_DOWNLOADS": "manual",
            "UVNAS_SHARE": share,
            "UVNAS_ROOT": root,
            "UVNAS_SET_UV_PYTHON_DOWNLOADS": "manual",
            **more,
        }

    def path(self, shell: Shell, share: str) -> str:
        """PATH with the share's bin last, for a shell that leaves directories in PATH alone until they are searched."""
        return f"{PATH}:{self.site.root(share)}/bin" if shell.appends else PATH


@pytest.fixture
def seat(site: Site) -> Seat:
    return Seat(site)


def parse(dump: bytes) -> Environment:
    pairs = (entry.partition("=") for entry in dump.decode().split("\0") if entry)
    return {name: value for name, _equals, value in pairs}


def ours(env: Environment) -> Environment:
    """Everything in ``env`` that is about uv."""
    return {name: value for name, value in env.items() if "UV" in name}


# What a session gets


@every_shell
def test_exports(shell: Shell, seat: Seat) -> None:
    env = seat.start(shell, "node_a", "SOURCE", "DUMP").env
    assert ours(env) == seat.exports("nas_a")
    assert env["PATH"] == seat.path(shell, "nas_a")


@every_shell
def test_further_variables(shell: Shell, seat: Seat) -> None:
    index = "https://dev.example.org/simple"
    env = seat.start(shell, "dev", "SOURCE", "DUMP").env
    further = {"UV_HTTP_TIMEOUT": "60", "UV_INDEX": index}
    copies = {f"UVNAS_SET_{name}": value for name, value in further.items()}
    assert ours(env) == seat.exports("nas_a", **further, **copies)


@every_shell
def test_root_is_left_alone(shell: Shell, seat: Seat) -> None:
    for inherited in ({}, seat.start(POSIX[0], "dev", "SOURCE", "DUMP").env):
        env = seat.start(shell, "node_b", "SOURCE", "DUMP", env=inherited, prefix=AS_ROOT).env
        assert ours(env) == ours(inherited)
        assert env["PATH"] == inherited.get("PATH", PATH)


@every_shell
def test_sourcing_twice_and_in_a_nested_shell_changes_nothing(shell: Shell, seat: Seat) -> None:
    session = seat.start(shell, "dev", "SOURCE", "DUMP", "SOURCE", "DUMP")
    once, twice = session.dumps
    nested = seat.start(shell, "dev", "SOURCE", "DUMP", env=once).env
    assert ours(once) == ours(twice) == ours(nested)
    assert once["PATH"] == twice["PATH"] == nested["PATH"] == seat.path(shell, "nas_a")


@every_shell
def test_shells_understand_each_other(shell: Shell, seat: Seat) -> None:
    """A csh job of a bash user, a bash script of a fish user."""
    for first, second in ((shell, POSIX[0]), (POSIX[0], shell)):
        env = seat.start(first, "dev", "SOURCE", "uvnas_use nas_b", "DUMP").env
        assert ours(seat.start(second, "dev", "SOURCE", "DUMP", env=env).env) == ours(env)


@every_shell
def test_path_keeps_what_is_in_it(shell: Shell, seat: Seat) -> None:
    """Somebody's own order, directories that are not there, odd ones, and the share where the user put it."""
    own = f"/no/such/dir:/with space/bin:/it's/bin:/usr/bin:/bin:/glob*/[x]/bin:/last{ODD}"
    env = seat.start(shell, "dev", "SOURCE", "uvnas_use nas_b", "DUMP", env={"PATH": own}).env
    assert env["PATH"] == (f"{own}:{seat.site.root('nas_b')}/bin" if shell.appends else own)
    first = f"{seat.site.root('nas_a')}/bin:{PATH}"
    assert seat.start(shell, "dev", "SOURCE", "DUMP", env={"PATH": first}).env["PATH"] == first


@every_posix_shell
def test_path_keeps_empty_entries(shell: Shell, seat: Seat) -> None:
    """Each means the current directory, and must not come up or go away."""
    added = f"{seat.site.root('nas_a')}/bin" if shell.appends else ""
    env = seat.start(shell, "dev", "SOURCE", "DUMP", env={"PATH": "/usr/bin::/bin:"}).env
    assert env["PATH"] == "/usr/bin::/bin:" + (f":{added}" if added else "")
    done = seat.start(shell, "dev", "PATH=", "SOURCE", 'echo "$PATH"')
    assert (done.stdout, done.stderr) == (f"{added}\n", "")


# Caches

# fish asks the system for the name, whatever it inherits, and tcsh where it inherits none.
no_fish = pytest.mark.parametrize("shell", POSIX + CSH, ids=str)


@no_fish
@pytest.mark.parametrize("name", ["alice", "Bob_2", "_a.b-c", "user@example.org", "dom+alice", "1"])
def test_everybody_is_sent_to_a_cache_of_their_own(name: str, shell: Shell, seat: Seat) -> None:
    env = seat.start(shell, "personal", "SOURCE", "SOURCE", "DUMP", env={"USER": name}).env
    assert env["UV_CACHE_DIR"] == f"{seat.site.root('nas_b')}/user-cache/{name}"


NO_NAMES = [".", "..", ".alice", "-alice", "../cache", "a/b", "/", "a b", " ", "*", "a*", "?", "[a]", "a\nb", "alice\n"]
NO_NAMES += [
    "$HOME",
    "`id`",
    "a;b",
    "a'b",
    'a"b',
    "dom\\alice",
    "alice$",
    "a^b",
    "a!b",
    "~",
    "~root",
    "{a,b}",
    "@a",
    "+a",
]


@no_fish
@pytest.mark.parametrize("name", NO_NAMES, ids=repr)
def test_who_has_no_plain_name_is_sent_to_none(name: str, shell: Shell, seat: Seat) -> None:
    """Nor left with that of somebody else, where a session goes on as another user."""
    inherited = seat.start(POSIX[0], "dev", "SOURCE", "DUMP").env
    for env in ({}, {"UV_CACHE_DIR": ""}, inherited):
        left = seat.start(shell, "personal", "SOURCE", "DUMP", env={**env, "USER": name}).env
        assert "UV_CACHE_DIR" not in left
        assert left["UV_INSTALL_DIR"] == f"{seat.site.root('nas_b')}/bin"


@pytest.mark.parametrize("host", ["personal", "private", "group_of_some"])
@pytest.mark.parametrize("shell", [*POSIX, CSH[1]], ids=str)
def test_nobody_has_no_cache(shell: Shell, host: str, seat: Seat) -> None:
    env = seat.start(shell, host, "SOURCE", "DUMP", env={"USER": ""}).env
    assert "UV_CACHE_DIR" not in env
    unset = "unset USER" if shell.kind == "sh" else "unsetenv USER"
    assert "UV_CACHE_DIR" not in seat.start(shell, host, unset, "SOURCE", "DUMP").env
    assert env["UVNAS_SHARE"] == "nas_b" if host == "personal" else "nas_a"


def test_tcsh_has_one_name_for_all_who_have_none(seat: Seat) -> None:
    """It sets USER to that where there is none, and so they would have one cache for all of them."""
    assert "UV_CACHE_DIR" not in seat.start(CSH[0], "personal", "SOURCE", "DUMP", env={"USER": "unknown"}).env


@no_fish
@pytest.mark.parametrize("name", ["alice", "dom\\alice", "b@d", "it's"])
def test_whoever_is_listed_has_a_cache(name: str, shell: Shell, seat: Seat) -> None:
    env = seat.start(shell, "private", "SOURCE", "uvnas_use nas_b", "DUMP", env={"USER": name}).env
    assert env["UV_CACHE_DIR"] == f"{seat.site.root('nas_b')}/user-cache/{name}"


@every_shell
@pytest.mark.parametrize("host", ["private_of_others", "private_of_nobody", "group_of_others"])
def test_who_is_not_listed_is_sent_to_none(shell: Shell, host: str, seat: Seat) -> None:
    inherited = seat.start(shell, "dev", "SOURCE", "DUMP").env
    for env in ({}, inherited, {**inherited, "UV_CACHE_DIR": f"{seat.site.root('nas_a')}/user-cache/alice"}):
        left = seat.start(shell, host, "SOURCE", "DUMP", env=env).env
        assert "UV_CACHE_DIR" not in left
        assert left["UV_INSTALL_DIR"] == f"{seat.site.root('nas_a')}/bin"
    own = {"UV_CACHE_DIR": "/scratch/cache"}
    assert seat.start(shell, host, "SOURCE", "DUMP", env=own).env["UV_CACHE_DIR"] == "/scratch/cache"


@every_shell
def test_the_policy_changes_while_somebody_is_logged_in(shell: Shell, seat: Seat) -> None:
    """And they start a login shell, or a job on a host of another policy."""
    cache = {name: f"{seat.site.root(name)}/user-cache" for name in ("nas_a", "nas_b")}
    wanted = {
        "personal": f"{cache['nas_b']}/{ME}",
        "private": f"{cache['nas_a']}/{ME}",
        "group": cache["nas_b"],
        "group_of_some": cache["nas_a"],
    }
    for before, after in itertools.product(wanted, wanted):
        inherited = seat.start(shell, before, "SOURCE", "DUMP").env
        assert inherited["UV_CACHE_DIR"] == wanted[before]
        env = seat.start(shell, after, "SOURCE", "DUMP", env=inherited).env
        assert env["UV_CACHE_DIR"] == wanted[after], (before, after)


@every_shell
def test_a_session_that_goes_on_as_somebody_else_has_their_cache(shell: Shell, seat: Seat) -> None:
    """As with su, which leaves the environment as it is, but for the name."""
    inherited = seat.start(POSIX[0], "dev", "SOURCE", "DUMP", env={"USER": "alice"}).env
    assert inherited["UV_CACHE_DIR"] == f"{seat.site.root('nas_a')}/user-cache/alice"
    env = seat.start(shell, "dev", "SOURCE", "DUMP", env={**inherited, "USER": ME}).env
    assert env["UV_CACHE_DIR"] == f"{seat.site.root('nas_a')}/user-cache/{ME}"


# Whose value wins


@every_shell
def test_a_value_of_the_users_own_stays(shell: Shell, seat: Seat) -> None:
    own = {
        "UV_CACHE_DIR": "/scratch/my cache",
        "UV_PYTHON_INSTALL_DIR": f"{seat.site.root('nas_b')}/python",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_INDEX": "https://own.example.org/simple",
    }
    session = seat.start(shell, "dev", "SOURCE", "DUMP", "uvnas_use nas_b", "DUMP", env=own)
    assert (session.rc, session.stdout, session.stderr) == (0, "", "")
    # Logged in, another share chosen, and in a job on another cluster.
    job = seat.start(shell, "node_b", "SOURCE", "DUMP", env=session.dumps[1]).env
    for env, share in zip([*session.dumps, job], ["nas_a", "nas_b", "nas_b"], strict=True):
        assert {name: env[name] for name in own} == own
        assert env["UV_INSTALL_DIR"] == f"{seat.site.root(share)}/bin"
        assert not {f"UVNAS_SET_{name}" for name in own} & set(env)


@every_shell
def test_a_value_that_the_user_changed_later_stays(shell: Shell, seat: Seat) -> None:
    env = seat.start(shell, "dev", "SOURCE", "DUMP").env
    changed = {"UV_CACHE_DIR": f"{env['UV_CACHE_DIR']}/project-x", "UV_HTTP_TIMEOUT": "5"}
    job = seat.start(shell, "node_b", "SOURCE", "DUMP", env={**env, **changed}).env
    assert {name: job[name] for name in changed} == changed
    assert job["UV_PYTHON_INSTALL_DIR"] == f"{seat.site.root('nas_b')}/python"


@every_shell
def test_an_empty_value_counts_as_none(shell: Shell, seat: Seat) -> None:
    empty = dict.fromkeys([*seat.exports("nas_a"), "UVNAS_HOME_SHARE"], "")
    env = seat.start(shell, "node_a", "SOURCE", "DUMP", env=empty).env
    assert {name: value for name, value in ours(env).items() if value} == seat.exports("nas_a")


@every_shell
def test_a_job_on_another_cluster_uses_the_share_there(shell: Shell, seat: Seat) -> None:
    env = seat.start(shell, "dev", "SOURCE", "DUMP").env
    job = seat.start(shell, "node_b", "SOURCE", "DUMP", env=env).env
    # What only the other host exports stays as it was inherited.
    left = {"UV_INDEX": env["UV_INDEX"], "UVNAS_SET_UV_INDEX": env["UV_INDEX"]}
    assert ours(job) == seat.exports("nas_b", UV_HTTP_TIMEOUT="90", UVNAS_SET_UV_HTTP_TIMEOUT="90", **left)
    assert job["PATH"] == seat.path(shell, "nas_b")


@every_shell
def test_a_job_started_from_another_shell_has_no_other_share_in_path(shell: Shell, seat: Seat) -> None:
    env = seat.start(POSIX[0], "dev", "SOURCE", "DUMP").env
    there = f"{seat.site.root('nas_a')}/bin"
    path = f"/opt/x/bin:{there}:{PATH}:{there}"
    job = seat.start(shell, "node_b", "SOURCE", "DUMP", env={**env, "PATH": path}).env
    assert job["PATH"] == f"/opt/x/bin:{seat.path(shell, 'nas_b')}"


@every_shell
def test_a_choice_holds_wherever_the_share_is(shell: Shell, seat: Seat) -> None:
    default = seat.start(shell, "dev", "SOURCE", "DUMP").env
    assert seat.start(shell, "both", "SOURCE", "DUMP", env=default).env["UVNAS_SHARE"] == "nas_b"
    chosen = seat.start(shell, "dev", "SOURCE", "uvnas_use nas_a", "DUMP").env
    assert seat.start(shell, "both", "SOURCE", "DUMP", env=chosen).env["UVNAS_SHARE"] == "nas_a"
    without = seat.start(shell, "node_b", "SOURCE", "DUMP", env=chosen).env
    assert (without["UVNAS_SHARE"], without["UVNAS_HOME_SHARE"]) == ("nas_b", "nas_a")
    assert seat.start(shell, "both", "SOURCE", "DUMP", env=without).env["UVNAS_SHARE"] == "nas_a"


# uvnas_use


@every_shell
def test_use_changes_the_home_share_of_the_session(shell: Shell, seat: Seat) -> None:
    session = seat.start(shell, "dev", "SOURCE", "uvnas_use nas_b", "DUMP", "uvnas_use nas_a", "DUMP")
    assert (session.rc, session.stdout, session.stderr) == (0, "", "")
    for env, share in zip(session.dumps, ["nas_b", "nas_a"], strict=True):
        kept = {name: value for name, value in ours(env).items() if "TIMEOUT" not in name and "INDEX" not in name}
        assert kept == seat.exports(share, UVNAS_HOME_SHARE=share)
        assert env["PATH"] == seat.path(shell, share)


@every_shell
def test_use_without_a_share_lists_them(shell: Shell, seat: Seat) -> None:
    session = seat.start(shell, "dev", "SOURCE", "uvnas_use nas_b", "uvnas_use")
    assert session.stdout.splitlines() == ["home share of this session: nas_b", "shares of this host: nas_a nas_b"]
    assert (session.rc, session.stderr) == (0, "")


@every_shell
@pytest.mark.parametrize("argument", ["nas_x", "'*'", "'nas_a nas_b'", "nas_a nas_b", "'$HOME'", "''"])
def test_use_of_an_unknown_share_says_so_and_changes_nothing(argument: str, shell: Shell, seat: Seat) -> None:
    status = "$?" if shell.kind == "sh" else "$status"
    session = seat.start(shell, "dev", "SOURCE", "DUMP", f"uvnas_use {argument}", f"echo {status}", "DUMP")
    assert session.stdout == "1\n"
    said = argument.replace("'", "")
    assert session.stderr == f"uvnas_use: this host has no share called '{said}'; its shares: nas_a nas_b\n"
    before, after = session.dumps
    assert ours(before) == ours(after)
    assert before["PATH"] == after["PATH"]


@pytest.fixture
def programs(site: Site) -> t.Iterator[str]:
    """A uv on each share, and one of the user's own, in the directory that this is."""
    own = f"{site.directory}/own/bin"
    places = {own: "my own uv"} | {f"{site.root(share)}/bin": f"uv of {share}" for share in ("nas_a", "nas_b")}
    for directory, says in places.items():
        os.makedirs(directory)
        for name in ("uv", "uvx"):
            program = Path(directory, name)
            program.write_text(f'#!/bin/sh\necho "{says}: $*"\n', encoding="utf-8")
            program.chmod(0o755)
    yield own
    for directory in places:
        shutil.rmtree(directory)


@every_shell
def test_uv_of_the_share_in_force_is_run_unless_path_has_another(programs: str, shell: Shell, seat: Seat) -> None:
    session = seat.start(shell, "dev", "SOURCE", "uv --version", "uvnas_use nas_b", "uv a 'b c'", "uvx")
    assert session.stdout.splitlines() == ["uv of nas_a: --version", "uv of nas_b: a b c", "uv of nas_b: "]
    first = seat.start(shell, "dev", "SOURCE", "uv --version", env={"PATH": f"{programs}:{PATH}"})
    assert first.stdout == "my own uv: --version\n"
    assert session.stderr + first.stderr == ""


# Good manners


@every_shell
def test_odd_characters(shell: Shell, seat: Seat) -> None:
    root = f"{seat.site.directory}/mnt/{ODD}/uv"
    env = seat.start(shell, "odd", "SOURCE", "SOURCE", "uvnas_use nas_a", "DUMP").env
    assert env["UV_CACHE_DIR"] == f"{root}/user-cache/{ME}"
    assert env["UV_INSTALL_DIR"] == f"{root}/bin"
    assert env["PATH"] == (f"{PATH}:{root}/bin" if shell.appends else PATH)
    assert env["UV_ODD"] == env["UVNAS_SET_UV_ODD"] == ODD
    assert env["UV_LONG"] == LONG


@every_shell
def test_odd_directory(shell: Shell, seat: Seat) -> None:
    (place,) = (seat.site.directory / "hosts" / "odd_place").iterdir()
    env = seat.start(shell, "odd_place", "SOURCE", "uvnas_use nas_b", "DUMP", place=place).env
    assert env["UVNAS_SHARE"] == "nas_b"


@every_shell
@pytest.mark.parametrize("value", [ODD, "two\nlines", "-e", "(", "a == b", "*"])
def test_whatever_the_user_has_set_does_no_harm(value: str, shell: Shell, seat: Seat) -> None:
    env = {"UV_CACHE_DIR": value, "UV_INDEX": value, "UVNAS_SET_UV_HTTP_TIMEOUT": value, "UVNAS_HOME_SHARE": value}
    after = seat.start(shell, "dev", "SOURCE", "DUMP", env={**env, "USER": value}).env
    assert (after["UV_CACHE_DIR"], after["UV_INDEX"], after["UV_HTTP_TIMEOUT"]) == (value, value, "60")
    assert after["UVNAS_SHARE"] == "nas_a"
    other = seat.start(shell, "dev", "SOURCE", "DUMP", env={"UVNAS_ROOT": value}).env
    assert (other["UVNAS_ROOT"], other["PATH"]) == (seat.site.root("nas_a"), seat.path(shell, "nas_a"))


@every_posix_shell
@pytest.mark.parametrize("flags", ["-e", "-u", "-f", "-a", "-C"])
def test_options_of_a_script(flags: str, shell: Shell, seat: Seat) -> None:
    use = ("uvnas_use nas_b", "uvnas_use >/dev/null", "uvnas_use nas_x 2>/dev/null || uvnas_use nas_a")
    env = seat.start(shell, "dev", f"set {flags}", "SOURCE", "SOURCE", *use, "DUMP").env
    assert env["UVNAS_SHARE"] == "nas_a"


@pytest.mark.parametrize(
    "option",
    [
        "warn_create_global",
        "sh_word_split",
        "ksh_arrays",
        "null_glob",
        "glob_subst",
        "rc_quotes",
        "no_equals",
        "posix_builtins",
    ],
)
def test_options_of_zsh(option: str, seat: Seat) -> None:
    zsh = next(shell for shell in SHELLS if shell.name == "zsh")
    for host in ("dev", "odd"):
        env = seat.start(zsh, host, f"setopt {option}", "SOURCE", "uvnas_use nas_a", "DUMP").env
        plain = seat.start(zsh, host, "SOURCE", "uvnas_use nas_a", "DUMP").env
        assert ours(env) == ours(plain)
        assert env["PATH"] == plain["PATH"]


@every_csh
def test_a_csh_that_ends_at_the_first_error(shell: Shell, seat: Seat) -> None:
    assert seat.start(shell, "dev", "SOURCE", "uvnas_use nas_b", "DUMP", flags=["-e"]).env["UVNAS_SHARE"] == "nas_b"


@every_csh
def test_a_csh_that_reads_all_files_of_a_directory_in_a_loop(shell: Shell, seat: Seat) -> None:
    """As /etc/csh.cshrc does on Red Hat, and /etc/csh.login on Debian."""
    loop = ["foreach i ($SCRIPT:q)", "if (-r $i:q) then", "source $i:q", "endif", "end"]
    assert ours(seat.start(shell, "node_a", *loop, "DUMP").env) == seat.exports("nas_a")


@every_posix_shell
def test_nothing_is_left_behind(shell: Shell, seat: Seat) -> None:
    """No variable that is not exported, and the positional parameters and options of the script as they were."""
    script = ["set -- one 'two words'", "set > {0}/before", "SOURCE", "uvnas_use nas_b", "set > {0}/after"]
    out = Path(tempfile.mkdtemp(dir=seat.site.directory / "out"))
    out.chmod(0o777)
    session = seat.start(shell, "node_a", *(line.format(out) for line in script[:3]), 'printf "<%s>" "$@" "$-"', "DUMP")
    assert session.stdout.startswith("<one><two words><")
    session = seat.start(shell, "dev", *(line.format(out) for line in script))
    assert (session.stdout, session.stderr) == ("", "")
    names = [set(re.findall(r"^(\w+)=", (out / part).read_text(), re.MULTILINE)) for part in ("before", "after")]
    exported = {*seat.exports("nas_a"), "UVNAS_HOME_SHARE", "PATH"}
    further = {"UV_HTTP_TIMEOUT", "UV_INDEX", "UVNAS_SET_UV_HTTP_TIMEOUT", "UVNAS_SET_UV_INDEX"}
    own = {
        "_",
        "KSH_MATCH",
        "PIPESTATUS",
        "BASH_LINENO",
        "BASH_ARGC",
        "BASH_ARGV",
        "FUNCNAME",
        "OPTIND",
        "LINENO",
        "RANDOM",
        "SECONDS",
    }
    assert names[1] - names[0] - exported - further <= own


@every_csh
def test_nothing_is_left_behind_in_csh(shell: Shell, seat: Seat) -> None:
    for use in ("uvnas_use nas_b", "uvnas_use", "uvnas_use nas_x"):
        session = seat.start(shell, "dev", "SOURCE", use, "set")
        assert "uvnas" not in re.sub(r"(?m)^(home share|shares of|uvnas_use:|path\t|_\t|argv\t).*$", "", session.stdout)


@every_shell
def test_an_interactive_shell(shell: Shell, seat: Seat) -> None:
    """History expansion, comments and aliases are different there."""
    where = seat.site.profile("dev") / f"uvnas.{shell.kind}"
    read = {"sh": f". {where}", "csh": f"source {where}", "fish": f"source {where}"}[shell.kind]
    typed = [read, "uvnas_use nas_b", "uvnas_use", "uvnas_use nas_x", "exit"]
    environment = ["env", "-i", f"PATH={PATH}", f"HOME={seat.site.directory}/home", "TERM=dumb", f"USER={ME}"]
    done = subprocess.run(
        [*AS_USER, *environment, "script", "-qec", f"{' '.join(shell.argv)} -i", "/dev/null"],
        cwd="/",
        input="\n".join(typed) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "home share of this session: nas_b" in done.stdout
    assert "this host has no share called 'nas_x'" in done.stdout
    said = done.stdout.lower()
    assert not [
        word for word in ("unmatched", "event not found", "not found", "syntax", "undefined", "missing") if word in said
    ]


# A NAS that hangs

OTHER = {"sh": ". /dev/null", "csh": "source /dev/null", "fish": "true"}
FORK = re.compile(r"\b(execve|execveat|fork|vfork|clone3?)\(")


def trace(seat: Seat, shell: Shell, host: str, *lines: str, env: Environment | None = None) -> list[str]:
    """What the kernel was asked for, as to files and processes, from the moment on when the profile file was opened."""
    output = Path(tempfile.mkdtemp(dir=seat.site.directory / "out")) / "trace"
    output.parent.chmod(0o777)
    strace = [*AS_USER, "strace", "-f", "-s", "65536", "-e", "trace=%file,%process", "-o", str(output)]
    session = seat.start(shell, host, *lines, env=env, prefix=strace)
    assert (session.stdout, session.stderr) == ("", "")
    calls = output.read_text(encoding="utf-8", errors="replace").splitlines()
    script = re.compile(rf'\bopen(at)?\(.*/hosts/{host}/profile\.d/uvnas\.{shell.kind}"')
    opened = [number for number, call in enumerate(calls) if script.search(call)]
    return calls[opened[0] :]


@every_shell
def test_nothing_on_a_share_is_looked_at_and_no_process_started(shell: Shell, seat: Seat) -> None:
    inherited = seat.start(POSIX[0], "dev", "SOURCE", "DUMP").env
    chosen = seat.start(shell, "dev", "SOURCE", "uvnas_use nas_b", "DUMP").env
    for host, env in (("dev", {}), ("dev", inherited), ("dev", chosen), ("node_b", inherited), ("both", chosen)):
        # Read again, and another file after it: some shells look into new directories of PATH only then.
        calls = trace(seat, shell, host, "SOURCE", "SOURCE", OTHER[shell.kind], env=env)
        assert [call for call in calls if "/mnt/nas" in call] == []
        assert [call for call in calls if FORK.search(call) and "CLONE_THREAD" not in call] == []


@every_shell
def test_what_would_look_at_a_share_or_start_a_process_is_seen(shell: Shell, seat: Seat) -> None:
    """The test above can fail."""
    calls = trace(seat, shell, "dev", "SOURCE", f"/usr/bin/test -e {seat.site.root('nas_a')}/bin || true")
    assert [call for call in calls if "/mnt/nas" in call]
    assert [call for call in calls if FORK.search(call) and "CLONE_THREAD" not in call]


# Real logins: the system's own start-up files read ours


def log_in(seat: Seat, mounts: dict[str, str], *argv: str) -> bytes:
    """What ``argv``, a shell, prints that finds ``mounts`` in /etc."""
    unshare = ["unshare", "--mount"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-current-user", "--keep-caps"]
    binds = " && ".join(f"mount --bind '{source}' {target}" for target, source in mounts.items())
    environment = ["env", "-i", f"HOME={seat.site.directory}/home", f"USER={ME}", "LC_ALL=C.UTF-8", f"PATH={PATH}"]
    done = subprocess.run(
        [*unshare, "sh", "-euc", f'{binds} && exec "$@"', "sh", *AS_USER, *environment, *argv],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


LOGINS = ["bash -lc", "dash -lc", "mksh -lc", "ksh93 -lc", "busybox ash -lc", "fish -lc", "fish -c"]


@pytest.mark.parametrize("login", LOGINS)
def test_a_login(login: str, seat: Seat) -> None:
    place = str(seat.site.profile("dev"))
    mounts = {"/etc/profile.d": place, "/etc/fish/conf.d": place}
    env = parse(log_in(seat, mounts, *login.split(), "uvnas_use nas_b; env -0"))
    assert env["UV_CACHE_DIR"] == f"{seat.site.root('nas_b')}/user-cache/{ME}"
    last = env["PATH"].split(":")[-1]
    assert (last == f"{seat.site.root('nas_b')}/bin") is not login.startswith("ksh93")


@pytest.mark.parametrize("login", LOGINS)
def test_a_whole_login_looks_at_nothing_on_a_share(login: str, seat: Seat) -> None:
    place = str(seat.site.profile("dev"))
    output = Path(tempfile.mkdtemp(dir=seat.site.directory / "out")) / "trace"
    output.parent.chmod(0o777)
    strace = ["strace", "-f", "-s", "65536", "-e", "trace=%file", "-o", str(output)]
    log_in(seat, {"/etc/profile.d": place, "/etc/fish/conf.d": place}, *strace, *login.split(), ":")
    calls = output.read_text(encoding="utf-8", errors="replace").splitlines()
    assert [call for call in calls if "/uvnas." in call]
    assert [call for call in calls if "/mnt/nas" in call] == []


README = (ROOT / "roles" / "profile" / "README.md").read_text(encoding="utf-8")


def test_a_login_of_zsh_with_the_line_from_the_readme(seat: Seat) -> None:
    (line,) = re.findall(r"^emulate sh .*$", README, re.MULTILINE)
    zprofile = seat.site.directory / "out" / "zprofile"
    zprofile.write_text(f"{line}\n", encoding="utf-8")
    mounts = {"/etc/profile.d": str(seat.site.profile("dev")), "/etc/zsh/zprofile": str(zprofile)}
    env = parse(log_in(seat, mounts, "zsh", "-lc", "uvnas_use nas_b; env -0"))
    assert env["UV_CACHE_DIR"] == f"{seat.site.root('nas_b')}/user-cache/{ME}"
    assert env["PATH"].split(":")[-1] == f"{seat.site.root('nas_b')}/bin"


def test_a_login_of_tcsh_with_the_line_from_the_readme(seat: Seat) -> None:
    ((target, link),) = re.findall(r"^ln -s (\S+) /etc/csh/login.d/(\S+)$", README, re.MULTILINE)
    login_d = Path(tempfile.mkdtemp(dir=seat.site.directory / "out"))
    login_d.chmod(0o755)
    (login_d / link).symlink_to(target)
    mounts = {"/etc/profile.d": str(seat.site.profile("node_a")), "/etc/csh/login.d": str(login_d)}
    # tcsh takes -l only alone; as a login shell it is known by its name, too.
    env = parse(log_in(seat, mounts, "bash", "-c", "exec -a -tcsh tcsh -c 'env -0'"))
    assert ours(env) == seat.exports("nas_a")


# The role


def recap(done: subprocess.CompletedProcess[str], host: str) -> dict[str, int]:
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{host} ") and "ok=" in line]
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}


@pytest.fixture
def bare(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.compat
def test_check_mode_then_the_run_then_nothing(bare: Site) -> None:
    hosts = {"dev": HOSTS["dev"], "node_b": HOSTS["node_b"]}
    predicted = bare.play(hosts, "--check", "--diff")
    assert predicted.returncode == 0, predicted.stdout + predicted.stderr
    assert not (bare.directory / "hosts").exists()
    done = bare.play(hosts, "--diff")
    assert sorted(predicted.stdout.splitlines()) == sorted(done.stdout.splitlines())
    assert (recap(done, "dev")["changed"], recap(done, "node_b")["changed"]) == (1, 1)
    again = bare.play(hosts)
    # Two on the controller: arguments, and what is declared. One on the member.
    assert (recap(again, "dev")["ok"], recap(again, "dev")["changed"], recap(again, "node_b")["changed"]) == (3, 0, 0)


def test_the_order_of_a_hosts_shares_is_its_own(site: Site) -> None:
    assert "point 'nas_b'\n" in (site.profile("both") / "uvnas.sh").read_text(encoding="utf-8")
    assert "shares of this host: nas_b nas_a'" in (site.profile("both") / "uvnas.sh").read_text(encoding="utf-8")
    assert "nas_a" not in (site.profile("node_b") / "uvnas.sh").read_text(encoding="utf-8")


def test_a_host_without_a_share_loses_the_files(bare: Site) -> None:
    bare.play({"dev": {}})
    assert len(list(bare.profile("dev").iterdir())) == 3
    assert recap(bare.play({"dev": {"uvnas_host_shares": []}}), "dev")["changed"] == 1
    assert list(bare.profile("dev").iterdir()) == []


@pytest.mark.compat
def test_a_share_that_is_none(bare: Site) -> None:
    done = bare.play({"dev": {"uvnas_host_shares": ["nas_a", "nas_x"]}, "node_a": {}})
    assert recap(done, "dev")["failed"] == 1
    assert "uvnas_host_shares names unknown shares: nas_x. The shares in uvnas_shares are: nas_a, nas_b" in done.stderr
    assert recap(done, "node_a")["changed"] == 1


@pytest.mark.parametrize(
    "wrong", [{"uvnas_index": {"defualt": "https://a"}}, {"uvnas_user_cache": "none"}, {"uvnas_host_shares": {"a": 1}}]
)
def test_a_misspelt_variable(wrong: dict[str, t.Any], bare: Site) -> None:
    done = bare.play({"dev": wrong})
    assert recap(done, "dev")["failed"] == 1
    assert "Validation of arguments failed" in done.stdout
    assert not (bare.directory / "hosts").exists()


@pytest.mark.compat
def test_public_addresses_are_exported_and_secret_ones_stay_on_the_controller(bare: Site) -> None:
    variables = {
        "uvnas_index": {
            "default": "https://mirror.example.org/simple",
            "extra": [
                "https://alice:geheim@a.example.org/simple",
                "https://b.example.org/simple",
                "c=http://c.example.org",
            ],
            "find_links": [
                "/srv/wheels",
                "https://geheim@d.example.org/",
                "https://e.example.org/",
                "http://f.example.org/",
            ],
            "strategy": "unsafe-best-match",
            "offline": True,
        },
        "uvnas_python_mirror": "file:///srv/pythons",
        "uvnas_profile_variables": {"UV_HTTP_TIMEOUT": 60, "UV_OFFLINE": False},
    }
    done = bare.play({"dev": variables}, "-vvvv", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (bare.profile("dev") / "uvnas.sh").read_text(encoding="utf-8")
    assert dict(re.findall(r"export (UV_\w+)='(.*?)';", text)) == {
        "UV_DEFAULT_INDEX": "https://mirror.example.org/simple",
        "UV_INDEX": "https://b.example.org/simple c=http://c.example.org",
        "UV_FIND_LINKS": "https://e.example.org/,http://f.example.org/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_PYTHON_DOWNLOADS": "manual",
        "UV_HTTP_TIMEOUT": "60",
        "UV_OFFLINE": "false",
    }
    assert "UV_FIND_LINKS, UV_INDEX: URLs with credentials are not exported" in " ".join(
        (done.stdout + done.stderr).split()
    )
    assert "geheim" not in done.stdout + done.stderr + text


@pytest.mark.compat
def test_a_secret_among_the_variables_is_refused_on_the_controller(bare: Site) -> None:
    secret = {"uvnas_profile_variables": {"UV_INDEX": "https://alice:geheim@a.example.org/simple"}}
    done = bare.play({"dev": secret}, "-vvvv")
    assert recap(done, "dev")["failed"] == 1
    assert "UV_INDEX contains credentials, which everybody could read: https://****@a.example.org" in done.stderr
    assert "geheim" not in done.stdout + done.stderr
    # The module did not start.
    assert "EXEC" not in done.stdout
    assert not (bare.directory / "hosts").exists()


def test_variables_of_the_profile_win(bare: Site) -> None:
    variables = {
        "uvnas_index": {"default": "https://alice:geheim@mirror.example.org/simple"},
        "uvnas_python_mirror": "https://pythons.example.org",
        "uvnas_profile_variables": {
            "UV_DEFAULT_INDEX": "https://public.example.org/simple",
            "UV_PYTHON_INSTALL_MIRROR": None,
        },
    }
    done = bare.play({"dev": variables})
    assert done.returncode == 0, done.stdout + done.stderr
    text = (bare.profile("dev") / "uvnas.sh").read_text(encoding="utf-8")
    assert "export UV_DEFAULT_INDEX='https://public.example.org/simple'" in text
    assert "UV_PYTHON_INSTALL_MIRROR" not in text
    assert "credentials" not in done.stdout + done.stderr


def test_shells_that_start_meanwhile_read_the_old_file_or_the_new_one(bare: Site) -> None:
    """The files are replaced while a shell reads one of them over and over."""
    assert bare.play({"dev": {}}).returncode == 0
    file = bare.profile("dev") / "uvnas.sh"
    go = bare.directory / "go"
    go.touch()
    with subprocess.Popen(
        ["sh", "-c", 'while [ -e "$1" ]; do tail -n 1 "$2"; done | sort | uniq -c', "sh", go, file],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as reader:
        for timeout in (1, 2):
            done = bare.play({"dev": {"uvnas_profile_variables": {"UV_HTTP_TIMEOUT": timeout}}})
            assert recap(done, "dev")["changed"] == 1
        go.unlink()
        ((count, last_line),) = [line.split() for line in reader.communicate()[0].splitlines()]
    assert int(count) > 1
    assert last_line == "fi"


def test_rendered_sh_pleases_shellcheck(site: Site) -> None:
    done = subprocess.run(
        ["shellcheck", "--shell=sh", site.profile("dev") / "uvnas.sh", site.profile("private") / "uvnas.sh"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
