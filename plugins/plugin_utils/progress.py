# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module says of its work, shown while it works.

A thread reads what the module writes, see module_utils/host/progress.py, over a connection of its own with the settings
of the task's: a connection is not made for two who use it at once. Whatever goes wrong there ends the progress and
nothing else. Nothing waits for the thread: it is a daemon, and when the task is over it does not print any more.

What comes from the host is taken for stages of names, and for one line beside each, in which nothing is but text.
"""

from __future__ import annotations

import collections
import copy
import json
import os
import re
import shlex
import threading
import time
import typing as t

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader
from ansible.utils.display import Display

from ..module_utils.host.progress import BUSY, ENDS, SAYS, WAITING, seconds

# All in seconds. What is done sooner takes no second connection; that should be whatever has nothing to do, even where
# it takes a while to bring the module to its host.
DELAY = 4.0
# There is a line at least this often, less what it takes to read.
BEAT = 8.0
# How long a command on the host waits for news; and how long to wait before the next one when it found none.
_READING = 4
_PAUSE = 0.3
# How long to wait after a command that found no file: the module may not have begun, or has ended.
_LATER = 2.0
# How long the end of a task waits for the thread.
_LEAVE = 0.5
# Errors in a row that are the end of it.
_ERRORS = 3
# Bytes at once, and characters of what is beside a stage.
_CHUNK = 1 << 16
_MOST = 300
# How many things that are at work a line names.
_SHOWN = 5

# An environment, or uv's key of an interpreter.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_UNPRINTABLE = re.compile(r"[^ -~\u00a1-\u024f\u2010-\u2027]+")
# Callbacks on standard output whose readers are programs, or that print nothing at all.
_MACHINES = frozenset({"junit", "null"})


def is_for_machines(callback: str) -> bool:
    """Whether lines of text would break what this callback prints."""
    name = callback.rpartition(".")[2].lower()
    return "json" in name or name in _MACHINES


class Event(t.NamedTuple):
    of: str
    stage: str
    more: str

    @classmethod
    def parse(cls, line: str) -> Event | None:
        """The event in a line; None where there is none that a module would write."""
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(data, dict):
            return None
        of, stage, more = (data.get(key) for key in ("of", "stage", "more"))
        if not (isinstance(of, str) and isinstance(stage, str) and isinstance(more, str) and _NAME.fullmatch(of)):
            return None
        if stage not in BUSY and stage not in ENDS and stage != SAYS:
            return None
        return cls(of, stage, _UNPRINTABLE.sub(" ", more[:_MOST]).strip())


class Story:
    """What has been said so far, as lines for people."""

    def __init__(self, share: str, now: t.Callable[[], float] = time.monotonic) -> None:
        self._share, self._now = share, now
        # What is at work: its stage, since when, and what was said of it last.
        self._busy: dict[str, tuple[str, float, str]] = {}
        self._last = now()
        # How many events were told that are no words of tools.
        self.stages = 0

    def lines(self, events: t.Iterable[Event]) -> list[str]:
        """What to print of events."""
        found = []
        for of, stage, more in events:
            if stage == SAYS:
                if of in self._busy:
                    self._busy[of] = (*self._busy[of][:2], more)
                continue
            self.stages += 1
            if stage in BUSY:
                self._busy[of] = (stage, self._now(), "")
            else:
                self._busy.pop(of, None)
            found.append(f"{self._share}: {of}: {stage}{f', {more}' if more else ''}")
        if found:
            self._last = self._now()
        return found

    def silence(self) -> float:
        """Seconds since there was a line."""
        return self._now() - self._last

    def still(self) -> str:
        """What is still at work; empty where nothing is."""
        self._last = self._now()
        stages = collections.defaultdict(list)
        for of, (stage, since, said) in sorted(self._busy.items(), key=lambda item: item[1][1]):
            time_taken = seconds(float(int(self._now() - since)))
            stages[stage].append(f"{of} ({time_taken.replace('.0', '')}{f': {said}' if said else ''})")
        parts = []
        for stage, things in stages.items():
            more = f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
            verb = "waiting for" if stage == WAITING else stage
            parts.append(f"{verb} {', '.join(things[:_SHOWN])}{more}")
        return f"{self._share}: still {'; '.join(parts)}" if parts else ""


class Reader:
    """Reads a file on the host, from where it has read so far, over a connection like that of an action."""

    def __init__(self, action: ActionBase, path: str) -> None:
        self._action, self._path = action, path
        self._other: ActionBase | None = None
        self._read = 0

    def events(self, wait: float) -> list[Event] | None:
        """What is new, as soon as there is something, or after ``wait`` seconds; None where there is no file."""
        if self._other is None:
            self._other = beside(self._action)
        marks = [f"{kind}-{os.urandom(8).hex()}" for kind in ("BEGIN", "END")]
        command = reading(self._path, self._read, max(1, min(round(wait), _READING)), *marks)
        done = self._other._low_level_execute_command(command, sudoable=True)
        # A terminal of the host has carriage returns, and what else is said there.
        text = str(done["stdout"]).replace("\r\n", "\n")
        _before, begun, rest = text.rpartition(f"{marks[0]}\n")
        found, ended, _after = rest.partition(marks[1])
        if not (begun and ended):
            return None
        found = found[: found.rfind("\n") + 1]
        self._read += len(found.encode())
        return [event for event in map(Event.parse, found.splitlines()) if event is not None]


def reading(path: str, read: int, wait: int, begin: str, end: str) -> str:
    """A command for sh that prints what is in a file after ``read`` bytes, between two marks, once there is more.

    What is to be read is small, so that it is said when it ends.
    """
    name = shlex.quote(os.path.basename(path))
    return (
        f"{_entering(path)} && [ -f {name} ] && [ ! -L {name} ] && {{ n=0; "
        f'while [ "$n" -lt {wait * 2} ] && [ -f {name} ] && [ "$(wc -c < {name})" -le {read} ]; '
        "do n=$((n+1)); sleep 0.5 2>/dev/null || { sleep 1; n=$((n+1)); }; done; "
        f"echo {begin}; tail -c +{read + 1} {name} 2>/dev/null | head -c {_CHUNK}; echo {end}; }}"
    )


def tidying(path: str) -> str:
    """A command for sh that removes a file that a module left, and its directory."""
    directory, name = (shlex.quote(part) for part in os.path.split(path))
    return f"{{ {_entering(path)} && rm -f {name} && cd .. && rmdir {directory}; }} 2>/dev/null || :"


def _entering(path: str) -> str:
    """A command for sh that goes to the directory of a file, if it is one that a module has made there.

    Others can see its name in the list of processes, and may have been faster. So it has to be the user's own, and
    where it is said to be: a symlink could lead to another one of the user's.
    """
    directory = os.path.dirname(path)
    above, name = (shlex.quote(part) for part in os.path.split(directory))
    there = f'cd {above} && a="$(pwd -P)" && cd ./{name} && [ "$(pwd -P)" = "${{a%/}}"/{name} ] && [ -O . ]'
    return f"{{ {there}; }} 2>/dev/null"


def beside(action: ActionBase) -> ActionBase:
    """A copy of an action whose connection is another one with the same settings, not yet connected."""
    known = action._connection
    context = action._play_context.copy()
    connection = connection_loader.get(
        known._load_name, context, task_uuid=action._task._uuid, ansible_playbook_pid=str(os.getppid())
    )
    if connection is None:
        raise LookupError(known._load_name)
    _take_settings(connection, known)
    _take_settings(connection._shell, known._shell)
    if known.become is not None:
        become = copy.copy(known.become)
        _take_settings(become, known.become)
        connection.set_become_plugin(become)
    context.set_attributes_from_plugin(connection)
    other = copy.copy(action)
    other._connection, other._play_context = connection, context
    return other


def _take_settings(plugin: t.Any, known: t.Any) -> None:
    for name in ("_options", "_origins"):
        if hasattr(known, name):
            setattr(plugin, name, dict(getattr(known, name)))


class Watch:
    """Shows what a module says while the block runs. ``path`` is where it has to say it; None: nobody listens."""

    def __init__(self, action: ActionBase, share: str, *, wanted: bool = True) -> None:
        self._action = action
        self.path = f"/tmp/uvnas-progress-{os.urandom(16).hex()}/events" if wanted and _can_be_seen(action) else None
        self._story = Story(share)
        # Held to print, and to end that: this process may end while another thread prints, and would leave the queue
        # to the main process locked for all others.
        self._printing = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> t.Self:
        if self.path is not None:
            self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._over.is_set():
            return
        with self._printing:
            self._over.set()
        if self._thread is not None:
            self._thread.join(_LEAVE)

    def ended(self, result: dict[str, t.Any]) -> None:
        """Show what the result of the module has, and nobody has read. A module that was killed has left a file."""
        stages = result.pop("progress", None)
        if self.path is None:
            return
        self.__exit__()
        if not isinstance(stages, list):
            self._tidy()
            return
        events = [event for event in map(Event.parse, (line for line in stages if isinstance(line, str))) if event]
        for line in self._story.lines(events[self._story.stages :]):
            Display().display(line)

    def _tidy(self) -> None:
        try:
            self._action._low_level_execute_command(tidying(self.path or ""), sudoable=True)
        except Exception:  # noqa: BLE001  # pylint: disable=broad-except  # What killed the module may be why.
            return

    def _show(self, events: t.Iterable[Event]) -> None:
        """Show what is new, or what is still at work. What is read too late counts as unread: see ended()."""
        with self._printing:
            if self._over.is_set():
                return
            lines = self._story.lines(events)
            if self._story.silence() >= BEAT - 1:
                lines = [line for line in [self._story.still()] if line]
            for line in lines:
                Display().display(line)

    def _watch(self) -> None:
        """All that the thread does. Nothing that is wrong in here is the task's concern, and nobody hears of it."""
        errors = 0
        reader = Reader(self._action, self.path or "")
        pause = DELAY
        while not self._over.wait(pause):
            try:
                events = reader.events(BEAT - self._story.silence())
                self._show(events or ())
            except Exception:  # noqa: BLE001  # pylint: disable=broad-except
                errors += 1
                if errors == _ERRORS:
                    return
                pause = _LATER
            else:
                errors = 0
                pause = _LATER if events is None else _PAUSE


def _can_be_seen(action: ActionBase) -> bool:
    """Whether anybody may and will read lines of this task, and they harm nobody who reads something else."""
    task = action._task
    callback = constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK")
    return not (task.async_val or task.no_log or is_for_machines(str(callback)))
