# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes in the files of a host, in a line: a thousand hosts have the same files. Pure."""

from __future__ import annotations

import difflib
import os
import re
import typing as t

from .files import Change

# As the files of all shells say it to uvnas_use.
_SHARES = re.compile(r"shares of this host: ([^'\n]*)")
# The variables that an admin can have exported.
_VARIABLE = re.compile(r"\b(?:UV|PIP)_[A-Z0-9_]+\b|\b(?:[A-Z]+_PROXY|[a-z]+_proxy|NETRC|(?:SSL|REQUESTS)_[A-Z_]+)\b")
_FEW = 3


def lines(changes: t.Sequence[Change]) -> str:
    """The changes, a line for files that change in the same way: ``uvnas.sh, uvnas.csh: new, shares nas_a nas_b``."""
    found: dict[str, list[str]] = {}
    for change in changes:
        found.setdefault(_said(change), []).append(os.path.basename(change.path))
    return "".join(f"{', '.join(names)}: {text}\n" for text, names in found.items())


def _said(change: Change) -> str:
    before, after = change.before, change.after
    if after is None:
        return "removed"
    shares = _shares(after.content)
    if before is None:
        return f"new, shares {shares}"
    texts = []
    if before.content != after.content:
        earlier = _shares(before.content)
        if earlier is None:
            # It is a symlink, or somebody else's.
            texts.append(f"replaced, shares {shares}")
        elif earlier != shares:
            texts.append(f"changed, shares {earlier} -> {shares}")
        else:
            texts.append(f"changed, {_differences(before.content, after.content)}")
    if before.status != after.status:
        texts.append(f"{_printable(before.status)} -> {after.status}")
    return "; ".join(texts)


def _shares(content: str) -> t.Optional[str]:
    found = _SHARES.search(content)
    return _printable(found.group(1)) if found else None


def _differences(before: str, after: str) -> str:
    """What differs where the shares are the same: variables, if there are any in it, or how many lines."""
    differing = [
        line[2:] for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line.startswith(("+ ", "- "))
    ]
    names = sorted({name.replace("UVNAS_SET_", "") for line in differing for name in _VARIABLE.findall(line)})
    if not names:
        return "1 line" if len(differing) == 1 else f"{len(differing)} lines"
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
