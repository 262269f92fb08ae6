# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people read who type ``pip`` in an environment that has none."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import no_pip
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout, site_packages

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
# Says what it was asked.
UV = """\
#!/bin/sh
printf '%s\\n' uv "$@"
"""


@pytest.fixture(params=["uv", 'it\'s a "$HOME" \\n `id` %s {x}'], ids=["plain", "odd"])
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> Layout:
    """A share with a generation of the environment train that is not sealed yet."""
    found = Layout(str(tmp_path / request.param))
    Path(site_packages(found.generation("train", "one"), MINOR)).mkdir(parents=True)
    for directory in (found.bin_dir, os.path.join(found.generation("train", "one"), "bin")):
        Path(directory).mkdir(parents=True)
    Path(found.uv).write_text(UV, encoding="utf-8")
    Path(found.uv).chmod(0o755)
    return found


def write(layout: Layout, minor: str = MINOR) -> Path:
    generation = layout.generation("train", "one")
    no_pip.write(layout, "train", generation, minor)
    return Path(generation)


def run(*cmd: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", **variables}
    return subprocess.run(list(map(str, cmd)), env=environment, capture_output=True, text=True, check=False)


def shown(said: str) -> list[list[str]]:
    """The commands that somebody is told to type, as words."""
    return [shlex.split(line) for line in said.splitlines() if line.startswith("  ")]


@pytest.mark.parametrize("name", ["pip", "pip3", f"pip{MINOR}"])
def test_an_installation_is_told_how(layout: Layout, name: str) -> None:
    done = run(write(layout) / "bin" / name, "install", "-U", "polars>=1", "six")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the environment train: it is read-only, and everybody's" in done.stderr
    env = layout.env("train")
    assert shown(done.stderr) == [
        [layout.uv, "venv", "--python", f"{env}/bin/python", "train-plus"],
        ["source", "train-plus/bin/activate"],
        [layout.uv, "pip", "install", "-r", f"{env}/.uvnas-lock.txt", "-U", "polars>=1", "six"],
    ]
    assert 'the page "For researchers"' in done.stderr


@pytest.mark.parametrize(
    "words",
    [["numpy>=2", "six<2"], ["a; python_version < '3.9'", "$(x) `y` \\ z"], ["-r", "it's mine.txt", ""], ["'", "''"]],
)
def test_what_is_copied_from_it_means_what_was_typed(layout: Layout, words: list[str]) -> None:
    """A shell takes an unquoted ``>`` for a file to overwrite."""
    done = run(write(layout) / "bin" / "pip", "install", *words)
    line = [line for line in done.stderr.splitlines() if line.startswith("  ")][-1]
    typed = run("sh", "-c", f"set -- {line}; shift 5; printf '%s\\0' \"$@\"")
    assert (typed.stdout.split("\0")[:-1], typed.stderr) == (words, "")


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("/bin/bash", "activate"),
        ("/usr/bin/fish", "activate.fish"),
        ("/bin/tcsh", "activate.csh"),
        ("csh", "activate.csh"),
    ],
)
def test_each_login_shell_sources_its_own(layout: Layout, shell: str, script: str) -> None:
    done = run(write(layout) / "bin" / "pip", "install", "six", SHELL=shell)
    assert shown(done.stderr)[1] == ["source", f"train-plus/bin/{script}"]


def test_uv_is_named_as_people_reach_it(layout: Layout) -> None:
    program = write(layout) / "bin" / "pip"
    found = run(program, "install", "six", PATH=f"{layout.bin_dir}:/usr/bin:/bin")
    assert [words[0] for words in shown(found.stderr)] == ["uv", "source", "uv"]


def test_a_site_says_whom_to_ask(layout: Layout) -> None:
    done = run(write(layout) / "bin" / "pip", "install", "six", UVNAS_HELP="Ask hpc@example.org, 100 % free.")
    assert done.stderr.endswith("\nAsk hpc@example.org, 100 % free.\n")


@pytest.mark.parametrize("words", [(), ("--version",), ("uninstall", "six"), ("download", "six"), ("install",)])
def test_anything_else_that_needs_pip_fails_alike(layout: Layout, words: tuple[str, ...]) -> None:
    done = run(write(layout) / "bin" / "pip", *words)
    assert done.returncode == 1
    assert shown(done.stderr)[-1][-1] == "PACKAGE"


@pytest.mark.parametrize("words", [("list", "--format", "json"), ("freeze",), ("show", "six"), ("check",)])
def test_questions_are_for_uv(layout: Layout, words: tuple[str, ...]) -> None:
    generation = write(layout)
    done = run(generation / "bin" / "pip", *words)
    asked = ["uv", "pip", *words, "--python", str(generation / "bin" / "python")]
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, asked, "")


def test_as_a_module_it_says_the_same_and_cannot_be_imported(layout: Layout) -> None:
    generation = write(layout)
    packages = site_packages(str(generation), MINOR)
    # As with the packages of an environment, which come after the standard library.
    code = "import runpy, sys; sys.path[:0] = [sys.argv.pop(1)]; {}"
    as_module = code.format("runpy.run_module('pip', run_name='__main__', alter_sys=True)")
    by_module = run(sys.executable, "-I", "-B", "-c", as_module, packages, "install", "a b")
    by_name = run(generation / "bin" / "pip", "install", "a b")
    assert (by_module.returncode, by_module.stderr) == (1, by_name.stderr)
    imported = run(sys.executable, "-I", "-B", "-c", code.format("import pip"), packages)
    assert imported.stderr.endswith("ModuleNotFoundError: No module named 'pip'\n")


def test_a_free_threaded_python_has_pip_by_its_number(layout: Layout) -> None:
    Path(site_packages(layout.generation("train", "one"), "3.13t")).mkdir(parents=True)
    generation = write(layout, "3.13t")
    assert sorted(path.name for path in (generation / "bin").iterdir()) == ["pip", "pip3", "pip3.13"]
    assert (Path(site_packages(str(generation), "3.13t")) / "pip.py").exists()


def things(generation: Path) -> set[str]:
    return {str(path.relative_to(generation)) for path in generation.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("place", ["bin/pip", "bin/pip3", f"bin/pip{MINOR}", "SITE/pip.py", "SITE/pip/__init__.py"])
def test_what_a_package_brought_stays_alone(layout: Layout, place: str) -> None:
    generation = Path(layout.generation("train", "one"))
    brought = Path(str(generation / place).replace("SITE", f"lib/python{MINOR}/site-packages"))
    brought.parent.mkdir(exist_ok=True)
    brought.symlink_to("nowhere")
    before = things(generation)
    write(layout)
    assert things(generation) == before == {str(brought.relative_to(generation))}


def test_anybody_can_run_it_whatever_the_umask(layout: Layout) -> None:
    before = os.umask(0o077)
    try:
        program = write(layout) / "bin" / "pip"
    finally:
        os.umask(before)
    assert program.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("shell", ["dash", "bash", "ksh"])
def test_every_sh_reads_it(layout: Layout, shell: str) -> None:
    program = write(layout) / "bin" / "pip"
    ways: dict[str, t.Any] = {}
    for name in ("sh", shell):
        try:
            ways[name] = run(name, program, "install", "six>=1", "it's").stderr
        except FileNotFoundError:
            pytest.skip(f"there is no {name}")
    assert ways["sh"] == ways[shell]
