# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations: built at their final path, tested, and sealed with a manifest.

A generation without a manifest is rubbish of a build that did not finish, and may be removed at any time. One with a
manifest never changes. Until then nobody but the owner can look into it: files that come linked from the cache are as
they are there, and are for everybody to read and nobody to write only once they are sealed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import re
import socket
import tempfile
import time
import typing as t

from ...bytecode.store import Bytecode
from ...bytecode.store import Interpreter as Compiler
from ...errors import CommandError, UvnasError
from ...host import durable, files, mutex, removal, sealing
from ...host.mounts import space
from ...host.process import Completed
from ...host.progress import SILENT, Teller
from ...python.record import Interpreter
from ...share import contents, store
from ...share import manifest as manifests
from ...share.layout import Layout, site_packages
from ...share.manifest import LockFact, Manifest, Needs, Python
from ...uv.cache import borrow
from ...uv.command import CONCURRENT_INSTALLS, Uv
from ...uv.log import logged, logging
from ...uv.target import platform_arguments
from ...uv.wheel import installed_packages
from ..imports import IMPORTS
from ..lock.file import LockText
from ..plan import Ingredients
from ..spec import EnvironmentSpec
from . import install, needs, no_pip, pin, record, spare
from .size import seal

_AS_IT_WAS = "Nothing was published; the environment stays as it was."


@dataclasses.dataclass(frozen=True)
class Build:
    """A generation to be built."""

    spec: EnvironmentSpec
    ingredients: Ingredients
    lock: LockText
    interpreter: Interpreter
    share_name: str
    link_mode: t.Optional[str] = None
    # Other shares on this host, for packages and bytecode that this one lacks.
    earlier: tuple[Layout, ...] = ()
    # How many threads and processes uv may have at work; None: as many as there are processors.
    workers: t.Optional[int] = None
    # How long a smoke test may take, in seconds.
    smoke_timeout: float = 300.0

    @property
    def id(self) -> str:
        return self.ingredients.generation_id


def build(layout: Layout, uv: Uv, what: Build, told: t.Optional[Teller] = None) -> Manifest:
    """Build, test and seal the generation; return its manifest. What fails leaves nothing behind but its log.

    ``told`` gets to know how far it is. Raises UvnasError (CommandError where uv or a smoke test said why). With
    LostMutexError what is at this path may be somebody else's by now, and is left as it is.
    """
    told = told or SILENT.of(what.spec.name)
    mutex.check(layout.mutex)
    title = f"environment {what.spec.name}, generation {what.id}, on {socket.gethostname()}"
    with logging(layout.build_log(what.spec.name), uv, title) as log:
        return _build(layout, logged(uv, log, told.says), _bytecode(layout, uv, what), what, told)


def _bytecode(layout: Layout, uv: Uv, what: Build) -> t.Optional[Bytecode]:
    """Where bytecode comes from, if any is wanted."""
    if not what.spec.compile_bytecode:
        return None
    key, minor = what.ingredients.interpreter_key, what.interpreter.minor
    compiler = Compiler(layout.interpreter_bin(key, minor), what.ingredients.interpreter_digest)
    return Bytecode.by(uv, compiler, workers=what.workers, earlier=what.earlier)


def _build(layout: Layout, uv: Uv, bytecode: t.Optional[Bytecode], what: Build, told: Teller) -> Manifest:
    """The same, without a log; what fails leaves nothing behind."""
    path = layout.generation(what.spec.name, what.id)
    started = time.monotonic()
    mutex.check(layout.mutex)
    files.make_directory(layout.generations_of(what.spec.name))
    sealing.close(layout.generations_of(what.spec.name))
    removal.remove_tree(path)
    # The tree, and what it is linked from and rests on: one filesystem, or else several.
    disks = durable.Disks(layout.generations, layout.cache, layout.python, layout.bytecode)
    try:
        os.mkdir(path, 0o700)
        told("building")
        _install(layout, uv, what, path)
        mutex.check(layout.mutex)
        _check_interpreter(layout, what, path)
        packages = _check_packages(what, path)
        recorder = record.Recorder(what.spec.name, path, site_packages(path, what.interpreter.minor))
        names = recorder.sources() if bytecode is not None else []
        cache_tag = None
        if bytecode is not None and names:
            cache_tag = bytecode.cache_tag
            bytecode.add(
                site_packages(path, what.interpreter.minor),
                names,
                lambda number: told("compiling", f"{number} module{'s' * (number != 1)}"),
            )
        pin.write(path, site_packages(path, what.interpreter.minor))
        no_pip.write(layout, what.spec.name, path, what.interpreter.minor)
        needed = _check_needs(layout, what, path, packages)
        if what.spec.try_on is None and (what.spec.imports or what.spec.checks):
            told("testing")
            smoke_test(uv, what, path)
        told("syncing")
        mutex.check(layout.mutex)
        size = seal(path, recorder.see)
        mutex.check(layout.mutex)
        listed = recorder.contents(cache_tag)
        content = contents.write(layout.contents(what.spec.name, what.id), listed)
        manifest = Manifest(
            environment=what.spec.name,
            id=what.id,
            share=what.share_name,
            builder=socket.gethostname(),
            size=size,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - started, 2),
            uv=store.uv_version(layout),
            python=Python(
                key=what.ingredients.interpreter_key,
                version=what.interpreter.version,
                digest=what.ingredients.interpreter_digest,
            ),
            lock=LockFact(what.ingredients.lock_digest, what.lock.spec_digest, what.lock.digest),
            content=content,
            options=dict(what.ingredients.options),
            source=_source(what.spec),
            imports=list(what.spec.imports),
            packages=packages,
            platform=needed,
        )
        witness = layout.manifest(what.spec.name, what.id)
        spare.write(layout.spare(what.spec.name, what.id), path, [*recorder.alone(listed), *record.OWN], manifest)
        disks.sync()
        mutex.check(layout.mutex)  # That may have taken long.
        manifests.write(witness, manifest)
        sealing.finish(path, witness)
    except BaseException:
        mutex.check(layout.mutex)
        with contextlib.suppress(OSError):
            removal.remove_tree(path)
        raise
    finally:
        disks.close()
    return manifest


def _install(layout: Layout, uv: Uv, what: Build, path: str) -> None:
    """A virtual environment at ``path`` with exactly the packages of the lock, which lies in it from then on.

    uv reads this copy: whatever becomes of the lock on the share meanwhile, what is recorded is what was installed.
    """
    name, lock = what.spec.name, layout.generation_lock(what.spec.name, what.id)
    interpreter = layout.interpreter_bin(what.ingredients.interpreter_key, what.interpreter.minor)
    seen = ["--system-site-packages"] if what.spec.system_site_packages else []
    uv.check(
        "venv", "--quiet", "--no-project", "--python", interpreter, "--prompt", name, *seen, path,
        message=f"environment {name}: cannot create a virtual environment", hint=_room(layout),
    )  # fmt: skip
    # uv has made it, for everybody to write. Who holds that lock keeps uv waiting.
    lock_of_uv = os.path.join(path, ".lock")
    files.make_private(lock_of_uv)
    files.write(lock, what.lock.text)
    arguments = ["--python", os.path.join(path, "bin", "python"), "--require-hashes"]
    if what.link_mode:
        arguments += ["--link-mode", what.link_mode]
    for package in what.spec.no_binary:
        arguments += ["--no-binary", package]
    arguments += platform_arguments(name, what.spec.glibc, uv.runner)
    options = ["--allow-empty-requirements"]
    variables = what.spec.uv_variables()
    if what.workers and CONCURRENT_INSTALLS not in uv.variables():
        variables[CONCURRENT_INSTALLS] = str(what.workers)
    versions = what.lock.lock.versions
    built = any(borrow(other.cache, layout.cache, versions, what.interpreter.minor) for other in what.earlier)
    done = install.install(uv, what.lock.lock, lock, arguments, options, variables, built=built)
    if done.rc != 0:
        why = install.explain(uv, what.spec, what.lock.lock, interpreter, done.stderr)
        problem, hint = why or ("cannot install its lock", "")
        raise CommandError(
            f"environment {name}: {problem}",
            cmd=["uv", "pip", "sync", *arguments, *options, lock],
            rc=done.rc,
            stdout=done.stdout,
            stderr=done.stderr,
            hint=_room(layout) or hint,
        )
    os.unlink(lock_of_uv)  # Nobody installs here again; and who copies the environment may read all of it.


def _check_interpreter(layout: Layout, what: Build, path: str) -> None:
    """The environment rests on the exact interpreter, not on a link that will move."""
    directory = os.path.dirname(layout.interpreter_bin(what.ingredients.interpreter_key, what.interpreter.minor))
    with open(os.path.join(path, "pyvenv.cfg"), encoding="utf-8", errors="surrogateescape") as config:
        home = next((line.partition("=")[2].strip() for line in config if line.split("=")[0].strip() == "home"), "")
    target = os.path.dirname(os.readlink(os.path.join(path, "bin", "python")))
    for found in (home, target):
        is_there = what.ingredients.interpreter_key in found and "\0" not in found
        if not is_there or os.path.realpath(found) != os.path.realpath(directory):
            raise UvnasError(f"environment {what.spec.name}: it was built on {found}, not on {directory}")


def _check_packages(what: Build, path: str) -> dict[str, str]:
    """The installed packages, which must be those of the lock."""
    installed = installed_packages(os.listdir(site_packages(path, what.interpreter.minor)))
    lock = what.lock.lock
    wanted = {name: version for name, version in lock.versions.items() if not version.startswith("@")}
    # A package whose marker does not hold here is rightly missing.
    conditional = {package.name for package in lock.packages if package.marker}
    missing = sorted(set(lock.versions) - set(installed) - conditional)
    foreign = sorted(set(installed) - set(lock.versions))
    different = sorted(n for n in wanted if n in installed and not _same_version(wanted[n], installed[n]))
    if missing or foreign or different:
        raise UvnasError(
            f"environment {what.spec.name}: what was installed is not what the lock says: "
            f"missing {missing}, not in the lock {foreign}, other version {different}"
        )
    return installed


def _check_needs(layout: Layout, what: Build, path: str, packages: t.Mapping[str, str]) -> Needs:
    """What the environment needs of hosts, which must be no more than those of its shares have."""
    key, minor = what.ingredients.interpreter_key, what.interpreter.minor
    found = needs.scan(site_packages(path, minor), layout.interpreter_bin(key, minor), key)
    if what.spec.glibc:
        needs.check_floor(what.spec.name, found, key, packages, what.spec.glibc)
    return found


def _same_version(locked: str, installed: str) -> bool:
    """Whether the two mean one version: metadata directories write ``-`` of a local version as ``_`` (PEP 427)."""
    return re.sub(r"[-_.]", ".", locked).lower() == re.sub(r"[-_.]", ".", installed).lower()


def smoke_test(uv: Uv, what: Build, path: str) -> None:
    """Import what the spec says, run its checks; nothing of that writes into the generation, or learns a secret.

    Raises CommandError.
    """
    spec = what.spec
    python = os.path.join(path, "bin", "python")
    variables = uv.public_variables()
    variables = {
        **variables,
        "VIRTUAL_ENV": path,
        "PATH": os.path.join(path, "bin") + os.pathsep + variables["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    commands = [[python, "-I", "-B", "-c", IMPORTS, *spec.imports]] if spec.imports else []
    commands += [["/bin/sh", "-c", command] for command in spec.checks]
    if not commands:
        return
    with tempfile.TemporaryDirectory(prefix="uvnas-") as scratch:
        for command in commands:
            test = f"check {command[-1]!r}" if command[0] == "/bin/sh" else f"importing {', '.join(spec.imports)}"
            try:
                done: Completed = uv.runner.run(command, variables=variables, cwd=scratch, timeout=what.smoke_timeout)
            except CommandError as error:
                raise CommandError(
                    f"environment {spec.name}: smoke test failed: {test}: {error}",
                    cmd=command,
                    rc=error.rc,
                    stdout=error.stdout,
                    stderr=error.stderr,
                    hint=f"{_AS_IT_WAS} If it needs longer, set uvnas_smoke_timeout (seconds).",
                ) from error
            if done.rc != 0:
                raise CommandError(
                    f"environment {spec.name}: smoke test failed: {test}",
                    cmd=command,
                    rc=done.rc,
                    stdout=done.stdout,
                    stderr=done.stderr or done.stdout,
                    hint=_AS_IT_WAS,
                )


def _room(layout: Layout) -> str:
    """A hint where the share is as good as full; the tool's own words are not searched for it."""
    found = space(layout.root)
    if found.free_bytes < 16 << 20 or (found.free_inodes is not None and found.free_inodes < 1000):
        return f"The share is full: {found.free_bytes} bytes and {found.free_inodes} inodes are free. {_AS_IT_WAS}"
    return ""


def _source(spec: EnvironmentSpec) -> dict[str, t.Any]:
    """Where the environment comes from, in the words of the inventory."""
    keys = ("requirements", "requirements_files", "project", "extras", "groups", "lock", "exclude_newer", "python")
    source = {key: getattr(spec, key) for key in keys}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in source.items() if value}
