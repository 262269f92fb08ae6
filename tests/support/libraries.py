# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small shared libraries for tests, built with a C compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def compile_library(path: Path, code: str, *options: str | Path) -> Path:
    if shutil.which("cc") is None:
        pytest.fail("this test needs a C compiler (Debian: gcc)")
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_suffix(".c")
    source.write_text(code)
    subprocess.check_call(["cc", "-shared", "-fPIC", "-Wno-attributes", "-o", path, source, *options])
    source.unlink()
    return path


def library(path: Path, *versions: str) -> Path:
    """A library that needs these symbol versions of a libc, which is built here too, so they need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    symbols = {version: f"f{number}" for number, version in enumerate(versions)}
    script = path.with_suffix(".map")
    script.write_text("".join(f"{version} {{ global: {name}; }};\n" for version, name in symbols.items()))
    functions = "".join(f"void {name}(void) {{}}\n" for name in symbols.values())
    libc = compile_library(path.with_name("libother.so"), functions, f"-Wl,--version-script={script}", "-nostdlib")
    calls = "".join(f"void {name}(void);\n" for name in symbols.values())
    calls += f"void run(void) {{ {' '.join(f'{name}();' for name in symbols.values())} }}\n"
    compile_library(path, calls, "-nostdlib", libc)
    script.unlink()
    libc.unlink()
    return path
