# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site on its own disk, whose power is cut during its first converge, and what must hold afterwards."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.uvnas.cluster.tests.support import contents, pythons
from ansible_collections.uvnas.cluster.tests.support.disks import Disk, disk
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, finish, make_site

ENVS: list[dict[str, t.Any]] = [
    {"name": "one", "requirements": ["six", "markupsafe", "attrs"], "imports": ["six"]},
    {"name": "two", "requirements": ["six", "idna", "pluggy"], "imports": ["idna"]},
]
IMPORTS = {"one": ["six", "markupsafe", "attrs"], "two": ["six", "idna", "pluggy"]}
_numbers = itertools.count()

# Polled with the share: whether it is time to cut the power.
Moment = t.Callable[[Path], bool]


@dataclasses.dataclass(frozen=True)
class Powered:
    """A site, and the disk that serves as its NAS."""

    site: Site
    disk: Disk

    def cut(self, moment: Moment, started: subprocess.Popen[str] | None = None) -> Run:
        """Converge from nothing, or wait for what has been started; cut the power at the ``moment``, and return how the
        run ended.
        """
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            run = pool.submit(finish, started or self.site.start(ENVS))
            while not run.done() and not moment(self.site.share):
                time.sleep(0.002)
            self.disk.cut_power()
            ended = run.result()
        self.disk.start_again()
        self._start_the_builder_again()
        return ended

    def _start_the_builder_again(self) -> None:
        """Change the recorded boot id to an earlier one, as a real power cut does, too."""
        here = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for path in self.site.share.glob("cache/.uvnas-*.json"):
            written = path.stat()
            path.write_text(path.read_text().replace(here, "0" * 8 + here[8:]))
            os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))

    def check(self) -> None:
        """Check that what is in force works, now and after each of two converges, and that the second is a no-op."""
        assert self.faults() == []
        healed = self.site.run(ENVS)
        assert healed.rc == 0, healed.output
        assert contents.in_force(self.site.share) == sorted(IMPORTS)
        assert self.faults() == []
        again = self.site.run(ENVS)
        assert (again.rc, again.changed) == (0, 0), again.output

    def faults(self) -> list[str]:
        archive = Path(self.site.variables["uvnas_site_pythons"][0]["archive"])
        return contents.faults_of(self.site.share, {pythons.VERSION: archive}, IMPORTS)


@contextlib.contextmanager
def powered(directory: Path, kind: str, **variables: t.Any) -> t.Iterator[Powered]:
    """A site in a new directory whose NAS is a disk with this kind of filesystem."""
    given = {"uvnas_min_free_bytes": 0, "uvnas_python_compile_bytecode": True, **variables}
    site = make_site(directory / f"site{next(_numbers)}", given)
    with disk(site.path / "disk", site.share.parent, kind) as made:
        yield Powered(site, made)
