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
from ..spec import EnvironmentSpec, Sources, significant_lines
from . import file as locks
from . import hashes, markers
from .builds import Finder
from .export import export

# What "pip" in an environment means: a pinned, hashed package of its lock like any other.
_SEED = (("seed.in", "pip\n"),)


@dataclasses.dataclass(frozen=True)
class Request:
    """A lock to resolve."""

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
        found = markers.Interpreter(uv.runner, interpreter)
        _check_conditions(spec, sources, found)
        if spec.project is not None:
            text, warnings = export(uv, spec, sources, interpreter, found.fulfils, scratch)
        elif spec.lock is not None:
            text = sources.lock or ""
        else:
            seeded = dataclasses.replace(sources, requirements=sources.requirements + (_SEED if spec.seed else ()))
            text = compiled(seeded)
            if not significant_lines(text) and any(significant_lines(each) for _name, each in seeded.requirements):
                warnings.append(
                    f"environment {spec.name}: none of its requirements is meant for its Python on this platform: "
                    "it is empty"
                )
        lock = locks.parse(text, what=f"environment {spec.name}: its lock")
        declared = hashes.declared(sources, functools.partial(_may_apply, found))
        packages = _applying(spec, hashes.limited(lock.packages, declared, spec.name), found)
        if spec.seed and "pip" not in {package.name for package in packages}:
            seed = compiled(Sources(requirements=_SEED))
            packages += locks.parse(seed, what="the lock of pip").packages
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
    """What uv would resolve with one more ``constraint``, as it writes it. Raises CommandError with its explanation."""
    sources = request.sources
    more = (*sources.constraints, ("newer.in", f"{constraint}\n"))
    seed = _SEED if request.spec.seed else ()
    wanted = dataclasses.replace(sources, requirements=sources.requirements + seed, constraints=more)
    with tempfile.TemporaryDirectory(prefix="uvnas-") as scratch:
        finder = _finder(uv, request, interpreter, scratch, prior)
        return _compile(uv, request, finder, interpreter, scratch, prior, wanted)


def _finder(uv: Uv, request: Request, interpreter: str, scratch: str, prior: t.Optional[str]) -> Finder:
    """Finds what packages are built with."""
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
    """``uv pip compile`` of requirements; empty text if there are none."""
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


def _check_conditions(spec: EnvironmentSpec, sources: Sources, interpreter: markers.Interpreter) -> None:
    """Raise UvnasError if its lock, made by others, is not for the interpreter."""
    problems = [
        problem
        for problem, when, must in sources.conditions
        if interpreter.fulfils(when) and not interpreter.fulfils(must)
    ]
    if problems:
        raise UvnasError(f"environment {spec.name}: its Python does not fit: {'; '.join(problems)}")


def _may_apply(interpreter: markers.Interpreter, marker: str) -> bool:
    """Whether a line with this marker counts for the interpreter. If only uv understands the marker, it does."""
    try:
        return interpreter.fulfils(marker)
    except UvnasError:
        return True


def _applying(
    spec: EnvironmentSpec, packages: t.Sequence[locks.Package], interpreter: markers.Interpreter
) -> list[locks.Package]:
    """The ``packages`` that are for the interpreter. Raises UvnasError if none is, or one twice."""
    try:
        kept = [without_marker(package) for package in packages if interpreter.fulfils(package.marker)]
    except UvnasError as error:
        raise UvnasError(f"environment {spec.name}: its lock has a marker that cannot be decided: {error}") from error
    if packages and not kept:
        raise UvnasError(
            f"environment {spec.name}: none of the {len(packages)} packages of its lock is meant for its Python on "
            "this platform",
            hint="For an environment without packages, declare `requirements: []`.",
        )
    versions: dict[str, str] = {}
    for package in kept:
        if versions.setdefault(package.name, package.version) != package.version:
            raise UvnasError(
                f"environment {spec.name}: its lock has two versions of {package.name} for its Python on this "
                f"platform: {versions[package.name]} and {package.version}"
            )
    return kept


def _write_all(scratch: str, files: t.Sequence[tuple[str, str]]) -> list[str]:
    """Write ``files`` below ``scratch``; their names there, which appear in uv's annotations and errors."""
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
    """The lock so far, to start one for this platform from: without hashes, if it is for another one.

    Where an index lists no hashes, uv knows those of the files that it chose, and keeps them with the versions. For
    another platform it may choose other files of the same versions.
    """
    header = locks.read_header(text)
    if not header or (header.get("python"), header.get("glibc")) == (python, glibc):
        return text
    return re.sub(r"(\s*\\\n)?\s+--hash[= ]\S+", "", text)


def without_marker(package: locks.Package) -> locks.Package:
    """A package of a lock for one interpreter, whose marker is decided."""
    if not package.marker:
        return package
    text = re.sub(r"\s*;\s*" + re.escape(package.marker), "", package.text, count=1)
    return dataclasses.replace(package, marker="", text=text)
