# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the account of the builder has for itself, in ``~/.local`` and elsewhere, is not there for people."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION
from ansible_collections.uvnas.cluster.tests.support.sites import Site, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_sdist, write_small_wheel

SERIES = VERSION.rpartition(".")[0]
# A build backend that finds out what it can see.
NOSY = """
import importlib.util
for name in ("onlyinlocal", "elsewhere"):
    if importlib.util.find_spec(name):
        raise SystemExit(f"a build sees {name}")
"""
IMPORT = "python -c 'import onlyinlocal'"


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A site whose share belongs to whoever runs the tests, with a home that has a user site, and more."""
    home, links = public / "home", public / "links"
    local = home / ".local" / "lib" / f"python{SERIES}" / "site-packages"
    local.mkdir(parents=True)
    (local / "onlyinlocal.py").write_text("")
    (local / "usercustomize.py").write_text("import sys; sys.modules['customized'] = sys\n")
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "elsewhere.py").write_text("")
    (elsewhere / "sitecustomize.py").write_text("import sys; sys.modules['customized'] = sys\n")
    (home / "startup.py").write_text("raise SystemExit('PYTHONSTARTUP was read')\n")
    write_small_wheel(links, "alpha", "1.0")
    write_small_sdist(links, "built", "1.0", {}, before=NOSY)
    made = make_site(public / "site", {"uvnas_index": {"find_links": [str(links)], "offline": True}})
    share = {"name": "nas_a", "root": str(made.share), "builder": "builder"}
    # As they may be set for whoever connects, by a shell or in sshd's configuration.
    outside = {
        "PYTHONPATH": str(elsewhere),
        "PYTHONSTARTUP": str(home / "startup.py"),
        "PYTHONUSERBASE": str(home / ".local"),
    }
    process = {"HOME": str(home), **outside}
    return dataclasses.replace(made, process=process, variables={**made.variables, "uvnas_shares": [share]})


def env(name: str, **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "requirements": ["alpha"], "system_site_packages": True, **more}


@pytest.mark.parametrize("module", ["onlyinlocal", "elsewhere", "customized"])
def test_checks_and_imports_do_not_see_it(site: Site, module: str) -> None:
    envs = [env("checked", checks=[f"python -c 'import {module}'"]), env("imported", imports=[module])]
    done = site.run(envs)
    assert done.rc == 2, done.output
    assert f"environment checked: smoke test failed: check \"python -c 'import {module}'\"" in done.output
    assert f"environment imported: smoke test failed: importing {module}" in done.output
    assert (site.link("checked"), site.link("imported")) == (None, None)


def test_the_rest_of_the_interpreter_is_seen(site: Site) -> None:
    """That is what system_site_packages is for."""
    assert site.run([env("plain")]).rc == 0
    (library,) = (site.share / "python").glob(f"cpython-{SERIES}.*/lib/python{SERIES}")
    library.chmod(0o755)  # It is sealed.
    (library / "site-packages").mkdir(exist_ok=True)
    (library / "site-packages" / "ofthesite.py").write_text("")
    seen = env("seen", checks=["python -c 'import ofthesite, alpha'", "python -m site"], imports=["ofthesite"])
    done = site.run([seen])
    assert done.rc == 0, done.output
    hidden = env("hidden", system_site_packages=False, imports=["ofthesite"])
    assert site.run([hidden]).rc == 2


def test_builds_do_not_see_it(site: Site) -> None:
    done = site.run([env("sources", requirements=["built"], imports=["built"])])
    assert done.rc == 0, done.output
