# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that shells read at start-up: which a host has, what is in their place, and what has to change.

The files only set variables. They run no command and touch nothing on a share, so that a NAS that hangs does not hang a
login; they leave root alone; they print nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import typing as t

from ..errors import SpecError, UvnasError
from ..host import files as fs
from ..host import trust
from ..share.layout import is_below
from . import csh, fish, sh
from .spec import CONTROL_CHARACTERS, Profile

FILE_MODE = 0o644


@dataclasses.dataclass(frozen=True)
class Found:
    """What is in a file's place."""

    content: str
    # In words, for a diff; a difference in this alone counts too.
    status: str


@dataclasses.dataclass(frozen=True)
class Change:
    """A file that has to change; None: no file."""

    path: str
    before: t.Optional[Found]
    after: t.Optional[Found]

    def diff(self) -> dict[str, str]:
        """The change as Ansible shows it."""
        both = [found for found in (self.before, self.after) if found is not None]
        status_changes = len({found.status for found in both}) > 1
        before, after = (
            "" if found is None else f"# {found.status}\n{found.content}" if status_changes else found.content
            for found in (self.before, self.after)
        )
        return {"before_header": self.path, "before": before, "after_header": self.path, "after": after}


def paths(directory: str, fish_directory: str) -> dict[str, str]:
    """The files of a host by kind of shell. No fish file if ``fish_directory`` is empty. Raises SpecError."""
    found = {}
    for shell, where in (("sh", directory), ("csh", directory), ("fish", fish_directory)):
        if not where and shell == "fish":
            continue
        if not os.path.isabs(where) or CONTROL_CHARACTERS.search(where):
            raise SpecError(
                f"{where!r} cannot hold profile files", hint="Give an absolute path without control characters."
            )
        found[shell] = os.path.join(os.path.normpath(where), f"uvnas.{shell}")
    return found


def contents(profile: t.Optional[Profile], files: t.Mapping[str, str]) -> dict[str, t.Optional[str]]:
    """The wanted content of each of ``files`` (see paths()), by path; None: no file. Raises SpecError."""
    if profile is None:
        return dict.fromkeys(files.values())
    for share in profile.shares:
        for path in files.values():
            if is_below(path, share.root):
                raise SpecError(
                    f"{path} would be on the share {share.name}",
                    hint="Shells read it at start-up, and must not wait for a NAS; choose a local directory.",
                )
    text = {"sh": sh.render(profile), "csh": csh.render(profile, files["csh"]), "fish": fish.render(profile)}
    return {path: text[shell] for shell, path in files.items()}


def plan(wanted: t.Mapping[str, t.Optional[str]]) -> list[Change]:
    """What has to change so that each path has its wanted content (None: no file).

    Raises UvnasError if this user could not make the change, or others could write to the file's directory.
    """
    changes = []
    for path, content in wanted.items():
        if content is not None:  # All users run it.
            trust.check_way(os.path.dirname(path), os.geteuid())
        before = _look(path)
        after = None if content is None else Found(content, _status(os.geteuid(), FILE_MODE))
        if before != after:
            _check_writable(os.path.dirname(path))
            changes.append(Change(path, before, after))
    return changes


def converge(wanted: t.Mapping[str, t.Optional[str]], *, check: bool = False) -> list[Change]:
    """Write the wanted content to each path, and return what changed, or with ``check`` what would.

    Each file changes in one step: a shell that starts meanwhile reads the old one or the new one.
    """
    changes = plan(wanted)
    for change in [] if check else changes:
        directory = os.path.dirname(change.path)
        if change.after is not None:
            fs.make_directory(directory)
            fs.write(change.path, change.after.content, mode=FILE_MODE)
        else:
            with contextlib.suppress(FileNotFoundError):  # by another host, where both have one directory
                os.unlink(change.path)
            fs.sync_directory(directory)
    return changes


def _look(path: str) -> t.Optional[Found]:
    """What is at ``path`` now; None if nothing is."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UvnasError(f"cannot make the file {path}: a part of this path is not a directory") from None
    if stat.S_ISLNK(about.st_mode):
        return Found("", f"symlink to {os.readlink(path)}")
    if not stat.S_ISREG(about.st_mode):
        raise UvnasError(f"{path} is not a file", hint="uvnas.cluster did not make it; move it away and run again.")
    content = (fs.read_bytes(path) or b"").decode("utf-8", "backslashreplace")
    return Found(content, _status(about.st_uid, stat.S_IMODE(about.st_mode)))


def _status(uid: int, mode: int) -> str:
    return f"owner {uid}, mode {mode:04o}"


def _check_writable(directory: str) -> None:
    """Raise UvnasError if files cannot be made in ``directory``, or ``directory`` itself cannot."""
    existing = directory
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise UvnasError(f"cannot write profile files to {directory}: {existing} is not a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UvnasError(
            f"uid {os.geteuid()} may not write to {existing}, where profile files go",
            hint="Connect as root or become root (ansible_become), "
            "or choose directories of your own (uvnas_profile_dir and uvnas_profile_fish_dir).",
        )
