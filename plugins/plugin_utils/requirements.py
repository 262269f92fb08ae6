# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of requirements and constraints, as pip and uv know them, turned into texts that stand for themselves.

A file may include others. What cannot be used is a problem, reported by file and line.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import typing as t

from ..module_utils.env.requirement import objection, shown, split, without_comment
from ..module_utils.errors import SpecError
from .foreign import advice
from .texts import read

# What a file may hold besides requirements.
_INCLUDE = re.compile(r"(?P<word>-r|--requirement|-c|--constraint)(?=[\s=]|(?<=^-[rc]))[ =]?\s*(?P<file>.+)\Z")
_COMMENT = re.compile(r"(^|\s)#.*")
# How many problems of one file are reported: in a file of another kind, each line is wrong.
_MOST = 5


class Reader:
    """Reads what one environment is declared with. Adds what is wrong to ``problems``, a line each."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        # Constraints that requirements files include.
        self.constraints: list[tuple[str, str]] = []

    def inline(self, key: str, given: t.Iterable[str] | None) -> list[tuple[str, str]]:
        """What the inventory itself has under ``key``: as a file, if there is anything."""
        lines = [_checked(line, key, key, self.problems) for line in given or ()]
        return [(f"{key.replace('_', '-')}.in", "".join(f"{line}\n" for line in lines))] if lines else []

    def file(self, path: str, key: str) -> tuple[str, str]:
        """A file with everything it includes. ``key`` is what it is for: requirements, constraints, …"""
        return name_of(path), "".join(f"{line}\n" for line in self._lines(path, key, "", ()))

    def check(self) -> None:
        """Raise SpecError if anything is wrong."""
        if self.problems:
            raise SpecError("\n".join(self.problems))

    def _lines(self, path: str, key: str, by: str, including: tuple[str, ...]) -> list[str]:
        path = os.path.normpath(path)  # So that a cycle through "../" shows.
        if path in including:
            self.problems.append(f"{by}{path} includes itself")
            return []
        try:
            text = read(path)
        except SpecError as error:
            self.problems.append(f"{by}{error}")
            return []
        foreign = advice(path, text, key)
        if foreign:
            self.problems.append(f"{by}{path} {foreign}")
            return []
        found, wrong = [], _FileProblems(path)
        for number, line in logical_lines(text):
            where = f"{path}:{number}"
            include = _INCLUDE.match(line)
            if not include:
                found.append(_checked(line, where, key, wrong.problems))
                continue
            try:
                nested = os.path.join(os.path.dirname(path), _included(include["file"]))
            except SpecError as error:
                wrong.problems.append(f"{where}: {error}")
                continue
            of_constraints = include["word"].startswith(("-c", "--c"))
            if not of_constraints or key == "constraints":
                found += self._lines(nested, key, f"{where}: ", (*including, path))
            elif key == "requirements":
                lines = self._lines(nested, "constraints", f"{where}: ", (*including, path))
                self.constraints.append((name_of(nested), "".join(f"{each}\n" for each in lines)))
            else:
                wrong.problems.append(f"{where}: {include['word']} cannot be used here; name it in constraints_files")
        self.problems += wrong.reported()
        return found


class _FileProblems:
    """The problems of one file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.problems: list[str] = []

    def reported(self) -> list[str]:
        more = len(self.problems) - _MOST
        return self.problems[:_MOST] + ([f"{self.path}: {more} more lines cannot be used"] if more > 0 else [])


def logical_lines(text: str) -> t.Iterator[tuple[int, str]]:
    """The lines of a requirements file that mean something, continued ones joined, with the number of the first.

    A comment ends with its line, for uv too, even if that ends with a backslash.
    """
    first, parts = 0, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        code = _COMMENT.sub("", line)
        continued = code.endswith("\\")
        first = first or number
        parts.append(code[:-1] if continued else code)
        if not continued:
            yield from _whole(first, parts)
            first, parts = 0, []
    yield from _whole(first, parts)


def _whole(number: int, parts: t.Sequence[str]) -> t.Iterator[tuple[int, str]]:
    """A line and what continues it, if they mean something. An indented line stands for itself."""
    line = re.sub(r"[ \t]+", " ", "".join(parts)).strip()
    if line:
        yield number, line


def name_of(path: str) -> str:
    """The name that uv gets for a text read from ``path``. Under some others it would not take it for requirements."""
    name = os.path.basename(path).lstrip("-")
    return name if name.endswith((".txt", ".in")) else f"{name}.in"


def check_line(line: str, path: str) -> str:
    """``line`` of the file ``path``, if it is a requirement. Raises SpecError."""
    problems: list[str] = []
    _checked(line, path, "requirements", problems)
    if problems:
        raise SpecError(problems[0])
    return line


def _checked(line: str, where: str, key: str, problems: list[str]) -> str:
    wrong = _wrong(line, key)
    if wrong:
        problems.append(f"{where}: {wrong}")
    return line


@functools.lru_cache(maxsize=20_000)
def _wrong(line: str, key: str) -> str | None:
    """What is wrong with a line; None if it is a requirement. Environments of one inventory have many in common."""
    return objection(line, key) or _invalid(split(without_comment(line))[0])


def _invalid(requirement: str) -> str | None:
    """What is wrong with a requirement under PEP 508."""
    if "://" in requirement.partition("@")[0]:  # An address alone: pip and uv know it, the standard does not.
        return None
    from packaging import requirements  # ansible-core needs it, but ansible-test imports plugins without.

    try:
        requirements.Requirement(requirement)
    except requirements.InvalidRequirement as error:
        return f"{shown(requirement)} is not a requirement; {_meant(requirement) or _said(str(error))}"
    return None


def _said(error: str) -> str:
    said = error.split("\n", maxsplit=1)[0].rstrip(".")
    if "marker" in said:
        return f"its marker cannot be read; write one such as sys_platform == 'linux' ({said[:1].lower()}{said[1:]})"
    return f'write one such as numpy, "numpy>=2,<3" or numpy==2.0 ({said[:1].lower()}{said[1:]})'


_OPERATOR = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?P<operator>=>|=<|[=<>~!]=|[=<>])\s*(?P<version>.*)\Z")


def _meant(requirement: str) -> str:
    """What was probably meant by something that is not a requirement; empty if nobody knows."""
    if len(requirement) > 100:  # Nobody meant that.
        return ""
    match = re.fullmatch(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s+v?(?P<version>[0-9][A-Za-z0-9.]*)", requirement)
    if match:
        return f"did you mean {match['name']}=={match['version']}?"
    match = _OPERATOR.match(requirement.partition(";")[0].strip())
    if match is None:
        return ""
    name, operator, version = match["name"], match["operator"], match["version"]
    if not version:
        return f"a version is missing after {operator}"
    if operator == "=":
        return f"did you mean {name}=={version.partition('=')[0].strip()}? (a single = is conda's)"
    if operator in ("=>", "=<"):
        return f"did you mean {name}{operator[::-1]}{version}?"
    return ""


def _included(text: str) -> str:
    """The file name after ``-r`` or ``-c``, with quotes and backslashes as pip reads them."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text.strip("\"'")):
        raise SpecError(f"{shown(text)} is not a file on the controller; download it, and include the file")
    if "${" in text:
        raise SpecError(f"{shown(text)} names a variable, which is not expanded; write the name out")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SpecError(f"{shown(text)} is not a file name: {str(error).lower()}") from None
    if len(words) != 1 or not words[0]:
        raise SpecError(f'{shown(text)} is not one file name; quote a name with spaces: -r "my file.txt"')
    return words[0]


# What tools write into hashed requirements files that does not belong in a lock, and how to leave it out.
_WITHOUT = {
    ("-i", "--index-url", "--extra-index-url"): "remove the line (pip-compile --no-emit-index-url leaves it out)",
    ("-f", "--find-links"): "remove the line (pip-compile --no-emit-find-links leaves it out)",
    ("--trusted-host",): "remove the line (pip-compile --no-emit-trusted-host leaves it out)",
    ("--no-index", "--pre", "--only-binary", "--no-binary", "--prefer-binary", "--require-hashes"): (
        "remove the line (pip-compile --no-emit-options leaves it out)"
    ),
    ("--hash",): "it belongs to the package before it; end the line before it with a backslash",
    ("-r", "--requirement", "-c", "--constraint"): "a lock is complete in itself; compile one from the two files",
}
_LEAVING_OUT = {name: advice for names, advice in _WITHOUT.items() for name in names}
_OWN_CODE = (
    "export without it: uv export --no-emit-project --no-emit-workspace (or --no-emit-local for everything local)"
)


def check_ready_lock(text: str, path: str) -> None:
    """Raise SpecError if a file is not a lock that somebody made, with what to do about what people often have there.

    Whatever passes is for the parser to judge.
    """
    foreign = advice(path, text, "lock")
    if foreign:
        raise SpecError(f"{path} {foreign}")
    wrong, entries = _FileProblems(path), 0
    for number, line in logical_lines(text):
        entries += 1
        option = re.match(r"--?[A-Za-z][\w-]*", line)
        if (option and option[0] in ("-e", "--editable")) or re.match(r"[./]", line):
            wrong.problems.append(f"{path}:{number}: {shown(line)} is local; {_OWN_CODE}")
        elif option:
            known = _LEAVING_OUT.get(option[0]) or _LEAVING_OUT.get(option[0][:2], "remove the line")
            wrong.problems.append(f"{path}:{number}: {option[0]} has no place in a lock; {known}")
        elif "://" in line or " @ " in line:
            objected = objection(line, "lock")
            wrong.problems += [f"{path}:{number}: {objected}"] if objected else []
    if not entries:
        wrong.problems.append(f"{path} has no packages; for an environment without any, declare requirements: []")
    if wrong.problems:
        raise SpecError("\n".join(wrong.reported()))
