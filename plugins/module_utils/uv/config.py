# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only uv may know: addresses and credentials, as a configuration file that it reads from a pipe.

Everything that uv starts inherits its variables, even the build backend of every source distribution; any process of
the same user can read a process's variables, and everybody its arguments. A pipe is empty once uv has read it: nothing
is ever on a disk, and nothing stays behind, however uv ends.

Facts about uv 0.13 used here:

* It reads the file of ``--config-file`` once, at its start, in spite of ``UV_NO_CONFIG``, and no other file then.
* An index has the same place in the cache, and the same rank, whether it is in a variable or in the file.
* The credentials of a named index (``UV_INDEX_<NAME>_PASSWORD``) do not win over those in a URL of the file.
* If the file names a proxy, proxy variables do not count, ``NO_PROXY`` included. The file has no ``ALL_PROXY``.

Some settings that are not secret work only there, see build_variables().
"""

from __future__ import annotations

import json
import re
import typing as t

from ..errors import SpecError
from ..host.secrets import as_url, has_credentials, is_secret, with_credentials

# Makes uv read its standard input.
# Standard input, even on hosts without /dev/stdin.
ARGUMENTS = ("--config-file", "/proc/self/fd/0")

_INDEXES = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_FIND_LINKS")
_OTHER_ADDRESSES = {
    "UV_PYTHON_INSTALL_MIRROR": "python-install-mirror",
    "UV_PYTHON_DOWNLOADS_JSON_URL": "python-downloads-json-url",
}
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
# Variables that make Python find modules elsewhere, or run them.
_OF_MODULES = frozenset({"PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE"})
# The credentials of a named index.
_INDEX_CREDENTIAL = re.compile(r"UV_INDEX_\w+_(USERNAME|PASSWORD)")


def is_index_credential(name: str) -> bool:
    """Whether a variable of this name holds the user or the password of an index."""
    return _INDEX_CREDENTIAL.fullmatch(name) is not None


def split(variables: t.Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The public rest of uv's variables, and the text of its configuration file, which may be empty.

    Every address moves to the file: its path may be a secret too. Proxies move if one of them has credentials; if not,
    builds may need them. Any other secret is dropped.
    """
    addresses = {name: variables.get(name, "") for name in (*_INDEXES, *_OTHER_ADDRESSES)}
    left = {name: value for name, value in variables.items() if name not in addresses and not is_secret(name, value)}
    settings = _proxies(variables)
    settings.update({_OTHER_ADDRESSES[name]: addresses[name] for name in _OTHER_ADDRESSES if addresses[name]})
    if addresses["UV_FIND_LINKS"]:
        settings["find-links"] = addresses["UV_FIND_LINKS"].split(",")
    indexes = [_index(index, variables) for name in _INDEXES[:2] for index in addresses[name].split()]
    default = addresses["UV_DEFAULT_INDEX"] or addresses["UV_INDEX_URL"]
    if default:
        indexes.append({**_index(default, variables), "default": True})
    tables = [_toml(settings), *(f"[[index]]\n{_toml(index)}" for index in indexes)]
    return left, "".join(tables)


def build_variables(packages: t.Mapping[str, t.Mapping[str, str]]) -> str:
    """The part of the configuration file with variables for builds, by the normalized name of the package.

    uv 0.13 caches packages built with different variables in different places.
    """
    tables = (f"[extra-build-variables.{name}]\n{_toml(packages[name])}" for name in sorted(packages))
    return "".join(tables)


def check_variables(variables: t.Mapping[str, t.Any]) -> None:
    """Raise SpecError for an admin's variable for uv that must not reach what uv starts, and cannot be kept from it."""
    texts = {name: str(value) for name, value in variables.items()}
    if "UV_CONFIG_FILE" in texts:
        raise SpecError(
            "uvnas_uv_variables cannot have UV_CONFIG_FILE: uv gets its secrets through that file",
            hint="Put its settings into uvnas_index, and into other variables.",
        )
    # The last one would keep anything from being locked, as that starts builds. It applies when they are continued.
    loose = sorted({"UV_NO_BUILD_ISOLATION", "UV_BUILD_CONSTRAINT", "UV_REQUIRE_BUILD_HASHES"} & set(texts))
    if loose:
        raise SpecError(
            f"uvnas_uv_variables cannot have {' and '.join(loose)}: what packages are built with is locked",
            hint="Use build_constraints of an environment to influence it.",
        )
    places = sorted(_OF_MODULES & set(texts))
    if places:
        raise SpecError(
            f"uvnas_uv_variables cannot have {' and '.join(places)}: builds and checks would find modules that no lock "
            "contains",
            hint="Whatever they need must be a package of the environment, or be named in build_constraints.",
        )
    known = {name for name in texts if name in _INDEXES or name in _OTHER_ADDRESSES or name.upper() in _PROXIES}
    wrong = [n for n, v in texts.items() if n not in known and not is_index_credential(n) and is_secret(n, v)]
    if wrong:
        raise SpecError(
            f"uvnas_uv_variables has secrets that cannot be hidden: {', '.join(sorted(wrong))}: "
            "every source distribution that is built would inherit them",
            hint="Those of indexes, mirrors and proxies can. Keep others in a file of the share's owner. "
            "Rename a variable that is not a secret.",
        )


def _proxies(variables: t.Mapping[str, str]) -> dict[str, t.Any]:
    """The proxy settings, if one of them has credentials."""
    http, https, both, direct = (_proxy(variables, name) for name in ("HTTP", "HTTPS", "ALL", "NO"))
    if not any(map(has_credentials, (http, https, both))):
        return {}
    settings = {
        "http-proxy": http or both,
        "https-proxy": https or both,
        "no-proxy": [host.strip() for host in direct.split(",") if host.strip()],
    }
    return {name: value for name, value in settings.items() if value}


def _proxy(variables: t.Mapping[str, str], kind: str) -> str:
    """The value of ``<kind>_PROXY``, or of its lower-case form, as uv reads them."""
    name = f"{kind}_PROXY"
    return as_url(name, variables.get(name, variables.get(name.lower(), "")))


def _index(address: str, variables: t.Mapping[str, str]) -> dict[str, t.Any]:
    """An index, which may be ``name=URL``; with the credentials that ``variables`` have for its name."""
    name, equals, url = address.partition("=")
    if not equals or ":" in name:
        return {"url": address}
    variable = f"UV_INDEX_{re.sub('[^A-Za-z0-9]', '_', name).upper()}"
    user, password = (variables.get(f"{variable}_{part}", "") for part in ("USERNAME", "PASSWORD"))
    return {"name": name, "url": with_credentials(url, user, password) if user or password else url}


def _toml(settings: t.Mapping[str, t.Any]) -> str:
    """``settings`` as TOML, whose strings, lists and booleans are JSON's."""
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items())
