# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification as a whole, with a budget and without; repairs that are killed, kept waiting, or have nothing to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair import converge
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair.converge import Budget
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import SITE, WholeShare, not_done, wrong

COLLECTIONS = str(Path(converge.__file__).parents[7])
# Repairs in a process of its own, which can be killed.
DRIVER = """
import sys
from pathlib import Path
from ansible_collections.uvnas.cluster.tests.unit.whole_share import WholeShare
WholeShare(Path(sys.argv[1])).repair()
"""
ONE_BYTE = Budget(bytes_per_second=10**9, seconds=1e-9)


def test_a_budget_goes_on_where_it_stopped(made: WholeShare) -> None:
    """One tree at a time, and all of them in the end. Records take no part of it, however large the share is."""
    names = {tree["name"] for tree in made.verify()["trees"]}
    read: list[str] = []
    for _run in names:
        result = made.verify(budget=ONE_BYTE)
        new = [tree["name"] for tree in result["trees"] if tree["name"] not in read]
        assert {*read, *new, *result["remaining"]} == names
        read += new
        path = Path(made.layout.verified)
        known = json.loads(path.read_text())
        # As if each run were a second after the one before.
        known["read"] = {name: f"2026-01-01T00:00:{read.index(name):02}+00:00" for name in known["read"]}
        path.write_text(json.dumps(known))
    assert {*read} == names
    with (made.root / "user-cache" / "large").open("wb") as file:
        file.truncate(10**13)
    everything = made.verify(budget=Budget(bytes_per_second=10**9))
    assert everything["remaining"] == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 9}', '{"format": 1, "read": {"uv": 3, "gone": "x"}}'])
def test_what_is_remembered_is_damaged(made: WholeShare, content: str) -> None:
    path = Path(made.layout.verified)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    assert wrong(made.verify(budget=ONE_BYTE)) == set()
    assert "gone" not in json.loads(path.read_text())["read"]


def test_damage_in_a_tree_that_is_read_alone(made: WholeShare) -> None:
    """What only others can tell of it is found as well."""
    record = whole_share.unpacked(made.root, "alpha") / "alpha-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text().replace("sha256=", "sha256=A", 1))
    found: set[tuple[str, str]] = set()
    for _run in made.verify()["trees"]:
        found |= wrong(made.verify(budget=ONE_BYTE, remember=True))
        path = Path(made.layout.verified)
        known = json.loads(path.read_text())
        known["read"] = dict.fromkeys(known["read"], "2026-01-01T00:00:00+00:00")
        path.write_text(json.dumps(known))
    assert found == {("alpha-1.0.dist-info/RECORD", "content")}


def test_somebody_holds_the_mutex(made: WholeShare) -> None:
    made.file("alpha/core.py").write_text("damage")
    code = "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.lockf(file, 2); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, made.layout.mutex], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UvnasError, match="another process is working on"):
            made.repair()
        holder.communicate(b"\n")
    assert made.file("alpha/core.py").read_text() == "damage"
    assert (f"{SITE}/alpha/core.py", "content") in wrong(made.verify())


def test_what_changes_while_it_is_read_is_not_wrong(made: WholeShare, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nothing holds the mutex: a prune may be at work."""
    look, looks = converge.look, 0

    def looking(*given: t.Any, **more: t.Any) -> t.Any:
        nonlocal looks
        looks += 1
        if looks == 1:
            os.rename(made.generation(), made.root / "away")
        return look(*given, **more)

    monkeypatch.setattr(converge, "look", looking)
    env = made.root / "envs" / "train"
    target = os.readlink(env)
    result = made.verify()
    assert os.readlink(env) == target
    assert {place for place, _what in wrong(result)} <= {"envs/train"}


def test_generations_of_earlier_versions(made: WholeShare) -> None:
    """No digest in the manifest, no copies, nothing on modes and bytecode: said, and not damaged."""
    top = made.generation()
    listed = json.loads((top / ".uvnas-files.json").read_text())
    del listed["executables"], listed["uncompiled"]
    text = json.dumps(listed, indent=1, sort_keys=True) + "\n"
    whole_share.write(top / ".uvnas-files.json", text.encode())
    manifest = json.loads((top / ".uvnas.json").read_text())
    del manifest["sha256"]
    manifest["content"]["files"] = whole_share.sha256(text.encode())
    whole_share.write(top / ".uvnas.json", json.dumps(manifest).encode())
    (top / ".uvnas.json").chmod(0o444)
    whole_share.remove(top / ".uvnas-spare")
    result = made.verify()
    assert wrong(result) == set()
    (tree,) = (tree for tree in result["trees"] if tree["notes"])
    assert "earlier version" in tree["notes"][0]
    assert not made.repair()["changed"]


def test_names_of_all_kinds_can_be_told(made: WholeShare) -> None:
    """Control characters, no UTF-8, and names as long as they may be."""
    top = made.generation()
    top.chmod(0o755)
    names = [b"\x1b[31mred\n", b"\xff\xfe", b"x" * 255]
    for name in names:
        Path(os.fsdecode(bytes(top) + b"/" + name)).touch()
    os.symlink("y" * 4000, top / "long")
    top.chmod(0o555)
    result = made.verify()
    assert {place for place, _what in wrong(result)} == {os.fsdecode(name) for name in (*names, b"long")}
    assert json.loads(json.dumps(result)) == result
    assert not_done(made.repair(remove=True)) == {}
    assert made.differences() == []


@pytest.mark.parametrize("operation", ["rename", "chmod|fchmod"])
def test_killed_at_any_step(made: WholeShare, tmp_path: Path, operation: str) -> None:
    """SIGKILL at the first, second, … such call. What is right stays right, and the next repair mends the rest."""
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS, "PYTHONDONTWRITEBYTECODE": "1"}
    trace = tmp_path / "trace"
    killed = 0
    while True:
        broken = whole_share.copy_of(made, tmp_path / f"uv-{killed}")
        for place in ("alpha/core.py", "alpha/data.bin"):
            path = broken.file(place)
            whole_share.remove(path)
            whole_share.add(path, b"damage")
        whole_share.remove(broken.pyc("alpha/__init__.py"))
        whole_share.write(broken.generation() / "pyvenv.cfg", b"")
        before = wrong(broken.verify())
        cmd = ["strace", "-f", "-o", trace, "-e", f"trace=/^({operation})$"]
        cmd += ["-e", f"inject=/^({operation})$:signal=KILL:when={killed + 1}"]
        subprocess.run([*cmd, sys.executable, "-c", DRIVER, broken.root], env=environment, check=False)
        if "SIGKILL" not in trace.read_text():
            break
        killed += 1
        assert {each for each in wrong(broken.verify()) - before if each[1] not in ("mode", "undeclared")} == set()
        assert not_done(broken.repair()) == {}
        # (A tree that counts as unsealed, and is sealed, is the next run of site.yml's.)
        assert [line for line in broken.differences() if "/.uvnas.json:" not in line] == []
    assert killed >= 1
