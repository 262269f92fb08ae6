# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of ``uvnas.csh``. What real shells make of it: tests/integration/test_profile.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.profile import csh
from ansible_collections.uvnas.cluster.plugins.module_utils.profile.spec import Profile
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share

GOLDEN = Path(__file__).parent / "golden" / "csh.txt"
PROFILE = Profile(
    (Share("nas_a", Layout("/mnt/nas-a/uv")), Share("nas_b", Layout("/mnt/nas-b/uv"))),
    variables=(
        ("UV_DEFAULT_INDEX", "https://mirror.example.org/simple"),
        ("UV_HTTP_TIMEOUT", "60"),
        ("UV_PYTHON_DOWNLOADS", "manual"),
    ),
)


PATH = "/etc/profile.d/uvnas.csh"


def test_golden_text() -> None:
    assert csh.render(PROFILE, PATH) == GOLDEN.read_text(encoding="utf-8")


PERSONAL = """\
    if (x$__uvnas_user:q =~ x[A-Za-z0-9_]*) set __uvnas_cache = $__uvnas_root:q/user-cache/$__uvnas_user:q
    if (x$__uvnas_user:q =~ *[^A-Za-z0-9._@+-]*) set __uvnas_cache = ""
    # That is what tcsh calls everybody whom the host has no name for.
    if ($?tcsh && x$__uvnas_user:q == xunknown) set __uvnas_cache = ""
"""
PRIVATE = """\
    if (x$__uvnas_user:q == xada) set __uvnas_cache = $__uvnas_root:q/user-cache/$__uvnas_user:q
    if (x$__uvnas_user:q == xo\\'hara) set __uvnas_cache = $__uvnas_root:q/user-cache/$__uvnas_user:q
"""
PEOPLE = ("ada", "o'hara")


@pytest.mark.parametrize(
    ("one_cache", "people", "commands"),
    [
        (False, PEOPLE, PRIVATE),
        (True, PEOPLE, PRIVATE.replace("/$__uvnas_user:q", "")),
        (True, None, "    set __uvnas_cache = $__uvnas_root:q/user-cache\n"),
        (False, (), "\n"),
    ],
)
def test_the_kind_of_cache_changes_nothing_else(one_cache: bool, people: tuple[str, ...] | None, commands: str) -> None:
    text = csh.render(PROFILE, PATH)
    assert text.count(PERSONAL) == 1
    changed = dataclasses.replace(PROFILE, one_cache=one_cache, people=people)
    assert csh.render(changed, PATH) == text.replace(PERSONAL, commands)


def test_words() -> None:
    text = csh.render(dataclasses.replace(PROFILE, variables=(("UV_A", "it's $HOME!"),)), "/a b/uvnas.csh")
    assert "setenv UV_A it\\'s\\ \\$HOME\\!\n" in text
    assert "alias uvnas_use 'set __uvnas_args = (\\!*) ; source /a\\ b/uvnas.csh'\n" in text


def test_comments_have_nothing_that_an_interactive_csh_would_look_at() -> None:
    comments = [line for line in csh.render(PROFILE, PATH).splitlines() if line.lstrip().startswith("#")]
    assert comments
    assert not [line for line in comments if set(line) & set("'\"`!$")]
