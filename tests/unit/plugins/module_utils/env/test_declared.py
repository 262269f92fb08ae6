# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments as declared: what is refused, and in which words."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import declared
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.options import ENVIRONMENT_KEYS

LINES = ("requirements", "constraints", "overrides", "build_constraints")
GOOD: dict[str, t.Any] = {"name": "analysis", "python": "3.12", "requirements": ["numpy"]}


def without(*keys: str, **changed: t.Any) -> dict[str, t.Any]:
    return {key: value for key, value in {**GOOD, **changed}.items() if key not in keys}


def refusal(*items: t.Mapping[str, t.Any]) -> str:
    with pytest.raises(SpecError) as caught:
        declared.parse_environments(items)
    return str(caught.value)


@pytest.mark.parametrize(
    "item",
    [
        GOOD,
        without("requirements", requirements_files=["a.in"], constraints_files=["c.txt"], overrides_files=["o.txt"]),
        without("requirements", project="src/analysis", package="core", extras=["dev"], groups=["test"]),
        without("requirements", lock="pylock.toml", extras=["dev"], groups=["test"]),
        without("requirements", lock="analysis.txt"),
        *(
            {**item, "build_constraints": ["cmake==4.1.2", "setuptools<81"], "build_constraints_files": ["b.txt"]}
            for item in (GOOD, without("requirements", lock="l.txt"), without("requirements", project="p"))
        ),
        without(requirements=[]),
        without(name="a.b_c+d-1", python="3.13.1t", shares=["nas_a"], imports=["numpy.linalg", "_ctypes"]),
        without(name="n" * 64, constraints=["numpy<3"], overrides=["pandas==2.2.3"], exclude_newer="2026-01-31"),
        without(exclude_newer="2026-01-31T12:00:00Z"),
        without(exclude_newer="2026-01-31T12:00:00.5+02:00"),
        without(requirements=["tool @ https://code.example.org/tool-1.0.tar.gz", "x @ https://a.example:8443/x.whl"]),
        {"name": "old", "state": "absent"},
    ],
)
def test_what_is_accepted(item: dict[str, t.Any]) -> None:
    [parsed] = declared.parse_environments([item])
    assert parsed.name == item["name"]
    assert parsed.present is (item.get("state") != "absent")
    hash(parsed)  # Lists have become tuples.


def test_null_is_the_default() -> None:
    item = {**dict.fromkeys(ENVIRONMENT_KEYS), **GOOD}
    assert declared.parse_environments([item]) == declared.parse_environments([GOOD])


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (without(nmae="x", fast=True), "environment analysis: unknown key fast, nmae"),
        (without("name", pyhton="3"), "environment number 1: unknown key pyhton"),
        (without(name=""), "environment number 1: the name is empty"),
        (without(name="n" * 65), "the name is longer than 64 characters"),
        *(
            (
                without(name=name),
                "the name may contain only letters, digits and . _ + -, and must begin with a letter or digit",
            )
            for name in (".hidden", "..", "-x", "a/b", "a b", "a\n", "ä", "a$(b)")
        ),
        (without(state="gone"), "state must be present or absent, not 'gone'"),
        (without("python"), 'python is missing; give a version, such as "3.12"'),
        *(
            (
                without(python=python),
                f'python must be a version such as "3.12" or "3.12.4", not {python!r}',
            )
            for python in (">=3.12", "3", "cpython-3.12", "3.12\n", "3.12.x")
        ),
        (without(python=3.1), 'python must be a string; quote it: "3.1" (or "3.10"'),
        (without(python=3.12), 'python must be a string; quote it: "3.12"'),
        (without(shares=[]), "shares is empty; leave it out for every share, or use state: absent"),
        (without("requirements"), "no packages are declared; give requirements, requirements_files, project or lock"),
        (without(project="p"), "requirements and project exclude each other; give one"),
        (without(project="p", lock="l"), "requirements and project and lock exclude each other; give one"),
        (without(extras=["a"], groups=["b"]), "extras and groups can only be used with project or a pylock.toml"),
        (without("requirements", lock="l", extras=["a"]), "extras can only be used with project or a pylock.toml"),
        (without("requirements", lock="l.toml", package="a"), "package can only be used with project"),
        (without(package="a"), "package can only be used with project"),
        *(
            (without("requirements", **{source: "x", key: value}), f"{key} cannot be used with {source}, which is")
            for source in ("project", "lock")
            for key, value in {
                "constraints": ["a"],
                "constraints_files": ["a"],
                "overrides": ["a"],
                "overrides_files": ["a"],
                "exclude_newer": "2026-01-31",
            }.items()
        ),
        *(
            (without(imports=[module]), f"imports: {module!r} is not a module name")
            for module in ("", "a-b", "a.", ".a", "a;b", "1a", "a b")
        ),
        *(
            (
                without(exclude_newer=time),
                f"exclude_newer must be a date (2026-01-31) or a time with zone (RFC 3339), not {time!r}",
            )
            for time in ("1 week", "P7D", "2026-1-31", "2026-01-31T12:00:00", "31.01.2026")
        ),
        *(
            (without(**{key: [line]}), f"{key}: {line!r} is not a requirement; each is one line")
            for key in LINES
            for line in ("", "  ", "a\nb", "a\n--index-url https://a.example")
        ),
        *(
            (without(**{key: ["-r x.in"]}), f"{key}: -r cannot be used here; name files in {key}_files")
            for key in LINES
        ),
        *((without(**{key: ["six<2 -r x"]}), f"{key}: 'six<2 -r x' has the option -r") for key in LINES),
        (
            without(requirements=["--index-url https://a.example"]),
            "--index-url cannot be used here; set uvnas_index.default",
        ),
        (without(build_constraints=["a @ https://me:x@a.example/a.zip"]), "build_constraints: 'a @ https://****@a.ex"),
    ],
)
def test_what_is_refused(item: dict[str, t.Any], problem: str) -> None:
    message = refusal(item)
    assert message.startswith("environment ")
    assert problem in message


@pytest.mark.parametrize("key", ["requirements", "constraints", "overrides"])
@pytest.mark.parametrize("login", ["user:s3cret", ":s3cret", "user:s3@cret", "__token__:s3%40cret", "us:er:s3cret"])
@pytest.mark.parametrize("line", ["tool @ https://{}@a.example/tool.whl", "tool @ git+ssh://{}@a.example:22/tool.git"])
def test_passwords_are_refused_and_not_shown(key: str, login: str, line: str) -> None:
    message = refusal(without(**{key: [line.format(login)]}))
    assert f"environment analysis: {key}: {line.format('****')!r} contains credentials" in message
    assert "s3" not in message
    assert "cret" not in message


def test_a_line_refused_for_something_else_does_not_show_its_password() -> None:
    assert "s3cret" not in refusal(without(requirements=["--index-url https://user:s3cret@a.example/simple"]))


def test_every_problem_at_once() -> None:
    message = refusal(
        without(name="one", python=""), without(name="two", lock="x"), without(name="Two"), GOOD, GOOD, {"nmae": 1}
    )
    assert message.splitlines() == [
        'environment one: python is missing; give a version, such as "3.12"',
        "environment two: requirements and lock exclude each other; give one",
        "environment number 6: unknown key nmae",
        "environment analysis: declared 2 times",
        "environment two: its name differs from another only in case",
    ]


def test_shares_exist() -> None:
    specs = declared.parse_environments([GOOD, without(name="b", shares=["nas_a", "nas_c"])])
    declared.check_shares_exist(specs, ["nas_a", "nas_c"])
    with pytest.raises(SpecError, match="environment b: unknown share nas_c; declared: nas_a, nas_b"):
        declared.check_shares_exist(specs, ["nas_b", "nas_a"])
    assert [one.on_share("nas_b") for one in specs] == [True, False]


def test_an_environment_is_for_the_oldest_of_its_shares() -> None:
    specs = [
        EnvironmentSpec("everywhere"),
        EnvironmentSpec("a", shares=("a",)),
        EnvironmentSpec("b", shares=("b", "a")),
        EnvironmentSpec("both", shares=("b", "c")),
    ]
    found = declared.for_glibc(specs, {"b": "2.31", "c": "2.28"})
    assert [each.glibc for each in found] == ["2.28", None, "2.31", "2.28"]
    assert declared.for_glibc(specs, {}) == specs
    with pytest.raises(SpecError, match=r'share b: glibc must be a string; quote it: "2\.31"'):
        declared.for_glibc(specs, {"b": 2.31})


@pytest.mark.parametrize(("value", "meant"), [(True, True), ("yes", True), ("False", False), (0, False), ("1", True)])
def test_flags_are_read_as_ansible_reads_them(value: t.Any, meant: bool) -> None:
    (spec,) = declared.parse_environments([without(seed=value)])
    assert spec.seed is meant


@pytest.mark.parametrize("value", ["perhaps", 2, [], {}, 0.5, ""])
def test_a_flag_is_true_or_false(value: t.Any) -> None:
    assert "environment analysis: seed must be true or false, not " in refusal(without(seed=value))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028"])
def test_nothing_that_ends_a_line_for_somebody_is_in_a_requirement(end: str) -> None:
    """uv takes a carriage return for the end of a line, and what comes after it for an option."""
    assert "is not a requirement" in refusal(without(requirements=[f"six{end}--index-url https://evil.example/simple"]))
