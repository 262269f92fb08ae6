# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether environments run here, on real files."""

from __future__ import annotations

import socket
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.inspect import Inspection
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.env.verify import Verification
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
def verification(layout: Layout) -> Verification:
    return on(layout)


def on(layout: Layout, **more: t.Any) -> Verification:
    """A verification of its own, as that of another run."""
    return Verification(Inspection(Share("nas_a", layout, **more)), shares.SHARE_ID, SystemRunner())


def publish(layout: Layout, name: str = "analysis", **more: t.Any) -> Path:
    """Publish a generation whose Python is that of the tests."""
    generation = shares.add_generation(Path(layout.root), name, ID, **more)
    (generation / "bin").mkdir()
    (generation / "bin" / "python").symlink_to(sys.executable)
    shares.publish(Path(layout.root), name, ID)
    return generation


def spec(*imports: str, name: str = "analysis") -> EnvironmentSpec:
    return EnvironmentSpec(name, python="3.12", requirements=("iniconfig",), imports=imports)


def test_an_environment_that_runs_has_no_problem(verification: Verification, layout: Layout) -> None:
    publish(layout)
    assert verification.problem(spec()) is None
    assert verification.problem(spec("json", "xml.dom")) is None


def test_problems(verification: Verification, layout: Layout) -> None:
    assert "is not published" in str(verification.problem(spec()))
    generation = publish(layout)
    problem = str(verification.problem(spec("json", "no_such_module")))
    assert problem.startswith("environment analysis: importing json, no_such_module failed on this host:\n")
    assert "import no_such_module failed:" in problem
    assert "import json failed" not in problem
    (generation / "bin" / "python").unlink()
    assert "environment analysis: cannot run " in str(verification.problem(spec()))
    (generation / "bin" / "python").symlink_to("/bin/false")
    assert "starting its Python failed on this host" in str(verification.problem(spec()))


def needing(glibc: str, interpreter: str = "2.17", **more: t.Any) -> dict[str, t.Any]:
    """A manifest of an environment for this machine whose package needs a certain glibc."""
    packages = {"iniconfig": {"glibc": glibc, "tag": f"manylinux_{glibc.replace('.', '_')}_{HERE.arch}"}}
    needs = {"arch": HERE.arch, "libc": HERE.libc, "glibc": glibc, "interpreter": interpreter, "packages": packages}
    return {"platform": {**needs, **more}}


def test_what_cannot_run_here_is_not_tried(verification: Verification, layout: Layout) -> None:
    generation = publish(layout, **needing("99.9"))
    (generation / "bin" / "python").unlink()
    (generation / "bin" / "python").symlink_to("/bin/false")
    said = (
        f"environment analysis: cannot run here: iniconfig 2.1 (manylinux_99_9_{HERE.arch}) needs glibc 99.9; "
        f"this host ({socket.gethostname()}) has {HERE.libc_version}\n"
    )
    problem = str(verification.problem(spec()))
    assert problem.startswith(said)
    assert f'Declare glibc: "{HERE.libc_version}" for share nas_a' in problem
    assert facts_of(verification)["glibc"] == "99.9"


def facts_of(verification: Verification) -> dict[str, t.Any]:
    platform: dict[str, t.Any] = verification.inspection.facts("analysis", sizes=False)["platform"]
    return platform


def test_an_interpreter_that_cannot_run_here_is_not_tried(verification: Verification, layout: Layout) -> None:
    publish(layout, **needing("2.17", "99.9"))
    problem = str(verification.problem(spec()))
    assert "cannot run here: interpreter cpython-3.12.4-linux-x86_64-gnu needs glibc 99.9; this host" in problem
    assert "iniconfig" not in problem
    assert "uvnas_site_pythons" in problem


def test_another_machine(verification: Verification, layout: Layout) -> None:
    publish(layout, **needing("2.17", arch="s390x"))
    assert "it is for s390x, this host" in str(verification.problem(spec()))


def test_what_can_run_here_is_tried(verification: Verification, layout: Layout) -> None:
    publish(layout, **needing(HERE.libc_version, HERE.libc_version))
    assert verification.problem(spec("json")) is None
    assert "importing no_such_module failed on this host" in str(verification.problem(spec("no_such_module")))


def test_another_libc_is_named_where_it_failed(verification: Verification, layout: Layout) -> None:
    """Some hosts have both, so that alone is no reason."""
    publish(layout, **needing("2.17", libc="musl"))
    assert verification.problem(spec("json")) is None
    assert str(verification.problem(spec("no_such_module"))).endswith("is for hosts with musl; this one has glibc.")


@pytest.mark.parametrize(("declared", "warned"), [(None, False), (HERE.libc_version, False), ("2.99", True)])
def test_a_host_that_is_older_than_declared(declared: str | None, warned: bool, layout: Layout) -> None:
    found = on(layout, glibc=declared).warnings()
    assert bool(found) == warned
    assert all(f"has glibc {HERE.libc_version}, but share nas_a is declared for 2.99" in text for text in found)


def problems_of(verification: Verification, specs: t.Sequence[EnvironmentSpec]) -> list[str]:
    return verification.of(specs, {}).problems


def test_several_are_tried_and_each_problem_is_said_in_order(verification: Verification, layout: Layout) -> None:
    names = [f"env{number}" for number in range(9)]
    for name in names:
        publish(layout, name)
    assert problems_of(verification, [spec("json", name=name) for name in names]) == []
    (Path(layout.generation("env3", ID)) / "bin" / "python").unlink()
    specs = [spec("no_such_module" if name == "env7" else "json", name=name) for name in names]
    first, second, third = problems_of(verification, [*specs, spec(name="missing")])
    assert first.startswith("environment env3: cannot run ")
    assert second.startswith("environment env7: importing no_such_module failed on this host:\n")
    assert third.startswith("environment missing is not published")


def test_several_are_tried_at_once(verification: Verification, layout: Layout) -> None:
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
    assert problems_of(verification, [spec(name="one"), spec(name="two")]) == []


def test_looking_writes_nothing(verification: Verification, layout: Layout) -> None:
    publish(layout)
    before = sorted(Path(layout.root).rglob("*"))
    assert verification.problem(spec("json")) is None
    assert sorted(Path(layout.root).rglob("*")) == before


def test_what_others_can_write_to_is_one_problem(verification: Verification, layout: Layout) -> None:
    generations = [publish(layout), publish(layout, "other")]
    assert verification.open_places() == []
    for path in (Path(layout.uv_versions), generations[0] / "bin", generations[1].parent):
        path.chmod(0o775)
    (found,) = verification.open_places()
    first = f"{layout.uv_versions}, {generations[0]}/bin, {generations[1].parent}"
    assert found.startswith(f"users other than the owner of share nas_a can write to {first}, and may have changed")
    generations[1].chmod(0o757)
    assert " and 1 more, and may" in verification.open_places()[0]


def test_an_interpreter_that_others_can_write_to(verification: Verification, layout: Layout) -> None:
    publish(layout)
    executable = Path(layout.interpreter_bin(shares.KEY, "3.12"))
    executable.parent.mkdir(parents=True)
    executable.touch(0o755)
    for path in (executable, executable.parent, executable.parent.parent):
        before = path.stat().st_mode
        path.chmod(0o775)
        assert f"can write to {path}, and" in verification.open_places()[0]
        path.chmod(before)
    assert verification.open_places() == []


def test_what_is_installed_and_was_not_built_is_a_problem(verification: Verification, layout: Layout) -> None:
    packages = publish(layout) / "lib" / "python3.12" / "site-packages"
    packages.chmod(0o755)
    (packages / "six-1.17.0.dist-info").mkdir()
    problem = str(verification.problem(spec()))
    assert problem.startswith(
        f"environment analysis: its generation {ID} is not what was built: six 1.17.0 (new)\nSomebody changed it,"
    )
    assert verification.inspection.facts("analysis", sizes=False)["packages"] == {"iniconfig": "2.1"}
