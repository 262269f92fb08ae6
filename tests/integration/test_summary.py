# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs say at their end, on the screen and as JSON: plans, changes, what nobody declares, builders that fail."""

from __future__ import annotations

import json
import os
import re
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, Site, finish, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel

HOSTS: dict[str, dict[str, t.Any] | None] = {"builder": None, "node1": None, "node2": None}
FIRST = {"name": "first", "requirements": ["alpha==1.0"]}
UPGRADED = {"name": "first", "requirements": ["alpha==2.0", "beta"]}
INFO = ROOT / "playbooks" / "info.yml"


@pytest.fixture(scope="module")
def bare(public: Path) -> Site:
    """A site with two members, whose share is not there yet."""
    links = public / "links"
    for name, version in (("alpha", "1.0"), ("alpha", "2.0"), ("beta", "1.0")):
        write_small_wheel(links, name, version)
    variables = {
        "uvnas_index": {"find_links": [str(links)], "offline": True},
        "uvnas_report_file": "report.json",
        "uvnas_profile_dir": f"{public}/profile.d/{{{{ inventory_hostname }}}}",
        "uvnas_profile_fish_dir": f"{public}/fish/{{{{ inventory_hostname }}}}",
    }
    return make_site(public / "site", variables, HOSTS)


@pytest.fixture(scope="module")
def predicted(bare: Site) -> Run:
    """A check while there is nothing."""
    return bare.run([FIRST], "--check", "--diff")


@pytest.fixture(scope="module")
def planned(bare: Site, predicted: Run) -> dict[str, t.Any]:
    """The report of that check."""
    assert predicted.rc == 0, predicted.output
    return report(bare)


@pytest.fixture(scope="module")
def site(bare: Site, planned: dict[str, t.Any]) -> Site:
    """The same, converged."""
    assert planned["check_mode"] is True
    first = bare.run([FIRST])
    assert first.rc == 0, first.output
    return bare


def report(site: Site) -> dict[str, t.Any]:
    data: dict[str, t.Any] = json.loads((site.files / "report.json").read_text(encoding="utf-8"))
    return data


def lines(run: Run) -> list[str]:
    """The lines of the summary."""
    found = re.findall(r'"msg": \[\n(.*?)\n    \]', run.output, re.DOTALL)
    return [json.loads(line.strip().removesuffix(",")) for line in found[-1].splitlines()] if found else []


def environments(data: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    (share,) = data["shares"]
    return {environment["name"]: environment for environment in share["environments"]}


def failed_on(run: Run) -> set[str]:
    """The hosts of which the screen says that something failed."""
    return set(re.findall(r"^(?:failed|fatal): \[(\w+)\]", run.output, re.MULTILINE))


def test_a_check_of_a_new_share(predicted: Run, planned: dict[str, t.Any]) -> None:
    assert lines(predicted)[0] == "nas_a: first  would be built  new share; versions are known once it is locked"
    assert lines(predicted)[1].startswith("The same as JSON: ")
    first = environments(planned)["first"]
    assert (first["action"], first["id"], first["waits_for"]) == ("build", None, "share")
    for oddity in ("Could not match", "DEPRECATION"):
        assert oddity not in predicted.output
    # But for the plays that nobody has a part in where no environment has try_on, and without uvnas_prune.
    plays = re.findall(r"PLAY \[([^\]]+)\] \*+\nskipping: no hosts matched", predicted.output)
    assert plays == ["Try environments before they are published", "Make room"]
    assert predicted.output.count("no hosts matched") == 2
    assert predicted.output.count("uvnas.sh, uvnas.csh, uvnas.fish: new, shares nas_a\n") == len(HOSTS)
    assert "Written by uvnas.cluster" not in predicted.output
    # Nobody is asked whether environments run that are not there yet.
    assert "Verify that this host" not in predicted.output


def test_a_check_of_an_upgrade_and_the_upgrade(site: Site) -> None:
    checked = site.run([UPGRADED], "--check")
    assert lines(checked)[0] == "nas_a: first  would be built  alpha 1.0 -> 2.0, +1", checked.output
    before = environments(report(site))["first"]
    assert before["packages_changed"] == ["alpha 1.0 -> 2.0", "beta 1.0 (new)"]
    done = site.run([UPGRADED])
    assert re.fullmatch(r"nas_a: first  built  alpha 1\.0 -> 2\.0, \+1  [0-9.]+ s", lines(done)[0]), done.output
    assert re.fullmatch(r" {21}Python [0-9.]+  2 packages  [0-9.]+ kB  \([0-9.]+ kB not shared\)", lines(done)[1])
    assert lines(done)[2].startswith("Not shared: ")
    data = report(site)
    after = environments(data)["first"]
    assert (after["id"], after["previous_id"]) == (before["id"], before["previous_id"])
    assert (data["check_mode"], data["failed_hosts"], data["hosts"]) == (False, [], list(HOSTS))
    assert data["shares"][0]["verified_by"] == list(HOSTS)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((site.files / "report.json").stat().st_mode) == 0o666 & ~umask
    assert lines(site.run([UPGRADED]))[0].startswith("nas_a: first  unchanged  Python ")


def test_what_nobody_declares(site: Site) -> None:
    extra = {"name": "extra", "requirements": ["beta"]}
    assert site.run([UPGRADED, extra]).rc == 0
    without = site.run([UPGRADED])
    assert re.match("nas_a: extra  not declared  Python ", lines(without)[0]), without.output
    assert re.match("nas_a: first  unchanged     Python ", lines(without)[1])
    assert [fact["declared"] for fact in environments(report(site)).values()] == [False, True]
    purged = site.run([UPGRADED], "--check", uvnas_purge=True)
    assert lines(purged)[0] == "nas_a: extra  would be removed"


def test_an_environment_that_fails_does_not_keep_members_from_the_others(site: Site) -> None:
    failed = site.run([UPGRADED, {"name": "never", "requirements": ["nowhere"]}])
    assert failed.rc == 2
    assert any(re.fullmatch(r"nas_a: never +FAILED +it is not on the share", line) for line in lines(failed))
    data = report(site)
    assert (data["failed_hosts"], data["shares"][0]["verified_by"]) == (["builder"], ["node1", "node2"])
    # The builder said why.
    assert failed_on(failed) == {"builder"}


def test_members_of_a_builder_that_failed(site: Site) -> None:
    failed = site.run([UPGRADED], uvnas_min_free_bytes=1 << 60, uvnas_uv_version="0.0.1")
    assert failed.rc == 2
    assert lines(failed)[0] == "share nas_a: not verified, as its builder builder failed", failed.output
    assert failed_on(failed) == {"builder"}
    data = report(site)
    assert (data["failed_hosts"], data["shares"][0]["builder_failed"]) == (["builder"], True)


def test_a_summary_though_nothing_works_anywhere(site: Site) -> None:
    (site.share / "envs" / "first").rename(site.share / "envs" / "aside")
    try:
        run = finish(site.start([UPGRADED], playbook=ROOT / "playbooks" / "verify.yml"))
    finally:
        (site.share / "envs" / "aside").rename(site.share / "envs" / "first")
    assert run.rc == 2
    assert lines(run), run.output
    assert report(site)["failed_hosts"] == list(HOSTS)


def test_a_report_that_cannot_be_written_is_an_error_before_anything_is_done(site: Site) -> None:
    refused = site.run([FIRST], uvnas_report_file="no/such/report.json")
    assert refused.rc == 2
    assert "no/such is not a directory; make it first" in refused.output
    assert "TASK [uvnas.cluster.share" not in refused.output


def test_info_says_it_once_for_a_share(site: Site) -> None:
    run = finish(site.start([UPGRADED], playbook=INFO))
    assert run.rc == 0, run.output
    said = lines(run)
    assert sum(line.startswith("share nas_a: ") for line in said) == 1
    assert said[0] == f"share nas_a: {site.share}, seen by builder"
    assert len([line for line in said if re.search(r" in force +built ", line)]) == 2
    assert len([line for line in said if re.search(r" retired since [0-9: -]+ UTC +built ", line)]) == 1
    extra = r"  extra +not declared, Python [0-9.]+, 1 package, since [0-9: -]+ UTC"
    assert any(re.fullmatch(extra, line) for line in said)
    assert any(re.match(r"  free +[0-9.]+ [GT]B", line) for line in said)
    assert len([line for line in said if "safe to remove: " in line]) == 1
    between = run.output.partition("TASK [Measure")[2].partition("PLAY [See what of it is safe")[0]
    assert "node1" not in between
    (share,) = report(site)["shares"]
    assert (share["asked"], share["interpreters"][0]["requests"]) == ("builder", [site.python])
    assert share["cache_bytes"] > 0
    assert share["bytecode_bytes"] > 0


def test_info_from_another_host_where_the_first_cannot_say(site: Site) -> None:
    limited = finish(site.start([UPGRADED], "--limit", "node1,node2", playbook=INFO))
    assert lines(limited)[0] == f"share nas_a: {site.share}, seen by node1"
    gone = {**HOSTS, "builder": {"ansible_python_interpreter": "/nowhere/python"}}
    other = Site(site.path, site.python, site.variables, gone)
    run = finish(other.start([UPGRADED], playbook=INFO))
    assert run.rc == 0, run.output
    assert lines(run)[0] == f"share nas_a: {site.share}, seen by node1"


def test_info_where_nobody_can_say(site: Site) -> None:
    run = finish(site.start([UPGRADED], playbook=INFO, ansible_python_interpreter="/nowhere/python"))
    assert run.rc == 2
    assert "share nas_a: none of the hosts that were asked can say what is on it (builder, node1, node2)" in run.output
