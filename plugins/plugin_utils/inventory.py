# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory itself: its hosts, and the directories that Ansible takes for inventories."""

from __future__ import annotations

import difflib
import os
import typing as t

# How many a message names.
_FEW = 5


def named(names: t.Sequence[str], noun: str = "hosts") -> str:
    """Names, of hosts or whatever ``noun`` says, for a message; a few, if it is a whole cluster."""
    few = ", ".join(names[:_FEW])
    return few if len(names) <= _FEW else f"{few} and {len(names) - _FEW} more {noun}"


def unknown_builder(share: str, builder: str, hosts: t.Sequence[str]) -> str:
    """The message about a share's builder that is not among the inventory's ``hosts``."""
    short = [host for host in hosts if host.split(".")[0].lower() == builder.split(".", maxsplit=1)[0].lower()]
    like = short[:1] or difflib.get_close_matches(builder, hosts, 1, 0.7)
    meant = f"did you mean {like[0]}?" if like else f"its hosts are {named(hosts) or 'none'}"
    return f"share {share}: its builder {builder} is not a host of this inventory; {meant}"


def taken_for_inventory(paths: t.Iterable[tuple[str, str]], sources: t.Iterable[str]) -> list[str]:
    """Messages about ``paths``, pairs of a name and a path, that are inside directories among ``sources``.

    Ansible reads every file below such a directory as an inventory, and runs those that are executable.
    """
    directories = {os.path.realpath(source): source for source in sources if os.path.isdir(source)}
    inside: dict[str, list[str]] = {}
    for label, path in paths:
        real = os.path.realpath(path)
        for directory in directories:
            if real == directory or real.startswith(directory.rstrip("/") + "/"):
                inside.setdefault(directory, []).append(f"{label} ({os.path.relpath(real, directory)})")
    return [
        f"{directories[directory]} is a directory that Ansible is given as an inventory (-i), so it parses every file "
        "below as inventory and runs those that are executable. Name the inventory file instead, such as "
        f"-i {_example(directories[directory])}; or move these elsewhere: {named(labels, 'files')}"
        for directory, labels in inside.items()
    ]


def _example(directory: str) -> str:
    """A file that may be the inventory."""
    names = ("hosts.yml", "hosts.yaml", "hosts", "hosts.ini", "inventory.yml")
    there = [name for name in names if os.path.isfile(os.path.join(directory, name))]
    return os.path.join(directory, (there or names)[0])
