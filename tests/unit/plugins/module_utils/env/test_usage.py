# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which generations and interpreters a text mentions, and who uses them."""

from __future__ import annotations

import os
import signal
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import usage
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import pin
from ansible_collections.uvnas.cluster.plugins.module_utils.host import evidence, slurm
from ansible_collections.uvnas.cluster.plugins.module_utils.host.evidence import Process
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import site_packages
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION

ID, OTHER = "0123456789ab", "ba9876543210"
KEY = "cpython-3.12.4-linux-x86_64-gnu"
SERIES = VERSION.rpartition(".")[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"/mnt/nas-a/uv/generations/train/{ID}", {f"train/{ID}"}),
        (f"/somewhere/else/generations/a.b+c-d_e/{ID}/lib/x.so (deleted)", {f"a.b+c-d_e/{ID}"}),
        (f"A=/m/generations/train/{ID}/bin:/bin\0B=/n/generations/two/{OTHER}", {f"train/{ID}", f"two/{OTHER}"}),
        (f"python '/m/generations/train/{ID}'", {f"train/{ID}"}),
        (f"/m/generations/train/.{ID}.uvnas-0123456789abcdef.tmp/bin/python", {f"train/{ID}"}),
        (f"cd /m/generations//train//{ID}&&python x.py", {f"train/{ID}"}),
        (f"[/m/generations/train/{ID}] $(</m/generations/two/{OTHER}|x)", {f"train/{ID}", f"two/{OTHER}"}),
        (f"UV=/m//python//{KEY}}}", {KEY}),
        ("/m/lib/uv//0.13.9>log", {"uv 0.13.9"}),
        ("/m/lib/uv/0.13.9rc1/uv /m/lib/uv/0.13.9.1/uv", set()),
        (f"/m/python/{KEY}-old/bin/python", set()),
        (f"/m/generations/train/{ID}0/lib", set()),
        (f"/m/generations/train/{ID[:-1]}/lib", set()),
        (f"/m/generations/../{ID}/lib", set()),
        (f"/m/regenerations/train/{ID}", set()),
        (f"/m/uv/python/{KEY}/bin/python3.12", {KEY}),
        (f"/m/python/.{KEY}.uvnas-0123456789abcdef.tmp/bin/python3.12", {KEY}),
        ("/m/python/cpython-3.13.1+freethreaded-linux-x86_64-gnu", {"cpython-3.13.1+freethreaded-linux-x86_64-gnu"}),
        ("/m/python/cpython-3.12-linux-x86_64-gnu/bin/python", set()),
        (f"/m/mypython/{KEY}", set()),
    ],
)
def test_what_a_text_mentions(text: str, found: set[str]) -> None:
    assert usage.find(text) == found


def test_a_host_with_more_than_anybody_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not told of it is not known."""
    found = [Process(pid, found=[f"train/{number:012x}" for number in range(50)]) for pid in range(500)]
    monkeypatch.setattr(evidence, "processes", lambda *_args, **_more: [*found, *(Process(9, unread="x"),) * 5000])
    told = usage.look()
    assert len(told["uses"]) == 20_000
    assert len(told["unread"]) == 1000
    assert {"pid": 400, "user": "", "command": "", "why": "more is in use on this host than can be told"} in told[
        "unread"
    ]
    assert [each["pid"] for each in told["unread"][:100]] == list(range(400, 500))


@pytest.fixture
def python(tmp_path: Path) -> t.Callable[[str], t.ContextManager[subprocess.Popen[str]]]:
    """Starts a Python of a generation at a path, which waits until its input ends."""

    def start(generation_id: str) -> subprocess.Popen[str]:
        generation = tmp_path / "generations" / "train" / generation_id
        subprocess.run(["python3", "-m", "venv", "--without-pip", generation], check=True)
        pin.write(str(generation), site_packages(str(generation), SERIES))
        link = tmp_path / "envs" / "train"
        link.parent.mkdir()
        link.symlink_to(f"../generations/train/{generation_id}")
        # Pure Python, started by the link, in another directory, with nothing open: nothing but its mark tells.
        code = "import os, sys; os.closerange(3, 99); print('up', flush=True); sys.stdin.read()"
        child = subprocess.Popen(
            [link / "bin" / "python", "-c", code],
            cwd="/",
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        return child

    return start


def test_a_python_of_a_generation_is_seen_by_its_mark(python: t.Callable[[str], t.Any], tmp_path: Path) -> None:
    with python(ID) as child:
        (use,) = [use for use in usage.look()["uses"] if use["pid"] == child.pid]
        assert (use["environment"], use["generation"], use["interpreter"], use["job"]) == ("train", ID, "", "")
        assert use["command"].startswith("python")
        # Also after it has been given the name of what is being removed.
        generation = tmp_path / "generations" / "train" / ID
        generation.rename(generation.with_name(f".{ID}.uvnas-0123456789abcdef.tmp"))
        assert [use["generation"] for use in usage.look()["uses"] if use["pid"] == child.pid] == [ID]
        child.stdin.close()
    assert child.pid not in [use["pid"] for use in usage.look()["uses"]]


def test_who_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usage.look()["is_root"] == (os.geteuid() == 0)


def test_which_host_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slurm, "cluster", lambda: "machines")
    (tmp_path / "stat").write_text("cpu 1 2 3\nbtime 1700000000\n")
    found = usage.look(proc=str(tmp_path))
    assert (found["cluster"], found["booted"]) == ("machines", "2023-11-14T22:13:20+00:00")
    (tmp_path / "stat").unlink()
    monkeypatch.setattr(slurm, "cluster", lambda: None)
    found = usage.look(proc=str(tmp_path))
    assert (found["cluster"], found["booted"]) == (None, "")


def test_a_configuration_of_slurm_on_a_nas_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slurm, "cluster", signal.pause)
    assert usage.look(proc=str(tmp_path), patience=0.3)["cluster"] == ""
