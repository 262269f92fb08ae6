# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades that change nothing, on two builders: packages that nobody has, and those that something holds."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import pythons
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel

ENVS: list[dict[str, t.Any]] = [
    {"name": "train", "requirements": ["numlike<2", "tool"], "shares": ["nas_a"]},
    {"name": "legacy", "requirements": ["needs_old"], "shares": ["nas_b"]},
    {"name": "vendor", "lock": "vendor.txt", "shares": ["nas_b"]},
]


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    links = public / "links"
    for version in ("1.0", "2.0"):
        write_small_wheel(links, "numlike", version)
    write_small_wheel(links, "tool", "1.0")
    write_small_wheel(links, "needs_old", "1.0", ["numlike<2", "onlyhere"])
    write_small_wheel(links, "onlyhere", "1.0")
    write_small_wheel(links, "pinned", "1.0")
    made = make_site(
        public / "site",
        {"uvnas_index": {"find_links": [str(links)]}, "uvnas_uv_variables": {"UV_OFFLINE": "1"}},
        {"builder": None, "other": None},
    )
    shares = [
        {"name": name, "root": str(made.path / "nas" / name), "builder": builder, "owner": pythons.owner()}
        for name, builder in (("nas_a", "builder"), ("nas_b", "other"))
    ]
    digest = hashlib.sha256((links / "pinned-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (made.files / "vendor.txt").write_text(f"pinned==1.0 --hash=sha256:{digest}\n")
    made = dataclasses.replace(made, variables={**made.variables, "uvnas_shares": shares})
    done = made.run(ENVS)
    assert done.rc == 0, done.output
    return made


def errors(run: Run) -> list[str]:
    """The lines of all errors, without where they come from."""
    found = re.findall(r"^\[ERROR\]: Task failed: Action failed: (.*?)\nOrigin: ", run.output, re.DOTALL | re.MULTILINE)
    return [line for text in found for line in text.splitlines()]


def warnings(run: Run) -> list[str]:
    return [line.removeprefix("[WARNING]: ") for line in run.output.splitlines() if line.startswith("[WARNING]: env")]


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_what_no_builder_has_is_an_error_once_all_have_answered(site: Site, options: tuple[str, ...]) -> None:
    done = site.run(ENVS, *options, "-euvnas_upgrade_packages=Num.Likee,tool,onlyhere,pinned")
    assert done.rc == 2
    assert errors(done) == [
        "Num.Likee cannot be upgraded: no lock has it. Did you mean numlike?",
        (
            "pinned cannot be upgraded: only environments with a project or a ready-made lock have it (vendor). "
            "Change its uv.lock, or the file, and run again."
        ),
    ]
    # What each builder has was looked at all the same.
    assert sorted(warnings(done)) == [
        "environment legacy: onlyhere 1.0: the newest there is",
        "environment train: tool 1.0: the newest there is",
    ]


def test_what_only_one_builder_has_is_not_an_error(site: Site) -> None:
    done = site.envs(ENVS, "-euvnas_upgrade_packages=ONLYHERE")
    assert (done.rc, done.changed) == (0, 0), done.output
    assert warnings(done) == ["environment legacy: onlyhere 1.0: the newest there is"]


def test_what_holds_a_package_is_reported(site: Site) -> None:
    done = site.envs(ENVS, "-euvnas_upgrade_packages=numlike")
    assert (done.rc, done.changed) == (0, 0), done.output
    assert sorted(warnings(done)) == [
        "environment legacy: numlike 1.0: held by needs-old 1.0, which wants numlike<2",
        "environment train: numlike 1.0: held by numlike<2 (requirements)",
    ]
    everything = site.envs(ENVS, "-euvnas_upgrade=train")
    assert (everything.rc, everything.changed) == (0, 0), everything.output
    assert warnings(everything) == ["environment train: nothing newer that its declaration allows"]


def test_a_builder_that_does_not_answer_may_have_it(site: Site) -> None:
    down = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    without = dataclasses.replace(site, hosts={"builder": None, "other": down})
    done = without.envs(ENVS, "-euvnas_upgrade_packages=numlikee")
    assert done.rc == 4
    assert errors(done) == []


def test_with_a_real_index(tmp_path_factory: pytest.TempPathFactory, public: Path) -> None:
    site = make_site(public / "real")
    before = {"name": "real", "requirements": ["requests==2.28.0", "six", "idna"], "exclude_newer": "2022-07-15"}
    assert site.run([before]).rc == 0
    done = site.envs([before], "-euvnas_upgrade_packages=six,urllib3,idna")
    assert (done.rc, done.changed) == (0, 0), done.output
    assert warnings(done) == [
        "environment real: idna 3.3: held by exclude_newer 2022-07-15",
        "environment real: six 1.16.0: held by exclude_newer 2022-07-15",
        "environment real: urllib3 1.26.10: held by exclude_newer 2022-07-15",
    ]
    now = {**before, "exclude_newer": None}
    now.pop("exclude_newer")
    done = site.envs([now], "-euvnas_upgrade_packages=urllib3,idna")
    assert done.rc == 0, done.output
    done = site.envs([now], "-euvnas_upgrade_packages=urllib3")
    assert re.fullmatch(
        r"environment real: urllib3 1\.26\.\d+: held by requests 2\.28\.0, which wants urllib3>=1\.21\.1,<1\.27",
        *warnings(done),
    )
