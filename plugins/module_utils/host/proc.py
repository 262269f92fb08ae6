# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says in files below /proc. To read them asks no filesystem of a NAS."""

from __future__ import annotations

import os


def read(path: str) -> str:
    """All of the file ``path``. Raises OSError."""
    # Not by open(): to find an encoding it may import, which the owner may not in root's Python.
    # Paths may be in any encoding; those that come back from os.path have the same surrogates.
    # To the end: such a file gives no more than a page at once, and a host with many mounts has several of them.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.fsdecode(b"".join(iter(lambda: os.read(descriptor, 1 << 20), b"")))
    finally:
        os.close(descriptor)
