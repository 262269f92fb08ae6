# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands: what they are given, what becomes of what they say, and when they are ended."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import process
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed, SystemRunner

RUNNER = SystemRunner()
IMPORT = f"import os, sys\nsys.path[:] = {sys.path!r}\nfrom {process.__name__} import die_with\n"


def test_a_command(tmp_path: Path) -> None:
    script = 'echo "$A ${B-unset} $PWD"; echo said >&2; umask; exit 3'
    done = RUNNER.run(["/bin/sh", "-c", script], variables={"A": "a b"}, cwd=str(tmp_path))
    assert done == Completed(3, f"a b unset {tmp_path}\n0022\n", "said\n")


def test_a_command_has_no_input() -> None:
    assert RUNNER.run(["cat"]) == Completed(0, "", "")


def test_a_command_has_the_variables_that_it_is_given_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "1")
    assert RUNNER.run(["/usr/bin/env"], variables={"A": "1"}) == Completed(0, "A=1\n", "")
    assert RUNNER.run(["/usr/bin/env"], variables={}) == Completed(0, "", "")
    assert "MINE=1\n" in RUNNER.run(["/usr/bin/env"]).stdout


def test_a_command_may_say_what_is_no_text() -> None:
    assert RUNNER.run(["printf", r"\377"]).stdout == "\ufffd"


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="cannot run /nowhere/uv: No such file or directory") as caught:
        RUNNER.run(["/nowhere/uv", "--version"])
    assert (caught.value.cmd, caught.value.rc) == (["/nowhere/uv", "--version"], errno.ENOENT)


def test_check_shows_no_passwords() -> None:
    cmd = ["sh", "-c", "echo https://u:s3cret@a.example >&2; echo ssh://u:s3cret@b.example; exit 1"]
    done = RUNNER.run(cmd)
    with pytest.raises(CommandError, match="it failed") as caught:
        process.check(done, cmd, "it failed", hint="Try.")
    assert "s3cret" not in repr(caught.value.as_dict())
    assert caught.value.explain() == "it failed\nhttps://****@a.example\nTry."
    assert caught.value.rc == 1
    assert process.check(Completed(0, "", ""), cmd, "it failed") == Completed(0, "", "")


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(CommandError, match="/bin/sleep timed out after 0.2 s"):
        RUNNER.run(["/bin/sleep", "600"], timeout=0.2)


def test_so_is_what_it_started() -> None:
    """Which holds the other ends of the pipes."""
    script = "sleep 600 & echo $!; echo waiting >&2; wait"
    with pytest.raises(CommandError, match="/bin/sh timed out after 0.5 s") as caught:
        RUNNER.run(["/bin/sh", "-c", script], timeout=0.5)
    assert caught.value.stderr == "waiting\n"
    # A zombie for a while, perhaps, but nothing that runs. Somebody else may have to bury it.
    status = Path(f"/proc/{int(caught.value.stdout)}/stat")
    deadline = time.monotonic() + 60
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        while status.read_text().rpartition(")")[2].split()[0] not in "ZX":
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_daemon_that_it_started_keeps_nobody_waiting() -> None:
    script = "setsid sleep 600 & echo $!; sleep 600"
    with pytest.raises(CommandError, match="/bin/sh timed out after 0.5 s") as caught:
        RUNNER.run(["/bin/sh", "-c", script], timeout=0.5)
    os.kill(int(caught.value.stdout), signal.SIGKILL)  # It lives: nobody waited for its end.


def test_a_command_ends_with_the_process_that_runs_it() -> None:
    ends = RUNNER.run([sys.executable, "-c", f"{IMPORT}die_with(os.getppid() + 1); print('lives')"])
    assert (ends.rc, ends.stdout) == (-signal.SIGKILL, "")
    lives = RUNNER.run([sys.executable, "-c", f"{IMPORT}die_with(os.getppid()); print('lives')"])
    assert (lives.rc, lives.stdout) == (0, "lives\n")
