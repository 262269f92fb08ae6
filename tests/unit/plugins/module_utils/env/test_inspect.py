# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a share, on real files."""

from __future__ import annotations

import json
import os
import socket
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.inspect import Inspection, true_size
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files as fs
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.probe import platform

ID = "0123456789ab"
HERE = platform(SystemRunner())
MANIFEST = {
    "created": "2026-01-31T12:00:00+00:00",
    "python": {"key": "cpython-3.12.4-linux-x86_64-gnu", "version": "3.12.4", "digest": "1"},
    "uv": "0.13.9",
    "packages": {"iniconfig": "2.1"},
    "size": {"files": 1, "bytes": 10, "own_bytes": 10, "inodes": 2},
    "source": {"requirements": ["iniconfig"]},
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path))
    fs.write_json(found.identity, {"layout": 1, "name": "nas_a", "id": "b2f0"})
    os.makedirs(found.envs)
    return found


@pytest.fixture
def inspection(layout: Layout) -> Inspection:
    return Inspection(layout, "nas_a", SystemRunner())


def publish(layout: Layout, name: str = "analysis", **more: t.Any) -> Path:
    """Publish a generation whose Python is that of the tests."""
    generation = Path(layout.generation(name, ID))
    (generation / "bin").mkdir(parents=True)
    (generation / "bin" / "python").symlink_to(sys.executable)
    Path(layout.manifest(name, ID)).write_text(json.dumps({**MANIFEST, **more}), encoding="utf-8")
    os.symlink(layout.env_link_target(name, ID), layout.env(name))
    return generation


def spec(*imports: str, name: str = "analysis") -> EnvironmentSpec:
    return EnvironmentSpec(name, python="3.12", requirements=("iniconfig",), imports=imports)


def test_the_right_share(inspection: Inspection) -> None:
    assert inspection.check_share("b2f0", None) == inspection.check_share(None, None) == "b2f0"


@pytest.mark.parametrize(
    ("name", "share_id", "said"), [("nas_b", None, "not nas_b$"), ("nas_a", "c3f1", "not nas_a with id c3f1")]
)
def test_another_share(name: str, share_id: str | None, said: str, layout: Layout) -> None:
    with pytest.raises(UvnasError, match=f"is share nas_a with id b2f0, {said}"):
        Inspection(layout, name, SystemRunner()).check_share(share_id, None)


def test_no_share(inspection: Inspection, layout: Layout) -> None:
    os.unlink(layout.identity)
    with pytest.raises(UvnasError, match="there is no share at"):
        inspection.check_share(None, None)


def test_a_share_whose_filesystem_is_not_mounted(inspection: Inspection, layout: Layout) -> None:
    with pytest.raises(UvnasError, match="is not mounted on this host"):
        inspection.check_share(None, layout.root)
    assert inspection.check_share(None, "/") == "b2f0"


def test_the_names_of_environments(inspection: Inspection, layout: Layout) -> None:
    assert inspection.environments() == []
    for name in ("train", "analysis", ".analysis.host.17.tmp"):
        os.symlink("nowhere", layout.env(name))
    assert inspection.environments() == ["analysis", "train"]
    assert Inspection(Layout("/nowhere"), "nas_a", SystemRunner()).environments() == []


def test_facts(inspection: Inspection, layout: Layout) -> None:
    publish(layout)
    for name in ("aaaaaaaaaaaa", ".0123.host.17.tmp"):
        os.makedirs(layout.generation("analysis", name))
    facts = inspection.facts("analysis", sizes=False)
    assert facts.pop("age_seconds") > 0
    assert facts == {
        **MANIFEST,
        "platform": {},
        "name": "analysis",
        "path": layout.env("analysis"),
        "id": ID,
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
    found = Inspection(layout, "nas_a", SystemRunner(), declared).warnings()
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


def test_true_sizes_tell_what_is_linked_from_elsewhere(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "cache"
    tree.mkdir()
    outside.write_bytes(b"x" * 100_000)
    (tree / "linked").hardlink_to(outside)
    (tree / "own").write_bytes(b"x" * 50_000)
    (tree / "twice").hardlink_to(tree / "own")
    sizes = true_size(str(tree))
    assert sizes["bytes"] == 200_000
    assert sizes["shared_bytes"] == outside.stat().st_blocks * 512
    own = (tree / "own").stat().st_blocks * 512
    assert sizes["own_bytes"] == own  # The directory at the top is not counted, those below it are.
