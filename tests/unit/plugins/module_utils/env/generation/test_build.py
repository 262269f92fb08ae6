# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations on real files: built whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import build as generation
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation.build import Build
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import LockText
from ansible_collections.uvnas.cluster.plugins.module_utils.env.plan import Ingredients
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import durable
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import Interpreter
from ansible_collections.uvnas.cluster.plugins.module_utils.share import contents
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
from ansible_collections.uvnas.cluster.tests.support import acls, shares, unprivileged

KEY = "cpython-3.12.4-linux-x86_64-gnu"
HASH = " \\\n    --hash=sha256:" + "2" * 64 + "\n"


class FakeUv:
    """Makes environments that look like those of uv, with the packages it is given; may fail at one command."""

    def __init__(self, *installed: str, fails: str = "", home: str = "") -> None:
        self.installed, self.fails, self.home = installed, fails, home
        self.calls: list[tuple[list[str], dict[str, str]]] = []

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        variables: t.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        stdin: str | None = None,
    ) -> Completed:
        self.calls.append((list(cmd), dict(variables or {})))
        if "venv" in cmd:
            path, interpreter = Path(cmd[-1]), cmd[cmd.index("--python") + 1]
            (path / "bin").mkdir(parents=True)
            (path / "bin" / "python").symlink_to(interpreter)
            config = f"home = {self.home or os.path.dirname(interpreter)}\nversion_info = 3.12.4\n"
            (path / "pyvenv.cfg").write_text(config, encoding="utf-8")
            for name in self.installed:
                info = path / "lib" / "python3.12" / "site-packages" / f"{name}.dist-info"
                info.mkdir(parents=True)
                (info / "RECORD").write_text(f"{info.name}/RECORD,,\n")
        if self.fails and self.fails in cmd:
            return Completed(1, "", "error: this is what it said\n")
        return Completed(0, "", "")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(shares.make_share(tmp_path)))


def what(text: str = "iniconfig==2.1" + HASH, **fields: t.Any) -> Build:
    spec = EnvironmentSpec("analysis", python="3.12", requirements=("iniconfig",), **fields)
    lock = LockText(text, what="it")
    ingredients = Ingredients(lock.lock.digest, KEY, "1" * 64, spec.build_options())
    return Build(spec, ingredients, lock, Interpreter(KEY, "3.12.4", "1" * 64), "nas_a")


@pytest.mark.parametrize("limit", ["\u00b2", "9" * 5000, "0", "-1", "many", ""])
def test_a_limit_that_is_none_is_left_to_uv(layout: Layout, limit: str) -> None:
    uv = Uv(layout, FakeUv("iniconfig-2.1"), extra_variables={"UV_CONCURRENT_INSTALLS": limit})
    assert generation.build(layout, uv, what()).packages == {"iniconfig": "2.1"}


def test_what_is_built_has_a_manifest(layout: Layout) -> None:
    build = what(imports=("iniconfig",))
    manifest = generation.build(layout, Uv(layout, FakeUv("iniconfig-2.1")), build)
    written = json.loads(Path(layout.manifest("analysis", build.id)).read_text(encoding="utf-8"))
    assert {key: value for key, value in written.items() if key != "sha256"} == manifest.as_dict()
    assert (written["format"], written["environment"], written["id"]) == (2, "analysis", build.id)
    assert written["packages"] == {"iniconfig": "2.1"}
    assert written["python"] == {"key": KEY, "version": "3.12.4", "digest": "1" * 64}
    assert written["source"] == {"python": "3.12", "requirements": ["iniconfig"]}
    assert written["imports"] == ["iniconfig"]
    assert written["lock"] == {"digest": build.lock.lock.digest, "spec": None, "text": build.lock.digest}


def test_it_is_built_from_the_lock_that_it_carries(layout: Layout) -> None:
    """Whatever becomes of the lock on the share meanwhile, or is in a comment of it."""
    text = "# from somewhere\niniconfig==2.1" + HASH

    class Replacing(FakeUv):
        given = b""

        def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
            if "sync" in cmd:
                Path(layout.lock("analysis")).write_text("iniconfig==9.9" + HASH, encoding="utf-8")
                self.given = Path(cmd[-1]).read_bytes()
            return super().run(cmd, **more)

    runner, build = Replacing("iniconfig-2.1"), what(text)
    Path(layout.lock("analysis")).write_text(text, encoding="utf-8")
    manifest = generation.build(layout, Uv(layout, runner), build)
    own = Path(layout.generation_lock("analysis", build.id))
    assert own.read_bytes() == runner.given == text.encode()
    assert own.stat().st_mode & 0o777 == 0o644
    assert manifest.lock.text == hashlib.sha256(text.encode()).hexdigest()


def test_what_is_there_is_recorded(layout: Layout) -> None:
    build = what(checks=("true",))
    manifest = generation.build(layout, Uv(layout, FakeUv("iniconfig-2.1")), build)
    found = contents.read(layout.contents("analysis", build.id), manifest.content)
    site = "lib/python3.12/site-packages"
    assert set(found.records) == {f"{site}/iniconfig-2.1.dist-info/RECORD"}
    ours = {".uvnas-pin.py", f"{site}/zzz_uvnas_pin.pth", "bin/pip", f"{site}/pip.py"}
    assert set(found.files) == {"pyvenv.cfg", *ours}
    assert found.links == {
        "bin/python": layout.interpreter_bin(KEY, "3.12"), "bin/pip3": "pip", "bin/pip3.12": "pip",
    }  # fmt: skip
    assert manifest.content.packages == found.portable


def test_packages_that_disagree_on_a_file_are_not_sealed(layout: Layout) -> None:
    """Nor tried: which of them won is chance."""

    class Disagreeing(FakeUv):
        def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
            done = super().run(cmd, **more)
            if "venv" in cmd:
                for info in Path(cmd[-1]).rglob("*.dist-info"):
                    (info / "RECORD").write_text(f"tests.py,sha256={info.name[0]},1\n", encoding="utf-8")
            return done

    runner = Disagreeing("iniconfig-2.1", "extra-1.0")
    with pytest.raises(UvnasError, match="different content: extra and iniconfig .*tests.py"):
        generation.build(layout, Uv(layout, runner), what("iniconfig==2.1" + HASH + "extra==1.0" + HASH, checks=("x",)))
    assert len(runner.calls) == 2
    assert os.listdir(layout.generations_of("analysis")) == []


def test_what_the_spec_asks_for_is_what_uv_is_asked_for(layout: Layout) -> None:
    runner = FakeUv("iniconfig-2.1")
    options: dict[str, t.Any] = {"no_binary": ("iniconfig",), "system_site_packages": True, "torch_backend": "cpu"}
    generation.build(layout, Uv(layout, runner), what(**options, imports=("iniconfig",), checks=("true",)))
    (venv, _venv_env), (sync, environment), (imports, _imports_env), (check, checking) = runner.calls
    assert "--system-site-packages" in venv
    assert sync[sync.index("--no-binary") + 1] == "iniconfig"
    assert "--require-hashes" in sync
    assert "--compile-bytecode" not in sync  # See test_bytecode.py.
    assert environment["UV_TORCH_BACKEND"] == "cpu"
    assert imports[-1] == "iniconfig"
    assert check == ["/bin/sh", "-c", "true"]
    assert checking["PATH"].startswith(checking["VIRTUAL_ENV"] + "/bin:")


@pytest.mark.parametrize("fails", ["venv", "sync", "-I", "/bin/sh"])
def test_what_fails_leaves_nothing_behind(fails: str, layout: Layout) -> None:
    runner = FakeUv("iniconfig-2.1", fails=fails)
    with pytest.raises(CommandError, match="environment analysis: ") as caught:
        generation.build(layout, Uv(layout, runner), what(imports=("iniconfig",), checks=("false",)))
    assert caught.value.stderr == "error: this is what it said\n"
    assert os.listdir(layout.generations_of("analysis")) == []


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ((), r"missing \['iniconfig'\]"),
        (("iniconfig-2.1", "numpy-2.0"), r"not in the lock \['numpy'\]"),
        (("iniconfig-2.0",), r"other version \['iniconfig'\]"),
    ],
)
def test_what_is_not_what_the_lock_says_is_not_sealed(installed: tuple[str, ...], said: str, layout: Layout) -> None:
    runner = FakeUv(*installed, "extra-1.0")
    lock = "iniconfig==2.1" + HASH + "extra==1.0" + HASH
    with pytest.raises(UvnasError, match=said):
        generation.build(layout, Uv(layout, runner), what(lock))
    assert os.listdir(layout.generations_of("analysis")) == []


@pytest.mark.parametrize(
    ("text", "installed"),
    [
        ("torch==2.5.1+cu-12.1", "torch-2.5.1+cu_12.1"),
        ("iniconfig @ https://example.org/iniconfig-9.tar.gz", "iniconfig-9"),
        ("Zope.Interface==7.0", "zope_interface-7.0"),
    ],
)
def test_names_and_versions_are_compared_as_they_are_meant(text: str, installed: str, layout: Layout) -> None:
    manifest = generation.build(layout, Uv(layout, FakeUv(installed)), what(text + HASH))
    assert len(manifest.packages) == 1


def test_a_package_for_another_platform_may_be_missing(layout: Layout) -> None:
    text = "iniconfig==2.1" + HASH + "colorama==0.4 ; sys_platform == 'win32'" + HASH
    assert generation.build(layout, Uv(layout, FakeUv("iniconfig-2.1")), what(text)).packages == {"iniconfig": "2.1"}


def test_an_environment_on_a_link_that_will_move_is_not_sealed(layout: Layout) -> None:
    runner = FakeUv("iniconfig-2.1", home=os.path.join(layout.python, "cpython-3.12", "bin"))
    with pytest.raises(UvnasError, match="it was built on .*cpython-3.12/bin, not on"):
        generation.build(layout, Uv(layout, runner), what())


def test_a_full_share_is_said_to_be_full(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.statvfs_result((4096, 4096, 1000, 100, 100, 1000, 500, 50, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with pytest.raises(CommandError) as caught:
        generation.build(layout, Uv(layout, FakeUv(fails="sync")), what())
    assert caught.value.hint.startswith(f"The share is full: {100 * 4096} bytes and 50 inodes are free.")


def test_a_filesystem_that_counts_no_inodes_is_not_full(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = os.statvfs_result((4096, 4096, 1 << 30, 1 << 29, 1 << 29, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: roomy)
    with pytest.raises(CommandError) as caught:
        generation.build(layout, Uv(layout, FakeUv(fails="sync")), what())
    assert caught.value.hint == f"Its log: {layout.build_log('analysis')}"


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_what_is_built_is_sealed_and_seen_by_nobody_before(umask: int, layout: Layout) -> None:
    class Looking(FakeUv):
        seen: t.ClassVar[list[int]] = []

        def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
            done = super().run(cmd, **more)
            self.seen.append(mode(layout.generation("analysis", build.id)))
            return done

    build = what(imports=("iniconfig",))
    before = os.umask(umask)
    try:
        generation.build(layout, Uv(layout, Looking("iniconfig-2.1")), build)
    finally:
        os.umask(before)
    assert Looking.seen == [0o700] * 3
    top = Path(layout.generation("analysis", build.id))
    assert mode(top) == 0o555
    assert [path for path in top.rglob("*") if path.is_dir() and mode(path) & 0o222] == []
    assert mode(layout.manifest("analysis", build.id)) == 0o444
    assert mode(top.parent) == 0o755


def test_what_is_built_inherits_no_acl(layout: Layout) -> None:
    """Neither from above nor from the directory of its generations, which may be there from before."""
    Path(layout.generations, "analysis").mkdir()
    for directory in (layout.generations, layout.generations_of("analysis")):
        acls.let_a_group_write(Path(directory))
    build = what()
    generation.build(layout, Uv(layout, FakeUv("iniconfig-2.1")), build)
    assert acls.acls_in(Path(layout.generations_of("analysis"))) == []
    tree = [Path(layout.generations_of("analysis")), *Path(layout.generations_of("analysis")).rglob("*")]
    assert [path for path in tree if not path.is_symlink() and mode(path) & 0o022] == []


def test_one_that_was_sealed_and_lost_its_manifest_is_built_anew_by_its_owner(layout: Layout) -> None:
    build = what()
    unprivileged.give(Path(layout.root))

    def work() -> int:
        generation.build(layout, Uv(layout, FakeUv("iniconfig-2.1")), build)
        top = layout.generation("analysis", build.id)
        os.chmod(top, 0o755)
        os.unlink(layout.manifest("analysis", build.id))
        generation.build(layout, Uv(layout, FakeUv("iniconfig-2.1")), build)
        with pytest.raises(CommandError):
            generation.build(layout, Uv(layout, FakeUv(fails="sync")), build)
        return len(os.listdir(layout.generations_of("analysis")))

    assert unprivileged.done(work) == 0


def test_it_is_on_the_disk_before_its_manifest_says_that_it_is_complete(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, with its modes."""
    build, seen = what(), []
    path = Path(layout.generation("analysis", build.id))

    def sync(_disks: durable.Disks) -> None:
        names = {entry.name for entry in path.iterdir()}
        seen.append((names >= {"bin", ".uvnas-files.json"}, ".uvnas.json" in names, (path / "bin").stat().st_mode))

    monkeypatch.setattr(durable.Disks, "sync", sync)
    generation.build(layout, Uv(layout, FakeUv("iniconfig-2.1")), build)
    assert seen == [(True, False, stat.S_IFDIR | 0o555)]


def test_what_does_not_get_to_the_disk_is_not_complete(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_disks: durable.Disks) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), layout.generations)

    monkeypatch.setattr(durable.Disks, "sync", sync)
    with pytest.raises(OSError, match="Input/output error"):
        generation.build(layout, Uv(layout, FakeUv("iniconfig-2.1")), what())
    assert os.listdir(layout.generations_of("analysis")) == []
