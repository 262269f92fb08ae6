# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks whose power can be cut, for tests that run as root: filesystems in files, mounted by loop devices."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import struct
import subprocess
import time
import typing as t
from pathlib import Path

# FS_IOC_SHUTDOWN of ext4 and xfs. With this flag not even the journal is flushed: what is on the disk by then is all
# that will ever be there.
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_OPTIONS = {
    # The journal is seldom committed by itself, so that little reaches the disk unless somebody asks for it.
    "ext4": ["-o", "loop,commit=300"],
    "xfs": ["-o", "loop"],
}


@dataclasses.dataclass(frozen=True)
class Disk:
    """A filesystem of type ``kind``, mounted at ``mount``."""

    image: Path
    mount: Path
    kind: str

    def cut_power(self) -> None:
        """From now on nothing reaches the disk; writes, and perhaps reads, fail."""
        descriptor = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def start_again(self) -> None:
        """Mount again, as after a power cut: only what had reached the disk is there."""
        self.unmount()
        subprocess.run(["mount", *_OPTIONS[self.kind], self.image, self.mount], check=True)

    def unmount(self) -> None:
        """Unmount. Killed processes may take a moment to let go."""
        for _attempt in range(100):
            if subprocess.run(["umount", self.mount], check=False, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)
        subprocess.run(["umount", self.mount], check=True)


@contextlib.contextmanager
def disk(image: Path, mount: Path, kind: str) -> t.Iterator[Disk]:
    """A new filesystem at ``mount``, an empty directory, in the file ``image``."""
    with image.open("wb") as file:
        file.truncate(1 << 30)
    quiet = {"ext4": ["-q"], "xfs": ["-q"]}[kind]
    subprocess.run([f"mkfs.{kind}", *quiet, image], check=True)
    subprocess.run(["mount", *_OPTIONS[kind], image, mount], check=True)
    made = Disk(image, mount, kind)
    try:
        mount.chmod(0o755)
        yield made
    finally:
        made.unmount()
        image.unlink()
