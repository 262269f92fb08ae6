# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv in a directory: versions side by side in ``lib/uv``, and links in ``bin`` that switch between them.

Beside its programs, a version has the list of their digests, see ``share/contents``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import stat
import typing as t

from ..errors import CommandError, SpecError, UvnasError, naming
from ..host import files, mutex, platform, removal, sealing, trust
from ..host.checksum import check_archive, of_file
from ..host.convergence import Convergence
from ..host.data import parse_json
from ..host.process import Runner, check
from ..host.removal import Leftover
from ..host.workers import Result
from ..share import contents, store
from ..share.contents import Contents
from ..share.identity import read_identity
from ..share.layout import CONTENTS
from ..share.place import check_place
from ..share.spec import Share
from .release import PROGRAMS, extract, reported_version


@dataclasses.dataclass(frozen=True)
class Place:
    """Where uv is installed. All paths are absolute."""

    bin_dir: str
    lib_dir: str
    mutex: str
    # None: a local directory.
    share: t.Optional[Share] = None

    def __post_init__(self) -> None:
        for path in (self.bin_dir, self.lib_dir):
            if not os.path.isabs(path):
                raise SpecError(f"{path} is not an absolute path", hint="Begin it with / or ~.")

    @classmethod
    def on_share(cls, share: Share) -> Place:
        return cls(share.layout.bin_dir, share.layout.uv_versions, share.layout.mutex, share)

    @classmethod
    def local(cls, bin_dir: str, lib_dir: t.Optional[str] = None) -> Place:
        """A local directory. By default its versions are beside it: /usr/local/bin, /usr/local/lib/uv."""
        versions = lib_dir or os.path.join(os.path.dirname(bin_dir.rstrip("/")), "lib", "uv")
        return cls(bin_dir, versions, os.path.join(versions, ".uvnas.mutex"))

    def link(self, program: str) -> str:
        return os.path.join(self.bin_dir, program)

    def program(self, version: str, program: str) -> str:
        return os.path.join(self.lib_dir, version, program)

    def contents(self, version: str) -> str:
        return os.path.join(self.lib_dir, version, CONTENTS)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What there is to do."""

    version: str
    previous_version: t.Optional[str]
    # The release is missing, incomplete or damaged.
    install: bool
    # The programs whose links point elsewhere, or nowhere.
    links: tuple[str, ...]
    # Parts of the existing release that others than the owner can write to. It is reinstalled then.
    open: tuple[str, ...] = ()
    # Programs that are not what was installed, if they were to be verified; and whether nothing tells. Then it is
    # reinstalled, too.
    damaged: tuple[str, ...] = ()
    unrecorded: bool = False

    @property
    def changed(self) -> bool:
        return self.install or bool(self.links)

    def result(self, place: Place) -> Result:
        """The plan as the result of a module that carried it out, or would."""
        actions = [self._describe()] if self.install else []
        actions += [f"link {program} to {self.version}" for program in self.links]
        return {
            "changed": self.changed,
            "version": self.version,
            "previous_version": self.previous_version,
            "executable": place.link("uv"),
            "actions": actions,
            "diff": {"prepared": self._diff(place)} if self.changed else {},
            "warnings": self._warnings(),
        }

    def _describe(self) -> str:
        if self.unrecorded:
            return f"reinstall uv {self.version}: what its programs should be is not on record"
        if not self.damaged:
            return f"install uv {self.version}"
        verb = "is" if len(self.damaged) == 1 else "are"
        return f"reinstall uv {self.version}: {' and '.join(self.damaged)} {verb} damaged"

    def _warnings(self) -> list[str]:
        text = (
            f"uv {self.version}: others than its owner can write to {', '.join(self.open)}. It is reinstalled; what "
            "was run until then may have been tampered with."
        )
        return [text] if self.open else []

    def _diff(self, place: Place) -> str:
        before = self.previous_version or "(none)"
        what = f"{self.version} (repaired)" if before == self.version else f"{before} -> {self.version}"
        return f"{place.bin_dir}: uv {what}\n"


def plan(place: Place, version: str, *, verify: bool = False) -> Plan:
    """What to do for ``place`` to have ``version``. A few file operations, and no process.

    ``verify``: read its programs too, and compare them with what was installed. Raises UvnasError if something is in
    the way that this collection, or this user, did not make.
    """
    # A release that others can write to is reinstalled. One that somebody else made is left alone.
    programs = [place.program(version, program) for program in PROGRAMS]
    parts = [os.path.join(place.lib_dir, version), *programs, *([place.contents(version)] if verify else [])]
    for path in (*parts, *map(place.link, PROGRAMS)):
        if os.path.lexists(path):
            trust.check_owner(path, os.geteuid())
    versions = _from_bin(place)
    links = {program: files.read_link(place.link(program)) for program in PROGRAMS}
    linked = {program: _linked_version(place, program, target, versions) for program, target in links.items()}
    found = {path: _look_at(path) for path in parts}
    writable = tuple(path for path, status in found.items() if status and sealing.is_open(status))
    installed = recorded(place.contents(version)) if verify else None
    damaged = [
        program
        for program, path in zip(PROGRAMS, programs)
        if installed is not None and found[path] and not _is_as_installed(path, found[path], installed, program)
    ]
    is_there = all(_is_program(found[path]) for path in programs)
    unrecorded = verify and installed is None and is_there
    return Plan(
        version=version,
        previous_version=linked["uv"],
        install=bool(writable or damaged or unrecorded) or not is_there,
        links=tuple(program for program in PROGRAMS if links[program] != os.path.join(versions, version, program)),
        open=writable,
        damaged=tuple(damaged),
        unrecorded=unrecorded,
    )


def recorded(path: str) -> t.Optional[Contents]:
    """What was installed, by the file ``path``; None if nothing tells: it is missing, or damaged, or another list."""
    with contextlib.suppress(UvnasError):
        content = files.read_bytes(path)
        found = None if content is None else contents.parse(parse_json(content, path), path)
        wanted = contents.Contents({}, found.files, {}, sorted(PROGRAMS)) if found is not None else None
        if found == wanted and found is not None and content == found.text.encode() and {*found.files} == {*PROGRAMS}:
            return found
    return None


def _is_as_installed(path: str, status: t.Optional[os.stat_result], installed: Contents, program: str) -> bool:
    """Whether a program has the content that it had when it was installed, and everybody may run it."""
    return _is_program(status) and of_file(path) == installed.files[program].sha256


def _look_at(path: str) -> t.Optional[os.stat_result]:
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(path)
    return None


def _from_bin(place: Place) -> str:
    """The directory with the versions, relative to the links, so that they work wherever a share is mounted.

    The kernel follows ``..`` from where ``bin`` really is, which is elsewhere if that is a symlink.
    """
    return os.path.relpath(os.path.realpath(place.lib_dir), os.path.realpath(place.bin_dir))


def _linked_version(place: Place, program: str, target: t.Optional[str], versions: str) -> t.Optional[str]:
    """The version that the link to ``program`` points to, if any. Raises UvnasError if the link is not ours."""
    if target is None:
        return None
    version = os.path.basename(os.path.dirname(target))
    if target not in (os.path.join(versions, version, program), place.program(version, program)):
        raise UvnasError(
            f"{place.link(program)} is a link to {target}, which is not in {place.lib_dir}",
            hint="uvnas.cluster did not make it; move it away and run again.",
        )
    return version


def _is_program(found: t.Optional[os.stat_result]) -> bool:
    """Whether this is a file that everybody may run. Files get their names only once they are complete."""
    return found is not None and stat.S_ISREG(found.st_mode) and found.st_mode & 0o555 == 0o555 and found.st_size > 0


# Of a version that is being unpacked.
_STAGING = re.compile(r"\.[0-9]+\.[0-9]+\.[0-9]")


@dataclasses.dataclass(frozen=True)
class Archive:
    """A wheel or a release's archive, open, and the checksum that it must have."""

    stream: t.IO[bytes]
    sha256: str


@dataclasses.dataclass(frozen=True)
class Installation(Convergence[Plan, None]):
    """An exact version of uv in a place."""

    place: Place
    version: str
    # None: if one is needed, nothing is done, and ``archive_needed_for`` in the result names a platform.
    archive: t.Optional[Archive]
    runner: Runner
    check_mode: bool = False
    # Whether to read the programs that are in place.
    verify: bool = False

    @property
    def mutex(self) -> str:
        return self.place.mutex

    def plan(self) -> Plan:
        return plan(self.place, self.version, verify=self.verify)

    def changes(self, plan: Plan) -> bool:
        return plan.changed

    def obstacle(self, plan: Plan) -> t.Optional[Result]:
        if self._may_lack_its_share:
            return self.report(plan, None)
        if not plan.changed:
            return None
        _check_writable(self.place.lib_dir)
        _check_writable(self.place.bin_dir)
        if self.check_mode:
            return None
        if plan.install and self.archive is None:
            return {**self.report(plan, None), "archive_needed_for": platform.here().name}
        if self.archive is not None:
            check_archive(self.archive.stream, self.archive.sha256, "the archive of uv")
        files.make_directory(self.place.lib_dir)
        return None

    def check_place(self) -> None:
        if self.place.share is not None:
            check_place(self.place.share, may_be_missing=self.check_mode)
            if os.path.lexists(self.place.lib_dir):
                trust.check_owner(self.place.lib_dir, os.geteuid())
            if not self.check_mode:  # A real run closes it to others first.
                trust.check_way(self.place.lib_dir, os.geteuid(), top=self.place.share.root)
            return
        for path in (self.place.lib_dir, self.place.bin_dir):
            trust.check_way(path, os.geteuid())

    def sweep(self) -> list[Leftover]:
        if self.place.share is not None:
            return store.sweep(self.place.share.layout)
        # For example in /usr/local, where others have hidden files too.
        return [
            *removal.sweep(self.place.lib_dir, self._is_a_staging_directory),
            *removal.sweep(self.place.bin_dir, self._is_a_link_of_ours),
        ]

    @property
    def _may_lack_its_share(self) -> bool:
        """Whether this is check mode, and the share may not have been laid out yet."""
        return self.check_mode and self.place.share is not None and read_identity(self.place.share) is None

    def _is_a_staging_directory(self, name: str) -> bool:
        path = os.path.join(self.place.lib_dir, name)
        return _STAGING.match(name) is not None and files.is_temporary(name) and not os.path.islink(path)

    def _is_a_link_of_ours(self, name: str) -> bool:
        is_ours = files.is_temporary(name) and name.startswith(tuple(f".{program}." for program in PROGRAMS))
        return is_ours and os.path.islink(os.path.join(self.place.bin_dir, name))

    def do(self, plan: Plan) -> None:
        if plan.install:
            with naming(f"uv {self.version}: cannot install it", os.path.join(self.place.lib_dir, self.version)):
                self._install(t.cast(Archive, self.archive))  # There is one, see obstacle().
        if plan.links:
            files.make_directory(self.place.bin_dir)
            versions = _from_bin(self.place)
            for program in plan.links:
                mutex.check(self.mutex)
                files.replace_symlink(os.path.join(versions, self.version, program), self.place.link(program))

    def report(self, plan: Plan, done: None) -> Result:
        return plan.result(self.place)

    def _install(self, archive: Archive) -> None:
        """Install the release in ``archive`` under its version.

        Each program gets its name in one step, once it is complete and known to run. A process that runs the previous
        file keeps it. Their list comes first, so that there is none without it.
        """
        directory = os.path.dirname(self.place.program(self.version, "uv"))
        staging = files.temporary_name(directory)
        os.mkdir(staging, 0o700)
        try:
            extract(archive.stream, staging)
            _check_runs(os.path.join(staging, "uv"), self.version, self.runner)
            contents.write(os.path.join(staging, CONTENTS), contents.take(staging))
            mutex.check(self.mutex)
            files.make_directory(directory)
            sealing.close(directory)
            for name in (CONTENTS, *PROGRAMS):
                os.rename(os.path.join(staging, name), os.path.join(directory, name))
        finally:
            with contextlib.suppress(OSError):  # A sweep finds it later, perhaps that of another holder of the mutex.
                removal.remove(staging)
        files.sync_directory(directory)
        files.sync_directory(self.place.lib_dir)


def _check_writable(path: str) -> None:
    """Raise OSError if the directory ``path`` may not be written to, or made; checked before any work is done."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    if not os.access(path, os.W_OK | os.X_OK):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise OSError(code, os.strerror(code), path)


def _check_runs(uv: str, version: str, runner: Runner) -> None:
    """Raise UvnasError unless ``uv`` runs on this machine and is ``version``, exactly."""
    cmd = [uv, "--version"]
    try:
        done = runner.run(
            cmd, variables={"PATH": "/usr/bin:/bin", "HOME": "/", "LC_ALL": "C", "UV_NO_CONFIG": "1"}, cwd="/"
        )
    except CommandError as error:
        hints = {
            errno.ENOEXEC: "It was built for another kind of machine.",
            errno.ENOENT: "It was built for another C library (gnu or musl), whose loader this machine does not have.",
            errno.EACCES: "The filesystem may be mounted noexec.",
        }
        message = f"uv {version} from this archive does not run on this machine: {os.strerror(error.rc)}"
        raise UvnasError(message, hint=hints.get(error.rc, "")) from error
    check(done, cmd, f"uv {version} from this archive does not run on this machine")
    found = reported_version(done.stdout)
    if found != version:
        raise UvnasError(
            f"the archive has uv {found or 'of unknown version'}, not {version}",
            hint="uvnas_uv_version must be the version in the archive.",
        )
