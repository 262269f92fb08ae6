# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host exports. Decided on the controller, as a URL with credentials must not even reach the host."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

from ..module_utils.errors import SpecError
from ..module_utils.host.data import is_text
from ..module_utils.host.secrets import has_credentials
from ..module_utils.profile.spec import variable_texts

# A path means nothing on hosts other than the builder, so only what is reached over the network counts.
_NETWORK = re.compile(r"([A-Za-z0-9_-]+=)?https?://")


def exports(
    host_shares: t.Iterable[str],
    *,
    shares: t.Iterable[t.Mapping[str, t.Any]],
    index: t.Mapping[str, t.Any],
    python_mirror: str | None,
    variables: t.Mapping[str, t.Any],
) -> dict[str, t.Any]:
    """``shares``, ``variables`` and ``withheld`` as the module uv_profile wants them; empty for a host with no share.

    Raises SpecError if a name is not that of a share, or a variable must not be exported.
    """
    _check_kinds(host_shares, shares, index, variables)
    chosen = _chosen(host_shares, shares)
    if not chosen:
        return {"shares": [], "variables": {}, "withheld": []}
    # uv splits UV_INDEX at white space, UV_FIND_LINKS at commas.
    addresses = {
        "UV_DEFAULT_INDEX": ("", [index.get("default")]),
        "UV_INDEX": (" ", index.get("extra") or []),
        "UV_FIND_LINKS": (",", index.get("find_links") or []),
        "UV_PYTHON_INSTALL_MIRROR": ("", [python_mirror]),
    }
    exported, withheld = {"UV_INDEX_STRATEGY": index.get("strategy") or ""}, []
    for name, (separator, given) in addresses.items():
        urls = [str(url) for url in given if _NETWORK.match(str(url))]
        public = [url for url in urls if not _is_secret(url)]
        exported[name] = separator.join(public)
        if public != urls and name not in variables:
            withheld.append(name)
    exported.update(variables)
    variable_texts(exported)
    return {"shares": chosen, "variables": exported, "withheld": sorted(withheld)}


def _check_kinds(host_shares: t.Any, shares: t.Any, index: t.Any, variables: t.Any) -> None:
    """Raise SpecError if something in an inventory has the wrong type."""
    if not isinstance(host_shares, (list, tuple)) or not all(map(is_text, host_shares)):
        raise SpecError("uvnas_host_shares must be a list of names of shares")
    if not isinstance(shares, (list, tuple)) or not all(isinstance(share, Mapping) for share in shares):
        raise SpecError("uvnas_shares must be a list of dictionaries")
    if not all(is_text(share.get(key)) for share in shares for key in ("name", "root")):
        raise SpecError("uvnas_shares must have a name and a root for each share, both of them strings")
    for name, value in (("uvnas_index", index), ("uvnas_profile_variables", variables)):
        if not isinstance(value, Mapping) or not all(map(is_text, value)):
            raise SpecError(f"{name} must be a dictionary with strings as keys")
    for key in ("extra", "find_links"):
        if not isinstance(index.get(key) or [], (list, tuple)):
            raise SpecError(f"uvnas_index.{key} must be a list of URLs")


def _chosen(names: t.Iterable[str], shares: t.Iterable[t.Mapping[str, t.Any]]) -> list[dict[str, str]]:
    roots = {share["name"]: share["root"] for share in shares}
    names = list(names)
    unknown = [name for name in names if name not in roots]
    if unknown:
        raise SpecError(
            f"uvnas_host_shares names unknown shares: {', '.join(unknown)}. "
            f"The shares in uvnas_shares are: {', '.join(roots)}"
        )
    return [{"name": name, "root": roots[name]} for name in names]


def _is_secret(url: str) -> bool:
    # White space ends a URL in a text. In a URL by itself, what comes after it may still be a part of a password.
    return has_credentials("".join(url.split()))
