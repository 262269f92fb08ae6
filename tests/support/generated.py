# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input for tests: valid input, damaged here and there. It gets further into the code than noise does."""

from __future__ import annotations

import copy
import datetime
import os
import stat
import struct
import typing as t
from pathlib import Path

from hypothesis import strategies as st

# Strings that some code may take for more than a string.
ODD_TEXTS = (
    "", " ", "\0", "train\0", "a\nb", "a\rb", "a\x0cb", "a\x85b", "a\u2028b", "\ud800", "\udcff", "\ufeff", "İ", "٣.١٢",
    ".", "..", "../..", "/", "//", "/etc/passwd", "~", "~nobody", "~\0", "-", "--", "-r x", "--index-url=x", "#", "*",
    "$(id)", "{{ x }}", "{", "[", "null", "nan", "Infinity", "True", "absent", "all", "3.12", "3.12.4", "3.13t", "0",
    "1" * 5000, "x" * 5000, "http://[", "https://user:secret@host/", "https://token@host:99999/x", "file:///x", "a=b",
)  # fmt: skip
ODD_NUMBERS = (0, 1, -1, 2, 255, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan"))

TEXTS = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=20))
# What JSON parses to, including lone surrogates, infinity and NaN.
SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from(ODD_NUMBERS), st.integers(), st.floats(), TEXTS)
JSON: st.SearchStrategy[t.Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
# What YAML parses to: also keys that are not strings, times, bytes, sets.
_YAML_SCALARS = st.one_of(
    SCALARS,
    st.dates(),
    st.datetimes(),
    st.just(datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC)),
    st.binary(max_size=5),
)
_YAML_KEYS = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.dates())
YAML: st.SearchStrategy[t.Any] = st.recursive(
    _YAML_SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_YAML_KEYS, inner, max_size=3) | st.sets(_YAML_KEYS, max_size=2)
    ),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, valid: t.Any, values: st.SearchStrategy[t.Any] = JSON) -> t.Any:
    """``valid``, plain data, with one to three values, at any depth, removed or replaced."""
    box = [copy.deepcopy(valid)]
    for _change in range(draw(st.integers(1, 3))):
        places = list(_places(box))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        kind = draw(
            st.sampled_from(("other", "other", "other", "none", "wrapped", "gone", "renamed", "added", "again"))
        )
        if kind == "other" or holder is box:
            holder[key] = draw(values)
        elif kind == "none":
            holder[key] = None
        elif kind == "wrapped":
            holder[key] = draw(st.sampled_from(([holder[key]], {"name": holder[key]}, [[]], {}, [])))
        elif kind == "gone":
            del holder[key]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]) if kind == "again" else draw(values))
        elif kind == "renamed":
            holder[draw(_YAML_KEYS if values is YAML else TEXTS)] = holder.pop(key)
        else:
            holder[draw(_YAML_KEYS if values is YAML else TEXTS)] = draw(values)
    return box[0]


def _places(value: t.Any) -> t.Iterator[tuple[t.Any, t.Any]]:
    """Every place in plain data: its container, and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


# Inserted into strings of any kind.
_SNIPPETS = st.one_of(
    TEXTS,
    st.characters(),
    st.sampled_from(("\n", "\\\n", "\\", "  ", "\t", "\r\n", '"', "'", "{}", "-9", "9" * 5000)),
    st.sampled_from(("[" * 3000, "{" * 3000, '{"a":' * 3000)),
)


@st.composite
def damaged_text(draw: st.DrawFn, valid: str, snippets: st.SearchStrategy[str] = _SNIPPETS) -> str:
    """``valid`` with one to three pieces removed, doubled, moved, or inserted."""
    text = valid
    for _change in range(draw(st.integers(1, 3))):
        lines = text.split("\n")
        line = draw(st.integers(0, len(lines) - 1))
        at, until = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        kind = draw(
            st.sampled_from(("cut", "gone", "line gone", "line again", "line moved", "joined", "put", "replaced"))
        )
        if kind == "cut":
            text = text[:at]
        elif kind == "gone":
            text = text[:at] + text[min(until, at + 8) :]
        elif kind == "line gone":
            text = "\n".join(lines[:line] + lines[line + 1 :])
        elif kind == "line again":
            text = "\n".join([*lines[: line + 1], *lines[line:]])
        elif kind == "line moved":
            text = "\n".join([*lines[:line], *lines[line + 1 :], lines[line]])
        elif kind == "joined":
            text = "\n".join(lines[: line + 1]) + draw(snippets) + "\n".join(lines[line + 1 :])
        elif kind == "put":
            text = text[:at] + draw(snippets) + text[at:]
        else:
            text = text[:at] + draw(snippets) + text[at + 1 :]
    return text


@st.composite
def damaged_bytes(draw: st.DrawFn, valid: bytes, places: t.Sequence[int] = ()) -> bytes:
    """``valid`` truncated, or with one to six bytes changed, inserted or removed.

    ``places`` are where it matters; most changes are made there.
    """
    data = bytearray(valid)
    anywhere = st.integers(0, max(0, len(valid) - 1))
    somewhere = st.one_of(st.sampled_from(tuple(places)), anywhere) if places else anywhere
    for _change in range(draw(st.integers(1, 6))):
        at = draw(somewhere)
        kind = draw(st.sampled_from(("number", "number", "number", "near", "byte", "cut", "gone", "put", "again")))
        if kind == "number":
            size = draw(st.sampled_from((1, 2, 4, 8)))
            number = draw(
                st.sampled_from((0, 1, 2, 0x7F, 0xFF, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1))
            )
            data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")
        elif kind == "near" and at + 8 <= len(data):
            (number,) = struct.unpack_from("<Q", data, at)
            struct.pack_into("<Q", data, at, (number + draw(st.integers(-16, 16))) % 2**64)
        elif kind == "byte":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "cut":
            del data[at:]
        elif kind == "gone":
            del data[at : at + draw(st.integers(1, 64))]
        elif kind == "put":
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "again":
            data[at:at] = data[at : at + 512]
    return bytes(data)


# What may be in place of a file, besides one with other content.
NO_FILES = ("directory", "pipe", "dangling", "loop", "endless", "through a file")


def put(path: Path, kind: str) -> None:
    """Replace the file ``path`` by something else: one of NO_FILES."""
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "through a file":
        path.symlink_to("/etc/passwd/x")
    else:
        path.symlink_to({"dangling": "nowhere", "loop": path.name, "endless": "/dev/zero"}[kind])


def tree(root: Path, *, without: t.Collection[str] = ()) -> dict[str, t.Any]:
    """Kinds, modes and content of everything below ``root``, except names in ``without``."""
    found: dict[str, t.Any] = {}
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if name not in without]
        for name in (*names, *files):
            path = os.path.join(directory, name)
            if name in without:
                continue
            status = os.lstat(path)
            content: t.Any = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[os.path.relpath(path, root)] = (status.st_mode, content)
    return found


T = t.TypeVar("T")


def outcome(expected: type[Exception], work: t.Callable[[], T], *named: str) -> T | None:
    """What ``work`` returns; None if it raises ``expected`` with a message that names one of ``named``."""
    try:
        return work()
    except expected as error:
        message = error.explain() if hasattr(error, "explain") else str(error)
        if named and not any(name in message for name in named):
            raise AssertionError(f"this names none of {', '.join(named)}: {message}") from error
        return None
