# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``uvnas.sh``: for every shell that understands POSIX sh, zsh included."""

from __future__ import annotations

from .spec import NAME_BEGINS, NAME_HAS, Profile
from .template import fill

_TEMPLATE = """\
# Written by uvnas.cluster (uv_profile): local changes will be lost.
#
# For sh, bash, zsh and ksh; to be sourced. Sets variables, runs no command, looks at nothing on a share: a NAS that
# hangs must not hang a login. Root is left alone. A variable whose value did not come from here is the user's own, and
# stays.

if [ "${EUID:-}" = 0 ] || { [ -z "${EUID:-}" ] && [ -O / ]; }; then
  : # Root. (A shell without EUID: root is the one who owns /.)
else
  # Puts the share called $1 in force. Returns 1 if this host has no such share.
  __uvnas_point() {
    case "$1" in
@cases@
      *) return 1 ;;
    esac
    # $2: its root; $3: the root of the share in force until now; $4: PATH between colons.
    set -- "$1" "$2" "${UVNAS_ROOT:-$2}" "${PATH:+:$PATH}:"
    case "${UV_INSTALL_DIR:-}" in
      '' | "$3/@bin@") export UV_INSTALL_DIR="$2/@bin@" ;;
    esac
    case "${UV_CACHE_DIR:-}" in
      "$3/@user_cache@/"*/*) ;; # inside somebody's cache: the user's own
      '' | "$3/@user_cache@" | "$3/@user_cache@/"*)
@set_cache@
        ;;
    esac
    case "${UV_PYTHON_INSTALL_DIR:-}" in
      '' | "$3/@python@") export UV_PYTHON_INSTALL_DIR="$2/@python@" ;;
    esac
    while [ "$3" != "$2" ]; do
      case "$4" in
        *":$3/@bin@:"*) set -- "$1" "$2" "$3" "${4%%":$3/@bin@:"*}:${4#*":$3/@bin@:"}" ;;
        *) break ;;
      esac
    done
    case "${KSH_VERSION:-}$4" in
      Version* | *":$2/@bin@:"*) ;;
      *) set -- "$1" "$2" "$3" "$4$2/@bin@:" ;;
    esac
    set -- "$1" "$2" "${4#:}"
    export PATH="${3%:}" UVNAS_SHARE="$1" UVNAS_ROOT="$2"
  }

  uvnas_use() {
    if [ "$#" -eq 0 ]; then
      printf '%s\\n' "home share of this session: ${UVNAS_SHARE:-none}" 'shares of this host: @names@'
    elif [ "$#" -eq 1 ] && __uvnas_point "$1"; then
      export UVNAS_HOME_SHARE="$1"
    else
      printf '%s\\n' "uvnas_use: this host has no share called '$*'; its shares: @names@" >&2
      return 1
    fi
  }

  case "${KSH_VERSION:-}" in
    Version*)
      # ksh93 looks into every directory of PATH when it reads a file, so a share is in PATH for uv alone.
      uv() { PATH="$PATH:$UVNAS_ROOT/@bin@" command uv "$@"; }
      uvx() { PATH="$PATH:$UVNAS_ROOT/@bin@" command uvx "$@"; }
      ;;
  esac

  __uvnas_point "${UVNAS_HOME_SHARE:-}" || __uvnas_point @home@
@variables@
fi
"""

_CACHE = """\
        case "${USER:-}" in
@whom@
        esac"""

_EVERYBODY = """\
          '' | [!@begins@]* | *[!@has@]*) unset UV_CACHE_DIR ;;
          *) export UV_CACHE_DIR="$2/@cache@" ;;"""

_PEOPLE = """\
          @people@) export UV_CACHE_DIR="$2/@cache@" ;;
          *) unset UV_CACHE_DIR ;;"""

_VARIABLE = """\
  case "${@name@:-}" in
    '' | "${UVNAS_SET_@name@:-}") export @name@=@value@; export UVNAS_SET_@name@="$@name@" ;;
  esac"""


def render(profile: Profile) -> str:
    """The text of the file."""
    return fill(
        _TEMPLATE,
        cases="\n".join(f'      {_word(s.name)}) set -- "$1" {_word(s.root)} ;;' for s in profile.shares),
        set_cache=_set_cache(profile),
        home=_word(profile.shares[0].name),
        names=" ".join(share.name for share in profile.shares),
        variables="\n".join(fill(_VARIABLE, name=name, value=_word(value)) for name, value in profile.variables),
    )


def _set_cache(profile: Profile) -> str:
    """Commands that send those who have a cache, and nobody else, to it on the share whose root is ``$2``."""
    cache = fill("@user_cache@" if profile.one_cache else "@user_cache@/$USER")
    if profile.people:
        return fill(_CACHE, whom=fill(_PEOPLE, people=" | ".join(map(_word, profile.people)), cache=cache))
    if profile.people is not None:
        return "        unset UV_CACHE_DIR"
    if profile.one_cache:
        return f'        export UV_CACHE_DIR="$2/{cache}"'
    return fill(_CACHE, whom=fill(_EVERYBODY, begins=NAME_BEGINS, has=NAME_HAS, cache=cache))


def _word(text: str) -> str:
    """``text`` as one word of a POSIX shell. Always in quotes: zsh expands more unquoted characters than others."""
    return "'" + text.replace("'", "'\\''") + "'"
