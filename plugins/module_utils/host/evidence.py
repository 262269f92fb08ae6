# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the processes of this host mention: in their links, mappings, variables and command lines below /proc.

Links are read, and what they lead to is not looked at, so a NAS that hangs does not hang this. But the kernel answers
some questions about a process only once that has got something from its NAS, and a Python that says nothing else may
have a configuration to be read. So all of it is done by a child; where it gets no answer in time, it is given up, and
another one goes on with the next process.

Any user may start many processes that mention much. So there is a limit to what is read and said of each, and to how
long all of it takes. Beyond that, nobody knows what they use.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import os
import stat
import time
import typing as t

from ..errors import UvnasError
from .data import plain
from .proc import acting_as, owner_and_name, read
from .workers import Child, Result, call_as, readable

# Seconds for what the kernel says of one process.
PATIENCE = 5.0
# And for all processes together, as a multiple of that.
_PATIENCES = 60
# So often all are listed: one that has ended since may have left its work to one that was started since.
_TIMES = 5
_JOB = "SLURM_JOB_ID="
# Of a pyvenv.cfg.
_MOST_BYTES = 1 << 16
# Of a text of a process: a thousand mapped libraries take less than one MB.
_LONGEST = 1 << 24
# What is told of one process.
_MOST_FOUND = 50

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
    boot = booted(proc)
    end = time.monotonic() + _PATIENCES * patience
    found: list[Process] = []
    asked = {os.getpid()}
    for _time in range(_TIMES):
        pids = sorted({int(name) for name in os.listdir(proc) if name.isdecimal()} - asked)
        asked.update(pids)
        while pids:
            answered, stuck = _ask(pids, find, proc, boot, patience, end)
            found += answered
            if stuck is None:
                break
            pids = pids[pids.index(stuck) :]
            if time.monotonic() >= end:
                late = f"there was no time to look at it: others have taken {_PATIENCES * patience:g} s"
                found += [Process(pid, unread=late) for pid in pids]
                break
            found.append(Process(pids.pop(0), unread=f"the kernel has said nothing of it for {patience:g} s"))
    return [each for each in found if each.found or each.unread]


def _ask(
    pids: t.Sequence[int], find: Find, proc: str, boot: t.Optional[float], patience: float, end: float
) -> tuple[list[Process], t.Optional[int]]:
    """What a child says of these, in turn, and the one that it got no answer about; None if there is none.

    It is given up at the time ``end`` at the latest.
    """
    reader, writer = os.pipe()
    child = Child(functools.partial(_tell, pids, find, proc, boot, writer))
    os.close(writer)
    text = b""
    limit = time.monotonic() + patience
    while True:
        if not readable([reader], max(0.0, min(limit, end) - time.monotonic())):
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


def _tell(pids: t.Sequence[int], find: Find, proc: str, boot: t.Optional[float], writer: int) -> Result:
    """Write a line about each."""
    for pid in pids:
        said = _look(pid, find, os.path.join(proc, str(pid)), boot)
        line = json.dumps(dataclasses.asdict(said)).encode() + b"\n"
        while line:
            line = line[os.write(writer, line) :]
    os.close(writer)
    return {}


def _look(pid: int, find: Find, directory: str, boot: t.Optional[float]) -> Process:
    """One process. Of one that has ended meanwhile, nothing."""
    found: set[str] = set()
    uid, command, started, job, unread = None, "", None, "", ""
    try:
        uid, name = owner_and_name(directory)
        command = plain(name)
        started = _started(directory, boot)
        program = _program(directory)
        if program is None:
            thread = _thread(directory)
            return _look(pid, find, thread, boot) if thread is not None else Process(pid)
        found.update(find(program))
        for link in _links(directory):
            with contextlib.suppress(FileNotFoundError):
                found.update(find(os.readlink(os.path.join(directory, link))))
        mapped = set(find(read(os.path.join(directory, "maps"), _LONGEST)))
        found.update(mapped)
        for name in ("environ", "cmdline"):
            text = read(os.path.join(directory, name), _LONGEST)
            found.update(find(text))
            if name == "environ":
                job = next((each[len(_JOB) :] for each in text.split("\0") if each.startswith(_JOB)), "")
        if os.path.basename(program).startswith("python") and not mapped and not set(find(program)):
            found.update(_configured(find, directory, program))
        if len(found) > _MOST_FOUND:
            unread = f"it mentions more than {_MOST_FOUND} things that may be in use"
    except (FileNotFoundError, ProcessLookupError):
        return Process(pid)
    except PermissionError as error:
        if os.geteuid() != 0:  # Whoever is not root sees their own.
            return Process(pid)
        unread = str(error.strerror)
    except (OSError, UvnasError, ValueError, KeyError, IndexError) as error:
        unread = plain(str(getattr(error, "strerror", None) or error))
    return Process(pid, uid, command, started, plain(job[:40]), sorted(found)[:_MOST_FOUND], unread)


def _links(directory: str) -> list[str]:
    return ["cwd", *(f"fd/{name}" for name in os.listdir(os.path.join(directory, "fd")))]


def _program(directory: str) -> t.Optional[str]:
    """The path of its program; None for a thread of the kernel, which runs none, and for one that has ended."""
    try:
        return os.readlink(os.path.join(directory, "exe"))
    except FileNotFoundError:
        return None


def _thread(directory: str) -> t.Optional[str]:
    """The directory of another thread of a process whose first one has ended; None if there is none that lives."""
    tasks = os.path.join(directory, "task")
    threads = (os.path.join(tasks, name) for name in os.listdir(tasks))
    return next((thread for thread in threads if _program(thread) is not None), None)


def _configured(find: Find, directory: str, program: str) -> list[str]:
    """What the pyvenv.cfg of a Python mentions: in an environment of copies, nothing else names its interpreter."""
    # In its container, if it has one. (After a chroot, the path of the program begins with that of the new root.)
    inside = os.path.join(directory, "root")
    prefix = os.path.dirname(os.path.dirname(program)).removeprefix(os.readlink(inside).rstrip("/"))
    path = os.path.join(prefix, "pyvenv.cfg").lstrip("/")
    root = os.open(inside, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def look() -> Result:
        return {"found": sorted(find(_start_of(path, root)))}

    try:
        found: list[str] = look()["found"]
    except PermissionError:
        if os.geteuid() != 0:
            raise
        # Root may be squashed on the home where it is.
        found = call_as(acting_as(directory), look)["found"]
    finally:
        os.close(root)
    return found


def _start_of(path: str, root: int) -> str:
    """The first part of a file below ``root``; nothing if it is absent, or anything but a regular file."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, dir_fd=root)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            return ""
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.fsdecode(os.read(descriptor, _MOST_BYTES))
    finally:
        os.close(descriptor)


def _started(directory: str, boot: t.Optional[float]) -> t.Optional[float]:
    # After the name, which may contain anything, the 20th field is the start, in ticks after the boot (proc(5)).
    ticks = read(os.path.join(directory, "stat")).rpartition(")")[2].split()[19]
    return None if boot is None else boot + int(ticks) / os.sysconf("SC_CLK_TCK")


def booted(proc: str = "/proc") -> t.Optional[float]:
    """When the host was booted, in seconds since the epoch."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = read(os.path.join(proc, "stat")).split("\n")
        return float(next(line for line in lines if line.startswith("btime ")).split()[1])
    return None
