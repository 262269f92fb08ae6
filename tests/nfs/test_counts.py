# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many RPCs a stack of scientific packages costs, beside bare uv: rows of the table on the page *NFS*."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.nfs import (
    EXPORT,
    NAS,
    OWNER,
    TOOLS,
    UIDS,
    Client,
    Counts,
    NfsSite,
)
from ansible_collections.uvnas.cluster.tests.support.sites import Run

STACK = {"name": "stack", "requirements": ["numpy", "pandas"], "imports": ["numpy", "pandas"]}


@pytest.fixture(scope="module")
def stack(site: NfsSite, converged: Run, counts: Counts) -> Run:
    """The build of a stack on a share that has the interpreter, but an empty cache."""
    with counts.of("role envs, numpy and pandas, from nothing"):
        first = site.envs([STACK])
    assert first.rc == 0, first.output
    built = site.exported / "generations" / "stack" / (site.exported / "envs" / "stack").readlink().name
    packages = json.loads((built / ".uvnas.json").read_text())["packages"]
    files = [path for path in built.rglob("*") if path.is_file()]
    counts.note(
        "numpy and pandas",
        {"files": len(files), "pyc": sum(path.suffix == ".pyc" for path in files), "packages": packages},
    )
    return first


def test_no_op_of_a_stack(site: NfsSite, stack: Run, counts: Counts) -> None:
    with counts.of("role envs, numpy and pandas, unchanged") as row:
        again = site.envs([STACK])
    assert (again.rc, again.changed) == (0, 0), again.output
    # The cost does not grow with the size of an environment.
    assert row["c1"] < 400


def test_an_identical_second_one(site: NfsSite, stack: Run, counts: Counts) -> None:
    """Its packages are in the cache, and their bytecode was compiled for the first one: it needs links to both."""
    twin = {**STACK, "name": "twin", "imports": []}
    with counts.of("role envs, numpy and pandas as another environment") as row:
        built = site.envs([STACK, twin])
    assert built.rc == 0, built.output
    first, second = (
        json.loads((site.exported / "envs" / name / ".uvnas.json").read_text())["size"] for name in ("stack", "twin")
    )
    counts.note("numpy and pandas, sizes", {"first": first, "second": second})
    assert second["files"] == first["files"]
    assert second["own_bytes"] < first["own_bytes"] * 0.1
    # 4 packages with 5,261 files; by hand 7,985 without bytecode and 33,204 with it; 15,843 were counted.
    assert row["c1"] < 19_000


# Resolves to 27 packages: 7,856 files, for which uv alone needs 19,700 RPCs, and 5,253 with bytecode. A link to each of
# these is two: the client asks for permission (fs.protected_hardlinks), and links. Sealing is four for each of 1,280
# directories. That is 35,300; 38,600 were counted.
LARGE = ["numpy", "pandas", "scikit-learn", "matplotlib", "requests", "rich"]
LARGE_LIMIT = 42_000


def test_a_large_stack(site: NfsSite, stack: Run, counts: Counts) -> None:
    """What is installed and compiled once costs links from then on: again, in another environment, and upgraded."""
    large = {"name": "large", "requirements": LARGE}
    twin = {**large, "name": "large-twin"}
    upgraded = {**twin, "overrides": ["idna==3.10"]}
    rows = {}
    for what, envs in {
        "from nothing": [large],
        "as another environment": [large, twin],
        "one package changed": [large, upgraded],
    }.items():
        with counts.of(f"role envs, 27 packages, {what}") as rows[what]:
            built = site.envs([STACK, *envs])
        assert (built.rc, built.changed) == (0, 1), built.output
    first, second = (
        json.loads((site.exported / "envs" / name / ".uvnas.json").read_text()) for name in ("large", "large-twin")
    )
    assert second["packages"]["idna"] != first["packages"]["idna"]
    counts.note("27 packages", {"packages": len(first["packages"]), "first": first["size"], "second": second["size"]})
    assert rows["as another environment"]["c1"] <= LARGE_LIMIT
    assert rows["one package changed"]["c1"] <= LARGE_LIMIT


def test_verification_of_a_stack(site: NfsSite, stack: Run, clients: dict[str, Client], counts: Counts) -> None:
    """It costs what the imports read; the second time, clients have that in memory."""
    for client in clients.values():
        client.mount()
    for when in ("after mounting", "again"):
        with counts.of(f"role verify, numpy and pandas, {when}"):
            seen = site.role("verify", envs=[STACK], uvnas_verify="always")
        assert seen.rc == 0, seen.output


# Of a member, for one share with ten environments that it has verified before, and another one: 36 were counted; 39 or
# 40 after two minutes, when the client asks for everything. That is three for each (two directories and the manifest),
# the root, share.json, envs, generations and the way to them, and some with which the kernel renews its lease of 10 s.
VERIFIED = 40


def test_what_has_been_verified_costs_a_member_little(
    site: NfsSite, converged: Run, clients: dict[str, Client], counts: Counts
) -> None:
    envs = [
        {"name": f"env{number}", "requirements": ["six"], "imports": ["six"], "compile_bytecode": False}
        for number in range(10)
    ]
    built = site.envs([TOOLS, *envs])
    assert built.rc == 0, built.output
    rows = {}
    for when in ("the first time", "again", "again, after two minutes", "again, just mounted"):
        if "minutes" in when:  # By then a client believes no attribute any more, and has given back delegations.
            time.sleep(120)
        if "mounted" in when:
            for client in clients.values():
                client.mount()
        with counts.of(f"role verify, ten environments, {when}") as rows[when]:
            seen = site.role("verify", envs=envs)
        assert seen.rc == 0, seen.output
    assert max(rows["again"]["c1"], rows["again"]["c2"]) <= VERIFIED, rows


@pytest.mark.parametrize("bytecode", [False, True])
def test_bare_uv(site: NfsSite, stack: Run, clients: dict[str, Client], counts: Counts, bytecode: bool) -> None:
    """The same packages with uv alone; its cache is on the same NAS, too."""
    name = f"bare-{bytecode}"
    (EXPORT / name).mkdir()
    os.chown(EXPORT / name, UIDS[OWNER], UIDS[OWNER])
    uv = NAS / site.path.name / "uv" / "bin" / "uv"
    python = (site.exported / "envs" / "stack" / "bin" / "python").resolve()
    for cache in ("cold", "warm"):
        with counts.of(f"uv venv and uv pip sync, numpy and pandas, {cache} cache, bytecode {bytecode}"):
            where = NAS / name / cache
            options = ["--offline", "--no-config", f"--cache-dir={NAS / name / 'cache'}"]
            clients["c1"].run(uv, "venv", *options, f"--python={python}", where, user=OWNER)
            sync: list[str | Path] = [uv, "pip", "sync", *options, f"--python={where}", "--link-mode=hardlink"]
            if bytecode:
                sync.append("--compile-bytecode")
            sync += ["--no-index", "--find-links=/state/wheels", site.share / "locks" / "stack.txt"]
            clients["c1"].run(*sync, user=OWNER)


# The mark: a file that Python has just read is opened once more, and mapped. Where mmap is no part of the program, it
# is one more module of the standard library.
MARK = 6


def test_a_start_of_python(site: NfsSite, stack: Run, clients: dict[str, Client], counts: Counts) -> None:
    """Beside an environment of uv's on the same interpreter, which has neither mark nor pin, nor packages."""
    plain = NAS / "plain"
    (EXPORT / "plain").mkdir()
    os.chown(EXPORT / "plain", UIDS[OWNER], UIDS[OWNER])
    interpreter = os.readlink(site.exported / "envs" / "stack" / "bin" / "python")
    uv = NAS / site.path.name / "uv" / "bin" / "uv"
    options = ["--offline", "--no-config", "--allow-existing", f"--cache-dir={plain / 'cache'}"]
    clients["c1"].run(uv, "venv", *options, f"--python={interpreter}", plain / "env", user=OWNER)
    starts = {
        "an environment of uv's": plain / "env",
        "by path": site.share / "generations" / "stack" / (site.exported / "envs" / "stack").readlink().name,
        "by link": site.share / "envs" / "stack",
    }
    rows: dict[tuple[str, str], dict[str, int]] = {}
    client = clients["c2"]
    for name, path in starts.items():
        for when in ("just mounted", "again"):
            if when == "just mounted":
                client.mount()
            with counts.of(f"start of a Python, {name}, {when}") as rows[name, when]:
                client.run(path / "bin" / "python", "-I", "-B", "-c", "pass", user=OWNER)
    assert rows["by path", "again"]["c2"] <= rows["an environment of uv's", "again"]["c2"] + MARK, rows
