# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of an environment on two shares: upgraded, rolled back, held over several runs, released.

And its history.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import shlex
import shutil
import socket
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import transcripts
from ansible_collections.uvnas.cluster.tests.support.pythons import owner
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, Site, finish, make_site

OLD: dict[str, t.Any] = {"name": "tools", "requirements": ["six==1.15.0"], "imports": ["six"]}
NEW: dict[str, t.Any] = {"name": "tools", "requirements": ["six==1.16.0", "iniconfig"], "imports": ["six", "iniconfig"]}
NEWER: dict[str, t.Any] = {**NEW, "requirements": ["six==1.17.0", "iniconfig"]}
CUT_OFF = {"uvnas_uv_variables": {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}}


@dataclasses.dataclass(frozen=True)
class Life:
    """A site with the shares nas_a and nas_b, on which NEW is in force, and OLD was before."""

    site: Site
    shares: dict[str, Path]
    old: str
    new: str

    def playbook(self, name: str, envs: t.Sequence[t.Mapping[str, t.Any]] = (NEW,), **variables: t.Any) -> Run:
        playbook = ROOT / "playbooks" / f"{name}.yml"
        return finish(self.site.start(envs, "--diff", playbook=playbook, **variables))

    def in_force(self, share: str = "nas_a") -> str:
        return os.path.basename(os.readlink(self.shares[share] / "envs" / "tools"))

    def state(self, share: str = "nas_a") -> dict[str, t.Any]:
        found: dict[str, t.Any] = json.loads((self.shares[share] / "locks" / "tools.state.json").read_text())
        return found

    def journal(self, share: str = "nas_a") -> list[dict[str, t.Any]]:
        return [json.loads(line) for line in (self.shares[share] / "journal.jsonl").read_text().splitlines()]

    def six(self, share: str = "nas_a") -> str:
        program = self.shares[share] / "envs" / "tools" / "bin" / "python"
        code = "import six; print(six.__version__)"
        return subprocess.check_output([program, "-I", "-B", "-c", code], env={}, text=True).strip()


def well(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


@pytest.fixture(scope="module")
def life(public: Path) -> Life:
    shares = {name: public / "site" / name / "uv" for name in ("nas_a", "nas_b")}
    common = {"builder": "builder", "owner": owner()}
    declared = [{"name": name, "root": str(root), **common} for name, root in shares.items()]
    site = make_site(public / "site", {"uvnas_shares": declared})
    for root in shares.values():
        root.parent.mkdir()
    found = Life(site, shares, "", "")
    well(site.run([OLD]))
    old = found.in_force()
    well(site.run([NEW]))
    return dataclasses.replace(found, old=old, new=found.in_force())


def test_what_was_done_is_on_record(life: Life) -> None:
    assert life.old != life.new
    for share in life.shares:
        state = life.state(share)
        assert (state["in_force"], state["hold"]) == (life.new, None)
        assert state["generations"][life.old]["retired"] == state["since"]
        assert state["generations"][life.new]["retired"] is None
        for generation in state["generations"].values():
            assert (life.shares[share] / "locks" / "history" / f"{generation['lock']}.txt").is_file()
    told = [(line["action"], line.get("generation"), line.get("previous")) for line in life.journal()]
    assert told == [
        ("build", life.old, None), ("publish", life.old, None),
        ("build", life.new, None), ("publish", life.new, life.old), ("retire", life.old, None),
    ]  # fmt: skip
    last = life.journal()[3]
    assert (
        last["packages_changed"] == ["iniconfig 2.3.0 (new)", "six 1.15.0 -> 1.16.0"]
        or "six 1.15.0 -> 1.16.0" in last["packages_changed"]
    )
    assert (last["user"], last["controller"]) == (
        os.environ.get("SUDO_USER") or getpass.getuser(),
        socket.gethostname(),
    )


def test_a_run_with_nothing_to_do_changes_nothing(life: Life) -> None:
    before = [(root / "journal.jsonl").read_bytes() for root in life.shares.values()]
    assert well(life.site.run([NEW])).changed == 0
    assert [(root / "journal.jsonl").read_bytes() for root in life.shares.values()] == before


def test_a_rollback_is_held_until_it_is_released(life: Life) -> None:
    # Without uv, and without a network.
    for root in life.shares.values():
        (root / "bin").rename(root / "bin.away")
    try:
        run = well(life.playbook("rollback", uvnas_env="tools", uvnas_reason="six breaks", **CUT_OFF))
    finally:
        for root in life.shares.values():
            (root / "bin.away").rename(root / "bin")
    for share in life.shares:
        assert f"{share}: tools  {life.new} -> {life.old}  six 1.16.0 -> 1.15.0, -1; held: six breaks" in run.output
        assert (life.in_force(share), life.six(share)) == (life.old, "1.15.0")
        assert life.state(share)["hold"]["reason"] == "six breaks"
        assert [line["action"] for line in life.journal(share)[-3:]] == ["hold", "publish", "retire"]
    # Over two runs, the second of which has something new.
    run = well(life.site.run([NEW]))
    assert life.in_force() == life.old
    assert run.changed == 0
    run = well(life.site.run([NEWER]))
    assert life.in_force() == life.old
    assert run.environments["tools"]["action"] == "build"
    assert f"held at {life.old} since" in run.output
    assert "six breaks" in run.output
    newer = run.environments["tools"]["declared_id"]
    assert (life.shares["nas_b"] / "generations" / "tools" / newer / ".uvnas.json").is_file()
    assert well(life.site.run([NEWER])).changed == 0
    shown = well(life.playbook("info", [NEWER])).output
    assert f"held at {life.old} since" in shown
    # A second rollback of the same does nothing.
    run = well(life.playbook("rollback", [NEWER], uvnas_env="tools", uvnas_generation=life.old[:5]))
    assert run.changed == 0
    run = well(life.playbook("release", [NEWER], uvnas_env="tools"))
    assert f"nas_b: tools  released {life.old}; site.yml publishes what is declared" in run.output
    assert life.in_force() == life.old
    well(life.site.run([NEWER]))
    assert {life.in_force(share) for share in life.shares} == {newer}
    # Back, for the tests that follow: it is there, and so it is published in no time.
    assert well(life.site.run([NEW])).environments["tools"]["action"] == "publish"
    assert life.in_force() == life.new


def test_check_mode_foretells_a_rollback(life: Life) -> None:
    before = [life.state(share) for share in life.shares]
    playbook = ROOT / "playbooks" / "rollback.yml"
    run = well(
        finish(life.site.start([NEW], "--check", playbook=playbook, uvnas_env="tools", uvnas_generation=life.old))
    )
    assert f"nas_a: tools  {life.new} -> {life.old}" in run.output
    assert [life.state(share) for share in life.shares] == before
    assert life.in_force() == life.new


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "name an environment with -e uvnas_env="),
        ({"uvnas_env": "tolls"}, "did you mean tools?"),
        ({"uvnas_env": "tools", "uvnas_generation": "zzz"}, "has no generation 'zzz' on this share"),
        ({"uvnas_env": "tools", "uvnas_generaton": "zzz"}, "did you mean uvnas_generation?"),
        ({"uvnas_env": "tools", "_raw_params": "slow"}, "a value given with -e ends at its first space"),
    ],
)
def test_bad_input_changes_nothing(life: Life, variables: dict[str, str], said: str) -> None:
    before = [life.state(share) for share in life.shares]
    run = life.playbook("rollback", **variables)
    assert run.rc != 0
    assert said in run.output
    assert [life.state(share) for share in life.shares] == before


def test_all_shares_or_none(life: Life) -> None:
    """What one share cannot have is put in force on none."""
    generation = life.shares["nas_b"] / "generations" / "tools" / life.old
    state = life.shares["nas_b"] / "locks" / "tools.state.json"
    kept = state.read_text()
    aside = life.site.path / "aside"
    subprocess.run(["chmod", "-R", "u+w", generation], check=True)
    generation.rename(aside)
    data = json.loads(kept)
    del data["generations"][life.old]
    state.write_text(json.dumps(data))
    try:
        run = life.playbook("rollback", uvnas_env="tools", uvnas_generation=life.old)
        assert run.rc != 0
        assert "share nas_b: environment tools has no generation" in run.output
        assert "Nothing was changed." in run.output
        assert {life.in_force(share) for share in life.shares} == {life.new}
    finally:
        aside.rename(generation)
        state.write_text(kept)


def test_what_a_share_no_longer_has_is_built_again(life: Life) -> None:
    generation = life.shares["nas_b"] / "generations" / "tools" / life.old
    subprocess.run(["chmod", "-R", "u+w", generation], check=True)
    shutil.rmtree(generation)
    run = well(life.playbook("rollback", uvnas_env="tools", uvnas_generation=life.old))
    assert {life.in_force(share) for share in life.shares} == {life.old}
    assert life.six("nas_b") == "1.15.0"
    assert "building" in run.output
    well(life.playbook("release", uvnas_env="tools"))
    well(life.site.run([NEW]))
    assert {life.in_force(share) for share in life.shares} == {life.new}


def test_held_by_its_declaration(life: Life) -> None:
    held = {**NEW, "hold": life.old[:6]}
    run = well(life.site.run([held]))
    assert life.in_force() == life.old
    assert f"held at {life.old} since" in run.output
    assert "by its declaration" in run.output
    assert well(life.site.run([held])).changed == 0
    refused = life.playbook("rollback", [held], uvnas_env="tools", uvnas_generation=life.new)
    assert refused.rc != 0
    assert "Change or remove its hold in uvnas_envs" in refused.output
    well(life.site.run([NEW]))
    assert life.in_force() == life.new
    assert life.state()["hold"] is None


def test_history(life: Life) -> None:
    report = life.site.path / "history.json"
    run = well(life.playbook("history", uvnas_env="tools", uvnas_from=life.old, uvnas_report_file=str(report)))
    assert f"{life.old} -> {life.new}" in run.output
    assert "six 1.15.0 -> 1.16.0" in run.output
    told = json.loads(report.read_text())
    share = told["shares"][0]
    assert [each["state"] for each in share["environments"][0]["generations"]].count("in force") == 1
    assert share["difference"]["from"] == life.old
    assert {entry["action"] for entry in share["journal"]} >= {"build", "publish", "retire", "hold", "release"}
    # What is torn or damaged in a journal costs its own lines.
    journal = life.shares["nas_a"] / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"time": "2026-11')
    well(life.playbook("history", uvnas_env="tools"))
    well(life.playbook("rollback", uvnas_env="tools"))
    assert journal.read_bytes().count(b'{"time": "2026-11\n') == 1
    well(life.playbook("release", uvnas_env="tools"))


def test_a_kill_between_link_and_record_is_healed(life: Life) -> None:
    well(life.site.run([NEW]))
    for root in life.shares.values():
        (root / "locks" / "tools.state.json").unlink()
    checked = well(life.site.run([NEW], "--check"))
    assert checked.environments["tools"]["action"] == "record"
    assert well(life.site.run([NEW])).environments["tools"]["action"] == "record"
    assert life.state()["in_force"] == life.new
    assert well(life.site.run([NEW])).changed == 0


def test_a_damaged_record_is_an_error_and_holds_are_not_lost(life: Life) -> None:
    state = life.shares["nas_a"] / "locks" / "tools.state.json"
    kept = state.read_text()
    state.write_text("{}")
    try:
        run = life.site.run([NEWER])
        assert run.rc != 0
        assert "tools.state.json" in run.output
        assert life.in_force() == life.new
    finally:
        state.write_text(kept)


def test_the_page_as_it_is(public: Path) -> None:
    """Each command of *Roll back, and hold* and *See what was in force* is typed, and says what is shown."""
    shares = {name: public / "page" / name / "uv" for name in ("nas_a", "nas_b")}
    declared = [{"name": name, "root": str(r), "builder": "builder", "owner": owner()} for name, r in shares.items()]
    site = make_site(public / "page", {"uvnas_shares": declared})
    for root in shares.values():
        root.parent.mkdir()
    train: dict[str, t.Any] = {"name": "train", "requirements": ["numpy==2.2.6"], "imports": ["numpy"]}
    well(site.run([train]))
    train["requirements"] = ["numpy==2.3.5"]
    well(site.run([train]))
    text = (ROOT / "docs" / "docsite" / "rst" / "upgrading.rst").read_text()
    part = text[text.index("Roll back, and hold\n") : text.index("Roll back with git\n")]
    typed = [command for session in transcripts.sessions(part) for command in session]
    assert [command.text.split()[3].partition("cluster.")[2] for command in typed] == [
        "rollback", "site", "release", "site", "history",
    ]  # fmt: skip
    for command in typed:
        words = shlex.split(command.text)
        playbook = ROOT / "playbooks" / f"{words[3].partition('cluster.')[2]}.yml"
        run = well(finish(site.start([train], *words[4:], playbook=playbook)))
        assert not command.output or transcripts.fits(command.output, run.output), run.output
