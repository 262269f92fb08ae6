# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines' NASes: filesystems in sparse files, mounted on this machine, so that links across them fail."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import container_engine

SIZE = 3 * 1024**3
# Users with directories of their own, and their uids. Everybody is in group 2000, see host/settings.sh.
PEOPLE = {"alice": 2001, "bob": 2002}
GROUP = 2000


@dataclasses.dataclass(frozen=True)
class Filesystem:
    """One NAS. ``mkfs`` is a command to be followed by the file."""

    name: str
    mkfs: tuple[str, ...]

    def image(self, state: Path) -> Path:
        return state / f"{self.name}.img"

    def mount(self, state: Path) -> bool:
        """Create and mount it unless it is, with people's directories. Returns whether it was not."""
        directory = state / "nas" / self.name
        directory.mkdir(parents=True, exist_ok=True)
        if directory.is_mount():
            return False
        with self.image(state).open("wb") as file:
            file.truncate(SIZE)
        container_engine.run(*self.mkfs, self.image(state))
        container_engine.run("mount", "-o", "loop", self.image(state), directory)
        directory.chmod(0o755)
        for name, number in PEOPLE.items():
            own = directory / "people" / name
            own.mkdir(parents=True)
            shutil.chown(own, number, GROUP)
        return True

    def remove(self, state: Path) -> bool:
        """Unmount and remove it, with its loop devices. Returns whether there was anything."""
        directory, image = state / "nas" / self.name, self.image(state)
        found = image.exists()
        while directory.is_mount():
            container_engine.run("umount", directory)
        if found:
            for line in container_engine.run("losetup", "--associated", image).splitlines():
                container_engine.run("losetup", "--detach", line.partition(":")[0])
            image.unlink()
        return found


FILESYSTEMS = (
    # Reflinks.
    Filesystem("nas_a", ("mkfs.xfs", "-q", "-m", "reflink=1")),
    # Hard links only.
    Filesystem("nas_b", ("mkfs.ext4", "-q", "-F")),
)
