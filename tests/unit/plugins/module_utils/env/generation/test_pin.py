# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python that was started by the name of an environment, and what it imports when that name means something else."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import pin
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation.build import site_packages
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files as fs
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
# Says that it is there, waits until it is told to go on, and then says where it is.
LAZY = """
import json, subprocess, sys
print("ready", flush=True)
sys.stdin.readline()
import late
ask = "import sys, late; print(late.__file__)"
child = subprocess.run([sys.executable, "-I", "-c", ask], capture_output=True, text=True).stdout.strip()
facts = {name: getattr(sys, name) for name in ("prefix", "exec_prefix", "executable", "path")}
print(json.dumps({**facts, "late": late.__file__, "who": late.WHO, "child": child}))
"""
WHERE = "import sys, json; print(json.dumps([sys.prefix, sys.executable, sys.path]))"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A share with two generations of the environment train, with a space in its path; the first one is published."""
    found = Layout(str(tmp_path / "nas a" / "uv"))
    Path(found.envs).mkdir(parents=True)
    for generation_id in ("one", "two"):
        path = found.generation("train", generation_id)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", path], check=True)
        packages = Path(site_packages(path, MINOR))
        (packages / "late.py").write_text(f"WHO = {generation_id!r}\n", encoding="utf-8")
        (packages / "loaded_early.py").touch()
        (packages / "more").mkdir()
        (packages / "early.pth").write_text("import loaded_early\nmore\n", encoding="utf-8")
        pin.write(path, str(packages))
    publish(found, "one")
    return found


def publish(layout: Layout, generation_id: str) -> None:
    fs.replace_symlink(layout.env_link_target("train", generation_id), layout.env("train"))


def ask(*cmd: str, code: str = WHERE) -> t.Any:
    return json.loads(subprocess.run([*cmd, "-c", code], capture_output=True, text=True, check=True, env={}).stdout)


@pytest.mark.parametrize("options", [[], ["-I"], ["-E", "-B"]])
def test_what_is_imported_late_comes_from_the_generation_it_began_with(layout: Layout, options: list[str]) -> None:
    command = [f"{layout.env('train')}/bin/python", *options, "-c", LAZY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        publish(layout, "two")
        said = json.loads(job.communicate("go\n", timeout=60)[0])
    one = layout.generation("train", "one")
    assert (said["who"], said["late"], said["child"]) == ("one", said["late"], said["late"])
    assert said["late"] == str(Path(site_packages(one, MINOR), "late.py"))
    assert (said["prefix"], said["exec_prefix"], said["executable"]) == (one, one, f"{one}/bin/python")
    assert not [path for path in said["path"] if path.startswith(layout.env("train"))]
    assert str(Path(site_packages(one, MINOR), "more")) in said["path"]
    assert ask(f"{layout.env('train')}/bin/python")[0] == layout.generation("train", "two")


def test_what_other_pth_files_have_loaded_is_of_the_generation_too(layout: Layout) -> None:
    code = "import json, sys; m = sys.modules['loaded_early']; print(json.dumps([m.__file__, m.__spec__.origin]))"
    file = str(Path(site_packages(layout.generation("train", "one"), MINOR), "loaded_early.py"))
    assert ask(f"{layout.env('train')}/bin/python", code=code) == [file, file]


def test_a_python_started_by_the_generation_is_as_it_was(layout: Layout) -> None:
    one = layout.generation("train", "one")
    python, pth = f"{one}/bin/python", Path(site_packages(one, MINOR), pin.PTH)
    with_pin = ask(python)
    pth.unlink()
    assert ask(python) == with_pin
    assert with_pin[0] == one


@pytest.mark.parametrize("link", ["elsewhere", "bin-of-mine"])
def test_a_link_of_somebody_elses_is_followed_as_well(layout: Layout, tmp_path: Path, link: str) -> None:
    """A user's own name for an environment."""
    (tmp_path / link).symlink_to(layout.env("train"))
    assert ask(f"{tmp_path / link}/bin/python")[0] == layout.generation("train", "one")


def test_another_python_that_looks_in_is_left_alone(layout: Layout) -> None:
    packages = site_packages(layout.generation("train", "one"), MINOR)
    code = f"import json, site, sys; b = sys.prefix; site.addsitedir({packages!r}); print(json.dumps([b, sys.prefix]))"
    before, after = ask(sys.executable, "-I", code=code)
    assert before == after
