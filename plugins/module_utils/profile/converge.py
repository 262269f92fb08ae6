# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring what login shells read in line with what a host exports, and say what changed."""

from __future__ import annotations

import typing as t

from ..host.workers import Result
from . import files
from .changes import lines
from .spec import Profile


def converge(params: t.Mapping[str, t.Any], *, check: bool, diff: bool, texts: bool = False) -> Result:
    """Bring the files in line with ``params``, or only predict that (``check``). Returns the module's result.

    With ``diff`` it has a line about what changes, or with ``texts`` the whole files.
    """
    paths = files.paths(params["directory"], params["fish_directory"])
    profile = None
    if params["state"] == "present":
        profile = Profile.from_params(
            params["shares"], params["user_cache"], params["variables"], params["user_cache_users"]
        )
    changes = files.converge(files.contents(profile, paths), check=check)
    result: Result = {
        "changed": bool(changes),
        "files": list(paths.values()),
        "home_share": profile.shares[0].name if profile else None,
    }
    if profile and params["withheld"]:
        withheld = ", ".join(params["withheld"])
        result["warnings"] = [f"{withheld}: URLs with credentials are not exported, since everybody could read them"]
    if diff and texts:
        result["diff"] = [change.diff() for change in changes]
    elif diff:
        result["diff"] = [{"prepared": lines(changes)}] if changes else []
    return result
