# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a benchmark runs: a directory with a share, inventories and playbooks, and timed runs of ansible-playbook."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import pwd
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import memory

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BIN = Path(sys.prefix) / "bin"
SERIES = ".".join(platform.python_version_tuple()[:2])
BUILDER = "builder"

# Wraps the Python of the modules: records what time each takes, and traces it on request.
WRAPPER = """\
#!/bin/sh
case "$1" in
    *AnsiballZ_*) ;;
    *) exec {python} "$@" ;;
esac
name=$(basename "$1" .py)
begin=$(date +%s.%N)
if [ -n "${{BENCHMARK_TRACES:-}}" ]; then
    strace -f -y -s 4096 -qq -e trace=%file,getdents64,read,close -o "$BENCHMARK_TRACES/$name.$$" {python} "$@"
else
    {python} "$@"
fi
rc=$?
# In a file of its own, as several may end at once; times(1p) has the seconds of processors.
{{ echo "${{name#AnsiballZ_}} $begin $(date +%s.%N)"; times; }} >"$BENCHMARK_MODULES.$$"
exit $rc
"""


class BenchmarkError(Exception):
    """Something failed, so there is nothing to measure."""


class Cost(t.NamedTuple):
    """Seconds on the clock, and of processors."""

    seconds: float
    cpu_seconds: float


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of ansible-playbook: its seconds, those of its tasks, and what its modules cost."""

    seconds: float
    tasks: list[dict[str, t.Any]]
    modules: list[tuple[str, Cost]]
    traces: list[Path]
    # Of all its processes, modules too.
    cpu_seconds: float
    # Peak memory of the controller in bytes: of its main process, and including forks where that was sampled.
    main_memory: int
    all_memory: int

    def task(self, action: str) -> float:
        return sum(task["seconds"] for task in self.tasks if task["action"].endswith(action))

    def module(self, name: str) -> Cost:
        """What a module cost; of several executions, that of the longest."""
        return max((cost for module, cost in self.modules if module.endswith(name)), default=Cost(0.0, 0.0))

    def executions(self, host: str) -> int:
        """How many tasks a host executed, including skipped ones, excluding those that run once for all hosts."""
        return sum(task["host"] == host and not task["once"] for task in self.tasks)

    def has_changed(self, action: str = "") -> bool:
        return any(task["changed"] for task in self.tasks if task["action"].endswith(action))


class Arena:
    """A directory for one benchmark. Its share, with uv and an interpreter, is made on first use."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.share = directory / "share"
        self.second = directory / "second"
        # All hosts are this machine. Names of more hosts, and settings of Ansible (environment variables).
        self.members: list[str] = []
        self.settings: dict[str, str] = {}
        self.sample_memory = False
        self._runs = 0
        self._ready = False
        self.wrapper = self._file("python", WRAPPER.format(python=shlex.quote(sys.executable)))
        self.wrapper.chmod(0o755)

    def prepare(self) -> None:
        """Make the share with uv and an interpreter, which all contestants use."""
        if not self._ready:
            roles = [f"uvnas.cluster.{role}" for role in ("share", "uv", "python")]
            self.play([{"hosts": "all", "gather_facts": False, "roles": roles}], [])
            self._ready = True

    @property
    def uv(self) -> Path:
        return self.share / "bin" / "uv"

    @property
    def python(self) -> Path:
        """The interpreter on the share."""
        found = list((self.share / "python").glob(f"cpython-{platform.python_version()}-*/bin/python{SERIES}"))
        if len(found) != 1:
            raise BenchmarkError(
                f"one interpreter {platform.python_version()} was to be on the share, not {len(found)}"
            )
        return found[0]

    def lock(self, name: str) -> Path:
        return self.share / "locks" / f"{name}.txt"

    def converge(self, environments: list[dict[str, t.Any]], *, trace: bool = False, **variables: t.Any) -> Run:
        """Run the role envs."""
        self.prepare()
        play = {"hosts": "all", "gather_facts": False, "roles": ["uvnas.cluster.envs"]}
        return self.play([play], environments, trace=trace, **variables)

    def ping(self, environments: list[dict[str, t.Any]]) -> Run:
        """Run ansible.builtin.ping on the same inventory: what ansible-playbook and any module cost."""
        tasks = [{"name": "Ping", "ansible.builtin.ping": {}}]
        return self.play([{"hosts": "all", "gather_facts": False, "tasks": tasks}], environments)

    def site(self, environments: list[dict[str, t.Any]], **variables: t.Any) -> Run:
        """Run the whole site.yml."""
        return self._ansible_playbook(ROOT / "playbooks" / "site.yml", self._inventory(environments, **variables))

    def play(
        self,
        plays: list[dict[str, t.Any]],
        environments: list[dict[str, t.Any]],
        *,
        trace: bool = False,
        **variables: t.Any,
    ) -> Run:
        playbook = self._file("play.yml", json.dumps(plays))
        return self._ansible_playbook(playbook, self._inventory(environments, **variables), trace=trace)

    def unpublish(self) -> None:
        """Remove the environments, but not locks, cache and interpreter, so that the next converge builds all, warm."""
        for path in (self.share / "envs", self.share / "generations"):
            for entry in path.iterdir():
                self.put_aside(entry)

    def put_aside(self, path: Path) -> None:
        """Have nothing at ``path``. Its files stay until the end, as deleting some slows down who makes others.

        ext4 without a journal gives nobody the inode of a file that was deleted in the last minutes, and looks at all
        of these again and again.
        """
        if not os.path.lexists(path):
            return
        aside = self.directory / "aside"
        aside.mkdir(exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
        path.rename(aside / str(len(os.listdir(aside))))

    def forget_bytecode(self) -> None:
        """Have nothing compiled, as if nothing had ever been built."""
        for entry in (self.share / "bytecode").iterdir():
            self.put_aside(entry)

    def empty_second_share(self) -> dict[str, t.Any]:
        """Have a second share with uv and an interpreter, but no environments, nor anything for them.

        Returns the variables of a site with both.
        """
        self.put_aside(self.second)
        owner = pwd.getpwuid(os.geteuid()).pw_name
        shares = [
            {"name": name, "root": str(root), "builder": BUILDER, "owner": owner}
            for name, root in (("benchmark", self.share), ("second", self.second))
        ]
        variables = {"uvnas_shares": shares}
        roles = [f"uvnas.cluster.{role}" for role in ("share", "uv", "python")]
        self.play([{"hosts": "all", "gather_facts": False, "roles": roles}], [], **variables)
        return variables

    def size_of(self, name: str) -> dict[str, int]:
        """The size in the manifest of the environment in force."""
        manifest = json.loads((self.share / "envs" / name / ".uvnas.json").read_text())
        return {key: int(value) for key, value in manifest["size"].items()}

    def bare_uv(self, name: str, target: Path, *, compiled: bool = True) -> Cost:
        """Build by hand, as people do, with the same lock, interpreter and cache."""
        begin = time.monotonic()
        environment = {**self.environment(), "UV_CACHE_DIR": str(self.share / "cache"), "UV_NO_CONFIG": "1"}
        environment |= {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "VIRTUAL_ENV": str(target)}
        made = run([self.uv, "venv", "--quiet", "-p", self.python, target], environment)
        sync = ["pip", "sync", "--quiet", "--require-hashes", "-p", target / "bin" / "python"]
        sync += ["--compile-bytecode"] if compiled else []
        synced = run([self.uv, *sync, self.lock(name)], environment)
        return Cost(time.monotonic() - begin, _cpu(made) + _cpu(synced))

    def environment(self) -> dict[str, str]:
        """Variables of every process: only the checkout's settings apply, and all files stay in the directory."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "tmp-controller"),
            "ANSIBLE_REMOTE_TMP": str(self.directory / "tmp"),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "benchmark_tasks",
            "ANSIBLE_NOCOLOR": "1",
            "XDG_CACHE_HOME": str(self.directory / "xdg-cache"),
            "PIP_CACHE_DIR": str(self.directory / "pip-cache"),
            "PIP_NO_INPUT": "1",
            **self.settings,
        }

    def _inventory(self, environments: list[dict[str, t.Any]], **variables: t.Any) -> Path:
        """The site of the benchmark, with nothing outside of its directory."""
        owner = pwd.getpwuid(os.geteuid()).pw_name
        site = {"name": "site", "version": platform.python_version(), "prefix": sys.base_prefix}
        site_variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(self.wrapper),
            "uvnas_shares": [{"name": "benchmark", "root": str(self.share), "builder": BUILDER, "owner": owner}],
            "uvnas_pythons": [SERIES],
            "uvnas_site_pythons": [site],
            "uvnas_profile_dir": str(self.directory / "profile.d"),
            "uvnas_profile_fish_dir": str(self.directory / "fish"),
            "__uvnas_state_dir": str(self.directory / "state"),
            "uvnas_envs": environments,
            **variables,
        }
        for name in ("profile.d", "fish"):
            (self.directory / name).mkdir(exist_ok=True)
        self._file("inventory/hosts.json", json.dumps({"all": {"hosts": dict.fromkeys([BUILDER, *self.members])}}))
        self._file("inventory/group_vars/all.json", json.dumps(site_variables))
        return self.directory / "inventory"

    def _ansible_playbook(self, playbook: Path, inventory: Path, *, trace: bool = False) -> Run:
        self._runs += 1
        notes = self.directory / f"run{self._runs}"
        notes.mkdir()
        environment = {
            **self.environment(),
            "BENCHMARK_TASKS": str(notes / "tasks"),
            "BENCHMARK_MODULES": str(notes / "modules"),
            "BENCHMARK_TRACES": str(notes) if trace else "",
        }
        begin = time.monotonic()
        sampler = memory.Sampler() if self.sample_memory else None
        watch = sampler.watch if sampler else contextlib.nullcontext
        command = [BIN / "ansible-playbook", "-i", inventory, playbook]
        usage = run(command, environment, cwd=self.directory, watch=watch)
        seconds = time.monotonic() - begin
        tasks = [json.loads(line) for line in _lines(notes / "tasks")]
        modules = [
            _module(_lines(path)) for path in sorted(notes.glob("modules.*"), key=lambda path: path.stat().st_mtime)
        ]
        return Run(
            seconds,
            tasks,
            modules,
            sorted(notes.glob("AnsiballZ_*")),
            _cpu(usage),
            usage.ru_maxrss * 1024,
            sampler.peak if sampler else 0,
        )

    def _file(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


def run(
    cmd: t.Sequence[str | Path],
    environment: dict[str, str],
    cwd: Path | None = None,
    watch: t.Callable[[int], t.ContextManager[object]] = contextlib.nullcontext,
) -> resource.struct_rusage:
    """Run a command, and return its resource usage. ``watch`` observes its process meanwhile.

    Raises BenchmarkError with the command's output if it fails.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        started = subprocess.Popen(cmd, env=environment, cwd=cwd, stdout=output, stderr=subprocess.STDOUT)
        with watch(started.pid):
            _pid, status, usage = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        if started.returncode:
            output.seek(0)
            tail = "\n".join(output.read().splitlines()[-40:])
            command = shlex.join(str(word) for word in cmd)
            raise BenchmarkError(f"{command} failed with exit code {started.returncode}:\n{tail}")
    return usage


def timed(work: t.Callable[[], t.Any]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def remove(path: Path) -> None:
    """Remove a tree, including read-only directories."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for directory, _names, _files in os.walk(path):
        os.chmod(directory, 0o700)
    shutil.rmtree(path)


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _module(lines: list[str]) -> tuple[str, Cost]:
    """What the wrapper has noted: begin and end, and then user and system time, of the shell and of its children."""
    (name, started, ended), _shell, children = (line.split() for line in lines)
    cpu = sum(60 * float(minutes) + float(rest) for minutes, rest in (each.rstrip("s").split("m") for each in children))
    return name, Cost(float(ended) - float(started), cpu)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
