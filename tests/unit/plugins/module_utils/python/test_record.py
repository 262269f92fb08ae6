# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests, keys and the record, with what uv really prints."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.python import record as interpreter
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import Interpreter, Record, Version
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout

# What `uv python list --only-downloads --all-versions --output-format json` printed, by version of uv; shortened.
LISTS = json.loads((Path(__file__).parent / "golden" / "uv_python_list.json").read_text(encoding="utf-8"))

OLD = Interpreter("cpython-3.12.11-linux-x86_64-gnu", "3.12.11", "d1")
FREE = Interpreter(
    "cpython-3.13.1+freethreaded-linux-x86_64-gnu", "3.13.1t", "d2", "site", True, "ours", "a.tar.gz", "s"
)
RECORD = Record({"3.12": OLD.key, "3.13t": FREE.key}, {OLD.key: OLD, FREE.key: FREE})


@pytest.fixture(params=sorted(LISTS))
def downloads(request: pytest.FixtureRequest) -> list[interpreter.Download]:
    return interpreter.parse_downloads(json.dumps(LISTS[request.param]))


@pytest.mark.parametrize(
    ("text", "minor", "key"),
    [
        ("3.12.4", "3.12", "cpython-3.12.4-linux-x86_64-gnu"),
        ("3.9.0", "3.9", "cpython-3.9.0-linux-x86_64-gnu"),
        ("3.13.18t", "3.13t", "cpython-3.13.18+freethreaded-linux-x86_64-gnu"),
    ],
)
def test_an_exact_version_is_a_key_and_back(text: str, minor: str, key: str) -> None:
    version = Version.parse(text)
    assert (str(version), version.minor, version.exact) == (text, minor, True)
    assert version.key("x86_64-gnu") == key
    assert Version.of_key(key) == version
    assert Version.of_key(version.key("aarch64-musl")) == version


@pytest.mark.parametrize("text", ["3.12", "3.9", "3.13t"])
def test_a_series_is_a_request(text: str) -> None:
    version = Version.parse(text)
    assert (str(version), version.minor, version.exact) == (text, text, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "3.",
        "3.012",
        "3.12.",
        "3.12.4.1",
        "2.7",
        "4.0",
        "3.12 ",
        " 3.12",
        "3.12\n",
        "python3.12",
        ">=3.12",
        "3.x",
        "3.13.0rc1",
        "3.16.0a2",
        "3.12d",
        "3.12.4tt",
        "cpython-3.12",
        "../3.12",
        "3.12/..",
        "3.１２",
        "3.1234",
        "-3.12",
    ],
)
def test_what_is_no_request(text: str) -> None:
    with pytest.raises(SpecError, match="is not a request for a Python") as error:
        Version.parse(text)
    assert '"3.12"' in error.value.hint


@pytest.mark.parametrize("text", ["pypy3.10", "pypy@3.10", "PyPy", "graalpy-24"])
def test_other_implementations_are_refused_by_name(text: str) -> None:
    with pytest.raises(SpecError, match="is not CPython"):
        Version.parse(text)


@pytest.mark.parametrize("key", ["cpython-3.12-linux-x86_64-gnu", "pypy-3.12.15-linux-x86_64-gnu", "x", "../cpython"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(SpecError):
        Version.of_key(key)


def test_only_final_cpython_is_offered_newest_first(downloads: list[interpreter.Download]) -> None:
    versions = [str(download.version) for download in downloads]
    assert versions[:3] == ["3.15.2t", "3.15.2", "3.15.1t"]
    assert [version for version in versions if version.startswith("3.12.")] == [
        f"3.12.{patch}" for patch in (16, 15, 14, 13, 12, 11, 10)
    ]
    assert {"3.16.0", "3.12.0"}.isdisjoint(versions)
    assert all(download.key.startswith("cpython-3.") for download in downloads)


@pytest.mark.parametrize(
    ("request_", "chosen"),
    [
        ("3.12", "3.12.16"),
        ("3.12.9", None),
        ("3.12.12", "3.12.12"),
        ("3.14", "3.14.10"),
        ("3.13t", "3.13.18t"),
        ("3.11t", None),
        ("3.16", None),
        ("3.99", None),
    ],
)
def test_the_newest_is_chosen(downloads: list[interpreter.Download], request_: str, chosen: str | None) -> None:
    found = interpreter.choose(Version.parse(request_), [download.version for download in downloads])
    assert (found and str(found)) == chosen


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("3.12.999", "of 3.12 there are 3.12.16, 3.12.15, 3.12.14, 3.12.13, 3.12.12 and 2 older ones"),
        ("3.99", "there are 3.15, 3.14, 3.13, 3.12, 3.11, 3.8"),
        ("3.11t", "there are 3.15t, 3.14t, 3.13t"),
    ],
)
def test_what_there_is_instead_is_said(downloads: list[interpreter.Download], request_: str, said: str) -> None:
    versions = [download.version for download in downloads]
    error = interpreter.not_available(Version.parse(request_), versions, where="uv")
    assert str(error) == f"there is no Python {request_} to be had from uv: {said}"


def test_a_record_survives_being_written(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    assert interpreter.load_record(layout) == Record()
    (tmp_path / "locks").mkdir()
    Path(layout.pythons_record).write_text(json.dumps(RECORD.as_dict()), encoding="utf-8")
    assert interpreter.load_record(layout) == RECORD
    assert RECORD.as_dict()["format"] == 1
    assert RECORD.as_dict()["interpreters"][OLD.key] == {
        "version": "3.12.11", "digest": "d1", "source": "download", "compiled": False
    }  # fmt: skip


def test_what_a_later_version_adds_to_the_record_is_no_error() -> None:
    data = RECORD.as_dict()
    data["interpreters"][OLD.key]["colour"] = "blue"
    assert interpreter.parse_record(data, "it") == RECORD


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"format": 2},
        {"format": 1},
        {"format": 1, "requests": {}, "interpreters": []},
        {"format": 1, "requests": {}, "interpreters": {"k": {"version": "3.12.1"}}},
    ],
)
def test_a_record_that_cannot_be_understood_is_an_error(data: dict[str, t.Any]) -> None:
    with pytest.raises(UvnasError, match=r"pythons\.json"):
        interpreter.parse_record(data, "/share/locks/pythons.json")


def test_resolve() -> None:
    assert interpreter.resolve(RECORD, "3.12") == OLD
    assert interpreter.resolve(RECORD, "3.12.11") == OLD
    assert interpreter.resolve(RECORD, "3.13t").minor == "3.13t"
    with pytest.raises(SpecError):
        interpreter.resolve(RECORD, "three")


@pytest.mark.parametrize("request_", ["3.13", "3.12.1", "3.11"])
def test_resolve_does_not_guess(request_: str) -> None:
    """What is on the share by chance may be gone, or another one, tomorrow."""
    with pytest.raises(
        UvnasError, match=f"Python {request_} is not on this share, which has 3.12, 3.13t, 3.12.11, 3.13.1t"
    ):
        interpreter.resolve(RECORD, request_)
    with pytest.raises(UvnasError, match="which has no interpreter yet"):
        interpreter.resolve(Record(), request_)


def test_removing_an_interpreter_removes_what_means_it() -> None:
    left = RECORD.without(OLD.key)
    assert left == Record({"3.13t": FREE.key}, {FREE.key: FREE})
    assert left.adding(OLD, ["3.12", "3.12.11"]).requests["3.12.11"] == OLD.key
