# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A share as declared: which one it is, and what it should be. Pure: touches no file.

For what is found on the filesystem see ``state``, for what to do about it ``plan``, for doing it ``converge``.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import SpecError
from ..host.platform import check_glibc
from .layout import Layout, is_below, normalised

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}\Z")
_ID = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")
_MODE = re.compile(r"0?[0-7]{3,4}\Z")


@dataclasses.dataclass(frozen=True)
class Share:
    """A share: what it is called, and where it is, the same on every host."""

    name: str
    layout: Layout
    mount: t.Optional[str] = None
    # The id that it must have; empty if any will do.
    id: str = ""
    # The oldest glibc among the hosts that use it.
    glibc: t.Optional[str] = None

    @property
    def root(self) -> str:
        return self.layout.root

    @classmethod
    def parse(cls, item: t.Mapping[str, t.Any]) -> Share:
        """From an item of ``uvnas_shares``, of which keys may be missing. Raises SpecError."""
        name = check_name(item.get("name"))
        root = normalised(item.get("root"), f"share {name}: root")
        if root == "/":
            raise SpecError(f"share {name}: root cannot be /", hint="Give the share a directory of its own.")
        mount = None
        if item.get("mount") is not None:
            mount = normalised(item["mount"], f"share {name}: mount")
            if not is_below(root, mount):
                raise SpecError(
                    f"share {name}: root {root} is not below its mount {mount}",
                    hint="The mount is the mount point of the filesystem that the share's root is on.",
                )
        glibc = item.get("glibc")
        return cls(
            name,
            Layout(root),
            mount,
            check_id(name, item.get("id")),
            None if glibc is None else check_glibc(name, glibc),
        )

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Share:
        """From the options common to all modules that work on a share. Raises SpecError."""
        names = {"name": "share_name", "root": "share", "mount": "mount", "id": "share_id"}
        return cls.parse({key: params[name] for key, name in names.items()})


def parse_shares(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[Share]:
    """``uvnas_shares``. Raises SpecError for bad names or paths, duplicates, and shares inside one another."""
    shares: list[Share] = []
    for item in items:
        share = Share.parse(item)
        check_mode(share.name, item.get("mode"))
        for other in shares:
            _check_apart(share, other)
        shares.append(share)
    return shares


def _check_apart(share: Share, other: Share) -> None:
    if share.name == other.name:
        raise SpecError(
            f"two shares are called {share.name}", hint="Every item of uvnas_shares needs a name of its own."
        )
    if share.root == other.root:
        raise SpecError(
            f"the shares {other.name} and {share.name} have the same root {share.root}",
            hint="A directory can be only one share.",
        )
    for inner, outer in ((share, other), (other, share)):
        if is_below(inner.root, outer.root):
            raise SpecError(
                f"the share {inner.name} ({inner.root}) is inside the share {outer.name} ({outer.root})",
                hint="Put shares side by side: everything in a share belongs to uvnas.cluster.",
            )
    if share.id and share.id == other.id:
        raise SpecError(
            f"the shares {other.name} and {share.name} have the same id", hint="An id identifies one share."
        )


def check_name(name: t.Any) -> str:
    if not isinstance(name, str) or not _NAME.match(name):
        raise SpecError(
            f"{name!r} cannot be the name of a share",
            hint="A name has 1 to 64 letters, digits, '_' and '-', and does not begin with '-'.",
        )
    return name


def check_mode(name: str, mode: t.Any) -> int:
    """The mode of a share's directories as a number; 0755 by default."""
    if mode is None:
        return 0o755
    if not isinstance(mode, str) or not _MODE.match(mode):
        raise SpecError(
            f"share {name}: {mode!r} is not a mode", hint="Write a quoted octal number, such as '0755' or '0750'."
        )
    number = int(mode, 8)
    if number & 0o5022:
        raise SpecError(
            f"share {name}: mode {mode} would let others than the owner write, or sets a bit with no meaning here",
            hint="Only the owner writes to a share; people have user-cache. Use '0755' or '0750' (or '2755', '2750').",
        )
    if number & 0o700 != 0o700:
        raise SpecError(f"share {name}: mode {mode} would lock the owner out", hint="Use '0755' or '0750'.")
    return number


def check_id(name: str, share_id: t.Any) -> str:
    """A share's id as in ``share.json``; empty if none is declared."""
    if share_id is None or share_id == "":
        return ""
    # Without the module uuid: few shares declare one, and the owner may not be able to import any more.
    match = _ID.fullmatch(str(share_id).lower())
    if match is None:
        raise SpecError(
            f"share {name}: {share_id!r} is not an id", hint="Copy the id from the share's share.json, or leave it out."
        )
    return "-".join(match.groups())
