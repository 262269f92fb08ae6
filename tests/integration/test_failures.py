# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments fail in several ways at once, and others do not: what the screen says of each. Not what results have."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.uvnas.cluster.tests.support import pythons
from ansible_collections.uvnas.cluster.tests.support.sites import BIN, ROOT, Site, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_sdist, write_small_wheel

# Somebody who finds out what it is built with can begin that. Who builds it cannot end it.
BROKEN = "import os\nif 'UVNAS_RECORD' not in os.environ:\n    raise SystemExit('no compiler here')\n"
KINDS: dict[str, dict[str, t.Any]] = {
    "unlocked": {"requirements": ["nowhere"]},
    "unbuilt": {"requirements": ["broken"]},
    "untested": {"requirements": ["alpha"], "checks": ["echo no luck >&2; exit 3"]},
    "fine": {"requirements": ["alpha"]},
    "gone": {"state": "absent"},
}
# How the line begins that names a failed environment, and what has to be said below.
REASONS = {
    "unlocked": ("its requirements cannot be resolved", "nowhere was not found"),
    "unbuilt": ("cannot install its lock", "no compiler here"),
    "untested": ("smoke test failed: check 'echo no luck >&2; exit 3'", "no luck"),
}
MIXTURES = [mixture for size in (1, 2, 3) for mixture in itertools.combinations(KINDS, size)]
TWICE = [("unlocked", "unlocked", "untested"), ("unbuilt", "untested", "untested")]
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - uvnas.cluster.uv_env:
        share: "{{ uvnas_shares[0].root }}"
        share_name: nas_a
        owner: "{{ uvnas_shares[0].owner }}"
        lock: true
        index: "{{ uvnas_index }}"
        environments: "{{ item }}"
      loop: "{{ mixtures }}"
      loop_control:
        label: "mixture {{ number }}"
        index_var: number
      ignore_errors: true
"""


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A site with all that is to go, some of which cannot."""
    links = public / "links"
    write_small_wheel(links, "alpha", "1.0")
    write_small_sdist(links, "broken", "1.0", {}, before=BROKEN)
    made = make_site(public / "site", {"uvnas_index": {"find_links": [str(links)], "offline": True}})
    there = [{"name": name, "requirements": ["alpha"]} for name in names("gone", MIXTURES)]
    done = made.run(there)
    assert done.rc == 0, done.output
    for env in there:
        # Of another user, in the owner's directory.
        place = made.share / "generations" / str(env["name"]) / "foreign"
        place.mkdir()
        (place / "file").write_text("")
    return made


def names(kind: str, mixtures: t.Sequence[tuple[str, ...]]) -> list[str]:
    return [f"{kind}-{number}" for number, mixture in enumerate(mixtures) if kind in mixture]


def named(mixture: tuple[str, ...], number: int) -> list[tuple[str, str]]:
    """The environments of a mixture, with their kinds."""
    found = []
    for place, kind in enumerate(mixture):
        again = f"-{place}" if kind in mixture[:place] else ""
        found.append((f"{kind}-{number}{again}", kind))
    return found


def screen(site: Site, mixtures: t.Sequence[tuple[str, ...]], form: str) -> str:
    """What the default callback shows of all mixtures, one after the other, without -v."""
    directory = site.path / f"mixtures-{form}"
    directory.mkdir()
    wanted = [
        [
            {"name": name, **({} if kind == "gone" else {"python": site.python}), **KINDS[kind]}
            for name, kind in named(mixture, number)
        ]
        for number, mixture in enumerate(mixtures)
    ]
    share = {"name": "nas_a", "root": str(site.share), "builder": "builder", "owner": pythons.owner()}
    values = {"uvnas_shares": [share], **site.variables, "mixtures": wanted, "ansible_connection": "local"}
    values["ansible_python_interpreter"] = sys.executable
    inventory, play = directory / "hosts.yml", directory / "play.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"builder": None}, "vars": values}}))
    play.write_text(PLAY)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_REMOTE_TMP": str(site.remote_tmp),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": form,
    }
    cmd = [BIN / "ansible-playbook", "-i", inventory, play]
    done = subprocess.run(cmd, env=environment, capture_output=True, text=True, check=False, cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def errors(output: str) -> list[list[str]]:
    """The lines of each error."""
    return [text.splitlines() for text in re.findall(r"^\[ERROR\]: Task failed: (.*?)\nOrigin: ", output, re.S | re.M)]


def check(output: str, mixtures: t.Sequence[tuple[str, ...]]) -> None:
    assert "Traceback" not in output
    assert "Module failed" not in output
    assert ".py" not in output.replace(".python", "")
    found = errors(output)
    failing = [(number, mixture) for number, mixture in enumerate(mixtures) if any(kind in REASONS for kind in mixture)]
    assert len(found) == len(failing), output
    for lines, (number, mixture) in zip(found, failing, strict=True):
        bad = [(name, kind) for name, kind in named(mixture, number) if kind in REASONS]
        lines[0] = lines[0].removeprefix("Action failed: ")
        if len(mixture) > 1:
            assert lines[0] == f"{len(bad)} of {len(mixture)} environments failed; the others are done"
        # Each begins a line, once; and no other line begins like that.
        begun = [line for line in lines if line.startswith("environment ")]
        assert sorted(begun) == sorted(f"environment {name}: {REASONS[kind][0]}" for name, kind in bad)
        for line, following in zip(begun, [*begun[1:], None], strict=True):
            below = lines[lines.index(line) + 1 : lines.index(following) if following else None]
            kind = re.sub(r"environment (\w+)-.*", r"\1", line)
            assert REASONS[kind][1] in "\n".join(below)


def test_every_mixture_of_failures(site: Site) -> None:
    output = screen(site, MIXTURES, "json")
    check(output, MIXTURES)
    # What is not failed is done, whatever is beside it.
    for env in names("fine", MIXTURES):
        assert site.link(env), env
    for env in names("gone", MIXTURES):
        assert site.link(env) is None
        assert re.search(rf"^\[WARNING\]: .*{env}", output, re.MULTILINE), env
    for kind in REASONS:
        assert not any(site.link(env) for env in names(kind, MIXTURES))


def test_results_as_yaml_and_several_of_a_kind(site: Site) -> None:
    check(screen(site, TWICE, "yaml"), TWICE)


def test_an_interpreter_that_fails_is_named_on_the_screen(site: Site) -> None:
    done = site.run([], uvnas_pythons=["3.99"], uvnas_python_offline=True)
    assert done.rc == 2
    assert "Traceback" not in done.output
    (lines,) = errors(done.output)
    assert "3.99" in lines[0]
