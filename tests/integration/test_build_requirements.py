# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that have to be built, by site.yml, on two shares: with what their lock says and with nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.pythons import owner
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_backend, write_sdist_for, write_small_wheel

TOOLS: dict[str, t.Any] = {"name": "tools", "requirements": ["alpha"], "imports": ["alpha"]}


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A site with two shares. alpha has to be built by smith, which asks for helper."""
    path, links = public / "site", public / "links"
    write_backend(links, "smith", "1.0", requires=["core"], asks=["helper"])
    write_small_wheel(links, "core", "1.0")
    write_small_wheel(links, "helper", "1.0")
    write_sdist_for(links, "alpha", "1.0", "smith", ["smith>=1"])
    roots = {name: path / name / "uv" for name in ("nas_a", "nas_b")}
    shares = [{"name": name, "root": str(root), "builder": "builder", "owner": owner()} for name, root in roots.items()]
    index = {"find_links": [str(links)], "offline": True}
    found = make_site(path, {"uvnas_index": index, "uvnas_shares": shares, "uvnas_lock_dir": str(path / "locks")})
    for root in roots.values():
        root.parent.mkdir(parents=True)
    succeeded(found.run([TOOLS]))
    return found


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def links(site: Site) -> Path:
    return site.path.parent / "links"


def share(site: Site, name: str) -> Path:
    return site.path / name / "uv"


def manifest(site: Site, name: str) -> dict[str, t.Any]:
    data: dict[str, t.Any] = json.loads((share(site, name) / "envs" / "tools" / ".uvnas.json").read_text())
    return data


def made_by(site: Site, name: str) -> str:
    python = share(site, name) / "envs" / "tools" / "bin" / "python"
    return subprocess.run(
        [python, "-c", "import alpha; print(alpha.made_by)"], capture_output=True, text=True, check=True
    ).stdout.strip()


def forget(site: Site, name: str) -> None:
    """Make it look as if the generation had never been built there."""
    root = share(site, name)
    subprocess.run(["chmod", "-R", "u+w", root / "generations"], check=True)
    shutil.rmtree(root / "generations" / "tools")
    (root / "envs" / "tools").unlink()
    for bucket in root.glob("cache/*-v*"):
        shutil.rmtree(bucket)


def test_both_shares_and_the_controller_have_the_same(site: Site) -> None:
    texts = {path.read_text() for path in (share(site, name) / "locks" / "tools.txt" for name in ("nas_a", "nas_b"))}
    texts |= {(site.path / "locks" / "tools.txt").read_text()}
    assert len(texts) == 1
    [text] = texts
    pins = re.findall(r"^#     (\S+) \\$", text, re.MULTILINE)
    assert pins == ["core==1.0", "helper==1.0", "smith==1.0"]
    assert len({manifest(site, name)["id"] for name in ("nas_a", "nas_b")}) == 1
    assert {made_by(site, name) for name in ("nas_a", "nas_b")} == {"smith 1.0"}
    # The second took what the first had built.
    assert len({manifest(site, name)["content"]["packages"] for name in ("nas_a", "nas_b")}) == 1
    assert len(list((share(site, "nas_b") / "cache").glob("wheels-v*/index/*/*"))) == 0


def test_nothing_to_do(site: Site) -> None:
    """Whatever the index has by now; in a check neither."""
    write_backend(links(site), "smith", "2.0")
    try:
        assert succeeded(site.run([TOOLS])).changed == 0
        assert succeeded(site.run([TOOLS], "--check", "--diff")).changed == 0
    finally:
        (links(site) / "smith-2.0-py3-none-any.whl").unlink()


def test_a_check_says_what_a_run_does(site: Site) -> None:
    write_backend(links(site), "smith", "2.0")
    upgrade = ("-e", "uvnas_upgrade=tools", "--diff")
    before = (site.path / "locks" / "tools.txt").read_text()
    try:
        checked = succeeded(site.run([TOOLS], "--check", *upgrade))
        assert (site.path / "locks" / "tools.txt").read_text() == before
        done = succeeded(site.run([TOOLS], *upgrade))
        assert "smith (to build alpha) 1.0 -> 2.0" in done.output
        assert checked.diff == done.diff
        assert {made_by(site, name) for name in ("nas_a", "nas_b")} == {"smith 2.0"}
    finally:
        (links(site) / "smith-2.0-py3-none-any.whl").unlink()
    # Back, as people go back after an upgrade that was a mistake.
    (site.path / "locks" / "tools.txt").write_text(before)
    succeeded(site.run([TOOLS]))
    assert {made_by(site, name) for name in ("nas_a", "nas_b")} == {"smith 1.0"}


def test_an_index_with_another_backend_is_refused(site: Site) -> None:
    """The same name and version, and other content."""
    wheel = links(site) / "smith-1.0-py3-none-any.whl"
    kept = wheel.read_bytes()
    for name in ("nas_a", "nas_b"):
        forget(site, name)
    write_backend(links(site), "smith", "1.0")
    try:
        run = site.run([TOOLS])
        assert run.rc != 0
        assert "Hash mismatch for `smith==1.0`" in run.output
    finally:
        wheel.write_bytes(kept)
    succeeded(site.run([TOOLS]))
    assert {made_by(site, name) for name in ("nas_a", "nas_b")} == {"smith 1.0"}


def test_what_the_message_proposes_helps(site: Site) -> None:
    """What a package asks for at build is in no lock, as it does so on this host only."""
    kept = site.path / "locks" / "tools.txt"
    before = kept.read_text()
    lines = before.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if "helper==" in line)
    kept.write_text("".join(lines[:at] + lines[at + 2 :]))
    for name in ("nas_a", "nas_b"):
        forget(site, name)
    run = site.run([TOOLS])
    assert run.rc != 0
    assert "building alpha==1.0 requires helper, which its lock has no hash for" in run.output
    proposed = re.search(r'build_constraints: \[\\?"([^"\\]+)\\?"\]', run.output)
    assert proposed is not None
    succeeded(site.run([{**TOOLS, "build_constraints": [proposed[1]]}]))
    assert "# Build requirements of any package:\n#     helper==1.0 \\\n" in kept.read_text()
    assert {made_by(site, name) for name in ("nas_a", "nas_b")} == {"smith 1.0"}
