# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that shells read at start-up: what is in them, and what has to change for them to be so.

The files set variables and do nothing else. They run no command and look at nothing on a share, so that a NAS that
hangs does not hang a login; they leave root alone; they print nothing.

What they remember in the environment, so that a login shell deep inside a session, or in a Slurm job that inherited the
environment of another host, knows what is uvnas's and what is the user's own:

``UVNAS_SHARE``, ``UVNAS_ROOT``
    The share in force, by name and by root. A UV_* directory that is where it would be on that share came from here.
``UVNAS_HOME_SHARE``
    The share that was asked for with ``uvnas_use``. Wins over the host's home share wherever the host has that share.
``UVNAS_SET_<name>``
    What was put into a variable that has nothing to do with a share. Still the same value there: it came from here.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import typing as t

from ..errors import SpecError, UvnasError
from ..host import files as fs
from ..host.process import scrub
from ..share.layout import Layout
from ..share.spec import check_shares

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755

# Where things are on a share, relative to its root.
_BELOW_ROOT = Layout("")
# The variables that follow the share in force.
_OF_THE_SHARE = ("UV_INSTALL_DIR", "UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR")
_DEFAULT_VARIABLES: dict[str, t.Any] = {"UV_PYTHON_DOWNLOADS": "manual"}

# What an admin may export besides: settings of uv and pip, and what both need to reach an index. Anything else has
# nothing to do with uv, and many a name does harm (PATH, IFS, zsh's EUID).
_VARIABLE = re.compile(r"(UV|PIP)_[A-Z0-9_]*[A-Z0-9]\Z")
_NETWORK_VARIABLES = frozenset(
    {"ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NETRC", "NO_PROXY"}
    | {"all_proxy", "https_proxy", "http_proxy", "no_proxy"}
    | {"REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "SSL_CLIENT_CERT"}
)
_SECRET_VARIABLE = re.compile(r".*_(PASSWORD|TOKEN)\Z|UV_INDEX_.*_USERNAME\Z|UV_PUBLISH_USERNAME\Z")
# No shell can be told a line break on one line, and none of the others means anything in a path or a setting.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_SECRETS = "Profile files are world-readable; let users keep credentials in ~/.netrc or in a keyring."
# The original csh, still about as bsd-csh, reads words of at most 1024 characters, and quoting may double the length.
_VALUE_MAX = 500


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of a host: what users call it, and where it is."""

    name: str
    root: str


@dataclasses.dataclass(frozen=True)
class Profile:
    """What the shells of a host are to export. The first of ``shares`` is the home share."""

    shares: tuple[Share, ...]
    private_cache: bool = False
    variables: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_params(
        cls, shares: t.Sequence[t.Mapping[str, str]], user_cache: str, variables: t.Mapping[str, t.Any]
    ) -> Profile:
        """From the options of the module. Raises SpecError where one of them cannot be meant."""
        return cls(_shares(shares), user_cache == "private", _variables(variables))


@dataclasses.dataclass(frozen=True)
class Found:
    """What is in a file's place."""

    content: str
    # In words, for a diff; files that differ in nothing but this differ.
    status: str


@dataclasses.dataclass(frozen=True)
class Change:
    """A file that is not as it should be; None: no file."""

    path: str
    before: t.Optional[Found]
    after: t.Optional[Found]

    def diff(self) -> dict[str, str]:
        """The change as Ansible shows it."""
        both = [found for found in (self.before, self.after) if found is not None]
        status_changes = len({found.status for found in both}) > 1
        before, after = (
            "" if found is None else f"# {found.status}\n{found.content}" if status_changes else found.content
            for found in (self.before, self.after)
        )
        return {"before_header": self.path, "before": before, "after_header": self.path, "after": after}


def paths(directory: str, fish_directory: str) -> dict[str, str]:
    """The files of a host by kind of shell. No fish file where ``fish_directory`` is empty. Raises SpecError."""
    found = {}
    for shell, where in (("sh", directory), ("csh", directory), ("fish", fish_directory)):
        if not where and shell == "fish":
            continue
        if not os.path.isabs(where) or _CONTROL.search(where):
            raise SpecError(
                f"{where!r} is no directory for profile files", hint="Give an absolute path without control characters."
            )
        found[shell] = os.path.join(os.path.normpath(where), f"uvnas.{shell}")
    return found


def contents(profile: Profile, files: t.Mapping[str, str]) -> dict[str, t.Optional[str]]:
    """What is to be in each of ``files`` (see paths()), by path. Raises SpecError."""
    for share in profile.shares:
        for path in files.values():
            if path.startswith(share.root.rstrip("/") + "/"):
                raise SpecError(
                    f"{path} would be on the share {share.name}",
                    hint="Shells read it at start-up, and must not have to wait for a NAS; choose a local directory.",
                )
    text = {"sh": render_sh(profile), "csh": render_csh(profile, files["csh"]), "fish": render_fish(profile)}
    return {path: text[shell] for shell, path in files.items()}


def plan(wanted: t.Mapping[str, t.Optional[str]]) -> list[Change]:
    """What has to change so that each path has the content that is wanted of it (None: no file).

    Raises UvnasError where this user could not make the change.
    """
    changes = []
    for path, content in wanted.items():
        before = _look(path)
        after = None if content is None else Found(content, _status(os.geteuid(), FILE_MODE))
        if before != after:
            _check_writable(os.path.dirname(path))
            changes.append(Change(path, before, after))
    return changes


def apply(changes: t.Iterable[Change]) -> None:
    """Make ``changes``, each in one step: a shell that starts meanwhile reads the old file or the new one."""
    for change in changes:
        directory = os.path.dirname(change.path)
        if change.after is not None:
            _make_directory(directory)
            fs.write_durable(change.path, change.after.content, mode=FILE_MODE)
        else:
            os.unlink(change.path)
            fs.sync_directory(directory)


def _look(path: str) -> t.Optional[Found]:
    """What is at ``path`` now; None where there is nothing."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UvnasError(f"cannot have a file {path}: a part of this path is not a directory") from None
    if stat.S_ISLNK(about.st_mode):
        return Found("", f"symlink to {os.readlink(path)}")
    if not stat.S_ISREG(about.st_mode):
        raise UvnasError(
            f"{path} is not a file", hint="uvnas.cluster made no such thing there; move it away and run again."
        )
    content = (fs.read_bytes(path) or b"").decode("utf-8", "backslashreplace")
    return Found(content, _status(about.st_uid, stat.S_IMODE(about.st_mode)))


def _status(uid: int, mode: int) -> str:
    return f"owner {uid}, mode {mode:04o}"


def _check_writable(directory: str) -> None:
    """Raise UvnasError where files cannot be made in ``directory``, or it not be made."""
    existing = directory
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise UvnasError(f"cannot have profile files in {directory}: {existing} is not a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UvnasError(
            f"uid {os.geteuid()} may not write to {existing}, where profile files are to go",
            hint="Connect as root or become root (ansible_become), "
            "or choose directories of your own (uvnas_profile_dir and uvnas_profile_fish_dir).",
        )


def _make_directory(path: str) -> None:
    """Make ``path`` and what is missing above it, readable for everybody whatever the umask is."""
    if not os.path.isdir(path):
        _make_directory(os.path.dirname(path))
        os.mkdir(path)
        os.chmod(path, DIRECTORY_MODE)


def _shares(params: t.Sequence[t.Mapping[str, str]]) -> tuple[Share, ...]:
    if not params:
        raise SpecError(
            "no share is given, so there is nothing to export",
            hint="The first of the shares is the home share. With state: absent the files are removed.",
        )
    check_shares(params)
    shares = tuple(Share(share["name"], os.path.normpath("/" + share["root"].lstrip("/"))) for share in params)
    for share in shares:
        if _CONTROL.search(share.root) or len(share.root) > _VALUE_MAX:
            raise SpecError(
                f"share {share.name}: its root {share.root!r} cannot be in a shell file",
                hint=f"It may have {_VALUE_MAX} characters, and no control characters.",
            )
    return shares


def _variables(params: t.Mapping[str, t.Any]) -> tuple[tuple[str, str], ...]:
    """The further variables, sorted; those without a value left out."""
    texts = ((name, _text(name, value)) for name, value in {**_DEFAULT_VARIABLES, **params}.items())
    return tuple(sorted((name, value) for name, value in texts if value))


def _text(name: str, value: t.Any) -> str:
    """``value`` of the variable ``name`` as an environment has it. Raises SpecError where it must not be there."""
    if name in _OF_THE_SHARE:
        raise SpecError(f"{name} cannot be given: it follows the share in force")
    if not _VARIABLE.match(name) and name not in _NETWORK_VARIABLES:
        raise SpecError(
            f"{name!r} is no variable to export from here",
            hint="Only settings of uv and pip (UV_*, PIP_*), proxies and certificates are; "
            "other variables belong into another file of yours.",
        )
    if _SECRET_VARIABLE.match(name):
        raise SpecError(f"{name} would be a credential that everybody can read", hint=_NO_SECRETS)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise SpecError(f"{name}: the value is neither text nor a number")
    text = str(value)
    if scrub(text) != text:
        raise SpecError(f"{name} has credentials in it, which everybody could read: {scrub(text)}", hint=_NO_SECRETS)
    if _CONTROL.search(text) or len(text) > _VALUE_MAX:
        raise SpecError(
            f"{name}: the value has a control character, such as a line break, or more than {_VALUE_MAX} characters"
        )
    return text


# Rendering. In the templates, @name@ stands for a part that _fill() puts in.


def render_sh(profile: Profile) -> str:
    """``uvnas.sh``: for every shell that understands POSIX sh, zsh included."""
    new = '[ -z "${USER:-}" ] || export UV_CACHE_DIR="$2/@user_cache@/$USER"'
    return _fill(
        _SH,
        cases="\n".join(f'      {_sh(s.name)}) set -- "$1" {_sh(s.root)} ;;' for s in profile.shares),
        set_cache=_fill(new) if profile.private_cache else _fill('export UV_CACHE_DIR="$2/@user_cache@"'),
        home=_sh(profile.shares[0].name),
        names=" ".join(share.name for share in profile.shares),
        variables="\n".join(_fill(_SH_VARIABLE, name=name, value=_sh(value)) for name, value in profile.variables),
    )


def render_csh(profile: Profile, path: str) -> str:
    """``uvnas.csh``: for csh and tcsh. It is to be at ``path``, because ``uvnas_use`` reads it again."""
    return _fill(
        _CSH,
        use=_csh_quoted(f"set __uvnas_args = (!*) ; source {_csh(path)}"),
        shares="\n".join(
            f"  if (x$__uvnas_share:q == x{_csh(s.name)}) set __uvnas_root = {_csh(s.root)}" for s in profile.shares
        ),
        set_cache=_fill(_CSH_PRIVATE_CACHE if profile.private_cache else _CSH_GROUP_CACHE),
        home=_csh(profile.shares[0].name),
        home_root=_csh(profile.shares[0].root),
        names=" ".join(share.name for share in profile.shares),
        variables="\n".join(_fill(_CSH_VARIABLE, name=name, value=_csh(value)) for name, value in profile.variables),
    )


def render_fish(profile: Profile) -> str:
    """``uvnas.fish``."""
    return _fill(
        _FISH,
        cases="\n".join(
            f"            case {_fish(s.name)}\n                set root {_fish(s.root)}" for s in profile.shares
        ),
        set_cache=_fill(_FISH_PRIVATE_CACHE if profile.private_cache else _FISH_GROUP_CACHE),
        home=_fish(profile.shares[0].name),
        names=" ".join(share.name for share in profile.shares),
        variables="\n".join(_fill(_FISH_VARIABLE, name=name, value=_fish(value)) for name, value in profile.variables),
    )


def _fill(template: str, **parts: str) -> str:
    """``template`` with its parts put in; what is in the parts stays as it is."""
    known = {
        "bin": _BELOW_ROOT.bin_dir,
        "user_cache": _BELOW_ROOT.user_cache,
        "python": _BELOW_ROOT.python,
        **parts,
    }
    return re.sub("@([a-z_]+)@", lambda match: known[match.group(1)], template)


def _sh(text: str) -> str:
    """``text`` as one word of a POSIX shell. Always in quotes: zsh expands more unquoted characters than others."""
    return "'" + text.replace("'", "'\\''") + "'"


def _csh(text: str) -> str:
    """``text`` as one word of csh, where neither kind of quotes protects everything, but a backslash does."""
    return re.sub(r"([^A-Za-z0-9_@%+=:,./\x80-\U0010ffff-])", r"\\\1", text)


def _csh_quoted(text: str) -> str:
    """``text``, commands of csh, in single quotes."""
    return "'" + text.replace("'", "'\\''").replace("!", "\\!") + "'"


def _fish(text: str) -> str:
    """``text`` as one word of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SH = """\
# Written by uvnas.cluster (uv_profile): changes made here get lost.
#
# For sh, bash, zsh and ksh; to be sourced. Sets variables, runs no command, looks at nothing on a share: a NAS that
# hangs must not hang a login. Root is left alone. A variable whose value did not come from here is the user's own, and
# stays.

if [ "${EUID:-}" = 0 ] || { [ -z "${EUID:-}" ] && [ -O / ]; }; then
  : # Root. (A shell without EUID: root is the one who owns /.)
else
  # Puts the share called $1 in force. Returns 1 where this host has no such share.
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
      '' | "$3/@user_cache@" | "$3/@user_cache@/${USER:-}") @set_cache@ ;;
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

_SH_VARIABLE = """\
  case "${@name@:-}" in
    '' | "${UVNAS_SET_@name@:-}") export @name@=@value@; export UVNAS_SET_@name@="$@name@" ;;
  esac"""

# Comments have no quotes and no exclamation marks: an interactive csh may look into them.
_CSH = """\
# Written by uvnas.cluster (uv_profile): changes made here get lost.
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
    if (x$UV_CACHE_DIR:q == x$__uvnas_was:q/@user_cache@) setenv UV_CACHE_DIR ""
    if (x$UV_CACHE_DIR:q == x$__uvnas_was:q/@user_cache@/$__uvnas_user:q) setenv UV_CACHE_DIR ""
@set_cache@
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
unset __uvnas_args __uvnas_share __uvnas_root __uvnas_was __uvnas_user
unset __uvnas_path __uvnas_stale __uvnas_i
# The last command says how uvnas_use ended; expanded first, run afterwards.
eval "unset __uvnas_status; set status = $__uvnas_status"
"""

_CSH_GROUP_CACHE = """\
    if (x$UV_CACHE_DIR:q == x) setenv UV_CACHE_DIR $__uvnas_root:q/@user_cache@"""

_CSH_PRIVATE_CACHE = """\
    if (x$UV_CACHE_DIR:q == x) setenv UV_CACHE_DIR $__uvnas_root:q/@user_cache@/$__uvnas_user:q
    if (x$__uvnas_user:q == x && x$UV_CACHE_DIR:q == x$__uvnas_root:q/@user_cache@/) unsetenv UV_CACHE_DIR"""

_CSH_VARIABLE = """\
  if (! $?@name@) setenv @name@ ""
  if (! $?UVNAS_SET_@name@) setenv UVNAS_SET_@name@ ""
  if (x$@name@:q == x || x$@name@:q == x$UVNAS_SET_@name@:q) then
    setenv @name@ @value@
    setenv UVNAS_SET_@name@ $@name@:q
  endif
  if (x$UVNAS_SET_@name@:q == x) unsetenv UVNAS_SET_@name@"""

_FISH = """\
# Written by uvnas.cluster (uv_profile): changes made here get lost.
#
# For fish; to be sourced. Sets variables, runs no command, looks at nothing on a share: a NAS that hangs must not hang
# a login. Root is left alone. A variable whose value did not come from here is the user's own, and stays.

if test "$EUID" = 0; or begin; test -z "$EUID"; and test -O /; end
    # Root. (A fish without EUID: root is the one who owns /.)
else
    # Puts a share in force. Returns 1 where this host has no such share.
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
        if contains -- "$UV_CACHE_DIR" '' "$was/@user_cache@" "$was/@user_cache@/$USER"
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

_FISH_GROUP_CACHE = """\
            set -gx UV_CACHE_DIR "$root/@user_cache@\""""

_FISH_PRIVATE_CACHE = """\
            if test -n "$USER"
                set -gx UV_CACHE_DIR "$root/@user_cache@/$USER"
            end"""

_FISH_VARIABLE = """\
    if contains -- "$@name@" '' "$UVNAS_SET_@name@"
        set -gx @name@ @value@
        set -gx UVNAS_SET_@name@ $@name@
    end"""
