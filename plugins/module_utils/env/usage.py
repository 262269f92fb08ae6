# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which generations, interpreters and versions of uv the processes of a host use, wherever a share is mounted.

Evidence is a text, ``/generations/<env>/<id>``, ``/python/<key>`` or ``/lib/uv/<version>``, anywhere in what the kernel
says of a process (see host/evidence). It is the same in containers, on other mount points, and for deleted files. A
Python of a generation shows it by its mark, see generation/pin.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import socket
import typing as t

from ..host import evidence, slurm
from ..host.evidence import Process
from ..host.users import user_name
from ..host.workers import Result, call_within

# Also under the hidden names of what is being removed, or is aside (see share/aside).
_HIDDEN = r"(?:\.uvnas-(?:[0-9a-f]{16}\.tmp|aside))?"
# Whatever else comes next: shells have many characters that end a path.
_END = r"(?![A-Za-z0-9_.+-])"
_GENERATION = re.compile(rf"/generations/+([A-Za-z0-9][A-Za-z0-9._+-]{{0,63}})/+\.?([0-9a-f]{{12}}){_HIDDEN}{_END}")
_KEY = r"cpython-3\.[0-9]+\.[0-9]+[A-Za-z0-9+_.-]*?-linux-[a-z0-9_]+-[a-z]+"
_INTERPRETER = re.compile(rf"/python/+\.?({_KEY}){_HIDDEN}{_END}")
_UV = re.compile(rf"/lib/+uv/+\.?([0-9]+\.[0-9]+\.[0-9]+){_HIDDEN}{_END}")
# What is told of a host at most, as users may start many processes that mention much.
_MOST_USES, _MOST_UNREAD = 20_000, 1_000
# What find() says before the version of one.
_OF_UV = "uv "


@dataclasses.dataclass(frozen=True)
class Use:
    """A process that uses a generation of an environment, an interpreter, or a version of uv."""

    pid: int
    user: str
    command: str
    # ISO 8601, UTC; empty where nobody knows.
    since: str
    # The number of its Slurm job; empty if it has none.
    job: str
    environment: str = ""
    generation: str = ""
    interpreter: str = ""
    # A version of uv.
    uv: str = ""


def find(text: str) -> set[str]:
    """What a text mentions: generations (``train/3f0c…``), interpreters (uv's keys), versions of uv (``uv 0.13.9``)."""
    generations = {f"{env}/{generation}" for env, generation in _GENERATION.findall(text)}
    return generations | set(_INTERPRETER.findall(text)) | {_OF_UV + version for version in _UV.findall(text)}


def look(*, proc: str = "/proc", patience: float = evidence.PATIENCE) -> Result:
    """What uv_in_use returns. ``patience`` is for what the kernel says of one process, in seconds."""
    uses: list[dict[str, t.Any]] = []
    unread: list[dict[str, t.Any]] = []
    for process in evidence.processes(find, proc=proc, patience=patience):
        who = user_name(process.uid) if process.uid is not None else ""
        told = process.found[: _MOST_USES - len(uses)]
        uses += [dataclasses.asdict(_use(process, who, what)) for what in told]
        why = process.unread or ("" if told == process.found else "more is in use on this host than can be told")
        if why and len(unread) < _MOST_UNREAD:
            unread.append({"pid": process.pid, "user": who, "command": process.command, "why": why})
    return {
        "changed": False,
        "host": socket.gethostname(),
        "is_root": os.geteuid() == 0,
        "cluster": _cluster(patience),
        "booted": _time(evidence.booted(proc)),
        "uses": uses,
        "unread": unread,
    }


def _cluster(patience: float) -> t.Optional[str]:
    answer = call_within(patience, lambda: {"name": slurm.cluster()})
    return answer["name"] if answer else ""


def _use(process: Process, who: str, what: str) -> Use:
    env, slash, generation = what.partition("/")
    if what.startswith(_OF_UV):
        named = {"uv": what[len(_OF_UV) :]}
    else:
        named = {"environment": env, "generation": generation} if slash else {"interpreter": what}
    return Use(process.pid, who, process.command, _time(process.started), process.job, **named)


def _time(seconds: t.Optional[float]) -> str:
    """A time since the epoch in words; empty where nobody knows."""
    if seconds is None:
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="seconds")
