# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``.uvnas-spare``: copies of those files of a generation that are nowhere else, its manifest among them.

Most files of a generation are in wheels, and so can be had again. RECORDs, scripts and the generation's own files name
its path, or say when it was built, and differ from those of every other generation.

The file is a digest (32 bytes), and then, compressed, the content by path. So it vouches for itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import typing as t
import zlib

from ...host import files
from ...share import manifest as manifests
from ...share.layout import MANIFEST, SPARE
from ...share.manifest import Manifest

# What a wheel without hashes brings may be as large as it likes, and scripts may be programs.
LARGEST = 256 << 10
_DIGEST = hashlib.sha256().digest_size


def write(path: str, generation: str, places: t.Iterable[str], manifest: Manifest) -> None:
    """Copy the files ``places`` of ``generation``, and what its manifest will be, to the file ``path``."""
    found = {MANIFEST: manifests.text(manifest).encode()}
    for place in places:
        content = None if place in (MANIFEST, SPARE) else small(os.path.join(generation, place))
        if content is not None:
            found[place] = content
    files.write(path, pack(found))


def pack(found: t.Mapping[str, bytes]) -> bytes:
    """What the file contains if it has these copies, by path in the generation."""
    text = json.dumps({place: base64.b64encode(content).decode() for place, content in sorted(found.items())})
    packed = zlib.compress(text.encode(errors="surrogatepass"), 6)
    return hashlib.sha256(packed).digest() + packed


def small(path: str) -> t.Optional[bytes]:
    """The content of a file that is small enough."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    is_small = stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST
    return files.read_bytes(path) if is_small else None


def unpack(content: bytes) -> t.Optional[dict[str, bytes]]:
    """The copies in such a file, by path in the generation; None if it is damaged."""
    digest, packed = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(packed).digest() != digest:
        return None
    text = zlib.decompress(packed).decode(errors="surrogatepass")
    return {place: base64.b64decode(copy) for place, copy in json.loads(text).items()}
