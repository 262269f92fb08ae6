# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has run on this host before, so that it need not be started again. Pure, but for ``recall`` and ``remember``.

An environment is remembered by a fingerprint of all that decides whether it runs here (see ``fingerprint``). Of a share
that is what is declared for it now; anything else is forgotten. With it is what was read of the share to find that out
(see ``share/sight``).
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from ..host import memory as host_memory
from ..host.checksum import of_data
from ..host.data import made_of
from ..share import sight
from ..share.manifest import Manifest
from ..share.sight import Read

# To be raised when verification tries more than it did.
FORMAT = 1

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Verified:
    """An environment that has run here."""

    fingerprint: str
    # For people who read the file.
    generation: str
    # ISO 8601, UTC.
    time: str


# By their names.
Environments = t.Mapping[str, Verified]


@dataclasses.dataclass(frozen=True)
class Memory:
    """What is remembered of one share."""

    environments: Environments = dataclasses.field(default_factory=dict)
    read: sight.Memory = dataclasses.field(default_factory=dict)


def fingerprint(
    share_id: str, manifest: Manifest, witness: t.Sequence[int], imports: t.Sequence[str], host: t.Mapping[str, t.Any]
) -> str:
    """A digest that is another one whenever the result may be.

    The manifest changes whenever a generation is built, even in the place of one with the same id; it has the digest of
    the interpreter. ``witness`` is the status of its file and of the generation's directory, in which a ``chmod -R``
    leaves a trace, even if another one undoes it. ``host`` is what is known of the host, and as whom it starts
    environments.
    """
    return of_data(
        {
            "share": share_id,
            "manifest": manifest.as_dict(),
            "witness": list(witness),
            "imports": list(imports),
            "host": dict(host),
        }
    )


def parse(data: t.Mapping[str, t.Any], root: str, now: datetime.datetime) -> t.Optional[Memory]:
    """What is remembered of the share at ``root``; None if ``data`` is about another one.

    Leaves out what is damaged, or from the future: nobody knows what time it was then.
    """
    if data.get("root") != root:
        return None
    if data.get("format") != FORMAT:
        return Memory()
    found = {name: entry for name, entry in _made(data.get("environments"), Verified) if _is_usable(entry, now)}
    return Memory(found, dict(_made(data.get("read"), Read)))


def as_data(memory: Memory, root: str) -> dict[str, t.Any]:
    """What ``parse`` reads. The root is there because a share may say of itself that it is another one."""
    return {"format": FORMAT, "root": root, **dataclasses.asdict(memory)}


def after(
    known: Environments, kept: t.Iterable[str], ran: t.Mapping[str, t.Sequence[str]], now: datetime.datetime
) -> dict[str, Verified]:
    """What to remember: the environments in ``kept``, as they were, and those that ``ran`` just now.

    The latter have their generation and fingerprint.
    """
    time = now.isoformat(timespec="seconds")
    found = {name: known[name] for name in kept if name in known}
    found.update({name: Verified(mark, generation, time) for name, (generation, mark) in ran.items()})
    return found


def recall(directory: str, root: str) -> dict[str, Memory]:
    """What this host remembers, in ``directory``, of shares that have been at ``root``, by their ids."""
    now = _now()
    found = {name: parse(data, root, now) for name, data in host_memory.read_all(directory).items()}
    return {name: known for name, known in found.items() if known is not None}


def remember(
    directory: str,
    root: str,
    share_id: str,
    declared: t.Container[str],
    *,
    kept: t.Sequence[str],
    ran: t.Mapping[str, t.Sequence[str]],
    read: t.Mapping[str, t.Any],
) -> None:
    """Remember what has run, and what was read, of the share at ``root``. Of others nothing changes, whatever it says.

    What ``read`` is not as it should be is left out.
    """
    with host_memory.alone(directory):
        # Another run may have found out more meanwhile.
        before = recall(directory, root)
        known = before.pop(share_id, Memory())
        started = {name: mark for name, mark in ran.items() if name in declared}
        wanted = Memory(after(known.environments, kept, started, _now()), dict(_made(read, Read)))
        if wanted != known:
            host_memory.write(directory, share_id, as_data(wanted, root))
        for former in before:
            host_memory.forget(directory, former)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


_Part = t.TypeVar("_Part")


def _made(data: t.Any, kind: type[_Part]) -> t.Iterator[tuple[str, _Part]]:
    """The parts of ``data`` that are what they should be, by their names."""
    for name, given in data.items() if isinstance(data, dict) else ():
        part = made_of(given, kind)
        if part is not None:
            yield name, part


def _is_usable(entry: Verified, now: datetime.datetime) -> bool:
    try:
        time = datetime.datetime.fromisoformat(entry.time)
    except ValueError:
        return False
    return time.tzinfo is not None and time <= now and _FINGERPRINT.fullmatch(entry.fingerprint) is not None
