# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites on NFS: one whose NAS squashes root, from nothing to environments that both clients run, and others."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import (
    OWNER,
    TOOLS,
    Client,
    Counts,
    NfsSite,
    export,
    make_site,
)
from ansible_collections.uvnas.cluster.tests.support.sites import Run

# Limits of one host's RPCs in a no-op run of site.yml with one small environment, and in its role envs. A few times the
# actual numbers: enough to notice when something begins to walk a share.
NO_OP, NO_OP_OF_ENVS = 300, 400


@pytest.mark.nfs_short
def test_both_clients_run_it(site: NfsSite, converged: Run, clients: dict[str, Client]) -> None:
    for client in clients.values():
        found = site.run_python_on(client, "tools", "import markupsafe; print(markupsafe.__file__)")
        assert found.startswith(str(site.share))


@pytest.mark.nfs_short
def test_again_changes_nothing(site: NfsSite, converged: Run, counts: Counts) -> None:
    with counts.of("site.yml, small, unchanged") as row:
        again = site.run([TOOLS])
    assert again.rc == 0, again.output
    assert again.changed == 0
    assert max(row["c1"], row["c2"]) < NO_OP


def test_an_unchanged_environment_costs_its_builder_little(site: NfsSite, converged: Run, counts: Counts) -> None:
    with counts.of("role envs, small, unchanged") as row:
        again = site.envs([TOOLS])
    assert (again.rc, again.changed) == (0, 0), again.output
    assert row["c1"] < NO_OP_OF_ENVS
    # A member that is not the builder does nothing. Its kernel renews the lease and returns what it had open.
    assert row["c2"] < 100


@pytest.fixture
def read_only(clients: dict[str, Client]) -> t.Iterator[None]:
    """The export is read-only, but mounted read-write on the clients."""
    export(read_only=True)
    yield
    export()


def test_a_read_only_export(site: NfsSite, converged: Run, read_only: None) -> None:
    """Without anything to do, there is only a warning. Otherwise an error, before anything is tried."""
    again = site.run([TOOLS])
    assert (again.rc, again.changed) == (0, 0), again.output
    assert "the filesystem is read-only on this host, its builder" in " ".join(again.output.split())
    more = site.run([{**TOOLS, "requirements": [*TOOLS["requirements"], "attrs"]}])
    assert more.rc == 2, more.output
    assert f"share nas_a: Read-only file system: {site.share}/.uvnas.mutex" in more.output


@pytest.fixture
def trusting(clients: dict[str, Client]) -> t.Iterator[None]:
    """The NAS does not squash root."""
    export(squash=False)
    yield
    export()


@pytest.mark.parametrize("owner", [OWNER, "root"])
def test_root_is_root_on_the_nas(
    tmp_path_factory: pytest.TempPathFactory, clients: dict[str, Client], counts: Counts, trusting: None, owner: str
) -> None:
    site = make_site(tmp_path_factory.mktemp("trusting"), clients, owner=owner)
    with counts.of(f"site.yml, small, from nothing, no_root_squash, owner {owner}"):
        first = site.run([TOOLS])
    assert first.rc == 0, first.output
    assert site.exported.owner() == (site.exported / "envs" / "tools").resolve().owner() == owner
    with counts.of(f"site.yml, small, unchanged, no_root_squash, owner {owner}") as row:
        again = site.run([TOOLS])
    assert (again.rc, again.changed) == (0, 0), again.output
    assert max(row["c1"], row["c2"]) < NO_OP
    # Everybody can run it.
    assert site.run_python_on(clients["c2"], "tools", "import six; print('yes')") == "yes"
