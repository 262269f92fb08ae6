# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is printed while environments are locked and built, and what is written down of it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import re
import signal
import stat
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host.mutex import hold
from ansible_collections.uvnas.cluster.tests.support import pythons
from ansible_collections.uvnas.cluster.tests.support.processes import other_process
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, finish, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_sdist, write_small_wheel

# Lines of progress, of a module's environments and interpreters.
LINE = re.compile(r"^nas_a: .*", re.MULTILINE)
# Connection plugins: each is the local one, but for the second of a process, that of the thread.
CONNECTION = """
from ansible.plugins.connection.local import DOCUMENTATION, Connection as Local
import os, threading, time

class Connection(Local):
    transport = "{name}"

    def exec_command(self, *args, **kwargs):
        if threading.current_thread() is not threading.main_thread():
            with open({said!r}, "a") as said:
                said.write("second\\n")
            {wrong}
        return super().exec_command(*args, **kwargs)
"""
CALLBACK = """
import json
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = "name: json\\ntype: stdout\\nshort_description: JSON\\ndescription: JSON"

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "json"
    tasks = 0

    def v2_runner_on_ok(self, result):
        self.tasks += 1

    def v2_playbook_on_stats(self, stats):
        print(json.dumps({"tasks": self.tasks}))
"""
SLOW: dict[str, t.Any] = {"name": "slow", "requirements": ["alpha"], "checks": ["sleep 13"]}


HOLD = f"""
from {hold.__module__} import hold
with hold(sys.argv[1], timeout=0, purpose="elsewhere"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def lines(run: Run) -> list[str]:
    return LINE.findall(run.output)


def stages(run: Run, env: str) -> list[str]:
    """The stages of an environment that were printed."""
    return re.findall(rf"^nas_a: {re.escape(env)}: (\w+)", run.output, re.MULTILINE)


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def with_connection(site: Site, name: str, wrong: str = "pass") -> Site:
    """The site, and how often a second connection was used in ``said``."""
    plugins = site.path / "connections"
    plugins.mkdir(exist_ok=True)
    (plugins / f"{name}.py").write_text(CONNECTION.format(name=name, said=str(site.path / f"said-{name}"), wrong=wrong))
    process = {**site.process, "ANSIBLE_CONNECTION_PLUGINS": str(plugins)}
    return dataclasses.replace(site, process=process, variables={**site.variables, "ansible_connection": name})


def second_connections(site: Site, name: str) -> int:
    path = site.path / f"said-{name}"
    return len(path.read_text().split()) if path.exists() else 0


def left(env: str) -> set[str]:
    """What modules that worked on an environment have left in /tmp. Other tests may be at work, too."""
    found = set()
    for name in os.listdir("/tmp"):
        with contextlib.suppress(OSError):
            if name.startswith("uvnas-progress-") and f'"{env}"' in Path(f"/tmp/{name}/events").read_text():
                found.add(name)
    return found


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A site with an interpreter and a small environment."""
    links = public / "links"
    for name in ("alpha", "beta"):
        write_small_wheel(links, name, "1.0")
    write_small_sdist(links, "noisy", "1.0", {}, before="import sys; print('how noisy', file=sys.stderr)\n")
    made = make_site(public / "site", {"uvnas_index": {"find_links": [str(links)], "offline": True}})
    run = succeeded(made.run([{"name": "first", "requirements": ["alpha", "beta"], "imports": ["alpha"]}]))
    building = ["building", "compiling", "testing", "syncing", "published"]
    assert stages(run, "first") == ["locking", "locked", *building], run.output
    assert re.search(
        r"^nas_a: cpython-\S+: installing\n(.*\n)*nas_a: cpython-\S+: installed, ", run.output, re.MULTILINE
    )
    assert re.search(r"^nas_a: first: locked, 2 packages, [0-9.]+ s; log: /", run.output, re.MULTILINE)
    return made


def test_what_takes_long_is_seen_while_it_goes_on(site: Site) -> None:
    started = site.start([SLOW])
    assert started.stdout is not None
    seen: list[tuple[float, str]] = []
    for line in started.stdout:
        seen.append((time.monotonic(), line))
    assert started.wait() == 0, "".join(line for _when, line in seen)
    progress = [(when, line) for when, line in seen if line.startswith("nas_a: ")]
    at = {line.split()[2].strip(",\n"): when for when, line in progress if "still" not in line}
    still = [line for _when, line in progress if "still" in line]
    assert at["published"] - at["testing"] > 9
    assert still
    assert re.fullmatch(r"nas_a: still testing slow \([0-9]+ s\)\n", still[0]), still
    gaps = [after[0] - first[0] for first, after in itertools.pairwise(progress)]
    assert max(gaps) < 12, progress
    assert left("slow") == set()


def test_who_waits_for_another_run_sees_for_whom(site: Site) -> None:
    mutex = site.share / ".uvnas.mutex"
    with other_process(HOLD, mutex) as holder:
        started = site.start([{"name": "waited", "requirements": ["alpha"]}])
        assert started.stdout is not None
        seen = ""
        for line in started.stdout:
            seen += line
            if line.startswith("nas_a: mutex: waiting, as host "):
                break
        assert re.search(rf", pid {holder.pid}, since \S+ \(elsewhere\) holds it$", seen, re.MULTILINE), seen
        holder.communicate(timeout=60)
        seen = started.stdout.read()
        assert started.wait() == 0, seen
    assert re.search(r"^nas_a: mutex: taken, [0-9.]+ s$", seen, re.MULTILINE), seen
    assert left("waited") == set()


def test_a_run_with_nothing_to_do_says_nothing_and_connects_once(site: Site) -> None:
    envs: list[dict[str, t.Any]] = [{"name": "quiet", "requirements": ["alpha"]}]
    succeeded(site.run(envs))
    watched = with_connection(site, "counted")
    run = succeeded(watched.run(envs))
    assert (run.changed, lines(run), second_connections(watched, "counted")) == (0, [], 0)


def test_it_can_be_turned_off(site: Site) -> None:
    watched = with_connection(site, "off")
    run = succeeded(watched.run([{**SLOW, "name": "off", "checks": ["sleep 6"]}], uvnas_progress=False))
    assert (lines(run), second_connections(watched, "off")) == ([], 0)
    assert run.environments["off"]["action"] == "build"


def test_a_check_says_what_it_resolves_and_leaves_no_log(site: Site) -> None:
    run = succeeded(site.run([{"name": "later", "requirements": ["alpha"]}], "--check"))
    assert stages(run, "later") == ["locking", "locked"]
    assert not (site.share / "logs" / "later").exists()


def test_json_stays_json(site: Site) -> None:
    """A callback of its own, that of ansible.posix in short: that collection need not be there."""
    plugins = site.path / "callbacks"
    plugins.mkdir()
    (plugins / "json.py").write_text(CALLBACK)
    process = {**site.process, "ANSIBLE_STDOUT_CALLBACK": "json", "ANSIBLE_CALLBACK_PLUGINS": str(plugins)}
    quiet = with_connection(dataclasses.replace(site, process=process), "json")
    run = succeeded(quiet.run([{**SLOW, "name": "json", "checks": ["sleep 6"]}]))
    assert (lines(run), second_connections(quiet, "json")) == ([], 0)
    assert json.loads(run.output.partition("\n")[2])["tasks"] > 5


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("raising", "raise RuntimeError('no second one')"),
        ("hanging", "time.sleep(3600)"),
        ("lying", "return 0, b'BEGIN-0\\n{}\\nEND-0\\n' * 99, b''"),
        ("failing", "return 1, b'', b'no'"),
    ],
)
def test_a_second_connection_that_cannot_be_had_harms_nothing(site: Site, name: str, wrong: str) -> None:
    watched = with_connection(site, name, wrong)
    began = time.monotonic()
    run = succeeded(watched.run([{**SLOW, "name": name, "checks": ["sleep 6"]}]))
    assert second_connections(watched, name) >= 1
    assert time.monotonic() - began < 60
    # What was not seen meanwhile is said at the end.
    assert stages(run, name)[-1] == "published"
    assert "no second one" not in run.output
    assert run.environments[name]["action"] == "build"


def test_with_pipelining_it_is_the_same(site: Site) -> None:
    fast = dataclasses.replace(site, process={**site.process, "ANSIBLE_PIPELINING": "1"})
    run = succeeded(fast.run([{**SLOW, "name": "pipelined", "checks": ["sleep 5"]}]))
    assert stages(run, "pipelined") == ["locking", "locked", "building", "testing", "syncing", "published"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody")
@pytest.mark.parametrize("user", ["root", pythons.owner()])
def test_it_becomes_whom_the_task_becomes(site: Site, user: str) -> None:
    """By sudo. As somebody else than the task it could not look into the directory."""
    process = {**site.process, "ANSIBLE_BECOME_ALLOW_SAME_USER": "1"}
    watched = with_connection(dataclasses.replace(site, process=process), f"become-{user}".replace("-", "_"))
    become = {"ansible_become": True, "ansible_become_user": user, "ansible_become_method": "ansible.builtin.sudo"}
    if user != "root":
        become.update(ansible_python_interpreter="/usr/bin/python3")
    wanted = {**SLOW, "name": f"become-{user}", "checks": ["sleep 11"]}
    run = succeeded(finish(watched.start([wanted], play="uvnas.cluster.envs", **become)))
    assert stages(run, wanted["name"])[-1] == "published"
    assert f"nas_a: still testing {wanted['name']} (" in run.output, run.output
    assert second_connections(watched, f"become_{user}") >= 1


def test_a_module_that_is_killed_leaves_nothing(site: Site) -> None:
    started = site.start([{**SLOW, "name": "killed", "checks": ["sleep 60"]}])
    deadline = time.monotonic() + 60
    found: set[str] = set()
    while not found and time.monotonic() < deadline:
        time.sleep(0.2)
        for name in left("killed"):
            with contextlib.suppress(OSError):
                if "testing" in Path(f"/tmp/{name}/events").read_text():
                    found.add(name)
    (directory,) = found
    for pid in holders(f"/tmp/{directory}/events"):
        os.kill(pid, signal.SIGKILL)
    run = finish(started, 60)
    assert run.rc != 0
    assert directory not in os.listdir("/tmp")
    succeeded(site.run([{**SLOW, "name": "killed", "checks": []}]))


def holders(path: str) -> list[int]:
    """The processes that have a file open."""
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            opened = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if path in opened:
            found.append(pid)
    return found


# Logs


def test_logs_have_what_uv_said_and_are_named(site: Site) -> None:
    run = succeeded(site.run([{"name": "noisy", "requirements": ["noisy"], "checks": ["echo checked it"]}]))
    build, lock = (site.share / "logs" / "noisy" / f"{name}.log" for name in ("build", "lock"))
    text = build.read_text()
    assert "pip sync" in text
    assert " + noisy==1.0" in text
    assert "checked it" in text
    assert text.endswith("# done\n")
    assert "Resolved 1 package" in lock.read_text()
    assert run.environments["noisy"]["log"] == str(build)
    assert re.search(rf"^nas_a: noisy: published, [0-9a-f]+, [0-9.]+ s; log: {build}$", run.output, re.MULTILINE)
    for path in (build, lock):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.owner() == site.share.owner()
    # They are no part of what is published, and stay as long as its files.
    succeeded(finish(site.start([], playbook=Path(__file__).parents[2] / "playbooks" / "verify.yml")))
    succeeded(site.run([{"name": "noisy", "state": "absent"}]))
    assert build.exists()


def test_a_build_without_a_log_names_none(site: Site) -> None:
    (site.share / "logs" / "bare").write_text("in the way")
    run = succeeded(site.run([{"name": "bare", "requirements": ["alpha"], "imports": ["alpha"]}]))
    assert stages(run, "bare")[-1] == "published"
    assert (run.environments["bare"]["action"], run.environments["bare"].get("log")) == ("build", None)
    assert "bare/build.log" not in run.output


def test_a_failure_names_its_log(site: Site) -> None:
    envs = [
        {"name": "unbuilt", "requirements": ["alpha"], "checks": ["echo it is broken >&2; false"]},
        {"name": "unlocked", "requirements": ["nosuchthing"]},
    ]
    run = site.run(envs)
    assert run.rc == 2
    assert stages(run, "unbuilt")[-1] == stages(run, "unlocked")[-1] == "failed"
    for env, name in (("unbuilt", "build"), ("unlocked", "lock")):
        path = site.share / "logs" / env / f"{name}.log"
        assert f"Its log: {path}" in run.output
        assert "# failed: environment " in path.read_text()
    assert "it is broken" in (site.share / "logs" / "unbuilt" / "build.log").read_text()
    # Errors are what they were: without what uv said on its way.
    assert "Resolved" not in run.output.partition("PLAY RECAP")[0]
