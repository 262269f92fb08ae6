# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared hashes limit those of the lock, with a real uv and an index that knows all hashes."""

from __future__ import annotations

import hashlib
import sys
import typing as t
from pathlib import Path

import pytest
import uv as uv_package
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as locks
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.hashes import declared
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.resolve import Request, resolve
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index, Uv
from ansible_collections.uvnas.cluster.tests.support.wheels import write_index, write_small_sdist, write_small_wheel

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
WRONG = "0" * 64


class Site(t.NamedTuple):
    uv: Uv
    # Of the wheel and the source distribution of alpha 1.0.
    wheel: str
    sdist: str
    # Where the wheel is.
    address: str

    def locked(self, prior: str | None = None, **texts: str) -> str:
        sources = Sources(**{key: ((f"{key}.in", f"{text}\n"),) for key, text in texts.items()})
        request = Request(EnvironmentSpec("analysis", python=PYTHON, requirements=()), "5" * 64, sources)
        text, _warnings = resolve(self.uv, request, sys.executable, prior)
        return text

    def hashes(self, prior: str | None = None, **texts: str) -> set[str]:
        return hashes_of(self.locked(prior, **texts))


def hashes_of(text: str) -> set[str]:
    (alpha,) = [package for package in locks.parse(text, what="it").packages if package.name == "alpha"]
    return {value.removeprefix("sha256:") for value in alpha.hashes}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    links = tmp_path / "links"
    write_small_wheel(links, "alpha", "1.0")
    write_small_sdist(links, "alpha", "1.0", {})
    write_small_wheel(links, "beta", "1.0", ["alpha"])
    index = write_index(tmp_path / "index", links)
    layout = Layout(str(tmp_path / "share"))
    Path(layout.bin_dir).mkdir(parents=True)
    Path(layout.uv).symlink_to(uv_package.find_uv_bin())
    wheel, sdist = links / "alpha-1.0-py3-none-any.whl", links / "alpha-1.0.tar.gz"
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, sdist))
    return Site(Uv(layout, SystemRunner(), Index(default=index)), *digests, wheel.as_uri())


def test_hashes_of_a_requirement_are_those_of_the_lock(site: Site) -> None:
    assert site.hashes(requirements="alpha==1.0") == {site.wheel, site.sdist}
    text = site.locked(requirements=f"alpha==1.0 --hash=sha256:{site.wheel}")
    assert hashes_of(text) == {site.wheel}
    assert "# hashes as declared" in text
    assert "# via -r requirements.in" in text
    both = f"alpha==1.0 --hash=sha256:{site.wheel.upper()} --hash sha256:{site.sdist}"
    assert site.hashes(requirements=both) == {site.wheel, site.sdist}


def test_a_wrong_hash_is_an_error_wherever_it_is_declared(site: Site) -> None:
    line = f"alpha==1.0 --hash=sha256:{WRONG}"
    for key in ("requirements", "constraints", "overrides"):
        with pytest.raises(UvnasError) as caught:
            site.locked(**{"requirements": "beta", key: line})
        said = "environment analysis: alpha==1.0 has none of the hashes declared for it (sha256:00000000"
        assert str(caught.value).startswith(said)
        assert f"sha256:{site.wheel[:16]}..." in str(caught.value)


def test_hashes_of_unneeded_packages_do_not_count(site: Site) -> None:
    assert site.hashes(requirements="alpha", constraints=f"gamma==1.0 --hash=sha256:{WRONG}") == {
        site.wheel,
        site.sdist,
    }


def test_hashes_for_another_platform_do_not_count(site: Site) -> None:
    wrong, right = f"--hash=sha256:{WRONG}", f"--hash=sha256:{site.wheel}"
    for never in ("; sys_platform == 'win32'", " ; python_version < '3' and extra != 'x'"):
        for key in ("requirements", "constraints"):
            assert site.hashes(**{"requirements": "beta", key: f"alpha==1.0{never} {wrong}\nbeta"}) == {
                site.wheel,
                site.sdist,
            }
        both = f"alpha==1.0{never} {wrong}\nalpha==1.0; sys_platform == 'linux' {right}"
        assert site.hashes(requirements=both) == {site.wheel}
        # Nor does a file for another platform do for this one.
        with pytest.raises(UvnasError, match="has none of the hashes"):
            site.locked(requirements=f"alpha==1.0{never} {right}\nalpha==1.0; sys_platform == 'linux' {wrong}")
    address = f"{site.address} ; sys_platform == 'win32' {wrong}\n{site.address} ; sys_platform == 'linux' {right}"
    assert site.hashes(requirements=address) == {site.wheel}
    # What nobody but uv can decide counts.
    with pytest.raises(UvnasError, match="has none of the hashes"):
        site.locked(requirements="alpha", constraints=f"alpha==1.0 ; 'x' not in extras {wrong}")


def test_an_address_alone(site: Site) -> None:
    assert site.hashes(requirements=f"{site.address} --hash=sha256:{site.wheel}") == {site.wheel}
    with pytest.raises(UvnasError, match="has none of the hashes"):
        site.locked(requirements=f"{site.address} --hash=sha256:{WRONG}")


def test_a_lock_so_far_gives_no_hash_that_was_limited(site: Site) -> None:
    """uv takes over the hashes that it finds there."""
    only_sdist = site.locked(requirements=f"alpha==1.0 --hash=sha256:{site.sdist}")
    assert site.hashes(only_sdist, requirements=f"alpha==1.0 --hash=sha256:{site.wheel}") == {site.wheel}
    assert site.hashes(only_sdist, requirements="alpha==1.0") == {site.wheel, site.sdist}
    assert site.locked(only_sdist, requirements=f"alpha==1.0 --hash=sha256:{site.sdist}") == only_sdist


def test_a_hash_of_the_lock_so_far_is_kept_where_none_is_declared(site: Site) -> None:
    """Another file under the same name is noticed by that."""
    prior = f"alpha==1.0 \\\n    --hash=sha256:{WRONG}\n"
    assert site.hashes(prior, requirements="alpha==1.0") == {WRONG}


def of(**texts: str) -> dict[str, set[str]]:
    return declared(Sources(**{key: ((f"{key}.in", text),) for key, text in texts.items()}))


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ({"requirements": "a\nb==1 # --hash=x\n"}, {}),
        ({"requirements": "A.b==1 --hash=x --hash=Y\n"}, {"a-b": {"x", "y"}}),
        ({"requirements": "a[x]==1 ; m --hash=x\na==2 ; n --hash=y\n"}, {"a": {"x", "y"}}),
        ({"requirements": "a==1 --hash=x --hash=y\n", "constraints": "a==1 --hash=y --hash=z\n"}, {"a": {"y"}}),
        ({"requirements": "a==1 --hash=x\n", "constraints": "a==1 --hash=z\n"}, {"a": set()}),
        ({"requirements": "a==1 --hash=x\n", "overrides": "a==2\n"}, {}),
        ({"requirements": "a==1 --hash=x\n", "overrides": "a==2 --hash=y\n"}, {"a": {"y"}}),
        ({"requirements": "a @ https://h/a.whl --hash=x\n"}, {"a": {"x"}}),
        ({"requirements": "https://h/a.whl --hash=x\n"}, {"https://h/a.whl": {"x"}}),
    ],
)
def test_what_is_declared(texts: dict[str, str], found: dict[str, set[str]]) -> None:
    assert of(**texts) == found
