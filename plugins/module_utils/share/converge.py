# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a share what it is declared to be: look, plan, do; as its owner, and as root only what the owner may not do.

On an NFS export that squashes root, root is nobody. So everything is looked at, probed and done as the owner first;
what the owner is denied is then tried as root, where this process is root at all.

The order matters to whoever comes after a killed run: first the root directory, then ``share.json``, then the rest. A
root without share.json has nothing in it; with it, whatever is missing can be made.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fnmatch
import functools
import os
import pwd
import stat
import typing as t
import uuid

from ..errors import UvnasError
from ..host import files as fs
from ..host.process import Runner, User, call_as
from ..host.users import find_group, group_name, this_user, user_name
from . import probe
from .report import result
from .spec import (
    Change,
    Identity,
    Person,
    Share,
    acl_is_shared,
    check_id,
    check_mode,
    check_name,
    check_paths,
    check_space,
    default_acl,
    needs_root,
    plan_directories,
)
from .state import DEFAULT_ACL, IDENTITY_MODE, Seen, default_acl_of, observe

_DENIED = (errno.EACCES, errno.EPERM)
# The owner, root, the owner again and so on; what is not right after these does not become so.
_ROUNDS = 6
_BECOME = "Connect as root or become it (ansible_become) for this role."


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to work, as opposed to what on."""

    runner: Runner
    busy_timeout: float
    check_mode: bool
    # Whether this process may try things as root.
    root: bool


def share_from_params(params: t.Mapping[str, t.Any], user: t.Optional[User]) -> Share:
    """The share that the options of uv_share describe. ``user``: the owner, where it is not who runs this process."""
    name = check_name(params["share_name"])
    root, mount = check_paths(name, params["share"], params["mount"])
    mode = check_mode(name, params["mode"])
    owner = user or this_user()
    gid = find_group(params["group"]) if params["group"] else owner.gid
    private = params["user_cache"] == "private"
    return Share(
        name=name,
        root=root,
        owner=owner.name,
        uid=owner.uid,
        group=group_name(gid),
        gid=gid,
        owner_groups=owner.groups,
        mount=mount,
        id=check_id(name, params["share_id"]),
        mode=mode,
        user_cache=params["user_cache"],
        people=tuple(_find_person(person) for person in params["user_cache_users"]) if private else (),
        min_free_bytes=params["min_free_bytes"],
        min_free_inodes=params["min_free_inodes"],
    )


def _find_person(name: str) -> Person:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UvnasError(
            f"this host has no user {name}", hint="Correct uvnas_user_cache_users, or create the user first."
        ) from None
    return Person(name, entry.pw_uid, entry.pw_gid)


def establish(share: Share, settings: Settings, *, user: t.Optional[User]) -> dict[str, t.Any]:
    """Make ``share`` what it should be; or, in check mode, say what would be done. Returns the module's result."""
    progress = _Progress(share)
    for number in range(_ROUNDS):
        try:
            answer = _as(user, functools.partial(_owners_round, share, settings, probing=progress.abilities is None))
            if "blind" in answer:
                answer = _roots_round(share, settings, answer["blind"], last=number == _ROUNDS - 1)
        except (UvnasError, OSError):
            if progress.abilities is None:
                _withdraw(share, progress.made_ground(), user)
            raise
        if settings.check_mode:
            return _predict(share, settings, answer)
        if progress.add(answer, _do_denied(share, settings, answer)):
            return result(
                share,
                probe.platform(settings.runner),
                answer,
                progress.all(),
                progress.identity,
                progress.abilities or {},
            )
    raise UvnasError(f"{share.root} did not become what it should be, although nothing failed", hint="Run again.")


# Plan


def _survey(share: Share, settings: Settings, seen: Seen) -> dict[str, t.Any]:
    """What is to be done about what was seen, as plain data. Raises UvnasError where it cannot or must not be done."""
    check_space(share, seen.space)
    planned = plan_directories(share, seen.directories, acl=seen.acl)
    _check_allowed(share, settings, seen, planned)
    return {
        "planned": [dataclasses.asdict(change) for change in planned],
        "identity": "corrected" if seen.identity_is_off else "" if seen.identity else "created",
        "id": seen.identity.id if seen.identity else share.id or None,
        "ground": seen.ground,
        "writable": seen.writable,
        "filesystem": seen.filesystem,
        "split": seen.split,
        "acl": seen.acl,
        "free_bytes": seen.space.free_bytes,
        "free_inodes": seen.space.free_inodes,
    }


def _check_allowed(share: Share, settings: Settings, seen: Seen, planned: t.Sequence[Change]) -> None:
    """Raise UvnasError where it is known beforehand that something may not be done."""
    for change in planned if not settings.root else ():
        reason = needs_root(share, change)
        if reason:
            raise UvnasError(
                f"{share.owner} may not {_verb(change)} {change.path}: {reason}",
                hint=f"{_BECOME} Or once, by hand: {_command(change)}",
            )
    ground = [change for change in planned if _is_ground(share, change)]
    if seen.writable or (ground and settings.root):
        return
    if ground and ground[0].before is None:
        raise _nobody_may(share, settings, ground[0])
    if not ground:
        raise UvnasError(
            f"{share.owner}, the owner of share {share.name}, may not write to {share.root}",
            hint="See the directory's ACL, and whether the NAS exports the filesystem read-write to this host.",
        )


# As the owner


def _as(user: t.Optional[User], work: t.Callable[[], dict[str, t.Any]]) -> dict[str, t.Any]:
    return call_as(user, work) if user is not None else work()


def _owners_round(share: Share, settings: Settings, *, probing: bool) -> dict[str, t.Any]:
    """Look, and do as much as the owner may. The answer is plain data: it may have to cross a process boundary."""
    try:
        seen = observe(share)
    except PermissionError as error:
        return {"blind": os.path.normpath(error.filename or share.root)}
    answer = _survey(share, settings, seen)
    if settings.check_mode:
        return answer
    ground = [change for change in _planned(answer) if _is_ground(share, change)]
    if ground:  # Nothing else can be done before, and what was made has to be known if the next round fails.
        return {**answer, **_apply_all(share, ground), "identity": ""}
    if probing:
        answer.update(_probe(share, settings, may_be_full=not (answer["planned"] or answer["identity"])))
    if answer["planned"] or answer["identity"]:
        with fs.share_lock(share.layout.mutex, timeout=settings.busy_timeout, purpose="uv_share"):
            answer.update(_survey(share, settings, observe(share)))
            if answer["identity"]:
                _write_identity(share, answer["id"])
            answer.update(_apply_all(share, _planned(answer)))
    return answer


def _planned(answer: t.Mapping[str, t.Any]) -> list[Change]:
    return [Change.from_dict(change) for change in answer["planned"]]


def _is_ground(share: Share, change: Change) -> bool:
    """Whether a change is to the root or above: what has to be right before anything can be done inside."""
    return not change.path.startswith(share.root + "/")


def _probe(share: Share, settings: Settings, *, may_be_full: bool) -> dict[str, t.Any]:
    """What the filesystem can do; nothing where it is too full to try, and may be, as nothing is to be made."""
    try:
        abilities = probe.probe(share.root, settings.runner, timeout=settings.busy_timeout)
    except OSError as error:
        if may_be_full and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"abilities": {}}
        raise
    probe.check_abilities(share.root, abilities)
    return {"abilities": dataclasses.asdict(abilities)}


def _write_identity(share: Share, share_id: t.Optional[str]) -> None:
    """Write share.json; ``share_id`` is None where the share is new and its id not declared."""
    head, tail = os.path.split(share.layout.identity)
    for entry in os.listdir(head):
        if fnmatch.fnmatchcase(entry, f".{tail}.*.tmp"):  # of a killed run: we hold the mutex
            os.unlink(os.path.join(head, entry))
    identity = Identity(share.name, share_id or str(uuid.uuid4()))
    fs.write_json(share.layout.identity, identity.as_dict(), mode=IDENTITY_MODE)


def _apply_all(share: Share, changes: t.Sequence[Change]) -> dict[str, t.Any]:
    """Make ``changes`` as far as this process may."""
    done: list[dict[str, t.Any]] = []
    denied: list[dict[str, t.Any]] = []
    for change in changes:
        try:
            if os.geteuid() != 0 and needs_root(share, change):  # not half of it
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), change.path)
            apply(share, change)
        except OSError as error:
            if error.errno not in _DENIED and not denied:
                raise
            denied.append(dataclasses.asdict(change))  # or made impossible by what was denied before
        else:
            done.append(dataclasses.asdict(change))
    return {"done": done, "denied": denied}


def apply(share: Share, change: Change) -> None:
    """Make one change to a directory.

    Root may be doing this in a place where the owner can put a symlink between two steps. So no symlink is followed
    below the share's root, and everything is done to one open directory, by way of its descriptor.
    """
    after = change.after
    with contextlib.ExitStack() as stack:
        parent = _open_parent(share, change.path, stack)
        name = os.path.basename(change.path)
        if change.before is None:
            with contextlib.suppress(FileExistsError):  # made by another process since
                os.mkdir(name, 0o700, dir_fd=parent)
        descriptor = _open_directory(name, stack, dir_fd=parent)
        # Reaches the directory without a right to read it, unlike fchmod() and its like.
        handle = f"/proc/self/fd/{descriptor}"
        found = os.fstat(descriptor)
        if (found.st_uid, found.st_gid) != (after.uid, after.gid):
            # -1: as it is. The owner may name a new group, but not even the same owner, on some NFS servers.
            uid, gid = (
                -1 if old == new else new for old, new in ((found.st_uid, after.uid), (found.st_gid, after.gid))
            )
            os.chown(handle, uid, gid)
        if stat.S_IMODE(found.st_mode) != after.mode:
            os.chmod(handle, after.mode)
            if stat.S_IMODE(os.fstat(descriptor).st_mode) == after.mode & ~stat.S_ISGID != after.mode:
                # The kernel drops this bit without a word where the process is not in the directory's group.
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), change.path)
        if after.shared is not None and after.shared != acl_is_shared(default_acl_of(handle) or b""):
            if after.shared:
                os.setxattr(handle, DEFAULT_ACL, default_acl(after.mode))
            else:
                os.removexattr(handle, DEFAULT_ACL)


def _open_parent(share: Share, path: str, stack: contextlib.ExitStack) -> int:
    parent = os.path.dirname(path)
    if not path.startswith(share.root + "/"):
        return _open_directory(parent, stack, follow=True)
    descriptor = _open_directory(share.root, stack)
    for part in [] if parent == share.root else os.path.relpath(parent, share.root).split("/"):
        descriptor = _open_directory(part, stack, dir_fd=descriptor)
    return descriptor


def _open_directory(
    path: str, stack: contextlib.ExitStack, *, dir_fd: t.Optional[int] = None, follow: bool = False
) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    stack.callback(os.close, descriptor)
    return descriptor


# As root


def _do_denied(share: Share, settings: Settings, answer: t.Mapping[str, t.Any]) -> list[Change]:
    """Do as root what the owner was denied."""
    changes = [Change.from_dict(change) for change in answer.get("denied", [])]
    for change in changes:
        try:
            if not settings.root:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), change.path)
            apply(share, change)
        except OSError as error:
            if error.errno not in _DENIED:
                raise
            raise _nobody_may(share, settings, change) from error
    return changes


def _roots_round(share: Share, settings: Settings, path: str, *, last: bool) -> dict[str, t.Any]:
    """Look as root where the owner may not, to let the owner in: into the share, not into what is above."""
    error = UvnasError(
        f"{share.owner} may not look into {path}",
        hint=f"Let {share.owner} through to {share.root}: every directory above needs mode x for it.",
    )
    if not settings.root:
        raise error
    try:
        answer = _survey(share, settings, observe(share))
    except PermissionError as again:
        raise error from again
    denied = [change for change in answer["planned"] if change["before"] is not None]
    # Another run that is making the share may have let the owner in since; so look again, but not for ever.
    if not denied and (last or settings.check_mode):
        raise error
    return {**answer, "denied": denied, "blind": path}


def _nobody_may(share: Share, settings: Settings, change: Change) -> UvnasError:
    if settings.root:
        return UvnasError(
            f"neither {share.owner} nor root may {_verb(change)} {change.path}",
            hint=f"Is root squashed on this NFS export? Then have it done on the NAS itself: {_command(change)}",
        )
    return UvnasError(
        f"{share.owner} may not {_verb(change)} {change.path}",
        hint=f"{_BECOME} Or once, by hand: {_command(change)}",
    )


def _verb(change: Change) -> str:
    return "make" if change.before is None else "correct"


def _command(change: Change) -> str:
    """What root would type to make ``change``."""
    after = change.after
    return f"install -d -o {user_name(after.uid)} -g {group_name(after.gid)} -m {after.mode:04o} {change.path}"


def _withdraw(share: Share, paths: t.Sequence[str], user: t.Optional[User]) -> None:
    """Take back the root that was made for a share that cannot be: as if nothing had been tried."""
    if not paths:
        return

    def clean() -> dict[str, t.Any]:
        probe.forget(share.root)
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


# Tell


class _Progress:
    """What has been done so far."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self.changes: dict[str, Change] = {}
        self.identity = ""
        self.abilities: t.Optional[dict[str, bool]] = None

    def add(self, answer: t.Mapping[str, t.Any], by_root: t.Sequence[Change]) -> bool:
        """Note what a round did; True where there was nothing left to do."""
        self.abilities = answer.get("abilities", self.abilities)
        for change in [*map(Change.from_dict, answer.get("done", [])), *by_root]:
            if change.path in self.changes:
                raise self._not_kept(change.path)
            self.changes[change.path] = change
        if "blind" in answer:
            return False
        if answer["identity"] and self.identity:
            raise self._not_kept(self._share.layout.identity)
        self.identity = self.identity or answer["identity"]
        return not answer["planned"] and not answer["identity"]

    def all(self) -> list[Change]:
        return list(self.changes.values())

    def made_ground(self) -> list[str]:
        """The root, and directories above it, that were made."""
        return [change.path for change in self.all() if change.before is None and _is_ground(self._share, change)]

    @staticmethod
    def _not_kept(path: str) -> UvnasError:
        return UvnasError(
            f"the filesystem does not keep owner, group or mode of {path}: they were set, and are not what was set",
            hint="Is it mounted with uid=, gid= or mode options, or does the NAS map users or enforce modes?",
        )


def _predict(share: Share, settings: Settings, answer: dict[str, t.Any]) -> dict[str, t.Any]:
    """The result of a check mode run."""
    planned = _planned(answer)
    made = [change for change in planned if _is_ground(share, change) and change.before is None]
    if made and not answer["writable"] and not os.access(answer["ground"], os.W_OK | os.X_OK):
        raise _nobody_may(share, settings, made[0])
    return result(share, probe.platform(settings.runner), answer, planned, answer["identity"], {})
