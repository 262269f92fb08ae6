# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What alice finds when she logs in, in every shell and every kind of session, as in roles/profile/README.md."""

from __future__ import annotations

import pytest

SHELLS = ("sh", "bash", "zsh", "tcsh", "fish")
ROOT_OF = {"nas_a": "/mnt/nas-a/uv", "nas_b": "/mnt/nas-b/uv"}
# Which shells read the settings, by kind of session. dev1 has the lines from the README, node-a1 is as Debian ships it.
READ = {
    "dev1": {"login": SHELLS, "interactive": ("bash", "fish"), "command": ("fish",)},
    "node-a1": {"login": ("sh", "bash", "fish"), "interactive": ("fish",), "command": ("fish",)},
}
ACTIVATE = {"tcsh": "source {}/bin/activate.csh", "fish": "source {}/bin/activate.fish"}
# Shells in which uv is an alias, and the share's bin is not in PATH.
ALIASES = ("tcsh",)


@pytest.fixture(params=SHELLS, scope="module")
def shell(request, machines):
    """Alice's login shell, on all hosts of the tests."""
    for host in READ:
        machines.root(host, f"usermod --shell /bin/{request.param} alice")
    yield request.param
    for host in READ:
        machines.root(host, "usermod --shell /bin/bash alice")


def ssh(machines, host, *, typed="", command="", tty=False):
    """Log in to a host as alice, from root on dev1. ``typed`` goes to a terminal."""
    return machines["dev1"].run(
        "printf %s %s | timeout 60 ssh %s -o StrictHostKeyChecking=no -o LogLevel=ERROR alice@%s %s",
        "%s",
        typed,
        "-tt" if tty else "-T",
        host,
        command,
    )


def seen(machines, host, way, lines=""):
    """The variables of alice's session, after she types ``lines``."""
    machines.root(host, "rm -f /home/alice/seen")
    typed = f"{lines}env > /home/alice/seen\nexit\n"
    shell = machines.root(host, "getent passwd alice").strip().rpartition(":")[2]
    if way == "login":
        done = ssh(machines, host, typed=typed, tty=True)
    elif way == "interactive":
        clean = "exec env -i HOME=/home/alice USER=alice TERM=dumb PATH=/usr/bin:/bin"
        done = ssh(machines, host, typed=typed, command=f"{clean} {shell} -i", tty=True)
    else:
        done = ssh(machines, host, command="env > /home/alice/seen")
    assert machines[host].file("/home/alice/seen").exists, done.stdout + done.stderr
    text = machines.root(host, "cat /home/alice/seen")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@pytest.mark.parametrize("way", ["login", "interactive", "command"])
@pytest.mark.parametrize("host", READ)
def test_exports(machines, shell, host, way):
    found = seen(machines, host, way)
    ours = {name: value for name, value in found.items() if name.startswith(("UV_", "UVNAS_"))}
    if shell not in READ[host][way]:
        assert ours == {}
        assert ROOT_OF["nas_a"] not in found["PATH"]
        return
    root = ROOT_OF["nas_a"]
    assert {name: value for name, value in ours.items() if not name.startswith("UVNAS_SET_")} == {
        "UV_INSTALL_DIR": f"{root}/bin",
        "UV_CACHE_DIR": f"{root}/user-cache/alice",
        "UV_PYTHON_INSTALL_DIR": f"{root}/python",
        "UV_PYTHON_DOWNLOADS": "manual",
        "UVNAS_SHARE": "nas_a",
        "UVNAS_ROOT": root,
    }
    if shell not in ALIASES:
        # Debian's login fish appends missing standard directories after ours.
        later = found["PATH"].split(":" + f"{root}/bin", 1)[1].split(":")
        assert later == [""] or (shell == "fish" and way == "login" and later == ["", "/usr/local/games"])


@pytest.mark.parametrize("way", ["login", "interactive", "command"])
def test_uv_is_found(machines, shell, way):
    if way == "command":
        done = ssh(machines, "dev1", command="uv --version")
        assert (done.stdout.startswith("uv ")) == (shell in READ["dev1"]["command"])
        return
    machines.root("dev1", "rm -f /home/alice/version")
    seen(machines, "dev1", way, "uv --version > /home/alice/version\n")
    assert machines.root("dev1", "cat /home/alice/version").startswith("uv ") == (shell in READ["dev1"][way])


@pytest.mark.parametrize("share", ROOT_OF)
def test_an_environment_of_her_own(machines, shell, share):
    people = ROOT_OF[share].replace("/uv", "/people/alice")
    env = f"{people}/{shell}"
    machines.root("dev1", f"rm -rf {env} /home/alice/during /home/alice/prefix")
    activate = ACTIVATE.get(shell, ". {}/bin/activate").format(env)
    lines = [
        f"uvnas_use {share}",
        f"uv venv --quiet --python {machines.series} {env}",
        activate,
        "uv pip install --quiet rich",
        "env > /home/alice/during",
        "python -c 'import sys, rich; print(sys.prefix)' > /home/alice/prefix",
        "deactivate",
    ]
    after = seen(machines, "dev1", "login", "\n".join(lines) + "\n")
    during = machines.root("dev1", "cat /home/alice/during")
    assert f"\nVIRTUAL_ENV={env}\n" in f"\n{during}"
    assert machines.root("dev1", "cat /home/alice/prefix").strip() == env
    assert "VIRTUAL_ENV" not in after
    assert env not in after["PATH"]
    assert after["UVNAS_SHARE"] == share

    module = f"{env}/lib/python{machines.series}/site-packages/rich/console.py"
    assert f"{ROOT_OF[share]}/python/" in machines.root("dev1", f"readlink -f {env}/bin/python")
    if share == "nas_b":
        # The same file as in the cache.
        number = machines.root("dev1", f"stat -c %i {module}").strip()
        assert machines.root("dev1", f"find {ROOT_OF[share]}/user-cache/alice -inum {number}") != ""
    else:
        # A clone: another file that shares its blocks with the one in the cache.
        assert machines.root("dev1", f"stat -c %h {module}").strip() == "1"
        assert "shared" in machines.root("dev1", f"filefrag -v {module}")


def test_root_is_left_alone(machines, shell):
    for host in READ:
        for command in (
            f"su - root -s /bin/{shell} -c env",
            f"env -i HOME=/root PATH=/bin TERM=dumb /bin/{shell} -i -c env",
        ):
            found = machines.root(host, f"{command} 2>/dev/null")
            assert "UV_" not in found
            assert "UVNAS_" not in found
            assert "/uv/" not in found
