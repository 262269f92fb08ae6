# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a share, on real files."""

from __future__ import annotations

import os
import socket
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.inspect import Inspection
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import platform
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.tests.support import shares

ID = "0123456789ab"
HERE = platform.here(SystemRunner())


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(shares.make_share(tmp_path)))


@pytest.fixture
def inspection(layout: Layout) -> Inspection:
    return Inspection(Share("nas_a", layout), SystemRunner())


def publish(layout: Layout, name: str = "analysis", **more: t.Any) -> Path:
    """Publish a generation whose Python is that of the tests."""
    generation = shares.add_generation(Path(layout.root), name, ID, **more)
    (generation / "bin").mkdir()
    (generation / "bin" / "python").symlink_to(sys.executable)
    shares.publish(Path(layout.root), name, ID)
    return generation


def spec(*imports: str, name: str = "analysis") -> EnvironmentSpec:
    return EnvironmentSpec(name, python="3.12", requirements=("iniconfig",), imports=imports)


def test_facts(inspection: Inspection, layout: Layout) -> None:
    publish(layout)
    for name in ("aaaaaaaaaaaa", ".0123.host.17.tmp"):
        os.makedirs(layout.generation("analysis", name))
    facts = inspection.facts("analysis", sizes=False)
    assert facts.pop("age_seconds") > 0
    manifest = shares.manifest("analysis", ID)
    assert facts == {
        **{key: manifest[key] for key in ("id", "created", "python", "uv", "packages", "platform", "size", "source")},
        "name": "analysis",
        "path": layout.env("analysis"),
        "package_count": 1,
        "generations": [ID, "aaaaaaaaaaaa"],
    }
    assert inspection.facts("analysis", sizes=True)["true_size"]["bytes"] > 0


def test_there_are_no_facts_of_what_is_not_there(inspection: Inspection, layout: Layout) -> None:
    with pytest.raises(UvnasError, match="environment analysis is not published on share nas_a"):
        inspection.facts("analysis", sizes=False)
    publish(layout)
    os.unlink(layout.manifest("analysis", ID))
    with pytest.raises(UvnasError, match=f"its generation {ID} is not complete"):
        inspection.facts("analysis", sizes=False)
    os.symlink("/opt/elsewhere", layout.env("foreign"))
    with pytest.raises(UvnasError, match="its link points to /opt/elsewhere"):
        inspection.facts("foreign", sizes=False)


def test_an_environment_that_runs_has_no_problem(inspection: Inspection, layout: Layout) -> None:
    publish(layout)
    assert inspection.problem(spec()) is None
    assert inspection.problem(spec("json", "xml.dom")) is None


def test_problems(inspection: Inspection, layout: Layout) -> None:
    assert "is not published" in str(inspection.problem(spec()))
    generation = publish(layout)
    problem = str(inspection.problem(spec("json", "no_such_module")))
    assert problem.startswith("environment analysis: importing json, no_such_module failed on this host:\n")
    assert "import no_such_module failed:" in problem
    assert "import json failed" not in problem
    (generation / "bin" / "python").unlink()
    assert "environment analysis: cannot run " in str(inspection.problem(spec()))
    (generation / "bin" / "python").symlink_to("/bin/false")
    assert "starting its Python failed on this host" in str(inspection.problem(spec()))


def needing(glibc: str, interpreter: str = "2.17", **more: t.Any) -> dict[str, t.Any]:
    """A manifest of an environment for this machine whose package needs a certain glibc."""
    packages = {"iniconfig": {"glibc": glibc, "tag": f"manylinux_{glibc.replace('.', '_')}_{HERE.arch}"}}
    needs = {"arch": HERE.arch, "libc": HERE.libc, "glibc": glibc, "interpreter": interpreter, "packages": packages}
    return {"platform": {**needs, **more}}


def test_what_cannot_run_here_is_not_tried(inspection: Inspection, layout: Layout) -> None:
    generation = publish(layout, **needing("99.9"))
    (generation / "bin" / "python").unlink()
    (generation / "bin" / "python").symlink_to("/bin/false")
    said = (
        f"environment analysis: cannot run here: iniconfig 2.1 (manylinux_99_9_{HERE.arch}) needs glibc 99.9; "
        f"this host ({socket.gethostname()}) has {HERE.libc_version}\n"
    )
    problem = str(inspection.problem(spec()))
    assert problem.startswith(said)
    assert f'Declare glibc: "{HERE.libc_version}" for share nas_a' in problem
    assert facts_of(inspection)["glibc"] == "99.9"


def facts_of(inspection: Inspection) -> dict[str, t.Any]:
    platform: dict[str, t.Any] = inspection.facts("analysis", sizes=False)["platform"]
    return platform


def test_an_interpreter_that_cannot_run_here_is_not_tried(inspection: Inspection, layout: Layout) -> None:
    publish(layout, **needing("2.17", "99.9"))
    problem = str(inspection.problem(spec()))
    assert "cannot run here: interpreter cpython-3.12.4-linux-x86_64-gnu needs glibc 99.9; this host" in problem
    assert "iniconfig" not in problem
    assert "uvnas_site_pythons" in problem


def test_another_machine(inspection: Inspection, layout: Layout) -> None:
    publish(layout, **needing("2.17", arch="s390x"))
    assert "it is for s390x, this host" in str(inspection.problem(spec()))


def test_what_can_run_here_is_tried(inspection: Inspection, layout: Layout) -> None:
    publish(layout, **needing(HERE.libc_version, HERE.libc_version))
    assert inspection.problem(spec("json")) is None
    assert "importing no_such_module failed on this host" in str(inspection.problem(spec("no_such_module")))


def test_another_libc_is_named_where_it_failed(inspection: Inspection, layout: Layout) -> None:
    """Some hosts have both, so that alone is no reason."""
    publish(layout, **needing("2.17", libc="musl"))
    assert inspection.problem(spec("json")) is None
    assert str(inspection.problem(spec("no_such_module"))).endswith("is for hosts with musl; this one has glibc.")


@pytest.mark.parametrize(("declared", "warned"), [(None, False), (HERE.libc_version, False), ("2.99", True)])
def test_a_host_that_is_older_than_declared(declared: str | None, warned: bool, layout: Layout) -> None:
    found = Inspection(Share("nas_a", layout, glibc=declared), SystemRunner()).warnings()
    assert bool(found) == warned
    assert all(f"has glibc {HERE.libc_version}, but share nas_a is declared for 2.99" in text for text in found)


def test_several_are_tried_and_each_problem_is_said_in_order(inspection: Inspection, layout: Layout) -> None:
    names = [f"env{number}" for number in range(9)]
    for name in names:
        publish(layout, name)
    assert inspection.problems([spec("json", name=name) for name in names]) == []
    (Path(layout.generation("env3", ID)) / "bin" / "python").unlink()
    specs = [spec("no_such_module" if name == "env7" else "json", name=name) for name in names]
    first, second, third = inspection.problems([*specs, spec(name="missing")])
    assert first.startswith("environment env3: cannot run ")
    assert second.startswith("environment env7: importing no_such_module failed on this host:\n")
    assert third.startswith("environment missing is not published")


def test_several_are_tried_at_once(inspection: Inspection, layout: Layout) -> None:
    """Two Pythons that wait for each other: one after the other, neither would end well."""
    meeting = Path(layout.root) / "meeting"
    meeting.mkdir()
    for name in ("one", "two"):
        python = publish(layout, name) / "bin" / "python"
        python.unlink()
        python.write_text(
            f"#!/bin/sh\ntouch {meeting}/{name}; i=0\n"
            f"while [ ! -e {meeting}/one -o ! -e {meeting}/two ]; do\n"
            "  i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05\n"
            "done\n"
        )
        python.chmod(0o755)
    assert inspection.problems([spec(name="one"), spec(name="two")]) == []


def test_looking_writes_nothing(inspection: Inspection, layout: Layout) -> None:
    publish(layout)
    before = sorted(Path(layout.root).rglob("*"))
    assert inspection.problem(spec("json")) is None
    assert sorted(Path(layout.root).rglob("*")) == before


def test_what_others_can_write_to_is_one_problem(inspection: Inspection, layout: Layout) -> None:
    generations = [publish(layout), publish(layout, "other")]
    assert inspection.open_places() == []
    for path in (Path(layout.uv_versions), generations[0] / "bin", generations[1].parent):
        path.chmod(0o775)
    (found,) = inspection.open_places()
    first = f"{layout.uv_versions}, {generations[0]}/bin, {generations[1].parent}"
    assert found.startswith(f"users other than the owner of share nas_a can write to {first}, and may have changed")
    generations[1].chmod(0o757)
    assert " and 1 more, and may" in inspection.open_places()[0]


def test_an_interpreter_that_others_can_write_to(inspection: Inspection, layout: Layout) -> None:
    publish(layout)
    executable = Path(layout.interpreter_bin(shares.KEY, "3.12"))
    executable.parent.mkdir(parents=True)
    executable.touch(0o755)
    for path in (executable, executable.parent, executable.parent.parent):
        before = path.stat().st_mode
        path.chmod(0o775)
        assert f"can write to {path}, and" in inspection.open_places()[0]
        path.chmod(before)
    assert inspection.open_places() == []


def test_what_is_installed_and_was_not_built_is_a_problem(inspection: Inspection, layout: Layout) -> None:
    packages = publish(layout) / "lib" / "python3.12" / "site-packages"
    packages.chmod(0o755)
    (packages / "six-1.17.0.dist-info").mkdir()
    problem = str(inspection.problem(spec()))
    assert problem.startswith(
        f"environment analysis: its generation {ID} is not what was built: six 1.17.0 (new)\nSomebody changed it,"
    )
    assert inspection.facts("analysis", sizes=False)["packages"] == {"iniconfig": "2.1"}
