# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a share in line with its declaration: look, plan, do; as its owner, and as root only what the owner may not do.

On an NFS export that squashes root, root is nobody. So everything is looked at, probed and done as the owner first;
what the owner is denied is then tried as root, if this process is root at all.

The order matters after a killed run: first the root directory, then ``share.json``, then the rest. A root without
share.json is empty; with it, whatever is missing can be made.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import os
import pwd
import shlex
import typing as t
import uuid

from ..errors import UvnasError
from ..host import files, mutex, platform, removal
from ..host.process import Runner
from ..host.users import User, find_group, group_name, this_user, user_name
from ..host.workers import Result, Work, call_as
from . import probe, strays
from .directories import apply
from .identity import Identity, read_identity
from .place import check_way
from .plan import (
    Change,
    Person,
    Survey,
    Wanted,
    check_cache,
    check_owners,
    check_runs,
    check_space,
    needs_root,
    plan_directories,
)
from .probe import Abilities
from .report import report
from .spec import Share, check_mode
from .state import IDENTITY_MODE, Seen, observe
from .strays import Stray

_DENIED = (errno.EACCES, errno.EPERM)
# The owner, root, the owner again and so on; what is not right after these never will be.
_ROUNDS = 6
_BECOME = "Connect as root or become root (ansible_become) for this role."


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to work, as opposed to what to work on."""

    runner: Runner
    busy_timeout: float
    check_mode: bool
    # Whether this process may try things as root.
    root: bool


def wanted_from_params(params: t.Mapping[str, t.Any], user: t.Optional[User]) -> Wanted:
    """The share that the options of uv_share describe. ``user`` is the owner, unless that is this process's user."""
    share = Share.from_params(params)
    owner = user or this_user()
    gid = find_group(params["group"]) if params["group"] else owner.gid
    private = params["user_cache"] == "private"
    return Wanted(
        share=share,
        owner=owner.name,
        uid=owner.uid,
        group=group_name(gid),
        gid=gid,
        owner_groups=owner.groups,
        mode=check_mode(share.name, params["mode"]),
        user_cache=params["user_cache"],
        people=tuple(_find_person(person) for person in params["user_cache_users"]) if private else (),
        min_free_bytes=params["min_free_bytes"],
        min_free_inodes=params["min_free_inodes"],
    )


def _find_person(name: str) -> Person:
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise UvnasError(
            f"this host has no user {name}", hint="Correct uvnas_user_cache_users, or create the user first."
        ) from None
    return Person(name, entry.pw_uid, entry.pw_gid)


def converge(wanted: Wanted, settings: Settings, *, user: t.Optional[User]) -> Result:
    """Bring the share in line, or in check mode predict what would be done. Returns the module's result."""
    progress = _Progress(wanted)
    for number in range(_ROUNDS):
        try:
            data = _as(user, functools.partial(_owner_round, wanted, settings, probing=not progress.probed))
            if "blind" in data:
                answer = _root_round(wanted, settings, data["blind"], last=number == _ROUNDS - 1)
            else:
                answer = Survey.from_dict(data["answer"])
        except (UvnasError, OSError):
            if not progress.probed:
                _withdraw(wanted, progress.made_ground(), user)
            raise
        if settings.check_mode:
            return _predict(wanted, settings, answer)
        if progress.add(answer, _do_denied(wanted, settings, answer)):
            return report(
                wanted,
                platform.here(settings.runner),
                answer,
                progress.all(),
                progress.identity,
                progress.abilities,
            )
    raise UvnasError(f"{wanted.root} is still not as declared, although nothing failed", hint="Run again.")


# Plan


def _survey(wanted: Wanted, settings: Settings, seen: Seen) -> Survey:
    """What to do about what was seen. Raises UvnasError if it cannot or must not be done."""
    check_owners(wanted, seen.directories)
    check_runs(wanted, seen.space)
    check_cache(wanted, default_acls=seen.acl)
    planned = tuple(plan_directories(wanted, seen.directories, has_acl=seen.acl))
    identity = "corrected" if seen.identity_is_off else "" if seen.identity else "created"
    read_only = not planned and not identity and (seen.space.read_only or seen.exported_read_only)
    if not read_only:
        check_space(wanted, seen.space, exported_read_only=seen.exported_read_only)
        _check_allowed(wanted, settings, seen, planned)
    return Survey(
        planned=planned,
        identity=identity,
        id=seen.identity.id if seen.identity else wanted.share.id or None,
        ground=seen.ground,
        writable=seen.writable,
        filesystem=seen.filesystem,
        split=tuple(seen.split),
        acl=seen.acl,
        space=seen.space,
        read_only=read_only,
    )


def _check_allowed(wanted: Wanted, settings: Settings, seen: Seen, planned: t.Iterable[Change]) -> None:
    """Raise UvnasError if it is clear beforehand that something may not be done."""
    for change in planned if not settings.root else ():
        reason = needs_root(wanted, change)
        if reason:
            raise UvnasError(
                f"{wanted.owner} may not {_verb(change)} {change.path}: {reason}",
                hint=f"{_BECOME} Or once, by hand: {_command(change)}",
            )
    ground = [change for change in planned if _is_ground(wanted, change)]
    if seen.writable or (ground and settings.root):
        return
    if ground and ground[0].before is None:
        raise _nobody_may(wanted, settings, ground[0])
    if not ground:
        raise UvnasError(
            f"{wanted.owner}, the owner of share {wanted.name}, may not write to {wanted.root}",
            hint="Check the directory's ACL, and that the NAS exports the filesystem read-write to this host.",
        )


# As the owner


def _as(user: t.Optional[User], work: Work) -> Result:
    return call_as(user, work) if user is not None else work()


def _owner_round(wanted: Wanted, settings: Settings, *, probing: bool) -> Result:
    """Look, and do as much as the owner may: returns an ``answer``, or the path that the owner is ``blind`` to."""
    try:
        seen = observe(wanted)
    except PermissionError as error:
        return {"blind": os.path.normpath(error.filename or wanted.root)}
    answer = _survey(wanted, settings, seen)
    if not settings.check_mode:
        answer = _do(wanted, settings, answer, probing=probing)
    if settings.check_mode or not (answer.planned or answer.identity):
        answer = dataclasses.replace(answer, strays=_strays(wanted, settings, answer))
    return {"answer": dataclasses.asdict(answer)}


def _strays(wanted: Wanted, settings: Settings, answer: Survey) -> tuple[Stray, ...]:
    """Move aside what does not belong in people's cache; or, in check mode, find it.

    Once, not until nothing is left: somebody who keeps making such things must not hold up the run.
    """
    if wanted.user_cache != "personal" or answer.read_only:
        return ()
    found = strays.find(wanted.layout.user_cache)
    if any(not stray.error for stray in found) and not settings.check_mode:
        with mutex.hold(wanted.layout.mutex, timeout=settings.busy_timeout, purpose="uv_share"):
            observe(wanted)  # The wait may have been long.
            found = strays.move_aside(wanted.layout.user_cache)
    return tuple(found)


def _do(wanted: Wanted, settings: Settings, answer: Survey, *, probing: bool) -> Survey:
    ground = [change for change in answer.planned if _is_ground(wanted, change)]
    if ground:  # This comes first, and must be on record if the next round fails.
        return _apply_all(wanted, dataclasses.replace(answer, identity=""), ground)
    probed: dict[str, t.Any] = {}
    if answer.read_only:
        probed = {"probed": True}
    elif probing:
        may_be_full = not (answer.planned or answer.identity)
        probed = {"probed": True, "abilities": _probe(wanted, settings, may_be_full=may_be_full)}
    if answer.planned or answer.identity:
        with mutex.hold(wanted.layout.mutex, timeout=settings.busy_timeout, purpose="uv_share"):
            removal.sweep(wanted.root)
            answer = _survey(wanted, settings, observe(wanted))
            mutex.check(wanted.layout.mutex)
            if answer.identity:
                _write_identity(wanted, answer.id)
            answer = _apply_all(wanted, answer, answer.planned)
    return dataclasses.replace(answer, **probed)


def _is_ground(wanted: Wanted, change: Change) -> bool:
    """Whether a change is to the root or above, which must be right before anything can be done inside."""
    return not change.path.startswith(wanted.root + "/")


def _probe(wanted: Wanted, settings: Settings, *, may_be_full: bool) -> t.Optional[Abilities]:
    """What the filesystem can do; None if it is too full to try, which is fine if nothing has to be made."""
    try:
        with probe.alone(wanted.root, timeout=settings.busy_timeout):
            observe(wanted)  # The wait may have been long.
            abilities = probe.probe(wanted.root, settings.runner)
    except OSError as error:
        if may_be_full and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return None
        raise
    probe.check_abilities(wanted.root, abilities)
    check_cache(wanted, default_acls=abilities.default_acl)
    return abilities


def _write_identity(wanted: Wanted, share_id: t.Optional[str]) -> None:
    """Write share.json; ``share_id`` is None if the share is new and its id not declared."""
    identity = Identity(wanted.name, share_id or str(uuid.uuid4()))
    files.write_json(wanted.layout.identity, identity.as_dict(), mode=IDENTITY_MODE)


def _apply_all(wanted: Wanted, answer: Survey, changes: t.Iterable[Change]) -> Survey:
    """Make ``changes`` as far as this process may; returns ``answer`` with what was done and denied."""
    done: list[Change] = []
    denied: list[Change] = []
    for change in changes:
        try:
            if os.geteuid() != 0 and needs_root(wanted, change):  # not half of it
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), change.path)
            apply(wanted, change)
        except OSError as error:
            if error.errno not in _DENIED and not denied:
                raise
            denied.append(change)  # or made impossible by what was denied before
        else:
            done.append(change)
    return dataclasses.replace(answer, done=tuple(done), denied=tuple(denied))


# As root


def _do_denied(wanted: Wanted, settings: Settings, answer: Survey) -> tuple[Change, ...]:
    """Do as root what the owner was denied."""
    if settings.root and not all(_is_ground(wanted, change) for change in answer.denied):
        with contextlib.suppress(PermissionError):  # Root may not do it either.
            check_way(wanted.share, wanted.uid)
            read_identity(wanted.share)
    for change in answer.denied:
        try:
            if not settings.root:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), change.path)
            apply(wanted, change)
        except OSError as error:
            if error.errno not in _DENIED:
                raise
            raise _nobody_may(wanted, settings, change) from error
    return answer.denied


def _root_round(wanted: Wanted, settings: Settings, path: str, *, last: bool) -> Survey:
    """Look as root where the owner may not, to let the owner into the share, but not into directories above it."""
    error = UvnasError(
        f"{wanted.owner} may not look into {path}",
        hint=f"Let {wanted.owner} through to {wanted.root}: every directory above needs mode x for it.",
    )
    if not settings.root:
        raise error
    try:
        answer = _survey(wanted, settings, observe(wanted))
    except PermissionError as again:
        raise error from again
    denied = tuple(change for change in answer.planned if change.before is not None)
    # Another run may have let the owner in since; so look again, but not for ever.
    if not denied and (last or settings.check_mode):
        raise error
    return dataclasses.replace(answer, denied=denied, blind=path)


def _nobody_may(wanted: Wanted, settings: Settings, change: Change) -> UvnasError:
    if settings.root:
        return UvnasError(
            f"neither {wanted.owner} nor root may {_verb(change)} {change.path}",
            hint=f"Does this NFS export squash root? Then run this on the NAS itself: {_command(change)}",
        )
    return UvnasError(
        f"{wanted.owner} may not {_verb(change)} {change.path}",
        hint=f"{_BECOME} Or once, by hand: {_command(change)}",
    )


def _verb(change: Change) -> str:
    return "make" if change.makes else "correct"


def _command(change: Change) -> str:
    """The shell command with which root makes ``change``."""
    after, path = change.after, shlex.quote(change.path)
    command = f"install -d -o {user_name(after.uid)} -g {group_name(after.gid)} -m {after.mode:04o} {path}"
    # What is there now, perhaps a symlink, must not become theirs.
    return f"mv -T {path} {shlex.quote(change.path + '.aside')} && {command}" if change.aside else command


def _withdraw(wanted: Wanted, paths: t.Sequence[str], user: t.Optional[User]) -> None:
    """Remove the root that was made for a share that turned out to be impossible."""
    if not paths:
        return

    def clean() -> dict[str, t.Any]:
        probe.forget(wanted.root)
        return {}

    with contextlib.suppress(OSError, UvnasError):
        _as(user, clean)
    for path in reversed(paths):
        for who in (user, None):
            with contextlib.suppress(OSError, UvnasError):
                _as(who, functools.partial(_remove_directory, path))


def _remove_directory(path: str) -> dict[str, t.Any]:
    os.rmdir(path)
    return {}


# Report


class _Progress:
    """What has been done so far."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.changes: dict[str, Change] = {}
        self.identity = ""
        self.probed = False
        self.abilities: t.Optional[Abilities] = None

    def add(self, answer: Survey, by_root: t.Iterable[Change]) -> bool:
        """Note what a round did; True if nothing is left to do."""
        if answer.probed:
            self.probed, self.abilities = True, answer.abilities
        for change in (*answer.done, *by_root):
            if change.path in self.changes:
                raise self._not_kept(change.path)
            self.changes[change.path] = change
        if answer.blind:
            return False
        if answer.identity and self.identity:
            raise self._not_kept(self._wanted.layout.identity)
        self.identity = self.identity or answer.identity
        return not answer.planned and not answer.identity

    def all(self) -> list[Change]:
        return list(self.changes.values())

    def made_ground(self) -> list[str]:
        """The root, and directories above it, that were made."""
        return [change.path for change in self.all() if change.before is None and _is_ground(self._wanted, change)]

    @staticmethod
    def _not_kept(path: str) -> UvnasError:
        return UvnasError(
            f"the filesystem does not keep the owner, group or mode that was set for {path}",
            hint="Is it mounted with uid=, gid= or mode options, or does the NAS map users or enforce modes?",
        )


def _predict(wanted: Wanted, settings: Settings, answer: Survey) -> Result:
    """The result of a check mode run."""
    made = [change for change in answer.planned if _is_ground(wanted, change) and change.before is None]
    if made and not answer.writable and not os.access(answer.ground, os.W_OK | os.X_OK):
        raise _nobody_may(wanted, settings, made[0])
    return report(wanted, platform.here(settings.runner), answer, answer.planned, answer.identity, None)
