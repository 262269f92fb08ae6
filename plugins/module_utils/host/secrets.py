# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a secret looks like: in a URL, in a text, in the name of a variable. Only this file decides."""

from __future__ import annotations

import re
import typing as t

HIDDEN = "****"

# What comes between "://" and the host (RFC 3986, 3.2.1), with the scheme before it. People type "?" and "#" unquoted,
# and "/" too: then what follows the first colon is not a port.
# (The lookbehind keeps every part of every long word from being tried; the limit on a password with a "/" keeps every
# colon from having all that follows searched.)
_USERINFO = re.compile(
    r"(?:(?<![A-Za-z0-9+.-])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*))?:/{2,}"
    r"(?P<userinfo>[^/\s]*|[^/\s:@\[]{0,200}:(?![0-9]*(?:[/?#\s]|\Z))[^\s]{0,200})@"
)
# User and password are percent-encoded in a URL, except for these characters (RFC 3986, 2.3).
_PLAIN = re.compile(rb"[A-Za-z0-9._~-]")
# HTTPS_PROXY, all_proxy: programs accept "user:password@host:3128" there.
_PROXY = re.compile(r"(?!no_)\w+_proxy", re.IGNORECASE)
# Names such as UV_INDEX_INTERNAL_PASSWORD, AWS_SECRET_ACCESS_KEY, GITHUB_PAT.
_NAME = re.compile(r"PASS|TOKEN|SECRET|CREDENTIAL|USERNAME|(KEY|AUTH)\Z|(\A|_)PAT\Z", re.IGNORECASE)


def scrub(text: str) -> str:
    """``text`` with the credentials of every URL in it hidden."""
    if "://" not in text:
        return text
    return _USERINFO.sub(lambda match: match[0].replace(f"{match['userinfo']}@", f"{HIDDEN}@"), text)


def has_credentials(text: str) -> bool:
    """Whether a URL in ``text`` contains credentials: a password, or a user, which may well be a token.

    A user alone is not a secret if the protocol keeps its keys elsewhere: ``git+ssh://git@host``.
    """
    return any(True for _secret in _secrets(text))


def in_url(text: str) -> set[str]:
    """The secrets in the URLs of ``text``, both as written and decoded: passwords, or else users.

    Call it before the process changes its user, who may not be allowed to read this Python.
    """
    found = set(_secrets(text))
    if found:
        from urllib.parse import unquote  # Not at the top: it takes longer than a whole no-op.

        found.update([unquote(secret) for secret in found])
    return found


def _secrets(text: str) -> t.Iterator[str]:
    # Every converge checks each package of each lock, and few have a URL.
    for match in _USERINFO.finditer(text) if "://" in text else ():
        user, colon, password = match["userinfo"].partition(":")
        secret = password or user
        if secret and (colon or not (match["scheme"] or "").endswith("ssh")):
            yield secret


def is_secret_name(name: str) -> bool:
    """Whether the value of a variable of this name is a secret."""
    return _NAME.search(name) is not None


def as_url(name: str, value: str) -> str:
    """The value of the variable ``name``; a proxy written without a scheme becomes a URL."""
    return f"http://{value}" if value and "://" not in value and _PROXY.fullmatch(name) else value


def is_secret(name: str, value: str) -> bool:
    """Whether the variable ``name`` with this value is a secret, or contains one in a URL."""
    return is_secret_name(name) or has_credentials(as_url(name, value))


def with_credentials(url: str, user: str, password: str) -> str:
    """``url`` with these credentials, which replace its own. Anything but a URL is returned unchanged."""
    scheme, found, rest = url.partition("://")
    if not found:
        return url
    host = rest[match.end() :] if (match := re.match(r"[^/\s]*@", rest)) else rest
    return f"{scheme}://{_encoded(user)}{':' if password else ''}{_encoded(password)}@{host}"


def _encoded(text: str) -> str:
    one_by_one = (bytes([byte]) for byte in text.encode())
    return "".join(byte.decode() if _PLAIN.match(byte) else f"%{byte[0]:02X}" for byte in one_by_one)


def shown(url: str) -> str:
    """``url`` as it may be shown: without its credentials, and without what follows ``?``, which may contain some.

    It may be mistyped. Then nobody can tell where credentials end, except that it is before the last ``@``.
    """
    known = scrub(url) if "://" in url else re.sub(r"\A.*@", f"{HIDDEN}@", url, flags=re.DOTALL)
    return re.sub(r"[?#].*", f"?{HIDDEN}", known, flags=re.DOTALL)
