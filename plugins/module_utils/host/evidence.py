# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the processes of this host mention: in their links, mappings, variables and command lines below /proc.

Links are read, and what they lead to is never looked at, so a NAS that hangs does not hang this. But the kernel answers
some questions about a process only once that has got something from its NAS. So all of them are asked by a child; where
it gets no answer in time, it is given up, and another one goes on with the next process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import time
import typing as t

from .data import plain
from .proc import owner_and_name, read
from .workers import Child, Result, readable

# Seconds for what the kernel says of one process.
PATIENCE = 5.0
_JOB = "SLURM_JOB_ID="

# What of a text counts, as words.
Find = t.Callable[[str], t.Iterable[str]]


@dataclasses.dataclass(frozen=True)
class Process:
    """A process of this host, and what it mentions."""

    pid: int
    uid: t.Optional[int] = None
    # Its name only: arguments may hold secrets.
    command: str = ""
    # Seconds since the epoch, as far as the kernel says.
    started: t.Optional[float] = None
    # The number of its Slurm job; empty if it has none.
    job: str = ""
    found: t.Sequence[str] = ()
    # Why not all of it could be read; empty if it could. It may use anything then.
    unread: str = ""


def processes(find: Find, *, proc: str = "/proc", patience: float = PATIENCE) -> list[Process]:
    """The processes in whose texts something is found, and those of which not all can be read.

    All but this one and its children. Only root sees those of everybody.
    """
    mine = os.getpid()
    pids = sorted(int(name) for name in os.listdir(proc) if name.isdecimal() and int(name) != mine)
    booted = _booted(proc)
    found: list[Process] = []
    while pids:
        answered, stuck = _ask(pids, find, proc, booted, patience)
        found += answered
        if stuck is None:
            break
        found.append(Process(stuck, unread=f"the kernel has said nothing of it for {patience:g} s"))
        pids = pids[pids.index(stuck) + 1 :]
    return [each for each in found if each.found or each.unread]


def _ask(
    pids: t.Sequence[int], find: Find, proc: str, booted: t.Optional[float], patience: float
) -> tuple[list[Process], t.Optional[int]]:
    """What a child says of these, in turn, and the one that it got no answer about; None if there is none."""
    reader, writer = os.pipe()
    child = Child(functools.partial(_tell, pids, find, proc, booted, writer))
    os.close(writer)
    text = b""
    limit = time.monotonic() + patience
    while True:
        if not readable([reader], max(0.0, limit - time.monotonic())):
            child.kill()  # And is not waited for, as no signal may get through.
            break
        part = os.read(reader, 1 << 16)
        if not part:
            break
        text += part
        limit = time.monotonic() + patience
    os.close(reader)
    answered = [Process(**json.loads(line)) for line in text.split(b"\n")[:-1]]
    told = {each.pid for each in answered}
    missing = [pid for pid in pids if pid not in told]
    if not missing:
        while not child.read():
            pass
        child.reap()
    return answered, missing[0] if missing else None


def _tell(pids: t.Sequence[int], find: Find, proc: str, booted: t.Optional[float], writer: int) -> Result:
    """Write a line about each."""
    for pid in pids:
        said = _look(pid, find, os.path.join(proc, str(pid)), booted)
        line = json.dumps(dataclasses.asdict(said)).encode() + b"\n"
        while line:
            line = line[os.write(writer, line) :]
    os.close(writer)
    return {}


def _look(pid: int, find: Find, directory: str, booted: t.Optional[float]) -> Process:
    """One process. Of one that has ended meanwhile, nothing."""
    found: set[str] = set()
    uid, command, started, job, unread = None, "", None, "", ""
    try:
        uid, name = owner_and_name(directory)
        command = plain(name)
        started = _started(directory, booted)
        if _is_kernel(directory):
            return Process(pid)
        for link in _links(directory):
            with contextlib.suppress(FileNotFoundError):
                found.update(find(os.readlink(os.path.join(directory, link))))
        for name in ("maps", "environ", "cmdline"):
            text = read(os.path.join(directory, name))
            found.update(find(text))
            if name == "environ":
                job = next((each[len(_JOB) :] for each in text.split("\0") if each.startswith(_JOB)), "")
    except (FileNotFoundError, ProcessLookupError):
        return Process(pid)
    except PermissionError as error:
        if os.geteuid() != 0:  # Whoever is not root sees their own.
            return Process(pid)
        unread = str(error.strerror)
    except (OSError, ValueError, KeyError, IndexError) as error:
        unread = str(getattr(error, "strerror", None) or error)
    return Process(pid, uid, command, started, plain(job[:40]), sorted(found), unread)


def _links(directory: str) -> list[str]:
    return ["exe", "cwd", *(f"fd/{name}" for name in os.listdir(os.path.join(directory, "fd")))]


def _is_kernel(directory: str) -> bool:
    """Whether it is a thread of the kernel, which runs no program."""
    try:
        os.readlink(os.path.join(directory, "exe"))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _started(directory: str, booted: t.Optional[float]) -> t.Optional[float]:
    # After the name, which may contain anything, the 20th field is the start, in ticks after the boot (proc(5)).
    ticks = read(os.path.join(directory, "stat")).rpartition(")")[2].split()[19]
    return None if booted is None else booted + int(ticks) / os.sysconf("SC_CLK_TCK")


def _booted(proc: str) -> t.Optional[float]:
    """When the host was booted, in seconds since the epoch."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = read(os.path.join(proc, "stat")).split("\n")
        return float(next(line for line in lines if line.startswith("btime ")).split()[1])
    return None
