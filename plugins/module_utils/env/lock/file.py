# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock text and the packages in it.

A lock is a requirements file in which every package is pinned and hashed, below one comment line that says what it was
resolved from. It can be read, reviewed and installed without this collection. Build requirements are pinned and hashed
too, in comments at its end::

    # Build requirements of alpha==1.0:
    #     setuptools==80.9.0 \\
    #         --hash=sha256:…
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import typing as t

from ...errors import UvnasError
from ...host.checksum import of_data, of_text
from ...host.data import is_text, parse_json
from ...host.secrets import has_credentials, scrub
from ...uv.wheel import normalize

_HEADER = "# uvnas.cluster lock: "
_HINT = "uv pip compile --generate-hashes writes what is needed."
_PINNED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*==\s*(?P<version>[^\s;*,]+)\s*(;\s*(?P<marker>.+))?\Z"
)
_DIRECT = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*@\s*(?P<url>\S+)\s*(;\s*(?P<marker>.+))?\Z"
)
_HASH = re.compile(r"\s--hash[= ]([a-z0-9]+:[0-9a-fA-F]+)(?=\s|\Z)")
_COMMENT = re.compile(r"(^|\s)#.*")
# How the build requirements of a package begin, and each line of them.
_BUILD = "# Build requirements of "
_OF_ANY = "any package"
_INSIDE = "#     "


@dataclasses.dataclass(frozen=True)
class Package:
    """One entry of a lock. ``version`` is a version, or ``@ URL`` for a package locked by its address."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    # The lines of the entry as they stand in the lock, comments included.
    text: str

    @property
    def pin(self) -> str:
        """The package as a requirement, without marker and hashes."""
        return pin(self.name, self.version)


@dataclasses.dataclass(frozen=True)
class Build:
    """What a package is built with: one of the lock, or a build requirement of another.

    Without a name, what any build may use.
    """

    name: str
    version: str
    requires: tuple[Package, ...]

    @property
    def pin(self) -> str:
        """The package as a requirement."""
        return pin(self.name, self.version) if self.name else _OF_ANY

    @property
    def text(self) -> str:
        """The lines of a lock that say so."""
        lines = [line for package in self.requires for line in package.text.split("\n")]
        return "\n".join([f"{_BUILD}{self.pin}:", *(f"{_INSIDE}{line}" for line in lines)])


@dataclasses.dataclass(frozen=True)
class Lock:
    """A parsed lock. ``spec_digest`` is None if the text does not say what it was resolved from."""

    packages: tuple[Package, ...]
    spec_digest: t.Optional[str]
    # In build order: what another is built with comes first.
    builds: tuple[Build, ...] = ()

    @functools.cached_property
    def digest(self) -> str:
        """The digest of what is locked, however it is written: comments and order do not count."""
        packages = plain(self.packages)
        builds = sorted([build.name, build.version, plain(build.requires)] for build in self.builds)
        return of_data({"packages": packages, "builds": builds} if builds else packages)

    @property
    def versions(self) -> dict[str, str]:
        """Version by package name."""
        return {package.name: package.version for package in self.packages}

    @property
    def all_versions(self) -> dict[str, str]:
        """The same and, as ``setuptools (to build alpha)``, build requirements."""
        built = {f"{p.name} (to build {b.name or _OF_ANY})": p.version for b in self.builds for p in b.requires}
        return {**self.versions, **built}


def plain(packages: t.Iterable[Package]) -> list[tuple[str, ...]]:
    """What is locked, for a digest."""
    return sorted((p.name, p.version, p.marker, *sorted(p.hashes)) for p in packages)


def pin(name: str, version: str) -> str:
    """The requirement of exactly this version, or of this address."""
    return f"{name}{' ' if version.startswith('@') else '=='}{version}"


def without_hashes(requirement: str) -> str:
    """A requirement to compile, which has no hashes."""
    return re.sub(r"\s--hash[= ]\S+", "", requirement)


@dataclasses.dataclass(frozen=True)
class LockText:
    """The text of a lock, wherever it is kept, parsed on demand. ``what`` names it in errors."""

    text: str
    what: str = "the lock"
    hint: str = _HINT

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the text itself, comments and all: whether two copies are the same."""
        return of_text(self.text)

    @functools.cached_property
    def header(self) -> dict[str, t.Any]:
        """What the first line says about the lock; empty if nothing."""
        return read_header(self.text)

    @property
    def spec_digest(self) -> t.Optional[str]:
        """The digest of what it was resolved from."""
        return self.header.get("spec")

    @functools.cached_property
    def lock(self) -> Lock:
        """What is locked. Raises UvnasError if the text is not a lock."""
        return parse(self.text, what=self.what, hint=self.hint)

    @property
    def all_versions(self) -> dict[str, str]:
        """See Lock.all_versions; empty if the text is no longer a lock."""
        try:
            return self.lock.all_versions
        except UvnasError:
            return {}

    @property
    def names(self) -> set[str]:
        """All packages in it, build requirements included."""
        try:
            return {*self.lock.versions, *(p.name for build in self.lock.builds for p in build.requires)}
        except UvnasError:
            return set()


def parse(text: str, *, what: str, hint: str = _HINT) -> Lock:
    """Read lock text; ``what`` names it in errors. Raises UvnasError for an entry that is not pinned and hashed.

    Strict, because uv must not find anything in it that goes unseen here: an option other than --hash, or a line that
    only one of the two takes for the continuation of another.
    """
    problems: list[str] = []
    if len(text.splitlines()) != len(text.split("\n")) - text.endswith("\n") - (not text):
        problems.append("it has characters that end a line for some programs and not for others, such as a form feed")
    if not is_text(text):
        problems.append("it has a character that no file can hold")
    packages = _packages(text, problems)
    builds = _builds(text, problems) if _BUILD in text else ()
    header = read_header(text)
    if text.startswith(_HEADER.rstrip()) and not header:
        problems.append("its first line is damaged")
    # A lock that was cut short looks like one, of an environment with fewer packages.
    count = len(packages)
    if not problems and header.get("packages", count) != count:
        said = str(header["packages"])[:20]
        problems.append(f"it has {count} packages, but its first line says {said}; was it truncated?")
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise UvnasError(f"{what} is not a lock: {shown}", hint=hint)
    return Lock(packages, header.get("spec"), builds)


def _packages(text: str, problems: list[str]) -> tuple[Package, ...]:
    """The packages in a requirements file; adds what is wrong with it to ``problems``."""
    packages = []
    for entry in entries(text):
        line = logical(entry)
        requirement, *options = re.split(r"(?=\s--hash)", " " + line, maxsplit=1)
        requirement, rest = requirement.strip(), "".join(options)
        match = _PINNED.match(requirement) or _DIRECT.match(requirement)
        between = _HASH.split(rest)
        hashes = tuple([value.lower() for value in between[1::2]])
        strange = "".join(between[::2]).strip()
        if not match:
            problems.append(f"{scrub(requirement)!r} is not pinned (name==version)")
            continue
        if has_credentials(line):
            problems.append(f"{scrub(requirement)!r} has credentials in its URL, which would end up on the share")
            continue
        if not hashes:
            problems.append(f"{scrub(requirement)!r} has no --hash")
            continue
        if strange:
            problems.append(f"{scrub(strange)!r} follows the hashes of {scrub(requirement)!r}")
            continue
        groups = match.groupdict()
        version = groups.get("version") or f"@ {groups['url']}"
        packages.append(Package(normalize(groups["name"]), version, groups["marker"] or "", hashes, entry))
    return tuple(packages)


def _builds(text: str, problems: list[str]) -> tuple[Build, ...]:
    """The build requirements in the comments of a lock; adds what is wrong with them to ``problems``."""
    found: dict[str, Build] = {}
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    line = next(lines, None)
    while line is not None:
        head = line.rstrip()
        line = next(lines, None)
        if not head.startswith(_BUILD):
            continue
        inside = []
        while line is not None and line.startswith(_INSIDE):
            inside.append(line[len(_INSIDE) :])
            line = next(lines, None)
        what = head[len(_BUILD) :]
        match = _PINNED.match(what[:-1]) or _DIRECT.match(what[:-1])
        groups = match.groupdict() if match else {"name": "", "version": ""}
        name, version = normalize(groups["name"]), groups.get("version", f"@ {groups.get('url')}")
        named = pin(name, version)
        if not what.endswith(":") or not (match or what[:-1] == _OF_ANY) or named in found:
            problems.append(f"{scrub(head)!r} names no package, or the same one again")
            continue
        if has_credentials(what):
            problems.append(f"{scrub(head)!r} has credentials in its URL, which would end up on the share")
            continue
        requires = _packages("\n".join(inside), problems)
        names = [package.name for package in requires]
        problems += [
            f"{scrub(head)!r}: {each} is there more than once" for each in sorted(set(names)) if names.count(each) > 1
        ]
        found[named] = Build(name, version, requires)
    return tuple(found.values())


def read_header(text: str) -> dict[str, t.Any]:
    """What the first line says about the lock; empty if nothing."""
    first = text.split("\n", 1)[0]
    if not first.startswith(_HEADER):
        return {}
    try:
        header = parse_json(first[len(_HEADER) :], "the header")
    except UvnasError:
        return {}
    # All values are strings, except two numbers.
    pairs = header.items() if isinstance(header, dict) else ()
    return {key: value for key, value in pairs if key in ("format", "packages") or is_text(value)}


def render(
    packages: t.Iterable[Package],
    builds: t.Iterable[Build] = (),
    *,
    environment: str,
    spec_digest: str,
    python: str,
    glibc: t.Optional[str] = None,
) -> str:
    """The text of a lock of ``packages``."""
    packages = tuple(packages)
    known: dict[str, t.Any] = {"format": 1, "environment": environment, "python": python, "spec": spec_digest}
    known.update(glibc=glibc, packages=len(packages))
    header = json.dumps({key: value for key, value in known.items() if value is not None}, sort_keys=True)
    texts = [package.text for package in sorted(packages, key=lambda package: package.name)]
    body = "\n".join([*texts, *(build.text for build in builds)])
    return f"{_HEADER}{header}\n{body}\n" if body else f"{_HEADER}{header}\n"


def entries(text: str) -> t.Iterator[str]:
    """The entries of a requirements file: each with its continuation lines and the comments right below it.

    As for uv, a line is continued only if it ends with ``\\``, however the next one is indented. Comments before the
    first entry, blank lines and comments at the left margin belong to no entry.
    """
    entry: list[str] = []
    continued = False
    for line in text.replace("\r\n", "\n").split("\n"):
        bare = line.strip()
        if entry and bare and (continued or (line[0] in " \t" and bare[0] == "#")):
            entry.append(line.rstrip())
        else:
            if entry:
                yield "\n".join(entry)
            entry = [] if not bare or bare[0] == "#" else [bare]
        continued = line.endswith("\\") and _code(line).endswith("\\")
    if entry:
        yield "\n".join(entry)


def logical(entry: str) -> str:
    """An entry as one line, without comments and continuation marks."""
    lines = [_code(line) for line in entry.split("\n")]
    return " ".join(filter(None, [(line[:-1] if line.endswith("\\") else line).strip() for line in lines]))


def _code(line: str) -> str:
    """A line without its comment."""
    # A lock has thousands of lines, nearly all of them hashes; every converge reads them.
    return _COMMENT.sub("", line) if "#" in line else line


def changes(before: t.Mapping[str, str], after: t.Mapping[str, str]) -> list[str]:
    """What differs between two sets of versions, a line per package: what an admin wants to see in a diff."""
    lines = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old is None:
            lines.append(f"{name} {new} (new)")
        elif new is None:
            lines.append(f"{name} {old} (removed)")
        else:
            lines.append(f"{name} {old} -> {new}")
    return lines
