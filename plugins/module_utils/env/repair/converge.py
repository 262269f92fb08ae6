# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is damaged on a share, and its repair."""

# ruff: noqa: ARG001, ARG002

from __future__ import annotations

import dataclasses
import typing as t

from ...host.progress import SILENT, Progress
from ...host.workers import Result
from ...python.sources import Downloads
from ...share.convergence import ShareConvergence
from ...share.journal import NOBODY, Author
from ...share.layout import Layout
from ...share.place import check_place
from ...share.spec import Share
from ...uv.command import Uv

_NOTHING: Result = {"trees": [], "read": {"files": 0, "bytes": 0, "seconds": 0.0}, "remaining": []}


@dataclasses.dataclass(frozen=True)
class Budget:
    """Of one verify."""

    # 0: as fast as it goes, and everything.
    bytes_per_second: int = 0
    # How long one run may read, if bytes_per_second is given.
    seconds: float = 3600.0


_ALL = Budget()


def verify(
    share: Share, *, jobs: int = 0, budget: Budget = _ALL, remember: bool = True, progress: Progress = SILENT
) -> Result:
    """What is damaged on a share."""
    check_place(share)
    return {"changed": False, **_NOTHING}


@dataclasses.dataclass(frozen=True)
class Repair(ShareConvergence[None, None]):
    """What is damaged on ``share``, to be replaced."""

    share: Share
    uv: Uv
    python: Downloads
    others: tuple[Layout, ...] = ()
    author: Author = NOBODY
    remove: bool = False
    jobs: int = 0
    check_mode: bool = False
    progress: Progress = SILENT

    def plan(self) -> None:
        return None

    def changes(self, plan: None) -> bool:
        return False

    def obstacle(self, plan: None) -> t.Optional[Result]:
        return None

    def do(self, plan: None) -> None:
        return None

    def report(self, plan: None, done: None) -> Result:
        return {"changed": False, **_NOTHING}
