# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random damage where uv clones, copies and links, and power cuts while it is repaired. Needs root, and its own disks.

More of them: make soak.
"""

from __future__ import annotations

import os
import random
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host import extents
from ansible_collections.uvnas.cluster.tests.support import repairs
from ansible_collections.uvnas.cluster.tests.support.damages import DELETE
from ansible_collections.uvnas.cluster.tests.support.power_cuts import ENVS, Powered, powered
from ansible_collections.uvnas.cluster.tests.support.repairs import Damaged

# Filesystem, and uv's link mode; empty: its own choice.
KINDS = {"clones": ("xfs", ""), "copies": ("ext4", "copy"), "links": ("ext4", "hardlink")}
COUNT, SEED = 150, 16


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def it(public: Path, kind: str) -> t.Iterator[Powered]:
    filesystem, mode = KINDS[kind]
    with powered(public, filesystem, uvnas_uv_variables={"UV_LINK_MODE": mode} if mode else {}) as it:
        run = it.site.run(ENVS)
        assert run.rc == 0, run.output
        yield it


def clones(share: Path) -> set[str]:
    """The files that take no space of their own."""
    os.sync()
    files = [path for path in share.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_size]
    return {str(path) for path in files if extents.own_bytes(str(path)) == 0}


def test_damage_is_found_and_repaired_and_all_is_as_before(it: Powered, kind: str) -> None:
    share = it.site.share
    cloned = clones(share)
    assert bool(cloned) == (kind == "clones")
    linked = [path for path in share.glob("generations/*/*/lib/*/*/six.py") if path.stat().st_nlink > 1]
    assert bool(linked) == (kind == "links")
    damaged = Damaged.by(share, random.Random(SEED), COUNT)
    assert damaged.missed() == []
    result = repairs.repair(share)
    assert [each for tree in result["trees"] for each in tree["damages"] if not each["done"]] == []
    assert damaged.left() == []
    assert cloned - clones(share) == set()
    assert it.faults() == []
    assert repairs.repair(share)["changed"] is False


@pytest.mark.parametrize("kind", ["clones"], indirect=True, scope="module")
def test_clones_of_a_wheel_that_the_cache_has_twice_stay_with_what_they_were_cloned_from(it: Powered) -> None:
    share = it.site.share
    # Two builds at once may have unpacked it twice already.
    first = min(path.parent for path in share.glob("cache/archive-v0/*/six.py"))
    second = first.with_name("second")
    subprocess.run(["cp", "-a", "--reflink=never", first, second], check=True)
    site_packages = [path.parent for path in share.glob("generations/*/*/lib/*/*/six.py")]
    for target, source in zip(site_packages, (first, second), strict=True):
        for path in [target / "six.py", *target.glob("six-*/[LMW]*")]:
            subprocess.run(["cp", "--reflink=always", source / path.relative_to(target), path], check=True)
    cloned = clones(share)
    assert {str(each / "six.py") for each in (first, second, *site_packages)} <= cloned
    for each in site_packages:
        (each / "six.py").write_text("raise SystemExit\n")
    assert repairs.repair(share)["changed"] is True
    assert cloned - clones(share) == set()
    assert it.faults() == []
    assert repairs.repair(share)["changed"] is False


def returned(damaged: Damaged, suffix: str) -> t.Callable[[Path], bool]:
    """A file that was deleted is there again. Bytecode comes last."""
    deleted = [each.path for each in damaged.done if each.kind == DELETE and each.path.suffix == suffix]
    assert deleted
    return lambda _share: any(map(os.path.lexists, deleted))


@pytest.mark.parametrize("suffix", [".py", ".pyc"])
@pytest.mark.parametrize("kind", ["links"], indirect=True, scope="module")
def test_a_power_cut_makes_nothing_worse_and_the_next_repair_ends_it(it: Powered, suffix: str) -> None:
    share = it.site.share
    damaged = Damaged.by(share, random.Random(f"{SEED} {suffix}"), COUNT)
    it.cut(returned(damaged, suffix), repairs.start(share))
    lost = repairs.in_doubt(share)
    assert bool(lost) == (suffix == ".pyc")
    assert damaged.worse() == []
    repairs.repair(share)
    assert damaged.left(lost) == []
    assert it.faults() == []
