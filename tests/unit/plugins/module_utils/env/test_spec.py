# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the digest of a declaration depends on, and how specs cross process boundaries."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import spec
from ansible_collections.uvnas.cluster.plugins.module_utils.env.declared import parse_environments
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import Condition, EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index

GOOD: dict[str, t.Any] = {"name": "analysis", "python": "3.12", "requirements": ["numpy"]}
SOURCES = Sources(requirements=(("analysis.in", "numpy\npandas>=2\n"),), constraints=(("c.txt", "numpy<3\n"),))
NO_INDEX = Index()


def without(*keys: str, **changed: t.Any) -> dict[str, t.Any]:
    return {key: value for key, value in {**GOOD, **changed}.items() if key not in keys}


# What every lock in the field has in its first line. If this changes, every environment is resolved again: mean it.
GOLDEN = "f50b99bda127ce365f8d4bfd5fd874cbfee5bc14fa6611573917515030497e22"


def digest_of(sources: Sources = SOURCES, index: Index = NO_INDEX, **changed: t.Any) -> str:
    [parsed] = parse_environments([{**GOOD, **changed}])
    return spec.spec_digest(parsed, sources, index.settings())


def test_the_digest_is_stable() -> None:
    assert digest_of() == GOLDEN


@pytest.mark.parametrize(
    "index",
    [
        Index(default="https://mirror.example.org/simple"),
        Index(extra=("https://user:secret@extra.example.org/simple",), find_links=("/srv/wheels",)),
        Index(keyring=True),
        Index(offline=True),
    ],
)
def test_the_digest_does_not_depend_on_where_packages_come_from(index: Index) -> None:
    assert digest_of(index=index) == GOLDEN


@pytest.mark.parametrize(
    "changed",
    [
        {"imports": ["numpy"]},
        {"checks": ["pip check"]},
        {"shares": ["nas_a"]},
        {"compile_bytecode": False},
        {"system_site_packages": True},
        {"name": "other"},
    ],
)
def test_the_digest_does_not_depend_on_what_is_not_resolved(changed: dict[str, t.Any]) -> None:
    assert digest_of(**changed) == GOLDEN


def test_the_digest_does_not_depend_on_comments_blanks_and_file_names() -> None:
    sources = Sources(
        requirements=(("renamed.in", "# All of it\n\n  numpy  # fast\npandas>=2"),),
        constraints=(("d.txt", "numpy<3"),),
    )
    assert digest_of(sources) == GOLDEN


def test_the_digest_does_not_depend_on_the_order_of_sets() -> None:
    one = digest_of(no_binary=["a", "b"])
    assert one == digest_of(no_binary=["b", "a"]) != GOLDEN


@pytest.mark.parametrize(
    "changed",
    [
        {"python": "3.13"},
        {"exclude_newer": "2026-01-31"},
        {"no_binary": ["numpy"]},
        {"torch_backend": "cu128"},
        {"seed": True},
        {"index": Index(strategy="unsafe-best-match")},
        {"index": Index(torch_backend="cpu")},
        {"sources": dataclasses.replace(SOURCES, requirements=(("a.in", "pandas>=2\nnumpy\n"),))},
        {"sources": dataclasses.replace(SOURCES, requirements=(("a.in", "numpy\n"), ("b.in", "pandas>=2\n")))},
        {"sources": dataclasses.replace(SOURCES, constraints=())},
        {"sources": dataclasses.replace(SOURCES, overrides=SOURCES.constraints)},
        {"sources": dataclasses.replace(SOURCES, build_constraints=SOURCES.constraints)},
        {"sources": dataclasses.replace(SOURCES, project=(("pyproject.toml", "[project]\n"),))},
        {"sources": dataclasses.replace(SOURCES, directory="a")},
        {"sources": dataclasses.replace(SOURCES, package="a")},
        {"sources": dataclasses.replace(SOURCES, lock="numpy==2\n")},
        {"sources": dataclasses.replace(SOURCES, conditions=(Condition("x", "", "os_name == 'nt'"),))},
    ],
)
def test_the_digest_depends_on_what_is_resolved(changed: dict[str, t.Any]) -> None:
    assert digest_of(**changed) != GOLDEN


def test_the_digest_does_not_depend_on_where_a_checkout_lies() -> None:
    found = {
        digest_of(sources=dataclasses.replace(SOURCES, conditions=(Condition(f"{path} is for", "", "a"),)))
        for path in ("/a", "/b")
    }
    assert len(found) == 1


def test_an_environments_backend_comes_before_the_sites() -> None:
    site = Index(torch_backend="cpu")
    assert digest_of(index=site, torch_backend="cu128") == digest_of(torch_backend="cu128") != digest_of(index=site)


def test_the_digest_depends_on_glibc_where_that_is_resolved_for() -> None:
    [parsed] = parse_environments([GOOD])
    floors = [dataclasses.replace(parsed, glibc=glibc) for glibc in ("2.28", "2.31")]
    assert len({GOLDEN, *(spec.spec_digest(each, SOURCES, {}) for each in floors)}) == 3
    for source in ({"project": "p"}, {"lock": "l.txt"}):
        ready = dataclasses.replace(parsed, requirements=None, requirements_files=(), **source)
        floored = dataclasses.replace(ready, glibc="2.28")
        assert spec.spec_digest(floored, Sources(lock="x"), {}) == spec.spec_digest(ready, Sources(lock="x"), {})


@pytest.mark.parametrize("key", ["requirements", "constraints", "overrides"])
def test_a_lock_made_when_hashes_did_not_count_is_made_again(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "of_data", lambda what: "limit" if what.get("hashes") else "")
    lines = ("a==1", "a==1 --hash=sha256:00", "a==1  # not --hash=sha256:00")
    found = [digest_of(Sources.from_dict({key: [["x.txt", f"{line}\n"]]})) for line in lines]
    assert found == ["", "limit", ""]


def test_glibc_is_part_of_a_generation_where_it_is_given() -> None:
    [parsed] = parse_environments([GOOD])
    assert set(parsed.build_options()) == {"compile_bytecode", "no_binary", "system_site_packages"}
    assert dataclasses.replace(parsed, glibc="2.28").build_options()["glibc"] == "2.28"


@pytest.mark.parametrize(
    "sources",
    [
        Sources(),
        SOURCES,
        Sources(project=(("pyproject.toml", "x"), ("x/uv.lock", "y")), directory="x", package="y", dynamic=("z",)),
        Sources(lock="z", conditions=(Condition("x", "", "os_name == 'nt'"),)),
    ],
)
def test_sources_cross_as_plain_data(sources: Sources) -> None:
    assert Sources.from_dict(json.loads(json.dumps(sources.as_dict()))) == sources


def test_significant_lines() -> None:
    text = "# head\n\na==1  # why\n  b @ https://a.example/b.whl#sha256=00\n\t\n#c\n"
    assert spec.significant_lines(text) == ["a==1", "b @ https://a.example/b.whl#sha256=00"]


def test_a_spec_comes_through_as_plain_data() -> None:
    spec = EnvironmentSpec("train", shares=("nas_b",), python="3.12", seed=True, compile_bytecode=False, glibc="2.28")
    data = {"name": "train", "shares": ("nas_b",), "python": "3.12", "seed": True, "compile_bytecode": False}
    assert spec.as_dict() == {**data, "glibc": "2.28"}
    assert EnvironmentSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec
