# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shells of a host are to export, and what must not be exported. Pure: touches no file.

What the files remember in the environment, so that a login shell deep inside a session, or in a Slurm job that
inherited the environment of another host, knows what is uvnas's and what is the user's own:

``UVNAS_SHARE``, ``UVNAS_ROOT``
    The share in force, by name and by root. A UV_* directory that is where it would be on that share came from here.
``UVNAS_HOME_SHARE``
    The share that was asked for with ``uvnas_use``. Wins over the host's home share wherever the host has that share.
``UVNAS_SET_<name>``
    What was put into a variable that has nothing to do with a share. Still the same value there: it came from here.
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
# No shell can be told a line break on one line, and none of the others means anything in a path or a setting.
CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_SECRETS = "Profile files are world-readable; let users keep credentials in ~/.netrc or in a keyring."
# A name that a person's cache can have, as two sets of characters, for the first one and for all, that every shell can
# be told. What begins with a dot is no cache: share/strays.py knows that.
NAME_BEGINS, NAME_HAS = "A-Za-z0-9_", "A-Za-z0-9._@+-"
# The original csh, still about as bsd-csh, reads words of at most 1024 characters, and quoting may double the length.
_VALUE_MAX = 500


@dataclasses.dataclass(frozen=True)
class Profile:
    """What the shells of a host are to export. The first of ``shares`` is the home share."""

    shares: tuple[Share, ...]
    # Whether people have one cache for all, or one each.
    one_cache: bool = False
    # Who is sent to it. None: everybody; to one of their own, everybody who is called so that a directory can be.
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
        """From the options of the module. Raises SpecError where one of them cannot be meant."""
        listed = None if user_cache != "private" and not people else tuple(map(_person, people))
        return cls(_shares(shares), user_cache == "group", listed, variable_texts(variables))


def variable_texts(variables: t.Mapping[str, t.Any]) -> tuple[tuple[str, str], ...]:
    """What to export of ``variables``, and by default: sorted, those without a value left out. Raises SpecError."""
    texts = ((name, _text(name, value)) for name, value in {**_DEFAULT_VARIABLES, **variables}.items())
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
    if is_secret_name(name):
        raise SpecError(f"{name} would be a credential that everybody can read", hint=_NO_SECRETS)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise SpecError(f"{name}: the value is neither text nor a number")
    text = str(value)
    url = as_url(name, text)
    if has_credentials(url):
        raise SpecError(f"{name} has credentials in it, which everybody could read: {scrub(url)}", hint=_NO_SECRETS)
    if CONTROL_CHARACTERS.search(text) or len(text) > _VALUE_MAX:
        raise SpecError(
            f"{name}: the value has a control character, such as a line break, or more than {_VALUE_MAX} characters"
        )
    return text


def _person(name: str) -> str:
    """The name of somebody who has a cache. Raises SpecError where none can be called so."""
    if not name or name.startswith((".", "-")) or "/" in name or CONTROL_CHARACTERS.search(name):
        raise SpecError(f"{name!r} is no name of a user", hint="Correct uvnas_user_cache_users.")
    return name


def _shares(params: t.Sequence[t.Mapping[str, str]]) -> tuple[Share, ...]:
    if not params:
        raise SpecError(
            "no share is given, so there is nothing to export",
            hint="The first of the shares is the home share. With state: absent the files are removed.",
        )
    shares = tuple(parse_shares(params))
    for share in shares:
        if CONTROL_CHARACTERS.search(share.root) or len(share.root) > _VALUE_MAX:
            raise SpecError(
                f"share {share.name}: its root {share.root!r} cannot be in a shell file",
                hint=f"It may have {_VALUE_MAX} characters, and no control characters.",
            )
    return shares
