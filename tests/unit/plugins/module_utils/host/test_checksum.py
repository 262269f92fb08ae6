# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checksums: as people write them, as files of them have them, and of what is checked."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import checksum

DIGEST = "2b4a0a4e8dd4a5c6f1a8f5b2d1b6ff4a0a7c9d0c5f4ad8e7b8d9a3c2e1f00112"
OTHER = "f" * 64


@pytest.mark.parametrize(
    "text",
    [
        f"{DIGEST} *uv.tar.gz\n",
        f"{DIGEST}  uv.tar.gz\n",
        f"{DIGEST.upper()}  ./dist/uv.tar.gz\r\n",
        f"{DIGEST}\n",
        DIGEST,
        f"# made by a mirror\n{OTHER}  uv.zip\n{DIGEST}  uv.tar.gz\n",
    ],
)
def test_checksum_files(text: str) -> None:
    assert checksum.parse_checksum(text, "uv.tar.gz") == DIGEST


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>Log in</html>",
        f"{DIGEST}  other.tar.gz\n",
        f"{DIGEST}\n{OTHER}\n",
        DIGEST[:-1],
        f"{DIGEST}0",
        f"x{DIGEST}  uv.tar.gz",
    ],
)
def test_checksum_files_without_the_checksum(text: str) -> None:
    with pytest.raises(UvnasError, match=r"has no sha256 of uv\.tar\.gz"):
        checksum.parse_checksum(text, "uv.tar.gz")


def test_checksums_are_written_one_way() -> None:
    assert checksum.check_sha256(DIGEST.upper()) == DIGEST
    with pytest.raises(SpecError, match="is not a sha256 checksum"):
        checksum.check_sha256("0123…")


def test_a_wrong_checksum_names_both() -> None:
    stream = io.BytesIO(b"content")
    checksum.check_archive(stream, checksum.of_stream(stream), "uv.whl")
    with pytest.raises(
        UvnasError, match=f"the checksum of uv.whl is wrong: sha256 is {checksum.of_stream(stream)}, should be {OTHER}"
    ):
        checksum.check_archive(stream, OTHER, "uv.whl")


@pytest.mark.parametrize("content", [b"", b"content", b"x" * ((2 << 20) + 1)])
def test_the_same_wherever_it_is_read_from(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    stream = io.BytesIO(content)
    stream.read()  # Wherever somebody left it.
    expected = hashlib.sha256(content).hexdigest()
    assert checksum.of_stream(stream) == checksum.of_file(str(tmp_path / "file")) == expected
    assert checksum.of_text(content.decode()) == expected


def test_of_data_whatever_the_order_of_keys() -> None:
    """Names of generations, and digests in locks, rest on it: a change here is one of all of them."""
    assert checksum.of_data({"b": [1, None], "a": "ä"}) == checksum.of_data({"a": "ä", "b": [1, None]})
    assert checksum.of_data({"b": [1, None], "a": "ä"}) == checksum.of_text('{"a":"\\u00e4","b":[1,null]}')
    assert checksum.of_data([1, 2]) != checksum.of_data([2, 1])
