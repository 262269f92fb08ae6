# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Markers: as packaging decides them, and what is left of one if not everything is known."""

from __future__ import annotations

import itertools
import sys

import packaging.markers
import packaging.specifiers
import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import markers
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner

VERSIONS = ("3.9", "3.12", "3.12.0", "3.12.4", "3.12.4rc1", "3.13.0a1", "3.12.4.post1", "3.13.dev0", "3", "1!3.12")
PYTHONS = ("3.9.20", "3.12.0", "3.12.4", "3.13.1")


def known(python: str) -> dict[str, tuple[str, ...]]:
    full = {"python_full_version": python, "python_version": python.rpartition(".")[0], "sys_platform": "linux"}
    return {name: (value,) for name, value in full.items()}


@pytest.mark.parametrize("python", PYTHONS)
def test_versions_compare_as_for_packaging(python: str) -> None:
    values = known(python)
    operators = ("==", "!=", "<", "<=", ">", ">=", "~=", "===")
    for variable, op, version in itertools.product(("python_version", "python_full_version"), operators, VERSIONS):
        if op == "~=" and "." not in version.partition("!")[2] + version:
            continue
        for text in (f"{variable} {op} '{version}'", f"'{version}' {op} {variable}"):
            # packaging asks whether that text, a version, is allowed by what follows, and uv whether what follows is
            # allowed by the text. Here, too.
            if text.startswith("'") and (op in ("~=", "===") or not version.replace(".", "").isdigit()):
                continue
            theirs = packaging.markers.Marker(text).evaluate({name: each[0] for name, each in values.items()})
            assert markers.holds(text, values) is theirs, text
    for version, op in itertools.product(("3.12.*", "3.*", "3.13.*"), ("==", "!=")):
        text = f"python_full_version {op} '{version}'"
        assert markers.holds(text, values) is packaging.markers.Marker(text).evaluate({"python_full_version": python})


@pytest.mark.parametrize(
    "text",
    [
        "sys_platform == 'win32' or sys_platform == 'linux' and python_version >= '3.9'",
        "(sys_platform == 'win32' or sys_platform == 'linux') and python_version < '3.9'",
        'os_name != "nt" and (platform_machine == "x86_64" or platform_machine == "aarch64")',
        "'linux' in sys_platform",
        "sys_platform not in 'win32 darwin'",
        "python_version in '3.9 3.12 3.13'",
        "platform_python_implementation == 'CPython' and implementation_name == 'cpython'",
        "platform_release >= '1'",
        "sys_platform=='linux'and(python_version>='3')",
        "extra == ''",
        "os.name == 'posix' and sys.platform == 'linux' and python_implementation == 'CPython'",
        "platform.machine == 'x86_64' and platform.python_implementation == 'PyPy'",
    ],
)
def test_what_an_interpreter_says(text: str) -> None:
    assert markers.holds(text, markers.ask(SystemRunner(), sys.executable)) is packaging.markers.Marker(text).evaluate()


@pytest.mark.parametrize(
    "text",
    ["x", "python_version", "python_version >=", "python_version >= 3.9", "'a' == 'b'", "sys_platform == os_name",
     "(os_name == 'nt'", "os_name == 'nt')", "os_name == 'nt' os_name == 'nt'", "os_name is 'nt'", "; rm -rf",
     "os_name == 'nt",
     "extras == 'x'", "extras in 'x'", "'x' == dependency_groups", "os_name == 'nt' and", "moon == 'full'",
     f"{'(' * 5000}os_name == 'nt'{')' * 5000}"],
)  # fmt: skip
def test_what_is_not_a_marker(text: str) -> None:
    with pytest.raises(UvnasError, match="is not an environment marker"):
        markers.parse(text)


def test_what_the_controller_knows() -> None:
    series, exact = markers.declared("3.12"), markers.declared("3.12.4")
    for text, of_series, of_exact in (
        ("python_version >= '3.12'", True, True),
        ("python_full_version >= '3.12'", True, True),
        ("python_full_version < '3.12'", False, False),
        ("python_full_version >= '3.12.4'", None, True),
        ("python_full_version != '3.12.4'", None, False),
        ("sys_platform == 'win32'", False, False),
        ("platform_machine == 'x86_64'", None, None),
        ("platform_machine == 'x86_64' and os_name == 'nt'", False, False),
        ("platform_machine == 'x86_64' or os_name == 'posix'", True, True),
        ("", True, True),
    ):
        assert (markers.holds(text, series), markers.holds(text, exact)) == (of_series, of_exact), text
    assert markers.holds("python_version == '3.13'", markers.declared("3.13t")) is True


def test_what_is_left_is_a_marker() -> None:
    values = {"extras": {"GPU"}, "dependency_groups": ()}
    for text, left in (
        ("'gpu' in extras", "ALWAYS"),
        ("'gpu' not in extras", "NEVER"),
        ("'cpu' in extras or 'dev' in dependency_groups", "NEVER"),
        ("'g_p' in extras and os_name == 'nt'", "NEVER"),
        ("'gpu' in extras and (os_name == 'nt' or 'dev' in dependency_groups)", "os_name == 'nt'"),
        (
            "'gpu' in extras and (os_name == 'nt' or os_name == \"it's\") and 'a' in sys_platform",
            "(os_name == 'nt' or os_name == \"it's\") and 'a' in sys_platform",
        ),
    ):
        found = markers.simplified(markers.parse(text), values)
        named = {markers.ALWAYS: "ALWAYS", markers.NEVER: "NEVER"}
        assert named.get(found, str(found)) == left
        assert found in named or markers.parse(str(found)) == found


@pytest.mark.parametrize("text", [">=3.9", ">=3.9,<3.13", "~=3.12.0", "==3.12.*", "!=3.12.4,>3", "", ">=3.13.0a1"])
def test_requires_python(text: str) -> None:
    for python in PYTHONS:
        marker = markers.simplified(markers.of_specifiers(text, "it"), known(python))
        assert (marker == markers.ALWAYS) is packaging.specifiers.SpecifierSet(text).contains(python, prereleases=True)


@pytest.mark.parametrize("text", ["3.9", ">=", ">=x", "=3.9", ">=3.9;"])
def test_requires_python_that_is_not_a_list_of_versions(text: str) -> None:
    with pytest.raises(UvnasError, match="it is for Python .*, which is not a list of versions"):
        markers.of_specifiers(text, "it is")
