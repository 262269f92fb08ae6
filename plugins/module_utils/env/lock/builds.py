# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What packages are built with: found by letting uv begin to build them, then pinned and hashed.

uv resolves build requirements anew for each build, and reports them to nobody. So each package without a wheel that
fits gets a trial installation. If uv builds it, then by the time the backend makes the wheel the build environment
holds everything the package asked for, including what the backend itself added. There a ``sitecustomize`` notes what
is installed and ends the build. Packages that are built only for a build are treated likewise.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import typing as t

from ...errors import CommandError, UvnasError
from ...host import files
from ...host.data import is_text
from ...host.process import Completed
from ...uv.command import Uv
from ...uv.target import platform_arguments
from ...uv.wheel import installed_packages, normalize
from ..spec import EnvironmentSpec, Sources, significant_lines
from . import file as locks
from .file import Build, Lock, Package

# Imported by each Python, of any version, that starts in a build environment. uv passes the script that calls the hook
# on the command line (seen with uv 0.13).
_RECORDER = """\
import os
with open("/proc/self/cmdline", "rb") as command:
    script = command.read()
if b"build_wheel(" in script or b"prepare_metadata_for_build_wheel(" in script:
    import json, sysconfig
    site, found = sysconfig.get_path("purelib"), {}
    for name in os.listdir(site):
        if name.endswith(".dist-info"):
            try:
                with open(os.path.join(site, name, "direct_url.json")) as origin:
                    found[name] = json.load(origin)
            except FileNotFoundError:
                found[name] = None
    with open(os.environ["UVNAS_RECORD"], "w") as record:
        json.dump(found, record)
    os._exit(1)
"""
_EXACT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*==\s*([^\s;*,]+)\s*(;|--hash|\Z)")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_]*")
_HASH = re.compile(r"\s--hash[= ](\S+)")
# A hash in what uv writes about a file.
_LISTED = re.compile(r'\b(\w+) = "([0-9a-f]{32,})"')
_HINT = (
    "If a newer version of a build requirement is the cause, declare an older one for the environment, such as: "
    'build_constraints: ["setuptools<81"]'
)


@dataclasses.dataclass(frozen=True)
class Finder:
    """Finds what the packages of an environment are built with. ``scratch`` is a directory for it alone."""

    uv: Uv
    spec: EnvironmentSpec
    sources: Sources
    interpreter: str
    scratch: str
    # The lock so far: its versions stay where they still fit, except those being upgraded.
    prior: t.Optional[Lock] = None
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()

    def find(self, packages: t.Sequence[Package], known: t.Sequence[Build]) -> list[Build]:
        """What ``packages`` are built with, if they have to be built; ``known`` is taken as it is."""
        given = {build.pin: build for build in known}
        exact = [line for line in self._limits if _EXACT.match(line)]
        if exact:
            declared = Build("", "", self._pinned(exact, "any package"))
            given[declared.pin] = declared
        found: dict[str, Build] = {}
        for build in given.values():
            if not build.name:
                self._add(build.requires, found, given)
        self._add(packages, found, given)
        return [*found.values(), *(build for pin, build in given.items() if pin not in found)]

    def limits(self) -> list[str]:
        """The arguments that hold uv to the declared build constraints."""
        if not self._limits:
            return []
        self._write("build-constraints.txt", self._limits)
        return ["--build-constraints", os.path.join(self.scratch, "build-constraints.txt")]

    @functools.cached_property
    def _limits(self) -> list[str]:
        return [line for _name, text in self.sources.build_constraints for line in significant_lines(text)]

    def _without_wheel(self, packages: t.Sequence[Package]) -> list[Package]:
        """The ``packages`` for which uv knows no wheel that fits and that their lock allows."""
        if not packages:
            return []
        args = [
            "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "--format", "pylock.toml",
            "--python", self.interpreter, *self._platform(), *self._no_binary(),
            self._write("suspects.in", [package.pin for package in packages]),
        ]  # fmt: skip
        variables = {**self.uv.pinned_variables(), **self.spec.uv_variables()}  # Resolves and builds nothing.
        # What has just been resolved is in the cache.
        done = self.uv.run(*args, variables={**variables, "UV_OFFLINE": "1"}, cwd=self.scratch)
        if done.rc != 0:
            done = self.uv.check(
                *args,
                message=f"environment {self.spec.name}: its lock cannot be installed here",
                variables=variables,
                cwd=self.scratch,
            )
        # uv wrote this TOML, without the wheels that do not fit.
        tables: dict[str, str] = {}
        for table in done.stdout.split("[[packages]]")[1:]:
            name = re.search(r'^name = "([^"]+)"', table, re.MULTILINE)
            if name:
                tables[normalize(name[1])] = table
        return [package for package in packages if _is_built(package, tables.get(package.name, ""))]

    def _add(
        self,
        packages: t.Sequence[Package],
        found: dict[str, Build],
        given: t.Mapping[str, Build],
        inside: tuple[str, ...] = (),
    ) -> None:
        """Add to ``found`` what ``packages`` are built with, if they are built; before each, what that is built with.

        For those in ``given`` it is known already.
        """
        todo = [package for package in packages if package.pin not in found and package.pin not in inside]
        unknown = self._without_wheel([package for package in todo if package.pin not in given])
        for package in todo:
            if package.pin in found:  # By now.
                continue
            requires = None
            if package.pin in given:
                requires = given[package.pin].requires
            elif package in unknown:
                pins = self._ask(package)
                requires = None if pins is None else self._pinned(pins, package.pin)
            if requires is not None:
                self._add(requires, found, given, (*inside, package.pin))
                found[package.pin] = Build(package.name, package.version, requires)

    def _ask(self, package: Package) -> t.Optional[list[str]]:
        """The contents of a package's build environment, as requirements; None where it is not built."""
        record = os.path.join(self.scratch, "record.json")
        done, found = self._try(package, record, self._so_far(package))
        if found is None and done.rc != 0 and self._so_far(package):
            done, found = self._try(package, record, [])
        if found is None and done.rc != 0:
            changed = f"Hash mismatch for `{package.pin}`" in done.stderr
            problem = f"cannot find out what {package.pin} is built with"
            raise CommandError(
                f"environment {self.spec.name}: "
                + (f"the hashes of {package.pin} are not those in its lock" if changed else problem),
                cmd=["uv", "pip", "install", package.pin],
                rc=done.rc,
                stdout=done.stdout,
                stderr=done.stderr,
                hint="" if changed else _HINT,
            )
        if found is None:
            return None
        pins = []
        for entry, origin in sorted(found.items()):
            for name, version in installed_packages([entry]).items():
                pins.append(self._pin(package, name, version, origin))
        return pins

    def _try(self, package: Package, record: str, so_far: list[str]) -> tuple[Completed, t.Optional[dict[str, t.Any]]]:
        """Install a package, ending its build before it begins; the record of that, if there is one."""
        hook = os.path.join(self.scratch, "hook")
        os.makedirs(hook, exist_ok=True)
        files.write(os.path.join(hook, "sitecustomize.py"), _RECORDER)
        if os.path.exists(record):
            os.unlink(record)
        limits = self.limits()
        if so_far:
            limits += ["--build-constraints", self._write("so-far.txt", so_far)]
        if self.spec.exclude_newer:
            limits += ["--exclude-newer", self.spec.exclude_newer]
        done = self.uv.run(
            "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--python", self.interpreter,
            "--target", os.path.join(self.scratch, "tried"), *self._platform(), *self._no_binary(), *limits,
            "--requirements", self._write("tried.txt", [package.text]),
            variables=self.spec.uv_variables(),
            cwd=self.scratch,
            build_variables={package.name: {"PYTHONPATH": hook, "UVNAS_RECORD": record}},
        )  # fmt: skip
        return done, files.read_json(record)

    def _so_far(self, package: Package) -> list[str]:
        """What the package was built with so far, except what is being upgraded."""
        if self.prior is None or self.upgrade:
            return []
        builds = (build for build in self.prior.builds if build.pin == package.pin)
        return [each.pin for build in builds for each in build.requires if each.name not in self.upgrade_packages]

    def _pin(self, package: Package, name: str, version: str, origin: t.Any) -> str:
        """The requirement for something found in the build environment of ``package``. Raises UvnasError.

        Code of others reported it: accept a name and a version, or an address, and nothing else.
        """
        if not (_NAME.fullmatch(name) and _VERSION.fullmatch(version)):
            raise UvnasError(f"environment {self.spec.name}: {package.pin} is built with something that has no name")
        if origin is None:
            return locks.pin(name, version)
        url = origin.get("url") if isinstance(origin, dict) else None
        if not is_text(url) or "archive_info" not in origin or re.search(r"\s", str(url)):
            raise UvnasError(
                f"environment {self.spec.name}: {package.pin} is built with {name} from version control or from a "
                "directory, which has no hash",
                hint=f'Use another version of it, such as: constraints: ["{package.name}!={package.version}"], '
                "or put a wheel of it in a directory that uvnas_index.find_links names.",
            )
        return locks.pin(name, f"@ {url}")

    def _pinned(self, requirements: t.Sequence[str], what: str) -> tuple[Package, ...]:
        """``requirements`` and what they need, pinned and hashed."""
        if not requirements:
            return ()
        lines = [locks.without_hashes(line) for line in requirements]
        limits = self._write("limits.txt", [locks.without_hashes(line) for line in self._limits])
        more = ["--exclude-newer", self.spec.exclude_newer] if self.spec.exclude_newer else []
        done = self.uv.check(
            "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
            "--python", self.interpreter, *self._no_binary(), *self.limits(), *more,
            "--constraints", limits, self._write("pins.in", lines),
            message=f"environment {self.spec.name}: cannot pin what {what} is built with",
            hint=_HINT,
            variables=self.spec.uv_variables(),
            cwd=self.scratch,
        )  # fmt: skip
        found = locks.parse(done.stdout, what=f"environment {self.spec.name}: what {what} is built with").packages
        return tuple(self._as_declared(package) for package in found)

    def _as_declared(self, package: Package) -> Package:
        """A package with the hashes declared for this version of it, if there are any."""
        declared = [
            value.lower()
            for line in self._limits
            for match in (_EXACT.match(line),)
            if match and (normalize(match[1]), _plain(match[3])) == (package.name, _plain(package.version))
            for value in _HASH.findall(line)
        ]
        if not declared:
            return package
        text = " \\\n".join([package.pin, *(f"    --hash={value}" for value in declared)])
        return dataclasses.replace(package, hashes=tuple(declared), text=text)

    def _platform(self) -> list[str]:
        return platform_arguments(self.spec.name, self.spec.glibc, self.uv.runner)

    def _no_binary(self) -> list[str]:
        return [part for package in self.spec.no_binary for part in ("--no-binary", package)]

    def _write(self, name: str, lines: t.Sequence[str]) -> str:
        path = os.path.join(self.scratch, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
        return path


def _is_built(package: Package, table: str) -> bool:
    """Whether uv builds a locked package, about which it wrote ``table``.

    A lock keeps its hashes. Wheels that reached an index later are not in it, and uv then takes the sources. If those
    are not in it either, the installation reports that.
    """
    wheels = re.search(r"^(wheels = |archive = .*\.whl\b).*", table, re.MULTILINE | re.DOTALL)
    if not wheels:
        return True
    listed, sources = _hashes(wheels[0]), _hashes(table[: wheels.start()])
    return bool(listed) and not listed & {*package.hashes} and bool(sources & {*package.hashes})


def _hashes(table: str) -> set[str]:
    return {f"{kind}:{value}" for kind, value in _LISTED.findall(table)}


def _plain(version: str) -> str:
    """One form of a version for the others of PEP 440 that people really use, such as ``v4.1.0``."""
    text = re.sub(r"\Av", "", version.lower())
    release = re.sub(r"[^0-9.].*", "", text, flags=re.DOTALL)
    return re.sub(r"(\.0+)+\Z", "", release.rstrip(".")) + text[len(release) :]
