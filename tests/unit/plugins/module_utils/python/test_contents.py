# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of what is in an interpreter: what vouches for it, and what becomes of it when bytecode comes later."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.python import contents
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import Interpreter
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.tests.support.shares import KEY, make_share

PLAIN = Interpreter(KEY, "3.12.4", "1" * 64)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(str(make_share(tmp_path / "uv")))
    (Path(layout.python) / KEY / "bin").mkdir(parents=True)
    (Path(layout.python) / KEY / "bin" / "python3.12").write_text("program")
    return layout


def installed(layout: Layout, uncompiled: list[str] | None = None) -> Interpreter:
    listed = contents.take(layout, KEY, uncompiled)
    return dataclasses.replace(PLAIN, compiled=uncompiled is not None, files=listed)


def the_list(layout: Layout) -> Path:
    return Path(layout.interpreter_contents(KEY))


@pytest.mark.parametrize("uncompiled", [None, [], ["lib/python3.12/bad.py"]])
def test_what_was_installed(layout: Layout, uncompiled: list[str] | None) -> None:
    interpreter = installed(layout, uncompiled)
    found = contents.read(layout, interpreter)
    assert found is not None
    assert (list(found.files), found.uncompiled) == (["bin/python3.12"], uncompiled)
    assert interpreter.files == hashlib.sha256(the_list(layout).read_bytes()).hexdigest()


def test_what_is_not_on_record(layout: Layout) -> None:
    assert contents.read(layout, PLAIN) is None
    installed(layout)  # A list that no record names.
    assert contents.read(layout, PLAIN) is None
    before = the_list(layout).read_bytes()
    assert contents.note(layout, PLAIN, []) is None
    assert the_list(layout).read_bytes() == before


def test_bytecode_that_came_later(layout: Layout) -> None:
    """What is there by then is not read again: it would vouch for damage."""
    interpreter = installed(layout)
    before = contents.read(layout, interpreter)
    assert before is not None
    Path(layout.python, KEY, "bin", "python3.12").write_text("damaged")
    listed = contents.note(layout, interpreter, ["lib/bad.py"])
    assert listed != interpreter.files
    found = contents.read(layout, dataclasses.replace(interpreter, compiled=True, files=listed))
    assert found == dataclasses.replace(before, uncompiled=["lib/bad.py"])


def test_a_run_that_was_killed_before_the_record_was_written(layout: Layout) -> None:
    """Also where the next one finds that other sources do not compile."""
    interpreter = installed(layout)
    before = contents.read(layout, interpreter)
    assert before is not None
    for uncompiled in (["lib/bad.py"], ["lib/bad.py", "lib/other.py"], []):
        listed = contents.note(layout, interpreter, uncompiled)
        assert contents.read(layout, interpreter) == before
    done = dataclasses.replace(interpreter, compiled=True, files=listed)
    assert contents.read(layout, done) == dataclasses.replace(before, uncompiled=[])


def damage(path: Path, how: str) -> None:
    text = path.read_text()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_text("")
    elif how == "a digit":
        path.write_text(text.replace('"size": 7', '"size": 8'))
    elif how == "no JSON":
        path.write_text(text[:-3])
    else:
        path.write_text(text.replace('"links"', '"uncompiled": ["x.py"],\n "links"'))


@pytest.mark.parametrize("how", ["missing", "empty", "a digit", "no JSON", "sources without bytecode"])
def test_a_list_that_the_record_does_not_vouch_for(layout: Layout, how: str) -> None:
    interpreter = installed(layout, [])
    damage(the_list(layout), how)
    with pytest.raises(UvnasError, match=r"\.uvnas-files\.json is (missing|damaged)") as caught:
        contents.read(layout, interpreter)
    assert f"rm -f {layout.interpreter_bin(KEY, '3.12')}" in caught.value.hint


@pytest.mark.parametrize("how", ["missing", "empty", "a digit", "no JSON"])
def test_bytecode_that_comes_later_hides_no_damage(layout: Layout, how: str) -> None:
    interpreter = installed(layout)
    damage(the_list(layout), how)
    before = the_list(layout).read_bytes() if the_list(layout).exists() else None
    assert contents.note(layout, interpreter, []) == interpreter.files
    assert (the_list(layout).read_bytes() if the_list(layout).exists() else None) == before
    for compiled in (False, True):
        with pytest.raises(UvnasError, match=r"\.uvnas-files\.json is (missing|damaged)"):
            contents.read(layout, dataclasses.replace(interpreter, compiled=compiled))
