# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of ``uvnas.sh``. What real shells make of it: tests/integration/test_profile.py."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.profile import sh
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.spec import Profile
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share

GOLDEN = Path(__file__).parent / "golden" / "sh.txt"
PROFILE = Profile(
    (Share("nas_a", Layout("/mnt/nas-a/uv")), Share("nas_b", Layout("/mnt/nas-b/uv"))),
    variables=(
        ("UV_DEFAULT_INDEX", "https://mirror.example.org/simple"),
        ("UV_HTTP_TIMEOUT", "60"),
        ("UV_PYTHON_DOWNLOADS", "manual"),
    ),
)


def test_golden_text() -> None:
    assert sh.render(PROFILE) == GOLDEN.read_text(encoding="utf-8")


PERSONAL = """\
        case "${USER:-}" in
          '' | [!A-Za-z0-9_]* | *[!A-Za-z0-9._@+-]*) unset UV_CACHE_DIR ;;
          *) export UV_CACHE_DIR="$2/user-cache/$USER" ;;
        esac
"""
PRIVATE = """\
        case "${USER:-}" in
          'ada' | 'o'\\''hara') export UV_CACHE_DIR="$2/user-cache/$USER" ;;
          *) unset UV_CACHE_DIR ;;
        esac
"""
PEOPLE = ("ada", "o'hara")


@pytest.mark.parametrize(
    ("one_cache", "people", "commands"),
    [
        (False, PEOPLE, PRIVATE),
        (True, PEOPLE, PRIVATE.replace("/$USER", "")),
        (True, None, '        export UV_CACHE_DIR="$2/user-cache"\n'),
        (False, (), "        unset UV_CACHE_DIR\n"),
    ],
)
def test_the_kind_of_cache_changes_nothing_else(one_cache: bool, people: tuple[str, ...] | None, commands: str) -> None:
    text = sh.render(PROFILE)
    assert text.count(PERSONAL) == 1
    changed = dataclasses.replace(PROFILE, one_cache=one_cache, people=people)
    assert sh.render(changed) == text.replace(PERSONAL, commands)


def test_what_looks_like_a_part_of_the_template_is_text() -> None:
    text = sh.render(dataclasses.replace(PROFILE, variables=(("UV_A", "@home@ @variables@"),)))
    assert "export UV_A='@home@ @variables@';" in text


@pytest.mark.parametrize(
    "value", ["plain", "a b", "it's", "''", '$HOME `id` \\ " ! * ~ # ; & | < > ( )', "ü", "-n", "="]
)
def test_words(value: str) -> None:
    text = sh.render(dataclasses.replace(PROFILE, variables=(("UV_A", value),)))
    line = next(line for line in text.splitlines() if "export UV_A=" in line)
    words = shlex.split(line.partition("export ")[2], comments=True)
    assert words[0].rstrip(";") == f"UV_A={value}".rstrip(";")
