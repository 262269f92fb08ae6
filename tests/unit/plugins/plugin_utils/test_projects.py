# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects, locked by the real uv: what is read on the controller, and what uv makes of it on the builder."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import uv as uv_package
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as locks
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import markers
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.resolve import Request, resolve
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index, Uv
from ansible_collections.uvnas.cluster.plugins.plugin_utils.projects import project_sources
from ansible_collections.uvnas.cluster.plugins.plugin_utils.uv_locks import UvLock
from ansible_collections.uvnas.cluster.tests.support.projects import (
    edit,
    lock_project,
    write_packages,
    write_project,
)
from ansible_collections.uvnas.cluster.tests.support.wheels import write_index, write_small_wheel

PYTHON = ".".join(platform.python_version_tuple()[:2])
BACKEND = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture
def index(tmp_path: Path) -> str:
    return write_packages(tmp_path / "index")


@pytest.fixture
def mirror(tmp_path: Path, index: str) -> str:
    """The same files at another address, which is what a site has."""
    shutil.copytree(tmp_path / "index", tmp_path / "mirror")
    for page in (tmp_path / "mirror" / "simple").rglob("*.html"):
        page.write_text(page.read_text().replace(f"{tmp_path}/index", f"{tmp_path}/mirror"))
    return index.replace("/index/", "/mirror/")


@pytest.fixture
def uv(tmp_path: Path, mirror: str) -> Uv:
    layout = Layout(str(tmp_path / "share"))
    os.makedirs(layout.bin_dir)
    os.symlink(uv_package.find_uv_bin(), layout.uv)
    return Uv(layout, SystemRunner(), Index(default=mirror))


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return tmp_path / "checkout" / "ours"


def spec(path: Path, **fields: t.Any) -> EnvironmentSpec:
    return EnvironmentSpec("analysis", **{"python": PYTHON, "project": str(path), **fields})


def resolved(uv: Uv, path: Path, warned: str = "", **fields: t.Any) -> dict[str, str]:
    """The packages of an environment of the project in ``path``."""
    wanted = spec(path, **fields)
    sources = project_sources(str(path), wanted, uv.index)
    assert Sources.from_dict(sources.as_dict()) == sources
    text, warnings = resolve(uv, Request(wanted, "5" * 64, sources), sys.executable, None)
    assert warned in "\n".join(warnings) if warned else not warnings
    lock = locks.parse(text, what="it")
    assert all(package.hashes and not package.marker for package in lock.packages)
    return lock.versions


BOTH = {"alpha": "2.0", "beta": "2.0"}


def test_extras_and_groups(uv: Uv, ours: Path, index: str) -> None:
    optional = '[project.optional-dependencies]\nMore_Of = ["gamma"]\n[dependency-groups]\ndev = ["delta"]\n'
    write_project(ours, optional + '[tool.uv]\ndefault-groups = ["dev"]\n')
    lock_project(ours, index)
    assert resolved(uv, ours) == BOTH
    assert resolved(uv, ours, extras=("more-of",)) == {**BOTH, "gamma": "1.0"}
    assert resolved(uv, ours, groups=("dev",), seed=True) == {**BOTH, "delta": "1.0", "pip": "1.0"}
    with pytest.raises(SpecError, match=r"ours has no extra gpu; it has More_Of$"):
        resolved(uv, ours, extras=("gpu",))
    with pytest.raises(SpecError, match=r"ours has no group test or doc; it has dev$"):
        resolved(uv, ours, groups=("test", "doc", "dev"))


# For uv, these may stand in uv.toml too.
ANYWHERE: list[tuple[str, dict[str, str]]] = [
    ('prerelease = "allow"', {"alpha": "2.0", "beta": "3.0rc1"}),
    ('resolution = "lowest"', {"alpha": "1.0", "beta": "1.0"}),
    ('index-strategy = "unsafe-best-match"\nfork-strategy = "fewest"', BOTH),
    ('required-version = ">=0.4"', BOTH),
]
IN_PYPROJECT: list[tuple[str, dict[str, str]]] = [
    *ANYWHERE,
    ('constraint-dependencies = ["beta<2"]', {"alpha": "2.0", "beta": "1.0"}),
    ('override-dependencies = ["beta==1.0"]', {"alpha": "2.0", "beta": "1.0"}),
    ("environments = [\"sys_platform == 'linux'\"]", BOTH),
    ("package = false", BOTH),
]


@pytest.mark.parametrize(("settings", "wanted"), IN_PYPROJECT)
def test_its_settings_are_uvs(uv: Uv, ours: Path, index: str, settings: str, wanted: t.Any) -> None:
    write_project(ours, f"[tool.uv]\n{settings}\n")
    lock_project(ours, index)
    assert resolved(uv, ours) == wanted


@pytest.mark.parametrize(("settings", "wanted"), ANYWHERE)
def test_those_of_uv_toml_win(uv: Uv, ours: Path, index: str, settings: str, wanted: t.Any) -> None:
    write_project(ours, '[tool.uv]\nprerelease = "allow"\n')
    (ours / "uv.toml").write_text(settings + "\n")
    lock_project(ours, index)
    assert resolved(uv, ours) == wanted


@pytest.mark.parametrize("given", ["2100-01-01T00:00:00Z", "1 week"])
def test_a_time_that_counts_for_the_project(uv: Uv, ours: Path, index: str, given: str) -> None:
    """As if it had been locked so: a small index does not say what was uploaded when."""
    write_project(ours, "")
    lock_project(ours, index)
    span = 'exclude-newer-span = "P1W"\n' if "week" in given else ""
    edit(ours / "uv.lock", r"\n\n", f'\n\n[options]\nexclude-newer = "2100-01-01T00:00:00Z"\n{span}\n', count=1)
    edit(ours / "pyproject.toml", r"\Z", f'[tool.uv]\nexclude-newer = "{given}"\n')
    assert resolved(uv, ours) == BOTH
    edit(ours / "pyproject.toml", r"exclude-newer.*", 'exclude-newer = "2099-01-01T00:00:00Z"')
    with pytest.raises(UvnasError, match="is not up to date with pyproject.toml: .*exclude newer"):
        resolved(uv, ours)


def test_an_index_that_nobody_knows_of(uv: Uv, ours: Path, index: str) -> None:
    """Locked from a mirror that is no setting of the project, which has another index."""
    write_project(ours, '[[tool.uv.index]]\nname = "more"\nurl = "https://index.example.org/"\nexplicit = true\n')
    lock_project(ours, index)
    assert resolved(uv, ours) == BOTH
    edit(ours / "uv.lock", '(registry = )"[^"]*"', r'\1"https://mirror.example.org/simple"')
    edit(ours / "uv.lock", 'path = "[^"]*/', 'url = "https://files.example.org/')
    assert resolved(uv, ours) == BOTH


def test_an_index_for_a_few_packages(uv: Uv, ours: Path, index: str, tmp_path: Path) -> None:
    """It has others in other versions, too; they do no harm."""
    for name, version in (("epsilon", "1.0+cu"), ("beta", "0.5")):
        write_small_wheel(tmp_path / "few" / "links", name, version)
    few = write_index(tmp_path / "few" / "simple", tmp_path / "few" / "links")
    sources = '[tool.uv.sources]\nepsilon = { index = "few" }\n'
    explicit = f'[[tool.uv.index]]\nname = "few"\nurl = "{few}"\nexplicit = true\n'
    write_project(ours, sources + explicit, dependencies='["alpha", "epsilon"]')
    lock_project(ours, index)
    site = Uv(uv.layout, uv.runner, Index(default=uv.index.default, extra=(f"few={few}",)))
    assert resolved(site, ours) == {**BOTH, "epsilon": "1.0+cu"}


def test_nobody_elses_settings_are(
    uv: Uv, ours: Path, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a user, of the host, of whoever may write to a directory above, and what the site tells uv."""
    write_project(ours, "")
    lock_project(ours, index)
    loose, home = tmp_path / "loose", tmp_path / "home"
    for file in (loose / "uv.toml", home / ".config" / "uv" / "uv.toml", home / "dirs" / "uv" / "uv.toml"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('resolution = "no such thing"\n')
    (loose / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["*/*", "*/*/*"]\n')
    monkeypatch.setattr("tempfile.tempdir", str(loose))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(home / "dirs"))
    log = tmp_path / "log"
    os.unlink(uv.layout.uv)
    Path(uv.layout.uv).write_text(f'#!/bin/sh\nexec strace -f -o {log} {uv_package.find_uv_bin()} "$@"\n')
    os.chmod(uv.layout.uv, 0o755)
    site = Uv(uv.layout, uv.runner, uv.index, {"UV_RESOLUTION": "lowest", "UV_PRERELEASE": "allow"})
    assert resolved(site, ours) == BOTH
    assert "uvnas-" in log.read_text()
    assert "/etc/uv/uv.toml" not in log.read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"version": '"0.2"'}),
        ({"version": '"0.1a1"'}, {"version": '"1!7.post1"'}),
        ({}, {"version": "", "dynamic": '["version"]'}),
        ({"version": "", "dynamic": '["version"]'}, {"version": '"3"'}),
        ({"version": "", "dynamic": '["version", "readme"]'}, {"version": "", "dynamic": '["version"]'}),
    ],
)
def test_its_version_does_not_matter(
    uv: Uv, ours: Path, index: str, before: dict[str, str], after: dict[str, str]
) -> None:
    """It is not installed. So it does not matter either if only a build could tell: that would fail here."""
    lines = f"{BACKEND}[tool.uv]\npackage = true\n"
    ours.mkdir(parents=True)
    (ours / "backend.py").write_text(
        "import os\n"
        "def prepare_metadata_for_build_editable(directory, settings=None):\n"
        "    os.mkdir(directory + '/ours-7.dist-info')\n"
        "    with open(directory + '/ours-7.dist-info/METADATA', 'w') as file:\n"
        "        file.write('Metadata-Version: 2.1\\nName: ours\\nVersion: 7\\nRequires-Dist: alpha\\n')\n"
        "    return 'ours-7.dist-info'\n"
    )
    write_project(ours, lines, **before)
    lock_project(ours, index)
    write_project(ours, lines, **after)
    assert resolved(uv, ours) == BOTH


def test_what_only_a_build_tells_is_not_checked(uv: Uv, ours: Path, index: str) -> None:
    write_project(ours, '[dependency-groups]\ndev = ["delta"]\n')
    lock_project(ours, index)
    write_project(ours, BACKEND + '[dependency-groups]\ndev = ["delta"]\n', dependencies="", dynamic='["dependencies"]')
    warning = (
        "uv.lock was taken as it is: only with these built or at hand could uv tell whether it is up to date: ours"
    )
    assert resolved(uv, ours, warned=warning, groups=("dev",)) == {**BOTH, "delta": "1.0"}
    with pytest.raises(SpecError, match=r"no group test; it has dev$"):
        resolved(uv, ours, groups=("test",))


@pytest.fixture
def workspace(ours: Path, index: str) -> Path:
    """A root that is not a package, with members one, which needs two, and two; and a directory beside it."""
    ours.mkdir(parents=True)
    (ours / "pyproject.toml").write_text(
        '[tool.uv.workspace]\nmembers = ["packages/*"]\n[dependency-groups]\nlint = ["delta"]\n'
    )
    sources = '[tool.uv.sources]\ntwo = { workspace = true }\nlib = { path = "../../../lib", editable = true }\n'
    optional = '[project.optional-dependencies]\nmore = ["gamma"]\n'
    write_project(ours / "packages" / "one", optional + sources, name="one", dependencies='["two", "lib"]')
    write_project(ours / "packages" / "two", "", name="two", dependencies='["beta<2"]')
    write_project(ours.parent / "lib", "", name="lib")
    lock_project(ours, index)
    return ours


OWN = "this is the project's own code too, and is not installed: ../lib, ./packages/one, ./packages/two"


def test_members_of_a_workspace(uv: Uv, workspace: Path) -> None:
    both = {"alpha": "2.0", "beta": "1.0"}
    assert resolved(uv, workspace, package="two") == {"beta": "1.0"}
    assert resolved(uv, workspace / "packages" / "two") == {"beta": "1.0"}
    own = "not installed: ../lib"
    assert resolved(uv, workspace, own, package="One", extras=("more",)) == {**both, "gamma": "1.0"}
    assert resolved(uv, workspace / "packages" / "one", own, groups=("lint",)) == {**both, "delta": "1.0"}
    assert resolved(uv, workspace, own) == both
    with pytest.raises(SpecError, match=r"the workspace .*/ours has no member three; it has one, two$"):
        resolved(uv, workspace, package="three")
    with pytest.raises(SpecError, match=r"packages/two has no extra more; it has no extras$"):
        resolved(uv, workspace, package="two", extras=("more",))


def test_members_at_any_depth(uv: Uv, ours: Path, index: str) -> None:
    write_project(
        ours, '[tool.uv.workspace]\nmembers = ["packages/**/p-*", "more/*"]\nexclude = ["packages/**/old/*"]\n'
    )
    for path, name in (("packages/p-a", "a"), ("packages/x/y/p-b", "b"), ("more/.c", "c")):
        write_project(ours / path, "", name=name, dependencies='["gamma"]')
    write_project(ours / "packages" / "x" / "old" / "p-d", "", name="d")
    lock_project(ours, index)
    for path, name in (("packages/p-a", "a"), ("packages/x/y/p-b", "b"), ("more/.c", "c")):
        assert resolved(uv, ours, package=name) == resolved(uv, ours / path) == {"gamma": "1.0"}
    for name in ("loop", "another"):  # Two of them have more paths than anybody can go.
        (ours / "packages" / name).symlink_to(".")
    with pytest.raises(SpecError, match="has no member d; it has a, b, c, ours$"):
        resolved(uv, ours, package="d")


def test_a_directory_beside_it_that_is_not_up_to_date(uv: Uv, workspace: Path) -> None:
    edit(workspace.parent / "lib" / "pyproject.toml", "alpha", "gamma")
    with pytest.raises(UvnasError, match=r"its project's uv.lock is not up to date .*`lib==0.1`"):
        resolved(uv, workspace, package="one")
    shutil.rmtree(workspace.parent / "lib")  # Nobody knows, then.
    assert resolved(uv, workspace, "could uv tell whether it is up to date: lib", package="one") == {
        "alpha": "2.0",
        "beta": "1.0",
    }


@pytest.mark.parametrize(
    ("pattern", "replacement", "why"),
    [
        (r'\["alpha"\]', '["alpha", "gamma"]', "mismatched requirements for: `ours==0.1`"),
        (r"delta", "gamma", "mismatched dependency groups for: `ours==0.1`"),
        (r'">=3.9"', '">=3.10"', "change in Python requirement: `>=3.9` vs. `>=3.10`"),
        (r"allow", "disallow", "change in pre-release mode: `allow` vs. `disallow`"),
    ],
)
@pytest.mark.parametrize("dynamic", [False, True])
def test_one_that_is_not_up_to_date(
    uv: Uv, ours: Path, index: str, pattern: str, replacement: str, why: str, dynamic: bool
) -> None:
    write_project(ours, '[dependency-groups]\ndev = ["delta"]\n[tool.uv]\nprerelease = "allow"\n' + BACKEND)
    lock_project(ours, index)
    edit(ours / "pyproject.toml", pattern, replacement)
    if dynamic:
        edit(ours / "pyproject.toml", r'version = "0.1"', 'dynamic = ["version"]')
    (ours / "backend.py").write_text(f"open({str(ours)!r} + '/built', 'w')\n")
    with pytest.raises(UvnasError, match="its project's uv.lock is not up to date with pyproject.toml: ") as caught:
        resolved(uv, ours)
    assert caught.value.hint == "Run `uv lock` in the project and commit the result."
    assert "cache" not in caught.value.explain()
    if not dynamic:
        assert why in str(caught.value)
    assert not (ours / "built").exists()


def test_another_python(uv: Uv, ours: Path, index: str) -> None:
    write_project(ours, "", requires_python='">=3.9"')
    lock_project(ours, index)
    for text, problem in (
        (">=3.99", rf"ours is for Python >=3.99 \(requires-python\), but the environment's python is '{PYTHON}'"),
        (f"!={platform.python_version()}", ""),
    ):
        for name in ("uv.lock", "pyproject.toml"):
            edit(ours / name, 'requires-python = "[^"]*"', f'requires-python = "{text}"')
        if problem:
            with pytest.raises(SpecError, match=problem):
                resolved(uv, ours)
    with pytest.raises(UvnasError, match=rf"its Python does not fit: .*ours is for Python !={PYTHON}") as caught:
        resolved(uv, ours)
    assert "uv lock" not in caught.value.explain()


def test_a_version_of_uv_that_it_does_not_allow(uv: Uv, ours: Path, index: str) -> None:
    write_project(ours, "")
    lock_project(ours, index)
    write_project(ours, '[tool.uv]\nrequired-version = "<0.5"\n')
    with pytest.raises(UvnasError, match="its project's uv.lock cannot be used") as caught:
        resolved(uv, ours)
    assert caught.value.hint.startswith("That is required-version in the project's [tool.uv]. Set uvnas_uv_version")


def repository(path: Path) -> str:
    """delta in version control."""
    write_project(path, "", name="delta", dependencies="[]")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "x"]):
        subprocess.run([*git, *command], cwd=path, check=True)
    return path.as_uri()


def test_what_cannot_be_installed_is_refused_by_name_where_it_is_wanted(
    uv: Uv, ours: Path, index: str, tmp_path: Path
) -> None:
    write_small_wheel(ours, "vendor", "1.0")
    write_small_wheel(tmp_path / "flat", "plain", "1.0")
    write_packages(tmp_path / "other")
    groups = {
        "git": "delta", "file": "vendor", "plain": "plain", "foreign": "gamma", "windows": "delta ; os_name == 'nt'"
    }  # fmt: skip
    sources = {
        "delta": f'git = "{repository(tmp_path / "repository")}"',
        "vendor": 'path = "vendor-1.0-py3-none-any.whl"',
        "plain": 'index = "flat"',
        "gamma": 'index = "other"',
    }
    write_project(
        ours,
        "[dependency-groups]\n"
        + "".join(f'{group} = ["{requirement}"]\n' for group, requirement in groups.items())
        + "[tool.uv.sources]\n"
        + "".join(f"{name} = {{ {source} }}\n" for name, source in sources.items())
        + f'[[tool.uv.index]]\nname = "flat"\nurl = "{tmp_path}/flat"\nformat = "flat"\nexplicit = true\n'
        + f'[[tool.uv.index]]\nname = "other"\nurl = "{(tmp_path / "other" / "simple").as_uri()}"\nexplicit = true\n',
    )
    lock_project(ours, index)
    shutil.rmtree(tmp_path / "repository")
    unchecked = "uv.lock was taken as it is"
    assert resolved(uv, ours, unchecked) == BOTH
    assert resolved(uv, ours, unchecked, groups=("windows",)) == BOTH
    for group, problem in {
        "git": r"ours cannot be installed: delta \(of group git\) comes from git \(file://.*\), which has no",
        "file": r"vendor \(of group file\) is the file vendor-1.0-py3-none-any.whl, which the builder does not",
        "foreign": r"gamma \(of group foreign\) comes from the project's index other \(.*\), which .*other=https",
    }.items():
        with pytest.raises(SpecError, match=problem):
            resolved(uv, ours, groups=(group,))
    flat = Index(extra=(f"flat={tmp_path}/flat", f"other={uv.index.default}"), default=uv.index.default)
    site = Uv(uv.layout, uv.runner, flat)
    with pytest.raises(
        SpecError,
        match=r"plain \(of group plain\) was locked without hashes by its index: use an index that lists hashes",
    ):
        resolved(site, ours, groups=("plain",))
    assert resolved(site, ours, unchecked, groups=("foreign",)) == {**BOTH, "gamma": "1.0"}
    # What is known on the builder only is refused there, as early.
    edit(ours / "pyproject.toml", "os_name == 'nt'", "platform_release != 'x'")
    edit(ours / "uv.lock", "os_name == 'nt'", "platform_release != 'x'")
    with pytest.raises(
        UvnasError, match=r"its project asks for delta from version control \(git\+file.*\), which has no"
    ):
        resolved(uv, ours, groups=("windows",))


def test_one_that_is_empty(uv: Uv, ours: Path, index: str) -> None:
    write_project(ours, '[dependency-groups]\ndev = ["delta"]\n', dependencies="[]")
    lock_project(ours, index)
    assert resolved(uv, ours, warned="its project asks for no packages, as it names no extras or groups") == {}
    assert resolved(uv, ours, groups=("dev",)) == {"delta": "1.0"}
    write_project(ours, "", dependencies="[\"alpha ; os_name == 'nt'\"]")
    lock_project(ours, index)
    with pytest.raises(UvnasError, match="none of the 2 packages that its project asks for is meant for its Python"):
        resolved(uv, ours)


def test_a_marker_is_decided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run does this for each project; large locks have thousands of markers, and few different ones."""
    marker = "python_full_version >= '3.11' and sys_platform == 'linux'"
    packages: list[dict[str, t.Any]] = [
        {"name": f"p{n}", "dependencies": [{"name": f"p{each}", "marker": marker} for each in range(n)]}
        for n in range(30)
    ]
    decided: list[str] = []
    decide = markers.holds
    monkeypatch.setattr(markers, "holds", lambda text, values: decided.append(text) or decide(text, values))  # type: ignore[func-returns-value]
    found = UvLock({"package": packages}, "uv.lock").certain(["p29"], (), (), markers.declared("3.12"))
    assert len(found) == 30
    assert sorted(decided) == ["", marker]


def test_a_lock_that_is_not_one(uv: Uv, ours: Path) -> None:
    write_project(ours, "")
    for text, problem in (
        ("package = 1\n", "uv.lock is not a lock file of uv: package"),
        ("[[package]]\nname = 1\n", "uv.lock is not a lock file of uv: package"),
        ('requires-python = ["3"]\n', "uv.lock is not a lock file of uv: requires-python"),
        ('[[package]]\nname = "x"\nsource = { editable = "/x" }\n', "x is the directory /x; give its path relative"),
    ):
        (ours / "uv.lock").write_text(text)
        with pytest.raises(SpecError, match=problem):
            resolved(uv, ours)
