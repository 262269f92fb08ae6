# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of ``uvnas.fish``. What real shells make of it: tests/integration/test_profile.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.profile import fish
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.spec import Profile
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share

GOLDEN = Path(__file__).parent / "golden" / "fish.txt"
PROFILE = Profile(
    (Share("nas_a", Layout("/mnt/nas-a/uv")), Share("nas_b", Layout("/mnt/nas-b/uv"))),
    variables=(
        ("UV_DEFAULT_INDEX", "https://mirror.example.org/simple"),
        ("UV_HTTP_TIMEOUT", "60"),
        ("UV_PYTHON_DOWNLOADS", "manual"),
    ),
)


def test_golden_text() -> None:
    assert fish.render(PROFILE) == GOLDEN.read_text(encoding="utf-8")


PERSONAL = """\
            if string match --quiet --regex '^[A-Za-z0-9_][A-Za-z0-9._@+-]*\\z' -- "$USER"
                set -gx UV_CACHE_DIR "$root/user-cache/$USER"
            else
                set -eg UV_CACHE_DIR
            end
"""
WHOM = PERSONAL.splitlines()[0].strip()


@pytest.mark.parametrize(
    ("one_cache", "people", "commands"),
    [
        (False, ("ada", "o'hara"), PERSONAL.replace(WHOM, "if contains -- \"$USER\" 'ada' 'o\\'hara'")),
        (False, (), PERSONAL.replace(WHOM, 'if contains -- "$USER"')),
        (True, ("ada",), PERSONAL.replace(WHOM, "if contains -- \"$USER\" 'ada'").replace("/$USER", "")),
        (True, None, '            set -gx UV_CACHE_DIR "$root/user-cache"\n'),
    ],
)
def test_the_kind_of_cache_changes_nothing_else(one_cache: bool, people: tuple[str, ...] | None, commands: str) -> None:
    text = fish.render(PROFILE)
    assert text.count(PERSONAL) == 1
    changed = dataclasses.replace(PROFILE, one_cache=one_cache, people=people)
    assert fish.render(changed) == text.replace(PERSONAL, commands)


def test_words() -> None:
    text = fish.render(dataclasses.replace(PROFILE, variables=(("UV_A", "it's $HOME \\"),)))
    assert "set -gx UV_A 'it\\'s $HOME \\\\'\n" in text
