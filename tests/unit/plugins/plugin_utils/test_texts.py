# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts as editors of all kinds write them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError
from ansible_collections.uvnas.cluster.plugins.plugin_utils.texts import read

TEXT = "six==1.16.0\n# Grüße\nrich\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        codecs.BOM_UTF16_LE + TEXT.replace("\n", "\r\n").encode("utf-16-le"),
    ],
)
def test_one_text_however_it_is_stored(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert read(str(path)) == TEXT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"six\n# caf\xe9\n", "it is not UTF-8 text (line 2 has the byte 0xe9); save it as UTF-8"),
        (codecs.BOM_UTF8 + b"\xff", "it is not UTF-8 text (line 1 has the byte 0xff); save it as UTF-8"),
        (codecs.BOM_UTF16_LE + b"s", "it is not UTF-16-LE text; save it as UTF-8"),
        ("six\n".encode("utf-16-le"), "it is not text, or is UTF-16 without a byte order mark; save it as UTF-8"),
        (b"PK\x03\x04\x00", "it is not text, or is UTF-16 without a byte order mark; save it as UTF-8"),
    ],
)
def test_what_is_not_text(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read(str(path))
    assert str(caught.value) == f"cannot read {path}: {said}"


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*/a\.txt: No such file"):
        read(str(tmp_path / "a.txt"))
    with pytest.raises(SpecError, match=r"cannot read 'a\\x00': no file can have such a name"):
        read("a\0")
