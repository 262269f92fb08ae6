# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users on another client can do to a share on NFS."""

from __future__ import annotations

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import EXPORT, OTHER, TOOLS, Client, NfsSite
from ansible_collections.uvnas.cluster.tests.support.sites import Run

# Hold a read lock on the first file that allows it, and report the outcome.
HOLD = """
import fcntl, sys, time
for path in sys.argv[1:]:
    try:
        file = open(path)
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        print(type(error).__name__, flush=True)
    else:
        print("held", flush=True)
"""


@pytest.mark.nfs_short
@pytest.mark.parametrize("user", [OTHER, None])
def test_nobody_else_holds_a_mutex(site: NfsSite, converged: Run, clients: dict[str, Client], user: str | None) -> None:
    """Neither another user nor root, whom the NAS squashes, not even if the share lets everybody in."""
    (EXPORT / site.path.name / "uv").chmod(0o755)
    locks = [site.share / ".uvnas.mutex", site.share / "python" / ".lock", site.share / "cache" / ".lock"]
    try:
        found = clients["c2"].run("python3", "-c", HOLD, *locks, user=user)
    finally:
        (EXPORT / site.path.name / "uv").chmod(0o750)
    assert found.stdout.split() == ["PermissionError"] * len(locks)


@pytest.mark.nfs_short
def test_the_owner_holds_it(site: NfsSite, converged: Run, clients: dict[str, Client]) -> None:
    """So the test above would notice."""
    found = clients["c2"].run("python3", "-c", HOLD, site.share / ".uvnas.mutex", user="uvadmin")
    assert found.stdout.split() == ["held"]


def test_a_share_for_its_group_alone_verifies(site: NfsSite, converged: Run) -> None:
    """Root, which verifies on every member, is nobody there."""
    assert "PLAY [Verification" in converged.output
    seen = site.role("verify", envs=[TOOLS], uvnas_verify="always")
    assert seen.rc == 0, seen.output
