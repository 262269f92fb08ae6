# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which share a directory is: its ``share.json``."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import UvnasError
from ..host import files
from .layout import LAYOUT_VERSION
from .spec import Share

_RESTORE = "Restore it from a snapshot or a backup; it identifies the share."


@dataclasses.dataclass(frozen=True)
class Identity:
    """The content of ``share.json``."""

    name: str
    id: str

    def as_dict(self) -> dict[str, t.Any]:
        return {"layout": LAYOUT_VERSION, "name": self.name, "id": self.id}


def parse_identity(data: t.Mapping[str, t.Any], path: str) -> Identity:
    """The identity in ``data``, the content of the share.json at ``path``."""
    layout, name, share_id = data.get("layout"), data.get("name"), data.get("id")
    is_number = isinstance(layout, int) and not isinstance(layout, bool)
    if is_number and layout != LAYOUT_VERSION:
        raise UvnasError(
            f"{path} has layout {layout}, but this uvnas.cluster supports layout {LAYOUT_VERSION}",
            hint="The share was made by another release of uvnas.cluster. Use that one, or one that supports both.",
        )
    if not (is_number and isinstance(name, str) and name and isinstance(share_id, str) and share_id):
        raise UvnasError(
            f"{path} is not the identity of a share",
            hint=f'Expected: {{"layout": {LAYOUT_VERSION}, "name": "…", "id": "…"}}. Restore it from a backup.',
        )
    return Identity(name, share_id)


def read_identity(share: Share) -> t.Optional[Identity]:
    """The identity found at the root of ``share``; None if there is no share.json.

    Raises UvnasError if it is damaged, or that of another share.
    """
    content = files.read_bytes(share.layout.identity)
    return None if content is None else identity_in(content, share)


def identity_in(content: bytes, share: Share) -> Identity:
    """The identity in ``content``, that of the share.json of ``share``.

    Raises UvnasError if it is damaged, or that of another share.
    """
    path = share.layout.identity
    try:
        data = files.json_object(content, path)
    except UvnasError as error:
        raise UvnasError(str(error), hint=_RESTORE) from error
    identity = parse_identity(data, path)
    if identity.name != share.name:
        raise UvnasError(
            f"{share.root} is the share {identity.name}, not {share.name}",
            hint="Is another NAS mounted there? Otherwise correct name or root in uvnas_shares.",
        )
    if share.id and identity.id != share.id:
        raise UvnasError(
            f"{share.root} is another share called {share.name}: its id is {identity.id}, not {share.id} as declared",
            hint="Is another NAS, or a copy of the share, mounted there? Otherwise correct id in uvnas_shares.",
        )
    return identity


def identify(share: Share) -> Identity:
    """The identity of ``share``. Raises UvnasError if there is no share at its root, or another one."""
    identity = read_identity(share)
    if identity is None:
        raise no_share(share)
    return identity


def no_share(share: Share) -> UvnasError:
    return UvnasError(
        f"{share.root} is not a share",
        hint="Is its filesystem mounted on this host? The builder lays out shares (role share, module uv_share).",
    )
