# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make an archive of a Debian from packages: debian.py RELEASE ARCHIVE [PACKAGE…]

For the images of the machines, and for the machine with NFS (tests/nfs/machine).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import typing as t
from pathlib import Path

# Seconds. A timeout.
LIMIT = 900


def make(release: str, archive: Path, packages: t.Sequence[str] = ()) -> None:
    """Write an archive of a minimal installation of a release, with more packages and their dependencies."""
    included = [f"--include={','.join(packages)}"] if packages else []
    command = ["mmdebstrap", "--quiet", "--variant=minbase", *included, release, str(archive), *_mirror()]
    # Maintainer scripts need the sbin directories, which not everybody has in PATH.
    variables = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    subprocess.run(command, check=True, timeout=LIMIT, stdin=subprocess.DEVNULL, env=variables)


def _mirror() -> list[str]:
    """The mirror to make a Debian from: MOLECULE_DEBIAN_MIRROR, or the one that this Debian is configured for.

    It is the only source: no security updates, which change too often to be on every mirror. Without a mirror,
    mmdebstrap uses its own sources.
    """
    named = os.environ.get("MOLECULE_DEBIAN_MIRROR")
    if named:
        return [named]
    if platform.freedesktop_os_release().get("ID") != "debian":
        return []
    listed = subprocess.check_output(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"], text=True
    )
    # bookworm, and not bookworm-security.
    found = [line.split()[0] for line in listed.splitlines() if len(line.split()) == 2 and "-" not in line.split()[1]]
    return found[:1]


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
