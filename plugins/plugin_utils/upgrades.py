# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all shares know about packages to upgrade, put together: which of them no lock has."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

_KEYS = ("environments", "fixed", "others", "unknown", "like")


def not_upgraded(answers: t.Iterable[t.Any]) -> list[str]:
    """For each package that cannot be upgraded anywhere, a line that says why.

    ``answers`` is what each share returned as ``upgrade_packages``. A share that has not answered, or does not know all
    of its locks, may have what all others lack: then there is nothing to say. Anything but an answer counts as none.
    """
    shares = list(answers)
    if not shares or not all(isinstance(share, Mapping) for share in shares):
        return []
    lines = []
    for package in sorted({str(package) for share in shares for package in share}):
        known = _together([share.get(package) for share in shares])
        if known is None or known["environments"] or known["unknown"]:
            continue
        lines.append(_line(package, known))
    return lines


def _together(answers: t.Sequence[t.Any]) -> dict[str, list[str]] | None:
    """What all shares say about one package; None if one says nothing."""
    found: dict[str, list[str]] = {key: [] for key in _KEYS}
    for answer in answers:
        if not isinstance(answer, Mapping) or not all(isinstance(answer.get(key), list) for key in _KEYS):
            return None
        for key, names in found.items():
            names += [str(name) for name in answer[key] if name not in names]
    return found


def _line(package: str, known: t.Mapping[str, t.Sequence[str]]) -> str:
    head = f"{package} cannot be upgraded: "
    if known["fixed"]:
        where = f"only environments with a project or a ready-made lock have it ({', '.join(known['fixed'])})"
        return f"{head}{where}. Change its uv.lock, or the file, and run again."
    if known["others"]:
        return f"{head}only the locks of {', '.join(known['others'])} have it, and uvnas_upgrade names none of them."
    offered = f" Did you mean {' or '.join(known['like'])}?" if known["like"] else ""
    return f"{head}no lock has it.{offered}"
