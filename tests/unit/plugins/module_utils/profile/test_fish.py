# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of ``uvnas.fish``. What real shells make of it: tests/integration/test_profile.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path

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


def test_a_private_cache_changes_nothing_but_the_cache() -> None:
    group = """\
            set -gx UV_CACHE_DIR "$root/user-cache"
"""
    private = """\
            if test -n "$USER"
                set -gx UV_CACHE_DIR "$root/user-cache/$USER"
            end
"""
    text = fish.render(PROFILE)
    assert text.count(group) == 1
    assert fish.render(dataclasses.replace(PROFILE, private_cache=True)) == text.replace(group, private)


def test_words() -> None:
    text = fish.render(dataclasses.replace(PROFILE, variables=(("UV_A", "it's $HOME \\"),)))
    assert "set -gx UV_A 'it\\'s $HOME \\\\'\n" in text
