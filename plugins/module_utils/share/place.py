# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a share's place is right: the NAS mounted, out of reach of others, and the share there.

Everything that writes to a share checks this before it takes the mutex, and again with it.
"""

from __future__ import annotations

import os
import typing as t

from ..errors import UvnasError
from ..host import files, trust
from ..host.mounts import is_mount_point, mount_of, mounts
from .identity import Identity, identify, read_identity
from .layout import is_below
from .spec import Share


def check_place(share: Share, *, may_be_missing: bool = False) -> t.Optional[Identity]:
    """The identity of ``share``. Raises UvnasError if this process, which runs as its owner, must not write to it.

    ``may_be_missing``: there need not be a share yet; None then.
    """
    check_mounted(share)
    check_way(share, os.geteuid())
    return read_identity(share) if may_be_missing else identify(share)


def check_mounted(share: Share) -> None:
    """Raise UvnasError if the share declares a mount, and nothing is mounted there. Triggers an automount first."""
    if share.mount is None:
        return
    hint = f"Mount the NAS at {share.mount} (see /etc/fstab, or the automounter), then run again."
    try:
        mounted = is_mount_point(share.mount)
        mount = mount_of(share.mount, mounts()) if mounted else None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UvnasError(
            f"the mount {share.mount} of share {share.name} does not exist on this host", hint=hint
        ) from error
    if not mounted or (mount and mount.type == "autofs"):
        raise UvnasError(f"nothing is mounted at {share.mount}, the mount of share {share.name}", hint=hint)


def check_way(share: Share, uid: int) -> None:
    """Raise UvnasError if others than root and ``uid``, the owner, may write to the root, or to a directory above it.

    They could have put a share of their own there. Only from the mount on: what is above belongs to this host. A
    symlink in between may lead anywhere inside the mount.
    """
    trust.check_way(share.root, uid, top=share.mount or "/")
    if share.mount is None:
        return
    real, mount = os.path.realpath(share.root), os.path.realpath(share.mount)
    if not is_below(real, mount):
        raise UvnasError(
            f"{share.root} leads to {real}, which is not below the mount {share.mount} of share {share.name}",
            hint="Declare a path without symlinks that lead out of the mount.",
        )


def earlier_shares(params: t.Iterable[t.Mapping[str, str]], here: Share) -> tuple[Share, ...]:
    """From a module's ``earlier_shares`` option: other shares that this host builds, already brought up to date.

    Left out are shares that somebody else can write to, who must not decide what is on this one, and this same
    directory under another path.
    """
    shares = [Share.parse(item) for item in params]
    mine = os.geteuid()
    return tuple(
        share for share in shares if trust.is_safe(share.root, mine) and not files.is_same(share.root, here.root)
    )
