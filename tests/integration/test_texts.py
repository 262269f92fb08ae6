# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files as editors, pip, conda and people write them: read as meant, or refused before anything is done."""

from __future__ import annotations

import codecs
import hashlib
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import parse
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION
from ansible_collections.uvnas.cluster.tests.support.sites import Run, Site, make_site
from ansible_collections.uvnas.cluster.tests.support.wheels import write_index, write_small_sdist, write_small_wheel

WRONG = "0" * 64


@pytest.fixture(scope="module")
def site(public: Path) -> Site:
    """A site that has everything but environments. Packages come from an index that knows the hashes of all files."""
    links = public / "links"
    for version in ("1.0", "2.0"):
        write_small_wheel(links, "alpha", version)
    write_small_sdist(links, "alpha", "1.0", {})
    write_small_wheel(links, "beta", "1.0")
    index = {"default": write_index(public / "index", links)}
    found = make_site(public / "site", {"uvnas_index": index, "uvnas_pythons": [VERSION.rpartition(".")[0]]})
    done = found.run([])
    assert done.rc == 0, done.output
    return found


def digest(site: Site, name: str) -> str:
    return hashlib.sha256((site.path.parent / "links" / name).read_bytes()).hexdigest()


def write(site: Site, **contents: bytes | str) -> None:
    for name, content in contents.items():
        path = site.files / name.replace("_", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def said(run: Run) -> str:
    """The output of a run that failed before its first task on a host, as one would read it."""
    assert run.rc != 0, run.output
    assert "PLAY [Lay out" not in run.output
    assert run.changed == 0
    return re.sub(r"\\n", "\n", run.output)


def test_files_with_byte_order_marks_and_other_line_ends(site: Site) -> None:
    mark = codecs.BOM_UTF8
    write(
        site,
        first_txt=mark + b"alpha==1.0\n",
        comment_txt=mark + b"# made by a tool\nalpha==1.0",
        including_txt=mark + b'beta\r\n-r "comment.txt"\r\n',
        limits_txt=mark + b"alpha<2\r\n",
        crlf_txt=b"alpha\r\n-c limits.txt\r\n",
        cr_txt=b"alpha==1.0\rbeta\r",
        wide_txt=codecs.BOM_UTF16_LE + "alpha==1.0\r\n".encode("utf-16-le"),
        ready_txt=mark + f"alpha==1.0 \\\r\n    --hash=sha256:{digest(site, 'alpha-1.0.tar.gz')}\r\n".encode(),
    )
    files = {
        "first": {"alpha": "1.0"},
        "comment": {"alpha": "1.0"},
        "including": {"alpha": "1.0", "beta": "1.0"},
        "crlf": {"alpha": "1.0"},
        "cr": {"alpha": "1.0", "beta": "1.0"},
        "wide": {"alpha": "1.0"},
    }
    envs: list[dict[str, t.Any]] = [{"name": name, "requirements_files": [f"{name}.txt"]} for name in files]
    envs.append({"name": "limited", "requirements": ["alpha"], "constraints_files": ["limits.txt"]})
    envs.append({"name": "ready", "lock": "ready.txt"})
    envs.append({"name": "empty", "requirements": ['alpha; sys_platform == "win32"']})
    done = site.run(envs)
    assert done.rc == 0, done.output
    expected = {**files, "limited": {"alpha": "1.0"}, "ready": {"alpha": "1.0"}, "empty": {}}
    assert {name: site.packages(name) for name in expected} == expected
    again = site.run(envs)
    assert (again.rc, again.changed) == (0, 0), again.output


def test_kept_files_that_are_not_locks(site: Site) -> None:
    envs = [{"name": name, "requirements": ["alpha"]} for name in ("ka", "kb", "kc", "kd")]
    envs.append({"name": "ke", "requirements": []})
    done = site.run(envs)
    assert done.rc == 0, done.output
    locks = site.path / "locks"
    locks.mkdir()
    (locks / "ka.txt").write_text("")
    (locks / "kb.txt").write_text("\n\n")
    (locks / "kc.txt").write_text("<<<<<<< HEAD\n")
    text = (site.share / "locks" / "kd.txt").read_text()
    (locks / "kd.txt").write_text(text.split("\n")[0] + "\n")
    output = said(site.run(envs, uvnas_lock_dir=str(locks)))
    for name, what in (
        ("ka", "it is empty"),
        ("kb", "it is empty"),
        ("kc", "HEAD"),
        ("kd", "it has 0 packages"),
    ):
        assert re.search(rf"environment {name}: {locks}/{name}\.txt is not a lock: .*{what}", output), output
    for name in ("ka", "kb", "kc", "kd"):
        (locks / f"{name}.txt").unlink()
    (locks / "ka.txt").write_bytes(
        codecs.BOM_UTF8 + (site.share / "locks" / "ka.txt").read_bytes().replace(b"\n", b"\r\n")
    )
    done = site.run(envs, uvnas_lock_dir=str(locks))
    assert done.rc == 0, done.output
    assert (locks / "ke.txt").read_text().count("\n") == 1
    assert site.link("kd")
    again = site.run(envs, uvnas_lock_dir=str(locks))
    assert (again.rc, again.changed) == (0, 0), again.output


def test_hashes_that_are_declared_are_those_of_the_lock(site: Site) -> None:
    wheel, sdist = (digest(site, name) for name in ("alpha-1.0-py3-none-any.whl", "alpha-1.0.tar.gz"))
    write(site, good_txt=f"alpha==1.0 \\\n  --hash=sha256:{wheel}\n", bad_txt=f"alpha==1.0 --hash=sha256:{WRONG}\n")

    def hashes() -> tuple[str, ...]:
        (package,) = parse((site.share / "locks" / "ha.txt").read_text(), what="it").packages
        return tuple(sorted(package.hashes))

    for declared, wanted in (
        ({"requirements_files": ["good.txt"]}, [wheel]),
        ({"requirements": ["alpha"], "constraints_files": ["good.txt"]}, [wheel]),
        ({"requirements": ["alpha==1.0"]}, [wheel, sdist]),
    ):
        done = site.envs([{"name": "ha", **declared}])
        assert done.rc == 0, done.output
        assert hashes() == tuple(sorted(f"sha256:{each}" for each in wanted))
    before = site.link("ha")
    for declared in (
        {"requirements_files": ["bad.txt"]},
        {"requirements": [f"alpha==1.0 --hash=sha256:{WRONG}"]},
        {"requirements": ["alpha"], "constraints_files": ["bad.txt"]},
        {"requirements": ["alpha"], "overrides": [f"alpha==1.0 --hash=sha256:{WRONG}"]},
    ):
        done = site.envs([{"name": "ha", **declared}])
        assert done.rc != 0
        assert "environment ha: alpha==1.0 has none of the hashes declared for it (sha256:00000000" in done.output
    assert site.link("ha") == before


def test_what_cannot_be_installed_is_refused_before_anything_is_done(site: Site) -> None:
    """All of it at once: a line for each, with the environment, the file and what to do."""
    wheel = site.path.parent / "links" / "alpha-1.0-py3-none-any.whl"
    write(site, mixed_txt="alpha\n-e .\n--pre\nalpha=1.0\n", uv_lock="version = 1\n", freeze_txt="alpha==1.0\n")
    write(site, export_txt=f"-e .\nalpha==1.0 --hash=sha256:{WRONG}\n")
    envs = [
        {"name": "wheel", "requirements": [f"alpha @ {wheel.as_uri()}"]},
        {"name": "fragment", "constraints": [f"alpha @ {wheel.as_uri()}#sha256={WRONG}"], "requirements": ["alpha"]},
        {"name": "repository", "requirements": ["mylib @ git+file:///srv/repo"]},
        {"name": "directory", "requirements": ["mylib @ file:///srv/libs/mylib"]},
        {"name": "vendored", "requirements": ["./vendor/x-1.0-py3-none-any.whl"]},
    ]
    output = said(site.run(envs))
    for name, what in (
        ("wheel", "requirements: .* is a local path"),
        ("fragment", "constraints: .* is a local path"),
        ("repository", "requirements: .* comes from version control"),
        ("directory", "requirements: .* is a local path"),
        ("vendored", "requirements: .* is a local path"),
    ):
        assert re.search(rf"environment {name}: {what}.* publish it to an index", output), output
    envs = [
        {"name": "mixed", "requirements_files": ["mixed.txt"]},
        {"name": "uvlock", "requirements_files": ["uv.lock"]},
        {"name": "freeze", "lock": "freeze.txt"},
        {"name": "export", "lock": "export.txt"},
    ]
    output = said(site.run(envs))
    for line in (
        f"environment mixed: {site.files}/mixed.txt:2: -e cannot be used here; local code is not installed",
        f"environment mixed: {site.files}/mixed.txt:3: --pre cannot be used here",
        f"environment mixed: {site.files}/mixed.txt:4: 'alpha=1.0' is not a requirement; did you mean alpha==1.0?",
        f"environment uvlock: {site.files}/uv.lock is a lock file of uv; give its directory as project",
        f"environment freeze: {site.files}/freeze.txt is not a lock: 'alpha==1.0' has no --hash. uv pip compile --gen",
        f"environment export: {site.files}/export.txt:1: '-e .' is local; export without it: uv export --no-emit-",
    ):
        assert line in output, output


def test_a_version_without_quotes(site: Site) -> None:
    output = said(site.run([{"name": "analysis", "python": 3.1, "requirements": ["alpha"]}]))
    assert "environment analysis: python must be a string; quote it" in output
    share = {"name": "nas_a", "root": str(site.share), "builder": "builder", "glibc": 2.31}
    assert "share nas_a: glibc must be a string; quote it" in said(site.run([], uvnas_shares=[share]))
