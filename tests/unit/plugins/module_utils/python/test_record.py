# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the interpreters on a share."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.python import record
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import Interpreter, Record
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout

OLD = Interpreter("cpython-3.12.11-linux-x86_64-gnu", "3.12.11", "d1")
FREE = Interpreter(
    "cpython-3.13.1+freethreaded-linux-x86_64-gnu", "3.13.1t", "d2", "site", True, "ours", "a.tar.gz", "s"
)
RECORD = Record({"3.12": OLD.key, "3.13t": FREE.key}, {OLD.key: OLD, FREE.key: FREE})


def test_a_record_survives_being_written(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    assert record.load_record(layout) == Record()
    (tmp_path / "locks").mkdir()
    Path(layout.pythons_record).write_text(json.dumps(RECORD.as_dict()), encoding="utf-8")
    assert record.load_record(layout) == RECORD
    assert RECORD.as_dict()["format"] == 1
    assert RECORD.as_dict()["interpreters"][OLD.key] == {
        "version": "3.12.11", "digest": "d1", "source": "download", "compiled": False
    }  # fmt: skip


def test_since_when_nothing_needs_an_interpreter() -> None:
    since = "2026-11-27T14:02:31.000001+00:00"
    noted = RECORD.noting(FREE.key, since)
    assert noted.interpreters[FREE.key].unneeded == since
    assert record.parse_record(noted.as_dict(), "it") == noted
    assert noted.noting(FREE.key, None) == RECORD
    for wrong in ("soon", "2026-11-27T14:02:31", "", 5, ["x"]):
        data = noted.as_dict()
        data["interpreters"][FREE.key]["unneeded"] = wrong
        with pytest.raises(UvnasError, match="it is damaged: invalid entry for"):
            record.parse_record(data, "it")


def test_what_a_later_version_adds_to_the_record_is_no_error() -> None:
    data = RECORD.as_dict()
    data["interpreters"][OLD.key]["colour"] = "blue"
    assert record.parse_record(data, "it") == RECORD


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
        record.parse_record(data, "/share/locks/pythons.json")


def test_resolve() -> None:
    assert record.resolve(RECORD, "3.12") == OLD
    assert record.resolve(RECORD, "3.12.11") == OLD
    assert record.resolve(RECORD, "3.13t").minor == "3.13t"
    with pytest.raises(SpecError):
        record.resolve(RECORD, "three")


@pytest.mark.parametrize("request_", ["3.13", "3.12.1", "3.11"])
def test_resolve_does_not_guess(request_: str) -> None:
    """What is on the share by chance may be gone, or another one, tomorrow."""
    with pytest.raises(
        UvnasError, match=f"Python {request_} is not on this share, which has 3.12, 3.13t, 3.12.11, 3.13.1t"
    ):
        record.resolve(RECORD, request_)
    with pytest.raises(UvnasError, match="which has no interpreter yet"):
        record.resolve(Record(), request_)


def test_removing_an_interpreter_removes_what_means_it() -> None:
    left = RECORD.without(OLD.key)
    assert left == Record({"3.13t": FREE.key}, {FREE.key: FREE})
    assert left.adding(OLD, ["3.12", "3.12.11"]).requests["3.12.11"] == OLD.key


def test_nobody_relies_on_what_is_being_installed_anew() -> None:
    """What it means does not change by that."""
    found = Interpreter("cpython-3.12.4-linux-x86_64-gnu", "3.12.4", "1" * 64)
    begun = Record({"3.12": found.key}, {found.key: found}).beginning(found.key)
    assert record.parse_record(begun.as_dict(), "it") == begun
    assert begun.find("3.12") == begun.interpreters[found.key]
    for request in ("3.12", "3.12.4"):
        with pytest.raises(UvnasError, match="is incomplete on this share"):
            record.resolve(begun, request)
    assert "unfinished" not in found.as_dict()
