# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories that were mistyped anywhere, and files that they name: one error that says where, and no traceback."""

from __future__ import annotations

import functools
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.declared import for_glibc, parse_environments
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.plan import Input
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.identity import parse_identity
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share, parse_shares
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index
from ansible_collections.uvnas.cluster.plugins.plugin_utils import report, summary, work
from ansible_collections.uvnas.cluster.plugins.plugin_utils.declaration import Declaration
from ansible_collections.uvnas.cluster.plugins.plugin_utils.variables import options
from ansible_collections.uvnas.cluster.tests.support.generated import JSON, YAML, damaged, damaged_text, outcome
from hypothesis import example, given
from hypothesis import strategies as st

attempt = functools.partial(outcome, UvnasError)
SHARES: list[dict[str, t.Any]] = [
    {"name": "nas_a", "root": "/mnt/nas-a/uv", "mount": "/mnt/nas-a", "builder": "dev1", "glibc": "2.31"},
    {"name": "nas_b", "root": "/mnt/nas-b/uv", "builder": "dev1", "id": "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a"},
]  # fmt: skip
ENVS: list[dict[str, t.Any]] = [
    {
        "name": "train",
        "python": "3.12",
        "requirements": ["numpy>=2", "pandas[x] ; python_version > '3'"],
        "requirements_files": ["files/a.in"],
        "constraints": ["six<2"],
        "overrides": ["six==1.17.0"],
        "shares": ["nas_a"],
        "imports": ["numpy"],
        "checks": ["python -c 1"],
        "exclude_newer": "2026-01-31",
        "no_binary": ["six"],
        "seed": True,
        "torch_backend": "cpu",
    },
    {"name": "project", "python": "3.12.4", "project": "projects/x", "extras": ["gpu"], "groups": ["eval"]},
    {"name": "vendor", "python": "3.13t", "lock": "files/lock.txt"},
    {"name": "old", "state": "absent"},
]
LOCK = "alpha==2.1 \\\n    --hash=sha256:" + "2" * 64 + "\n"
FILES = {
    "files/a.in": "numpy>=2  # a comment\n-r b.in\n-c c.in\n",
    "files/b.in": "pandas\n",
    "files/c.in": "scipy<2\n",
    "files/lock.txt": LOCK,
    "files/pylock.toml": f"""\
lock-version = "1.0"
requires-python = ">=3.9"
environments = ["sys_platform == 'linux'"]
dependency-groups = ["eval"]
extras = ["gpu"]
[[packages]]
name = "alpha"
version = "2.1"
marker = "'gpu' in extras or 'eval' not in dependency_groups"
wheels = [{{url = "https://x/alpha.whl", hashes = {{sha256 = "{"2" * 64}"}}}}]
""",
    "projects/x/pyproject.toml": """\
[project]
name = "x"
version = "1.0"
[project.optional-dependencies]
gpu = ["beta"]
[dependency-groups]
eval = ["gamma"]
[tool.uv]
index = [{name = "more", url = "https://more.example.org/simple"}]
[tool.uv.workspace]
members = ["packages/*"]
exclude = ["packages/old"]
""",
    "projects/x/uv.lock": """\
version = 1
requires-python = ">=3.12"
[manifest]
members = ["x", "y"]
[manifest.dependency-groups]
eval = [{ name = "beta" }]
[[package]]
name = "beta"
version = "2.1"
source = { registry = "https://index.example.org/simple" }
dependencies = [{ name = "gamma", marker = "sys_platform == 'linux'" }]
wheels = [{ url = "https://x/beta.whl", hash = "sha256:22" }]
[[package]]
name = "gamma"
version = "1"
source = { registry = "https://index.example.org/simple" }
sdist = { url = "https://x/gamma.tar.gz", hash = "sha256:22" }
[[package]]
name = "x"
version = "0.9"
source = { editable = "." }
[package.optional-dependencies]
gpu = [{ name = "beta", extra = ["fast"] }]
[package.dev-dependencies]
eval = [{ name = "gamma" }]
[[package]]
name = "y"
version = "1.0"
source = { editable = "packages/y" }
""",
    "projects/x/packages/y/pyproject.toml": '[project]\nname = "y"\nversion = "1.0"\n',
    "locks/train.txt": '# uvnas.cluster lock: {"format": 1, "spec": "5"}\n' + LOCK,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inventory")
    _write(root)
    return root


def _write(root: Path) -> None:
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


class Given:
    """Hosts with these variables."""

    hosts = ("dev1",)

    def __init__(self, variables: dict[str, t.Any], directory: Path) -> None:
        self._variables = variables
        self._directory = directory

    def names(self, _host: str) -> set[str]:
        return {name for name in self._variables if isinstance(name, str)}

    def value(self, _host: str, name: str) -> t.Any:
        return self._variables[name]

    def context(self, _host: str) -> dict[str, t.Any]:
        return {"inventory_dir": str(self._directory)}


def look(variables: dict[str, t.Any], directory: Path) -> list[str]:
    """What is wrong with the variables of a host; where nothing is, it has something to do."""
    declarations = work.Declarations(Given(variables, directory), options())
    declared = declarations.of("dev1")
    assert all(isinstance(path, str) for _label, path in work.paths(declared.values))
    if declared.problems:
        return list(declared.problems)
    todo, problems = declarations.work("dev1", declared)
    assert bool(todo) != bool(problems)
    json.dumps(todo)
    return problems


VARIABLES: dict[str, t.Any] = {
    "uvnas_shares": SHARES,
    "uvnas_envs": ENVS,
    "uvnas_host_shares": ["nas_a"],
    "uvnas_index": {
        "default": "https://index.example.org/simple",
        "extra": ["https://u:p@x/"],
        "find_links": ["/srv/links"],
    },
    "uvnas_python_mirror": "https://mirror.example.org",
    "uvnas_profile_variables": {"UV_HTTP_TIMEOUT": 60, "HTTPS_PROXY": "http://proxy:3128", "UV_OFFLINE": True},
    "uvnas_profile_dir": "/etc/profile.d",
    "uvnas_profile_fish_dir": "",
    "uvnas_user_cache": "private",
    "uvnas_user_cache_users": ["alice"],
    "uvnas_pythons": ["3.12"],
    "uvnas_python_remove": ["3.11.2"],
    "uvnas_upgrade_pythons": "3.12",
    "uvnas_upgrade": ["train"],
    "uvnas_upgrade_packages": "numpy,pandas",
    "uvnas_lock_dir": "locks",
    "uvnas_site_pythons": [{"name": "site", "version": "3.11.9", "prefix": "/opt/python"}],
    "uvnas_uv_variables": {"HTTPS_PROXY": "http://proxy:3128"},
    "uvnas_uv_archive": {"path": "uv.whl"},
    "uvnas_jobs": 4,
    "uvnas_busy_timeout": 600,
}


# Every line names something that an admin has written.
NAMED = (
    "uvnas_", "environment", "share", "interpreter", "upgrade", "UV_", "variable", "PROXY", "request", "removed",
    "directory for profile files", "CPython", "version", "sha256", "is no ",
)  # fmt: skip


def test_the_inventory_is_one(files: Path) -> None:
    assert look(VARIABLES, files) == []


@given(damaged(VARIABLES, YAML))
def test_what_is_declared(files: Path, variables: t.Any) -> None:
    for line in look(variables if isinstance(variables, dict) else {}, files):
        assert line
        assert len(line.splitlines()) == 1
        assert any(word in line for word in NAMED)


@given(damaged(SHARES, YAML))
def test_shares(items: t.Any) -> None:
    if isinstance(items, list) and all(isinstance(item, dict) for item in items):
        attempt(lambda: parse_shares(items), "share", "root", "mount", "glibc")


@given(damaged(ENVS))
def test_specs_come_back_as_they_were(items: t.Any) -> None:
    """What is checked can be told a host, and is a text wherever it has to be one."""
    if not (isinstance(items, list) and all(isinstance(item, dict) for item in items)):
        return
    specs = attempt(lambda: parse_environments(items), "environment ")
    for spec in specs or ():
        assert EnvironmentSpec.from_dict(json.loads(json.dumps(spec.as_dict()))) == spec
    attempt(lambda: for_glibc(specs or (), {"nas_a": "2.31"}), "glibc")


SPEC = {"name": "train", "python": "3.12", "requirements": ["six"], "shares": ["nas_a"], "seed": True, "glibc": "2.31"}
INPUT: dict[str, t.Any] = {
    "spec_digest": "5" * 64,
    "sources": {
        "requirements": [["a.in", "six\n"]],
        "project": [["pyproject.toml", ""], ["x/uv.lock", ""]],
        "directory": "x",
        "package": "y",
        "dynamic": ["z"],
        "lock": None,
        "conditions": [["it is for another Python", "", "python_version < '3'"]],
    },
    "kept": {"text_digest": "1" * 64, "spec_digest": None, "text": LOCK},
    "want_text": False,
}


@given(damaged(SPEC), damaged(INPUT))
@example(SPEC, {"spec_digest": "", "sources": {"project": [["../../../tmp/x", ""]]}})
@example(SPEC, {"spec_digest": "", "sources": {"project": [["/tmp/x", ""]]}})
@example(SPEC, {"spec_digest": "", "sources": {"project": [["x", ""]], "directory": "../.."}})
def test_what_a_host_is_told(spec: t.Any, known: t.Any) -> None:
    attempt(lambda: EnvironmentSpec.from_dict(spec if isinstance(spec, dict) else {}), "environment")
    found = attempt(lambda: Input.from_dict(known if isinstance(known, dict) else {}, "train"), "inputs", "sources")
    sources = found.sources if found is not None else None
    for name, text in (sources or Sources()).project:
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert (name + text).encode() is not None
    assert ".." not in (sources or Sources()).directory.split("/")


@given(damaged({"layout": 1, "name": "nas_a", "id": "6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a"}))
def test_identities(data: t.Any) -> None:
    attempt(lambda: parse_identity(data if isinstance(data, dict) else {}, "x/share.json"), "x/share.json")


@given(damaged({"name": "nas_a", "root": "/mnt/nas-a/uv", "mount": "/mnt/nas-a", "glibc": "2.31"}, YAML))
def test_one_share(item: t.Any) -> None:
    attempt(lambda: Share.parse(item if isinstance(item, dict) else {}), "share", "root", "mount", "glibc")


@given(st.sampled_from(sorted(FILES)).flatmap(lambda name: st.tuples(st.just(name), damaged_text(FILES[name]))))
@example(("projects/x/pyproject.toml", "[tool.uv.workspace]\nmembers = ['../../..', '/etc/*']\n"))
@example(("projects/x/pyproject.toml", "x = " + "[" * 3000))
@example(("projects/x/pyproject.toml", "x = " + "9" * 5000))
@example(("files/a.in", "-r b\0.in\n"))
@example(("files/a.in", "-r '\n"))
@example(("files/a.in", "six --hash=\n"))
@example(("locks/train.txt", ""))
def test_files_of_an_inventory(tmp_path_factory: pytest.TempPathFactory, damage: tuple[str, str]) -> None:
    root = tmp_path_factory.getbasetemp() / "files"
    _write(root)
    (root / damage[0]).write_bytes(damage[1].encode(errors="surrogatepass"))
    envs = [*ENVS, {"name": "pylock", "python": "3.12", "lock": "files/pylock.toml"}]
    specs = [spec for spec in parse_environments(envs) if spec.present]
    declaration = Declaration(str(root), str(root / "locks"), Index())
    inputs = attempt(
        lambda: declaration.inputs(specs, {}, check_locks=True),
        *(str(root / damage[0]), str(root / "projects" / "x"), "includes itself", "cannot read"),
    )
    for known in (inputs or {}).values():
        json.dumps(known.as_dict(with_texts=True)).encode()


def fact(name: str) -> dict[str, t.Any]:
    size = {"bytes": 10, "own_bytes": 1}
    return {"name": name, "python": {"version": "3.12.4"}, "package_count": 2, "size": size}


SEEN: list[dict[str, t.Any]] = [
    {"__uvnas_share": {"name": "nas_a"}, "environments": [fact("train"), fact("docs")]},
    {"__uvnas_share": {"name": "nas_b"}, "environments": [fact("train")]},
]
DONE: list[dict[str, t.Any]] = [
    {
        "__uvnas_share": {"name": "nas_a"},
        "environments": [
            {
                "name": "train",
                "action": "build",
                "seconds": 1.5,
                "packages_changed": ["numpy 2.1 -> 2.2", "six 1 (new)"],
            },
            {"name": "gone", "action": "remove"},
        ],
    }
]
NAMES = frozenset({"train", "docs", "gone", "fine"})


@given(damaged(SEEN) | JSON, damaged(DONE) | JSON)
def test_a_summary_of_nonsense(seen: t.Any, done: t.Any) -> None:
    fine = {"results": [{"__uvnas_share": {"name": "fine"}, "share_id": "x", "environments": [fact("fine")]}]}
    hosts = report.Hosts(
        {
            "dev1": {"__uvnas_envs_done": {"results": done}, "__uvnas_verify_seen": {"results": seen}},
            "dev2": {"__uvnas_verify_seen": fine},
        },
        ["dev1", "dev2"],
    )
    shares = [
        report.Share("nas_a", "/mnt/nas-a/uv", "dev1", NAMES),
        report.Share("fine", "/mnt/nas-b/uv", "dev2", NAMES),
    ]
    lines = summary.lines(report.of_run(shares, hosts, check_mode=False, time="2026-01-31T12:00:00+00:00"))
    assert all(line.isprintable() for line in lines)
    assert any(line.startswith("fine: fine") for line in lines)
