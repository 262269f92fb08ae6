# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether environments run here, on real files."""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
import socket
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import verified, verify
from ansible_collections.uvnas.cluster.plugins.module_utils.env.inspect import Inspection
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.env.state import read_lock
from ansible_collections.uvnas.cluster.plugins.module_utils.env.verified import Verified
from ansible_collections.uvnas.cluster.plugins.module_utils.env.verify import Outcome, Verification
from ansible_collections.uvnas.cluster.plugins.module_utils.host import platform
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.host.users import nobody
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


# What has run before


def count_starts(layout: Layout, name: str = "analysis") -> t.Callable[[], int]:
    """Have the Python of an environment note each start; returns how many there were since this was asked."""
    python, notes = Path(layout.env(name)) / "bin" / "python", Path(layout.root) / f"starts-{name}"
    python.unlink()
    python.write_text(f'#!/bin/sh\necho started >>{notes}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)

    def starts() -> int:
        found = notes.read_text().count("started") if notes.exists() else 0
        notes.unlink(missing_ok=True)
        return found

    return starts


def remembered(outcome: Outcome) -> dict[str, Verified]:
    return verified.after({}, (), outcome.ran, datetime.datetime.now(datetime.UTC))


def test_what_has_run_is_not_started_again(layout: Layout) -> None:
    publish(layout)
    starts = count_starts(layout)
    first = on(layout).of([spec("json")], {})
    assert (first.problems, first.kept, first.tried, starts()) == ([], [], ["analysis"], 1)
    again = on(layout).of([spec("json")], remembered(first))
    assert (again.problems, again.kept, again.tried, again.ran, starts()) == ([], ["analysis"], [], {}, 0)


def test_to_remember_takes_no_process(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(layout)
    memory = remembered(on(layout).of([spec()], {}))
    monkeypatch.setattr(os, "fork", None)
    assert on(layout).of([spec()], memory).kept == ["analysis"]


def test_what_fails_is_tried_every_time(layout: Layout) -> None:
    publish(layout)
    starts = count_starts(layout)
    for _time in range(2):
        outcome = on(layout).of([spec("no_such_module")], {})
        assert (len(outcome.problems), outcome.tried, outcome.ran, starts()) == (1, ["analysis"], {}, 1)


def other_kernel(_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*before[:2], "99.9.9", *before[3:])))


def other_host(_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((before[0], "golden-image", *before[2:])))


def other_libc(_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "confstr", lambda _name: "glibc 2.99")


def other_libraries(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Path(layout.root) / "ld.so.cache"
    cache.write_bytes(b"libGL.so.1")
    monkeypatch.setattr(verify, "_LIBRARIES", str(cache))


def other_group(_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getegid", lambda: 4711)


def other_generation(layout: Layout, _monkeypatch: pytest.MonkeyPatch) -> None:
    generation = shares.add_generation(Path(layout.root), "analysis", "ba9876543210")
    (generation / "bin").mkdir()
    (generation / "bin" / "python").symlink_to(Path(layout.generation("analysis", ID)) / "bin" / "python")
    shares.publish(Path(layout.root), "analysis", "ba9876543210")


def rebuilt_in_its_place(layout: Layout, _monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Path(layout.manifest("analysis", ID))
    witness.chmod(0o644)
    shares.write_json(witness, shares.manifest("analysis", ID, created="2026-02-28T12:00:00+00:00"))
    witness.chmod(0o444)


def opened_by_its_owner(layout: Layout, _monkeypatch: pytest.MonkeyPatch) -> None:
    os.chmod(layout.manifest("analysis", ID), 0o644)


def opened_and_closed_again(layout: Layout, _monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in (0o644, 0o444):
        os.chmod(layout.manifest("analysis", ID), mode)


CHANGES = (
    *(other_kernel, other_host, other_libc, other_libraries, other_group),
    *(other_generation, rebuilt_in_its_place, opened_by_its_owner, opened_and_closed_again),
)


def opened_at_its_top(layout: Layout, _monkeypatch: pytest.MonkeyPatch) -> None:
    os.chmod(layout.generation("analysis", ID), 0o757)


def something_replaced_at_its_top(layout: Layout, _monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest is as it was."""
    generation = Path(layout.generation("analysis", ID))
    mode = generation.stat().st_mode
    generation.chmod(0o755)
    shutil.copytree(generation / "bin", generation / "new", symlinks=True)
    (generation / "bin").rename(Path(layout.root) / "aside")
    (generation / "new").rename(generation / "bin")
    generation.chmod(mode)


@pytest.mark.parametrize("change", [*CHANGES, opened_at_its_top, something_replaced_at_its_top])
def test_after_a_change_it_is_started(
    change: t.Callable[[Layout, pytest.MonkeyPatch], None], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(layout)
    starts = count_starts(layout)
    memory = remembered(on(layout).of([spec("json")], {}))
    assert (on(layout).of([spec("json")], memory).tried, starts()) == ([], 1)
    change(layout, monkeypatch)
    changed = on(layout).of([spec("json")], memory)
    assert (changed.problems, changed.tried, starts()) == ([], ["analysis"], 1)
    assert on(layout).of([spec("json")], remembered(changed)).tried == []


def test_other_imports_are_tried(layout: Layout) -> None:
    publish(layout)
    memory = remembered(on(layout).of([spec("json")], {}))
    for imports in ((), ("json", "csv")):
        assert on(layout).of([spec(*imports)], memory).tried == ["analysis"]


def test_another_share_in_its_place_is_another(layout: Layout) -> None:
    publish(layout)
    memory = remembered(on(layout).of([spec()], {}))
    other = Verification(Inspection(Share("nas_a", layout)), "another id", SystemRunner())
    assert other.of([spec()], memory).tried == ["analysis"]


def test_what_was_published_meanwhile_has_not_run(layout: Layout) -> None:
    publish(layout)
    shares.add_generation(Path(layout.root), "analysis", "ba9876543210")
    python = Path(layout.env("analysis")) / "bin" / "python"
    python.unlink()
    python.write_text(f"#!/bin/sh\nln -sfn ../generations/analysis/ba9876543210 {layout.env('analysis')}\n")
    python.chmod(0o755)
    outcome = on(layout).of([spec()], {})
    assert (outcome.problems, outcome.tried, outcome.ran) == ([], ["analysis"], {})


def test_what_is_not_there_any_more_is_a_problem(layout: Layout) -> None:
    publish(layout)
    memory = remembered(on(layout).of([spec()], {}))
    os.rename(layout.manifest("analysis", ID), f"{layout.root}/manifest")
    assert "is not complete" in on(layout).of([spec()], memory).problems[0]
    Path(layout.manifest("analysis", ID)).write_text("{")
    assert "is not valid JSON" in on(layout).of([spec()], memory).problems[0]
    os.unlink(layout.env("analysis"))
    assert "is not published" in on(layout).of([spec()], memory).problems[0]


def test_a_mount_without_exec_is_a_problem_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(layout)
    memory = remembered(on(layout).of([spec()], {}))
    monkeypatch.setattr(verify, "is_noexec", lambda _path: True)
    outcome = on(layout).of([spec()], memory)
    assert ("mounted noexec" in outcome.problems[0], outcome.kept, outcome.ran) == (True, [], {})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_what_was_not_started_is_not_remembered(layout: Layout) -> None:
    """``nobody`` may not look into the share, so that nothing is known of its environments."""
    publish(layout)
    os.chmod(layout.root, 0o700)
    as_nobody = Verification(Inspection(Share("nas_a", layout)), shares.SHARE_ID, SystemRunner(), nobody())
    outcome = as_nobody.of([spec()], {})
    assert (as_nobody.starts, outcome.problems, outcome.ran) == (False, [], {})


def test_whether_others_can_write_costs_nothing_where_all_has_run(layout: Layout) -> None:
    generation = publish(layout)
    (generation / "bin").chmod(0o775)
    assert on(layout).open_places(kept=["analysis"]) == []
    assert f"can write to {generation}/bin" in on(layout).open_places()[0]
    os.chmod(layout.python, 0o775)
    assert on(layout).open_places(kept=["analysis"]) == []
    assert f"can write to {layout.python}, " in on(layout).open_places(kept=[])[0]
    os.chmod(layout.envs, 0o775)
    assert f"can write to {layout.envs}, " in on(layout).open_places(kept=["analysis"])[0]
    os.chmod(layout.envs, 0o755)
    mode = generation.stat().st_mode
    generation.chmod(0o757)
    assert f"can write to {generation}, " in on(layout).open_places(kept=["analysis"])[0]
    generation.chmod(mode)
    os.chmod(layout.manifest("analysis", ID), 0o464)
    assert f"can write to {layout.manifest('analysis', ID)}," in on(layout).open_places(kept=["analysis"])[0]


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


def test_of_what_was_in_force_before_what_is_tried_the_imports_of_that_time_count(layout: Layout) -> None:
    lock = "iniconfig==2.1 \\\n    --hash=sha256:" + "2" * 64 + "\n"
    shares.add_lock(Path(layout.root), "analysis", lock)
    other = dataclasses.replace(spec("json", "no_such_module"), try_on={"hosts": ["gpu1"]})
    publish(layout, imports=["json"])
    assert on(layout).of([other], {}).problems == []
    # What is in force is what is declared: so are the imports.
    shutil.rmtree(layout.generations_of("analysis"))
    digest = read_lock(layout, "analysis").lock.digest
    publish(layout, imports=["json"], lock={"digest": digest, "spec": "3" * 64, "text": "4" * 64})
    assert "no_such_module" in "".join(on(layout).of([other], {}).problems)
