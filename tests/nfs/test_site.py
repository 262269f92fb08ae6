# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site whose NAS squashes root, from nothing to environments that both clients run."""

from __future__ import annotations

from ansible_collections.uvnas.cluster.tests.nfs.conftest import OWNER, TOOLS, Client, NfsSite
from ansible_collections.uvnas.cluster.tests.support.sites import Run


def test_both_clients_run_it(site: NfsSite, converged: Run, clients: dict[str, Client]) -> None:
    python = site.share / "envs" / "tools" / "bin" / "python"
    for client in clients.values():
        found = client.run(python, "-c", "import markupsafe; print(markupsafe.__file__)", user=OWNER)
        assert found.stdout.startswith(str(site.share))


def test_again_changes_nothing(site: NfsSite, converged: Run, clients: dict[str, Client]) -> None:
    before = {name: client.rpcs() for name, client in clients.items()}
    again = site.run([TOOLS])
    assert again.rc == 0, again.output
    assert again.changed == 0
    print({name: client.rpcs() - before[name] for name, client in clients.items()})
