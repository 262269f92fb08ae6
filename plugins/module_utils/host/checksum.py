# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SHA-256 of files and plain data, and the check of an archive against its checksum."""

from __future__ import annotations

import hashlib
import json
import os
import re
import typing as t

from ..errors import SpecError, UvnasError

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def check_sha256(digest: str) -> str:
    """``digest`` as this collection writes it. Raises SpecError if it cannot be one."""
    if not _SHA256.fullmatch(digest):
        raise SpecError(f"{digest!r} is not a sha256 checksum", hint="It has 64 hexadecimal digits.")
    return digest.lower()


def parse_checksum(text: str, name: str) -> str:
    """The checksum of the file ``name`` in the text of a checksum file."""
    # As sha256sum writes it: a digest and the file name, perhaps with a star before it. Or a digest alone.
    lines = [words for words in (line.split(maxsplit=1) for line in text.splitlines()) if words]
    lines = [words for words in lines if _SHA256.fullmatch(words[0])]
    for digest, file in (words for words in lines if len(words) == 2):
        if os.path.basename(file.rstrip().removeprefix("*")) == name:
            return digest.lower()
    if len(lines) == 1 and len(lines[0]) == 1:
        return lines[0][0].lower()
    raise UvnasError(
        f"the checksum file has no sha256 of {name}",
        hint="Does the address lead to a login page, or to an incomplete mirror?",
    )


def of_stream(stream: t.IO[bytes]) -> str:
    """The checksum of all that is in ``stream``."""
    stream.seek(0)
    digest = hashlib.sha256()
    while True:
        block = stream.read(1 << 20)
        if not block:
            return digest.hexdigest()
        digest.update(block)


def of_file(path: str) -> str:
    with open(path, "rb") as stream:
        return of_stream(stream)


def of_text(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def of_data(what: t.Any) -> str:
    """The checksum of ``what``, plain data, whatever the order of its keys."""
    return of_text(json.dumps(what, sort_keys=True, separators=(",", ":")))


def check_archive(stream: t.IO[bytes], sha256: str, what: str) -> None:
    """Raise UvnasError unless the content of ``stream`` has the checksum ``sha256``."""
    found = of_stream(stream)
    if found != sha256:
        raise UvnasError(
            f"the checksum of {what} is wrong: sha256 is {found}, should be {sha256}",
            hint="It is damaged, or not the file that the checksum belongs to. Nothing was installed.",
        )
