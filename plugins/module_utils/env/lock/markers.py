# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment markers (PEP 508, and those of PEP 751), decided as far as an interpreter is known.

On the builder everything is known. On the controller it is what an inventory says: CPython on Linux, of a version or a
series. So a variable may have several possible values, and a marker is decided if all of them agree. What is left can
be written as a marker again.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import typing as t

from ...errors import UvnasError
from ...host.process import Runner, check
from ...uv.wheel import normalize

# The possible values of each known variable; of extras and dependency_groups, which are sets, the one value.
Values = t.Mapping[str, t.Collection[str]]

_SETS = ("extras", "dependency_groups")
_VERSIONS = ("python_version", "python_full_version", "implementation_version")
_VARIABLES = (
    *_SETS, *_VERSIONS, "os_name", "sys_platform", "platform_machine", "platform_python_implementation",
    "platform_release", "platform_system", "platform_version", "implementation_name", "extra",
)  # fmt: skip
# The names of PEP 345.
_OLD_NAMES = {
    "os.name": "os_name",
    "platform.machine": "platform_machine",
    "platform.python_implementation": "platform_python_implementation",
    "platform.version": "platform_version",
    "python_implementation": "platform_python_implementation",
    "sys.platform": "sys_platform",
}
_TOKEN = re.compile(
    r"""\s*(?:(?P<punctuation>[()])|(?P<op>===|==|!=|<=|>=|~=|<|>|not\s+in\b|in\b)"""
    r"""|"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<word>[A-Za-z_][A-Za-z0-9_.]*))"""
)
_VERSION = re.compile(
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[._-]?(?P<pre>a|b|c|rc|alpha|beta|pre|preview)[._-]?(?P<pre_number>\d*))?"
    r"(?P<post>(?:[._-]?(?:post|rev|r)[._-]?|-)(?P<post_number>\d*))?"
    r"(?P<dev>[._-]?dev[._-]?(?P<dev_number>\d*))?(?:\+[a-z0-9._-]+)?\Z",
    re.IGNORECASE,
)
_SPECIFIER = re.compile(r"\s*(===|==|!=|<=|>=|~=|<|>)\s*([^\s,]+)\s*\Z")
# More patch releases than any series of CPython ever had.
_PATCHES = 60
# Nobody nests this deep, and each level takes its part of the stack.
_DEEPEST = 100
# How much of a text an error shows.
_SHOWN = 300
# What the interpreter says about itself, in the terms of PEP 508.
_ASK = """\
import json, os, platform, sys
print(json.dumps({
    "implementation_name": sys.implementation.name,
    "implementation_version": platform.python_version(),
    "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(),
    "platform_release": platform.release(),
    "platform_system": platform.system(),
    "platform_version": platform.version(),
    "python_full_version": platform.python_version(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
}))
"""


@dataclasses.dataclass(frozen=True)
class Compared:
    """``left op right``, unquoted; a variable is one of ``_VARIABLES``."""

    left: str
    op: str
    right: str
    # Whether the variable is on the left.
    variable_first: bool

    def __str__(self) -> str:
        left, right = (self.left, _quoted(self.right)) if self.variable_first else (_quoted(self.left), self.right)
        return f"{left} {self.op} {right}"


@dataclasses.dataclass(frozen=True)
class Joined:
    """Several markers joined by ``and`` or ``or``; without any, what always holds or never does."""

    op: str
    parts: tuple[Marker, ...] = ()

    def __str__(self) -> str:
        shown = [f"({part})" if isinstance(part, Joined) else str(part) for part in self.parts]
        return f" {self.op} ".join(shown)


Marker = t.Union[Compared, Joined]
ALWAYS, NEVER = Joined("and"), Joined("or")


def parse(text: str) -> Marker:
    """The marker in ``text``. Raises UvnasError if it is not one."""
    tokens, position = [], 0
    if text.count("(") > _DEEPEST:
        raise _wrong(text)
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise _wrong(text)
        kind = match.lastgroup or ""
        tokens.append(("text" if kind in ("double", "single") else kind, match[kind]))
        position = match.end()
    reader = _Reader(text, tokens)
    marker = reader.joined("or")
    if reader.tokens:
        raise _wrong(text)
    return marker


def of_specifiers(text: str, what: str) -> Marker:
    """``requires-python`` as a marker. Raises UvnasError, which begins with ``what``: whose it is."""
    parts = []
    for specifier in filter(str.strip, text.split(",")):
        match = _SPECIFIER.match(specifier)
        if match is None or not _VERSION.match(match[2][:-2] if match[2].endswith(".*") else match[2]):
            raise UvnasError(f"{what} for Python {text!r} (requires-python), which is not a list of versions")
        parts.append(Compared("python_full_version", match[1], match[2], variable_first=True))
    return Joined("and", tuple(parts)) if parts else ALWAYS


def simplified(marker: Marker, values: Values) -> Marker:
    """What is left of a marker with these values: ALWAYS, NEVER, or what depends on others. Raises UvnasError."""
    if isinstance(marker, Compared):
        found = _compared(marker, values)
        return marker if found is None else ALWAYS if found else NEVER
    decisive, neutral = (NEVER, ALWAYS) if marker.op == "and" else (ALWAYS, NEVER)
    parts = [part for part in (simplified(part, values) for part in marker.parts) if part != neutral]
    if decisive in parts:
        return decisive
    if not parts:
        return neutral
    return parts[0] if len(parts) == 1 else Joined(marker.op, tuple(parts))


def holds(text: str, values: Values) -> t.Optional[bool]:
    """Whether a marker holds (as an empty one does); None if that depends on what is unknown. Raises UvnasError."""
    left = simplified(parse(text), values) if text.strip() else ALWAYS
    return None if left not in (ALWAYS, NEVER) else left == ALWAYS


def declared(python: str) -> Values:
    """What the controller knows of the interpreter that an environment declares as ``python``."""
    version = python.rstrip("t")
    full = (version,) if version.count(".") > 1 else tuple(f"{version}.{patch}" for patch in range(_PATCHES))
    return {
        "implementation_name": ("cpython",),
        "implementation_version": full,
        "os_name": ("posix",),
        "platform_python_implementation": ("CPython",),
        "platform_system": ("Linux",),
        "python_full_version": full,
        "python_version": (".".join(version.split(".")[:2]),),
        "sys_platform": ("linux",),
    }


def ask(runner: Runner, interpreter: str) -> Values:
    """What the executable ``interpreter`` says about itself. Raises CommandError."""
    command = [interpreter, "-I", "-S", "-B", "-c", _ASK]
    done = check(runner.run(command, variables={"LC_ALL": "C"}), command[:1], f"cannot run {interpreter}")
    return {**{name: (value,) for name, value in json.loads(done.stdout).items()}, "extra": ("",)}


class Interpreter:
    """An interpreter, asked about itself on demand."""

    def __init__(self, runner: Runner, executable: str) -> None:
        self._runner, self._executable = runner, executable

    @functools.cached_property
    def _values(self) -> Values:
        return ask(self._runner, self._executable)

    def fulfils(self, marker: str) -> bool:
        """Whether a marker holds for it. Raises UvnasError for one that depends on more, such as extras."""
        if not marker:
            return True
        found = holds(marker, self._values)
        if found is None:
            raise UvnasError(f"{marker!r} depends on more than the interpreter")
        return found


class _Reader:
    """The part of a marker that is not read yet."""

    def __init__(self, text: str, tokens: list[tuple[str, str]]) -> None:
        self.text, self.tokens = text, tokens

    def joined(self, op: str) -> Marker:
        """Markers with ``or`` between them, or those of one of these, with ``and``."""
        parts = [self._part(op)]
        while self.tokens[:1] == [("word", op)]:
            del self.tokens[0]
            parts.append(self._part(op))
        return parts[0] if len(parts) == 1 else Joined(op, tuple(parts))

    def _part(self, op: str) -> Marker:
        if op == "or":
            return self.joined("and")
        if self.tokens[:1] != [("punctuation", "(")]:
            return self._compared()
        del self.tokens[0]
        marker = self.joined("or")
        if self.tokens[:1] != [("punctuation", ")")]:
            raise _wrong(self.text)
        del self.tokens[0]
        return marker

    def _compared(self) -> Marker:
        (left, one), (kind, op), (right, other) = [*self.tokens[:3], *[("", "")] * 3][:3]
        del self.tokens[:3]
        first = left == "word"
        variable = one if first else other
        variable = _OLD_NAMES.get(variable, variable)
        if kind != "op" or {left, right} != {"word", "text"} or variable not in _VARIABLES:
            raise _wrong(self.text)
        op = " ".join(op.split())
        if variable in _SETS and (first or op not in ("in", "not in")):
            raise _wrong(self.text)
        return Compared(variable, op, other, True) if first else Compared(one, op, variable, False)


def _wrong(text: str) -> UvnasError:
    return UvnasError(f"{text if len(text) <= _SHOWN else f'{text[: _SHOWN - 3]}...'!r} is not an environment marker")


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def _compared(marker: Compared, values: Values) -> t.Optional[bool]:
    variable, text = (marker.left, marker.right) if marker.variable_first else (marker.right, marker.left)
    if variable not in values:
        return None
    if variable in _SETS:
        return (normalize(text) in {normalize(each) for each in values[variable]}) == (marker.op == "in")
    found = {
        _true(*((value, text) if marker.variable_first else (text, value)), marker.op, variable)
        for value in values[variable]
    }
    return found.pop() if len(found) == 1 else None


def _true(left: str, right: str, op: str, variable: str) -> bool:
    if variable == "extra":
        left, right = normalize(left) if left else left, normalize(right) if right else right
    if op in ("in", "not in"):
        return (left in right) == (op == "in")
    if variable in _VERSIONS:
        try:
            return _version_true(left, right, op)
        except ValueError:
            pass  # Then they compare as strings.
    if op in ("<", "<=", ">", ">=", "~="):
        # As packaging does now: strings can only be equal.
        return op in ("<=", ">=") and left == right
    return (left != right) if op == "!=" else (left == right)


def _version_true(left: str, right: str, op: str) -> bool:
    """Whether two versions compare so, by PEP 440. Raises ValueError if one is not a version."""
    if op == "===":
        return left == right
    if right.endswith(".*"):
        if op not in ("==", "!="):
            raise ValueError(right)
        prefix = _key(right[:-2])[1]
        return (_padded(_key(left)[1], len(prefix))[: len(prefix)] == prefix) == (op == "==")
    one, other = _key(left), _key(right)
    if op == "~=":
        base = _release(right)[:-1]
        if not base:
            raise ValueError(right)
        return one >= other and _padded(_release(left), len(base))[: len(base)] == base
    return {
        "==": one == other, "!=": one != other, "<": one < other, "<=": one <= other, ">": one > other,
        ">=": one >= other,
    }[op]  # fmt: skip


def _release(version: str) -> tuple[int, ...]:
    match = _VERSION.match(version.strip())
    if match is None:
        raise ValueError(version)
    return tuple(int(number) for number in match["release"].split("."))


def _padded(release: tuple[int, ...], length: int) -> tuple[int, ...]:
    return release + (0,) * (length - len(release))


@functools.lru_cache(maxsize=4096)
def _key(version: str) -> tuple[int, tuple[int, ...], tuple[int, int], int, float]:
    """A version for comparisons: epoch, release, pre-release, post-release, development release."""
    match = _VERSION.match(version.strip())
    if match is None:
        raise ValueError(version)
    release = _release(version)
    while len(release) > 1 and release[-1] == 0:
        release = release[:-1]
    dev = int(match["dev_number"] or 0) if match["dev"] else float("inf")
    if match["pre"]:
        stage = "abr".index(match["pre"].lower().replace("c", "r").replace("p", "r")[0])
        pre = (stage, int(match["pre_number"] or 0))
    else:
        # A development release of a final one comes before its pre-releases.
        pre = (-1, 0) if match["dev"] and not match["post"] else (3, 0)
    post = int(match["post_number"] or 0) if match["post"] else -1
    return int(match["epoch"] or 0), release, pre, post, dev
