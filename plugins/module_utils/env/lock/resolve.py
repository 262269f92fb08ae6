# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Specs → locks: how uv resolves what an environment declares."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import tempfile
import typing as t

from ...errors import UvnasError
from ...uv.command import Uv
from ...uv.target import platform_arguments
from ...uv.wheel import normalize
from ..spec import EnvironmentSpec, Sources, significant_lines
from . import file as locks
from . import hashes
from .builds import Finder

# What "pip" in an environment means: a pinned, hashed package of its lock like any other.
_SEED = (("seed.in", "pip\n"),)


@dataclasses.dataclass(frozen=True)
class Request:
    """A lock that is to be resolved."""

    spec: EnvironmentSpec
    spec_digest: str
    sources: Sources
    # Take the newest of everything; or of these packages.
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()


def resolve(uv: Uv, request: Request, interpreter: str, prior: t.Optional[str]) -> tuple[str, list[str]]:
    """The text of the lock for ``request``, resolved for the executable ``interpreter``, and warnings.

    ``prior`` is the text of the lock so far, whose versions are kept where they still satisfy what is wanted.
    Raises CommandError with uv's explanation, or UvnasError.
    """
    spec, sources = request.spec, request.sources
    warnings: list[str] = []
    with tempfile.TemporaryDirectory(prefix="uvnas-") as scratch:
        finder = _finder(uv, request, interpreter, scratch, prior)
        compiled = functools.partial(_compile, uv, request, finder, interpreter, scratch, prior)
        if spec.project is not None:
            text = _export(uv, spec, sources, interpreter, scratch, warnings)
        elif spec.lock is not None:
            text = sources.lock or ""
        else:
            seeded = dataclasses.replace(sources, requirements=sources.requirements + (_SEED if spec.seed else ()))
            text = compiled(seeded)
        lock = locks.parse(text, what=f"environment {spec.name}: its lock")
        packages = hashes.limited(lock.packages, hashes.declared(sources), spec.name)
        if spec.seed and "pip" not in {package.name for package in packages}:
            seed = compiled(Sources(requirements=_SEED))
            packages += locks.parse(seed, what="the lock of pip").packages
        packages = _applying(uv, packages, interpreter, scratch)
        builds = finder.find(packages, lock.builds)
    text = locks.render(
        packages,
        builds,
        environment=spec.name,
        spec_digest=request.spec_digest,
        python=spec.python,
        glibc=spec.glibc,
    )
    return text, warnings


def attempt(uv: Uv, request: Request, interpreter: str, prior: str, constraint: str) -> str:
    """What uv would resolve with a ``constraint`` more, as it writes it. Raises CommandError with its explanation."""
    sources = request.sources
    more = (*sources.constraints, ("newer.in", f"{constraint}\n"))
    seed = _SEED if request.spec.seed else ()
    wanted = dataclasses.replace(sources, requirements=sources.requirements + seed, constraints=more)
    with tempfile.TemporaryDirectory(prefix="uvnas-") as scratch:
        finder = _finder(uv, request, interpreter, scratch, prior)
        return _compile(uv, request, finder, interpreter, scratch, prior, wanted)


def _finder(uv: Uv, request: Request, interpreter: str, scratch: str, prior: t.Optional[str]) -> Finder:
    """What finds out what packages are built with."""
    directory = os.path.join(scratch, "builds")
    os.mkdir(directory)
    before = None
    with contextlib.suppress(UvnasError):  # It is replaced, whatever is wrong with it.
        before = locks.parse(prior or "", what="the lock so far")
    spec, sources = request.spec, request.sources
    upgrade, packages = request.upgrade, request.upgrade_packages
    return Finder(uv, spec, sources, interpreter, directory, before, upgrade, packages)


def _compile(
    uv: Uv,
    request: Request,
    finder: Finder,
    interpreter: str,
    scratch: str,
    prior: t.Optional[str],
    sources: Sources,
) -> str:
    """``uv pip compile`` of requirements; empty text for no requirements at all."""
    spec = request.spec
    if not any(significant_lines(text) for _name, text in sources.requirements):
        return ""
    output = os.path.join(scratch, "lock.txt")
    if prior is not None:
        known = finder.prior.packages if finder.prior is not None else ()
        before = hashes.unlimited(prior, known, hashes.declared(sources))
        _write(output, for_platform(before, python=spec.python, glibc=spec.glibc))
    args = ["--quiet", "--generate-hashes", "--no-header", "--python", interpreter, "--output-file", "lock.txt"]
    for option, files in (("--constraints", sources.constraints), ("--overrides", sources.overrides)):
        for name in _write_all(scratch, files):
            args += [option, name]
    args += finder.limits()
    if spec.exclude_newer:
        args += ["--exclude-newer", spec.exclude_newer]
    for package in spec.no_binary:
        args += ["--no-binary", package]
    args += platform_arguments(spec.name, spec.glibc, uv.runner)
    if request.upgrade:
        args.append("--upgrade")
    for package in request.upgrade_packages:
        args += ["--upgrade-package", package]
    uv.check(
        "pip", "compile", *args, *_write_all(scratch, sources.requirements),
        message=f"environment {spec.name}: its requirements cannot be resolved",
        variables=spec.uv_variables(),
        cwd=scratch,
    )  # fmt: skip
    with open(output, encoding="utf-8") as file:
        return file.read()


def _export(
    uv: Uv, spec: EnvironmentSpec, sources: Sources, interpreter: str, scratch: str, warnings: list[str]
) -> str:
    """``uv export`` of a project: what its uv.lock says, for the extras and groups that are wanted."""
    directory = os.path.join(scratch, "project")
    for name, text in sources.project:
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, text)
    # --locked has uv see that uv.lock is what pyproject.toml asks for, for which it wants the index.
    state = "--frozen" if uv.index.offline else "--locked"
    if uv.index.offline:
        warnings.append(f"environment {spec.name}: offline, so it was not checked that its uv.lock is up to date")
    args = ["--quiet", state, "--no-header", "--no-emit-local", "--no-default-groups", "--python", interpreter]
    args += [part for extra in spec.extras for part in ("--extra", extra)]
    args += [part for group in spec.groups for part in ("--group", group)]
    done = uv.check(
        "export",
        *args,
        message=f"environment {spec.name}: the lock of its project cannot be used",
        hint="If uv.lock is out of date, run `uv lock` in the project and commit the result.",
        variables=spec.uv_variables(),
        cwd=directory,
    )
    return done.stdout


def _applying(uv: Uv, packages: list[locks.Package], interpreter: str, scratch: str) -> list[locks.Package]:
    """Those of ``packages`` whose marker holds for the interpreter. uv decides, where there is a marker."""
    conditional = [package for package in packages if package.marker]
    if not conditional:
        return packages
    pins = "".join(f"{_pin(package)} ; {package.marker}\n" for package in conditional)
    _write(os.path.join(scratch, "markers.in"), pins)
    done = uv.check(
        "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "--python", interpreter, "markers.in",
        message="uv cannot tell which packages of the lock are meant for this interpreter",
        cwd=scratch,
    )  # fmt: skip
    chosen = set()
    for line in significant_lines(done.stdout):
        name, _equal, version = line.partition("==")
        chosen.add((normalize(name), version) if version else (normalize(line.split(" @ ")[0]), "@"))
    return applying(packages, chosen)


def _pin(package: locks.Package) -> str:
    separator = " " if package.version.startswith("@") else "=="
    return f"{package.name}{separator}{package.version}"


def _write_all(scratch: str, files: t.Sequence[tuple[str, str]]) -> list[str]:
    """Write ``files`` below ``scratch``; their names there, which are what uv's annotations and errors say."""
    names = []
    for position, (name, text) in enumerate(files):
        base = os.path.basename(name)
        if os.path.exists(os.path.join(scratch, base)):
            base = f"{position}-{base}"
        _write(os.path.join(scratch, base), text)
        names.append(base)
    return names


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text if text.endswith("\n") or not text else text + "\n")


def for_platform(text: str, *, python: str, glibc: t.Optional[str]) -> str:
    """A lock so far, as the start of one for this platform: without hashes, if it is for another one.

    Where an index does not list hashes, uv knows those of the files that it chose, and keeps them with the versions.
    For another platform it may choose other files of the same versions.
    """
    header = locks.read_header(text)
    if not header or (header.get("python"), header.get("glibc")) == (python, glibc):
        return text
    return re.sub(r"(\s*\\\n)?\s+--hash[= ]\S+", "", text)


def applying(packages: t.Iterable[locks.Package], chosen: t.Collection[tuple[str, str]]) -> list[locks.Package]:
    """Those of ``packages`` without a marker, and those that are ``chosen`` by name and version, less their markers.

    A lock may have several versions of a package, for different Pythons. What is chosen by its address has version
    ``@`` in ``chosen``.
    """
    kept = [p for p in packages if not p.marker or (p.name, "@" if p.version[0] == "@" else p.version) in chosen]
    return [_without_marker(package) for package in kept]


def _without_marker(package: locks.Package) -> locks.Package:
    if not package.marker:
        return package
    text = re.sub(r"\s*;\s*" + re.escape(package.marker), "", package.text, count=1)
    return dataclasses.replace(package, marker="", text=text)
