# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What bytecode ends with: Python does not care, and any damage is found."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode import whole
from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode.store import (
    Bytecode,
    Interpreter,
    Source,
    directory_name,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout

TAG = str(sys.implementation.cache_tag)
PYTHON = os.path.realpath(sys.executable)
SOURCE = "VALUE = 'from bytecode'\nif __name__ == '__main__':\n    print('main')\n"
Compile = t.Callable[..., Path]


@pytest.fixture
def compile_one(tmp_path: Path) -> Compile:
    """Compiles a module; its bytecode, beside it."""

    def compile_one(source: str = SOURCE, name: str = "mod.py", digest: str = "digest", inside: str = "one") -> Path:
        layout = Layout(str(tmp_path / "uv"))
        os.makedirs(layout.root, exist_ok=True)
        path = tmp_path / inside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        Bytecode(layout, Interpreter(PYTHON, digest), SystemRunner()).add(str(tmp_path / inside), [name])
        return path.parent / "__pycache__" / f"{path.stem}.{TAG}.pyc"

    return compile_one


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run([PYTHON, "-B", "-S", "-s", *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_has_the_mark_of_its_entry(compile_one: Compile, tmp_path: Path) -> None:
    path = compile_one()
    key = Source("mod.py", hashlib.sha256(SOURCE.encode()).hexdigest()).key
    directory = directory_name(TAG, "digest")
    assert path.samefile(tmp_path / "uv" / "bytecode" / directory / key[:2] / f"{key}.pyc")
    found = whole.mark_in(path.read_bytes())
    assert found == whole.mark_of(directory, key) == hashlib.sha256(f"{directory}/{key}".encode()).digest()


def test_another_source_name_or_interpreter_has_another_mark(compile_one: Compile) -> None:
    paths = [
        compile_one(),
        compile_one("VALUE = 2", inside="two"),
        compile_one(name="pack/mod.py", inside="three"),
        compile_one(digest="another", inside="four"),
    ]
    marks = {whole.mark_in(path.read_bytes()) for path in paths}
    assert None not in marks
    assert len(marks) == len(paths)


def test_python_does_not_care(compile_one: Compile, tmp_path: Path) -> None:
    """However it reads bytecode: beside its source, without one, as a program, in an archive."""
    path = compile_one()
    shown = "import mod; print(mod.VALUE, mod.__cached__ if len(sys.argv) > 1 else '')"
    (tmp_path / "one" / "mod.py").write_text("VALUE = 'from source'")
    assert run("-c", f"import sys; {shown}", "cached", cwd=tmp_path / "one") == f"from bytecode {path}"
    assert run("-m", "mod", cwd=tmp_path / "one") == "main"
    code = "import runpy; print(runpy.run_module('mod')['VALUE'])"
    assert run("-c", code, cwd=tmp_path / "one") == "from bytecode"
    code = "import pkgutil; found = {}; exec(pkgutil.read_code(open(sys.argv[1], 'rb')), found); print(found['VALUE'])"
    assert run("-c", f"import sys; {code}", path, cwd=tmp_path) == "from bytecode"

    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(path, bare / "mod.pyc")
    assert run("-c", f"import sys; {shown}", cwd=bare) == "from bytecode"
    assert run("-m", "mod", cwd=bare) == run("mod.pyc", cwd=bare) == "main"
    code = "import importlib.util; print(importlib.util.find_spec('mod').loader.get_code('mod').co_names[0])"
    assert run("-c", code, cwd=bare) == "VALUE"
    code = "import runpy; print(runpy.run_path('mod.pyc')['VALUE'])"
    assert run("-c", code, cwd=bare) == "from bytecode"
    with zipfile.ZipFile(bare / "mod.zip", "w") as archive:
        archive.write(path, "inside.pyc")
    code = "import sys; sys.path.insert(0, 'mod.zip'); import inside; print(inside.VALUE)"
    assert run("-c", code, cwd=bare) == "from bytecode"


def test_any_byte_that_differs_is_found(compile_one: Compile) -> None:
    content = compile_one("").read_bytes()
    assert whole.mark_in(content) is not None
    for index in range(len(content)):
        for bit in (0x01, 0x80):
            damaged = bytearray(content)
            damaged[index] ^= bit
            assert whole.mark_in(bytes(damaged)) is None, index


def test_any_length_that_differs_is_found(compile_one: Compile) -> None:
    content = compile_one("").read_bytes()
    for length in range(len(content)):
        assert whole.mark_in(content[:length]) is None, length
    assert whole.mark_in(content + b"\0") is None
    assert whole.mark_in(content[1:]) is None


def test_what_python_compiles_for_itself_is_not_the_store_s(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text(SOURCE)
    subprocess.run([PYTHON, "-m", "compileall", "-q", tmp_path], check=True)
    (path,) = (tmp_path / "__pycache__").iterdir()
    assert whole.mark_in(path.read_bytes()) is None


def test_a_digest_alone_is_not_enough() -> None:
    """There has to be room for a header and a mark."""
    before = b"\0" * (whole.HEADER_SIZE + whole.MARK_SIZE)
    assert whole.mark_in(before + hashlib.sha256(before).digest()) == b"\0" * whole.MARK_SIZE
    assert whole.mark_in(before[1:] + hashlib.sha256(before[1:]).digest()) is None
