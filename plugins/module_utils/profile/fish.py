# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``uvnas.fish``."""

from __future__ import annotations

from .spec import NAME_BEGINS, NAME_HAS, Profile
from .template import fill

_TEMPLATE = """\
# Written by uvnas.cluster (uv_profile): local changes will be lost.
#
# For fish; to be sourced. Sets variables, runs no command, looks at nothing on a share: a NAS that hangs must not hang
# a login. Root is left alone. A variable whose value did not come from here is the user's own, and stays.

if test "$EUID" = 0; or begin; test -z "$EUID"; and test -O /; end
    # Root. (A fish without EUID: root is the one who owns /.)
else
    # Puts a share in force. Returns 1 if this host has no such share.
    function __uvnas_point --argument-names share
        set -l root
        switch "$share"
@cases@
            case '*'
                return 1
        end
        # The share in force until now.
        set -l was "$UVNAS_ROOT"
        if test -z "$was"
            set was $root
        end
        if contains -- "$UV_INSTALL_DIR" '' "$was/@bin@"
            set -gx UV_INSTALL_DIR "$root/@bin@"
        end
        # (In which directory it is. What is inside somebody's cache is the user's own.)
        set -l above (string split --right --max 1 / -- "$UV_CACHE_DIR")[1]
        if contains -- "$UV_CACHE_DIR" '' "$was/@user_cache@"; or test "$above" = "$was/@user_cache@"
@set_cache@
        end
        if contains -- "$UV_PYTHON_INSTALL_DIR" '' "$was/@python@"
            set -gx UV_PYTHON_INSTALL_DIR "$root/@python@"
        end
        if test "$was" != "$root"
            set -l kept
            for dir in $PATH
                if test "$dir" != "$was/@bin@"
                    set kept $kept $dir
                end
            end
            set -gx PATH $kept
        end
        if not contains -- "$root/@bin@" $PATH
            set -gx PATH $PATH "$root/@bin@"
        end
        set -gx UVNAS_SHARE $share
        set -gx UVNAS_ROOT $root
    end

    function uvnas_use --description 'Change the home share of this session'
        if test (count $argv) -eq 0
            test -n "$UVNAS_SHARE"; and set -l share $UVNAS_SHARE; or set -l share none
            echo "home share of this session: $share"
            echo 'shares of this host: @names@'
        else if test (count $argv) -eq 1; and __uvnas_point $argv[1]
            set -gx UVNAS_HOME_SHARE $argv[1]
        else
            echo "uvnas_use: this host has no share called '$argv'; its shares: @names@" >&2
            return 1
        end
    end

    if not __uvnas_point "$UVNAS_HOME_SHARE"
        __uvnas_point @home@
    end
@variables@
end
"""

_ONE_CACHE = """\
            set -gx UV_CACHE_DIR "$root/@user_cache@\""""

_CACHE = """\
            if @whom@
                set -gx UV_CACHE_DIR "$root/@cache@"
            else
                set -eg UV_CACHE_DIR
            end"""

_VARIABLE = """\
    if contains -- "$@name@" '' "$UVNAS_SET_@name@"
        set -gx @name@ @value@
        set -gx UVNAS_SET_@name@ $@name@
    end"""


def render(profile: Profile) -> str:
    """The text of the file."""
    return fill(
        _TEMPLATE,
        cases="\n".join(
            f"            case {_word(s.name)}\n                set root {_word(s.root)}" for s in profile.shares
        ),
        set_cache=_set_cache(profile),
        home=_word(profile.shares[0].name),
        names=" ".join(share.name for share in profile.shares),
        variables="\n".join(fill(_VARIABLE, name=name, value=_word(value)) for name, value in profile.variables),
    )


def _set_cache(profile: Profile) -> str:
    """Commands that send those who have a cache, and nobody else, to it on the share at ``$root``."""
    if profile.people is not None:
        whom = " ".join(['contains -- "$USER"', *map(_word, profile.people)])
    elif profile.one_cache:
        return fill(_ONE_CACHE)
    else:
        whom = f"string match --quiet --regex '^[{NAME_BEGINS}][{NAME_HAS}]*\\z' -- \"$USER\""
    return fill(_CACHE, whom=whom, cache=fill("@user_cache@" if profile.one_cache else "@user_cache@/$USER"))


def _word(text: str) -> str:
    """``text`` as one word of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
