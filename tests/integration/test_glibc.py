# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares that are used by hosts with an older glibc than the builder's: what is locked, built, and said of it."""

from __future__ import annotations

import json
import os
import re
import socket
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import needs
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import here, is_older
from ansible_collections.uvnas.cluster.tests.support.libraries import library
from ansible_collections.uvnas.cluster.tests.support.pythons import PREFIX, VERSION, key, owner
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, finish, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_sdist, write_small_wheel

SERIES = VERSION.rpartition(".")[0]
HERE = here()
# The older hosts have the oldest glibc that the Python of the tests runs with.
OLDER: str = needs.scan("/nowhere", os.path.join(PREFIX, "bin", f"python{SERIES}"), key()).interpreter


def tag(glibc: str) -> str:
    return f"manylinux_{glibc.replace('.', '_')}_{HERE.arch}"


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A site with two shares, and packages for this machine and for older ones."""
    assert is_older(OLDER, HERE.libc_version), "these tests need a Python built for an older glibc"
    directory = public / "site"
    links = public / "links"
    write_small_wheel(links, "sample", "1.0", tag="py3-none-manylinux2014_" + HERE.arch)
    write_small_wheel(links, "sample", "2.0", tag="py3-none-" + tag(HERE.libc_version))
    write_small_wheel(links, "both", "1.0", tag="py3-none-manylinux2014_" + HERE.arch)
    write_small_wheel(links, "both", "1.0", tag="py3-none-" + tag(HERE.libc_version))
    for name, glibc in (("built_new", HERE.libc_version), ("built_old", "2.14")):
        content = library(public / name / "it.so", f"GLIBC_{glibc}").read_bytes()
        write_small_sdist(links, name, "1.0", {"it.so": content})
    found = make_site(directory, {"uvnas_index": {"find_links": [str(links)], "offline": True}})
    made = found.run([], uvnas_pythons=[SERIES], uvnas_shares=shares(found))
    assert made.rc == 0, made.output
    return found


def shares(site: Site, a: str | None = None, b: str | None = None) -> list[dict[str, t.Any]]:
    """Both shares, with the glibc that each is declared for."""
    found = []
    for name, root, glibc in (("nas_a", site.share, a), ("nas_b", site.share.parent / "other", b)):
        share = {"name": name, "root": str(root), "builder": "builder", "owner": owner()}
        found.append({**share, **({"glibc": glibc} if glibc else {})})
    return found


def env(name: str, *requirements: str, **more: t.Any) -> dict[str, t.Any]:
    return {
        "name": name,
        "requirements": list(requirements),
        "imports": list(requirements),
        "shares": ["nas_a"],
        **more,
    }


def build(site: Site, *envs: dict[str, t.Any], a: str | None = None, b: str | None = None, **more: t.Any) -> Run:
    return site.envs(envs, "--diff", uvnas_shares=shares(site, a, b), **more)


def verify(site: Site, *envs: dict[str, t.Any], a: str | None = None) -> Run:
    options = {"uvnas_shares": shares(site, a), "uvnas_host_shares": ["nas_a"]}
    return finish(site.start(envs, play="uvnas.cluster.verify", **options))


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def test_what_is_locked_and_built_is_for_the_oldest_host(site: Site) -> None:
    wanted = env("floor", "sample", "both")
    succeeded(build(site, wanted))
    assert site.packages("floor") == {"both": "1.0", "sample": "2.0"}
    needs = {"glibc": HERE.libc_version, "tag": tag(HERE.libc_version)}
    assert site.manifest("floor")["platform"] == {
        "arch": HERE.arch,
        "libc": "gnu",
        "glibc": HERE.libc_version,
        "interpreter": OLDER,
        "packages": {"both": needs, "sample": needs},
    }
    assert "glibc" not in site.manifest("floor")["options"]

    predicted = succeeded(site.envs([wanted], "--check", "--diff", uvnas_shares=shares(site, OLDER)))
    done = succeeded(build(site, wanted, a=OLDER))
    assert predicted.diff == done.diff
    assert "  sample 2.0 -> 1.0" in done.diff
    assert site.packages("floor") == {"both": "1.0", "sample": "1.0"}
    manifest = site.manifest("floor")
    assert (manifest["platform"]["glibc"], manifest["platform"]["packages"]) == (OLDER, {})
    assert manifest["options"]["glibc"] == OLDER
    assert succeeded(build(site, wanted, a=OLDER)).changed == 0
    succeeded(verify(site, wanted, a=OLDER))


def test_environment_on_two_shares_has_one_lock_for_the_older_hosts_of_both(site: Site, tmp_path: Path) -> None:
    wanted = env("clone", "sample", shares=["nas_a", "nas_b"])
    kept = {"uvnas_lock_dir": str(tmp_path / "locks")}
    succeeded(build(site, wanted, b=OLDER, **kept))
    other = site.share.parent / "other"
    assert site.link("clone") == os.readlink(other / "envs" / "clone")
    assert site.packages("clone") == {"sample": "1.0"}
    assert (site.share / "locks" / "clone.txt").read_text() == (other / "locks" / "clone.txt").read_text()
    assert succeeded(build(site, wanted, b=OLDER, **kept)).changed == 0


def test_what_is_built_from_source_and_needs_more_is_not_published(site: Site) -> None:
    succeeded(build(site, env("source", "built_old"), a=OLDER))
    before = site.link("source")
    failed = build(site, env("source", "built_new"), env("fine", "built_old"), a=OLDER)
    assert failed.rc != 0
    said = f"environment source: built-new 1.0 (linux_{HERE.arch}) needs glibc {HERE.libc_version}, "
    assert f"{said}but it is for hosts with {OLDER}" in failed.output
    assert "Constrain built-new to a version with a wheel" in failed.output
    assert site.link("source") == before
    assert not site.unsealed("source")
    assert site.link("fine")
    # Nobody declared an older host: the manifest says what it needs, and verify goes by that.
    succeeded(build(site, env("source", "built_new")))
    assert site.manifest("source")["platform"]["packages"]["built-new"]["tag"] == f"linux_{HERE.arch}"


def test_ready_lock_without_a_wheel_for_older_hosts(site: Site) -> None:
    succeeded(build(site, env("newest", "sample")))
    (site.files / "ready.txt").write_text((site.share / "locks" / "newest.txt").read_text())
    failed = build(site, {"name": "ready", "lock": "ready.txt", "shares": ["nas_a"]}, a=OLDER)
    assert failed.rc != 0
    assert "environment ready: its lock cannot be installed here" in failed.output
    assert "sample==2.0 has no wheels with a matching platform tag" in failed.output
    assert site.link("ready") is None


def test_builder_that_is_older_than_declared(site: Site) -> None:
    failed = build(site, env("newer", "sample"), a="2.99")
    assert failed.rc != 0
    said = f"environment newer: declared for glibc 2.99, but this builder itself has {HERE.libc_version}"
    assert said in failed.output
    assert site.link("newer") is None


def test_host_that_is_too_old_is_told_by_verify(site: Site) -> None:
    """As if the environment had been built elsewhere: nothing but the host's glibc is other than it would be."""
    wanted = env("future", "sample")
    succeeded(build(site, wanted))
    path = site.share / "envs" / "future" / ".uvnas.json"
    manifest = json.loads(path.read_text())
    manifest["platform"]["packages"]["sample"] = {"glibc": "2.99", "tag": tag("2.99")}
    path.write_text(json.dumps(manifest))
    failed = verify(site, wanted, a=OLDER)
    assert failed.rc != 0
    said = (
        f"environment future: cannot run here: sample 2.0 ({tag('2.99')}) needs glibc 2.99; "
        f"this host ({socket.gethostname()}) has {HERE.libc_version}"
    )
    assert said in failed.output
    assert f"Share nas_a is declared for glibc {OLDER}: run site.yml" in failed.output
    assert "Traceback" not in failed.output


def test_host_that_is_older_than_the_share_is_declared_for_is_warned_of(site: Site) -> None:
    wanted = env("runs", "sample")
    succeeded(build(site, wanted))
    done = succeeded(verify(site, wanted, a="2.99"))
    said = f"has glibc {HERE.libc_version}, but share nas_a is declared for 2.99 and newer"
    assert said in re.sub(r"\s+", " ", done.output)


def test_number_without_quotes_is_refused(site: Site) -> None:
    failed = site.run([], uvnas_shares=[{**shares(site)[0], "glibc": 2.3}])
    assert failed.rc != 0
    assert "share nas_a: glibc must be a string; quote it" in failed.output
