# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Slurm cluster of this host: its name, its jobs, and when its nodes were booted.

Slurm may be installed on a NAS that hangs, and with it all of this. Callers that have to end leave it to a child.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import shutil
import typing as t

from ..errors import CommandError, UvnasError
from .data import plain
from .files import read_bytes
from .process import Runner, SystemRunner

# Seconds for a command of Slurm.
TIMEOUT = 60.0
# Before what this process has in PATH, which need not be what an admin has.
_DIRECTORIES = ("/usr/bin", "/bin", "/usr/local/bin", "/opt/slurm/bin")
# Where Slurm is built to look, and where it keeps what a controller has sent ("configless").
_CONFIGURATIONS = (
    "/etc/slurm/slurm.conf",
    "/etc/slurm-llnl/slurm.conf",
    "/usr/local/etc/slurm.conf",
    "/opt/slurm/etc/slurm.conf",
    "/run/slurm/conf/slurm.conf",
    "/var/spool/slurmd/conf-cache/slurm.conf",
    "/var/spool/slurm/d/conf-cache/slurm.conf",
)
_CLUSTER_NAME = re.compile(r'^(?:[^#\n]*[ \t])?ClusterName[ \t]*=[ \t]*"?([^\s"#\\]+)', re.IGNORECASE | re.MULTILINE)
# All but the last are Slurm's own words. A user may come from a directory service, under any name.
_FIELDS = ("JobArrayID", "State", "SubmitTime", "RestartCnt", "UserName")
_SEPARATOR = "|"
_FINISHED = {
    "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY",
}  # fmt: skip
_LONGEST = 80
_NUMBERS = re.compile(r"[0-9.]+|.*:.*")


@dataclasses.dataclass(frozen=True)
class Job:
    """A job that waits or runs, or an array of them that wait."""

    id: str
    user: str
    state: str
    # ISO 8601, UTC; None where Slurm does not say.
    submitted: t.Optional[str]
    # It was requeued. That was the time of ``submitted`` then, and it still has the variables of its first submission.
    restarted: bool


def cluster() -> t.Optional[str]:
    """The name of this host's cluster, in lower case as Slurm has it; "" if it cannot be found out.

    None if there is no Slurm here.
    """
    given = os.environ.get("SLURM_CONF")
    there = [path for path in ([given] if given else _CONFIGURATIONS) if os.path.exists(path)]
    for path in there:
        try:
            found = _CLUSTER_NAME.findall(os.fsdecode(read_bytes(path) or b""))
        except (OSError, UvnasError):
            continue
        if found:  # As in Slurm, the last one counts.
            return plain(found[-1][:_LONGEST].lower())
    return "" if there or _program("squeue") else None


def jobs(before: t.Optional[str], *, timeout: float = TIMEOUT, runner: t.Optional[Runner] = None) -> list[Job]:
    """The jobs of this host's cluster that have not ended.

    With ``before``, a time with its zone, only those that may have been submitted before it: Slurm knows seconds only,
    not when a job was submitted that has been requeued since, and perhaps nothing. Raises UvnasError.
    """
    wanted = ",".join(f"{field}:{_SEPARATOR}" for field in _FIELDS)
    options = ["--local", "--all", "--noheader", "--states=all", f"--Format={wanted}"]
    found = [_job(line) for line in _run("squeue", options, timeout, runner).splitlines() if line.strip()]
    left = [job for job in found if not job.state or job.state.split()[0] not in _FINISHED]
    if before is None:
        return left
    limit = datetime.datetime.fromisoformat(before)
    return [
        job
        for job in left
        if job.restarted or job.submitted is None or datetime.datetime.fromisoformat(job.submitted) <= limit
    ]


def _job(line: str) -> Job:
    parts = line.split(_SEPARATOR, len(_FIELDS) - 1)
    if len(parts) < len(_FIELDS):
        raise UvnasError(f"squeue has answered what nobody asked for: {plain(line[:200])}")
    number, state, submitted, restarts, user = (part.strip() for part in parts)
    # squeue ends with a separator, and leaves a field empty that it does not know.
    user = user[: -len(_SEPARATOR)] if user.endswith(_SEPARATOR) else user
    number, user, state = (plain(text[:_LONGEST]) for text in (number, user, state))
    return Job(number, user, state, _time(submitted), restarts != "0")


def nodes(
    names: t.Collection[str], *, timeout: float = TIMEOUT, runner: t.Optional[Runner] = None
) -> dict[str, t.Optional[str]]:
    """When each of these hosts was booted: ISO 8601, UTC; None where Slurm does not say.

    Hosts that are no nodes of this cluster are missing. Of several nodes with one name, the one that was booted first
    counts. Raises UvnasError.
    """
    if not names:
        return {}
    options = ["--local", "--all", "--oneliner", "show", "node"]
    known: dict[str, list[t.Optional[str]]] = {}
    labels: dict[str, list[t.Optional[str]]] = {}
    for line in _run("scontrol", options, timeout, runner).splitlines():
        said: dict[str, str] = {}
        for word in line.split():
            key, _equals, value = word.partition("=")
            said.setdefault(key, value)  # People write what comes later, such as Reason.
        booted = _time(said.get("BootTime", ""))
        called = {said.get(key, "").lower() for key in ("NodeName", "NodeHostName", "NodeAddr")} - {""}
        for name in called:
            known.setdefault(name, []).append(booted)
        for label in {_label(name) for name in called}:
            labels.setdefault(label, []).append(booted)
    found: dict[str, t.Optional[str]] = {}
    for name in names:
        times = known.get(name.lower()) or labels.get(_label(name.lower())) or []
        if times:
            found[name] = None if None in times else min(time for time in times if time)
    return found


def _label(name: str) -> str:
    """The name of a host without its domain. Addresses have none."""
    return name if _NUMBERS.fullmatch(name) else name.partition(".")[0]


def _time(text: str) -> t.Optional[str]:
    """A time as Slurm writes it with _variables(). None for "Unknown", "N/A", "None" and the like."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=datetime.timezone.utc).isoformat(timespec="seconds")


def _path() -> str:
    mine = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*_DIRECTORIES, *(each for each in mine if os.path.isabs(each))]))


def _program(name: str) -> t.Optional[str]:
    return shutil.which(name, path=_path())


def _variables() -> dict[str, str]:
    """No others: people have SQUEUE_STATES, SLURM_CLUSTERS and time formats of their own."""
    mine = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    return {"PATH": _path(), "LC_ALL": "C", "TZ": "UTC", "SLURM_TIME_FORMAT": "standard", **mine}


def _run(name: str, options: t.Sequence[str], timeout: float, runner: t.Optional[Runner]) -> str:
    """What a command of Slurm says. Raises UvnasError with the last line of its complaints."""
    try:
        cmd = [_program(name) or name, *options]
        done = (runner or SystemRunner()).run(cmd, variables=_variables(), cwd="/", timeout=timeout)
        failed, said = (f"{name} has failed" if done.rc else ""), done.stderr
    except CommandError as error:
        failed, said = str(error), error.stderr
    if failed:
        last = [plain(line.strip()) for line in said.splitlines() if line.strip()][-1:]
        raise UvnasError(
            ": ".join([failed, *last]), hint="See that slurmctld runs, and that this host can reach it and may ask it."
        )
    return done.stdout
