# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns a share, if root has to know and nobody declares it: nothing of a share runs as root unless root owns it.

By number, as on the filesystem. A member need not know a share's owner; the name and the groups that it has for that
number do not matter.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..errors import UvnasError
from ..host.users import User, by_number, nobody, user_name
from ..host.workers import Result, call_as
from .layout import Layout


def owner_of(root: str) -> t.Optional[User]:
    """The owner of the directory ``root``, and its group; None if it does not exist."""
    try:
        status = os.stat(root)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        return _seen_from_above(root, error)
    return by_number(status.st_uid, status.st_gid)


def _seen_from_above(root: str, error: OSError) -> t.Optional[User]:
    """The same if root may not get there, as on NFS, where it may be nobody, but the owner of the parent may."""
    above = owner_of(os.path.dirname(root)) if os.geteuid() == 0 else None
    if above is None or above.uid == 0:
        raise UvnasError(
            f"uid {os.geteuid()} may not look up the owner of {root} on this host",
            hint="Each directory above it needs mode x for others; on NFS root may be squashed.",
        ) from error

    def look() -> Result:
        found = owner_of(root)
        return {"number": [found.uid, found.gid] if found else None}

    number = call_as(unprivileged(above), look)["number"]
    return by_number(*number) if number else None


def unprivileged(user: User) -> User:
    """``user`` without root's group, which a directory that root made for somebody often still has."""
    gid = user.gid or nobody().gid
    return dataclasses.replace(user, gid=gid, groups=(gid,))


def keeper_of(root: str) -> t.Optional[User]:
    """The owner of the share at ``root``; None if there is no share yet, or root owns it."""
    user = owner_of(root)
    if user is None or user.uid == 0:
        return None

    def look() -> Result:
        return {"is_share": os.path.lexists(Layout(root).identity)}

    return user if call_as(unprivileged(user), look)["is_share"] else None


def undeclared_owner(name: str, root: str, user: t.Optional[User]) -> str:
    """The warning for root connecting to a share without a declared owner; it belongs to ``user``, or to root."""
    head = f"Share {name} ({root}): no owner is declared"
    if user is None:
        return (
            f"{head}, so it is root's; uv runs as root, and so does the code of packages that it builds and tests."
            " Declare one in uvnas_shares, a user of its own."
        )
    return (
        f"{head}. Everything there runs as its owner, uid {user.uid} ({user_name(user.uid)})."
        " Declare that owner in uvnas_shares."
    )


def not_roots(name: str, root: str, user: User) -> UvnasError:
    """The error for declaring root the owner of a share that belongs to ``user``: nothing of it runs as root."""
    return UvnasError(
        f"share {name} ({root}) belongs to uid {user.uid} ({user_name(user.uid)}), not to its declared owner, root",
        hint="Declare that owner in uvnas_shares. Or chown --recursive the share to root, if you trust all of it.",
    )
