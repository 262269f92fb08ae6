# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the converges of what is on a share have in common: whose place it is, the mutex, and the sweep."""

from __future__ import annotations

from ..host.convergence import Convergence, Done, Plan
from ..host.removal import Leftover
from . import store
from .layout import Layout
from .place import check_place
from .spec import Share


class ShareConvergence(Convergence[Plan, Done]):
    """Something on ``share`` that is to be as it is wanted."""

    share: Share

    @property
    def layout(self) -> Layout:
        return self.share.layout

    @property
    def mutex(self) -> str:
        return self.layout.mutex

    def check_place(self) -> None:
        # A check comes before there is a share, perhaps.
        check_place(self.share, to_come=self.check_mode)

    def sweep(self) -> list[Leftover]:
        return store.sweep(self.layout)
