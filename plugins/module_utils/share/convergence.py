# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all converges of things on a share have in common: the check of its place, the mutex, and the sweep."""

from __future__ import annotations

from ..host.convergence import Convergence, Done, Plan
from ..host.removal import Leftover
from . import store
from .layout import Layout
from .place import check_place
from .spec import Share


class ShareConvergence(Convergence[Plan, Done]):
    """Something on ``share`` to bring in line with what is wanted."""

    share: Share

    @property
    def layout(self) -> Layout:
        return self.share.layout

    @property
    def mutex(self) -> str:
        return self.layout.mutex

    def check_place(self) -> None:
        # In check mode there may be no share yet.
        check_place(self.share, may_be_missing=self.check_mode)

    def sweep(self) -> list[Leftover]:
        return store.sweep(self.layout)
