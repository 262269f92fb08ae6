# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``uvnas.csh``: for csh and tcsh."""

from __future__ import annotations

import re

from .spec import NAME_BEGINS, NAME_HAS, Profile
from .template import fill

# Comments have no quotes and no exclamation marks: an interactive csh may look into them.
_TEMPLATE = """\
# Written by uvnas.cluster (uv_profile): local changes will be lost.
#
# For csh and tcsh; to be sourced. Sets variables, runs no command, looks at nothing on a share: a NAS that hangs must
# not hang a login. Root is left alone. A variable whose value did not come from here belongs to the user, and stays.
#
# These shells read every directory of PATH whenever PATH is set, so uv is reached by an alias that appends to PATH
# when it is used, and PATH itself is left as it is.

set __uvnas_status = 0
if (-o /) then
  # Root: the one who owns /.
else
  alias uvnas_use @use@
  alias uv 'env PATH="${PATH}:${UVNAS_ROOT}/@bin@" uv'
  alias uvx 'env PATH="${PATH}:${UVNAS_ROOT}/@bin@" uvx'

  # The share asked for. With uvnas_use that is its argument; at start-up what uvnas_use said earlier in the session.
  set __uvnas_share = ""
  set __uvnas_root = ""
  if ($?__uvnas_args) then
    if ($#__uvnas_args == 1) set __uvnas_share = $__uvnas_args:q
  else if ($?UVNAS_HOME_SHARE) then
    if (x$UVNAS_HOME_SHARE:q != x) set __uvnas_share = $UVNAS_HOME_SHARE:q
  endif
@shares@
  if (! $?__uvnas_args && x$__uvnas_root:q == x) then
    set __uvnas_share = @home@
    set __uvnas_root = @home_root@
  endif

  if (x$__uvnas_root:q == x) then
    if ($#__uvnas_args == 0) then
      echo home share of this session: $UVNAS_SHARE:q
      echo shares of this host: @names@
    else
      /bin/sh -c 'printf "%s\\n" "$*" >&2' sh \\
        uvnas_use: this host has no share called \\'$__uvnas_args:q\\'\\; its shares: @names@
      set __uvnas_status = 1
    endif
  else
    # The share in force until now.
    set __uvnas_was = $__uvnas_root:q
    if ($?UVNAS_ROOT) then
      if (x$UVNAS_ROOT:q != x) set __uvnas_was = $UVNAS_ROOT:q
    endif
    set __uvnas_user = ""
    if ($?USER) then
      if (x$USER:q != x) set __uvnas_user = $USER:q
    endif

    if (! $?UV_INSTALL_DIR) setenv UV_INSTALL_DIR ""
    if (x$UV_INSTALL_DIR:q == x$__uvnas_was:q/@bin@) setenv UV_INSTALL_DIR ""
    if (x$UV_INSTALL_DIR:q == x) setenv UV_INSTALL_DIR $__uvnas_root:q/@bin@
    if (! $?UV_CACHE_DIR) setenv UV_CACHE_DIR ""
    # That of anybody came from here; what is inside of it is a choice of the user. (tcsh would take a root in a pattern
    # for a pattern, and the old csh could not quote the directory of a path.)
    set __uvnas_cache = ""
    if ($?tcsh) then
      set __uvnas_cache = $UV_CACHE_DIR:h:q
    else
      if (x$UV_CACHE_DIR:q =~ x$__uvnas_was:q/@user_cache@/*) set __uvnas_cache = $__uvnas_was:q/@user_cache@
      if (x$UV_CACHE_DIR:q =~ x$__uvnas_was:q/@user_cache@/*/*) set __uvnas_cache = ""
    endif
    if (x$__uvnas_cache:q == x$__uvnas_was:q/@user_cache@) setenv UV_CACHE_DIR ""
    if (x$UV_CACHE_DIR:q == x$__uvnas_was:q/@user_cache@) setenv UV_CACHE_DIR ""
    set __uvnas_cache = ""
@set_cache@
    if (x$UV_CACHE_DIR:q == x && x$__uvnas_cache:q != x) setenv UV_CACHE_DIR $__uvnas_cache:q
    if (x$UV_CACHE_DIR:q == x) unsetenv UV_CACHE_DIR
    if (! $?UV_PYTHON_INSTALL_DIR) setenv UV_PYTHON_INSTALL_DIR ""
    if (x$UV_PYTHON_INSTALL_DIR:q == x$__uvnas_was:q/@python@) setenv UV_PYTHON_INSTALL_DIR ""
    if (x$UV_PYTHON_INSTALL_DIR:q == x) setenv UV_PYTHON_INSTALL_DIR $__uvnas_root:q/@python@

    # A PATH inherited from another kind of shell may have the other share. Then no share is in it afterwards.
    # (No foreach: the old csh expands wildcards in what it goes through, quoted or not.)
    if (x$__uvnas_was:q != x$__uvnas_root:q) then
      set __uvnas_path = ()
      set __uvnas_stale = 0
      set __uvnas_i = 1
      while ($__uvnas_i <= $#path)
        if (x$path[$__uvnas_i]:q == x$__uvnas_was:q/@bin@) then
          set __uvnas_stale = 1
        else if (x$path[$__uvnas_i]:q != x$__uvnas_root:q/@bin@) then
          set __uvnas_path = ($__uvnas_path:q $path[$__uvnas_i]:q)
        endif
        @ __uvnas_i++
      end
      if ($__uvnas_stale) set path = ($__uvnas_path:q)
    endif

    setenv UVNAS_SHARE $__uvnas_share:q
    setenv UVNAS_ROOT $__uvnas_root:q
    if ($?__uvnas_args) setenv UVNAS_HOME_SHARE $__uvnas_share:q
  endif

@variables@
endif
unset __uvnas_args __uvnas_share __uvnas_root __uvnas_was __uvnas_user __uvnas_cache
unset __uvnas_path __uvnas_stale __uvnas_i
# The last command says how uvnas_use ended; expanded first, run afterwards.
eval "unset __uvnas_status; set status = $__uvnas_status"
"""

_ONE_CACHE = "$__uvnas_root:q/@user_cache@"
_CACHE_OF_THEIR_OWN = "$__uvnas_root:q/@user_cache@/$__uvnas_user:q"

_EVERYBODY = """\
    if (x$__uvnas_user:q =~ x[@begins@]*) set __uvnas_cache = @cache@
    if (x$__uvnas_user:q =~ *[^@has@]*) set __uvnas_cache = ""
    # That is what tcsh calls everybody whom the host has no name for.
    if ($?tcsh && x$__uvnas_user:q == xunknown) set __uvnas_cache = \"\""""

_VARIABLE = """\
  if (! $?@name@) setenv @name@ ""
  if (! $?UVNAS_SET_@name@) setenv UVNAS_SET_@name@ ""
  if (x$@name@:q == x || x$@name@:q == x$UVNAS_SET_@name@:q) then
    setenv @name@ @value@
    setenv UVNAS_SET_@name@ $@name@:q
  endif
  if (x$UVNAS_SET_@name@:q == x) unsetenv UVNAS_SET_@name@"""


def render(profile: Profile, path: str) -> str:
    """The text of the file, which must be at ``path``, because ``uvnas_use`` reads it again."""
    return fill(
        _TEMPLATE,
        use=_quoted(f"set __uvnas_args = (!*) ; source {_word(path)}"),
        shares="\n".join(
            f"  if (x$__uvnas_share:q == x{_word(s.name)}) set __uvnas_root = {_word(s.root)}" for s in profile.shares
        ),
        set_cache=_set_cache(profile),
        home=_word(profile.shares[0].name),
        home_root=_word(profile.shares[0].root),
        names=" ".join(share.name for share in profile.shares),
        variables="\n".join(fill(_VARIABLE, name=name, value=_word(value)) for name, value in profile.variables),
    )


def _set_cache(profile: Profile) -> str:
    """Commands that set ``__uvnas_cache`` for those who have a cache."""
    cache = fill(_ONE_CACHE if profile.one_cache else _CACHE_OF_THEIR_OWN)
    if profile.people is not None:
        lines = (f"    if (x$__uvnas_user:q == x{_word(name)}) set __uvnas_cache = {cache}" for name in profile.people)
        return "\n".join(lines)
    if profile.one_cache:
        return f"    set __uvnas_cache = {cache}"
    return fill(_EVERYBODY, begins=NAME_BEGINS, has=NAME_HAS, cache=cache)


def _word(text: str) -> str:
    """``text`` as one word of csh, where neither kind of quotes protects everything, but backslashes do."""
    return re.sub(r"([^A-Za-z0-9_@%+=:,./\x80-\U0010ffff-])", r"\\\1", text)


def _quoted(text: str) -> str:
    """``text``, commands of csh, in single quotes."""
    return "'" + text.replace("'", "'\\''").replace("!", "\\!") + "'"
