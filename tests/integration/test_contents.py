# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What manifests say of generations that uv built, on two shares at paths of their own, and what uv must not decide."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION, owner
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_sdist, write_small_wheel

SERIES = VERSION.rpartition(".")[0]
SITE = f"lib/python{SERIES}/site-packages"
# One of each kind of file that wheels bring, and a script that another makes of its own.
TOOLS: dict[str, t.Any] = {
    "name": "tools",
    "requirements": ["tool", "bare", "built"],
    "imports": ["tool", "bare", "built"],
}
TOOL = {
    "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n[gui_scripts]\ngui = tool:main\n",
    "tool-1.0.data/scripts/old": "#!python -E\nprint('old')\n",
    "tool-1.0.data/scripts/sh": "#!/bin/sh\necho sh\n",
    "tool-1.0.data/data/etc/tool/config.txt": "1",
    "tool-1.0.data/data/lib64/tool.txt": "1",
    "tool-1.0.data/headers/tool.h": "1",
    "tools/größe.txt": "1",
    "__pycache__/tool.cpython-27.pyc": "1",
    "tests/__init__.py": "",
}
DISPUTE = {"name": "dispute", "requirements": ["one==1.0", "other"]}


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A site with two shares, on which tools is built. On the second, scripts begin with three lines."""
    path, links = public / "site", public / "links"
    write_small_wheel(links, "tool", "1.0", more=TOOL)
    write_small_wheel(links, "bare", "1.0", more={"tests/other.py": "", "bare.txt": "1"}, hashes=False)
    write_small_sdist(links, "built", "1.0", {"data.txt": b"1"})
    write_small_wheel(links, "one", "1.0", more={"tests/__init__.py": "A", "tests/same.py": "C", "LICENSE": "A"})
    write_small_wheel(links, "one", "2.0", more={"tests/__init__.py": "A", "tests/same.py": "C", "LICENSE": "B"})
    write_small_wheel(links, "other", "1.0", more={"tests/__init__.py": "B", "tests/same.py": "C", "LICENSE": "B"})
    write_small_wheel(links, "top", "1.0", requires=["one", "other"])
    roots = {"nas_a": path / "nas" / "uv", "nas_b": path / "nas" / "-".join(["deep"] * 20) / "uv"}
    common = {"builder": "builder", "owner": owner()}
    declared = [{"name": name, "root": str(root), **common} for name, root in roots.items()]
    index = {"find_links": [str(links)], "offline": True}
    found = make_site(path, {"uvnas_index": index, "uvnas_shares": declared})
    for root in roots.values():
        root.parent.mkdir(parents=True, exist_ok=True)
    made = found.run([TOOLS])
    assert made.rc == 0, made.output
    return found


def generation(site: Site, share: str, env: str = "tools") -> Path:
    roots = {item["name"]: Path(item["root"]) for item in site.variables["uvnas_shares"]}
    return (roots[share] / "envs" / env).resolve()


def read(path: Path) -> dict[str, t.Any]:
    data: dict[str, t.Any] = json.loads(path.read_text())
    return data


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def damaged(generation: Path) -> list[str]:
    """What in a generation is not as it was when it was built, found with nothing but what is written in it."""
    manifest, listed = read(generation / ".uvnas.json"), read(generation / ".uvnas-files.json")
    wrong = []
    for name, digest in (
        (".uvnas-files.json", manifest["content"]["files"]),
        (".uvnas-lock.txt", manifest["lock"]["text"]),
    ):
        wrong += [name] if sha256(generation / name) != digest else []
    copies = (generation / ".uvnas-spare").read_bytes()
    wrong += [".uvnas-spare"] if hashlib.sha256(copies[32:]).digest() != copies[:32] else []
    expected = {place: file["sha256"] for place, file in listed["files"].items()}
    for place, digests in listed["records"].items():
        expected[place] = digests["sha256"]
        with (generation / place).open(encoding="utf-8", newline="") as record:
            for file, digest, *_size in csv.reader(record):
                path = (generation / place).parents[1] / file
                if digest:
                    content = base64.urlsafe_b64decode(digest.removeprefix("sha256=") + "=")
                    expected[os.path.relpath(os.path.realpath(path), generation)] = content.hex()
    there = {}
    for path in generation.rglob("*"):
        place = str(path.relative_to(generation))
        if path.is_symlink():
            wrong += [place] if listed["links"].get(place) != os.readlink(path) else []
        elif path.is_file() and "__pycache__" not in path.parts and place not in (
            ".uvnas.json", ".uvnas-files.json", ".uvnas-lock.txt", ".uvnas-spare"
        ):  # fmt: skip
            there[place] = sha256(path)
    expected = {place: digest for place, digest in expected.items() if "__pycache__" not in place}
    wrong += [place for place in expected.keys() | there.keys() if expected.get(place) != there.get(place)]
    return sorted(wrong)


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def test_every_file_of_a_generation_is_vouched_for(site: Site) -> None:
    for share in ("nas_a", "nas_b"):
        assert damaged(generation(site, share)) == []
    listed = read(generation(site, "nas_a") / ".uvnas-files.json")
    # What uv and this collection add to packages, what the wheel without hashes has, and what was built.
    made = {"pyvenv.cfg", ".gitignore", "CACHEDIR.TAG", "bin/activate", "bin/activate.csh", "bin/pip", ".uvnas-pin.py"}
    packages = {f"{SITE}/{name}" for name in ("zzz_uvnas_pin.pth", "pip.py", "bare.py", "bare.txt", "built/data.txt")}
    assert made | packages <= set(listed["files"])
    programs = {f"bin/{name}{version}" for name in ("python", "pip") for version in ("", "3", SERIES)}
    assert set(listed["links"]) == {*programs - {"bin/pip"}, "lib64"}
    assert not {name for name in listed["files"] if "tool" in name}
    assert not (generation(site, "nas_a") / ".lock").exists()


@pytest.mark.parametrize(
    "place",
    ["bin/tool", "bin/activate", "pyvenv.cfg", f"{SITE}/tool.py", f"{SITE}/bare.py", ".uvnas-lock.txt", "stray",
     f"{SITE}/zzz_uvnas_pin.pth", f"{SITE}/tool-1.0.dist-info/METADATA", ".uvnas-files.json"],
)  # fmt: skip
def test_whatever_is_changed_can_be_told(site: Site, place: str) -> None:
    path = generation(site, "nas_a") / place
    before = path.read_bytes() if path.exists() else None
    # As an editor does it, so that the cache keeps what it has.
    path.unlink(missing_ok=True)
    path.write_bytes((before or b"") + b" ")
    try:
        assert damaged(generation(site, "nas_a")) == [place]
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)


def test_two_shares_have_equal_digests_of_what_wheels_brought(site: Site) -> None:
    ours, theirs = (generation(site, share) for share in ("nas_a", "nas_b"))
    one, other = read(ours / ".uvnas.json"), read(theirs / ".uvnas.json")
    assert one["id"] == other["id"]
    assert one["lock"] == other["lock"]
    assert one["content"]["files"] != other["content"]["files"]
    # The scripts differ in more than a path.
    assert (ours / "bin" / "tool").read_text().startswith(f"#!{ours}/bin/python\n")
    assert (theirs / "bin" / "tool").read_text().startswith("#!/bin/sh\n'''exec' ")
    ours_listed, theirs_listed = (read(path / ".uvnas-files.json")["records"] for path in (ours, theirs))
    tool, bare, built = (f"{SITE}/{name}-1.0.dist-info/RECORD" for name in ("tool", "bare", "built"))
    assert set(ours_listed) == set(theirs_listed) == {tool, bare, built}
    for place in (tool, bare, built):  # This one, too, as its build does the same every time.
        assert ours_listed[place]["portable"] == theirs_listed[place]["portable"]
    assert ours_listed[tool]["sha256"] != theirs_listed[tool]["sha256"]
    assert one["content"]["packages"] == other["content"]["packages"]


def test_the_lock_in_a_generation_is_the_one_it_was_built_from(site: Site) -> None:
    for share in ("nas_a", "nas_b"):
        path = generation(site, share)
        assert (path / ".uvnas-lock.txt").read_text() == (path.parents[2] / "locks" / "tools.txt").read_text()


def test_an_environment_that_sees_the_packages_of_the_interpreter(site: Site) -> None:
    succeeded(site.envs([TOOLS, {"name": "more", "requirements": ["tool"], "system_site_packages": True}]))
    path = generation(site, "nas_a", "more")
    assert damaged(path) == []
    assert list(read(path / ".uvnas-files.json")["records"]) == [f"{SITE}/tool-1.0.dist-info/RECORD"]


def test_packages_that_install_one_path_with_different_content(site: Site) -> None:
    failed = site.envs([DISPUTE])
    assert failed.rc != 0
    assert "environment dispute: two packages install the same file with different content" in failed.output
    assert f"one and other ({SITE}/LICENSE and 1 more)" in failed.output
    for share in ("nas_a", "nas_b"):
        root = generation(site, share).parents[2]
        assert not os.path.lexists(root / "envs" / "dispute")
        assert list((root / "generations" / "dispute").iterdir()) == []


def test_what_the_message_proposes_helps(site: Site) -> None:
    wanted = {"name": "helped", "requirements": ["top"]}
    failed = site.envs([wanted])
    assert failed.rc != 0
    assert r"overrides: [\"other ; python_version < '0'\"]" in failed.output
    succeeded(site.envs([{**wanted, "overrides": ["other ; python_version < '0'"]}]))
    assert site.packages("helped") == {"one": "2.0", "top": "1.0"}


def test_the_same_content_is_nobodys_problem(site: Site) -> None:
    """tests/__init__.py of both is empty: this happens."""
    write_small_wheel(
        Path(site.variables["uvnas_index"]["find_links"][0]), "empty", "1.0", more={"tests/__init__.py": ""}
    )
    succeeded(site.envs([{"name": "peace", "requirements": ["tool", "empty"]}]))
    assert damaged(generation(site, "nas_b", "peace")) == []
