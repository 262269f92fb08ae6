# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a share: what was done on it, when, from what to what, why and by whom. A line of JSON each.

It tells people. Nothing reads it to decide anything, so one that is torn, damaged or gone costs its own lines and no
more, and where a line cannot be written, what it would tell is done all the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import typing as t

from ..host import files
from ..host.data import is_text, is_time
from ..host.secrets import scrub
from . import standing, store
from .layout import Layout

BUILD = "build"
PUBLISH = "publish"
RETIRE = "retire"
HOLD = "hold"
RELEASE = "release"
REMOVE = "remove"
REPAIR = "repair"


@dataclasses.dataclass(frozen=True)
class Author:
    """Who runs this, and where; empty where that is not known."""

    user: str = ""
    controller: str = ""

    def __str__(self) -> str:
        return " on ".join(part for part in (self.user, self.controller) if part)

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Author:
        """From the options ``journal_user`` and ``journal_controller`` of a module."""
        return cls(clean(params.get("journal_user") or ""), clean(params.get("journal_controller") or ""))


NOBODY = Author()


def clean(text: str) -> str:
    """What somebody has written, on one line, as it can be kept and shown: without credentials of URLs.

    What cannot be printed, and what is no text at all, becomes a question mark.
    """
    line = " ".join(scrub(text).split())
    return "".join(character if character.isprintable() else "?" for character in line)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line."""

    # ISO 8601, UTC.
    time: str
    # One of those above.
    action: str
    environment: str
    # The generation that it is about, and the one in force before.
    generation: t.Optional[str] = None
    previous: t.Optional[str] = None
    why: str = ""
    user: str = ""
    controller: str = ""
    # The version of uv.
    uv: str = ""
    packages_changed: t.Sequence[str] = ()

    def as_dict(self) -> dict[str, t.Any]:
        """As plain data, without what is empty."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}


@dataclasses.dataclass(frozen=True)
class Journal:
    """The journal of one share, for one run."""

    layout: Layout
    author: Author = NOBODY

    def tell(self, action: str, environment: str, **details: t.Any) -> None:
        """Add a line. Hold the share's mutex; several processes of its holder may tell at once.

        Without a lock on the file: everybody may read it, and whoever may read it may keep others from locking it. The
        kernel does not mix what several processes of one host append.
        """
        about = {
            "user": self.author.user,
            "controller": self.author.controller,
            "uv": store.uv_version(self.layout),
            **details,
        }
        about["why"] = clean(about.get("why", ""))
        about["packages_changed"] = tuple(map(scrub, about.get("packages_changed", ())))
        entry = Entry(standing.now(), action, environment, **about)
        line = json.dumps(entry.as_dict()).encode() + b"\n"
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            descriptor = os.open(self.layout.journal, flags, 0o644)
            try:
                size = os.fstat(descriptor).st_size
                # A power cut, or a full disk, has left a part of the last one.
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                os.write(descriptor, b"\n" * torn + line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def read(layout: Layout) -> list[Entry]:
    """The lines that can be read, the oldest first. Raises OSError, and UvnasError if it is no file."""
    content = files.read_bytes(layout.journal) or b""
    return [entry for entry in map(_entry, content.split(b"\n")) if entry is not None]


def _entry(line: bytes) -> t.Optional[Entry]:
    """One line; None if it is damaged."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    changed = data.get("packages_changed", [])
    texts = {field.name: data.get(field.name) for field in dataclasses.fields(Entry) if field.name in data}
    texts.pop("packages_changed", None)
    required = all(isinstance(texts.get(name), str) for name in ("time", "action", "environment"))
    if not required or not all(map(is_text, texts.values())) or not is_time(texts["time"]):
        return None
    if not isinstance(changed, list) or not all(map(is_text, changed)):
        return None
    shown = {name: scrub(str(text)) for name, text in texts.items()}
    return Entry(**shown, packages_changed=tuple(map(scrub, changed)))
