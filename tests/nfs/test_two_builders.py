# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two inventories with different builders, each on its own client, converged at the same time."""

from __future__ import annotations

import json

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import parse
from ansible_collections.uvnas.cluster.tests.support.nfs import Client, NfsSite, make_site
from ansible_collections.uvnas.cluster.tests.support.sites import finish


def check(site: NfsSite, clients: dict[str, Client], env: str) -> None:
    """Check that what is in force matches its lock and runs on both clients, and that nothing else is left."""
    link = (site.exported / "envs" / env).readlink()
    manifest = json.loads((site.exported / "generations" / env / link.name / ".uvnas.json").read_text())
    lock = parse((site.exported / "locks" / f"{env}.txt").read_text(), what="the lock")
    assert (manifest["packages"], manifest["lock"]["digest"]) == (lock.versions, lock.digest)
    for client in clients.values():
        client.mount()
        assert site.run_python_on(client, env, "import six, sys; print(sys.prefix)").endswith(link.name)
    assert not site.halves()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, clients: dict[str, Client]) -> NfsSite:
    return make_site(tmp_path_factory.mktemp("both"), clients)


def test_at_once(both: NfsSite, clients: dict[str, Client]) -> None:
    """From nothing, and then with environments that they disagree on: one waits for the other."""
    (share,) = both.variables["uvnas_shares"]
    shares = [{**share, "builder": name} for name in clients]

    def at_once(play: str, *versions: str) -> None:
        declared = [{"name": "tools", "requirements": [f"six=={version}"], "imports": ["six"]} for version in versions]
        started = [
            both.start([env], play=play, uvnas_shares=[share])
            for env, share in zip(declared, shares, strict=True)
        ]  # fmt: skip
        runs = [finish(process) for process in started]
        assert [run.rc for run in runs] == [0, 0], "\n".join(run.output for run in runs if run.rc)
        check(both, clients, "tools")

    at_once("", "1.16.0", "1.16.0")
    at_once("uvnas.cluster.envs", "1.17.0", "1.17.0")
    at_once("uvnas.cluster.envs", "1.16.0", "1.17.0")
