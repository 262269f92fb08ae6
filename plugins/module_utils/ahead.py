# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look ahead, by the first module of a run: what the next ones would return if there is nothing for them to do.

To start a module takes many times as long as to see that. Changes nothing, and runs no uv. Each module goes on
deciding for itself when it is run; this is the same code, asked before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import typing as t

from .env import verified
from .env.compare import compare
from .env.look import MARKS, look
from .env.spec import EnvironmentSpec
from .errors import UvnasError
from .host import memory
from .host.convergence import Convergence
from .host.process import SystemRunner
from .host.workers import Result, Work
from .profile.converge import converge as profile
from .python.converge import from_params as interpreters
from .python.sources import Downloads
from .share.spec import Share
from .uv.install import Installation, Place

# What is asked: the options of modules, by their names.
Questions = t.Mapping[str, t.Mapping[str, t.Any]]
_PROFILE = "uv_profile"
_VERIFY = "uv_env_info"


class _SomethingToDoError(UvnasError):
    """There is something to do. Whoever does it says what."""


class _Unasked(Downloads):
    """Downloads that nobody asks uv about: that is for whoever installs one."""

    def offered(self) -> t.NoReturn:
        raise _SomethingToDoError("offered")


@dataclasses.dataclass(frozen=True)
class Ahead:
    """A look ahead on one share."""

    questions: Questions
    check_mode: bool
    # Where this host remembers what has run on it; None: where it does by default.
    state_dir: t.Optional[str]

    def answers(self, call_as_owner: t.Callable[[Work, t.Mapping[str, str]], Result]) -> Result:
        """The results of the modules that are asked about, by their names; none at all if any has something to do.

        Without that of uv_env_info, if something has to be verified anew.
        ``call_as_owner`` does the work on the shares that it is given, by their roots, as their owner.
        """
        asked = self.questions.values()
        shares = {item["share"]: item["share_name"] for item in asked if "share" in item}
        shares.update({other["root"]: other["name"] for item in asked for other in item.get("earlier_shares") or ()})
        try:
            found = call_as_owner(functools.partial(self._on_share, self._memories()), shares)
            if _PROFILE in self.questions:
                found[_PROFILE] = self._profile(self.questions[_PROFILE])
        except (UvnasError, OSError):  # Whoever comes to that says so.
            return {}
        return found

    def _memories(self) -> dict[str, verified.Memory]:
        """What this host remembers of the share, which its owner may not read."""
        directory = self.state_dir or memory.default_directory()
        asked = self.questions.get(_VERIFY)
        return verified.recall(directory, asked["share"]) if asked and directory else {}

    def _on_share(self, memories: t.Mapping[str, verified.Memory]) -> Result:
        looks: dict[str, t.Callable[[t.Mapping[str, t.Any]], Result]] = {
            "uv_binary": self._uv,
            "uv_python": self._pythons,
            "uv_env": self._environments,
        }
        found = {name: look(self.questions[name]) for name, look in looks.items() if name in self.questions}
        # What has to be tried is no work for the others: a host may be unable to remember anything.
        with contextlib.suppress(UvnasError, OSError):
            # What is in force by then is another one, where this run publishes what is being tried.
            awaits = any(fact.get("awaits") for fact in found.get("uv_env", {}).get("environments", ()))
            if _VERIFY in self.questions and not awaits:
                found[_VERIFY] = self._verified(memories, self.questions[_VERIFY])
        return found

    def _uv(self, params: t.Mapping[str, t.Any]) -> Result:
        place = Place.on_share(Share.from_params(params))
        return _converged(Installation(place, params["version"], None, SystemRunner(), self.check_mode))

    def _pythons(self, params: t.Mapping[str, t.Any]) -> Result:
        found = interpreters(params, {}, check_mode=self.check_mode)
        return _converged(dataclasses.replace(found, downloads=_Unasked(found.downloads.uv)))

    def _environments(self, params: t.Mapping[str, t.Any]) -> Result:
        found = compare(params, check_mode=self.check_mode)
        if not found["converged"]:
            raise _SomethingToDoError("uv_env")
        return found

    def _profile(self, params: t.Mapping[str, t.Any]) -> Result:
        found = profile(params, check=True, diff=False)
        if found["changed"]:
            raise _SomethingToDoError(_PROFILE)
        return found

    def _verified(self, memories: t.Mapping[str, verified.Memory], params: t.Mapping[str, t.Any]) -> Result:
        """What uv_env_info says of a share whose environments have all run here, and that nobody else can write to."""
        share = dataclasses.replace(Share.from_params(params), glibc=params["glibc"])
        declared = [EnvironmentSpec.from_dict(item) for item in self.questions["uv_env"]["environments"]]
        specs = [spec for spec in declared if spec.present]
        names = {spec.name for spec in specs}
        if [memory.environments.keys() for memory in memories.values()] != [names]:
            raise _SomethingToDoError("something to remember or to forget")
        found = look(share, specs, memories, verify=True, again=False, sizes=False, details=False)
        read = {name: dataclasses.asdict(each) for memory in memories.values() for name, each in memory.read.items()}
        if found["tried"] or found["problems"] or {found["share_id"]} != {*memories}:
            raise _SomethingToDoError("something to try, or to say")
        if found.pop(MARKS)["read"] != read:
            raise _SomethingToDoError("something to read anew, and to remember")
        return found


def _converged(convergence: Convergence[t.Any, t.Any]) -> Result:
    found = convergence.nothing_to_do()
    if found is None:
        raise _SomethingToDoError(type(convergence).__name__)
    return found
