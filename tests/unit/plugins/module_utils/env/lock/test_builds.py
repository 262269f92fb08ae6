# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What packages are built with, found out and used with the real uv, from a directory of small packages."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
import uv as uv_package
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import install as builds
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as locks
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.resolve import Request, resolve
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec, Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed, SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.cache import borrow
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index, Uv
from ansible_collections.uvnas.cluster.tests.support.wheels import (
    write_backend,
    write_index,
    write_sdist_for,
    write_small_sdist,
    write_small_wheel,
)

PYTHON = ".".join(platform.python_version_tuple()[:2])
ANALYSIS = EnvironmentSpec("analysis", python=PYTHON)


class Counting(SystemRunner):
    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
        self.commands.append(list(cmd))
        return super().run(cmd, **more)


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """alpha, an sdist for the backend smith, which needs core and asks for helper; delta, a wheel."""
    directory = tmp_path / "links"
    write_backend(directory, "smith", "1.0", requires=["core"], asks=["helper"])
    write_small_wheel(directory, "core", "1.0")
    write_small_wheel(directory, "helper", "1.0")
    write_small_wheel(directory, "delta", "1.0")
    write_sdist_for(directory, "alpha", "1.0", "smith", ["smith>=1"])
    return directory


def uv_of(root: Path, links: Path) -> Uv:
    layout = Layout(str(root))
    os.makedirs(layout.bin_dir)
    os.symlink(uv_package.find_uv_bin(), layout.uv)
    return Uv(layout, Counting(), Index(find_links=(str(links),), offline=True))


@pytest.fixture
def uv(tmp_path: Path, links: Path) -> Uv:
    return uv_of(tmp_path / "share", links)


def texts(*lines: str, name: str = "requirements.in") -> tuple[tuple[str, str], ...]:
    return ((name, "".join(f"{line}\n" for line in lines)),)


def resolved(uv: Uv, *requirements: str, prior: str | None = None, upgrade: t.Any = False, **more: t.Any) -> str:
    fields = {key: more.pop(key) for key in ("no_binary", "exclude_newer") if key in more}
    fields["lock"] = "it" if "lock" in more else None
    sources = Sources(requirements=texts(*requirements), **more)
    packages = () if upgrade is True else tuple(upgrade or ())
    spec = EnvironmentSpec("analysis", python=PYTHON, **fields)
    text, warnings = resolve(uv, Request(spec, "5" * 64, sources, upgrade is True, packages), sys.executable, prior)
    assert warnings == []
    return text


def read(text: str) -> locks.Lock:
    return locks.parse(text, what="it")


def built_with(text: str) -> dict[str, dict[str, str]]:
    return {build.pin: {p.name: p.version for p in build.requires} for build in read(text).builds}


def installed(uv: Uv, text: str, tmp_path: Path, **more: t.Any) -> tuple[Completed, Path]:
    """What becomes of installing a lock the way that generations are built; and the directory of packages."""
    environment = tmp_path / f"env-{len(list(tmp_path.iterdir()))}"
    uv.check("venv", "--quiet", "--python", sys.executable, str(environment), message="no venv")
    lock = tmp_path / "lock.txt"
    lock.write_text(text, encoding="utf-8")
    arguments = ["--python", str(environment / "bin" / "python"), "--require-hashes"]
    done = builds.install(uv, read(text), str(lock), arguments, ["--allow-empty-requirements"], {}, **more)
    return done, environment / "lib" / f"python{PYTHON}" / "site-packages"


def maker(site: Path, name: str = "alpha") -> str:
    return (site / f"{name}.py").read_text(encoding="utf-8").strip().partition(" = ")[2].strip("'")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_asked_for_at_build_is_locked(uv: Uv, links: Path, tmp_path: Path) -> None:
    text = resolved(uv, "alpha", "delta")
    lock = read(text)
    assert lock.versions == {"alpha": "1.0", "delta": "1.0"}
    assert built_with(text) == {"alpha==1.0": {"core": "1.0", "helper": "1.0", "smith": "1.0"}}
    assert lock.builds[0].requires[1].hashes == ("sha256:" + digest(links / "helper-1.0-py3-none-any.whl"),)
    assert "# Build requirements of alpha==1.0:\n#     core==1.0 \\\n#         --hash=sha256:" in text
    done, site = installed(uv, text, tmp_path)
    assert (done.rc, done.stderr) == (0, "")
    assert maker(site) == "smith 1.0"
    assert sorted(path.name for path in site.glob("*.dist-info")) == ["alpha-1.0.dist-info", "delta-1.0.dist-info"]


def test_it_is_usable_without_this_collection(uv: Uv, tmp_path: Path) -> None:
    """By uv as it is, and with the command that the documentation gives."""
    (tmp_path / "train.txt").write_text(resolved(uv, "alpha"), encoding="utf-8")
    uv.check("venv", "--quiet", "--python", sys.executable, str(tmp_path / "bare"), message="no venv")
    python = ["--python", str(tmp_path / "bare" / "bin" / "python")]
    uv.check("pip", "sync", *python, "--require-hashes", str(tmp_path / "train.txt"), message="")
    uv.check("cache", "clean", "alpha", message="")
    command = "sed -n 's/^#     //p' train.txt > build.txt"
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True)
    sync = ["pip", "sync", "--reinstall", "--require-hashes", "--require-build-hashes"]
    uv.check(*sync, *python, "--build-constraints", "build.txt", "train.txt", message="", cwd=str(tmp_path))


def test_another_index_cannot_build_something_else(uv: Uv, links: Path, tmp_path: Path) -> None:
    """One locked source distribution, two indexes with different build backends of the same version."""
    text = resolved(uv, "alpha")
    others = tmp_path / "others"
    write_backend(others, "smith", "1.0", requires=["core"])  # It asks for nothing: another file.
    for same in ("core-1.0-py3-none-any.whl", "alpha-1.0.tar.gz"):
        shutil.copy(links / same, others)
    done, _site = installed(uv_of(tmp_path / "other", others), text, tmp_path)
    assert done.rc != 0
    assert "Hash mismatch for `smith==1.0`" in done.stderr


def test_another_index_with_a_newer_backend_builds_the_same(uv: Uv, links: Path, tmp_path: Path) -> None:
    text = resolved(uv, "alpha")
    write_backend(links, "smith", "2.0")
    done, site = installed(uv_of(tmp_path / "other", links), text, tmp_path)
    assert done.rc == 0
    assert maker(site) == "smith 1.0"


def test_what_was_built_with_something_else_is_not_taken_from_the_cache(uv: Uv, links: Path, tmp_path: Path) -> None:
    first = resolved(uv, "alpha")
    assert maker(installed(uv, first, tmp_path)[1]) == "smith 1.0"
    write_backend(links, "smith", "2.0")
    second = resolved(uv, "alpha")
    assert built_with(second) == {"alpha==1.0": {"smith": "2.0"}}
    assert read(first).digest != read(second).digest
    assert maker(installed(uv, second, tmp_path)[1]) == "smith 2.0"
    assert maker(installed(uv, first, tmp_path)[1]) == "smith 1.0"


def test_versions_so_far_are_kept(uv: Uv, links: Path) -> None:
    first = resolved(uv, "alpha")
    write_backend(links, "smith", "2.0")
    write_small_wheel(links, "helper", "2.0")
    assert resolved(uv, "alpha", prior=first) == first
    some = resolved(uv, "alpha", prior=first, upgrade=["helper"])
    assert built_with(some) == {"alpha==1.0": {"core": "1.0", "helper": "2.0", "smith": "1.0"}}
    assert built_with(resolved(uv, "alpha", prior=first, upgrade=True)) == {"alpha==1.0": {"smith": "2.0"}}
    fewer = resolved(uv, "alpha", prior=first, build_constraints=texts("smith>1"))
    assert built_with(fewer) == {"alpha==1.0": {"smith": "2.0"}}


def test_wheels_cost_one_look_at_the_cache(uv: Uv, tmp_path: Path) -> None:
    """And that is when a lock is made, not when it is installed."""
    runner = t.cast("Counting", uv.runner)
    text = resolved(uv, "delta")
    assert len(runner.commands) == 2
    runner.commands.clear()
    assert installed(uv, text, tmp_path)[0].rc == 0
    assert [command[5] for command in runner.commands] == ["venv", "pip"]
    assert "--require-build-hashes" in runner.commands[1]


def test_a_wheel_beside_it_is_what_counts(uv: Uv, links: Path, tmp_path: Path) -> None:
    write_small_wheel(links, "alpha", "1.0")
    uv = Uv(uv.layout, uv.runner, Index(write_index(tmp_path / "simple", links)))
    text = resolved(uv, "alpha")
    assert built_with(text) == {}
    assert built_with(resolved(uv, "alpha", no_binary=("alpha",))) == {
        "alpha==1.0": {"core": "1.0", "helper": "1.0", "smith": "1.0"}
    }
    # By now uv has seen its sources.
    assert resolved(uv, "alpha") == text


def test_a_wheel_that_came_later_does_not_count(uv: Uv, links: Path, tmp_path: Path) -> None:
    """The lock keeps the hashes that it had, which are those of the sources. So it is them that are built."""
    first = resolved(uv, "alpha")
    write_small_wheel(links, "alpha", "1.0")
    online = Uv(uv.layout, uv.runner, Index(write_index(tmp_path / "simple", links)))
    text = resolved(online, "alpha", "delta", prior=first)
    assert built_with(text) == built_with(first) == {"alpha==1.0": {"core": "1.0", "helper": "1.0", "smith": "1.0"}}
    done, site = installed(online, text, tmp_path)
    assert (done.rc, done.stderr) == (0, "")
    assert maker(site) == "smith 1.0"
    assert built_with(resolved(online, "alpha", "delta", prior=first, upgrade=True)) == {}


def test_a_hash_that_nothing_has(uv: Uv, links: Path) -> None:
    """The hashes of the package itself, whatever it is built with."""
    text = resolved(uv, "alpha")
    lock = text.split("# Build", maxsplit=1)[0].replace(digest(links / "alpha-1.0.tar.gz"), "5" * 64)
    with pytest.raises(CommandError) as failed:
        resolved(uv, lock=lock)
    assert str(failed.value).startswith("environment analysis: the hashes of alpha==1.0 are not those in its lock")
    assert "build_constraints" not in failed.value.hint


def test_what_a_lock_lacks_is_found_out_however_deep(uv: Uv, links: Path, tmp_path: Path) -> None:
    """It says what beta is built with, and not what that is built with."""
    write_sdist_for(links, "gear", "1.0", "smith", ["smith"])
    write_sdist_for(links, "beta", "1.0", "smith", ["smith", "gear"])
    text = resolved(uv, "beta")
    head, gear, beta = text.split("# Build requirements of ")
    assert (gear[:4], beta[:4]) == ("gear", "beta")
    for lock in (f"{head}# Build requirements of {beta}", "# Build requirements of ".join([head, beta, gear])):
        assert list(built_with(resolved(uv, lock=lock))) == ["gear==1.0", "beta==1.0"]


def test_what_is_declared_for_any_build_may_have_to_be_built(uv: Uv, links: Path, tmp_path: Path) -> None:
    write_backend(links, "tongs", "1.0")
    write_sdist_for(links, "gear", "1.0", "tongs", ["tongs"])
    text = resolved(uv, "alpha", build_constraints=texts("gear==1.0"))
    assert built_with(text) == {
        "gear==1.0": {"tongs": "1.0"},
        "alpha==1.0": {"core": "1.0", "helper": "1.0", "smith": "1.0"},
        "any package": {"gear": "1.0"},
    }
    # On a host where the backend asks for it.
    unasked = text.replace("alpha==1.0", "beta==1.0").replace(digest(links / "alpha-1.0.tar.gz"), "%s")
    write_sdist_for(links, "beta", "1.0", "smith", ["smith", "gear"])
    done, site = installed(uv, unasked % digest(links / "beta-1.0.tar.gz"), tmp_path)
    assert (done.rc, done.stderr) == (0, "")
    assert maker(site, "beta") == "smith 1.0"


def test_a_declared_hash_counts_however_the_version_is_written(uv: Uv, links: Path, tmp_path: Path) -> None:
    wheel = digest(links / "smith-1.0-py3-none-any.whl")
    write_small_wheel(links, "smith", "1.0", tag="py2-none-any")
    index = Uv(uv.layout, uv.runner, Index(write_index(tmp_path / "simple", links)))
    assert len(read(resolved(index, "alpha")).builds[0].requires[2].hashes) == 2
    for version in ("1", "1.0.0", "v1.0"):
        text = resolved(index, "alpha", build_constraints=texts(f"smith=={version} --hash=sha256:{wheel}"))
        smiths = [p for build in read(text).builds for p in build.requires if p.name == "smith"]
        assert {p.hashes for p in smiths} == {(f"sha256:{wheel}",)}


def test_a_wheel_for_another_platform_does_not_count(links: Path, tmp_path: Path) -> None:
    """uv takes the metadata from it, and does not look at the sources."""
    write_small_wheel(links, "alpha", "1.0", tag="cp39-cp39-win_amd64")
    uv = uv_of(tmp_path / "share", links)
    indexed = Uv(uv.layout, uv.runner, Index(write_index(tmp_path / "simple", links)))
    assert built_with(resolved(indexed, "alpha")) == {"alpha==1.0": {"core": "1.0", "helper": "1.0", "smith": "1.0"}}


def test_of_what_a_build_needs_built_and_in_two_versions(uv: Uv, links: Path, tmp_path: Path) -> None:
    """beta is built with gear, which is built with an older smith than beta; and gear itself is in the lock, newer."""
    write_backend(links, "smith", "2.0")
    write_sdist_for(links, "gear", "1.0", "smith", ["smith<2"])
    write_sdist_for(links, "gear", "2.0", "smith", ["smith"])
    write_sdist_for(links, "beta", "1.0", "smith", ["smith==2.0", "gear==1.0"])
    text = resolved(uv, "beta", "gear")
    assert built_with(text) == {
        "gear==1.0": {"core": "1.0", "helper": "1.0", "smith": "1.0"},
        "beta==1.0": {"gear": "1.0", "smith": "2.0"},
        "gear==2.0": {"smith": "2.0"},
    }
    done, site = installed(uv_of(tmp_path / "fresh", links), text, tmp_path)
    assert (done.rc, done.stderr) == (0, "")
    assert (maker(site, "beta"), maker(site, "gear")) == ("smith 2.0", "smith 2.0")


def test_nothing_is_needed(uv: Uv, links: Path, tmp_path: Path) -> None:
    """A backend of its own, and nothing else; the lock says that it is built."""
    write_small_sdist(links, "gamma", "1.0", {})
    text = resolved(uv, "gamma")
    assert built_with(text) == {"gamma==1.0": {}}
    done, site = installed(uv, text, tmp_path)
    assert done.rc == 0
    assert (site / "gamma" / "__init__.py").exists()


def test_what_is_locked_by_its_address(uv: Uv, links: Path, tmp_path: Path) -> None:
    """The package, and what it is built with."""
    address = f"file://{links}/smith-1.0-py3-none-any.whl"
    write_sdist_for(links, "beta", "1.0", "smith", [f"smith @ {address}"])
    text = resolved(uv, f"beta @ file://{links}/beta-1.0.tar.gz")
    pin = f"beta @ file://{links}/beta-1.0.tar.gz"
    assert built_with(text) == {pin: {"core": "1.0", "helper": "1.0", "smith": f"@ {address}"}}
    done, site = installed(uv, text, tmp_path)
    assert (done.rc, done.stderr) == (0, "")
    assert maker(site, "beta") == "smith 1.0"


def test_trial_builds_end_up_in_no_environment(uv: Uv, links: Path, tmp_path: Path) -> None:
    """gear is in uv's cache, built with whatever there was, as beta cannot begin to be built without it."""
    write_sdist_for(links, "gear", "1.0", "smith", ["smith"])
    write_sdist_for(links, "beta", "1.0", "smith", ["smith", "gear"])
    resolved(uv, "gear")
    text = resolved(uv, "beta")
    bare = f"gear==1.0 --hash=sha256:{digest(links / 'gear-1.0.tar.gz')}\n"
    unsaid = text[: text.index("# Build requirements of gear")] + text[text.index("# Build requirements of beta") :]
    smith = "#     smith==1.0 \\\n#         --hash=sha256:" + digest(links / "smith-1.0-py3-none-any.whl") + "\n"
    for lock in (bare, unsaid.replace(smith, "")):
        done, _site = installed(uv, lock, tmp_path)
        assert done.rc != 0
        assert "no trusted hash was provided for: `smith`" in done.stderr


def test_version_control_has_no_hash(uv: Uv, links: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "x").parent.mkdir()
    write_sdist_for(tmp_path / "unpacked", "vice", "1.0", "smith", ["smith"])
    subprocess.run(
        ["tar", "-xzf", str(tmp_path / "unpacked" / "vice-1.0.tar.gz"), "--strip-components=1"],
        cwd=repository,
        check=True,
    )
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "x"]):
        subprocess.run([*git, *command], cwd=repository, check=True)
    write_sdist_for(links, "beta", "1.0", "smith", ["smith", f"vice @ git+file://{repository}"])
    online = Uv(uv.layout, uv.runner, Index(write_index(tmp_path / "simple", links)))  # Not offline, for git.
    with pytest.raises(UvnasError) as failed:
        resolved(online, "beta")
    assert "beta==1.0 is built with vice from version control or from a directory" in str(failed.value)
    assert 'constraints: ["beta!=1.0"]' in failed.value.hint


def test_a_build_requirement_that_is_not_available(uv: Uv, links: Path) -> None:
    write_sdist_for(links, "beta", "1.0", "smith", ["nowhere"])
    with pytest.raises(CommandError) as failed:
        resolved(uv, "beta")
    assert str(failed.value).startswith("environment analysis: cannot find out what beta==1.0 is built with")
    assert "nowhere" in failed.value.stderr
    assert "build_constraints:" in failed.value.hint


def test_a_backend_that_fails(uv: Uv, links: Path) -> None:
    """Its newest version asks for something that does not exist; the hint helps."""
    write_backend(links, "smith", "3.0", asks=["nowhere"])
    with pytest.raises(CommandError) as failed:
        resolved(uv, "alpha")
    assert "nowhere" in failed.value.stderr
    text = resolved(uv, "alpha", build_constraints=texts("smith<3"))
    assert built_with(text) == {"alpha==1.0": {"core": "1.0", "helper": "1.0", "smith": "1.0"}}


def test_declared_versions_are_locked_and_their_hashes_count(uv: Uv, links: Path, tmp_path: Path) -> None:
    write_small_wheel(links, "tool", "1.0", ["core"])
    wheel = digest(links / "smith-1.0-py3-none-any.whl")
    given = texts("tool==1.0", f"smith==1.0 --hash=sha256:{wheel}")
    text = resolved(uv, "alpha", build_constraints=given)
    assert built_with(text)["any package"] == {"core": "1.0", "smith": "1.0", "tool": "1.0"}
    smiths = [p for build in read(text).builds for p in build.requires if p.name == "smith"]
    assert {p.hashes for p in smiths} == {(f"sha256:{wheel}",)}
    assert installed(uv, text, tmp_path)[0].rc == 0
    with pytest.raises(CommandError) as failed:
        resolved(uv, "alpha", build_constraints=texts(f"smith==1.0 --hash=sha256:{'5' * 64}"))
    assert "Hash mismatch" in failed.value.stderr


def test_what_is_declared_holds_for_what_any_build_may_use(uv: Uv, links: Path) -> None:
    """Which is resolved by itself."""
    write_small_wheel(links, "tool", "1.0", ["core"])
    write_small_wheel(links, "core", "2.0")
    given = texts("tool==1.0", "core<2")
    text = resolved(uv, "delta", build_constraints=given)
    assert built_with(text)["any package"] == {"core": "1.0", "tool": "1.0"}


def test_what_a_build_asks_for_here_only(uv: Uv, links: Path, tmp_path: Path) -> None:
    """As another host has no cmake, say. The hint says what to declare, and it helps."""
    text = resolved(uv, "alpha")
    fewer = "".join(
        line for line in text.splitlines(True) if "helper" not in line and digest(links / HELPER) not in line
    )
    assert built_with(fewer) == {"alpha==1.0": {"core": "1.0", "smith": "1.0"}}
    done, _site = installed(uv, fewer, tmp_path)
    assert done.rc != 0
    found = builds.explain(uv, ANALYSIS, read(fewer), sys.executable, done.stderr)
    assert found is not None
    problem, hint = found
    assert problem == "building alpha==1.0 requires helper, which its lock has no hash for"
    assert hint.endswith('build_constraints: ["helper==1.0"]')
    write_small_wheel(links, "helper", "2.0")
    limited = dataclasses.replace(ANALYSIS, build_constraints=("helper < 2", "core==1.0 --hash=sha256:" + "5" * 64))
    assert builds.explain(uv, limited, read(fewer), sys.executable, done.stderr) == found
    declared = resolved(uv, build_constraints=texts("helper==1.0"), lock=fewer)
    assert built_with(declared)["any package"] == {"helper": "1.0"}
    assert installed(uv, declared, tmp_path)[0].rc == 0


class Dated(http.server.BaseHTTPRequestHandler):
    """An index on loopback of the packages in a directory, which says of version 1 that it came earlier."""

    links: Path

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.strip("/").rpartition("/")[2]
        files = [path for path in self.links.iterdir() if name in (path.name, path.name.partition("-")[0])]
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": [self._file(path) for path in files]}
        body = files[0].read_bytes() if name.endswith((".whl", ".gz")) else json.dumps(page).encode()
        self.send_response(200 if files else 404)
        self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    @staticmethod
    def _file(path: Path) -> dict[str, t.Any]:
        came = f"20{20 + int(path.name.split('-')[1][0])}-01-01T00:00:00Z"
        return {"filename": path.name, "url": f"/{path.name}", "hashes": {"sha256": digest(path)}, "upload-time": came}

    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002  # The name in the base class.
        pass


def test_the_hint_has_a_version_that_is_allowed(uv: Uv, links: Path, tmp_path: Path) -> None:
    """For an environment that takes nothing newer than its exclude_newer."""
    write_small_wheel(links, "helper", "2.0")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Dated,), {"links": links}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        index = Uv(uv.layout, uv.runner, Index(f"http://127.0.0.1:{server.server_address[1]}/simple"))
        older = {"exclude_newer": "2021-06-01"}
        text = resolved(index, "alpha", **older)
        assert built_with(text) == {"alpha==1.0": {"core": "1.0", "helper": "1.0", "smith": "1.0"}}
        fewer = "".join(
            line for line in text.splitlines(True) if "helper" not in line and digest(links / HELPER) not in line
        )
        done, _site = installed(index, fewer, tmp_path)
        spec = EnvironmentSpec("analysis", python=PYTHON, **older)
        found = builds.explain(index, spec, read(fewer), sys.executable, done.stderr)
        assert found is not None
        assert found[1].endswith('build_constraints: ["helper==1.0"]')
    finally:
        server.shutdown()
        server.server_close()


HELPER = "helper-1.0-py3-none-any.whl"


def test_a_lock_that_somebody_made(uv: Uv, links: Path) -> None:
    """Without what its packages are built with, and with it."""
    text = resolved(uv, "alpha", "delta")
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("#")) + "\n"
    assert built_with(resolved(uv, lock=bare)) == built_with(text)
    write_backend(links, "smith", "2.0")
    assert built_with(resolved(uv, lock=text)) == built_with(text)
    assert built_with(resolved(uv, lock=bare)) == {"alpha==1.0": {"smith": "2.0"}}


def test_what_was_built_for_another_share_is_borrowed(uv: Uv, links: Path, tmp_path: Path) -> None:
    """Even if everything that it is built with is gone; but not if that is something else."""
    text = resolved(uv, "alpha")
    assert installed(uv, text, tmp_path)[0].rc == 0
    other = uv_of(tmp_path / "other", links)
    for wheel in links.glob("*.whl"):
        wheel.unlink()
    assert borrow(uv.layout.cache, other.layout.cache, {"alpha": "1.0"}, PYTHON)
    assert installed(other, text, tmp_path, built=True)[0].rc == 0
    assert installed(other, text.replace("core==1.0", "core==2.0"), tmp_path, built=True)[0].rc != 0


def test_secrets_are_not_for_builds(links: Path, tmp_path: Path) -> None:
    """Nor is what finds out what they are built with left on the share."""
    spy = tmp_path / "spied"
    before = f"open({str(spy)!r}, 'a').write(repr(dict(__import__('os').environ)))\n"
    write_small_sdist(links, "gamma", "1.0", {}, before)
    uv = uv_of(tmp_path / "share", links)
    secret = Uv(
        uv.layout, uv.runner, Index("https://robot:hunter2@packages.example.org/simple", (), (str(links),), True)
    )
    text = resolved(secret, "gamma")
    assert "hunter2" not in text
    assert not spy.exists() or "hunter2" not in spy.read_text(encoding="utf-8")
    assert installed(secret, text, tmp_path)[0].rc == 0
    assert "hunter2" not in spy.read_text(encoding="utf-8")
