# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exception family of the collection: what went wrong, in words for an admin."""

from __future__ import annotations

import contextlib
import errno
import os
import typing as t


class UvnasError(Exception):
    """Something an admin has to know. ``str(error)`` is the first line, ``hint`` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def explain(self) -> str:
        """The error as a message of a few lines: what happened, the tool's own output, what to do."""
        output = str(getattr(self, "stderr", "")).strip()
        return "\n".join(part for part in (str(self), output, self.hint) if part)

    def lines(self) -> list[str]:
        """What happened, one line for each thing. The last line ends with what to do."""
        lines = str(self).splitlines()
        return [*lines[:-1], f"{lines[-1]}. {' '.join(self.hint.split())}"] if self.hint and lines else lines

    def as_dict(self) -> dict[str, t.Any]:
        """The error as plain data: it crosses process boundaries and becomes ``fail_json`` arguments."""
        return {"msg": str(self), "hint": self.hint}

    @staticmethod
    def from_dict(data: t.Mapping[str, t.Any]) -> UvnasError:
        """The error that as_dict() described."""
        fields = {key: value for key, value in data.items() if key != "msg"}
        return (CommandError if "cmd" in fields else UvnasError)(data["msg"], **fields)


class CommandError(UvnasError):
    """A command failed. Carries what ran and its output."""

    def __init__(
        self, message: str, *, cmd: t.Sequence[str], rc: int, stdout: str, stderr: str, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.cmd = list(cmd)
        self.rc = rc
        self.stdout = stdout
        self.stderr = stderr

    def as_dict(self) -> dict[str, t.Any]:
        return {
            **super().as_dict(),
            "cmd": self.cmd,
            "rc": self.rc,
            "stdout": self.stdout,
            "stderr": self.stderr,
        }


class SpecError(UvnasError):
    """The inventory asks for something that makes no sense. Nothing has been written."""


class ShareBusyError(UvnasError):
    """Another process is working on this share and did not finish in time."""


class LostMutexError(UvnasError):
    """This process no longer holds the mutex. Whatever is there now may be somebody else's work."""


def from_os_error(error: OSError, failed: str = "", path: str = "") -> UvnasError:
    """What the operating system's error means for a share.

    ``failed`` is what could not be done, and comes first; ``path`` is where, if the error does not say.
    """
    reason, where = error.strerror or str(error), error.filename or path
    message = ": ".join(str(part) for part in ((failed, where, reason) if failed else (reason, where)) if part)
    denied = f"This ran as uid {os.geteuid()}. Check owner and modes; on NFS root may be squashed."
    hints = {
        errno.ENOSPC: "The filesystem has no free bytes or inodes left. Free some, then run again.",
        errno.EDQUOT: "The owner's quota on this filesystem is used up. Free some space or raise it, then run again.",
        errno.EROFS: "The filesystem is mounted read-only here. Is this host meant to be the builder?",
        errno.EACCES: denied,
        errno.EPERM: denied,
        errno.ESTALE: "The NFS server replaced or lost what was mounted. Remount the share's filesystem.",
        errno.EIO: "The filesystem reports an input/output error. Check the NAS before you run again.",
    }
    return UvnasError(message, hint=hints.get(error.errno or 0, ""))


@contextlib.contextmanager
def naming(failed: str, path: str) -> t.Iterator[None]:
    """Make an OSError in the block say what ``failed`` and where: at ``path``, unless it names another one."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, failed, path) from error


def as_uvnas_error(error: t.Union[UvnasError, OSError]) -> UvnasError:
    """What went wrong with one thing, as an error to keep while the others go on."""
    return error if isinstance(error, UvnasError) else from_os_error(error)


def failure(errors: t.Sequence[UvnasError], count: int) -> dict[str, t.Any]:
    """The part of a module's result that says which of its ``count`` environments failed; empty if none did."""
    if not errors:
        return {}
    return {"failed": True, "msg": failure_text(errors, count), "errors": [error.as_dict() for error in errors]}


def failure_text(errors: t.Sequence[UvnasError], count: int, failed: t.Optional[int] = None) -> str:
    """The message for some of ``count`` environments having failed: as many as there are ``errors``, or ``failed``.

    Each error starts on a new line; its further lines are indented.
    """
    texts = [error.explain() for error in errors]
    if count < 2 and len(texts) < 2:
        return "".join(texts)
    head = f"{len(texts) if failed is None else failed} of {count} environments failed; the others are done"
    return "\n".join([head, *(text.replace("\n", "\n  ") for text in texts)])
