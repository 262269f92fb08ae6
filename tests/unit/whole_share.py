# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small share with everything that is vouched for: built by the collection, with something that installs for uv."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import random
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode.store import Bytecode
from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode.store import Interpreter as Compiler
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import build as generations
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.file import LockText
from ansible_collections.uvnas.cluster.plugins.module_utils.env.plan import Ingredients
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair import converge
from ansible_collections.uvnas.cluster.plugins.module_utils.env.repair.converge import Repair
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.host import sealing
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed, SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.python import contents as interpreters
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import Interpreter
from ansible_collections.uvnas.cluster.plugins.module_utils.python.sources import Downloads
from ansible_collections.uvnas.cluster.plugins.module_utils.share import contents
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
from ansible_collections.uvnas.cluster.tests.support import damages, pythons, shares

KEY, VERSION = pythons.key(), pythons.VERSION
MINOR = VERSION.rpartition(".")[0]
SITE = f"lib/python{MINOR}/site-packages"
TAG = sys.implementation.cache_tag
DIGEST = "1" * 64
ARCHIVE = f"{DIGEST[:9]}-python.tar.gz"
# By name, in version 1.0: its files, and the hash in its RECORD.
WHEELS: dict[str, tuple[str, dict[str, bytes]]] = {
    "alpha": (
        "sha256",
        {
            "alpha/__init__.py": b"from alpha.core import answer\n",
            "alpha/core.py": b"answer = 42\n",
            "alpha/empty.py": b"",
            "alpha/data.bin": random.Random(1).randbytes(5000),
            "alpha/größe.txt": b"1",
            f"alpha/_vendor/{'long' * 60}.py": b"",
            "alpha/_vendor/gamma-2.0.dist-info/RECORD": b"gamma.py,,\n",
        },
    ),
    "beta": (
        "sha512",
        {"beta.py": b"beta = 1\n", "beta/lib/x.txt": b"x", "__pycache__/beta.cpython-27.pyc": b"of another Python"},
    ),
}
# Files whose RECORD has no hash of them.
UNHASHED = frozenset({"beta/lib/x.txt"})


def _hash(algorithm: str, content: bytes) -> str:
    return f"{algorithm}={base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).decode().rstrip('=')}"


def _record(name: str, files: t.Mapping[str, bytes], algorithm: str) -> str:
    lines = [
        f"{place},," if place in UNHASHED else f"{place},{_hash(algorithm, content)},{len(content)}"
        for place, content in files.items()
    ]
    return "\n".join([*lines, f"{name}-1.0.dist-info/RECORD,,", ""])


def unpacked(root: Path, name: str) -> Path:
    """Where a wheel is unpacked in the cache."""
    return root / "cache" / "archive-v0" / f"of-{name}"


def add_wheel(root: Path, name: str) -> None:
    algorithm, content = WHEELS[name]
    found = {**content, f"{name}-1.0.dist-info/METADATA": f"Name: {name}\n".encode()}
    for place, text in found.items():
        path = unpacked(root, name) / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    (unpacked(root, name) / f"{name}-1.0.dist-info" / "RECORD").write_text(_record(name, found, algorithm))


@dataclasses.dataclass
class InstallingUv:
    """Makes environments as uv does, from the unpacked wheels. Whatever else is run, such as compilers, really is."""

    root: Path
    copies: bool = False
    # Whether the index has the wheels.
    index: bool = False
    calls: list[list[str]] = dataclasses.field(default_factory=list)

    def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
        if cmd[0] != Layout(str(self.root)).uv:
            return SystemRunner().run(cmd, **more)
        self.calls.append(list(cmd))
        if "venv" in cmd:
            path, interpreter = Path(cmd[-1]), cmd[cmd.index("--python") + 1]
            (path / "bin").mkdir(parents=True)
            (path / SITE).mkdir(parents=True)
            (path / "lib64").symlink_to("lib")
            (path / "bin" / "python").symlink_to(interpreter)
            (path / "pyvenv.cfg").write_text(f"home = {os.path.dirname(interpreter)}\n", encoding="utf-8")
        elif "sync" in cmd and (self.index or "--target" not in cmd):
            for line in Path(cmd[-1]).read_text().splitlines():
                name, is_package, _version = line.partition("==")
                if is_package and "--target" in cmd:
                    add_wheel(Path(cmd[cmd.index("--target") + 1]), name)
                elif is_package:
                    self._install(name, Path(cmd[cmd.index("--python") + 1]).parents[1])
        else:
            return Completed(2, "", "error: no route to the index\n")
        return Completed(0, "", "")

    def _install(self, name: str, path: Path) -> None:
        algorithm, _content = WHEELS[name]
        found, info = {}, f"{name}-1.0.dist-info"
        for source in sorted(unpacked(self.root, name).rglob("*")):
            place = str(source.relative_to(unpacked(self.root, name)))
            if source.is_dir() or place == f"{info}/RECORD":
                continue
            target = path / SITE / place
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.copies:
                shutil.copy(source, target)
            else:
                os.link(source, target)
            found[place] = source.read_bytes()
        found[f"{info}/INSTALLER"] = b"uv"
        (path / SITE / info / "INSTALLER").write_bytes(b"uv")
        script = path / "bin" / name
        script.write_text(f"#!{path}/bin/python\nimport {name}\n")
        script.chmod(0o755)
        found[f"../../../bin/{name}"] = script.read_bytes()
        (path / SITE / info / "RECORD").write_text(_record(name, found, algorithm))


@dataclasses.dataclass
class WholeShare:
    """Such a share."""

    root: Path
    # What is not as it was when it was made.
    before: damages.State | None = None

    @property
    def layout(self) -> Layout:
        return Layout(str(self.root))

    @property
    def share(self) -> Share:
        return Share(shares.NAME, self.layout)

    def generation(self, env: str = "train") -> Path:
        return self.root / "generations" / env / os.path.basename(os.readlink(self.root / "envs" / env))

    def file(self, place: str, env: str = "train") -> Path:
        """A file in site-packages."""
        return self.generation(env) / SITE / place

    def pyc(self, place: str, env: str = "train") -> Path:
        path = self.file(place, env)
        return path.parent / "__pycache__" / f"{path.stem}.{TAG}.pyc"

    @property
    def interpreter(self) -> Path:
        return self.root / "python" / KEY

    def verify(self, **more: t.Any) -> dict[str, t.Any]:
        return converge.verify(self.share, jobs=1, **more)

    def repairing(self, *others: Path, uv: t.Any = None, **more: t.Any) -> Repair:
        uv = Uv(self.layout, uv or InstallingUv(self.root))
        downloads = Downloads.by(uv, mirror=None, json_url=None, offline=True)
        return Repair(self.share, uv, downloads, tuple(Layout(str(each)) for each in others), jobs=1, **more)

    def repair(self, *others: Path, **more: t.Any) -> dict[str, t.Any]:
        return self.repairing(*others, **more).converge(purpose="test", busy_timeout=0)

    def differences(self) -> list[str]:
        """What is not as it was, to the last inode; and no scratch file is left."""
        assert self.before is not None
        left = [str(path) for path in self.root.rglob(".*.tmp")]
        return [*self.before.differences(damages.State.of(self.root)), *left]

    def owned_differences(self) -> list[str]:
        """The same where it was given to somebody else."""
        assert self.before is not None
        return _of_nobody(self.before).differences(_of_nobody(damages.State.of(self.root)))


def _of_nobody(found: damages.State) -> damages.State:
    return dataclasses.replace(found, facts={name: facts[:-1] for name, facts in found.facts.items()})


def wrong(result: t.Mapping[str, t.Any]) -> set[tuple[str, str]]:
    """What is wrong: places with what it is."""
    return {(damage["path"], damage["what"]) for tree in result["trees"] for damage in tree["damages"]}


def not_done(result: t.Mapping[str, t.Any]) -> dict[str, str]:
    """What stays as it is, and why."""
    return {
        damage["path"]: damage.get("why", "")
        for tree in result["trees"]
        for damage in tree["damages"]
        if not damage.get("done")
    }


def write(path: Path, content: bytes) -> None:
    """Write into a file, whatever its mode."""
    path.chmod(0o644)
    path.write_bytes(content)


def opened(path: Path) -> Path:
    """A path in a directory that its owner may write to."""
    path.parent.chmod(0o755)
    return path


def remove(path: Path) -> None:
    mode = path.parent.stat().st_mode
    opened(path).unlink()
    path.parent.chmod(mode)


def add(path: Path, content: bytes = b"") -> None:
    mode = path.parent.stat().st_mode
    opened(path).write_bytes(content)
    path.parent.chmod(mode)


def make(root: Path, *, copies: bool = False, envs: t.Mapping[str, t.Sequence[str]] | None = None) -> WholeShare:
    """Make a share with environments train (alpha and beta) and other (alpha), built one after the other."""
    shares.make_share(root)
    made = WholeShare(root)
    _add_interpreter(made)
    version = root / "lib" / "uv" / "0.13.9"
    version.mkdir()
    for program in ("uv", "uvx"):
        (version / program).write_bytes(program.encode())
        (version / program).chmod(0o755)
    contents.write(str(version / ".uvnas-files.json"), contents.take(str(version)))
    (root / "bin" / "uv").symlink_to("../lib/uv/0.13.9/uv")
    for name in WHEELS:
        add_wheel(root, name)
    for env, names in (envs or {"train": ("alpha", "beta"), "other": ("alpha",)}).items():
        add_generation(made, env, names, copies=copies)
    made.before = damages.State.of(root)
    return made


def copy_of(made: WholeShare, root: Path) -> WholeShare:
    """The same elsewhere, sharing and all."""
    subprocess.check_call(["cp", "-a", made.root, root])
    return WholeShare(root, made.before)


def add_generation(made: WholeShare, env: str, names: t.Sequence[str], *, copies: bool = False) -> None:
    text = "".join(f"{name}==1.0 \\\n    --hash=sha256:{'2' * 64}\n" for name in names)
    shares.add_lock(made.root, env, text)
    lock = LockText(text, what="it")
    spec = EnvironmentSpec(env, python=MINOR, requirements=tuple(names))
    made_of = Ingredients(lock.lock.digest, KEY, DIGEST, spec.build_options())
    what = generations.Build(spec, made_of, lock, Interpreter(KEY, VERSION, DIGEST), shares.NAME)
    manifest = generations.build(made.layout, Uv(made.layout, InstallingUv(made.root, copies)), what)
    shares.publish(made.root, env, manifest.id)


def _add_interpreter(made: WholeShare) -> None:
    top = made.interpreter
    library = top / "lib" / f"python{MINOR}"
    (library / "json").mkdir(parents=True)
    (top / "bin").mkdir()
    # Compiles as the Python of the tests, without a copy of it.
    program = top / "bin" / f"python{MINOR}"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    (top / "bin" / "python").symlink_to(program.name)
    for name in ("os.py", "json/__init__.py"):
        (library / name).write_text(f"name = {name!r}\n")
    (library / "bad.py").write_text("def (\n")
    sources = ["bad.py", "json/__init__.py", "os.py"]
    Bytecode(made.layout, Compiler(str(program), DIGEST), SystemRunner()).add(str(library), sources)
    digest = interpreters.take(made.layout, KEY, [f"lib/python{MINOR}/bad.py"])
    sealing.seal(str(top), str(program))
    (made.root / "python-archives" / ARCHIVE).write_bytes(b"an archive")
    archive = hashlib.sha256(b"an archive").hexdigest()
    shares.add_interpreter(
        made.root, key=KEY, version=VERSION, digest=DIGEST, source="site", name="ours", files=digest,
        archive=ARCHIVE, archive_sha256=archive,
    )  # fmt: skip


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
