# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sources contain, as digests, without reading them again.

Most sources of a generation are hard links to files of the cache, and have been read for a generation before. They are
known again by inode, mtime and size; on NFS that takes one RPC instead of several, and no data. What is remembered lies
in ``bytecode/sources/``, a file for each top-level package, and is no more than that: whatever is missing or damaged
there, or was restored from a backup, is read again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import json
import os
import re

from ..host import files
from ..host.checksum import of_text
from ..share.layout import Layout

# Of one package, the newest are remembered: some releases of a large one.
_MOST = 20_000
_DIGEST = re.compile("[0-9a-f]{64}")
_WHOLE_SECOND = 1_000_000_000
# Seconds from when such a file is written until it has its name. Whoever copies it with its times cannot set its ctime.
_WRITING = 10.0

# By inode: mtime in nanoseconds, size in bytes, digest.
Known = dict[str, tuple[int, int, str]]


def package_of(name: str) -> str:
    """The top-level package of a source in site-packages; empty for a module of its own."""
    return name.partition("/")[0] if "/" in name else ""


@dataclasses.dataclass(frozen=True)
class Digests:
    """The digests of a share's sources."""

    layout: Layout

    @property
    def directory(self) -> str:
        return os.path.join(self.layout.bytecode, "sources")

    def _path(self, package: str) -> str:
        return os.path.join(self.directory, f"{of_text(package)[:32]}.json")

    def known(self, package: str) -> Known:
        """What is remembered of the sources of ``package``."""
        try:
            with open(self._path(package), encoding="utf-8") as file:
                status = os.fstat(file.fileno())
                # Restored from a backup, as are the sources, which have their times, and perhaps each other's inodes.
                if abs(status.st_ctime - status.st_mtime) > _WRITING:
                    return {}
                found = json.load(file)
            return {str(inode): (mtime, size, digest) for inode, (mtime, size, digest) in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def remember(self, package: str, fresh: Known) -> None:
        """Remember these too. Not synced: what a power cut damages goes with the whole of ``bytecode/``."""
        newest = list({**self.known(package), **fresh}.items())[-_MOST:]
        scratch = files.temporary_name(os.path.join(self.layout.bytecode, "json"))
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            with open(scratch, "x", encoding="utf-8") as file:
                json.dump(dict(newest), file)
            os.rename(scratch, self._path(package))
        except OSError:  # The next build reads the sources.
            with contextlib.suppress(OSError):
                os.unlink(scratch)

    def forget(self, package: str) -> None:
        """Remember nothing of ``package``: something of that is wrong."""
        with contextlib.suppress(OSError):
            os.unlink(self._path(package))

    def sweep(self) -> None:
        """Forget packages that no generation has."""
        pattern = os.path.join(glob.escape(self.layout.generations), "*", "*", "lib", "python*", "site-packages")
        used = {self._path(name) for path in glob.glob(pattern) for name in ("", *os.listdir(path))}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.path not in used:
                    os.unlink(entry.path)
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)


def digest_of(path: str, known: Known, fresh: Known) -> str:
    """The digest of the file ``path``, which is read if it is not ``known``; then it is added to ``fresh``.

    Raises OSError.
    """
    status = os.stat(path)
    # An mtime without a fraction may have been set by somebody, or is of a filesystem that has no better ones.
    tells = status.st_mtime_ns % _WHOLE_SECOND != 0
    found = known.get(str(status.st_ino)) if tells else None
    if found is not None and found[:2] == (status.st_mtime_ns, status.st_size) and _DIGEST.fullmatch(str(found[2])):
        return found[2]
    with open(path, "rb", buffering=0) as file:
        digest = hashlib.sha256(file.readall()).hexdigest()
    if tells:
        fresh[str(status.st_ino)] = (status.st_mtime_ns, status.st_size, digest)
    return digest
