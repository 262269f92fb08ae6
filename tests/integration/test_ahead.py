# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml with nothing to do starts one module on a builder; with anything to do, each module that has to do it."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.tests.support.sites import RESULT, ROOT, Run, Site, finish, make_site

ENVS: list[dict[str, t.Any]] = [{"name": "first", "requirements": ["six"], "imports": ["six"]}]
# What a builder starts that has something to do, in this order, perhaps not all of them.
ALL = ["uv_share", "uv_binary", "uv_python", "uv_env_compare", "uv_profile", "uv_env_info"]
# Notes each module that is started.
PYTHON = """\
#!/bin/sh
for word; do
    case "$word" in */AnsiballZ_*) name=${{word##*/AnsiballZ_}}; echo "${{name%.py}}" >>{notes};; esac
done
exec {python} "$@"
"""


@dataclasses.dataclass(frozen=True)
class Noted:
    """A site that notes which modules start."""

    site: Site

    def run(self, *options: str, envs: t.Sequence[dict[str, t.Any]] = (), **variables: t.Any) -> tuple[Run, list[str]]:
        self.notes.write_text("")
        run = self.site.run(envs or ENVS, *options, **variables)
        return run, self.started()

    def settle(self, envs: list[dict[str, t.Any]] | None = None) -> None:
        """Run until nothing is left to do or to remember: of what changed less than two seconds ago, nothing is."""
        for _run in range(3):
            run, started = self.run(envs=envs)
            assert (run.rc, run.changed) == (0, 0), run.output
            if started == ["uv_share"]:
                return
        raise AssertionError(started)

    def started(self) -> list[str]:
        return self.notes.read_text().split()

    @property
    def notes(self) -> Path:
        return self.site.path / "started"


@pytest.fixture(scope="module")
def noted(public: Path) -> Noted:
    """A converged site."""
    path = public / "ahead"
    site = make_site(path, {"ansible_python_interpreter": str(path / "wrapper")})
    (path / "wrapper").write_text(PYTHON.format(notes=path / "started", python=sys.executable))
    (path / "wrapper").chmod(0o755)
    (path / "started").touch(mode=0o666)
    (path / "started").chmod(0o666)
    noted = Noted(site)
    run, started = noted.run()
    assert run.rc == 0, run.output
    assert [name for name in started if name in ALL] == [*ALL[:2], "uv_binary", "uv_python", *ALL[2:]]
    noted.settle()
    return noted


def results(run: Run) -> list[dict[str, t.Any]]:
    """What tasks have returned, without what differs from run to run."""
    found = [json.loads(match["data"]) for match in RESULT.finditer(run.output)]
    for result in found:
        for key in ("diff", "warnings", "progress", "ahead", "work"):
            result.pop(key, None)
        for environment in result.get("environments", ()):
            environment.pop("age_seconds", None)
    return found


@pytest.mark.compat
@pytest.mark.parametrize("options", [(), ("--check", "--diff"), ("--tags", "tagged"), ("--skip-tags", "profile")])
def test_nothing_to_do_is_one_module(options: tuple[str, ...], noted: Noted) -> None:
    run, started = noted.run(*options)
    assert (run.rc, run.changed) == (0, 0), run.output
    assert started == ["uv_share"]


@pytest.mark.parametrize("tag", ["uv", "python", "envs", "profile", "verify"])
def test_each_result_is_what_its_module_would_have_returned(tag: str, noted: Noted) -> None:
    """A part by itself asks nothing ahead."""
    whole, _started = noted.run()
    part, started = noted.run("--tags", tag)
    assert (part.rc, part.changed, len(started)) == (0, 0, 1), part.output
    assert [result for result in results(part) if result not in results(whole)] == []


def test_who_wants_it_verified_in_every_run_gets_that(noted: Noted) -> None:
    run, started = noted.run(uvnas_verify="always")
    assert (run.rc, run.changed) == (0, 0), run.output
    assert started == ["uv_share", "uv_env_info"]


def unlink_uv(site: Site) -> None:
    (site.share / "bin" / "uv").unlink()


def unpublish(site: Site) -> None:
    (site.share / "envs" / "first").unlink()


def remove_lock(site: Site) -> None:
    (site.share / "locks" / "first.txt").unlink()


def change_profile(site: Site) -> None:
    with open(site.path / "profile.d" / "uvnas.sh", "a", encoding="utf-8") as file:
        file.write("# changed\n")


def open_directory(site: Site) -> None:
    (site.share / "locks").chmod(0o777)


@pytest.mark.parametrize(
    "damage", [unlink_uv, unpublish, remove_lock, change_profile, open_directory], ids=lambda damage: damage.__name__
)
def test_something_to_do_is_done(damage: t.Callable[[Site], None], noted: Noted) -> None:
    damage(noted.site)
    run, started = noted.run()
    assert run.rc == 0, run.output
    assert run.changed > 0
    assert {*ALL} <= {*started}
    noted.settle()


def test_what_has_not_run_here_is_tried(noted: Noted) -> None:
    shutil.rmtree(noted.site.path / "state")
    run, started = noted.run()
    assert (run.rc, run.changed) == (0, 0), run.output
    assert started == ["uv_share", "uv_env_info"]
    noted.settle()


def test_another_environment_is_built(noted: Noted) -> None:
    more = [*ENVS, {"name": "second", "requirements": ["idna"]}]
    run, started = noted.run(envs=more)
    assert run.rc == 0, run.output
    assert noted.site.link("second")
    assert "uv_env" in started
    noted.settle(more)
    gone = [*ENVS, {"name": "second", "state": "absent"}]
    assert noted.run(envs=gone)[0].changed == 1
    assert noted.site.link("second") is None
    noted.settle()


@pytest.mark.parametrize(
    "variables",
    [{"uvnas_upgrade": ["first"]}, {"uvnas_upgrade_packages": ["six"]}, {"uvnas_upgrade_pythons": ["all"]}],
    ids=lambda variables: next(iter(variables)),
)
def test_an_upgrade_is_not_asked_about(variables: dict[str, t.Any], noted: Noted) -> None:
    if "uvnas_upgrade_pythons" in variables:
        variables = {"uvnas_upgrade_pythons": [noted.site.python]}
    run, started = noted.run(**variables)
    assert run.rc == 0, run.output
    assert {"uv_binary", "uv_python", "uv_env_compare", "uv_profile", "uv_env_info"} <= {*started}


def test_what_changes_after_site_yml_in_the_same_run_is_seen(noted: Noted) -> None:
    """What it has seen holds for its own tasks, and not for roles that somebody runs afterwards."""
    envs, link = noted.site.link("first"), noted.site.share / "envs" / "first"
    local = {"hosts": "all", "gather_facts": False}
    remove = {"name": "Remove it", "ansible.builtin.file": {"path": str(link), "state": "absent"}}
    playbook = noted.site.path / "both.yml"
    playbook.write_text(
        yaml.safe_dump(
            [
                {"name": "Site", "import_playbook": str(ROOT / "playbooks" / "site.yml")},
                {"name": "Break it", **local, "tasks": [remove]},
                {"name": "Mend it", **local, "roles": ["uvnas.cluster.envs"]},
                {"name": "Break it again", **local, "tasks": [remove]},
                {"name": "Site again", "import_playbook": str(ROOT / "playbooks" / "site.yml")},
            ]
        )
    )
    run = finish(noted.site.start(ENVS, playbook=playbook))
    assert run.rc == 0, run.output
    assert noted.site.link("first") == envs
    assert len(re.findall(r"\bchanged=4\b", run.output)) == 1, run.output
