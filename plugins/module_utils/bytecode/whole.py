# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytecode that tells whether it is whole, and which entry of the store it is.

A file of the store is one inode, which every generation and interpreter with that source has a link to, and nothing
else knows what was compiled: no wheel has it, and no RECORD. So after its code, where Python reads no more
(``marshal.loads()`` ignores extra bytes), each file has a mark, which is a digest of the entry's name in the store, and
then a digest of everything before that. The name stands for interpreter, source and path, see ``store``.
"""

from __future__ import annotations

import hashlib
import typing as t

# Before the code: the magic number, flags, and the source's hash (PEP 552).
HEADER_SIZE = 16
# After it.
MARK_SIZE = 32
DIGEST_SIZE = 32


def mark_of(directory: str, key: str) -> bytes:
    """The mark of the entry ``key`` in a ``directory`` of the store."""
    return hashlib.sha256(f"{directory}/{key}".encode()).digest()


def mark_in(content: bytes) -> t.Optional[bytes]:
    """The mark in bytecode that is whole; None if it is damaged, or not the store's."""
    before, digest = content[:-DIGEST_SIZE], content[-DIGEST_SIZE:]
    if len(before) < HEADER_SIZE + MARK_SIZE or hashlib.sha256(before).digest() != digest:
        return None
    return before[-MARK_SIZE:]
