# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do with code whose bytecode is linked, and compared with nothing: debug, measure, inspect, profile."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import pythons
from ansible_collections.uvnas.cluster.tests.support.sites import Site, make_site

# Both have real packages in common. The names of their files are in what the tools below print.
ENVS = [
    {"name": name, "requirements": ["coverage", "iniconfig"], "imports": ["iniconfig"]} for name in ("first", "second")
]
USES = "import iniconfig; iniconfig.IniConfig('x.ini', data='[a]\\nb = 1')['a']['b']"


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    # The tools need more of it than most tests.
    archive = public / "whole" / "python.tar.gz"
    archive.parent.mkdir()
    pythons.pack_ours(archive, whole=True)
    supplied = {"name": "site", "version": pythons.VERSION, "archive": str(archive)}
    site = make_site(public / "bytecode", {"uvnas_site_pythons": [supplied]})
    built = site.run(ENVS)
    assert built.rc == 0, built.output
    return site


def module(site: Site, name: str) -> Path:
    """A module of the second environment; its bytecode was compiled for the first."""
    (found,) = (site.share / "envs" / "second").resolve().glob(f"lib/python*/site-packages/iniconfig/{name}.py")
    return found


def run(site: Site, *arguments: str, cwd: Path, typed: str = "") -> str:
    python = (site.share / "envs" / "second").resolve() / "bin" / "python"
    done = subprocess.run([python, *arguments], input=typed, capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_bytecode_is_one_file_for_both(site: Site) -> None:
    place = "lib/python*/site-packages/iniconfig/__pycache__/_parse.*.pyc"
    one, other = (next((site.share / "envs" / name).resolve().glob(place)) for name in ("first", "second"))
    assert one.samefile(other)
    # One more link is the store's.
    assert one.stat().st_nlink == 3


def test_a_module_is_not_compiled_again(site: Site, tmp_path: Path) -> None:
    said = subprocess.run(
        [(site.share / "envs" / "second").resolve() / "bin" / "python", "-v", "-c", "import iniconfig"],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    ).stderr  # fmt: skip
    cached = module(site, "__init__").parent / "__pycache__"
    assert f"# {cached}/__init__." in said
    assert " matches " in next(line for line in said.splitlines() if f"# {cached}/__init__." in line)


def test_coverage_counts_lines_of_the_real_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "uses.py").write_text(USES)
    run(site, "-m", "coverage", "run", "--source=iniconfig", "uses.py", cwd=tmp_path)
    run(site, "-m", "coverage", "json", "-q", "-o", "report.json", cwd=tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    found = {os.path.realpath(tmp_path / name): each["executed_lines"] for name, each in report["files"].items()}
    lines = found[str(module(site, "_parse"))]
    source = module(site, "_parse").read_text().splitlines()
    assert any("def parse" in source[number - 1] for number in lines)
    assert len(lines) > 10


def test_pdb_stops_at_a_line_of_the_real_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "uses.py").write_text(USES)
    path = module(site, "_parse")
    line = path.read_text().splitlines().index('    if line[0] == "[":') + 1
    typed = f"break {path}:{line}\ncontinue\nwhere\nquit\n"
    said = run(site, "-m", "pdb", "uses.py", cwd=tmp_path, typed=typed)
    assert f"Breakpoint 1 at {path}:{line}" in said
    assert f"> {path}({line})_parseline()" in said
    assert '-> if line[0] == "[":' in said


def test_inspect_and_profile_name_the_real_file(site: Site, tmp_path: Path) -> None:
    path = module(site, "__init__")
    code = "from inspect import *; from iniconfig import IniConfig as c; print(getsourcefile(c)); print(getsource(c))"
    where, first, *_rest = run(site, "-c", code, cwd=tmp_path).splitlines()
    assert (where, first) == (str(path), "class IniConfig:")
    (tmp_path / "uses.py").write_text(USES)
    run(site, "-m", "cProfile", "-o", "profile", "uses.py", cwd=tmp_path)
    files = run(site, "-c", "import pstats; print({file for file, *_ in pstats.Stats('profile').stats})", cwd=tmp_path)
    assert repr(str(path)) in files


def test_a_traceback_has_the_real_line(site: Site, tmp_path: Path) -> None:
    code = "import traceback\ntry:\n import iniconfig; iniconfig.IniConfig('x', data='[a\\n')\nexcept Exception:\n"
    said = run(site, "-c", f"{code} print(traceback.format_exc())", cwd=tmp_path)
    path = module(site, "_parse")
    shown = [line for line in said.splitlines() if f'File "{path}", line ' in line]
    number = int(shown[-1].split("line ")[1].split(",")[0])
    assert path.read_text().splitlines()[number - 1].strip() in said
