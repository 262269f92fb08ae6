# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds a package at its version: asked of the real uv with small wheels; and read from what it wrote."""

from __future__ import annotations

import os
import platform
import re
import sys
import typing as t
from pathlib import Path

import pytest
import uv as uv_package
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as locks
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.held import NOTHING_NEWER, explained, reasons
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.resolve import Request, resolve
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index, Uv
from ansible_collections.uvnas.cluster.tests.support.wheels import write_backend, write_sdist_for, write_small_wheel

DIGEST = "5" * 64
PYTHON = ".".join(platform.python_version_tuple()[:2])


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """alpha 1.0 and 2.0, and what does not go with the latter."""
    directory = tmp_path / "links"
    for version in ("1.0", "2.0"):
        write_small_wheel(directory, "alpha", version)
    for version in ("1.0", "1.1"):
        write_small_wheel(directory, "wants", version, ["alpha<2,>=1"])
    write_small_wheel(directory, "middle", "1.0", ["wants==1.0"])
    write_small_wheel(directory, "latest", "1.0")
    return directory


@pytest.fixture
def uv(tmp_path: Path, links: Path) -> Uv:
    layout = Layout(str(tmp_path / "share"))
    os.makedirs(layout.bin_dir)
    os.symlink(uv_package.find_uv_bin(), layout.uv)
    return Uv(layout, SystemRunner(), Index(find_links=(str(links),), offline=True))


def declared(*lines: str, **more: t.Any) -> Sources:
    return Sources(requirements=(("requirements.in", "".join(f"{line}\n" for line in lines)),), **more)


def held(uv: Uv, sources: Sources, package: str = "alpha", prior: Sources | None = None, **more: t.Any) -> list[str]:
    """What is reported about an upgrade of what was resolved before."""
    spec = EnvironmentSpec("train", python=PYTHON, requirements=(), **more)
    before, _warnings = resolve(uv, Request(spec, DIGEST, prior or sources), sys.executable, None)
    request = Request(spec, DIGEST, sources, upgrade_packages=(package,))
    after, _warnings = resolve(uv, request, sys.executable, before)
    return reasons(uv, request, sys.executable, locks.parse(before, what="it"), after)


@pytest.mark.parametrize(
    ("sources", "by"),
    [
        (declared("alpha<2"), "alpha<2 (requirements)"),
        (declared("alpha==1.0"), "alpha==1.0 (requirements)"),
        (declared("Alpha[more] >= 1, < 2 ; python_version > '3'"), "alpha>=1,<2 (requirements)"),
        (declared("alpha", constraints=(("constraints.in", "alpha<2\n"),)), "alpha<2 (constraints)"),
        (declared("alpha", constraints=(("site.txt", "alpha ~= 1.0\n"),)), "alpha~=1.0 (constraints, site.txt)"),
        (declared("alpha", "latest", constraints=(("c.txt", "alpha!=2.0\n"),)), "alpha!=2.0 (constraints, c.txt)"),
        (declared("alpha", overrides=(("overrides.in", "alpha<2\n"),)), "alpha<2 (overrides)"),
        (declared("alpha", "wants==1.0"), "wants 1.0, which wants alpha<2"),
        (declared("wants<1.1"), "wants 1.0, which wants alpha<2"),
        (declared("wants"), "wants 1.1, which wants alpha<2"),
        (declared("middle"), "wants 1.0, which wants alpha<2"),
        (declared("wants", constraints=(("constraints.in", "alpha<2\n"),)), "alpha<2 (constraints)"),
    ],
)
def test_what_is_declared_and_what_others_want(uv: Uv, sources: Sources, by: str) -> None:
    assert held(uv, sources) == [f"alpha 1.0: held by {by}"]


@pytest.mark.parametrize(
    ("sources", "by"),
    [
        (declared("alpha<2; sys_platform == 'win32'", "wants"), "wants 1.1, which wants alpha<2"),
        (
            declared("wants", constraints=(("c.txt", "alpha<2; python_version < '3'\n"),)),
            "wants 1.1, which wants alpha<2",
        ),
        (declared("alpha<2; python_version<'3'", "alpha<2.0; python_version>'3' # so"), "alpha<2.0 (requirements)"),
        (declared("alpha<2", overrides=(("overrides.in", "alpha<2.0\n"),)), "alpha<2.0 (overrides)"),
        (declared("alpha==1.*"), "alpha==1.* (requirements)"),
    ],
)
def test_what_does_not_apply_is_not_named(uv: Uv, sources: Sources, by: str) -> None:
    assert held(uv, sources) == [f"alpha 1.0: held by {by}"]


@pytest.mark.parametrize(
    ("needs", "more", "by"),
    [
        ("alpha>=2", {"constraints": (("c.txt", "alpha<2\n"),)}, "alpha<2"),
        ("nowhere", {}, "nowhere"),
        ("early>=2", {}, "early<=2.0b1"),
    ],
)
def test_a_newer_version_that_does_not_fit_is_not_denied(
    uv: Uv, links: Path, needs: str, more: dict[str, t.Any], by: str
) -> None:
    for name, version, requires in (("early", "1.0", []), ("early", "2.0b1", []), ("latest", "2.0", [needs])):
        write_small_wheel(links, name, version, requires)
    (said,) = held(uv, declared("latest", **more), "latest")
    assert re.fullmatch(rf"latest 1\.0: asked for something newer, uv says: .*\b{re.escape(by)}\b.*", said)


def test_what_comes_with_an_older_version_of_something(uv: Uv, links: Path) -> None:
    """Upgrading both gives the newest of the other, and changes nothing."""
    write_small_wheel(links, "wants", "0.9", ["alpha"])
    assert held(uv, declared("wants", "alpha")) == [
        "alpha 1.0: held by wants 1.1; alpha 2.0 would fit with wants 1.1 -> 0.9, if you declared that"
    ]


def test_nothing_newer(uv: Uv) -> None:
    assert held(uv, declared("latest"), "latest") == ["latest 1.0: the newest available offline"]
    assert held(uv, declared("alpha"), "alpha") == ["alpha 2.0: the newest available offline"]


def test_what_has_been_upgraded_is_not_held(uv: Uv) -> None:
    assert held(uv, declared("alpha"), prior=declared("alpha<2")) == []


def test_what_moves_together(uv: Uv, links: Path) -> None:
    write_small_wheel(links, "wants", "2.0", ["alpha>=2"])
    (said,) = held(uv, declared("wants", "alpha"), prior=declared("wants==1.0", "alpha"))
    assert said == (
        "alpha 1.0: held by wants 1.0, as locked; alpha 2.0 comes with wants 1.0 -> 2.0: upgrade them together"
    )


def test_another_python_and_another_platform(uv: Uv, links: Path) -> None:
    metadata = "Metadata-Version: 2.1\nName: young\nVersion: 2.0\nRequires-Python: >=3.99\n"
    write_small_wheel(links, "young", "1.0")
    write_small_wheel(links, "young", "2.0", more={"young-2.0.dist-info/METADATA": metadata})
    assert held(uv, declared("young"), "young") == [
        f"young 1.0: held by Python {PYTHON}; newer versions want Python>=3.99"
    ]
    write_small_wheel(links, "foreign", "1.0")
    write_small_wheel(links, "foreign", "2.0", tag="py3-none-win_amd64")
    assert held(uv, declared("foreign"), "foreign") == [
        "foreign 1.0: nothing newer has a wheel for this Python and platform"
    ]


def test_versions_of_their_own_kind(uv: Uv, links: Path) -> None:
    for version in ("1.0", "2.0rc1"):
        write_small_wheel(links, "early", version)
    assert held(uv, declared("early"), "early") == [
        "early 1.0: the newest there is, except pre-releases such as early 2.0rc1"
    ]
    write_small_wheel(links, "wheely", "1.0+cpu")
    assert held(uv, declared("wheely"), "wheely") == ["wheely 1.0+cpu: the newest available offline"]
    (wheel,) = links.glob("latest-*")
    (said,) = held(uv, declared(f"latest @ {wheel.as_uri()}"), "latest")
    assert said.startswith("latest: held by its address, @ file://")


def test_what_packages_are_built_with(uv: Uv, links: Path) -> None:
    write_backend(links, "maker", "1.0")
    write_sdist_for(links, "made", "1.0", "maker", ["maker"])
    assert held(uv, declared("made"), "maker") == [
        "maker 1.0 (to build made==1.0): nothing newer that the build and build_constraints allow"
    ]


def test_all_of_an_environment(uv: Uv) -> None:
    spec = EnvironmentSpec("train", python=PYTHON, requirements=())
    for sources, said in ((declared("alpha<2"), [NOTHING_NEWER]), (declared("alpha"), [])):
        before, _warnings = resolve(uv, Request(spec, DIGEST, declared("alpha<2")), sys.executable, None)
        request = Request(spec, DIGEST, sources, upgrade=True)
        after, _warnings = resolve(uv, request, sys.executable, before)
        assert reasons(uv, request, sys.executable, locks.parse(before, what="it"), after) == said


# As uv 0.13.9 said it of an index.
EXCLUDED = """\
error: No solution found when resolving dependencies
  cause: Because only numpy<=2.2.6 is available and you require numpy>2.2.6, we can conclude that your requirements \
are unsatisfiable.

hint: `numpy` was filtered by `exclude-newer` to only include packages uploaded before 2025-05-21T00:00:00Z. The \
latest version satisfying the requirement is v2.5.5, published at 2026-11-15T21:30:10Z. Consider using \
`exclude-newer-package` to override the cutoff for this package.
"""
OF_ANOTHER = """\
error: No solution found when resolving dependencies
  cause: Because only the following versions of urllib3 are available:
             urllib3<=1.26.20
             urllib3>1.27
         and requests==2.28.0 depends on urllib3>=1.21.1,<1.27, we can conclude that requests==2.28.0 depends on \
urllib3>=1.21.1,<=1.26.20.
         And because requests==2.28.0 depends on urllib3>1.26.20 and you require requests==2.28.0, we can conclude \
that your requirements are unsatisfiable.
"""
OLD_PYTHON = """\
error: No solution found when resolving dependencies
  cause: Because the requested Python version (>=3.9) does not satisfy Python>=3.11 and all of:
             numpy>=2.3.0rc1,<=2.4.0rc1
             numpy>=2.4.1,<=2.4.6
         depend on Python>=3.11, we can conclude that all of:
             numpy>=2.3.0rc1,<=2.4.0rc1
             numpy>=2.4.1,<=2.4.6
          cannot be used.
"""


@pytest.mark.parametrize(
    ("said", "package", "newer", "meaning"),
    [
        (EXCLUDED, "numpy", ">2.2.6", "held by exclude_newer 2025-05-20"),
        (OF_ANOTHER, "urllib3", ">1.26.20", "held by requests 2.28.0, which wants urllib3>=1.21.1,<1.27"),
        (OLD_PYTHON, "numpy", ">2.0.2", "held by Python 3.9; newer versions want Python>=3.11"),
        ("error: something else", "numpy", ">1", "asked for something newer, uv says: error: something else"),
    ],
)
def test_what_uv_says_of_an_index(said: str, package: str, newer: str, meaning: str) -> None:
    spec = EnvironmentSpec("train", python="3.9", requirements=("numpy",), exclude_newer="2025-05-20")
    assert (
        explained(said, Request(spec, DIGEST, Sources()), {"requests": "2.28.0"}, package, newer, lambda _marker: True)
        == meaning
    )
