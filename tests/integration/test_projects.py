# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects and pylock.toml by site.yml, with a mirror as the only index that can be reached."""

from __future__ import annotations

import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
import uv as uv_package
from ansible_collections.uvnas.cluster.tests.support.projects import edit, lock_project, write_packages, write_project
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_index, write_small_wheel

MIRROR = "mirror"


@pytest.fixture(scope="module")
def index(public: Path) -> str:
    return write_packages(public / "index")


@pytest.fixture(scope="module")
def site(public: Path, index: str) -> Site:
    """A site whose default index has the files of the one that projects are locked from, at another address."""
    shutil.copytree(public / "index", public / MIRROR)
    for page in (public / MIRROR / "simple").rglob("*.html"):
        page.write_text(page.read_text().replace(f"{public}/index/", f"{public}/{MIRROR}/"))
    return make_site(public / "site", {"uvnas_index": {"default": index.replace("/index/", f"/{MIRROR}/")}})


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def test_a_workspace_with_settings_and_dynamic_versions(site: Site, index: str) -> None:
    """Locked from another index than the site's, built, compared with what uv itself makes of it, and not again."""
    root = site.files / "work"
    write_project(
        root,
        '[tool.uv]\nprerelease = "allow"\nconstraint-dependencies = ["alpha<2"]\n[tool.uv.workspace]\n'
        'members = ["packages/*"]\n[dependency-groups]\neval = ["delta"]\n',
        version="",
        dynamic='["version"]',
    )
    write_project(
        root / "packages" / "one",
        '[project.optional-dependencies]\nmore = ["gamma"]\n[tool.uv.sources]\nours = { workspace = true }\n',
        name="one",
        dependencies='["ours"]',
    )
    # uv wants to know the version once, and asks whoever can build it.
    edit(root / "pyproject.toml", "dynamic = .*", 'version = "1"')
    lock_project(root, index)
    edit(root / "pyproject.toml", 'version = "1"', 'dynamic = ["version"]')
    envs: list[dict[str, t.Any]] = [
        {"name": "root", "project": "work", "groups": ["eval"]},
        {"name": "member", "project": "work", "package": "one", "extras": ["more"]},
        {"name": "below", "project": "work/packages/one"},
    ]
    run = succeeded(site.run(envs))
    both = {"alpha": "1.0", "beta": "3.0rc1"}
    assert site.packages("root") == {**both, "delta": "1.0"}
    assert site.packages("member") == {**both, "gamma": "1.0"}
    assert site.packages("below") == both
    assert "environment member: this is the project's own code too, and is not installed" in run.output
    assert succeeded(site.run(envs)).changed == 0
    exported = subprocess.run(
        [uv_package.find_uv_bin(), "export", "--quiet", "--frozen", "--no-emit-local", "--no-default-groups",
         "--package", "one", "--extra", "more"],
        cwd=root, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert dict(re.findall(r"^(\S+)==(\S+)", exported, re.MULTILINE)) == site.packages("member")
    # A release of the project is no other environment.
    link = site.link("below")
    edit(root / "packages" / "one" / "pyproject.toml", 'version = "0.1"', 'version = "0.2"')
    succeeded(site.run(envs))
    assert site.link("below") == link


def test_what_cannot_be_used_is_refused_before_anything_is_written(site: Site, index: str) -> None:
    write_project(site.files / "wrong", "")
    lock = lock_project(site.files / "wrong", index)
    write_project(site.files / "wrong", '[dependency-groups]\ngit = ["tool"]\n')
    lock += '\n[[package]]\nname = "tool"\nversion = "1"\nsource = { git = "https://git.example.org/tool#1234" }\n'
    lock = lock.replace(
        "[package.metadata]", '[package.dev-dependencies]\ngit = [{ name = "tool" }]\n\n[package.metadata]'
    )
    (site.files / "wrong" / "uv.lock").write_text(lock)
    (site.files / "wrong" / "pylock.toml").write_text(PYLOCK)
    nowhere = str(site.path / "nas" / "nowhere")
    for env, said in (
        (
            {"project": "wrong", "groups": ["git"]},
            "tool (of group git) comes from git (https://git.example.org/tool#1234), which",
        ),
        ({"project": "wrong", "extras": ["gpu"]}, "wrong has no extra gpu; it has no extras"),
        ({"project": "wrong", "groups": ["ci"]}, "wrong has no group ci; it has git"),
        ({"project": "wrong", "package": "x"}, "has no member x; it has ours"),
        ({"project": "wrong", "python": "3.8"}, "wrong is for Python >=3.9 (requires-python), but the environment"),
        ({"lock": "wrong/pylock.toml", "extras": ["x"]}, "pylock.toml has no extra x; it has more"),
        ({"lock": "wrong/pylock.toml", "python": "3.8"}, "pylock.toml is for Python >=3.9 (requires-python), but the"),
    ):
        share = {"name": "nas_a", "root": nowhere, "builder": "builder"}
        failed = site.run([{"name": "wrong", **env}], uvnas_shares=[share])
        assert failed.rc != 0
        assert (
            f"environment wrong: {site.files}/" in failed.output or "environment wrong: the workspace" in failed.output
        )
        assert said in failed.output.replace("\\n", "\n")
        assert "uv lock" not in failed.output
    assert not Path(nowhere).exists()


def test_an_index_for_a_few_packages(site: Site, index: str, public: Path) -> None:
    """Which has others of other versions; the project has it for one only."""
    for name, version in (("epsilon", "1.0+cu"), ("beta", "0.5")):
        write_small_wheel(public / "few" / "links", name, version)
    few = write_index(public / "few" / "simple", public / "few" / "links")
    explicit = f'[[tool.uv.index]]\nname = "few"\nurl = "{few}"\nexplicit = true\n'
    sources = '[tool.uv.sources]\nepsilon = { index = "few" }\n'
    write_project(site.files / "few", sources + explicit, dependencies='["alpha", "epsilon"]')
    lock_project(site.files / "few", index)
    env = {"name": "few", "project": "few"}
    failed = site.envs([env])
    assert failed.rc != 0
    assert "epsilon comes from the project's index few (" in failed.output
    assert "which uvnas_index does not have: declare it, or a mirror of it, as uvnas_index.extra:" in failed.output
    succeeded(site.envs([env], uvnas_index={**site.variables["uvnas_index"], "extra": [f"few={few}"]}))
    assert site.packages("few") == {"alpha": "2.0", "beta": "2.0", "epsilon": "1.0+cu"}


def test_one_that_is_not_up_to_date(site: Site, index: str) -> None:
    write_project(site.files / "stale", "")
    lock_project(site.files / "stale", index)
    edit(site.files / "stale" / "pyproject.toml", r'\["alpha"\]', '["alpha", "gamma"]')
    failed = site.envs([{"name": "stale", "project": "stale"}])
    assert failed.rc != 0
    assert "its project's uv.lock is not up to date with pyproject.toml: mismatched requirements" in failed.output
    assert "Run `uv lock` in the project and commit the result." in failed.output
    assert "not found in the cache" not in failed.output


PYLOCK = """\
lock-version = "1.0"
created-by = "tests"
requires-python = ">=3.9"
extras = ["more"]
dependency-groups = ["eval"]
default-groups = ["main"]
[[packages]]
name = "nothing"
version = "1.0"
marker = "'more' in extras and sys_platform == 'win32'"
wheels = [{ url = "https://x/nothing-1.0-py3-none-any.whl", hashes = { sha256 = "00" } }]
"""


def test_a_pylock_with_extras_and_groups(site: Site, index: str) -> None:
    """As the specification has them: the default groups, those that are named instead; and never nothing in silence."""
    write_project(site.files / "locked", "", dependencies='["alpha", "gamma", "delta"]')
    lock_project(site.files / "locked", index)
    command = [uv_package.find_uv_bin(), "export", "--quiet", "--format", "pylock.toml", "--no-emit-project"]
    text = subprocess.run(command, cwd=site.files / "locked", check=True, capture_output=True, text=True).stdout
    head = 'extras = ["more"]\ndependency-groups = ["eval"]\ndefault-groups = ["main"]\n'
    text = text.replace("[[packages]]", f"{head}[[packages]]", 1)
    for name, marker in (
        ("alpha", "'main' in dependency_groups or 'more' in extras"),
        ("beta", "'main' in dependency_groups or 'more' in extras"),
        ("gamma", "'more' in extras"),
        ("delta", "'eval' in dependency_groups and sys_platform == 'linux'"),
    ):
        text = re.sub(f'(name = "{name}"\n)', rf'\1marker = "{marker}"\n', text)
    (site.files / "pylock.toml").write_text(text)
    lock = {"lock": "pylock.toml"}
    envs = [{"name": "default", **lock}, {"name": "more", "extras": ["more"], "groups": ["eval"], **lock}]
    succeeded(site.envs([*envs, {"name": "eval", "groups": ["eval"], **lock}]))
    assert site.packages("default") == {"alpha": "2.0", "beta": "2.0"}
    assert site.packages("more") == {"alpha": "2.0", "beta": "2.0", "delta": "1.0", "gamma": "1.0"}
    assert site.packages("eval") == {"delta": "1.0"}
    (site.files / "windows.toml").write_text(PYLOCK)
    failed = site.envs([{"name": "windows", "lock": "windows.toml", "extras": ["more"]}])
    assert failed.rc != 0
    assert "none of its 1 packages is meant for Python" in failed.output
    assert site.link("windows") is None
