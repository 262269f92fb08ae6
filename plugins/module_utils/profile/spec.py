# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shells of a host export, and what must not be exported. Pure: touches no file.

The files remember this in the environment, so that a login shell deep inside a session, or in a Slurm job that
inherited the environment of another host, knows what is uvnas's and what is the user's own:

``UVNAS_SHARE``, ``UVNAS_ROOT``
    The share in force, by name and by root. A UV_* directory at its usual place on that share came from here.
``UVNAS_HOME_SHARE``
    The share chosen with ``uvnas_use``. Wins over the host's home share wherever the host has it.
``UVNAS_SET_<name>``
    The value given to a variable that has nothing to do with a share. If the variable still has it, it came from here.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import SpecError
from ..host.secrets import as_url, has_credentials, is_secret_name, scrub
from ..share.spec import Share, parse_shares

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
# No shell can express a line break on one line, and the others make no sense in a path or a setting.
CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_SECRETS = "Profile files are world-readable; let users keep credentials in ~/.netrc or in a keyring."
# The names that a person's cache can have, as two sets of characters, for the first one and for all, in a form that
# every shell understands. None begins with a dot: share/strays.py relies on that.
NAME_BEGINS, NAME_HAS = "A-Za-z0-9_", "A-Za-z0-9._@+-"
# The original csh, still around as bsd-csh, reads words of at most 1024 characters, and quoting may double the length.
_VALUE_MAX = 500


@dataclasses.dataclass(frozen=True)
class Profile:
    """What the shells of a host export. The first of ``shares`` is the home share."""

    shares: tuple[Share, ...]
    # Whether people have one cache for all, or one each.
    one_cache: bool = False
    # Who is sent to it. None: everybody; or with caches of their own, everybody whose name can be that of a directory.
    people: t.Optional[tuple[str, ...]] = None
    variables: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_params(
        cls,
        shares: t.Sequence[t.Mapping[str, str]],
        user_cache: str,
        variables: t.Mapping[str, t.Any],
        people: t.Sequence[str] = (),
    ) -> Profile:
        """From the options of the module. Raises SpecError if one of them makes no sense."""
        listed = None if user_cache != "private" and not people else tuple(map(_person, people))
        return cls(_shares(shares), user_cache == "group", listed, variable_texts(variables))


def variable_texts(variables: t.Mapping[str, t.Any]) -> tuple[tuple[str, str], ...]:
    """``variables`` and the defaults to export, sorted, without those that have no value. Raises SpecError."""
    texts = ((name, _text(name, value)) for name, value in {**_DEFAULT_VARIABLES, **variables}.items())
    return tuple(sorted((name, value) for name, value in texts if value))


def _text(name: str, value: t.Any) -> str:
    """``value`` of the variable ``name`` as text for an environment. Raises SpecError if it must not be exported."""
    if name in _OF_THE_SHARE:
        raise SpecError(f"{name} cannot be set: it follows the share in force")
    if not _VARIABLE.match(name) and name not in _NETWORK_VARIABLES:
        raise SpecError(
            f"{name!r} cannot be exported from here",
            hint="Only settings of uv and pip (UV_*, PIP_*), proxies and certificates can; "
            "put other variables into a file of your own.",
        )
    if is_secret_name(name):
        raise SpecError(f"{name} would be a credential that everybody can read", hint=_NO_SECRETS)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise SpecError(f"{name}: the value is neither a string nor a number")
    text = str(value)
    url = as_url(name, text)
    if has_credentials(url):
        raise SpecError(f"{name} contains credentials, which everybody could read: {scrub(url)}", hint=_NO_SECRETS)
    if CONTROL_CHARACTERS.search(text) or len(text) > _VALUE_MAX:
        raise SpecError(
            f"{name}: the value has a control character, such as a line break, or more than {_VALUE_MAX} characters"
        )
    return text


def _person(name: str) -> str:
    """The name of somebody who has a cache. Raises SpecError if it cannot be a user name."""
    if not name or name.startswith((".", "-")) or "/" in name or CONTROL_CHARACTERS.search(name):
        raise SpecError(f"{name!r} is not a user name", hint="Correct uvnas_user_cache_users.")
    return name


def _shares(params: t.Sequence[t.Mapping[str, str]]) -> tuple[Share, ...]:
    if not params:
        raise SpecError(
            "no shares are given, so there is nothing to export",
            hint="The first of the shares is the home share. To remove the files use state: absent.",
        )
    shares = tuple(parse_shares(params))
    for share in shares:
        if CONTROL_CHARACTERS.search(share.root) or len(share.root) > _VALUE_MAX:
            raise SpecError(
                f"share {share.name}: its root {share.root!r} cannot be in a shell file",
                hint=f"It may have at most {_VALUE_MAX} characters, and no control characters.",
            )
    return shares
