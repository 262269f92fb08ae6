# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interpreter contains, by digests: ``.uvnas-files.json`` in its directory, whose digest is in the record.

There is a copy, ``.uvnas-spare``: either one vouches for the other.

It is taken once, when the interpreter has been installed and was found to run, and never again: later, it would vouch
for damage. An interpreter that gets its bytecode later has the same list, with the sources that have none. That goes
into the list first, and then into the record. So after a killed run, the list without these sources is the recorded
one, and the next run, which compiles again, goes on from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import typing as t

from ..errors import UvnasError
from ..host import files, sealing
from ..host.checksum import of_text
from ..host.data import parse_json
from ..share import contents
from ..share.contents import Contents
from ..share.layout import Layout
from .record import Interpreter


def take(layout: Layout, key: str, uncompiled: t.Optional[t.Sequence[str]]) -> str:
    """List what is in a new interpreter; returns the list's digest. ``uncompiled``: see Contents.

    Raises UvnasError, OSError.
    """
    path = layout.interpreter_contents(key)
    found = dataclasses.replace(contents.take(os.path.dirname(path)), uncompiled=uncompiled)
    files.write(layout.interpreter_spare(key), found.text)
    return contents.write(path, found).files


def read(layout: Layout, interpreter: Interpreter) -> t.Optional[Contents]:
    """What was in an interpreter when it was installed; None if that is not on record, as an earlier version did it.

    Raises UvnasError if the list is damaged, or missing.
    """
    if interpreter.files is None:
        return None
    path = layout.interpreter_contents(interpreter.key)
    hint = (
        "To reinstall it, at a time when nobody uses it, run this as the share's owner, and then site.yml: "
        f"{sealing.removal(layout.interpreter_bin(interpreter.key, interpreter.minor))}"
    )
    content = files.read_bytes(path)
    if content is None:
        raise UvnasError(f"{path} is missing", hint=hint)
    with contextlib.suppress(UvnasError):
        found = contents.parse(parse_json(content, path), path)
        if hashlib.sha256(content).hexdigest() == interpreter.files:
            return found
        before = dataclasses.replace(found, uncompiled=None)
        if not interpreter.compiled and of_text(before.text) == interpreter.files:
            return before
    raise UvnasError(f"{path} is damaged: it is not the list that was recorded for this interpreter", hint=hint)


def note(layout: Layout, interpreter: Interpreter, uncompiled: t.Sequence[str]) -> t.Optional[str]:
    """Note in the list of an interpreter, which has got its bytecode, which sources have none.

    Returns the digest for the record. Without a list, or with a damaged one, it is the one that is there.
    """
    try:
        found = read(layout, interpreter)
    except UvnasError:
        found = None
    if found is None:
        return interpreter.files
    text = dataclasses.replace(found, uncompiled=uncompiled).text
    for path in (layout.interpreter_spare(interpreter.key), layout.interpreter_contents(interpreter.key)):
        # Written beside the interpreter: what a killed run leaves there is swept.
        with files.replacing(os.path.dirname(path)) as new:
            new.stream.write(text.encode())
            new.path = path
    return of_text(text)
