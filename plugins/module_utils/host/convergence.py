# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every converge does: look, plan; take the mutex, plan again, do; report."""

from __future__ import annotations

import abc
import contextlib
import typing as t

from ..errors import LostMutexError
from . import in_use, mutex
from .progress import SILENT, Progress
from .removal import Leftover
from .workers import Result

Plan = t.TypeVar("Plan")
Done = t.TypeVar("Done")


class Convergence(abc.ABC, t.Generic[Plan, Done]):
    """Something to bring in line with what is wanted. Plans compare wanted and found, in check mode too."""

    check_mode: bool
    # Where to say how far it is.
    progress: Progress = SILENT

    @property
    @abc.abstractmethod
    def mutex(self) -> str:
        """The path of the mutex."""

    @abc.abstractmethod
    def check_place(self) -> None:
        """Raise UvnasError if this is the wrong place. Called before anything is read, and again with the mutex."""

    @abc.abstractmethod
    def sweep(self) -> list[Leftover]:
        """Remove what killed runs left and what earlier ones could not remove; return what still remains.

        Called with the mutex held, before and after the work.
        """

    @abc.abstractmethod
    def plan(self) -> Plan:
        """What there is to do."""

    @abc.abstractmethod
    def changes(self, plan: Plan) -> bool:
        """Whether there is anything to do."""

    @abc.abstractmethod
    def obstacle(self, plan: Plan) -> t.Optional[Result]:
        """The module's result if the controller has to bring something first. Raises UvnasError if it cannot be done.

        Called before anything is done, and again with the mutex held if the plan has changed by then.
        """

    @abc.abstractmethod
    def do(self, plan: Plan) -> Done:
        """Carry out the plan. Called with the mutex held."""

    @abc.abstractmethod
    def report(self, plan: Plan, done: t.Optional[Done]) -> Result:
        """The module's result; ``done`` is None if nothing was done: in check mode, or with nothing to do."""

    def nothing_to_do(self) -> t.Optional[Result]:
        """The module's result where there is nothing to do; None where there is, or where something is in the way."""
        self.check_place()
        plan = self.plan()
        return None if self.changes(plan) or self.obstacle(plan) is not None else self.report(plan, None)

    def converge(self, *, purpose: str, busy_timeout: float) -> Result:
        """Do what there is to do, or predict it; return the module's result.

        ``left`` in it, for in_use.warnings(), is what could not be removed, now or by earlier runs.
        Waits for the mutex at most ``busy_timeout`` seconds; ``purpose`` is what others who wait for it read. Raises
        UvnasError.
        """
        self.check_place()
        plan = self.plan()
        answer = self.obstacle(plan)
        if answer is not None:
            return answer
        if self.check_mode or not self.changes(plan):
            return self.report(plan, None)
        with mutex.hold(self.mutex, timeout=busy_timeout, purpose=purpose, waiting=self.progress.waiting()):
            self.check_place()  # The wait may have been long.
            self.sweep()
            # Meanwhile somebody else may have done it, or something else.
            before, plan = plan, self.plan()
            answer = self.obstacle(plan) if plan != before else None
            if answer is not None:
                return answer
            result = self.report(plan, self.do(plan))
            with contextlib.suppress(LostMutexError):  # Either the work has reported that, or it was complete before.
                left = in_use.as_data(self.sweep())
                result = {**result, "left": left} if left else result
            return result
