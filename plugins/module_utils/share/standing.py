# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which generation of an environment is in force, since when, whether it is held, and which were in force before.

``locks/<env>.state.json``, written durably after each change. Which generation is in force is what the symlink says;
where the two differ, a run was killed between them, and the next one writes the file anew. Whether one is held, and
what became of those before, only this file says.

It keeps what a generation was made of, so that one that is no longer on the share can be built again: the digest of its
lock, whose text is in ``locks/history/``, its interpreter, and its options.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import re
import typing as t

from ..errors import UvnasError
from ..host import files
from ..host.data import is_time, made_of
from .layout import Layout
from .manifest import Manifest, Python, anew

FORMAT = 1
# Of generations that are no longer in force. Their locks stay.
_MOST = 100
# Ids and digests, which become paths.
_HEX = re.compile("[0-9a-f]{8,128}")


@dataclasses.dataclass(frozen=True)
class Hold:
    """A generation that stays in force, whatever else is declared, until it is released."""

    id: str
    # ISO 8601, UTC.
    since: str
    # Who holds it: ``alice on ctl1``. Empty where nobody knows.
    by: str = ""
    reason: str = ""
    # By ``hold`` in the declaration of the environment. Such a one ends with that.
    declared: bool = False

    def __str__(self) -> str:
        """As people read it: ``held at 3f0c since 2026-11-27 14:02 UTC by alice on ctl1: too slow``."""
        by = " by its declaration" if self.declared else f" by {self.by}" if self.by else ""
        return f"held at {self.id} since {shown(self.since)}{by}" + (f": {self.reason}" if self.reason else "")


@dataclasses.dataclass(frozen=True)
class Past:
    """A generation that is or was in force: since when, until when, and what it was made of."""

    # When a run published it, for the last time, because it was declared. Times as above.
    published: str
    # The digest of what is locked.
    lock: str
    python: Python
    options: t.Mapping[str, t.Any]
    # When it was no longer in force; None: it is.
    retired: t.Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Standing:
    """What is known about the generations of one environment on one share."""

    in_force: t.Optional[str] = None
    since: t.Optional[str] = None
    hold: t.Optional[Hold] = None
    generations: t.Mapping[str, Past] = dataclasses.field(default_factory=dict)

    def published(self, manifest: Manifest, *, declared: bool, at: t.Optional[str] = None) -> Standing:
        """With the generation of ``manifest`` in force, and the one before retired.

        ``declared``: it is what the inventory asks for, rather than one from before, which keeps its place among them.
        """
        if self.in_force == manifest.id and manifest.id in self.generations:
            return self
        at = at or now()
        known = self._retired(at)
        before = known.pop(manifest.id, None)
        placed = at if declared or before is None else before.published
        known[manifest.id] = Past(placed, manifest.lock.digest, manifest.python, dict(manifest.options))
        retired = sorted((past.retired, name) for name, past in known.items() if past.retired is not None)
        for _when, name in retired[:-_MOST]:
            if self.hold is None or name != self.hold.id:
                del known[name]
        return dataclasses.replace(self, in_force=manifest.id, since=at, generations=known)

    def held(self, hold: t.Optional[Hold]) -> Standing:
        return dataclasses.replace(self, hold=hold)

    def withdrawn(self, *, at: t.Optional[str] = None) -> Standing:
        """With nothing in force and nothing held, as of an environment that has been removed."""
        known = self._retired(at or now())
        return dataclasses.replace(self, in_force=None, since=None, hold=None, generations=known)

    def _retired(self, at: str) -> dict[str, Past]:
        """The generations, with the one in force retired."""
        known = dict(self.generations)
        if self.in_force in known:
            known[self.in_force] = dataclasses.replace(known[self.in_force], retired=at)
        return known

    def before(self, generation_id: str) -> t.Optional[str]:
        """The generation that was in force before another one; None if none is known.

        A rollback does not change that order. So a second one goes back further, and not forth.
        """
        here = self.generations.get(generation_id)
        earlier = [
            (past.published, name)
            for name, past in self.generations.items()
            if name != generation_id and (here is None or past.published < here.published)
        ]
        return max(earlier)[1] if earlier else None

    def never_in_force(self, generation_id: str, created: t.Optional[str]) -> bool:
        """Whether a generation that was built at ``created`` has waited ever since, as far as is on record.

        What is older than the record may have been in force before there was one.
        """
        if created is None or generation_id in self.generations or not self.generations:
            return False
        first = min(datetime.datetime.fromisoformat(past.published) for past in self.generations.values())
        return datetime.datetime.fromisoformat(created) >= first.replace(microsecond=0)

    def as_dict(self) -> dict[str, t.Any]:
        return {"format": FORMAT, **dataclasses.asdict(self)}


def read(layout: Layout, env: str) -> Standing:
    """What is recorded of an environment; nothing at all if there is no record. Raises UvnasError if it is damaged."""
    path = layout.standing(env)
    hint = (
        "Was it written by a newer version of uvnas.cluster? Then use that version. Otherwise move it away: the next "
        "run writes it anew, but holds nothing."
    )
    try:
        data = files.read_json(path)
    except UvnasError as error:
        raise UvnasError(str(error), hint=error.hint or hint) from error
    if data is None:
        return Standing()
    if data.get("format") != FORMAT:
        raise UvnasError(f"{path} has format {data.get('format')!r}, not {FORMAT}", hint=hint)
    hold = made_of(data.get("hold"), Hold)
    given = data.get("generations")
    known = {name: _past(each) for name, each in given.items()} if isinstance(given, dict) else {}
    found = {name: past for name, past in known.items() if past is not None}
    ids = [data.get("in_force"), hold and hold.id, *found]
    times = [data.get("since"), hold and hold.since, *(past.published for past in found.values())]
    times += [past.retired for past in found.values()]
    if (
        not isinstance(given, dict)
        or len(found) != len(known)
        or (hold is None and data.get("hold") is not None)
        or not all(each is None or (isinstance(each, str) and _HEX.fullmatch(each)) for each in ids)
        or not all(time is None or is_time(time) for time in times)
    ):
        raise UvnasError(f"{path} is damaged", hint=hint)
    return Standing(data.get("in_force"), data.get("since"), hold, found)


def exists(layout: Layout, env: str) -> bool:
    """Whether an environment is still there to be removed: link, lock, or a record of what is in force or held.

    Neither generations nor a record of those that were in force count: a prune takes them.
    """
    if any(map(os.path.lexists, (layout.env(env), layout.lock(env)))):
        return True
    try:
        known = read(layout, env)
    except UvnasError:  # It may hold something, and nobody could declare an environment of that name.
        return True
    return known.in_force is not None or known.hold is not None


def write(layout: Layout, env: str, standing: Standing) -> None:
    """Hold the share's mutex. Raises OSError."""
    files.write_json(layout.standing(env), standing.as_dict())


def keep_lock(layout: Layout, manifest: Manifest) -> None:
    """Keep the lock of a generation, so that it can be read, and built again, when the generation is gone.

    Hold the share's mutex. Raises OSError, and UvnasError if the manifest is damaged.
    """
    if not _HEX.fullmatch(manifest.lock.digest):
        path = layout.manifest(manifest.environment, manifest.id)
        raise UvnasError(f"{path} is damaged: invalid lock", hint=anew(path))
    path = layout.kept_lock(manifest.lock.digest)
    text = files.read_bytes(layout.generation_lock(manifest.environment, manifest.id))
    if text is None or files.read_bytes(path) is not None:
        return
    files.make_directory(layout.lock_history)
    files.write(path, text)


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


def shown(time: str) -> str:
    """A time as people read it, to the minute."""
    with contextlib.suppress(ValueError, OverflowError):  # Of the latter, a host may say what it wants.
        moment = datetime.datetime.fromisoformat(time).astimezone(datetime.timezone.utc)
        return f"{moment:%Y-%m-%d %H:%M} UTC"
    return time


def _past(data: t.Any) -> t.Optional[Past]:
    if not isinstance(data, dict):
        return None
    past = made_of({**data, "python": made_of(data.get("python"), Python)}, Past)
    return past if past is not None and _HEX.fullmatch(past.lock) else None
