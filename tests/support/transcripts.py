# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a page shows of terminals, to be typed again: commands, and what they say.

A block whose first prompt is ``$`` is a new login; one whose first prompt is ``(train) $`` goes on where the one before
it ended. Commands without an output shown have to succeed. In outputs, ``…`` stands for anything in a line, or,
alone in one, for any number of lines.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import textwrap
import typing as t
from pathlib import Path

_PROMPT = re.compile(r"(?:\((?P<env>[^)]+)\) )?\$ (?P<command>.+)")
# Before and after each command, on a line of their own: which environment is activated, how the command ended.
_BEFORE, _AFTER = "\x01", "\x02"


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of a page."""

    line: int
    # The environment that its prompt says is activated.
    env: str
    text: str
    output: tuple[str, ...]

    def fits(self, said: str) -> bool:
        """Whether it may have said that."""
        lines = ["(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in self.output]
        return re.fullmatch("".join(lines), re.sub(r"[ \t]+\n", "\n", said)) is not None


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """The blocks of a page (reStructuredText) in a language, with the numbers of their lines."""
    found = re.finditer(rf"code-block:: {language}\n\n((?:(?: .*)?\n)+)", text)
    return [(text.count("\n", 0, match.start(1)) + 1, textwrap.dedent(match[1]).strip("\n")) for match in found]


def sessions(text: str) -> list[list[Command]]:
    """The logins that a page shows."""
    found: list[list[Command]] = []
    for line, block in blocks(text, "console"):
        shown: list[tuple[int, re.Match[str], list[str]]] = []
        for number, content in enumerate(block.split("\n"), line):
            prompt = _PROMPT.fullmatch(content)
            if prompt:
                shown.append((number, prompt, []))
            else:
                shown[-1][2].append(content)
        commands = [
            Command(number, prompt["env"] or "", prompt["command"], tuple(output)) for number, prompt, output in shown
        ]
        if commands[0].env:
            found[-1].extend(commands)
        else:
            found.append(commands)
    return found


def type_in(
    session: t.Sequence[Command], script: Path, login: t.Callable[[Path], subprocess.CompletedProcess[str]]
) -> list[str]:
    """Type a session, by ``login``, which runs a script with both outputs in one; what is not as the page has it."""
    lines = []
    for command in session:
        lines.append(f"printf '\\n{_BEFORE}%s\\n' \"${{VIRTUAL_ENV_PROMPT:-}}\"")
        lines.append(command.text)
        lines.append(f"printf '\\n{_AFTER}%s\\n' \"$?\"")
    script.write_text("\n".join([*lines, ""]), encoding="utf-8")
    done = login(script)
    said = re.findall(rf"\n{_BEFORE}(.*)\n([^{_AFTER}]*)\n{_AFTER}(\d+)\n", done.stdout)
    assert len(said) == len(session), done.stdout
    problems = []
    for command, (env, output, status) in zip(session, said, strict=True):
        about = f"line {command.line}: {command.text}\n{output}"
        if env.strip("() ") != command.env:
            problems.append(f"activated is {env!r}, not as its prompt says: {about}")
        if command.output and not command.fits(output):
            problems.append(f"it said something else: {about}")
        if status != "0" and not command.output:
            problems.append(f"it failed ({status}): {about}")
    return problems


# What runs, people and times differ in.
_VARIES = {
    "…": ".*",
    "[0-9a-f]{12}": "[0-9a-f]{12}",
    r"2026-\d\d-\d\d \d\d:\d\d UTC": r"\d{4}-\d\d-\d\d \d\d:\d\d UTC",
    "alice on ctl1": r"\S+ on \S+",
    "/mnt/nas-a/uv, seen by dev1": r"\S+, seen by builder",
    r"Python 3\.13\.0": r"Python \d+\.\d+\.\d+",
    r"pid \d+": r"pid \d+",
    r"\(python, alice\)": r"\(python[0-9.]*, \S+\)",
    r"[0-9,]+ files, [0-9.]+ [kMG]B read in [0-9.]+ s": r"[0-9,]+ files, [0-9.]+ [kMG]B read in [0-9.]+ s",
    r"\d+ others": r"\d+ others",
    r"[0-9.]+ [kMG]B, [0-9]+ inodes would": r"[0-9.]+ [kMG]B, [0-9]+ inodes would",
    r"[0-9.]+ [kMG]B, [0-9]+ inodes came": r".* came",  # As the filesystem sees it, which others use, too.
}


def fits(shown: t.Sequence[str], said: str) -> bool:
    """Whether a run may have said what is ``shown`` of one."""
    return (
        re.fullmatch("".join("(?:.*\n)*" if line == "…" else f"{_pattern(line)}\n" for line in shown), said) is not None
    )


def _pattern(line: str) -> str:
    for part in re.split("(" + "|".join(_VARIES) + ")", line)[1::2]:
        before, _part, after = line.partition(part)
        by = next(by for what, by in _VARIES.items() if re.fullmatch(what, part))
        return re.escape(before) + by + _pattern(after)
    return re.escape(line)
